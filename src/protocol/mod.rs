//! The protocol types: values, times, events, frames, the websocket protocol. Imports no other module of the crate.

pub mod ids;
pub mod json;
pub mod value;
pub mod state;
pub mod time;
pub mod message;
pub mod settings;
pub mod event;
pub mod user_list;
pub mod user_set;
pub mod frame;
pub mod websocket;
