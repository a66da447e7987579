//! The hub: delivers frames to the sessions of one worker thread.
//!
//! A hub receives one message per broadcast, not one per session, and writes to the sockets of its sessions itself.
//! Broadcasts that arrive while it writes are sent together.

pub(crate) mod messages;
pub(crate) mod handle;
pub(crate) mod fanout;
mod catch_up;
mod group;
mod laggards;
mod memberships;
mod slot;
pub(crate) mod table;
mod recording;
mod returning;
mod timers;
#[cfg(test)]
#[path = "delivery_tests.rs"]
mod delivery_tests;
#[cfg(test)]
#[path = "harness_tests.rs"]
mod harness;

use super::batched_mailbox::{Batch, FlushMailbox};
use super::drain::retry_ms;
use super::marking::Marking;
use crate::clock::Clock;
use crate::config::Settings;
use crate::protocol::ids::SlotKey;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::PushResult;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::limits::Limit;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};
use fanout::Fanout;
use messages::{Attach, Detached, Subscription, ToHub};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::SessionTable;
use timers::Wheel;
use tokio::sync::Notify;

/// Members served before the hub yields to other tasks of the thread. Between 64 and 256, a request is answered within
/// milliseconds during a fan-out to 10,000 sockets, and the pauses cost nothing measurable.
const SLICE: usize = 128;
/// The cost of catch-ups per turn, in frames and streams: at most one or two milliseconds.
const CATCH_UP_PER_TURN: usize = 4_096;
/// The tick of the timer wheel.
const TICK_MS: u64 = 100;
/// How long the successor of a poll waits until the response in flight is delivered, in ms.
const ANSWER_MS: u64 = 1_000;
/// Buckets of the timer wheel: it covers deadlines within 51 s in one revolution.
const BUCKETS: usize = 512;

/// State that a hub and the sessions of its thread share.
struct HubShared {
    table: RefCell<SessionTable>,
    fanout: RefCell<Fanout>,
    wheel: RefCell<Wheel<SlotKey>>,
    work: Notify,
    /// Sessions to close, each list after a round of the fan-out.
    pending_closes: RefCell<VecDeque<(u64, Vec<SlotKey>, CloseReason)>>,
    /// Delivery marks, each after a round of the fan-out.
    pending_marks: RefCell<VecDeque<(u64, Arc<Marking>)>>,
    /// Sessions whose heartbeat, ping or timeout is due.
    due: RefCell<VecDeque<SlotKey>>,
    clock: Clock,
    started: Instant,
    /// The Unix time at the start of this hub, in ms.
    start_ms: u64,
    /// Queued bytes and frames of this thread at the last report.
    queued: Cell<(usize, usize)>,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    attach: Recipient<Attach>,
    published: Arc<dyn FlushMailbox>,
    registry: Recipient<Detached>,
}

impl HubShared {
    /// The Unix time at 0 on the hub's clock, in ms. Suspensions of the process move it forward.
    fn clock_start_ms(&self) -> u64 {
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        self.start_ms + elapsed_ms.saturating_sub(self.clock.now_ms())
    }

    fn report(&self, detached: Option<Detached>) {
        if let Some(detached) = detached {
            self.registry.do_send(detached);
        }
    }

    fn close(&self, key: SlotKey, reason: CloseReason) {
        self.close_with(key, reason, None);
    }

    /// Closes a session. `text` replaces the text of the reason.
    fn close_with(&self, key: SlotKey, reason: CloseReason, text: Option<&str>) {
        match reason {
            CloseReason::TooSlow => self.counters.closed_too_slow.add(1),
            CloseReason::Silent => self.counters.closed_silent.add(1),
            CloseReason::TakenOver => self.counters.closed_taken_over.add(1),
            _ => {}
        }
        if reason == CloseReason::TakenOver && self.table.borrow_mut().is_answering(key) {
            // The delivery of the response ends this session, nearly always immediately: a client that polls again has
            // read the response.
            let at = self.clock.ticked_ms() + ANSWER_MS;
            return self.wheel.borrow_mut().insert(at.div_ceil(TICK_MS), key);
        }
        let detached = self.table.borrow_mut().close(key, reason, text);
        self.report(detached);
    }

    /// Closes a session because the server shuts down. It first sends what is queued, or the response that it collects,
    /// and then leaves the hub, so that the client's cursor is correct when it comes again.
    fn close_for_shutdown(&self, key: SlotKey, reason: CloseReason) {
        self.table.borrow_mut().close_when_sent(key, reason);
    }

    fn apply_result(&self, key: SlotKey, pushed: PushResult) {
        match pushed {
            PushResult::Accepted | PushResult::Closed => {}
            PushResult::Overflow => {
                let send_queue = self.table.borrow_mut().slot(key).map(|slot| slot.send_queue.clone());
                let frames = send_queue.is_some_and(|send_queue| send_queue.has_max_frames());
                self.counters.limits.count(if frames { Limit::QueuedFrames } else { Limit::QueuedBytes });
                self.close(key, CloseReason::TooSlow);
            }
            PushResult::Broken => self.close(key, CloseReason::ByPeer(None)),
        }
    }

    /// Counts the answer of a stream to a returning session.
    fn count_recovery(&self, key: SlotKey, subscription: &Subscription) {
        let Some(recovery) = &subscription.recovery else { return };
        if self.table.borrow_mut().slot(key).is_some() {
            match &recovery.verdict.loss {
                // A client that comes for the first time has nothing to recover.
                None if recovery.resume.since.is_empty() => {}
                None => self.counters.streams_recovered.add(1),
                Some(loss) => self.counters.streams_not_recovered.of(loss.reason).add(1),
            }
        }
    }

    /// Does the work of one turn. False when nothing is left.
    fn work(&self) -> bool {
        self.catch_up();
        self.handle_due();
        let slice = self.fanout.borrow_mut().run(&mut self.table.borrow_mut(), SLICE);
        self.counters.deliveries.add(slice.deliveries);
        self.in_flight.hub_bytes.sub(slice.bytes);
        for (key, pushed) in slice.failed {
            self.apply_result(key, pushed);
        }
        let all_are_closed = self.close_drained();
        self.report_laggards();
        let is_idle = self.fanout.borrow().is_idle() && all_are_closed;
        !is_idle || self.table.borrow().has_unfinished() || !self.due.borrow().is_empty()
    }

    /// Continues catch-ups that take more than one turn.
    fn catch_up(&self) {
        self.table.borrow_mut().set_allowance(CATCH_UP_PER_TURN);
        loop {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.unfinished() else { return };
            let pushed = table.continue_catch_up(key);
            drop(table);
            self.apply_result(key, pushed);
        }
    }

    /// Closes sessions after everything pending now is delivered.
    fn close_after_pending(&self, keys: Vec<SlotKey>, reason: CloseReason) {
        let round = self.fanout.borrow().next_round();
        self.pending_closes.borrow_mut().push_back((round, keys, reason));
        self.work.notify_one();
    }

    /// Adds the laggards to the marks that everything before them has left.
    fn report_laggards(&self) {
        let mut pending = self.pending_marks.borrow_mut();
        while pending.front().is_some_and(|(round, _)| self.fanout.borrow().is_past(*round)) {
            let reached = pending.pop_front();
            let marking = reached.iter().map(|(_, marking)| marking);
            marking.for_each(|marking| marking.collect(|found| self.table.borrow().add_laggards(found)));
        }
    }

    /// Closes sessions whose pending frames are delivered, a limited number per turn. True when no such session is
    /// left.
    fn close_drained(&self) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let mut pending_closes = self.pending_closes.borrow_mut();
            let Some((_, keys, reason)) =
                pending_closes.front_mut().filter(|(round, ..)| self.fanout.borrow().is_past(*round))
            else {
                return true;
            };
            let (part, reason) = (keys.split_off(keys.len().saturating_sub(left)), *reason);
            if keys.is_empty() {
                pending_closes.pop_front();
            }
            drop(pending_closes);
            left -= part.len();
            part.into_iter().for_each(|key| self.close_for_shutdown(key, reason));
        }
        false
    }
}

/// The hub actor.
///
/// Owns: the session slots of its thread and the local members of every channel.
/// Started by: `server`, on the worker's own thread.
/// Ends: with its thread.
/// Mailbox: bounded by [`InFlight::hub_bytes`]; the API refuses with 503 before it is exceeded.
/// Talks to: sessions (through their send queues), the registry (reports of ended sessions).
pub struct Hub {
    shared: Rc<HubShared>,
}

impl Hub {
    fn handle_one(&mut self, message: ToHub) {
        let shared = &self.shared;
        match message {
            ToHub::Deliver(channel, stamped) => {
                shared.fanout.borrow_mut().push(channel, stamped);
                shared.work.notify_one();
            }
            ToHub::DeliverTo(channel, slots, stamped) => {
                shared.fanout.borrow_mut().push_to(channel, slots, stamped);
                shared.work.notify_one();
            }
            ToHub::DeliverPrivate(slots, stamp, frame) => {
                shared.fanout.borrow_mut().push_private(slots, stamp, frame);
                shared.work.notify_one();
            }
            ToHub::Join(channel, key, subscription) => {
                shared.count_recovery(key, &subscription);
                let pushed = shared.table.borrow_mut().join(channel, key, subscription);
                shared.apply_result(key, pushed);
            }
            ToHub::JoinPrivate(key, subscription) => {
                shared.count_recovery(key, &subscription);
                let pushed = shared.table.borrow_mut().join_private(key, subscription);
                shared.apply_result(key, pushed);
            }
            ToHub::Leave(channel, key) => {
                // Searches the pending frames only for sessions that still exist.
                if shared.table.borrow_mut().is_in(channel, key) {
                    let pending = shared.fanout.borrow().pending_in(channel);
                    let pushed = shared.table.borrow_mut().leave(channel, key, pending);
                    shared.apply_result(key, pushed);
                }
            }
            ToHub::Release(key, why) => shared.close_with(key, why.reason, why.text.as_deref()),
            ToHub::OrderedClose(keys, reason) => shared.close_after_pending(keys, reason),
            ToHub::Mark(marking) => {
                let round = shared.fanout.borrow().next_round();
                shared.pending_marks.borrow_mut().push_back((round, marking));
                shared.work.notify_one();
            }
            ToHub::Renew(channel, position) => shared.table.borrow_mut().renew(channel, position),
            ToHub::RenewPrivate(key, epoch) => {
                if shared.table.borrow_mut().renew_private(key, epoch) {
                    // Its client learns from the answer to its return what it may lack. Many are closed at the same
                    // moment, so that they return spread over the time in which a shutdown closes sessions.
                    let delay = rand::random_range(0..=retry_ms(shared.settings.shutdown_spread));
                    shared.close_with(key, CloseReason::Restarting(delay), None);
                }
            }
            ToHub::BeginLife(server) => shared.table.borrow_mut().begin_life(server),
            ToHub::Drain => {
                let keys = shared.table.borrow().keys();
                shared.close_after_pending(keys, CloseReason::GoingAway);
            }
        }
        if shared.table.borrow().has_unfinished() {
            shared.work.notify_one();
        }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let shared = self.shared.clone();
        // Runs after the mailbox is drained, so that everything received in one turn is sent in one turn.
        let writer = async move {
            loop {
                shared.work.notified().await;
                while shared.work() {
                    // Waking this task directly would not let the I/O driver run; `yield_now` does.
                    tokio::task::yield_now().await;
                }
            }
        };
        context.spawn(writer.into_actor(self).map(|(), _, _| ()));
        context.run_interval(Duration::from_millis(TICK_MS), |hub, _| {
            hub.shared.tick();
        });
    }
}

impl Handler<ToHub> for Hub {
    type Result = ();

    fn handle(&mut self, message: ToHub, _: &mut Self::Context) {
        self.handle_one(message);
    }
}

impl Handler<Batch<ToHub>> for Hub {
    type Result = ();

    fn handle(&mut self, batch: Batch<ToHub>, _: &mut Self::Context) {
        batch.0.into_iter().for_each(|message| self.handle_one(message));
    }
}
