//! Successful responses, and refused requests with all their errors.

use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use actix_web::HttpResponse;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Initial capacity for a response about channels, in bytes. It avoids reallocation in the common case.
pub const INITIAL_CAPACITY: usize = 1024;

pub fn json(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// All errors of a request, and the names to which the handler may add errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// The body of the 422 answer.
    pub errors: Value,
    /// The connection in the request, if readable. If it is unknown, the handler adds an error.
    pub conn_id: Option<Uuid>,
    /// The user in the request, if readable, even if its length is wrong. If it is unknown, the handler adds an error.
    pub user: Option<String>,
}

impl Invalid {
    /// An error of the whole body.
    pub fn schema(text: impl Into<String>) -> Self {
        Self::field("_schema", text)
    }

    /// An error of one field.
    pub fn field(field: &str, text: impl Into<String>) -> Self {
        let mut invalid = Self::from(Value::Object(Map::new()));
        invalid.add(field, text);
        invalid
    }

    /// Adds a text to a field's errors. A field whose errors are a tree (of list items or values) remains unchanged.
    pub fn add(&mut self, field: &str, text: impl Into<String>) {
        if let Value::Object(errors) = &mut self.errors {
            let texts = errors.entry(field).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(texts) = texts {
                texts.push(Value::String(text.into()));
            }
        }
    }
}

impl From<Value> for Invalid {
    fn from(errors: Value) -> Self {
        Self { errors, conn_id: None, user: None }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Invalid(invalid.errors)
    }
}

/// A valid request, if the broker accepts changes at present.
///
/// # Errors
/// `Invalid`, with the errors of unknown names; `Busy`.
pub async fn admitted<T>(broker: &BrokerHandle, request: Result<T, Invalid>) -> Result<T, Refusal> {
    match request {
        Ok(request) => broker.admit().map(|()| request),
        Err(invalid) => Err(with_unknown(broker, invalid).await?),
    }
}

/// Adds the errors of unknown names to those of a request whose other fields are wrong. All errors are reported
/// together.
async fn with_unknown(broker: &BrokerHandle, mut invalid: Invalid) -> Result<Refusal, Refusal> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_added_to_existing_errors() {
        let mut invalid = Invalid::field("user", "Length must be between 1 and 512.");
        invalid.add("user", "Unknown user");
        invalid.add("conn_id", "Unknown connection");
        assert_eq!(
            invalid.errors,
            json!({
                "user": ["Length must be between 1 and 512.", "Unknown user"],
                "conn_id": ["Unknown connection"]
            })
        );
    }

    #[test]
    fn trees_are_not_changed() {
        let errors = json!({"channels": {"0": ["Not a valid string."]}});
        let mut invalid = Invalid::from(errors.clone());
        invalid.add("channels", "more");
        assert_eq!(invalid.errors, errors);
    }
}
