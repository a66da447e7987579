//! How clients receive events. Each transport consists of its endpoint and the actor of its session.

pub(crate) mod admission;
pub(crate) mod plain_head;
pub(crate) mod query;
pub mod websocket;
pub(crate) mod long_poll;
pub(crate) mod sse;
