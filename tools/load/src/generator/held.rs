//! What a server holds: memory, descriptors, threads, records.

use super::backend::Backend;
use super::memory::ALLOWANCE;
use super::process::memory;
use super::server::Server;
use std::fs;
use std::io;

/// What a server holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of private memory: heap, stacks, changed data.
    pub memory: u64,
    /// Open descriptors, and threads.
    pub descriptors: u64,
    pub threads: u64,
    /// Records of users, and of connections whose client is present.
    pub users: u64,
    pub connections: u64,
    /// Actors: one for each channel, each websocket and each poll.
    pub channels: u64,
    pub sessions: u64,
    /// Bytes queued for peers that do not read.
    pub queued: u64,
}

impl Held {
    /// What the server holds now.
    pub fn now(server: &Server) -> io::Result<Self> {
        let mut backend = Backend::new(server.address)?;
        let [users, connections, channels, sessions, queued] =
            backend.counters(["users remembered", "connections", "channels", "sessions", QUEUED])?;
        let count = |what| Ok::<_, io::Error>(fs::read_dir(entries(server, what))?.count() as u64);
        // The descriptor of the call above does not count.
        let (descriptors, threads) = (count("fd")?.saturating_sub(1), count("task")?);
        let memory = memory(server.pid())?.anonymous;
        Ok(Self { memory, descriptors, threads, users, connections, channels, sessions, queued })
    }

    /// Whether the server holds the same as `before`, and no more memory than allocators keep for later.
    pub fn is_as(&self, before: &Self) -> bool {
        self.counts() == before.counts() && self.memory <= before.memory + ALLOWANCE
    }

    /// Everything except the memory.
    pub fn counts(&self) -> Self {
        Self { memory: 0, ..*self }
    }

    /// The larger value of each field.
    pub fn most(&self, other: &Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            users: self.users.max(other.users),
            connections: self.connections.max(other.connections),
            channels: self.channels.max(other.channels),
            sessions: self.sessions.max(other.sessions),
            queued: self.queued.max(other.queued),
        }
    }
}

const QUEUED: &str = "bytes queued for slow peers";

fn entries(server: &Server, what: &str) -> String {
    format!("/proc/{}/{what}", server.pid())
}
