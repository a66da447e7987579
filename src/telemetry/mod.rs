//! Counters and gauges: data about the server that is available without a request to its actors.

pub(crate) mod closes;
pub(crate) mod in_flight;
pub(crate) mod last_seen;
pub mod limits;
pub(crate) mod metrics;
pub(crate) mod log_queue;
pub(crate) mod log_sums;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod series;
pub(crate) mod thread_health;

use metrics::Failure;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A gauge: the number at the last measurement.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of events since the start, over all threads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames passed to sessions.
    pub deliveries: Counter,
    /// Messages queued for connections, counted once for each receiving connection, with or without a session.
    pub queued: Counter,
    /// Accepted messages, including those for unknown channels.
    pub messages: Counter,
    /// Sessions closed because their client did not read.
    pub closed_too_slow: Counter,
    /// Sessions closed because their client sent nothing.
    pub closed_silent: Counter,
    /// Sessions closed because a later one took over.
    pub closed_taken_over: Counter,
    /// Requests that got status 503 because a mailbox or a hub was full.
    pub refused_busy: Counter,
    /// Times a thread did not respond for `watchdog_timeout`.
    pub threads_lagged: Counter,
    /// Connections that got status 503 because the process had no free file descriptor.
    pub refused_no_files: Counter,
    /// Closed websockets, by reason.
    pub closes: closes::Closes,
    /// How often each limit was reached.
    pub limits: limits::LimitHits,
    /// Handshakes and polls refused because of the origin of their page.
    pub refused_origin: Counter,
    /// Requests that got status 400 because they were malformed or not HTTP.
    pub refused_malformed: Counter,
    /// Current connections; like the next three levels, at most a tenth of a second old.
    pub connections: Level,
    /// Users with current connections.
    pub users: Level,
    /// Users whose state the server stores.
    pub remembered_users: Level,
    pub channels: Level,
}

impl Counters {
    /// All counters of refused, aborted and closed requests and sessions, with unique names.
    pub fn failure_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = self.limits.iter().map(|(limit, count)| (limit.setting(), count));
        let failures = metrics::failures(self).map(|(metric, _, count)| (metric.name, count));
        limits.chain(failures).chain(self.closes.iter())
    }

    /// Requests and sockets that were refused or aborted, because of a limit, a full queue or the origin.
    pub fn refusals(&self) -> u64 {
        let limits = self.limits.iter().filter(|(limit, _)| limit.refuses()).map(|(_, count)| count);
        let others = metrics::failures(self).filter(|(_, failure, _)| *failure == Failure::Refused);
        limits.chain(others.map(|(_, _, count)| count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_failure_count_has_a_unique_name() {
        let counters = Counters::default();
        let names: Vec<_> = counters.failure_counts().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_session_closed_at_its_limit_does_not_count_as_refused() {
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
