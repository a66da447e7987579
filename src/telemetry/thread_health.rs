//! Whether the server's threads take their turns. Told the time; what asks them is the watchdog in `app`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Not asked.
const NEVER: u64 = u64::MAX;

/// One thread, which is asked again and again.
#[derive(Debug)]
pub struct ThreadHeartbeat {
    /// The thread's name.
    pub name: String,
    /// When the question that is not answered yet was asked, in ms.
    asked: AtomicU64,
    lagging: AtomicBool,
}

/// What a look at a pulse has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// Nothing new.
    Same,
    /// For so many ms now there has been no answer: the thread lags.
    Lags(u64),
    /// It answers again.
    Recovered,
}

impl ThreadHeartbeat {
    /// A thread that has not been asked.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), asked: AtomicU64::new(NEVER), lagging: AtomicBool::new(false) }
    }

    /// True if the thread is to be asked now: no earlier question waits for its answer.
    pub fn ask(&self, now_ms: u64) -> bool {
        self.asked.compare_exchange(NEVER, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The thread has had its turn.
    pub fn answer(&self) {
        self.asked.store(NEVER, Ordering::Relaxed);
    }

    /// How long an answer has been waited for, in ms.
    pub fn waited_ms(&self, now_ms: u64) -> u64 {
        match self.asked.load(Ordering::Relaxed) {
            NEVER => 0,
            asked => now_ms.saturating_sub(asked),
        }
    }

    /// Looks whether the thread lags: it has not answered for `limit_ms`.
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

/// All threads.
#[derive(Debug, Default)]
pub struct ThreadHealth {
    pulses: OnceLock<Vec<Arc<ThreadHeartbeat>>>,
    /// Workers that do not serve yet.
    starting: AtomicUsize,
}

impl ThreadHealth {
    /// So many workers are about to start.
    pub fn new(workers: usize) -> Self {
        Self { pulses: OnceLock::new(), starting: AtomicUsize::new(workers) }
    }

    /// A worker serves from now on.
    pub fn worker_started(&self) {
        self.starting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a worker does not serve yet.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed) > 0
    }

    /// These threads are asked from now on. Once.
    pub fn watch(&self, pulses: Vec<Arc<ThreadHeartbeat>>) {
        let _ = self.pulses.set(pulses);
    }

    /// The thread that lags most, and for how many ms it has not answered.
    pub fn lagging(&self, now_ms: u64) -> Option<(&str, u64)> {
        let pulses = self.pulses.get()?.iter();
        let lagging = pulses.filter(|pulse| pulse.lagging.load(Ordering::Relaxed));
        let waited = lagging.map(|pulse| (pulse.name.as_str(), pulse.waited_ms(now_ms)));
        waited.max_by_key(|(_, ms)| *ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_answers_in_time_does_not_lag() {
        let pulse = ThreadHeartbeat::new("worker 1");
        for now in (0..10_000).step_by(500) {
            assert!(pulse.ask(now));
            pulse.answer();
            assert_eq!(pulse.look(now + 400, 2_000), HealthChange::Same);
        }
    }

    #[test]
    fn one_that_does_not_lags_until_it_does() {
        let thread_health = ThreadHealth::default();
        let pulses =
            vec![Arc::new(ThreadHeartbeat::new("worker 1")), Arc::new(ThreadHeartbeat::new("registry"))];
        thread_health.watch(pulses.clone());
        assert!(pulses[0].ask(0) && pulses[1].ask(100));
        assert!(!pulses[1].ask(600), "one question at a time: a thread that is stuck collects none");
        assert_eq!(pulses[1].look(2_099, 2_000), HealthChange::Same);
        assert_eq!(thread_health.lagging(2_099), None);
        assert_eq!(pulses[1].look(2_100, 2_000), HealthChange::Lags(2_000));
        assert_eq!(pulses[1].look(2_600, 2_000), HealthChange::Same, "told once");
        assert_eq!(pulses[0].look(2_600, 2_000), HealthChange::Lags(2_600));
        assert_eq!(thread_health.lagging(2_600), Some(("worker 1", 2_600)));
        pulses[0].answer();
        assert_eq!(pulses[0].look(2_700, 2_000), HealthChange::Recovered);
        assert_eq!(thread_health.lagging(2_700), Some(("registry", 2_600)));
    }

    #[test]
    fn it_starts_until_all_workers_serve() {
        let thread_health = ThreadHealth::new(2);
        thread_health.worker_started();
        assert!(thread_health.is_starting());
        thread_health.worker_started();
        assert!(!thread_health.is_starting());
    }
}
