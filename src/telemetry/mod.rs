//! Counters and gauges: data about the server that is available without a request to its actors.

pub(crate) mod causes;
pub(crate) mod engine_health;
pub(crate) mod engine_metrics;
pub(crate) mod in_flight;
pub mod limits;
pub(crate) mod metrics;
pub(crate) mod log_queue;
pub(crate) mod log_sums;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod series;
pub(crate) mod thread_health;

use crate::protocol::websocket::close::CloseReason;
use causes::{RefusedTokens, StreamLosses};
use metrics::FailureEffect;
use std::collections::HashMap;
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
    /// Streams of which a returning client received everything that it had missed.
    pub streams_recovered: Counter,
    /// Streams of which a returning client may have missed something, by reason.
    pub streams_not_recovered: StreamLosses,
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
    /// Receipts of published items.
    pub receipts: ReceiptCounts,
    /// Closed websockets, by reason.
    pub closes: Closes,
    /// How often each limit was reached.
    pub limits: limits::LimitHits,
    /// Handshakes and polls refused because of the origin of their page.
    pub refused_origin: Counter,
    /// Connection tokens that were refused, or missing where one is required, by cause.
    pub refused_tokens: RefusedTokens,
    /// Requests that got status 400 because they were malformed or not HTTP.
    pub refused_malformed: Counter,
    /// Current connections; like the next three levels, at most a tenth of a second old.
    pub connections: Level,
    /// Users with current connections.
    pub users: Level,
    /// Users whose state the server stores.
    pub remembered_users: Level,
    pub channels: Level,
    /// Users with a block.
    pub blocks: Level,
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
        let others =
            metrics::failures(self).filter(|(_, failure, _)| failure.effect == FailureEffect::Refused);
        limits.chain(others.map(|(_, _, count)| count)).sum()
    }
}

/// What a receipt of a published item waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptLevel {
    /// The position of its frame.
    Position,
    /// The store. There is none, so the position suffices.
    Durable,
}

/// Counts of receipts, by level and result.
#[derive(Debug, Default)]
pub struct ReceiptCounts {
    given: [Counter; 2],
    late: [Counter; 2],
}

impl ReceiptCounts {
    /// Counts the items of an answer that have a receipt, and those whose receipt did not arrive in time.
    pub fn count(&self, level: ReceiptLevel, given: usize, late: usize) {
        self.given[level as usize].add(given as u64);
        self.late[level as usize].add(late as u64);
    }

    /// The receipts in answers.
    pub fn given(&self, level: ReceiptLevel) -> u64 {
        self.given[level as usize].get()
    }

    /// The receipts that did not arrive in time.
    pub fn late(&self, level: ReceiptLevel) -> u64 {
        self.late[level as usize].get()
    }
}

/// The name of the counter for sockets that ended without a close frame from either side.
pub const GONE: &str = "gone";

#[derive(Debug)]
pub struct Closes {
    by_reason: [Counter; CloseReason::ALL.len()],
    gone: Counter,
}

impl Default for Closes {
    fn default() -> Self {
        Self { by_reason: std::array::from_fn(|_| Counter::default()), gone: Counter::default() }
    }
}

impl Closes {
    /// Counts a websocket that has ended, with the reason if it was closed.
    pub fn count(&self, reason: Option<CloseReason>) {
        let of = |reason: CloseReason| {
            CloseReason::ALL.iter().zip(&self.by_reason).find(|(known, _)| known.name() == reason.name())
        };
        reason.and_then(of).map_or(&self.gone, |(_, counter)| counter).add(1);
    }

    /// All reasons by name, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.reasons().map(|(reason, count)| (reason.map_or(GONE, CloseReason::name), count))
    }

    /// The same by the reasons themselves; `None` stands for sockets that ended without a close frame.
    pub fn reasons(&self) -> impl Iterator<Item = (Option<CloseReason>, u64)> {
        let by_reason = CloseReason::ALL.into_iter().map(Some).zip(&self.by_reason);
        by_reason.chain([(None, &self.gone)]).map(|(reason, counter)| (reason, counter.get()))
    }

    /// The number of all closed websockets.
    pub fn sum(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

/// Counters by name, with the time at which each was last seen to increase.
#[derive(Debug, Default)]
pub struct LastSeen(HashMap<&'static str, Growth>);

#[derive(Clone, Copy, Debug)]
struct Growth {
    count: u64,
    at_unix: u64,
}

impl LastSeen {
    /// Compares the counters. Those that have increased since the last call get the current time.
    pub fn look(&mut self, counters: impl Iterator<Item = (&'static str, u64)>, now_unix: u64) {
        for (name, count) in counters {
            let known = self.0.get(name).map_or(0, |growth| growth.count);
            if count > known {
                self.0.insert(name, Growth { count, at_unix: now_unix });
            }
        }
    }

    /// The time of this counter's last increase, in Unix seconds; `None` if it never increased.
    pub fn of(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|growth| growth.at_unix)
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
        counters.refused_tokens.of(causes::TokenCause::Expired).add(100_000);
        assert_eq!(counters.refusals(), limits::Limit::ALL.len() as u64 - 3 + 111_110);
    }

    #[test]
    fn each_reason_has_a_separate_counter() {
        let closes = Closes::default();
        CloseReason::ALL.into_iter().for_each(|reason| closes.count(Some(reason)));
        closes.count(Some(CloseReason::ByPeer(Some(4_999))));
        closes.count(None);
        for (name, count) in closes.iter() {
            assert_eq!(count, if name == "by_peer" { 2 } else { 1 }, "{name}");
        }
        assert_eq!(closes.sum(), CloseReason::ALL.len() as u64 + 2);
    }

    #[test]
    fn each_counter_has_the_time_of_its_last_increase() {
        let mut last_seen = LastSeen::default();
        last_seen.look([("a", 0), ("b", 2)].into_iter(), 100);
        last_seen.look([("a", 1), ("b", 2)].into_iter(), 101);
        last_seen.look([("a", 1), ("b", 2)].into_iter(), 102);
        assert_eq!([last_seen.of("a"), last_seen.of("b"), last_seen.of("c")], [Some(101), Some(100), None]);
        last_seen.look([("b", 3)].into_iter(), 103);
        assert_eq!([last_seen.of("a"), last_seen.of("b")], [Some(101), Some(103)]);
    }
}
