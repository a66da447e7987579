//! The core: the actors (registry, channels, private messages, hubs) and the handle through which requests reach them.

pub(crate) mod handle;
pub(crate) mod requests;
pub(crate) mod drain;
pub(crate) mod marking;
pub(crate) mod registry;
pub(crate) mod private_messages;
pub(crate) mod receipts;
pub(crate) mod recovery;
pub(crate) mod stamps;
pub mod channel;
pub mod engine;
pub(crate) mod hub;
pub(crate) mod batched_mailbox;
pub(crate) mod dense_map;
