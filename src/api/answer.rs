//! Successful responses and errors of the API.

use super::invalid::Invalid;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use actix_web::HttpResponse;

/// Initial capacity for a response about channels, in bytes. It avoids reallocation in the common case.
pub const INITIAL_CAPACITY: usize = 1024;

pub fn json(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Invalid(invalid.errors)
    }
}

/// Adds the errors of unknown names to those of a request whose other fields are wrong. All errors are reported
/// together.
///
/// # Errors
/// As [`BrokerHandle::known`].
pub async fn with_unknown(broker: &BrokerHandle, mut invalid: Invalid) -> Result<Refusal, Refusal> {
    if invalid.conn_id.is_none() && invalid.user.is_none() {
        return Ok(invalid.into());
    }
    let known = broker.known(invalid.conn_id, invalid.user.clone()).await?;
    if invalid.conn_id.is_some() && !known.connection {
        invalid.add("conn_id", "Unknown connection");
    }
    if invalid.user.is_some() && !known.user {
        invalid.add("user", "Unknown user");
    }
    Ok(invalid.into())
}

/// The error for a connection that does not exist.
pub fn unknown_connection() -> Refusal {
    Invalid::field("conn_id", "Unknown connection").into()
}

/// The error for a request in demo mode that exceeds the demo's share of memory.
pub fn demo_is_full() -> Refusal {
    Invalid::field("channels", "The demo has no room for more users, connections or channels.").into()
}
