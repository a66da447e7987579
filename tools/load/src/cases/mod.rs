//! The cases, one file each: options, actions and output.

pub mod all;
mod broadcast;
pub mod channels;
pub mod churn;
pub mod crowd;
pub mod engine;
pub mod fanout;
pub mod growth;
pub mod idle;
pub mod joins;
pub mod large;
pub mod members;
pub mod poll;
pub mod publish;
pub mod receivers;
pub mod reconnects;
pub mod rest;
pub mod slow;
pub mod soak;
pub mod syscalls;

use crate::generator::server::Server;
use crate::{GENERATOR_CORE, SERVER_CORE};
use std::io;

/// The channel of all subscribers.
const CHANNEL: &str = "crowd";
/// Only the work of the case: no heartbeats, pings or time limits.
const QUIET: &[&str] = &["heartbeat_interval_ms=0", "ping_interval_ms=0", "pong_timeout=0"];

/// Records of users and of connections, including those without a close frame, expire soon: the case waits for it.
const FORGETFUL: &[&str] = &["unattached_timeout=3000", "grace_time_ms=500", "user_idle_timeout_ms=500"];

/// Starts the server that is measured, on its core.
fn channelstream(settings: &[&str]) -> io::Result<Server> {
    Server::channelstream(crate::channelstream()?, settings, Some(SERVER_CORE))
}

/// The same with several workers. Unless `one_core` is set, they also run on the generator's core, which slows the
/// generator down but does not count as the server's CPU.
fn with_workers(settings: &[&str], workers: usize, one_core: bool) -> io::Result<Server> {
    let cores = if workers > 1 && !one_core { &[SERVER_CORE, GENERATOR_CORE][..] } else { &[SERVER_CORE] };
    Server::with_workers(crate::channelstream()?, settings, workers, cores)
}

/// Starts the baseline, on the same core.
fn baseline() -> io::Result<Server> {
    Server::own("raw-server", Some(SERVER_CORE))
}
