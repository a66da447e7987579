//! Loading streams from Redis: those that requests need, and all again after the connection broke. Pure.

use super::applying::HeldChange;
use super::followed::FollowPhase;
use super::user_record::UserRecord;
use super::{Awaited, Cluster, RETRY_MS, Ticket, ToLink, Waiter, channel_key};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::engine::snapshot::StreamSnapshot;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::registry::state::{Effect, RegistryState};
use crate::protocol::ids::Offset;
use crate::telemetry::log_sums::FAILED_CALLS;
use crate::telemetry::log_sums::UNREADABLE;
use std::sync::Arc;

/// The most bytes of a log in one reply, apart from its last entry. Redis has the replies to a whole pipeline in memory, and
/// closes the connection if they exceed its output buffer, of 32 MiB by default.
const MAX_READ_BYTES: u32 = 64 << 10;

/// The streams that are loaded again, after the connection to Redis broke. All are applied together in the order of their
/// stamps, so that a cursor of a client never passes a frame that it does not have.
#[derive(Debug, Default)]
pub(super) struct Reloading {
    pub(super) left: usize,
    pub(super) copies: Vec<(Arc<str>, Option<StreamSnapshot>)>,
    /// What arrived meanwhile.
    pub(super) held: Vec<HeldChange>,
    /// The streams whose contents did not arrive.
    failed: Vec<Arc<str>>,
}

/// What has arrived of a stream.
enum Part {
    Whole(Box<StreamSnapshot>),
    /// More was requested.
    More,
    /// There is no such stream.
    Missing,
}

impl Cluster {
    /// A request needs these streams; the waiter learns when they are current. The request releases them later.
    pub fn hold(&mut self, keys: &[Arc<str>], waiter: Waiter) {
        if !self.is_joined {
            let _ = waiter.send(Err(EngineError::Unavailable));
            // The request releases them nevertheless.
            let (ignored, _) = tokio::sync::oneshot::channel();
            self.streams.hold(keys, ignored);
            return self.streams.lost(&EngineError::Unavailable);
        }
        for key in self.streams.hold(keys, waiter) {
            self.follow(key, 0, Awaited::Load);
        }
    }

    pub fn release(&mut self, keys: &[Arc<str>], now: u64) {
        self.streams.release(keys, now);
    }

    /// Whether the channel of this name is current.
    pub fn is_current(&mut self, name: &str) -> bool {
        self.streams
            .get_mut(&channel_key(name))
            .is_some_and(|followed| followed.phase == FollowPhase::Current)
    }

    /// Asks Redis for a stream behind an offset, and for everything that happens in it from then on.
    pub(super) fn follow(&mut self, key: Arc<str>, after: Offset, awaited: fn(Arc<str>) -> Awaited) {
        let call = Call::Follow { stream: key.to_string(), after, max_bytes: MAX_READ_BYTES };
        self.call(call, awaited(key));
    }

    /// Asks for what the copy of this node lacks.
    fn follow_on(&mut self, key: Arc<str>) {
        let after = self.streams.get_mut(&key).map_or(0, |followed| followed.offset());
        self.follow(key, after, Awaited::Reload);
    }

    /// Stops following streams that have had no members for a while.
    pub fn forget_idle(&mut self, state: &mut RegistryState, now: u64, effects: &mut Vec<Effect>) {
        let keys = self.streams.forget_idle(now);
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            if let Some(user) = key.strip_prefix('u').and_then(|name| state.user_id(name)) {
                effects.push(Effect::PrivateMessages(ToPrivateMessages::Forget(user)));
            } else if let Some(id) = key.strip_prefix('c').and_then(|name| state.channel_id(name)) {
                effects.extend(state.emptied(id));
            }
        }
        let streams = keys.iter().map(ToString::to_string).collect();
        self.remove(Call::Unfollow { streams });
    }

    /// The connection to Redis broke. Nothing is answered until the node has joined again.
    pub fn lost(&mut self) {
        self.is_joined = false;
        for (_, awaited) in std::mem::take(&mut self.awaited) {
            match awaited {
                Awaited::Rows(keys) => keys.into_iter().for_each(|key| self.rows.mark(key)),
                Awaited::Removal(call) => self.lost_removals.push(call),
                Awaited::Claim(key, conn_id) => self.claim_failed(key, conn_id),
                _ => {}
            }
        }
        (self.retry_at, self.trust.claims) = (0, 0);
        self.marks.lost();
        self.reloading = None;
        self.loading_blocks = None;
        self.block_retry_at = None;
        self.counts.fail(&EngineError::Unavailable);
        self.streams.lost(&EngineError::Unavailable);
    }

    /// The node may work: at the start, and after the connection broke. It loads what it may have missed, and states
    /// everything that it has.
    pub fn joined(
        &mut self,
        node: NodeNumber,
        term: u64,
        is_same_node: bool,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.lost();
        (self.is_joined, self.node) = (true, node);
        // What Redis has lost never happened for the clients.
        self.is_quiet |= self.term > 0 && term > self.term;
        self.term = term;
        let keys = self.streams.begin_loading_all();
        let mut opened = Vec::new();
        for key in &keys {
            let offset = self.streams.get_mut(key).map_or(0, |followed| followed.offset());
            opened.extend(state.channel_to_open(key, offset));
        }
        if !opened.is_empty() {
            self.outbox.push(ToLink::Call(Call::Open { channels: opened }, None));
        }
        self.reloading = Some(Reloading { left: keys.len(), ..Reloading::default() });
        for key in keys {
            let user = key.strip_prefix('u').map(str::to_owned);
            self.follow_on(key);
            if let Some(user) = user {
                // Changes of the record since the last one that has arrived here are no entries of the stream.
                self.call(Call::ReadUser { user: user.clone() }, Awaited::User(user));
            }
        }
        state.each_counted_pair(|pair| self.counts.mark(pair));
        self.restating = Some(self.counts.needed());
        self.load_blocks();
        if !is_same_node {
            self.begin_doubt();
            self.moving.errands.outdate();
            self.rows.unclaim_all();
        }
        self.end_reloading(state, now, effects);
    }

    /// A call was answered.
    pub fn replied(
        &mut self,
        ticket: Ticket,
        reply: Result<Reply, EngineError>,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        match self.awaited.remove(&ticket) {
            Some(Awaited::Claim(key, conn_id)) => {
                self.pause_after(&reply, now);
                self.claimed(key, conn_id, reply, state, effects);
            }
            Some(Awaited::User(name)) => user_arrived(&name, reply, state),
            Some(Awaited::Blocks) => self.blocks_arrived(reply, state, now),
            Some(Awaited::Rows(keys)) => {
                self.pause_after(&reply, now);
                self.rows_stored(ticket, keys, reply.is_ok());
            }
            Some(Awaited::Removal(call)) => self.removed(call, &reply, now),
            Some(Awaited::Set) => self.stated(reply, now),
            Some(Awaited::Load(key)) => {
                let loaded = match self.read_part(&key, reply, Awaited::Load) {
                    Ok(Part::More) => return,
                    Ok(Part::Whole(copy)) => {
                        self.load(&key, *copy, state, now, effects);
                        Ok(true)
                    }
                    Ok(Part::Missing) => Ok(false),
                    Err(error) => Err(error),
                };
                self.streams.loaded(&key, &loaded);
            }
            Some(Awaited::Reload(key)) => self.reloaded(key, reply, state, now, effects),
            None => {}
        }
    }

    /// After a call that failed, nothing is stated for a moment.
    pub(super) fn pause_after(&mut self, reply: &Result<Reply, EngineError>, now: u64) {
        if reply.is_err() {
            self.retry_at = now + RETRY_MS;
        }
    }

    /// Members were stated, or were not.
    fn stated(&mut self, reply: Result<Reply, EngineError>, now: u64) {
        self.pause_after(&reply, now);
        let is_failed = reply.is_err();
        self.counts.replied(reply.map(|_| ()));
        if is_failed && self.restating.is_some() {
            // What has failed is stated behind everything else.
            self.restating = Some(self.counts.needed());
        }
    }

    /// A part of a stream has arrived that this node has followed before.
    fn reloaded(
        &mut self,
        key: Arc<str>,
        reply: Result<Reply, EngineError>,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        let part = self.read_part(&key, reply, Awaited::Reload);
        if let Ok(Part::Whole(copy)) = &part {
            self.note_reload(&key, copy);
        }
        let Some(reloading) = &mut self.reloading else { return };
        match part {
            Ok(Part::More) => return,
            Ok(Part::Whole(copy)) => reloading.copies.push((key, Some(*copy))),
            Ok(Part::Missing) => reloading.copies.push((key, None)),
            // Without it the node does not have what it must deliver. It asks until it is answered.
            Err(error) => {
                if error != EngineError::Unavailable {
                    let name = key.get(1..).unwrap_or_default();
                    FAILED_CALLS.log(None, format_args!("stream {name:?} must be loaded again: {error:?}"));
                }
                self.retry_at = now + RETRY_MS;
                return reloading.failed.push(key);
            }
        }
        reloading.left -= 1;
        self.end_reloading(state, now, effects);
    }

    /// Asks again for the streams whose contents did not arrive.
    pub(super) fn load_again(&mut self) {
        let failed = self.reloading.as_mut().map(|reloading| std::mem::take(&mut reloading.failed));
        failed.into_iter().flatten().for_each(|key| self.follow_on(key));
    }

    /// Adds what has arrived of a stream to what has arrived before. A log may need several replies.
    fn read_part(
        &mut self,
        key: &Arc<str>,
        reply: Result<Reply, EngineError>,
        awaited: fn(Arc<str>) -> Awaited,
    ) -> Result<Part, EngineError> {
        let Some(followed) = self.streams.get_mut(key) else { return Ok(Part::Missing) };
        let before = followed.partial.take();
        let malformed = || EngineError::Refused("the contents of a stream are malformed".into());
        let Some(part) = StreamSnapshot::read(&reply?).ok_or_else(malformed)? else {
            return Ok(Part::Missing);
        };
        let copy = match before {
            None => {
                let mut copy = Box::new(part);
                if followed.continues_in(&copy) || !copy.begins_late() {
                    copy
                } else {
                    // What this node has is of no use, so that everything is read.
                    copy.entries = Vec::new();
                    followed.partial = Some(copy);
                    self.read_more(key.clone(), 0, awaited);
                    return Ok(Part::More);
                }
            }
            Some(mut copy) => {
                let next = copy.entries.last().map_or(copy.first, |last| last.offset + 1);
                if part.position.epoch != copy.position.epoch || part.first > next {
                    // The log has lost what was to come. It is read from its new beginning.
                    self.follow(key.clone(), 0, awaited);
                    return Ok(Part::More);
                }
                // What was published meanwhile arrives as mail as well.
                let end = copy.position.offset;
                copy.entries.extend(part.entries.into_iter().filter(|entry| entry.offset <= end));
                copy
            }
        };
        let last = copy.entries.last().map(|last| last.offset);
        match last.filter(|last| *last < copy.position.offset) {
            None => Ok(Part::Whole(copy)),
            Some(last) => {
                followed.partial = Some(copy);
                self.read_more(key.clone(), last, awaited);
                Ok(Part::More)
            }
        }
    }

    fn note_reload(&mut self, key: &Arc<str>, copy: &StreamSnapshot) {
        self.counters.reloads.add(1);
        let before = self.streams.get_mut(key).and_then(|followed| followed.epoch());
        self.counters.retired.add(u64::from(before.is_some_and(|epoch| epoch != copy.position.epoch)));
    }

    fn read_more(&mut self, key: Arc<str>, after: u64, awaited: fn(Arc<str>) -> Awaited) {
        let (with_history, with_members, max_bytes) = (false, false, MAX_READ_BYTES);
        let call = Call::Read { stream: key.to_string(), after, with_history, with_members, max_bytes };
        self.call(call, awaited(key));
    }
}

/// The record of a user has arrived. If it has not, the node joins again, or a later one arrives.
fn user_arrived(name: &str, reply: Result<Reply, EngineError>, state: &mut RegistryState) {
    let Ok(reply) = reply else { return };
    let Some([version, record]) = reply.list() else { return };
    match (version.number(), record.bytes().and_then(UserRecord::read)) {
        (Some(version), Some(record)) => state.install_user(name, version, record),
        _ => UNREADABLE.log(None, format_args!("the stored record of user {name:?} cannot be read")),
    }
}
