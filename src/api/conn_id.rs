//! A connection's id as browsers name it in a query.

use super::fields::uuid_text;
use serde::Deserialize;
use uuid::Uuid;

/// The part of a query that names a connection.
#[derive(Debug, Deserialize)]
pub struct ConnIdQuery {
    /// The text, unread.
    pub conn_id: Option<String>,
}

/// Reads an id in any of the forms the original reads.
pub fn parse(text: &str) -> Option<Uuid> {
    uuid_text(text).ok()
}
