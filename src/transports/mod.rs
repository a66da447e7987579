//! How clients receive events. Each transport has its endpoint and the actor of its session.

pub mod admission;
pub mod websocket;
pub mod long_poll;
