//! The core: the actors (registry, channels, private messages, hubs) and the handle through which requests reach them.

pub mod handle;
pub mod requests;
pub mod drain;
pub mod registry;
pub mod private_messages;
pub mod channel;
pub mod hub;
pub mod batched_mailbox;
pub mod dense_map;
