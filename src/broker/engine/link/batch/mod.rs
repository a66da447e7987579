//! The queue of calls: their order, pipelines, numbers, deadlines and repetitions. Pure.
//!
//! At most one pipeline of changing calls is unanswered, so that calls which arrive meanwhile form the next one: pipelines
//! grow with the load, and no timer collects them.

mod answers;
#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod life_tests;

use super::Outcome;
use super::counters::EngineCounters;
use super::seen::Seen;
use super::unit::{Charge, Unit, is_reading, must_replicate};
use super::verdict::Need;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum number of calls in a pipeline. Redis recognizes a repeated call among the last 256 numbers.
const PIPELINE_CALLS: usize = 256;
const PIPELINE_BYTES: usize = 256 * 1024;
/// The greatest number of items that one call appends.
const APPEND_ITEMS: usize = 64;

/// What became of calls.
#[derive(Debug)]
pub struct Answered<O> {
    pub outcomes: Vec<Outcome<O>>,
    pub needs: Option<Need>,
}

/// The calls of a node that were not answered yet. `O` identifies the requester of a call.
#[derive(Debug)]
pub struct Batch<O> {
    timeout: Duration,
    queue: VecDeque<Unit<O>>,
    /// The pipeline that is not answered yet.
    sent: Vec<Unit<O>>,
    /// Calls outside of pipelines: those to send, and those that were sent.
    urgent: VecDeque<Unit<O>>,
    urgent_sent: VecDeque<Unit<O>>,
    last_number: u64,
    is_connected: bool,
    /// Whether pipelines have one call until Redis accepts a change. If it refused the first call of a longer one and
    /// accepted the next, calls would lose their order.
    is_probing: bool,
    held_until: Option<Instant>,
    settling_since: Option<Instant>,
    /// How long changes may wait until the link connects again.
    settling_limit: Duration,
    /// The replicas that must have a change before it is answered.
    wait_replicas: u64,
    seen: Arc<Seen>,
    counters: Arc<EngineCounters>,
}

impl<O> Batch<O> {
    /// `timeout` is the time in which a requester gets its reply or an error, `settling_limit` the longest time for which
    /// changes should wait until all nodes have reported.
    pub fn new(
        timeout: Duration,
        settling_limit: Duration,
        seen: Arc<Seen>,
        counters: Arc<EngineCounters>,
    ) -> Self {
        Self {
            timeout,
            queue: VecDeque::new(),
            sent: Vec::new(),
            urgent: VecDeque::new(),
            urgent_sent: VecDeque::new(),
            last_number: 0,
            is_connected: false,
            is_probing: true,
            held_until: None,
            settling_since: None,
            settling_limit,
            wait_replicas: 0,
            seen,
            counters,
        }
    }

    /// Changes that only Redis has are answered when this many replicas have them.
    pub fn waiting_for_replicas(self, count: usize) -> Self {
        Self { wait_replicas: count as u64, ..self }
    }

    /// Adds a call behind all earlier ones. A call that reads is not behind those that are sent already.
    pub fn push(&mut self, call: Call, owner: O, charge: Option<Charge>, now: Instant) {
        let is_urgent = self.is_connected && self.queue.is_empty() && is_reading(&call);
        let unit = Unit::new(call, owner, Some(now + self.timeout), charge);
        if is_urgent { self.urgent.push_back(unit) } else { self.queue.push_back(unit) }
    }

    /// Adds a call of the link itself behind all earlier ones. It has no deadline.
    pub fn push_own(&mut self, call: Call, owner: O) {
        self.queue.push_back(Unit::new(call, owner, None, None));
    }

    /// Adds a call of the link itself that waits for no other call.
    pub fn push_urgent(&mut self, call: Call, owner: O) {
        self.urgent.push_back(Unit::new(call, owner, None, None));
    }

    /// Whether nothing is queued or unanswered.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.sent.is_empty() && self.urgent.is_empty() && self.urgent_sent.is_empty()
    }

    /// The node may send calls.
    pub fn connected(&mut self) {
        self.is_connected = true;
    }

    /// The connection has ended. Messages and changes stay, because Redis recognizes them, and so do calls that may run twice.
    /// All others end, because their requesters state everything again. Those that were sent may have run.
    pub fn lost(&mut self) -> Vec<Outcome<O>> {
        (self.is_connected, self.is_probing) = (false, true);
        (self.held_until, self.settling_since) = (None, None);
        let mut outcomes = Vec::new();
        let sent = std::mem::take(&mut self.sent).into_iter().map(Unit::into_uncertain);
        let urgent_sent = self.urgent_sent.drain(..).map(Unit::into_uncertain);
        let urgent = urgent_sent.chain(self.urgent.drain(..));
        let units: Vec<_> = sent.chain(self.queue.drain(..)).chain(urgent).collect();
        for unit in units {
            if !unit.call.is_numbered() && !unit.call.is_repeatable() {
                unit.give_up(&mut outcomes);
            } else if !unit.is_abandoned() {
                self.queue.push_back(unit);
            }
        }
        outcomes
    }

    /// Ends all calls: the link ends.
    pub fn close(&mut self) -> Vec<Outcome<O>> {
        let mut outcomes = self.lost();
        self.queue.drain(..).for_each(|unit| unit.give_up(&mut outcomes));
        outcomes
    }

    /// The next pipeline, if none is unanswered.
    pub fn next_pipeline(&mut self, now: Instant) -> &[Unit<O>] {
        if !self.is_connected || !self.sent.is_empty() || self.held_until.is_some_and(|until| until > now) {
            return &[];
        }
        self.held_until = None;
        let (limit, mut bytes) = (if self.is_probing { 1 } else { PIPELINE_CALLS }, 0);
        while self.sent.len() < limit
            && let Some(next) = self.queue.front()
            && (bytes == 0 || bytes + next.bytes <= PIPELINE_BYTES)
            && let Some(mut unit) = self.queue.pop_front()
        {
            self.absorb_followers(&mut unit);
            if unit.number == 0 && unit.call.is_numbered() {
                self.last_number += 1;
                unit.number = self.last_number;
            }
            bytes += unit.bytes;
            self.sent.push(unit);
        }
        if !self.sent.is_empty() {
            self.counters.batch_calls.observe(self.sent.len() as u64);
        }
        &self.sent
    }

    /// Adds the items of the calls behind a call that appends.
    fn absorb_followers(&mut self, unit: &mut Unit<O>) {
        while unit.is_open()
            && let Some(next) = self.queue.front()
            && next.is_open()
            && unit.items() + next.items() <= APPEND_ITEMS
            && unit.bytes + next.bytes <= PIPELINE_BYTES
            && let Some(next) = self.queue.pop_front()
        {
            unit.absorb(next);
        }
    }

    /// The replicas for which Redis must wait behind the pipeline that was just taken, and how long, at most for `longest`.
    /// `None` if it need not wait.
    pub fn replicas_to_wait_for(&self, longest: Duration, now: Instant) -> Option<(u64, Duration)> {
        let mut changes = self.sent.iter().filter(|unit| must_replicate(&unit.call));
        let first = changes.next().filter(|_| self.wait_replicas > 0)?;
        let left = first.deadline().map_or(longest, |deadline| deadline.saturating_duration_since(now));
        Some((self.wait_replicas, left.min(longest)))
    }

    /// The next call outside of pipelines.
    pub fn next_urgent(&mut self) -> Option<&Unit<O>> {
        let unit = self.urgent.pop_front().filter(|_| self.is_connected)?;
        self.urgent_sent.push_back(unit);
        self.urgent_sent.back()
    }

    /// Ends the waiting of requesters whose deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Vec<Outcome<O>> {
        let mut outcomes = Vec::new();
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return outcomes;
        }
        let sent = self.sent.iter_mut().chain(&mut self.urgent_sent);
        for unit in sent {
            expire(unit, true, now, &mut outcomes);
        }
        for queue in [&mut self.queue, &mut self.urgent] {
            let mut at = 0;
            // Deadlines ascend, so that no call behind one with a later deadline has expired.
            while let Some(unit) = queue.get_mut(at)
                && unit.deadline().is_none_or(|deadline| deadline <= now)
            {
                expire(unit, unit.is_uncertain, now, &mut outcomes);
                if unit.is_abandoned() { drop(queue.remove(at)) } else { at += 1 }
            }
        }
        outcomes
    }

    /// When the next deadline passes, or held calls are repeated.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first =
            |mut units: std::collections::vec_deque::Iter<'_, Unit<O>>| units.find_map(Unit::deadline);
        let sent = self.sent.iter().find_map(Unit::deadline);
        let queues = [&self.queue, &self.urgent, &self.urgent_sent].map(|queue| first(queue.iter()));
        queues.into_iter().chain([sent, self.held_until]).flatten().min()
    }
}

fn expire<O>(unit: &mut Unit<O>, was_sent: bool, now: Instant, outcomes: &mut Vec<Outcome<O>>) {
    outcomes.extend(unit.take_expired(now).map(|owner| (owner, Err(EngineError::Timeout { was_sent }))));
}
