//! Bounds that refuse something: what is in flight, rates, sockets of an address, bodies and responses in memory.

pub mod addresses;
pub mod rate;
pub mod unproven;
pub mod responses;
