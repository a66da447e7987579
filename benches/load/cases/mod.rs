//! The cases, one file each: options, what is done, what is printed.

pub mod all;
mod broadcast;
pub mod channels;
pub mod churn;
pub mod crowd;
pub mod fanout;
pub mod growth;
pub mod idle;
pub mod large;
pub mod members;
pub mod poll;
pub mod publish;
pub mod receivers;
pub mod rest;
pub mod slow;
pub mod soak;
pub mod syscalls;

use crate::generator::server::Server;
use crate::{GENERATOR_CORE, SERVER_CORE};
use std::io;

/// The channel everybody listens to.
const CHANNEL: &str = "crowd";
/// Nothing but what the case does: no heartbeats, pings or time limits.
const QUIET: &[&str] = &["heartbeat_interval_ms=0", "ping_interval_ms=0", "pong_timeout=0"];

/// Records of connections, also of those that ended without goodbye, and of users go soon: their memory is waited for.
const FORGETFUL: &[&str] = &["unattached_timeout=3000", "grace_time_ms=500", "user_idle_timeout_ms=500"];

/// Starts the server that is measured, on its core.
fn channelstream(settings: &[&str]) -> io::Result<Server> {
    Server::channelstream(crate::CHANNELSTREAM, settings, Some(SERVER_CORE))
}

/// The same with several workers. Unless they are to share one core, they have the generator's as well, which slows it
/// down but does not count as the server's CPU.
fn with_workers(settings: &[&str], workers: usize, one_core: bool) -> io::Result<Server> {
    let cores = if workers > 1 && !one_core { &[SERVER_CORE, GENERATOR_CORE][..] } else { &[SERVER_CORE] };
    Server::with_workers(crate::CHANNELSTREAM, settings, workers, cores)
}

/// Starts the baseline, on the same core.
fn baseline() -> io::Result<Server> {
    Server::own("raw-server", Some(SERVER_CORE))
}
