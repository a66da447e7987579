//! Checks the deadlines of a thread's connections a few times per second. A connection needs no timer for its deadlines,
//! only a few writes to its own cells.

use super::deadline::{ConnectionDeadline, RequestStep, TrackerShared, Verdict};
use super::framing::HeadRules;
use super::reject;
use crate::broker::drain::{Drain, Stage};
use crate::clock::{Clock, Tick};
use crate::config::Settings;
use crate::http_error::OverLimit;
use crate::telemetry::Counters;
use crate::telemetry::limits::Limit;
use actix_rt::task::JoinHandle;
use bytes::Bytes;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The interval between two checks. A limit can be exceeded by this much.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

struct TrackedConnection {
    deadline: Rc<ConnectionDeadline>,
    task: Option<JoinHandle<()>>,
}

/// The connections of a thread.
pub struct DeadlineTracker {
    shared: Rc<TrackerShared>,
    drain: Arc<Drain>,
    connections: RefCell<Slab<TrackedConnection>>,
    clock: Clock,
}

/// Tracks a connection until it is dropped. Must not outlive the socket.
pub struct Guard {
    tracker: Rc<DeadlineTracker>,
    key: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tracker.connections.borrow_mut().try_remove(self.key);
    }
}

impl DeadlineTracker {
    /// Starts the task that checks the connections of this thread as long as the tracker exists. Must be called on a
    /// thread that can start tasks.
    pub fn start(
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        drain: Arc<Drain>,
        rules: HeadRules,
    ) -> Rc<Self> {
        let shared = Rc::new(TrackerShared::new(settings, counters, rules));
        let tracker = Rc::new(Self {
            shared,
            drain,
            connections: RefCell::default(),
            clock: Clock::start(CHECK_INTERVAL),
        });
        let weak = Rc::downgrade(&tracker);
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(CHECK_INTERVAL);
            // After a pause, the bytes that have arrived meanwhile are read before the next check.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while let Some(tracker) = weak.upgrade() {
                tracker.check(tracker.clock.tick());
                drop(tracker);
                ticks.tick().await;
            }
        });
        tracker
    }

    /// The deadline of a new connection.
    pub fn new_deadline(&self) -> Rc<ConnectionDeadline> {
        Rc::new(ConnectionDeadline::new(self.shared.clone()))
    }

    /// Tracks this connection until the guard is dropped.
    pub fn add(self: &Rc<Self>, deadline: Rc<ConnectionDeadline>) -> Guard {
        let key = self.connections.borrow_mut().insert(TrackedConnection { deadline, task: None });
        Guard { tracker: self.clone(), key }
    }

    /// Sets the task that serves a connection. It is aborted when a limit is exceeded.
    pub fn set_task(&self, key: usize, task: JoinHandle<()>) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.task = Some(task);
        }
    }

    fn check(&self, tick: Tick) {
        let now_ms = self.clock.ticked_ms();
        self.shared.now_ms.set(now_ms);
        if tick != Tick::OnTime {
            return;
        }
        let is_ending = self.drain.stage() >= Stage::Ending;
        for (_, TrackedConnection { deadline, task }) in self.connections.borrow().iter() {
            if is_ending && deadline.step.get() == RequestStep::LingeringWithBody {
                deadline.start_lingering(false);
            }
            if let Some(verdict) = deadline.verdict(now_ms) {
                self.end(deadline, task.as_ref(), verdict);
            }
        }
    }

    /// Ends a connection, with an answer if it has none. Its task then ends and drops the guard, but not before this check
    /// of all connections is finished.
    fn end(&self, deadline: &ConnectionDeadline, task: Option<&JoinHandle<()>>, verdict: Verdict) {
        let waits_for_answer = matches!(deadline.step.get(), RequestStep::Head | RequestStep::Body);
        deadline.start_step(RequestStep::Handling);
        if let Verdict::Over(limit) = verdict {
            self.shared.counters.limits.count(limit);
            if waits_for_answer && deadline.end_with(self.timeout_answer(limit)) {
                return;
            }
        }
        if let Some(task) = task {
            task.abort();
        }
    }

    fn timeout_answer(&self, limit: Limit) -> Bytes {
        let settings = &self.shared.settings;
        let ms = match limit {
            Limit::HeaderTime => settings.header_timeout_ms,
            _ => settings.body_timeout_ms,
        };
        reject::answer(&OverLimit::of(limit, ms as usize).into())
    }
}

impl Guard {
    /// The key of the connection in the tracker.
    pub fn key(&self) -> usize {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::tests::RULES;
    use super::*;

    /// The clock for the deadlines stops while the process is paused.
    #[actix_web::test]
    async fn a_pause_of_the_process_does_not_count() {
        let settings = Arc::new(Settings { header_timeout_ms: 1_000, ..Settings::default() });
        let tracker = DeadlineTracker::start(settings, Arc::default(), Arc::default(), RULES);
        let (first, hits) =
            (tracker.new_deadline(), || tracker.shared.counters.limits.get(Limit::HeaderTime));
        let _first = tracker.add(first.clone());
        let check_after = |ms| tracker.check(tracker.clock.tick_after(ms));
        (1..=5).for_each(|_| check_after(100));
        check_after(60_400);
        check_after(100);
        assert_eq!(hits(), 0, "the pause does not count");
        (1..=10).for_each(|_| check_after(100));
        assert_eq!(hits(), 1, "the client's own time counts");
        let second = tracker.add(tracker.new_deadline());
        (1..=10).for_each(|_| check_after(1_000));
        assert_eq!(hits(), 2, "a thread that is always late checks deadlines as well");
        drop(second);
    }
}
