//! Websockets: the handshake, the session's actor, its reader, and its close.

pub mod handshake;
pub(crate) mod target;
pub(crate) mod routes;
pub(crate) mod upgrade;
pub(crate) mod session;
mod token;
pub(crate) mod context;
pub(crate) mod reading;
pub(crate) mod close_wait;
