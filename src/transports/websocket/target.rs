//! The query of a websocket handshake: the connection or a token for it, and what its client has.

use crate::api::parse_conn_id;
use crate::http_error::Refusal;
use crate::transports::plain_head::is_usual_query;
use crate::transports::resume::{ResumeQuery, invalid};
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
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        let (mut conn_id, mut token, mut resume) = (None, None, ResumeQuery::default());
        for (name, value) in pairs {
            let field = match &*name {
                "conn_id" => Some(&mut conn_id),
                "token" => Some(&mut token),
                name => resume.field(name),
            };
            if field.is_some_and(|field| field.replace(value).is_some()) {
                return Err(invalid(&name, "Given more than once."));
            }
        }
        let read_id =
            |text: &String| parse_conn_id(text).ok_or_else(|| invalid("conn_id", "Not a valid UUID."));
        let conn_id = conn_id.as_ref().map(read_id).transpose()?;
        Ok(Self { conn_id, token, resume })
    }

    /// Reads a query in its usual form: an id in its usual form, and no parameter that another service may interpret.
    pub fn read_plain(query: &str) -> Option<Self> {
        let knows = |name: &str| matches!(name, "resume" | "since" | "positions");
        is_usual_query(query, knows).then(|| Self::read(query).ok())?
    }
}
