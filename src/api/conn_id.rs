//! The id of a connection in the query of a browser's request.

use super::fields::uuid_text;
use super::operation::in_query;
use crate::protocol::schema;
use serde::Deserialize;
use utoipa::openapi::Required;
use utoipa::openapi::path::ParameterBuilder;
use uuid::Uuid;

/// The part of the query that names a connection.
#[derive(Debug, Deserialize)]
pub struct ConnIdQuery {
    /// The text as received, not yet parsed.
    pub conn_id: Option<String>,
}

/// The parameter in the API description.
pub fn parameter(text: &str) -> ParameterBuilder {
    let example = "11111111-1111-4111-8111-111111111111";
    in_query("conn_id", Required::True, schema::uuid(), text).example(Some(example.into()))
}

/// The same parameter where it replaces a field of the body. It is ignored where the body has the field.
pub fn fallback_parameter() -> ParameterBuilder {
    let text = "The connection, if the body does not name one: a UUID.";
    in_query("conn_id", Required::False, schema::text(), text)
}

/// Reads an id in each form that the original accepts.
pub fn parse(text: &str) -> Option<Uuid> {
    uuid_text(text).ok()
}
