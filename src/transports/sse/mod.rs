//! Server-sent events: endpoint, sessions on sockets of their own, and sessions that the HTTP stack sends.

pub mod endpoint;
mod body;
pub(crate) mod head;
pub(crate) mod plain_request;
pub(crate) mod session;
mod target;
