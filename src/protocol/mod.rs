//! The protocol types: values, times, events, frames, the websocket protocol. Imports no other module of the crate.

pub mod ids;
pub mod position;
pub(crate) mod json;
pub(crate) mod value;
pub(crate) mod state;
pub mod time;
pub mod message;
pub mod settings;
pub mod event;
pub(crate) mod user_list;
pub mod user_set;
pub(crate) mod event_stream;
pub mod frame;
pub(crate) mod frame_batch;
pub mod websocket;
