//! Answers and refusals of the API.

use super::invalid::Invalid;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::messages::Lookup;
use crate::http_error::Refusal;
use actix_web::HttpResponse;
use uuid::Uuid;

/// Room for what most answers about channels are, in bytes: it would be made piece by piece otherwise.
pub const ROOM: usize = 1024;

/// A JSON answer, written in one piece.
pub fn json(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Invalid(invalid.errors)
    }
}

/// Completes the errors of a request whose other fields are wrong: all are reported together.
///
/// # Errors
/// As [`BrokerHandle::ask`].
pub async fn with_unknown(broker: &BrokerHandle, mut invalid: Invalid) -> Result<Refusal, Refusal> {
    if invalid.conn_id.is_none() && invalid.user.is_none() {
        return Ok(invalid.into());
    }
    let known = broker.ask(Lookup { conn_id: invalid.conn_id, user: invalid.user.clone() }).await?;
    if invalid.conn_id.is_some() && !known.connection {
        invalid.add("conn_id", "Unknown connection");
    }
    if invalid.user.is_some() && !known.user {
        invalid.add("user", "Unknown user");
    }
    Ok(invalid.into())
}

/// The refusal of a request for a connection that is not there.
pub fn unknown_connection() -> Refusal {
    Invalid::field("conn_id", "Unknown connection").into()
}

/// The refusal of a request of demo mode for which its share has no room.
pub fn demo_is_full() -> Refusal {
    Invalid::field("channels", "The demo has no room for more users, connections or channels.").into()
}

/// Appends a connection's id as a JSON string.
pub fn push_uuid(uuid: Uuid, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    out.push(b'"');
}
