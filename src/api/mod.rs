//! The signed REST API, one file per endpoint: its request, its errors and its answer. /unsubscribe is in `subscribe.rs`,
//! because its body is the same.
//!
//! Bodies are read by hand-written readers rather than derived ones: clients depend on the original's error texts and
//! its tolerance (`"1"` is true, `"7"` is 7), and all errors of a request are reported together.

pub mod answer;
pub(crate) mod channels_info;
pub(crate) mod fields;
pub mod body;
pub(crate) mod batch;
mod delivery;
pub(crate) mod publish_options;
mod publishing;
mod receipt;
pub mod connect;
pub mod subscribe;
pub mod user_state;
pub mod channel_config;
pub mod message_post;
pub mod message_patch;
pub mod message_delete;
pub mod info;
pub mod disconnect;
pub mod end;
pub mod block;
pub mod token;

use serde::Deserialize;
use uuid::Uuid;

/// The part of a query that names a connection.
#[derive(Debug, Deserialize)]
pub struct ConnIdQuery {
    /// The text as received, not yet parsed.
    pub conn_id: Option<String>,
}

/// Reads the id of a connection in each form that the original accepts.
pub fn parse_conn_id(text: &str) -> Option<Uuid> {
    fields::uuid_text(text).ok()
}
