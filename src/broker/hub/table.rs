//! The sessions of one worker thread and the channels that they subscribe to. Uses no actix and no clock.

use super::messages::{Detached, JoinedChannel, Stamped, Subscription};
use super::recording::{Receiver, RecordedSessions};
use super::slot::{Assembly, CatchUp, PrivateSubscription, SessionSlot};
use crate::broker::dense_map::{ShrinkHint, shrink};
use crate::protocol::frame_batch::{FrameBatch, IdBase};
use crate::protocol::ids::{
    ChannelId, ConnectionSlot, Epoch, HubId, Offset, ServerEpoch, SlotKey, Stamp, Stream, UserId,
};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{PushResult, SendQueue};
use crate::telemetry::recorder::{ConnectionEvent, Outcome};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// The cost of a flush, in frames.
const FLUSH_COST: usize = 16;

/// A session in a channel. Small, because a fan-out reads all of them.
#[derive(Clone)]
pub struct LocalMember {
    /// The session's send queue, so that a fan-out need not read the slot.
    pub send_queue: Rc<SendQueue>,
    /// The index of the session's slot.
    pub slot: u32,
    /// The session's user.
    pub user: UserId,
    /// The offset of the last frame added to the send queue.
    pub cursor: Offset,
}

/// A channel with members on this thread.
pub struct LocalChannel {
    pub name: Arc<str>,
    pub epoch: Epoch,
    pub members: Vec<LocalMember>,
}

/// See the module's description.
pub struct SessionTable {
    id: HubId,
    pub(super) server: ServerEpoch,
    /// Every frame up to this stamp was delivered to its receivers on this thread, unless their catch-up is not complete.
    pub(super) covered: Stamp,
    /// Streams of returning clients since the last report: those that recovered, and those that did not.
    pub(super) recoveries: (u64, u64),
    /// The last cursor in the form of websockets, and in that of event streams.
    pub(super) last_cursor: [(Stamp, Bytes); 2],
    pub(super) slots: Slab<SessionSlot>,
    shrink_hint: ShrinkHint,
    generation: u32,
    pub(super) channels: FxHashMap<ChannelId, LocalChannel>,
    pub(super) recording: RecordedSessions,
    /// The remaining cost of catch-ups in this turn; see [`SessionTable::set_allowance`].
    pub(super) allowance: usize,
    /// Sessions whose catch-up is complete but not fully enqueued.
    unfinished: VecDeque<SlotKey>,
}

impl SessionTable {
    /// Creates an empty table.
    pub fn new(id: HubId, server: ServerEpoch) -> Self {
        Self {
            id,
            server,
            covered: Stamp::default(),
            recoveries: (0, 0),
            last_cursor: Default::default(),
            slots: Slab::new(),
            shrink_hint: ShrinkHint::default(),
            generation: 0,
            channels: FxHashMap::default(),
            recording: RecordedSessions::default(),
            allowance: usize::MAX,
            unfinished: VecDeque::new(),
        }
    }

    /// Records sessions in `recording`.
    pub fn recording(mut self, recording: RecordedSessions) -> Self {
        self.recording = recording;
        self
    }

    /// Creates a slot for a session that requests this connection.
    pub fn open(&mut self, conn_id: Uuid, send_queue: Rc<SendQueue>) -> SlotKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(SessionSlot::new(generation, conn_id, send_queue)) as u32;
        self.shrink_hint.grown(&self.slots);
        SlotKey { index, generation }
    }

    /// Starts to record a session, if its connection is to be recorded.
    pub fn begin_recording(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)
        else {
            return;
        };
        if self.recording.begin(key.index, slot.conn_id) {
            let transport = slot.send_queue.transport().name();
            let address = slot.address();
            self.recording.note(key.index, || ConnectionEvent::Attached { transport, address });
        }
    }

    /// Records an event of a session, if the session is recorded.
    pub fn note(&mut self, key: SlotKey, event: impl FnOnce() -> ConnectionEvent) {
        if !self.recording.is_empty() && self.slot(key).is_some() {
            self.recording.note(key.index, event);
        }
    }

    /// The server-wide identity of a slot of this hub.
    pub fn location(&self, slot: SlotKey) -> ConnectionSlot {
        ConnectionSlot { hub: self.id, slot }
    }

    /// The slot, unless its session has ended.
    pub fn slot(&mut self, key: SlotKey) -> Option<&mut SessionSlot> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    /// Whether the response of this session is in flight.
    pub fn is_answering(&mut self, key: SlotKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.send_queue.is_answering())
    }

    pub fn keys(&self) -> Vec<SlotKey> {
        let key = |(index, slot): (usize, &SessionSlot)| SlotKey {
            index: index as u32,
            generation: slot.generation,
        };
        self.slots.iter().map(key).collect()
    }

    /// The queued bytes of each session.
    pub fn queues(&self) -> Vec<(usize, SlotKey)> {
        let queue = |(index, slot): (usize, &SessionSlot)| {
            (slot.send_queue.queued_bytes(), SlotKey { index: index as u32, generation: slot.generation })
        };
        self.slots.iter().map(queue).collect()
    }

    /// The local members of a channel.
    pub(super) fn members(&self, channel: ChannelId) -> &[LocalMember] {
        self.channels.get(&channel).map_or(&[], |channel| &channel.members)
    }

    /// Subscribes a session to a channel; see [`Subscription`].
    pub fn join(&mut self, joined: JoinedChannel, key: SlotKey, subscription: Subscription) -> PushResult {
        let JoinedChannel { id: channel, name, epoch } = joined;
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        slot.user = Some(subscription.user);
        let stream = Stream::Channel(channel);
        if slot.index_in(channel).is_none() {
            let send_queue = slot.send_queue.clone();
            let member = LocalMember {
                send_queue,
                slot: key.index,
                user: subscription.user,
                cursor: subscription.from,
            };
            let new = || LocalChannel { name, epoch, members: Vec::new() };
            let members = &mut self.channels.entry(channel).or_insert_with(new).members;
            members.push(member);
            let index = members.len() as u32 - 1;
            self.slots[key.index as usize].channels.insert(channel, index);
        }
        let missed = subscription.catchup.len();
        let answer = self.count_recovery(&subscription);
        self.recording.note(key.index, || ConnectionEvent::Listening(stream, missed, answer));
        log::trace!("session {} of hub {} subscribed to {stream:?}, {missed} missed", key.index, self.id.0);
        self.catch_up(key, stream, subscription)
    }

    /// Subscribes a session to its user's private messages.
    pub fn join_private(&mut self, key: SlotKey, subscription: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        slot.user = Some(subscription.user);
        let epoch = subscription.recovery.as_ref().map(|recovery| recovery.verdict.epoch);
        slot.private.get_or_insert(PrivateSubscription { cursor: subscription.from, epoch });
        let (missed, answer) = (subscription.catchup.len(), self.count_recovery(&subscription));
        self.recording.note(key.index, || ConnectionEvent::Listening(Stream::Private, missed, answer));
        self.catch_up(key, Stream::Private, subscription)
    }

    fn catch_up(&mut self, key: SlotKey, stream: Stream, subscription: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let send_queue = slot.send_queue.clone();
        let Some(part) = subscription.part else {
            let announcement = self.announcement(&send_queue, stream, subscription.from);
            let joined = CatchUp { announcement, ..CatchUp::new(stream, subscription) };
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            if let Some(assembly) = assembly.filter(|_| joined.announcement.is_some()) {
                assembly.append(joined);
                return PushResult::Accepted;
            }
            return match self.enqueue_catch_up(key, joined) {
                PushResult::Accepted => send_queue.flush_catchup(),
                other => other,
            };
        };
        send_queue.set_assembling(true);
        let assembly = slot.assembly.get_or_insert_with(|| Box::new(Assembly::new(part.of)));
        if !assembly.add(part, stream, subscription) {
            return PushResult::Accepted;
        }
        self.continue_catch_up(key)
    }

    /// Sets the cost of catch-ups until the next call, in frames and streams. Initially there is no limit. A catch-up
    /// that exceeds it becomes [`SessionTable::unfinished`].
    pub fn set_allowance(&mut self, allowance: usize) {
        self.allowance = allowance;
    }

    /// Removes and returns the next session with an unfinished catch-up, if the allowance is not used up.
    pub fn unfinished(&mut self) -> Option<SlotKey> {
        if self.allowance > 0 { self.unfinished.pop_front() } else { None }
    }

    pub fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Enqueues a complete catch-up and then the live frames that arrived meanwhile, as far as the allowance lasts.
    pub fn continue_catch_up(&mut self, key: SlotKey) -> PushResult {
        let Some(slot) = self.slot(key).filter(|slot| slot.assembly.is_some()) else {
            return PushResult::Accepted;
        };
        let send_queue = slot.send_queue.clone();
        let recoveries = slot.assembly.as_mut().map(|assembly| assembly.take_recoveries());
        self.answer_return(key, &recoveries.unwrap_or_default());
        let enqueued = self.enqueue_parts(key);
        if enqueued == Ok(true) {
            self.finish_return(key);
        }
        let pushed = match (enqueued, send_queue.flush_catchup()) {
            (Ok(true), PushResult::Accepted) => self.enqueue_live(key),
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

    /// True when all parts are enqueued.
    fn enqueue_parts(&mut self, key: SlotKey) -> Result<bool, PushResult> {
        while self.allowance > 0 {
            let allowance = self.allowance;
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            let Some(part) = assembly.and_then(|assembly| assembly.next(allowance)) else { return Ok(true) };
            self.allowance = allowance.saturating_sub(part.frames.len() + 1);
            match self.enqueue_catch_up(key, part) {
                PushResult::Accepted => {}
                other => return Err(other),
            }
        }
        Ok(false)
    }

    /// True when all live frames are enqueued.
    fn enqueue_live(&mut self, key: SlotKey) -> Result<bool, PushResult> {
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

    fn push_live_frames(
        &mut self,
        key: SlotKey,
        frames: impl Iterator<Item = (Stream, Stamped)>,
    ) -> PushResult {
        for (stream, stamped) in frames {
            match self.push_one(key, stream, &stamped) {
                PushResult::Accepted => {}
                other => return other,
            }
        }
        PushResult::Accepted
    }

    fn enqueue_catch_up(&mut self, key: SlotKey, part: CatchUp) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        if let Some(announcement) = &part.announcement {
            // A queue that refuses it also refuses the frames behind it.
            let _ = slot.send_queue.push_element(announcement);
        }
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
        if self.recording.is_empty() {
            return;
        }
        let outcome = match pushed {
            PushResult::Accepted => Outcome::CaughtUp,
            PushResult::Closed => Outcome::Sealed,
            PushResult::Overflow | PushResult::Broken => Outcome::Broken,
        };
        for stamped in &part.frames {
            self.recording.note_frame(key.index, part.stream, stamped, outcome);
        }
    }

    /// The cursor of a session in a stream that it subscribes to.
    pub fn cursor(&mut self, key: SlotKey, stream: Stream) -> Option<&mut Offset> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        match stream {
            Stream::Private => slot.private.as_mut().map(|private| &mut private.cursor),
            Stream::Channel(channel) => {
                let index = slot.index_in(channel)? as usize;
                self.channels.get_mut(&channel)?.members.get_mut(index).map(|member| &mut member.cursor)
            }
        }
    }

    /// Pushes a live frame to a session, unless the session already has it or is not in its audience.
    pub fn push_one(&mut self, key: SlotKey, stream: Stream, stamped: &Stamped) -> PushResult {
        let Some(cursor) = self.cursor(key, stream).map(|cursor| *cursor) else {
            return PushResult::Accepted;
        };
        if cursor >= stamped.offset {
            self.note_live(key, cursor, stream, stamped, PushResult::Accepted);
            return PushResult::Accepted;
        }
        let ids = self.ids_in(key, stream);
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let is_in_audience = slot.user.is_some_and(|user| stamped.frame.audience().admits(user));
        let pushed = if is_in_audience {
            let frames = [(stamped.offset, &*stamped.frame)].into_iter();
            slot.send_queue.push_live(&FrameBatch::live(stream, ids, frames.clone()), frames)
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

    /// The ids of live events of a channel now.
    pub(super) fn ids_of(&self, channel: ChannelId) -> IdBase {
        let epoch = self.channels.get(&channel).map(|channel| channel.epoch);
        IdBase { server: self.server, covered: self.covered, epoch }
    }

    /// The ids of live events of a stream for one session now. Before its catch-up is complete, and the frames that
    /// arrived meanwhile are enqueued, the session has not received what others have.
    fn ids_in(&mut self, key: SlotKey, stream: Stream) -> IdBase {
        let (server, all) = (self.server, self.covered);
        let slot = self.slot(key);
        let (covered, private) = slot.map_or((all, None), |slot| {
            let covered = if slot.assembly.is_some() { Stamp::default() } else { all };
            (covered, slot.private.and_then(|private| private.epoch))
        });
        let epoch = match stream {
            Stream::Private => private,
            Stream::Channel(channel) => self.channels.get(&channel).map(|channel| channel.epoch),
        };
        IdBase { server, covered, epoch }
    }

    fn note_live(
        &mut self,
        key: SlotKey,
        before: Offset,
        stream: Stream,
        stamped: &Stamped,
        pushed: PushResult,
    ) {
        if let Some(slot) = self.slots.get(key.index as usize).filter(|_| !self.recording.is_empty()) {
            let to = Receiver { slot: key.index, user: slot.user, before, send_queue: &slot.send_queue };
            self.recording.note_live(&to, stream, std::slice::from_ref(stamped), pushed);
        }
    }

    /// Records a frame of a channel for the recorded members that are not among its receivers.
    pub fn note_not_meant(&mut self, channel: ChannelId, slots: &[SlotKey], stamped: &Stamped) {
        for index in self.recording.slots() {
            let slot = self.slots.get(index as usize).filter(|slot| slot.index_in(channel).is_some());
            let key = slot.map(|slot| SlotKey { index, generation: slot.generation });
            if key.is_some_and(|key| !slots.contains(&key)) {
                self.recording.note_frame(index, Stream::Channel(channel), stamped, Outcome::NotMeant);
            }
        }
    }

    /// Whether a session subscribes to a channel.
    pub fn is_in(&mut self, channel: ChannelId, key: SlotKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.index_in(channel).is_some())
    }

    /// Unsubscribes a session from a channel, after the pending frames of the channel.
    pub fn leave(&mut self, channel: ChannelId, key: SlotKey, mut pending: Vec<Stamped>) -> PushResult {
        let stream = Stream::Channel(channel);
        let cursor = self.cursor(key, stream).map_or(0, |cursor| *cursor);
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        if let (Some(assembly), Some(user)) = (&mut slot.assembly, slot.user) {
            pending = assembly.leave(stream, user, cursor, pending);
        }
        let pushed = self.push_live_frames(key, pending.into_iter().map(|stamped| (stream, stamped)));
        let Some(slot) = self.slot(key) else { return pushed };
        if let Some(index) = slot.channels.remove(channel) {
            self.remove_member(channel, index);
            self.recording.note(key.index, || ConnectionEvent::Left(channel));
        }
        pushed
    }

    fn remove_member(&mut self, channel: ChannelId, index: u32) {
        let Some(LocalChannel { members, .. }) = self.channels.get_mut(&channel) else { return };
        if (index as usize) < members.len() {
            members.swap_remove(index as usize);
            shrink(members);
        }
        // The last member moved into the gap: its slot needs the new index.
        if let Some(moved) = members.get(index as usize)
            && let Some(slot) = self.slots.get_mut(moved.slot as usize)
        {
            slot.channels.set(channel, index);
        }
        if members.is_empty() {
            self.channels.remove(&channel);
        }
    }

    /// Removes a session and returns its cursors. `None` if it has already ended.
    pub fn detach(&mut self, key: SlotKey) -> Option<Detached> {
        self.slot(key)?;
        let location = self.location(key);
        let slot = self.slots.remove(key.index as usize);
        self.shrink_hint.shrunk(&mut self.slots);
        self.recording.end(key.index);
        log::debug!("connection {}: session ended", slot.conn_id);
        let delivered = slot.send_queue.delivered_before();
        let received = |stream, cursor| delivered.get(&stream).copied().unwrap_or(cursor);
        let channels = slot.channels.to_vec();
        let mut cursors = Vec::with_capacity(channels.len());
        for (channel, index) in channels {
            if let Some(member) = self.members(channel).get(index as usize) {
                cursors.push((channel, received(Stream::Channel(channel), member.cursor)));
            }
            self.remove_member(channel, index);
        }
        let private_cursor = slot.private.map(|private| received(Stream::Private, private.cursor));
        let transport = slot.send_queue.transport();
        Some(Detached { conn_id: slot.conn_id, location, cursors, private_cursor, transport })
    }

    /// Removes a session and closes its transport: after the queued frames, or instead of them if the client is too
    /// slow or its next session will receive them. `text` replaces the text of the reason.
    pub fn close(&mut self, key: SlotKey, reason: CloseReason, text: Option<&str>) -> Option<Detached> {
        let send_queue = self.slot(key)?.send_queue.clone();
        self.recording.note(key.index, || ConnectionEvent::Closed(reason));
        if let Some(slot) = self.slot(key) {
            log::debug!("connection {}: session closed by the server, {}", slot.conn_id, reason.name());
        }
        let has_next = reason.has_next_session();
        if has_next {
            send_queue.count_partial_as_delivered();
        }
        let detached = self.detach(key);
        match reason {
            CloseReason::TooSlow | CloseReason::Silent | CloseReason::ByPeer(_) => send_queue.abort(reason),
            _ if has_next => send_queue.close_after_partial(reason, text),
            _ => send_queue.close_with(reason, text),
        }
        detached
    }
}
