//! The connections of a thread, looked at a few times a second: a connection pays for its limits of time with a few stores
//! into its own cells, and no timer.

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

/// How often connections are looked at: by so much a limit may be passed.
const EVERY: Duration = Duration::from_millis(100);

/// A connection that is watched.
struct TrackedConnection {
    watch: Rc<ConnectionDeadline>,
    served: Option<JoinHandle<()>>,
}

/// The connections of a thread.
pub struct DeadlineTracker {
    shared: Rc<TrackerShared>,
    drain: Arc<Drain>,
    connections: RefCell<Slab<TrackedConnection>>,
    clock: Clock,
}

/// Stands for a connection that is watched; dropped, it no longer is. Not to be kept longer than the socket.
pub struct Guard {
    watches: Rc<DeadlineTracker>,
    key: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watches.connections.borrow_mut().try_remove(self.key);
    }
}

impl DeadlineTracker {
    /// No connection yet. Must be called where tasks can be started: from here on the thread's connections are looked
    /// at, as long as this exists.
    pub fn start(
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        drain: Arc<Drain>,
        rules: HeadRules,
    ) -> Rc<Self> {
        let shared = Rc::new(TrackerShared::new(settings, counters, rules));
        let watches =
            Rc::new(Self { shared, drain, connections: RefCell::default(), clock: Clock::start(EVERY) });
        let weak = Rc::downgrade(&watches);
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(EVERY);
            // After a pause, what has come meanwhile is read before the next look.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while let Some(watches) = weak.upgrade() {
                watches.look(watches.clock.tick());
                drop(watches);
                ticks.tick().await;
            }
        });
        watches
    }

    /// What tells how far a connection is.
    pub fn watch(&self) -> Rc<ConnectionDeadline> {
        Rc::new(ConnectionDeadline::new(self.shared.clone()))
    }

    /// Watches this connection until the guard is dropped.
    pub fn add(self: &Rc<Self>, watch: Rc<ConnectionDeadline>) -> Guard {
        let key = self.connections.borrow_mut().insert(TrackedConnection { watch, served: None });
        Guard { watches: self.clone(), key }
    }

    /// The task that serves a connection: it is ended when a limit is passed.
    pub fn set_task(&self, key: usize, served: JoinHandle<()>) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.served = Some(served);
        }
    }

    fn look(&self, tick: Tick) {
        let now_ms = self.clock.ticked_ms();
        self.shared.now_ms.set(now_ms);
        if tick != Tick::OnTime {
            return;
        }
        let is_ending = self.drain.stage() >= Stage::Ending;
        for (_, TrackedConnection { watch, served }) in self.connections.borrow().iter() {
            if is_ending && watch.step.get() == RequestStep::LingeringWithBody {
                watch.lingers(false);
            }
            if let Some(verdict) = watch.passed(now_ms) {
                self.end(watch, served.as_ref(), verdict);
            }
        }
    }

    /// Ends a connection, with an answer if it has none. Its task ends then, and the guard with it, after this look at
    /// all of them.
    fn end(&self, watch: &ConnectionDeadline, served: Option<&JoinHandle<()>>, verdict: Verdict) {
        let waits_for_answer = matches!(watch.step.get(), RequestStep::Head | RequestStep::Body);
        watch.turn_to(RequestStep::Served);
        if let Verdict::Over(limit) = verdict {
            self.shared.counters.limits.count(limit);
            if waits_for_answer && watch.end_with(self.goodbye(limit)) {
                return;
            }
        }
        if let Some(served) = served {
            served.abort();
        }
    }

    fn goodbye(&self, limit: Limit) -> Bytes {
        let settings = &self.shared.settings;
        let ms = match limit {
            Limit::HeaderTime => settings.header_timeout_ms,
            _ => settings.body_timeout_ms,
        };
        reject::answer(&OverLimit::of(limit, ms as usize).into())
    }
}

impl Guard {
    /// Its place among the connections.
    pub fn key(&self) -> usize {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::tests::RULES;
    use super::*;

    /// The clock that judges a connection does not run on while the process is paused.
    #[actix_web::test]
    async fn a_pause_is_nobodys_fault() {
        let settings = Arc::new(Settings { header_timeout_ms: 1_000, ..Settings::default() });
        let watches = DeadlineTracker::start(settings, Arc::default(), Arc::default(), RULES);
        let (first, hits) = (watches.watch(), || watches.shared.counters.limits.get(Limit::HeaderTime));
        let _first = watches.add(first.clone());
        let look_after = |ms| watches.look(watches.clock.tick_after(ms));
        (1..=5).for_each(|_| look_after(100));
        look_after(60_400);
        look_after(100);
        assert_eq!(hits(), 0, "the pause is not the client's");
        (1..=10).for_each(|_| look_after(100));
        assert_eq!(hits(), 1, "its own time is");
        let second = watches.add(watches.watch());
        (1..=10).for_each(|_| look_after(1_000));
        assert_eq!(hits(), 2, "a thread that is always late judges, too");
        drop(second);
    }
}
