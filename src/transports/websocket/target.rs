//! The query of a websocket handshake: the connection or a token for it, and what its client has.

use crate::http_error::Refusal;
use crate::transports::plain_head::is_usual_query;
use crate::transports::query::{ResumeQuery, read_query};
use uuid::Uuid;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTarget {
    /// It may be left out only with a token.
    pub conn_id: Option<Uuid>,
    pub token: Option<String>,
    pub resume: ResumeQuery,
}

impl SessionTarget {
    /// Reads a query. Unknown parameters are ignored.
    ///
    /// # Errors
    /// `Invalid` if the id is unreadable, or a parameter is repeated.
    pub fn read(query: &str) -> Result<Self, Refusal> {
        let names = ["token", "resume", "since", "positions"];
        let (conn_id, [token, resume, since, positions]) = read_query(query, names)?;
        Ok(Self { conn_id, token, resume: ResumeQuery { resume, since, positions } })
    }

    /// Reads a query in its usual form: an id in its usual form, and no parameter that another service may interpret.
    pub fn read_plain(query: &str) -> Option<Self> {
        let knows = |name: &str| matches!(name, "resume" | "since" | "positions");
        is_usual_query(query, knows).then(|| Self::read(query).ok())?
    }
}
