//! Websockets: the handshake, the session's actor, its reader, and its close.

pub mod handshake;
pub mod routes;
pub mod upgrade;
pub mod session;
pub mod context;
pub mod reading;
pub mod close_wait;
