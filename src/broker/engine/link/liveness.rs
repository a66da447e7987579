//! What keeps a node alive: its number, terms, beats, and the removal of what dead nodes held. Pure.

use super::super::call::{Call, NodeNumber};
use super::super::reply::Reply;
use crate::protocol::ids::Stamp;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The interval in which idle things are removed.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of things that one call removes. If a call removes that many, there may be more.
const EXPIRED_AT_ONCE: u64 = 100;
/// Earlier numbers that are remembered. Other nodes declare the forgotten ones dead.
const EARLIER: usize = 64;
/// Node numbers are less than this.
const NUMBER_END: u64 = 1 << 53;

/// A call that the link makes by itself while it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    Beat,
    Expire,
    /// Removes a part of what a dead node held.
    Sweep(NodeNumber),
    /// Removes a part of what this node held under an earlier number, behind all that it has stated since.
    SweepOwn(NodeNumber),
    /// The node stops, behind all that it has stated.
    Leave,
}

impl Chore {
    pub fn is_urgent(self) -> bool {
        !matches!(self, Self::SweepOwn(_) | Self::Leave)
    }
}

/// What Redis replies to [`Call::Adopt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub term: u64,
    pub base: Stamp,
    pub store: String,
    /// Whether Redis knows the number of the node.
    pub is_known: bool,
}

impl Adopted {
    /// Reads the reply. `None` if it is malformed.
    pub fn read(reply: &Reply) -> Option<Self> {
        let [term, base, store, state] = reply.list()? else {
            return None;
        };
        // A number that was replaced has the state `old`, one whose members were removed `swept`.
        let is_known = state.number().is_some();
        Some(Self {
            term: term.number()?,
            base: Stamp(base.number()?),
            store: store.text()?.to_owned(),
            is_known,
        })
    }
}

/// What Redis replies to [`Call::Beat`], beside the dead nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    pub stamp: Stamp,
    /// The epoch of stamps.
    pub store: String,
}

/// An attempt to join: what it needs to know of the node.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The current number, or 0.
    pub node: NodeNumber,
    /// The number that the node takes if it needs another one.
    pub fresh: NodeNumber,
    pub known_term: u64,
    /// Whether the node may not keep its number, whatever Redis knows of it.
    needs_number: bool,
}

impl Attempt {
    /// Whether the node states what it has seen: Redis may have lost a part of it, and waits for the statement. Earlier
    /// numbers need none, because Redis does not wait for numbers that were replaced.
    pub fn must_report(&self, adopted: &Adopted) -> bool {
        self.node != 0 && adopted.term != self.known_term
    }

    /// Whether the node needs another number: Redis does not know the last one, or has refused it; or it may have lost
    /// what was stated under it; or the registry had not stated everything under it when the connection broke.
    pub fn must_enlist(&self, adopted: &Adopted) -> bool {
        self.needs_number || !adopted.is_known || adopted.term != self.known_term
    }
}

/// A chore with an interval.
#[derive(Debug)]
struct Repeated {
    due: Instant,
    is_waiting: bool,
}

impl Repeated {
    fn take(&mut self, now: Instant) -> bool {
        let is_due = !self.is_waiting && self.due <= now;
        self.is_waiting |= is_due;
        is_due
    }

    fn done(&mut self, due: Instant) {
        *self = Self { due, is_waiting: false };
    }
}

/// The life of a node.
#[derive(Debug)]
pub struct Liveness {
    beat_interval: Duration,
    node: NodeNumber,
    term: u64,
    is_joined: bool,
    /// Numbers that this node had before, as long as Redis may have something under them.
    earlier: Vec<NodeNumber>,
    /// Whether the registry has stated everything under the current number.
    is_restated: bool,
    /// Whether the earlier numbers are removed without events, because clients have seen what Redis has lost.
    is_quiet: bool,
    /// How long the members stay after the node has stopped, in ms, if it stops.
    stay_ms: Option<u64>,
    has_left: bool,
    /// Whether Redis has refused the number. It may know it nevertheless, until the members are removed.
    is_refused: bool,
    beat: Repeated,
    expire: Repeated,
    own_sweep: Repeated,
    leave: Repeated,
    /// Dead nodes, and whether a sweep of them is unanswered.
    dead: BTreeMap<NodeNumber, bool>,
}

impl Liveness {
    pub fn new(beat_interval: Duration, now: Instant) -> Self {
        let repeated = || Repeated { due: now, is_waiting: false };
        Self {
            beat_interval,
            node: 0,
            term: 0,
            is_joined: false,
            earlier: Vec::new(),
            is_restated: false,
            is_quiet: false,
            stay_ms: None,
            has_left: false,
            is_refused: false,
            beat: repeated(),
            expire: repeated(),
            own_sweep: repeated(),
            leave: repeated(),
            dead: BTreeMap::new(),
        }
    }

    /// The current number, or 0.
    pub fn node(&self) -> NodeNumber {
        self.node
    }

    /// Begins an attempt to join.
    pub fn attempt(&self, random: u64) -> Attempt {
        let fresh = (random % NUMBER_END).max(1);
        let needs_number = self.is_refused || !self.earlier.is_empty();
        Attempt { node: self.node, fresh, known_term: self.term, needs_number }
    }

    /// The attempt failed after Redis may have learned the fresh number.
    pub fn may_be_enlisted(&mut self, attempt: &Attempt) {
        self.add_earlier(attempt.fresh);
    }

    /// The node has joined. Returns whether it has kept its number.
    pub fn joined(&mut self, attempt: &Attempt, adopted: &Adopted, now: Instant) -> bool {
        let is_new = attempt.must_enlist(adopted);
        if is_new {
            let is_quiet = self.node != 0 && adopted.term != self.term;
            self.is_quiet = is_quiet || self.is_quiet && !self.earlier.is_empty();
            self.add_earlier(self.node);
            self.node = attempt.fresh;
        }
        (self.term, self.is_joined, self.is_restated, self.is_refused) = (adopted.term, true, false, false);
        for chore in [&mut self.beat, &mut self.expire, &mut self.own_sweep, &mut self.leave] {
            chore.done(now);
        }
        !is_new
    }

    fn add_earlier(&mut self, node: NodeNumber) {
        if node != 0 {
            self.earlier.push(node);
            let excess = self.earlier.len().saturating_sub(EARLIER);
            self.earlier.drain(..excess);
        }
    }

    /// The connection has ended, or is given up because Redis has refused the number of the node.
    pub fn lost(&mut self, is_refused: bool) {
        self.is_refused |= is_refused;
        self.is_joined = false;
        self.dead.clear();
    }

    /// The registry has queued everything that it states under this number.
    pub fn restated(&mut self, node: NodeNumber) {
        self.is_restated |= self.is_joined && node == self.node;
    }

    /// The node stops. Its members stay for so long, in ms: then other nodes remove those that have not returned.
    pub fn leave(&mut self, stay_ms: u64) {
        self.stay_ms = Some(stay_ms);
    }

    /// Whether Redis knows that the node has stopped.
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// The calls that are due. Each is made once until its reply.
    pub fn due(&mut self, now: Instant) -> Vec<Chore> {
        if !self.is_joined {
            return Vec::new();
        }
        if self.stay_ms.is_some() {
            return self.leave.take(now).then_some(Chore::Leave).into_iter().collect();
        }
        let mut due = Vec::new();
        due.extend(self.beat.take(now).then_some(Chore::Beat));
        due.extend(self.expire.take(now).then_some(Chore::Expire));
        for (node, is_waiting) in &mut self.dead {
            if !std::mem::replace(is_waiting, true) {
                due.push(Chore::Sweep(*node));
            }
        }
        if self.is_restated
            && let Some(earlier) = self.earlier.last()
            && self.own_sweep.take(now)
        {
            due.push(Chore::SweepOwn(*earlier));
        }
        due
    }

    /// When the next call is due.
    pub fn next_due(&self) -> Option<Instant> {
        if !self.is_joined {
            return None;
        }
        let (works, leaves) = (self.stay_ms.is_none(), self.stay_ms.is_some() && !self.has_left);
        let is_sweeping = works && self.is_restated && !self.earlier.is_empty();
        let chores = [
            (&self.beat, works),
            (&self.expire, works),
            (&self.own_sweep, is_sweeping),
            (&self.leave, leaves),
        ];
        let waiting = chores.into_iter().filter(|(chore, is_active)| *is_active && !chore.is_waiting);
        waiting.map(|(chore, _)| chore.due).min()
    }

    /// The call of a chore.
    pub fn call(&self, chore: Chore, info: Option<String>) -> Call {
        match chore {
            Chore::Beat => Call::Beat { info },
            Chore::Expire => Call::Expire,
            Chore::Sweep(node) => Call::Sweep { node, is_quiet: false },
            Chore::SweepOwn(node) => Call::Sweep { node, is_quiet: self.is_quiet },
            Chore::Leave => Call::Leave { stay_ms: self.stay_ms.unwrap_or_default() },
        }
    }

    /// A chore has this reply, or none. Returns what a beat has shown.
    pub fn done(&mut self, chore: Chore, reply: Option<&Reply>, now: Instant) -> Option<Beaten> {
        let number = reply.and_then(Reply::number);
        match chore {
            Chore::Beat => {
                self.beat.done(now + self.beat_interval);
                let [stamp, store, dead @ ..] = reply?.list()? else {
                    return None;
                };
                for node in dead.iter().filter_map(Reply::number) {
                    // Own earlier numbers wait until everything is stated again.
                    if !self.earlier.contains(&node) {
                        self.dead.entry(node).or_insert(false);
                    }
                }
                return Some(Beaten { stamp: Stamp(stamp.number()?), store: store.text()?.to_owned() });
            }
            Chore::Expire => {
                let is_more = number.is_some_and(|removed| removed >= EXPIRED_AT_ONCE);
                self.expire.done(if is_more { now } else { now + EXPIRE_INTERVAL });
            }
            // After an error the next beat names the node again.
            Chore::Sweep(node) if number.is_some_and(|left| left > 0) => _ = self.dead.insert(node, false),
            Chore::Sweep(node) => _ = self.dead.remove(&node),
            Chore::SweepOwn(node) => {
                if number == Some(0) {
                    self.earlier.retain(|earlier| *earlier != node);
                }
                self.own_sweep.done(if number.is_some() { now } else { now + self.beat_interval });
            }
            Chore::Leave => {
                // A refusal means that it has left, or that other nodes have declared it dead.
                self.has_left |= reply.is_some();
                self.leave.done(now + self.beat_interval);
            }
        }
        None
    }
}
