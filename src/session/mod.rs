//! Sessions: one actor for each websocket and each long-poll, from its first byte to its goodbye.

pub mod websocket;
pub mod poll;
pub mod context;
pub mod reading;
pub mod goodbye;
