//! The streams that this node follows, and how far it has followed them. Pure.

use super::applying::HeldChange;
use super::counts::Waiter;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::snapshot::StreamSnapshot;
use crate::protocol::ids::{Epoch, Offset, Position};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The time for which a stream without members is followed, in ms, because requests about it often come together.
const LINGER_MS: u64 = 10_000;

/// A stream that this node follows or has followed.
#[derive(Debug, Default)]
pub struct Followed {
    /// The connections of this node that are members.
    members: u32,
    /// The requests that need the stream.
    holds: u32,
    pub phase: FollowPhase,
    /// Where the copy of this node is. `None` before it was loaded.
    pub position: Option<Position>,
    /// The version of the numbers that the copy has.
    pub version: u64,
    /// What arrived while its contents were on their way.
    pub(super) held: Vec<HeldChange>,
    /// What has arrived of a log that needs several replies.
    pub(super) partial: Option<Box<StreamSnapshot>>,
    /// Redis was asked to send this stream, and may do so also if the reply was lost.
    may_be_sent: bool,
    idle_since: Option<u64>,
    /// The numbers of the requests that wait until it is current.
    waiting: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowPhase {
    /// The copy is not current.
    #[default]
    Stale,
    /// Redis was asked for its contents.
    Loading,
    /// It receives everything.
    Current,
}

/// A request that waits for streams.
#[derive(Debug)]
struct WaitingRequest {
    left: usize,
    waiter: Waiter,
}

/// See the module's description. Streams are named by their keys in Redis.
#[derive(Debug, Default)]
pub struct FollowedStreams {
    streams: FxHashMap<Arc<str>, Followed>,
    /// The requests that wait, by number. No number is used twice: a stream may still name a request that has failed.
    requests: FxHashMap<u64, WaitingRequest>,
    last_request: u64,
}

impl Followed {
    fn is_needed(&self) -> bool {
        self.members > 0 || self.holds > 0
    }

    /// The offset up to which the copy has everything.
    pub fn offset(&self) -> Offset {
        self.position.map_or(0, |position| position.offset)
    }

    /// Whether the copy of this node continues with the entries of this one.
    pub fn continues_in(&self, copy: &StreamSnapshot) -> bool {
        self.epoch() == Some(copy.position.epoch) && copy.first <= self.offset() + 1
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.position.map(|position| position.epoch)
    }
}

impl FollowedStreams {
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Followed> {
        self.streams.get_mut(key)
    }

    /// Counts members that came or went.
    pub fn count_members(&mut self, key: &str, by: i32, now: u64) {
        let followed = match self.streams.get_mut(key) {
            Some(followed) => followed,
            None => self.streams.entry(key.into()).or_default(),
        };
        followed.members = followed.members.saturating_add_signed(by);
        followed.idle_since = (!followed.is_needed()).then_some(now);
    }

    /// A request needs these streams until it releases them. Returns those that must be loaded; the waiter learns when all
    /// are current.
    pub fn hold(&mut self, keys: &[Arc<str>], waiter: Waiter) -> Vec<Arc<str>> {
        let mut to_load = Vec::new();
        self.last_request += 1;
        let (request, mut left) = (self.last_request, 0);
        for key in keys {
            let followed = self.streams.entry(key.clone()).or_default();
            followed.holds += 1;
            followed.idle_since = None;
            if followed.phase == FollowPhase::Stale {
                (followed.phase, followed.may_be_sent) = (FollowPhase::Loading, true);
                to_load.push(key.clone());
            }
            if followed.phase == FollowPhase::Loading {
                followed.waiting.push(request);
                left += 1;
            }
        }
        match left {
            0 => _ = waiter.send(Ok(())),
            _ => _ = self.requests.insert(request, WaitingRequest { left, waiter }),
        }
        to_load
    }

    pub fn release(&mut self, keys: &[Arc<str>], now: u64) {
        for key in keys {
            if let Some(followed) = self.streams.get_mut(key) {
                followed.holds = followed.holds.saturating_sub(1);
                followed.idle_since = (!followed.is_needed()).then_some(now);
            }
        }
    }

    /// What was requested of a stream has arrived: whether it exists, or why it is not known.
    pub fn loaded(&mut self, key: &str, result: &Result<bool, EngineError>) {
        let Some(followed) = self.streams.get_mut(key) else { return };
        followed.phase = if *result == Ok(true) { FollowPhase::Current } else { FollowPhase::Stale };
        followed.may_be_sent &= *result != Ok(false);
        if followed.phase == FollowPhase::Stale {
            (followed.held, followed.partial, followed.position) =
                (Vec::new(), None, followed.position.filter(|_| result.is_err()));
        }
        for request in std::mem::take(&mut followed.waiting) {
            let Some(waiting) = self.requests.get_mut(&request) else { continue };
            waiting.left -= 1;
            if waiting.left > 0 && result.is_ok() {
                continue;
            }
            if let Some(WaitingRequest { waiter, .. }) = self.requests.remove(&request) {
                // A request that has ended no longer waits.
                let _ = waiter.send(result.clone().map(|_| ()));
            }
        }
    }

    /// The connection to Redis broke: no stream is current, and no request waits any longer.
    pub fn lost(&mut self, error: &EngineError) {
        let loading: Vec<_> = self.streams.keys().cloned().collect();
        loading.iter().for_each(|key| self.loaded(key, &Err(error.clone())));
    }

    /// All streams that are needed, now to be loaded, in the order of their names.
    pub fn begin_loading_all(&mut self) -> Vec<Arc<str>> {
        let needed = self.streams.iter_mut().filter(|(_, followed)| followed.is_needed());
        let mut keys: Vec<_> = needed
            .map(|(key, followed)| {
                (followed.phase, followed.may_be_sent) = (FollowPhase::Loading, true);
                key.clone()
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Forgets the streams that no member and no request has needed for a while. Returns those that Redis may still send to
    /// this node, also if the connection broke since they were followed.
    pub fn forget_idle(&mut self, now: u64) -> Vec<Arc<str>> {
        let mut forgotten = Vec::new();
        self.streams.retain(|key, followed| {
            let is_idle = followed.idle_since.is_some_and(|since| since + LINGER_MS <= now);
            let is_idle = is_idle && followed.phase != FollowPhase::Loading;
            if is_idle && followed.may_be_sent {
                forgotten.push(key.clone());
            }
            !is_idle
        });
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

    fn hold(
        streams: &mut FollowedStreams,
        keys: &[&str],
    ) -> (Vec<String>, Receiver<Result<(), EngineError>>) {
        let keys: Vec<Arc<str>> = keys.iter().map(|key| (*key).into()).collect();
        let (waiter, result) = oneshot::channel();
        let to_load = streams.hold(&keys, waiter);
        (to_load.iter().map(ToString::to_string).collect(), result)
    }

    #[test]
    fn a_request_waits_until_all_its_streams_are_current() {
        let mut streams = FollowedStreams::default();
        let (to_load, mut first) = hold(&mut streams, &["ca", "cb"]);
        assert_eq!(to_load, ["ca", "cb"]);
        let (to_load, mut second) = hold(&mut streams, &["cb"]);
        assert!(to_load.is_empty(), "it is being loaded");
        streams.loaded("cb", &Ok(true));
        assert_eq!((first.try_recv(), second.try_recv()), (Err(TryRecvError::Empty), Ok(Ok(()))));
        streams.loaded("ca", &Ok(true));
        assert_eq!(first.try_recv(), Ok(Ok(())));
        let (to_load, mut third) = hold(&mut streams, &["ca"]);
        assert_eq!((to_load.len(), third.try_recv()), (0, Ok(Ok(()))));
    }

    #[test]
    fn a_stream_that_cannot_be_loaded_fails_the_request() {
        let mut streams = FollowedStreams::default();
        let (_, mut first) = hold(&mut streams, &["ca", "cb"]);
        streams.loaded("ca", &Err(EngineError::Unavailable));
        assert_eq!(first.try_recv(), Ok(Err(EngineError::Unavailable)));
        streams.loaded("cb", &Ok(true));
        assert_eq!(hold(&mut streams, &["ca", "cb"]).0, ["ca"], "the other one is current");
        streams.lost(&EngineError::Unavailable);
        assert_eq!(streams.begin_loading_all().len(), 2);
    }

    #[test]
    fn a_stream_that_a_failed_request_needed_does_not_count_for_a_later_request() {
        let mut streams = FollowedStreams::default();
        let (_, mut failed) = hold(&mut streams, &["ca", "cb"]);
        streams.loaded("ca", &Err(EngineError::Unavailable));
        assert_eq!(failed.try_recv(), Ok(Err(EngineError::Unavailable)));
        let (_, mut later) = hold(&mut streams, &["cc"]);
        streams.loaded("cb", &Ok(true));
        assert_eq!(later.try_recv(), Err(TryRecvError::Empty));
        streams.loaded("cc", &Ok(true));
        assert_eq!(later.try_recv(), Ok(Ok(())));
        assert!(streams.requests.is_empty());
    }

    #[test]
    fn a_stream_is_forgotten_when_it_was_not_needed_for_a_while() {
        let mut streams = FollowedStreams::default();
        let (keys, _) = hold(&mut streams, &["ca"]);
        assert_eq!(keys, ["ca"]);
        streams.loaded("ca", &Ok(true));
        streams.count_members("ca", 1, 5);
        streams.release(&["ca".into()], 6);
        assert!(streams.forget_idle(u64::MAX / 2).is_empty(), "it has a member");
        streams.count_members("ca", -1, 100);
        assert!(streams.forget_idle(99 + LINGER_MS).is_empty());
        assert_eq!(streams.forget_idle(100 + LINGER_MS).len(), 1);
        assert!(streams.get_mut("ca").is_none());
    }

    #[test]
    fn a_stream_that_was_followed_before_the_connection_broke_is_returned() {
        let mut streams = FollowedStreams::default();
        let (keys, _) = hold(&mut streams, &["ca", "cb", "cc"]);
        assert_eq!(keys, ["ca", "cb", "cc"]);
        streams.loaded("ca", &Ok(true));
        streams.loaded("cb", &Ok(false));
        streams.release(&["ca".into(), "cb".into(), "cc".into()], 0);
        // The last one may be followed although the reply was lost.
        streams.lost(&EngineError::Unavailable);
        let mut forgotten = streams.forget_idle(LINGER_MS);
        forgotten.sort();
        assert_eq!(forgotten, [Arc::from("ca"), Arc::from("cc")], "the other one does not exist");
    }
}
