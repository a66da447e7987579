//! One thread that represents ten thousand clients and their backend. The tests of large crowds use it as well.

pub mod arrivals;
pub mod backend;
pub mod churner;
pub mod crowd;
pub mod drive;
pub mod frames;
pub mod handshake;
pub mod held;
pub mod ledger;
pub mod memory;
pub mod meter;
pub mod pollers;
pub mod presence;
pub mod process;
pub mod publisher;
pub mod reader;
pub mod redis;
pub mod server;
pub mod sleepers;
pub mod soak;
pub mod socket;
pub mod trace;

use std::io;

/// An error with this text.
pub fn failure(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}
