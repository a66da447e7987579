//! The sessions of one worker thread and the channels that they subscribe to. Uses no actix and no clock.

use super::messages::{Detached, JoinedChannel, Stamped, Subscription};
use super::recording::RecordedSessions;
use super::slot::{PrivateSubscription, SessionSlot};
use crate::broker::dense_map::{ShrinkHint, shrink};
use crate::protocol::frame_batch::FrameBatch;
use crate::protocol::ids::{
    ChannelId, ConnectionSlot, Epoch, HubId, Offset, ServerEpoch, SlotKey, Stamp, Stream, UserId,
};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{PushResult, SendQueue};
use crate::telemetry::recorder::ConnectionEvent;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

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
    pub(super) unfinished: VecDeque<SlotKey>,
}

impl SessionTable {
    /// Creates an empty table.
    pub fn new(id: HubId, server: ServerEpoch) -> Self {
        Self {
            id,
            server,
            covered: Stamp::default(),
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
        self.recording
            .note(key.index, || ConnectionEvent::Listening(stream, missed, subscription.recovery_answer()));
        log::trace!("session {} of hub {} subscribed to {stream:?}, {missed} missed", key.index, self.id.0);
        self.catch_up(key, stream, subscription)
    }

    /// Subscribes a session to its user's private messages.
    pub fn join_private(&mut self, key: SlotKey, subscription: Subscription) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        slot.user = Some(subscription.user);
        let epoch = subscription.recovery.as_ref().map(|recovery| recovery.verdict.epoch);
        slot.private.get_or_insert(PrivateSubscription { cursor: subscription.from, epoch });
        self.recording.note(key.index, || {
            let (missed, answer) = (subscription.catchup.len(), subscription.recovery_answer());
            ConnectionEvent::Listening(Stream::Private, missed, answer)
        });
        self.catch_up(key, Stream::Private, subscription)
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

    /// Closes a session after everything that is queued. The session leaves when it has sent that, or cannot.
    pub fn close_when_sent(&mut self, key: SlotKey, reason: CloseReason) {
        let Some(slot) = self.slot(key) else { return };
        let (conn_id, send_queue) = (slot.conn_id, slot.send_queue.clone());
        if send_queue.collects() {
            return send_queue.seal();
        }
        if send_queue.closing().is_none() {
            log::debug!("connection {conn_id}: session closed by the server, {}", reason.name());
            self.recording.note(key.index, || ConnectionEvent::Closed(reason, None));
            send_queue.close(reason);
        }
    }

    /// Removes a session and closes its transport: after the queued frames, or instead of them if the client is too
    /// slow or its next session will receive them. `text` replaces the text of the reason.
    pub fn close(&mut self, key: SlotKey, reason: CloseReason, text: Option<&str>) -> Option<Detached> {
        let send_queue = self.slot(key)?.send_queue.clone();
        self.recording.note(key.index, || ConnectionEvent::Closed(reason, text.map(Into::into)));
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
