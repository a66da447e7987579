//! The channels' arm on one worker thread.
//!
//! A hub receives one message per broadcast, not one per session, and writes to its sessions' sockets itself;
//! while it writes, new broadcasts pile up and go out together.

pub mod messages;
pub mod inspect;
pub mod handle;
pub(crate) mod fanout;
mod group;
mod memberships;
mod work;
mod shed;
mod slot;
pub(crate) mod table;
mod recording;
mod wheel;
#[cfg(test)]
#[path = "delivery_tests.rs"]
mod delivery_tests;
#[cfg(test)]
#[path = "harness_tests.rs"]
mod harness;

use super::batched_mailbox::{Batch, FlushMailbox};
use crate::clock::{Clock, Tick};
use crate::config::Settings;
use crate::limits::in_flight::InFlight;
use crate::protocol::ids::{HubId, SlotKey};
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::{HEARTBEAT, PING};
use crate::send_queue::{PushResult, frames_here, queued_here};
use crate::telemetry::Counters;
use crate::telemetry::limits::Limit;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};
use fanout::Fanout;
use messages::{Attach, Detached, ToHub, Transport};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::SessionTable;
use tokio::sync::Notify;
use wheel::Wheel;

/// Members served before other tasks of the thread get their turn. Between 64 and 256 a request is answered in
/// milliseconds during a fan-out to 10,000 sockets, and the pauses cost nothing measurable.
const SLICE: usize = 128;
/// What catch-ups may cost in one turn, in frames and streams: at most a millisecond or two.
const CATCH_UP: usize = 4_096;
/// Sessions looked after in one turn of those whose heartbeat, ping or end is due: each may be a call of the system.
const ATTENDED: usize = 256;
/// The wheel's tick.
const TICK_MS: u64 = 100;
/// How long a poll's successor waits for the receipt of an answer that is on its way, in ms.
const ANSWER_MS: u64 = 1_000;
/// Buckets of the wheel: deadlines within 51 s are met in one turn.
const BUCKETS: usize = 512;

/// What a hub and the sessions of its thread share.
struct HubShared {
    table: RefCell<SessionTable>,
    fanout: RefCell<Fanout>,
    wheel: RefCell<Wheel<SlotKey>>,
    work: Notify,
    /// Who is to go, behind which round of the fan-out.
    farewells: RefCell<VecDeque<(u64, Vec<SlotKey>, CloseReason)>>,
    /// Sessions whose heartbeat, ping or end is due.
    due: RefCell<VecDeque<SlotKey>>,
    clock: Clock,
    started: Instant,
    /// Unix time when this hub started, in ms.
    epoch_ms: u64,
    /// Bytes and frames that waited on this thread when it was last reported.
    queued: Cell<(usize, usize)>,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    attach: Recipient<Attach>,
    published: Arc<dyn FlushMailbox>,
    registry: Recipient<Detached>,
}

impl HubShared {
    /// Unix time at 0 on the hub's clock, in ms. Later by the pauses of the process so far.
    fn epoch_ms(&self) -> u64 {
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        self.epoch_ms + elapsed_ms.saturating_sub(self.clock.now_ms())
    }

    fn report(&self, detached: Option<Detached>) {
        if let Some(detached) = detached {
            self.registry.do_send(detached);
        }
    }

    fn dismiss(&self, key: SlotKey, reason: CloseReason) {
        match reason {
            CloseReason::TooSlow => self.counters.closed_too_slow.add(1),
            CloseReason::Silent => self.counters.closed_silent.add(1),
            CloseReason::TakenOver => self.counters.closed_taken_over.add(1),
            _ => {}
        }
        if reason == CloseReason::TakenOver && self.table.borrow_mut().is_answering(key) {
            // Its receipt will tell, nearly always at once: the peer that asks again has read the answer.
            let at = self.clock.ticked_ms() + ANSWER_MS;
            return self.wheel.borrow_mut().insert(at.div_ceil(TICK_MS), key);
        }
        let detached = self.table.borrow_mut().dismiss(key, reason);
        self.report(detached);
    }

    /// The server stops. A poll is answered with what it has, and so its client is where it says it is if it asks again.
    fn send_away(&self, key: SlotKey, reason: CloseReason) {
        let table = &mut *self.table.borrow_mut();
        match table.slot(key) {
            Some(slot) if slot.transport == Transport::LongPoll => slot.send_queue.seal(),
            _ => {
                let detached = table.dismiss(key, reason);
                self.report(detached);
            }
        }
    }

    fn settle(&self, key: SlotKey, pushed: PushResult) {
        match pushed {
            PushResult::Accepted | PushResult::Sealed => {}
            PushResult::Overflow => {
                let send_queue = self.table.borrow_mut().slot(key).map(|slot| slot.send_queue.clone());
                let frames = send_queue.is_some_and(|send_queue| send_queue.has_all_frames());
                self.counters.limits.count(if frames { Limit::QueuedFrames } else { Limit::QueuedBytes });
                self.dismiss(key, CloseReason::TooSlow);
            }
            PushResult::Broken => self.dismiss(key, CloseReason::ByPeer(None)),
        }
    }

    /// One turn's work; false when there is nothing left.
    fn work(&self) -> bool {
        self.catch_up();
        self.attend_some();
        let slice = self.fanout.borrow_mut().run(&mut self.table.borrow_mut(), SLICE);
        self.counters.deliveries.add(slice.deliveries);
        self.in_flight.hub_bytes.sub(slice.bytes);
        for (key, pushed) in slice.failed {
            self.settle(key, pushed);
        }
        let all_are_gone = self.say_goodbye();
        let is_idle = self.fanout.borrow().is_idle() && all_are_gone;
        !is_idle || self.table.borrow().has_unfinished() || !self.due.borrow().is_empty()
    }

    /// Goes on with catch-ups that took more than one turn.
    fn catch_up(&self) {
        self.table.borrow_mut().allow(CATCH_UP);
        loop {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.unfinished() else { return };
            let pushed = table.go_on(key);
            drop(table);
            self.settle(key, pushed);
        }
    }

    /// Behind everything that is pending now.
    fn send_away_later(&self, keys: Vec<SlotKey>, reason: CloseReason) {
        let round = self.fanout.borrow().next_round();
        self.farewells.borrow_mut().push_back((round, keys, reason));
        self.work.notify_one();
    }

    /// To those who have got everything that was pending when they were told to go, some of them in each turn. True when
    /// no such session is left.
    fn say_goodbye(&self) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let mut farewells = self.farewells.borrow_mut();
            let Some((_, keys, reason)) =
                farewells.front_mut().filter(|(round, ..)| self.fanout.borrow().is_past(*round))
            else {
                return true;
            };
            let (part, reason) = (keys.split_off(keys.len().saturating_sub(left)), *reason);
            if keys.is_empty() {
                farewells.pop_front();
            }
            drop(farewells);
            left -= part.len();
            part.into_iter().for_each(|key| self.send_away(key, reason));
        }
        false
    }

    /// What waits on this thread, told to who watches the server.
    fn report_queued(&self) {
        let (bytes, frames) = (queued_here(), frames_here());
        let (bytes_before, frames_before) = self.queued.replace((bytes, frames));
        self.in_flight.queued_bytes.change(bytes_before, bytes);
        self.in_flight.queued_frames.change(frames_before, frames);
    }

    /// Closes the sessions with the longest queues while all queues of the server hold too much.
    fn shed(&self) {
        let (max, all) = (self.settings.max_total_queued_bytes, self.in_flight.queued_bytes.get());
        if max == 0 || all <= max {
            return;
        }
        let queues = self.table.borrow().queues();
        for key in shed::longest_queues(queues, shed::target(self.queued.get().0, all, max)) {
            self.counters.limits.count(Limit::TotalQueuedBytes);
            self.dismiss(key, CloseReason::TooSlow);
        }
    }

    /// Heartbeats, pings and silence of the sessions whose time has come.
    fn tick(&self) {
        let tick = self.clock.tick();
        if tick == Tick::Repeated {
            return;
        }
        self.report_queued();
        self.shed();
        if tick == Tick::Late {
            return;
        }
        let due = self.wheel.borrow_mut().turn(self.clock.ticked_ms() / TICK_MS);
        if !due.is_empty() {
            self.due.borrow_mut().extend(due);
            self.work.notify_one();
        }
    }

    fn attend_some(&self) {
        let now_ms = self.clock.ticked_ms();
        for _ in 0..ATTENDED {
            let Some(key) = self.due.borrow_mut().pop_front() else { return };
            self.attend(key, now_ms);
        }
    }

    fn attend(&self, key: SlotKey, now_ms: u64) {
        let settings = &self.settings;
        let mut table = self.table.borrow_mut();
        let Some(slot) = table.slot(key) else { return };
        let send_queue = slot.send_queue.clone();
        if send_queue.is_answering() {
            // Its client does not read the answer. The successor waits no longer and gets all of it again, so the
            // rest of the answer is withdrawn.
            let detached = table.detach(key);
            send_queue.abort(CloseReason::TakenOver);
            return self.report(detached);
        }
        let silent_ms = now_ms.saturating_sub(send_queue.heard_ms());
        if settings.pong_timeout > 0 && silent_ms >= settings.pong_timeout {
            drop(table);
            return self.dismiss(key, CloseReason::Silent);
        }
        let mut pushed = PushResult::Accepted;
        if now_ms >= slot.heartbeat_at {
            slot.heartbeat_at = now_ms + settings.heartbeat_interval_ms;
            pushed = send_queue.push_control(&HEARTBEAT);
        }
        if now_ms >= slot.ping_at && pushed == PushResult::Accepted {
            slot.ping_at = now_ms + settings.ping_interval_ms;
            pushed = send_queue.push_control(&PING);
        }
        let idle_at = send_queue.heard_ms().saturating_add(match settings.pong_timeout {
            0 => u64::MAX,
            ms => ms,
        });
        let next = slot.heartbeat_at.min(slot.ping_at).min(idle_at);
        drop(table);
        if next < u64::MAX {
            self.wheel.borrow_mut().insert(next.div_ceil(TICK_MS), key);
        }
        self.settle(key, pushed);
    }
}

/// The hub actor.
///
/// Owns: the slots of its thread's sessions and the local members of every channel.
/// Started by: `app`, in the worker's own thread.
/// Ends: with its thread.
/// Mailbox: bounded by [`InFlight::hub_bytes`]; the API refuses with 503 before it is exceeded.
/// Talks to: sessions (through their send queues), the registry (goodbyes).
pub struct Hub {
    id: HubId,
    shared: Rc<HubShared>,
}

impl Hub {
    /// The hub's number.
    pub fn id(&self) -> HubId {
        self.id
    }

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
            ToHub::DeliverPrivate(slots, frame) => {
                shared.fanout.borrow_mut().push_private(slots, frame);
                shared.work.notify_one();
            }
            ToHub::Join(channel, key, listen) => {
                let pushed = shared.table.borrow_mut().join(channel, key, listen);
                shared.settle(key, pushed);
            }
            ToHub::JoinInbox(key, listen) => {
                let pushed = shared.table.borrow_mut().join_inbox(key, listen);
                shared.settle(key, pushed);
            }
            ToHub::Leave(channel, key) => {
                // A session that is gone leaves nothing; what is pending is only looked for otherwise.
                if shared.table.borrow_mut().is_in(channel, key) {
                    let pending = shared.fanout.borrow().pending_in(channel);
                    let pushed = shared.table.borrow_mut().leave(channel, key, pending);
                    shared.settle(key, pushed);
                }
            }
            ToHub::Release(key, reason) => shared.dismiss(key, reason),
            ToHub::OrderedClose(keys, reason) => shared.send_away_later(keys, reason),
            ToHub::Drain => {
                let keys = shared.table.borrow().keys();
                shared.send_away_later(keys, CloseReason::GoingAway);
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
        // Runs after the mailbox is drained: what came in one turn goes out in one.
        let writer = async move {
            loop {
                shared.work.notified().await;
                while shared.work() {
                    // Not a wake of our own: only this lets the I/O driver be polled as well.
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
