//! Whether the server's threads respond in time. The time is passed in; the watchdog in `server` probes the threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// No probe is pending.
const NEVER: u64 = u64::MAX;

/// The state of one thread, which is probed at intervals.
#[derive(Debug)]
pub struct ThreadHeartbeat {
    /// The thread's name.
    pub name: String,
    /// When the pending probe was sent, in ms.
    probe_sent: AtomicU64,
    lagging: AtomicBool,
}

/// The result of a check of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    Same,
    /// The thread lags: it has not responded for this many ms.
    Lags(u64),
    /// It responds again.
    Recovered,
}

impl ThreadHeartbeat {
    /// A thread without a pending probe.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), probe_sent: AtomicU64::new(NEVER), lagging: AtomicBool::new(false) }
    }

    /// Whether to send a probe now: true if no earlier one is pending.
    pub fn ask(&self, now_ms: u64) -> bool {
        self.probe_sent.compare_exchange(NEVER, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Records the thread's response.
    pub fn answer(&self) {
        self.probe_sent.store(NEVER, Ordering::Relaxed);
    }

    /// How long a probe has been pending, in ms.
    pub fn waited_ms(&self, now_ms: u64) -> u64 {
        match self.probe_sent.load(Ordering::Relaxed) {
            NEVER => 0,
            probe_sent => now_ms.saturating_sub(probe_sent),
        }
    }

    /// Checks whether the thread lags: it has not responded for `limit_ms`.
    pub fn look(&self, now_ms: u64, limit_ms: u64) -> HealthChange {
        let waited = self.waited_ms(now_ms);
        let lags = waited >= limit_ms;
        match (self.lagging.swap(lags, Ordering::Relaxed), lags) {
            (false, true) => HealthChange::Lags(waited),
            (true, false) => HealthChange::Recovered,
            _ => HealthChange::Same,
        }
    }
}

#[derive(Debug, Default)]
pub struct ThreadHealth {
    heartbeats: OnceLock<Vec<Arc<ThreadHeartbeat>>>,
    /// Workers that have not started to serve.
    starting: AtomicUsize,
}

impl ThreadHealth {
    /// Creates the state for this many workers that are about to start.
    pub fn new(workers: usize) -> Self {
        Self { heartbeats: OnceLock::new(), starting: AtomicUsize::new(workers) }
    }

    /// A worker has started to serve.
    pub fn worker_started(&self) {
        self.starting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a worker has not started to serve yet.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed) > 0
    }

    /// Sets the threads to probe. It can be called once.
    pub fn watch(&self, heartbeats: Vec<Arc<ThreadHeartbeat>>) {
        let _ = self.heartbeats.set(heartbeats);
    }

    /// The thread that lags most, and for how many ms it has not responded.
    pub fn lagging(&self, now_ms: u64) -> Option<(&str, u64)> {
        let heartbeats = self.heartbeats.get()?.iter();
        let lagging = heartbeats.filter(|heartbeat| heartbeat.lagging.load(Ordering::Relaxed));
        let waited = lagging.map(|heartbeat| (heartbeat.name.as_str(), heartbeat.waited_ms(now_ms)));
        waited.max_by_key(|(_, ms)| *ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_answers_in_time_does_not_lag() {
        let heartbeat = ThreadHeartbeat::new("worker 1");
        for now in (0..10_000).step_by(500) {
            assert!(heartbeat.ask(now));
            heartbeat.answer();
            assert_eq!(heartbeat.look(now + 400, 2_000), HealthChange::Same);
        }
    }

    #[test]
    fn a_thread_that_does_not_answer_lags_until_it_does() {
        let thread_health = ThreadHealth::default();
        let heartbeats =
            vec![Arc::new(ThreadHeartbeat::new("worker 1")), Arc::new(ThreadHeartbeat::new("registry"))];
        thread_health.watch(heartbeats.clone());
        assert!(heartbeats[0].ask(0) && heartbeats[1].ask(100));
        assert!(!heartbeats[1].ask(600), "one probe at a time: a stuck thread does not collect probes");
        assert_eq!(heartbeats[1].look(2_099, 2_000), HealthChange::Same);
        assert_eq!(thread_health.lagging(2_099), None);
        assert_eq!(heartbeats[1].look(2_100, 2_000), HealthChange::Lags(2_000));
        assert_eq!(heartbeats[1].look(2_600, 2_000), HealthChange::Same, "reported once");
        assert_eq!(heartbeats[0].look(2_600, 2_000), HealthChange::Lags(2_600));
        assert_eq!(thread_health.lagging(2_600), Some(("worker 1", 2_600)));
        heartbeats[0].answer();
        assert_eq!(heartbeats[0].look(2_700, 2_000), HealthChange::Recovered);
        assert_eq!(thread_health.lagging(2_700), Some(("registry", 2_600)));
    }

    #[test]
    fn the_server_is_starting_until_all_workers_serve() {
        let thread_health = ThreadHealth::new(2);
        thread_health.worker_started();
        assert!(thread_health.is_starting());
        thread_health.worker_started();
        assert!(!thread_health.is_starting());
    }
}
