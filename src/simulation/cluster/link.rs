//! The link of a node: the real queue of calls and the real life of the node. What its task does with sockets is replaced
//! by the wires of [`Redis`]; joining takes one call at a time, as there.

use super::super::Rng;
use super::redis::{Arriving, Redis, Sent};
use crate::broker::engine::call::{Call, NodeNumber, Sender};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::batch::{Answered, Batch};
use crate::broker::engine::link::liveness::{Adopted, Attempt, Beaten, Liveness};
use crate::broker::engine::link::unit::Unit;
use crate::broker::engine::link::verdict::{Loss, Need};
use crate::broker::engine::link::{FromEngine, LinkHandle, Outcome, Owner, ToLink, open_handle};
use crate::protocol::ids::Epoch;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

/// How long a call may take.
pub const TIMEOUT_MS: u64 = 2_000;
const UNANSWERED_MS: u64 = 2_000;
const PATIENCE_MS: u64 = 1_000;
const SETTLING_MS: u64 = 9_000;
const PENDING_BYTES: usize = 1 << 24;

/// What an attempt to join does next.
#[derive(Clone, Debug)]
enum Step {
    Adopt,
    Report(Adopted),
    Enlist(Adopted),
}

enum State {
    Waiting { until: u64 },
    Joining(Attempt, Step),
    Connected,
}

/// See the module's description.
pub struct Link {
    pub handle: LinkHandle,
    inbox: UnboundedReceiver<ToLink>,
    batch: Batch<Owner>,
    liveness: Liveness,
    state: State,
    disconnected_at: Option<u64>,
    boot: Uuid,
    rng: Rng,
    wire: Option<usize>,
    /// The start of the world.
    start: Instant,
}

impl Link {
    pub fn new(boot: Uuid, rng: Rng, now: u64) -> Self {
        let (handle, inbox) = open_handle(PENDING_BYTES);
        let start = Instant::now();
        let (timeout, settling) = (Duration::from_millis(TIMEOUT_MS), Duration::from_millis(SETTLING_MS));
        let (seen, counters) = (handle.seen().clone(), handle.counters().clone());
        let at = start + Duration::from_millis(now);
        Self {
            handle,
            inbox,
            batch: Batch::new(timeout, settling, seen, counters),
            liveness: Liveness::new(Duration::from_millis(1_000), at),
            state: State::Waiting { until: now },
            disconnected_at: Some(now),
            boot,
            rng,
            wire: None,
            start,
        }
    }

    fn at(&self, now: u64) -> Instant {
        self.start + Duration::from_millis(now)
    }

    /// The number of the node, or 0.
    pub fn node(&self) -> NodeNumber {
        self.liveness.node()
    }

    pub fn wire(&self) -> Option<usize> {
        self.wire
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// Whether nothing is left to do until something arrives or time passes.
    pub fn is_idle(&mut self, redis: &mut Redis, is_reachable: bool, now: u64) -> bool {
        let arrives = self.wire.is_some_and(|wire| !redis.wire(wire).from_redis.is_empty());
        let may_join = match &self.state {
            State::Waiting { until } => is_reachable && *until <= now,
            State::Joining(..) => true,
            State::Connected => false,
        };
        self.inbox.is_empty() && !arrives && !may_join
    }

    /// Whether nothing is queued or unanswered.
    pub fn is_quiet(&self) -> bool {
        self.batch.is_idle() && self.is_connected()
    }

    /// One turn: takes what has arrived and what was requested, and does what is due.
    pub fn turn(&mut self, redis: &mut Redis, is_reachable: bool, now: u64) -> VecDeque<FromEngine> {
        let mut events = VecDeque::new();
        self.take_arrivals(redis, now, &mut events);
        self.go_on_joining(redis, is_reachable, now, &mut events);
        while let Ok(message) = self.inbox.try_recv() {
            self.take_message(message, now, &mut events);
        }
        self.advance(redis, now, &mut events);
        events
    }

    /// The replies that are ready, then all mail: so mail that followed a reply may be handled before it.
    fn take_arrivals(&mut self, redis: &mut Redis, now: u64, events: &mut VecDeque<FromEngine>) {
        let Some(wire) = self.wire.filter(|_| self.is_connected()) else { return };
        let arriving = &mut redis.wire(wire).from_redis;
        if arriving.is_empty() {
            return;
        }
        let replies = 1 + self.rng.below(arriving.len() as u64) as usize;
        let all = replies + self.rng.below((arriving.len() - replies) as u64 + 1) as usize;
        let (mut landed, mut rest, mut is_over) = (Vec::new(), VecDeque::new(), false);
        for (index, arriving) in arriving.drain(..all).enumerate() {
            match arriving {
                Arriving::Mail(bytes) => events.push_back(FromEngine::Mail(bytes)),
                Arriving::End => is_over = true,
                Arriving::Replies(sent, replies_to) if index < replies => landed.push((sent, replies_to)),
                later => rest.push_back(later),
            }
        }
        rest.into_iter().rev().for_each(|later| arriving.push_front(later));
        let mut loss = is_over.then_some(Loss::Closed);
        for (sent, replies) in landed {
            redis.wire(wire).sent_at.pop_front();
            let now = self.at(now);
            let Answered { outcomes, needs } = match sent {
                Sent::Pipeline => self.batch.answered(replies, Duration::ZERO, now),
                Sent::Urgent => {
                    let reply = replies.into_iter().next().expect("a call has a reply");
                    self.batch.urgent_answered(reply, Duration::ZERO)
                }
            };
            self.finish(outcomes, now, events);
            if let Some(Need::Connection(cause)) = needs {
                loss = loss.max(Some(cause));
            }
        }
        if let Some(loss) = loss {
            self.lose(loss, redis, now, events);
        }
    }

    fn finish(&mut self, outcomes: Vec<Outcome<Owner>>, now: Instant, events: &mut VecDeque<FromEngine>) {
        for (owner, result) in outcomes {
            match owner {
                Owner::Ticket(ticket) => events.push_back(FromEngine::Reply(ticket, result)),
                Owner::None | Owner::Health => {}
                // An error means that the requester no longer waits.
                Owner::Waiter(waiter) => _ = waiter.send(result),
                Owner::Link(chore) => {
                    let beaten = self.liveness.done(chore, result.as_ref().ok(), now);
                    if let Some(Beaten { stamp, store }) = beaten {
                        self.handle.seen().raise(stamp);
                        events.push_back(FromEngine::Stamp { stamp, store });
                    }
                }
            }
        }
    }

    fn lose(&mut self, loss: Loss, redis: &mut Redis, now: u64, events: &mut VecDeque<FromEngine>) {
        if !self.is_connected() {
            return;
        }
        if let Some(wire) = self.wire {
            let run = self.rng.below(redis.pending_calls(wire) as u64 + 1) as usize;
            redis.forget(wire, run);
        }
        self.state = State::Waiting { until: now + 25 + self.rng.below(50) };
        self.disconnected_at = Some(now);
        self.liveness.lost(loss == Loss::Fenced);
        let outcomes = self.batch.lost();
        self.finish(outcomes, self.at(now), events);
        events.push_back(FromEngine::Lost);
    }

    fn sender(&mut self, redis: &mut Redis, node: NodeNumber) -> Sender {
        redis.draw_sender(node, self.boot, 0)
    }

    /// Does one step of an attempt to join, or begins one.
    fn go_on_joining(
        &mut self,
        redis: &mut Redis,
        is_reachable: bool,
        now: u64,
        events: &mut VecDeque<FromEngine>,
    ) {
        let (attempt, step) = match &self.state {
            State::Waiting { until } if is_reachable && *until <= now => {
                self.wire = Some(redis.connect(self.wire));
                let attempt = self.liveness.attempt(self.rng.next());
                return self.state = State::Joining(attempt, Step::Adopt);
            }
            State::Joining(attempt, step) => (attempt.clone(), step.clone()),
            _ => return,
        };
        let is_open =
            self.wire.is_some_and(|wire| !matches!(redis.wire(wire).from_redis.back(), Some(Arriving::End)));
        if !is_reachable || !is_open {
            // The call may have run.
            if let Step::Enlist(adopted) = &step
                && attempt.must_enlist(adopted)
            {
                if self.rng.once_in(2) && is_open {
                    self.enlist(redis, &attempt);
                }
                self.liveness.may_be_enlisted(&attempt);
            }
            return self.state = State::Waiting { until: now + 50 + self.rng.below(100) };
        }
        let seen = self.handle.seen().clone();
        let next = match step {
            Step::Adopt => {
                let sender = self.sender(redis, attempt.node);
                let (known_term, run) = (attempt.known_term, redis.run_id());
                let reply = redis.call_now(&Call::Adopt { known_term, run, stamp: seen.greatest() }, &sender);
                Step::Report(Adopted::read(&reply).expect("a reply of adopt"))
            }
            Step::Report(adopted) => {
                if attempt.must_report(&adopted) {
                    let sender = self.sender(redis, attempt.node);
                    let mut streams = seen.streams_after(adopted.base);
                    streams.sort();
                    let reply = redis.call_now(&Call::Report { stamp: seen.greatest(), streams }, &sender);
                    assert!(reply.is_ok(), "{reply:?}");
                }
                Step::Enlist(adopted)
            }
            Step::Enlist(adopted) => {
                let must_enlist = attempt.must_enlist(&adopted);
                let node = if must_enlist { attempt.fresh } else { attempt.node };
                redis.subscribe(self.wire.expect("it is connecting"), node);
                if must_enlist && !self.enlist(redis, &attempt) {
                    self.liveness.may_be_enlisted(&attempt);
                    return self.state = State::Waiting { until: now + 50 };
                }
                let is_same_node = self.liveness.joined(&attempt, &adopted, self.at(now));
                (self.disconnected_at, self.state) = (None, State::Connected);
                self.batch.connected();
                let Adopted { term, base, store, .. } = adopted;
                return events.push_back(FromEngine::Joined { node, store, term, base, is_same_node });
            }
        };
        self.state = State::Joining(attempt, next);
    }

    fn enlist(&mut self, redis: &mut Redis, attempt: &Attempt) -> bool {
        let sender = self.sender(redis, attempt.fresh);
        redis.call_now(&Call::Enlist { earlier: attempt.node, info: "{}".into() }, &sender).is_ok()
    }

    fn take_message(&mut self, message: ToLink, now: u64, events: &mut VecDeque<FromEngine>) {
        let at = self.at(now);
        match message {
            ToLink::Call(call, owner, charge) => {
                match self.disconnected_at.is_some_and(|lost| now >= lost + PATIENCE_MS) {
                    true => self.finish(vec![(owner, Err(EngineError::Unavailable))], at, events),
                    false => self.batch.push(call, owner, Some(charge), at),
                }
            }
            ToLink::Refused(owner) => self.finish(vec![(owner, Err(EngineError::Unavailable))], at, events),
            ToLink::Restated(node) => self.liveness.restated(node),
            ToLink::Info(_) | ToLink::Leave(_) => unreachable!("no station sends this"),
        }
    }

    fn advance(&mut self, redis: &mut Redis, now: u64, events: &mut VecDeque<FromEngine>) {
        let at = self.at(now);
        let expired = self.batch.expire(at);
        self.finish(expired, at, events);
        let Some(wire) = self.wire.filter(|_| self.is_connected()) else { return };
        if redis.wire(wire).sent_at.front().is_some_and(|sent| sent + UNANSWERED_MS <= now) {
            return self.lose(Loss::Silent, redis, now, events);
        }
        for chore in self.liveness.due(at) {
            let call = self.liveness.call(chore, None);
            match chore.is_urgent() {
                true => self.batch.push_urgent(call, Owner::Link(chore)),
                false => self.batch.push_own(call, Owner::Link(chore)),
            }
        }
        let (node, boot, settings) = (self.liveness.node(), self.boot, redis.constants());
        let rng = &mut self.rng;
        let mut command = |unit: &Unit<Owner>| {
            let (epoch, seed) = (Epoch::new(rng.next()), super::redis::uuid_of(rng));
            (unit.call.clone(), Sender { node, boot, number: unit.number, epoch, seed, settings })
        };
        while let Some(unit) = self.batch.next_urgent() {
            redis.send(wire, Sent::Urgent, vec![command(unit)], now);
        }
        let pipeline: Vec<_> = self.batch.next_pipeline(at).iter().map(command).collect();
        if !pipeline.is_empty() {
            redis.send(wire, Sent::Pipeline, pipeline, now);
        }
    }
}
