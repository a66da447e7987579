//! The query of a websocket handshake: the connection or a token for it, and what its client has.

use crate::api::parse_conn_id;
use crate::http_error::Refusal;
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
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%&=".contains(&byte);
        query.bytes().all(is_usual).then_some(())?;
        let mut has_id = false;
        for parameter in query.split('&') {
            match parameter.split_once('=')? {
                ("conn_id", id) => {
                    let is_usual = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
                    has_id = id.len() == CONN_ID && id.bytes().all(is_usual);
                }
                ("resume" | "since" | "positions", _) => {}
                _ => return None,
            }
        }
        Self::read(query).ok().filter(|_| has_id)
    }
}

/// Length of an id in the form that clients send.
const CONN_ID: usize = 36;
