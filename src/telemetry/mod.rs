//! Counters and gauges: what the server knows about itself without asking its actors.

pub mod closes;
pub mod last_seen;
pub mod limits;
pub mod log_queue;
pub mod log_sums;
pub mod process;
pub mod recorder;
pub mod series;
pub mod thread_health;

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

/// The name under which [`Counters::refused_busy`] is shown.
pub const REFUSED_BUSY: &str = "refused_busy";
/// The name under which [`Counters::refused_no_files`] is shown.
pub const REFUSED_NO_FILES: &str = "refused_no_files";
/// The name under which [`Counters::refused_origin`] is shown.
pub const REFUSED_ORIGIN: &str = "refused_origin";

/// The name under which [`Counters::refused_malformed`] is shown.
pub const REFUSED_MALFORMED: &str = "refused_malformed";
/// The name under which [`log_queue::LogQueue::dropped`] is shown.
pub const LOG_DROPPED: &str = "log_dropped";

/// What happened since the start, over all threads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames handed to sessions.
    pub deliveries: Counter,
    /// Messages queued to connections, each counted for each connection that is to get it, with a session or without.
    pub queued: Counter,
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
    /// Times a thread did not answer for `watchdog_timeout`.
    pub threads_lagged: Counter,
    /// Connections answered 503 because the process had no file descriptor left.
    pub refused_no_files: Counter,
    /// Websockets that are gone, by reason.
    pub closes: closes::Closes,
    /// How often each limit was reached.
    pub limits: limits::LimitHits,
    /// Handshakes and polls refused because of the page's origin.
    pub refused_origin: Counter,
    /// Requests answered 400 because they were not HTTP, or malformed.
    pub refused_malformed: Counter,
    /// Connections that are present; at most a tenth of a second old, as are the next two.
    pub connections: Level,
    /// Users with connections that are present.
    pub users: Level,
    /// Channels.
    pub channels: Level,
}

impl Counters {
    /// All that is counted because something was refused, cut off or closed, by names that are one of a kind.
    pub fn mishaps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = self.limits.iter().map(|(limit, count)| (limit.setting(), count));
        let refused = [
            (REFUSED_BUSY, self.refused_busy.get()),
            (REFUSED_NO_FILES, self.refused_no_files.get()),
            (REFUSED_ORIGIN, self.refused_origin.get()),
            (REFUSED_MALFORMED, self.refused_malformed.get()),
            (LOG_DROPPED, log_queue::LOG_QUEUE.dropped()),
        ];
        limits.chain(refused).chain(self.closes.iter())
    }

    /// Requests and sockets that were refused or cut off, for whatever limit, fullness or origin.
    pub fn refusals(&self) -> u64 {
        let limits = self.limits.iter().filter(|(limit, _)| limit.refuses()).map(|(_, count)| count);
        let others =
            [&self.refused_busy, &self.refused_no_files, &self.refused_origin, &self.refused_malformed]
                .map(Counter::get);
        limits.chain(others).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_mishap_has_a_name_of_its_own() {
        let counters = Counters::default();
        let names: Vec<_> = counters.mishaps().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_session_that_is_closed_at_its_limit_is_no_refusal() {
        let counters = Counters::default();
        limits::Limit::ALL.iter().for_each(|limit| counters.limits.count(*limit));
        counters.closes.count(None);
        assert_eq!(counters.refusals(), limits::Limit::ALL.len() as u64 - 3);
        counters.refused_busy.add(10);
        counters.refused_no_files.add(100);
        counters.refused_origin.add(1_000);
        counters.refused_malformed.add(10_000);
        assert_eq!(counters.refusals(), limits::Limit::ALL.len() as u64 - 3 + 11_110);
    }
}
