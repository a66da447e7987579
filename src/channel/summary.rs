//! What the registry and the console know of a channel without asking it.

use super::state::ChannelState;
use crate::wire::time::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A channel's figures, kept up by the channel and read by anybody.
#[derive(Debug)]
pub struct Summary {
    connections: AtomicU32,
    users: AtomicU32,
    history: AtomicU32,
    last_active: Mutex<Timestamp>,
}

impl Summary {
    /// A channel without anything.
    pub fn new(now: Timestamp) -> Self {
        Self {
            connections: AtomicU32::new(0),
            users: AtomicU32::new(0),
            history: AtomicU32::new(0),
            last_active: Mutex::new(now),
        }
    }

    /// Brings the figures up to date.
    pub fn update(&self, state: &ChannelState) {
        let (connections, users, history) = state.counts();
        self.connections.store(connections, Ordering::Relaxed);
        self.users.store(users, Ordering::Relaxed);
        self.history.store(history, Ordering::Relaxed);
        if let Ok(mut last_active) = self.last_active.lock() {
            *last_active = *state.last_active();
        }
    }

    /// Present connections.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Present users.
    pub fn users(&self) -> u32 {
        self.users.load(Ordering::Relaxed)
    }

    /// Kept messages.
    pub fn history(&self) -> u32 {
        self.history.load(Ordering::Relaxed)
    }

    /// Last message or event.
    pub fn last_active(&self) -> Timestamp {
        match self.last_active.lock() {
            Ok(time) => *time,
            Err(poisoned) => *poisoned.into_inner(),
        }
    }
}
