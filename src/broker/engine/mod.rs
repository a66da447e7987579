//! The engine of several nodes: the scripts that Redis runs, and the records that nodes pass on through it.
//!
//! Redis decides the order of a stream and which users are present. A script is one step: no other call sees a part of it. Each
//! script has a model in Rust, and a test compares the two on random calls.

pub mod arguments;
pub mod call;
pub mod entry;
pub mod error;
mod fields;
pub mod link;
pub mod record;
pub mod reply;
pub mod row;
pub mod scripts;
pub mod snapshot;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod local_redis_tests;
#[cfg(test)]
pub(crate) mod model;
