//! The counts that this node states in Redis: how many of its connections a user has in a stream. Pure.
//!
//! They are absolute, and computed when they are sent. What is not answered is stated again.

use crate::broker::engine::error::EngineError;
use crate::protocol::ids::{ChannelId, UserId};
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// A user's connections in a channel, or, without a channel, those of its private stream.
pub type CountedPair = (Option<ChannelId>, UserId);

/// Receives the result when something is true in Redis.
pub type Waiter = oneshot::Sender<Result<(), EngineError>>;

/// Pairs in one call, so that no call delays others for long.
const PAIRS_PER_CALL: usize = 256;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Counts {
    /// The pairs to state, oldest first.
    dirty: IndexSet<CountedPair, FxBuildHasher>,
    /// The pairs of the call that is not answered yet.
    sent: Vec<CountedPair>,
    /// How many pairs were ever marked, and how many of them were answered.
    marked: u64,
    answered: u64,
    waiters: Vec<(u64, Waiter)>,
    /// Users that have left and may return before the others learn of it, and until when.
    leaving: FxHashMap<CountedPair, u64>,
    by_due: BTreeSet<(u64, CountedPair)>,
}

impl Counts {
    /// The count of a pair may have changed.
    pub fn mark(&mut self, pair: CountedPair) {
        self.marked += u64::from(self.dirty.insert(pair));
    }

    /// The pairs of the next call, oldest first. Empty while a call is not answered.
    pub fn take(&mut self) -> Vec<CountedPair> {
        if !self.sent.is_empty() {
            return Vec::new();
        }
        let count = self.dirty.len().min(PAIRS_PER_CALL);
        self.sent = self.dirty.drain(..count).collect();
        self.sent.clone()
    }

    /// Whether the count may be stated now. A user that has left may return for `flap_ms` before its absence is stated.
    pub fn may_state(&mut self, pair: CountedPair, connections: u32, flap_ms: u64, now: u64) -> bool {
        let due = self.leaving.get(&pair).copied();
        let is_absent = connections == 0 && flap_ms > 0;
        if is_absent && due.is_none() {
            self.leaving.insert(pair, now + flap_ms);
            self.by_due.insert((now + flap_ms, pair));
            return false;
        }
        if is_absent && due.is_some_and(|due| due > now) {
            return false;
        }
        if let Some(due) = self.leaving.remove(&pair) {
            self.by_due.remove(&(due, pair));
        }
        true
    }

    /// Marks the users that have left for long enough.
    pub fn tick(&mut self, now: u64) {
        while let Some((_, pair)) = self.by_due.first().copied().filter(|(due, _)| *due <= now) {
            self.by_due.pop_first();
            self.mark(pair);
        }
    }

    /// The call was answered. Pairs whose call failed are marked again.
    pub fn replied(&mut self, result: Result<(), EngineError>) {
        let sent = std::mem::take(&mut self.sent);
        self.answered += sent.len() as u64;
        if result.is_err() {
            sent.into_iter().for_each(|pair| self.mark(pair));
        }
        let (answered, waiters) = (self.answered, std::mem::take(&mut self.waiters));
        for (need, waiter) in waiters {
            if need <= answered {
                // A request that has ended no longer waits.
                let _ = waiter.send(result.clone());
            } else {
                self.waiters.push((need, waiter));
            }
        }
    }

    /// How many pairs must be answered until everything marked so far is stated.
    pub fn needed(&self) -> u64 {
        self.marked
    }

    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Calls the waiter when everything marked so far is stated.
    pub fn wait(&mut self, waiter: Waiter) {
        if self.answered >= self.marked {
            let _ = waiter.send(Ok(()));
        } else {
            self.waiters.push((self.marked, waiter));
        }
    }

    /// Nothing is answered any more; all waiters get the error. What was marked stays.
    pub fn fail(&mut self, error: &EngineError) {
        if !self.sent.is_empty() {
            self.replied(Err(error.clone()));
        }
        self.waiters.drain(..).for_each(|(_, waiter)| _ = waiter.send(Err(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pair(user: u32) -> CountedPair {
        (Some(ChannelId(1)), UserId(user))
    }

    fn waiting(counts: &mut Counts) -> oneshot::Receiver<Result<(), EngineError>> {
        let (waiter, result) = oneshot::channel();
        counts.wait(waiter);
        result
    }

    #[test]
    fn a_waiter_waits_for_everything_marked_before() {
        let mut counts = Counts::default();
        assert_eq!(waiting(&mut counts).try_recv(), Ok(Ok(())), "nothing is marked");
        counts.mark(pair(1));
        counts.mark(pair(1));
        assert_eq!(counts.take(), [pair(1)]);
        counts.mark(pair(2));
        let mut both = waiting(&mut counts);
        counts.mark(pair(3));
        assert_eq!(counts.take(), [], "one call at a time");
        counts.replied(Ok(()));
        assert!(both.try_recv().is_err());
        assert_eq!(counts.take(), [pair(2), pair(3)]);
        counts.replied(Ok(()));
        assert_eq!(both.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn a_failed_call_is_stated_again() {
        let mut counts = Counts::default();
        counts.mark(pair(1));
        let mut waiter = waiting(&mut counts);
        assert_eq!(counts.take(), [pair(1)]);
        counts.replied(Err(EngineError::Unavailable));
        assert_eq!(waiter.try_recv(), Ok(Err(EngineError::Unavailable)));
        assert_eq!(counts.take(), [pair(1)]);
        let mut waiter = waiting(&mut counts);
        counts.fail(&EngineError::Unavailable);
        assert_eq!(waiter.try_recv(), Ok(Err(EngineError::Unavailable)));
        assert_eq!(counts.take(), [pair(1)]);
    }

    #[test]
    fn a_user_may_return_before_its_absence_is_stated() {
        let mut counts = Counts::default();
        assert!(!counts.may_state(pair(1), 0, 50, 100));
        assert!(counts.may_state(pair(1), 1, 50, 120), "it has returned");
        assert!(!counts.may_state(pair(1), 0, 50, 130));
        counts.tick(179);
        assert_eq!(counts.take(), []);
        counts.tick(180);
        assert_eq!(counts.take(), [pair(1)]);
        assert!(counts.may_state(pair(1), 0, 50, 180));
        assert!(counts.may_state(pair(2), 0, 0, 180), "without the setting it is stated at once");
    }

    #[test]
    fn a_call_has_a_bound() {
        let mut counts = Counts::default();
        (0..300).for_each(|user| counts.mark(pair(user)));
        assert_eq!(counts.take().len(), PAIRS_PER_CALL);
        counts.replied(Ok(()));
        assert_eq!((counts.take().len(), counts.answered(), counts.needed()), (44, 256, 300));
    }
}
