//! A connection's id as browsers name it in a query.

use super::fields::uuid_text;
use super::operation::in_query;
use crate::protocol::schema;
use serde::Deserialize;
use utoipa::openapi::Required;
use utoipa::openapi::path::ParameterBuilder;
use uuid::Uuid;

/// The part of a query that names a connection.
#[derive(Debug, Deserialize)]
pub struct ConnIdQuery {
    /// The text, unread.
    pub conn_id: Option<String>,
}

/// The parameter, for the API's description.
pub fn parameter(text: &str) -> ParameterBuilder {
    let example = "11111111-1111-4111-8111-111111111111";
    in_query("conn_id", Required::True, schema::uuid(), text).example(Some(example.into()))
}

/// The same where it stands in for a field of the body. Where the body has the field, nobody looks at it.
pub fn stand_in() -> ParameterBuilder {
    let text = "The connection, where the body names none: a UUID.";
    in_query("conn_id", Required::False, schema::text(), text)
}

/// Reads an id in any of the forms the original reads.
pub fn parse(text: &str) -> Option<Uuid> {
    uuid_text(text).ok()
}
