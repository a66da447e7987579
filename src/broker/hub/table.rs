//! The sessions of one worker thread and the channels they listen to. No actix, no clock of its own.

use super::messages::{Detached, Stamped, Subscription, Transport};
use super::recording::{Receiver, Tapes};
use super::slot::{Assembly, CatchUp, SessionSlot};
use crate::broker::dense_map::{ShrinkHint, shrink};
use crate::protocol::ids::{ChannelId, ConnectionSlot, HubId, Offset, SlotKey, Stream, UserId};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{FrameBatch, PushResult, SendQueue};
use crate::telemetry::recorder::{ConnectionEvent, Outcome};
use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::VecDeque;
use std::rc::Rc;
use uuid::Uuid;

/// What a flush costs of an allowance, in frames.
const FLUSH_COST: usize = 16;

/// A session in a channel. Small, for a fan-out walks over all of them.
#[derive(Clone)]
pub struct LocalMember {
    /// The way to its peer: a fan-out goes there without looking at the slot.
    pub send_queue: Rc<SendQueue>,
    /// Index of its slot.
    pub slot: u32,
    /// Whose it is.
    pub user: UserId,
    /// The last frame handed to its send queue.
    pub cursor: Offset,
}

/// See the module's description.
pub struct SessionTable {
    id: HubId,
    pub(super) slots: Slab<SessionSlot>,
    slack: ShrinkHint,
    generation: u32,
    pub(super) channels: FxHashMap<ChannelId, Vec<LocalMember>>,
    pub(super) tapes: Tapes,
    /// What may still be spent on catch-ups in this turn; see [`SessionTable::allow`].
    allowance: usize,
    /// Sessions whose catch-up is complete and has not been handed over to its end.
    unfinished: VecDeque<SlotKey>,
}

impl SessionTable {
    /// The empty table of a hub.
    pub fn new(id: HubId) -> Self {
        Self {
            id,
            slots: Slab::new(),
            slack: ShrinkHint::default(),
            generation: 0,
            channels: FxHashMap::default(),
            tapes: Tapes::default(),
            allowance: usize::MAX,
            unfinished: VecDeque::new(),
        }
    }

    /// What is recorded of its sessions goes to these tapes.
    pub fn recording(mut self, tapes: Tapes) -> Self {
        self.tapes = tapes;
        self
    }

    /// Makes a place for a session that will ask for this connection.
    pub fn open(&mut self, conn_id: Uuid, transport: Transport, send_queue: Rc<SendQueue>) -> SlotKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(SessionSlot::new(generation, conn_id, transport, send_queue)) as u32;
        self.slack.grown(&self.slots);
        SlotKey { index, generation }
    }

    /// Records a session from here on, if its connection is to be recorded.
    pub fn begin_tape(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)
        else {
            return;
        };
        if self.tapes.begin(key.index, slot.conn_id) {
            let transport = match slot.transport {
                Transport::Websocket => "websocket",
                Transport::LongPoll => "longpoll",
            };
            let address = slot.address();
            self.tapes.note(key.index, || ConnectionEvent::Attached { transport, address });
        }
    }

    /// Writes down what happened to a session, if it is recorded.
    pub fn note(&mut self, key: SlotKey, event: impl FnOnce() -> ConnectionEvent) {
        if !self.tapes.is_empty() && self.slot(key).is_some() {
            self.tapes.note(key.index, event);
        }
    }

    /// Where a slot of this hub is, for others.
    pub fn place(&self, slot: SlotKey) -> ConnectionSlot {
        ConnectionSlot { hub: self.id, slot }
    }

    /// The slot, unless its session is gone.
    pub fn slot(&mut self, key: SlotKey) -> Option<&mut SessionSlot> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    /// Whether this is a poll whose answer is on its way.
    pub fn is_answering(&mut self, key: SlotKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.send_queue.is_answering())
    }

    /// The keys of all sessions.
    pub fn keys(&self) -> Vec<SlotKey> {
        let key = |(index, slot): (usize, &SessionSlot)| SlotKey {
            index: index as u32,
            generation: slot.generation,
        };
        self.slots.iter().map(key).collect()
    }

    /// How many bytes wait for each session.
    pub fn queues(&self) -> Vec<(usize, SlotKey)> {
        let queue = |(index, slot): (usize, &SessionSlot)| {
            (slot.send_queue.queued_bytes(), SlotKey { index: index as u32, generation: slot.generation })
        };
        self.slots.iter().map(queue).collect()
    }

    /// A session listens to a channel; see [`Subscription`].
    pub fn join(&mut self, channel: ChannelId, key: SlotKey, listen: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        slot.user = Some(listen.user);
        let stream = Stream::Channel(channel);
        if slot.index_in(channel).is_none() {
            let send_queue = slot.send_queue.clone();
            let member = LocalMember { send_queue, slot: key.index, user: listen.user, cursor: listen.from };
            let members = self.channels.entry(channel).or_default();
            members.push(member);
            let index = members.len() as u32 - 1;
            self.slots[key.index as usize].channels.insert(channel, index);
        }
        self.tapes.note(key.index, || ConnectionEvent::Listening(stream, listen.catchup.len()));
        self.catch_up(key, stream, listen)
    }

    /// A session listens to its user's private messages.
    pub fn join_inbox(&mut self, key: SlotKey, listen: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        slot.user = Some(listen.user);
        slot.inbox.get_or_insert(listen.from);
        self.tapes.note(key.index, || ConnectionEvent::Listening(Stream::Private, listen.catchup.len()));
        self.catch_up(key, Stream::Private, listen)
    }

    fn catch_up(&mut self, key: SlotKey, stream: Stream, listen: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let send_queue = slot.send_queue.clone();
        let Some(part) = listen.part else {
            let part = CatchUp { stream, frames: listen.catchup.into(), through: listen.through };
            return match self.hand_over(key, part) {
                PushResult::Accepted => send_queue.flush_catchup(),
                other => other,
            };
        };
        send_queue.set_assembling(true);
        let assembly = slot.assembly.get_or_insert_with(|| Box::new(Assembly::new(part.of)));
        if !assembly.take(part, stream, listen) {
            return PushResult::Accepted;
        }
        self.go_on(key)
    }

    /// So much may be spent on catch-ups from here on, in frames and in streams; without this call there is no bound.
    /// One that takes more is [`SessionTable::unfinished`] then.
    pub fn allow(&mut self, allowance: usize) {
        self.allowance = allowance;
    }

    /// Takes out the next session whose catch-up is to go on, if anything may be spent on it.
    pub fn unfinished(&mut self) -> Option<SlotKey> {
        if self.allowance > 0 { self.unfinished.pop_front() } else { None }
    }

    /// Whether a catch-up waits for the next turn.
    pub fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Hands over a catch-up that is complete, as far as the allowance lasts, and behind it what came live meanwhile.
    pub fn go_on(&mut self, key: SlotKey) -> PushResult {
        let Some(slot) = self.slot(key).filter(|slot| slot.assembly.is_some()) else {
            return PushResult::Accepted;
        };
        let send_queue = slot.send_queue.clone();
        let handed_over = self.hand_over_parts(key);
        let pushed = match (handed_over, send_queue.flush_catchup()) {
            (Ok(true), PushResult::Accepted) => self.hand_over_live(key),
            (Ok(false), PushResult::Accepted) => Ok(false),
            (Ok(_), pushed) | (Err(pushed), _) => Err(pushed),
        };
        self.allowance = self.allowance.saturating_sub(FLUSH_COST);
        if pushed == Ok(false) {
            self.unfinished.push_back(key);
            return PushResult::Accepted;
        }
        send_queue.set_assembling(false);
        if let Some(slot) = self.slot(key) {
            slot.assembly = None;
        }
        pushed.err().unwrap_or(PushResult::Accepted)
    }

    /// True when all parts are handed over.
    fn hand_over_parts(&mut self, key: SlotKey) -> Result<bool, PushResult> {
        while self.allowance > 0 {
            let allowance = self.allowance;
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            let Some(part) = assembly.and_then(|assembly| assembly.next(allowance)) else { return Ok(true) };
            self.allowance = allowance.saturating_sub(part.frames.len() + 1);
            match self.hand_over(key, part) {
                PushResult::Accepted => {}
                other => return Err(other),
            }
        }
        Ok(false)
    }

    /// True when nothing is left.
    fn hand_over_live(&mut self, key: SlotKey) -> Result<bool, PushResult> {
        while self.allowance > 0 {
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            let Some((stream, stamped)) = assembly.and_then(|assembly| assembly.live.pop_front()) else {
                return Ok(true);
            };
            self.allowance -= 1;
            match self.push_one(key, stream, &stamped) {
                PushResult::Accepted => {}
                other => return Err(other),
            }
        }
        Ok(false)
    }

    fn push_all(&mut self, key: SlotKey, frames: impl Iterator<Item = (Stream, Stamped)>) -> PushResult {
        for (stream, stamped) in frames {
            match self.push_one(key, stream, &stamped) {
                PushResult::Accepted => {}
                other => return other,
            }
        }
        PushResult::Accepted
    }

    fn hand_over(&mut self, key: SlotKey, part: CatchUp) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let frames = part.frames.iter().map(|stamped| (stamped.offset, &*stamped.frame));
        let pushed = if part.frames.is_empty() {
            PushResult::Accepted
        } else {
            slot.send_queue.push_catchup(part.stream, frames)
        };
        self.note_catchup(key, &part, pushed);
        if pushed == PushResult::Accepted
            && let Some(cursor) = self.cursor(key, part.stream)
        {
            *cursor = part.through.max(*cursor);
        }
        pushed
    }

    fn note_catchup(&mut self, key: SlotKey, part: &CatchUp, pushed: PushResult) {
        if self.tapes.is_empty() {
            return;
        }
        let outcome = match pushed {
            PushResult::Accepted => Outcome::CaughtUp,
            PushResult::Sealed => Outcome::Sealed,
            PushResult::Overflow | PushResult::Broken => Outcome::Broken,
        };
        for stamped in &part.frames {
            self.tapes.note_frame(key.index, part.stream, stamped, outcome);
        }
    }

    /// How far a session got in a stream it listens to.
    pub fn cursor(&mut self, key: SlotKey, stream: Stream) -> Option<&mut Offset> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        match stream {
            Stream::Private => slot.inbox.as_mut(),
            Stream::Channel(channel) => {
                let index = slot.index_in(channel)? as usize;
                self.channels.get_mut(&channel)?.get_mut(index).map(|member| &mut member.cursor)
            }
        }
    }

    /// Hands one live frame to one session, unless it has it or is not meant to have it.
    pub fn push_one(&mut self, key: SlotKey, stream: Stream, stamped: &Stamped) -> PushResult {
        let Some(cursor) = self.cursor(key, stream).map(|cursor| *cursor) else {
            return PushResult::Accepted;
        };
        if cursor >= stamped.offset {
            self.note_live(key, cursor, stream, stamped, PushResult::Accepted);
            return PushResult::Accepted;
        }
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let meant = slot.user.is_some_and(|user| stamped.frame.audience().admits(user));
        let pushed = if meant {
            let frames = [(stamped.offset, &*stamped.frame)].into_iter();
            slot.send_queue.push_live(&FrameBatch::live(stream, frames.clone()), frames)
        } else {
            PushResult::Accepted
        };
        if pushed == PushResult::Accepted
            && let Some(cursor) = self.cursor(key, stream)
        {
            *cursor = stamped.offset;
        }
        self.note_live(key, cursor, stream, stamped, pushed);
        pushed
    }

    fn note_live(
        &mut self,
        key: SlotKey,
        before: Offset,
        stream: Stream,
        stamped: &Stamped,
        pushed: PushResult,
    ) {
        if let Some(slot) = self.slots.get(key.index as usize).filter(|_| !self.tapes.is_empty()) {
            let to = Receiver { slot: key.index, user: slot.user, before, send_queue: &slot.send_queue };
            self.tapes.note_live(&to, stream, std::slice::from_ref(stamped), pushed);
        }
    }

    /// Writes down a frame of a channel for those recorded members that are not among these sessions.
    pub fn note_not_meant(&mut self, channel: ChannelId, slots: &[SlotKey], stamped: &Stamped) {
        for index in self.tapes.slots() {
            let slot = self.slots.get(index as usize).filter(|slot| slot.index_in(channel).is_some());
            let key = slot.map(|slot| SlotKey { index, generation: slot.generation });
            if key.is_some_and(|key| !slots.contains(&key)) {
                self.tapes.note_frame(index, Stream::Channel(channel), stamped, Outcome::NotMeant);
            }
        }
    }

    /// Whether a session listens to a channel.
    pub fn is_in(&mut self, channel: ChannelId, key: SlotKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.index_in(channel).is_some())
    }

    /// A session no longer listens to a channel, but for what is pending in it.
    pub fn leave(&mut self, channel: ChannelId, key: SlotKey, mut pending: Vec<Stamped>) -> PushResult {
        let stream = Stream::Channel(channel);
        let cursor = self.cursor(key, stream).map_or(0, |cursor| *cursor);
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        if let (Some(assembly), Some(user)) = (&mut slot.assembly, slot.user) {
            pending = assembly.leave(stream, user, cursor, pending);
        }
        let pushed = self.push_all(key, pending.into_iter().map(|stamped| (stream, stamped)));
        let Some(slot) = self.slot(key) else { return pushed };
        if let Some(index) = slot.channels.remove(channel) {
            self.remove_member(channel, index);
            self.tapes.note(key.index, || ConnectionEvent::Left(channel));
        }
        pushed
    }

    fn remove_member(&mut self, channel: ChannelId, index: u32) {
        let Some(members) = self.channels.get_mut(&channel) else { return };
        if (index as usize) < members.len() {
            members.swap_remove(index as usize);
            shrink(members);
        }
        // The last member moved into the gap: its slot must know.
        if let Some(moved) = members.get(index as usize)
            && let Some(slot) = self.slots.get_mut(moved.slot as usize)
        {
            slot.channels.set(channel, index);
        }
        if members.is_empty() {
            self.channels.remove(&channel);
        }
    }

    /// Takes a session out, and says how far its peer got. `None` if it was gone.
    pub fn detach(&mut self, key: SlotKey) -> Option<Detached> {
        self.slot(key)?;
        let place = self.place(key);
        let slot = self.slots.remove(key.index as usize);
        self.slack.shrunk(&mut self.slots);
        self.tapes.end(key.index);
        let delivered = slot.send_queue.delivered_before();
        let got = |stream, cursor| delivered.get(&stream).copied().unwrap_or(cursor);
        let channels = slot.channels.to_vec();
        let mut cursors = Vec::with_capacity(channels.len());
        for (channel, index) in channels {
            let member = self.channels.get(&channel).and_then(|members| members.get(index as usize));
            if let Some(member) = member {
                cursors.push((channel, got(Stream::Channel(channel), member.cursor)));
            }
            self.remove_member(channel, index);
        }
        let inbox = slot.inbox.map(|cursor| got(Stream::Private, cursor));
        Some(Detached { conn_id: slot.conn_id, place, cursors, inbox, transport: slot.transport })
    }

    /// Takes a session out and says goodbye to its peer: after what is queued, or instead of it if the peer is too
    /// slow or its next session will get it.
    pub fn dismiss(&mut self, key: SlotKey, reason: CloseReason) -> Option<Detached> {
        let send_queue = self.slot(key)?.send_queue.clone();
        self.tapes.note(key.index, || ConnectionEvent::Closed(reason));
        let has_next = reason.has_next_session();
        if has_next {
            send_queue.count_begun();
        }
        let detached = self.detach(key);
        match reason {
            CloseReason::TooSlow | CloseReason::Silent | CloseReason::ByPeer(_) => send_queue.abort(reason),
            _ if has_next => send_queue.close_after_begun(reason),
            _ => send_queue.close(reason),
        }
        detached
    }
}
