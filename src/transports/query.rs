//! The query of a session: its connection, and what the client has if it asks for positions.

use crate::api::parse_conn_id;
use crate::broker::hub::handle::HubHandle;
use crate::http_error::Refusal;
use crate::protocol::position::Since;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Reads `conn_id` and the parameters of these names. Other parameters are ignored.
///
/// # Errors
/// `Invalid` if the id is unreadable, or one of the parameters is repeated.
pub fn read_query<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<(Option<Uuid>, [Option<String>; N]), Refusal> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let (mut conn_id, mut values) = (None, [const { None }; N]);
    for (name, value) in pairs {
        let field = match names.iter().position(|known| *known == name) {
            Some(place) => &mut values[place],
            None if name == "conn_id" => &mut conn_id,
            None => continue,
        };
        if field.replace(value).is_some() {
            return Err(invalid(&name, "Given more than once."));
        }
    }
    let read_id = |text: String| parse_conn_id(&text).ok_or_else(|| invalid("conn_id", "Not a valid UUID."));
    Ok((conn_id.map(read_id).transpose()?, values))
}

/// The parameters of a client that asks for positions, as it sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ResumeQuery {
    pub resume: Option<String>,
    pub since: Option<String>,
    pub positions: Option<String>,
}

impl ResumeQuery {
    /// What the client has; `None` for a client that does not ask for positions.
    ///
    /// # Errors
    /// `Invalid` on the parameter that cannot be read.
    pub fn read(&self, hub: &HubHandle) -> Result<Option<Arc<Since>>, Refusal> {
        match self.resume.as_deref() {
            None | Some("0") => Ok(None),
            Some("1") => {
                let since = hub.read_since(self.since.as_deref(), self.positions.as_deref());
                since.map(Some).map_err(|unreadable| invalid(unreadable.field, &unreadable.reason))
            }
            Some(_) => Err(invalid("resume", "Must be one of: 0, 1.")),
        }
    }
}

/// The refusal of a query without the id of a connection.
pub fn missing_conn_id() -> Refusal {
    invalid("conn_id", "Missing data for required field.")
}

/// A refusal of one parameter.
pub fn invalid(field: &str, reason: &str) -> Refusal {
    Refusal::Invalid(json!({ field: [reason] }))
}
