//! Websockets: the handshake, the session's actor, what it reads, and how it closes.

pub mod handshake;
pub mod routes;
pub mod upgrade;
pub mod session;
pub mod context;
pub mod reading;
pub mod goodbye;
