//! How clients receive events. Each transport consists of its endpoint and the actor of its session.

pub mod admission;
pub mod websocket;
pub mod long_poll;
