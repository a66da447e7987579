//! The query of a websocket handshake: the connection, and what its client has.

use crate::api::parse_conn_id;
use crate::http_error::Refusal;
use crate::transports::plain_head::is_usual_query;
use crate::transports::resume::{ResumeQuery, invalid};
use uuid::Uuid;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTarget {
    pub conn_id: Uuid,
    pub resume: ResumeQuery,
}

impl SessionTarget {
    /// Reads a query. Unknown parameters are ignored.
    ///
    /// # Errors
    /// `Invalid` without a readable conn_id, or if a parameter is repeated.
    pub fn read(query: &str) -> Result<Self, Refusal> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        let (mut conn_id, mut resume) = (None, ResumeQuery::default());
        for (name, value) in pairs {
            let field = if name == "conn_id" { Some(&mut conn_id) } else { resume.field(&name) };
            if field.is_some_and(|field| field.replace(value).is_some()) {
                return Err(invalid(&name, "Given more than once."));
            }
        }
        let conn_id = conn_id.ok_or_else(|| invalid("conn_id", "Missing data for required field."))?;
        let conn_id = parse_conn_id(&conn_id).ok_or_else(|| invalid("conn_id", "Not a valid UUID."))?;
        Ok(Self { conn_id, resume })
    }

    /// Reads a query in its usual form: an id in its usual form, and no parameter that another service may interpret.
    pub fn read_plain(query: &str) -> Option<Self> {
        let knows = |name: &str| matches!(name, "resume" | "since" | "positions");
        is_usual_query(query, knows).then(|| Self::read(query).ok())?
    }
}
