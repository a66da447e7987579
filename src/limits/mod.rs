//! Limits that refuse requests: work in flight, rates, sockets per address, bodies and responses in memory.

pub mod addresses;
pub mod rate;
pub mod unauthenticated;
pub mod responses;
