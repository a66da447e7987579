//! Counters and gauges: what the server knows about itself without asking its actors.

pub mod addresses;
pub mod closes;
pub mod limits;
pub mod pressure;
pub mod process;
pub mod recorder;
pub mod series;
pub mod vitals;

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number as it was when it was last looked at.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Notes the number.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number noted last.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened since the start, over all threads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames handed to sessions.
    pub deliveries: Counter,
    /// Messages accepted, also for channels nobody knows.
    pub messages: Counter,
    /// Sessions closed because their peer did not read.
    pub closed_too_slow: Counter,
    /// Sessions closed because nothing was heard from their peer.
    pub closed_silent: Counter,
    /// Sessions closed because a later one took over.
    pub closed_taken_over: Counter,
    /// Requests answered 503 because a mailbox or a hub was full.
    pub refused_busy: Counter,
    /// Times a thread did not answer for `worker_lag_ms`.
    pub threads_lagged: Counter,
    /// Connections answered 503 because the process had no file descriptor left.
    pub refused_no_files: Counter,
    /// Websockets that are gone, by reason.
    pub closes: closes::Closes,
    /// How often each limit was reached.
    pub limits: limits::Hits,
    /// Handshakes and polls refused because of the page's origin.
    pub refused_origin: Counter,
    /// Connections that are present; at most a tenth of a second old, as are the next two.
    pub connections: Level,
    /// Users with connections that are present.
    pub users: Level,
    /// Channels.
    pub channels: Level,
}
