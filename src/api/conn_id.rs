//! The id of a connection in the query of a browser's request.

use super::fields::uuid_text;
use serde::Deserialize;
use uuid::Uuid;

/// The part of the query that names a connection.
#[derive(Debug, Deserialize)]
pub struct ConnIdQuery {
    /// The text as received, not yet parsed.
    pub conn_id: Option<String>,
}

/// Reads an id in each form that the original accepts.
pub fn parse(text: &str) -> Option<Uuid> {
    uuid_text(text).ok()
}
