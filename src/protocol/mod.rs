//! The vocabulary of the wire: values, times, events, frames, the websocket protocol. Knows nobody.

pub mod ids;
pub mod json;
pub mod schema;
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
