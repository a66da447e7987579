//! The state of a channel: members, presence, history, frames. Pure; the caller passes the time.

use super::buffer::{Buffer, edited, encode};
use super::members::ChannelMembers;
use super::messages::{Inspect, Publication, Snapshot, StoredMessage};
use crate::broker::dense_map::{DenseMap, Keyed};
use crate::broker::hub::messages::{CatchUpPart, Stamped, Subscription, ToHub};
use crate::protocol::event::{Encoder, Presence, PresenceEvent, UserView};
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, HubId, Offset, SlotKey, UserId};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use crate::protocol::user_list::UserList;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// Commands to hubs, in order.
pub type ChannelEffects = Vec<(HubId, ToHub)>;

/// A subscribed connection. Small, because there is one for each connection and channel.
#[derive(Debug)]
struct Member {
    conn: ConnKey,
    user: UserId,
    /// Whether the connection and its user count as present.
    present: bool,
    /// Whether `hub` and `slot` refer to a session. An `Option<ConnectionSlot>` would be half as large again.
    has_session: bool,
    hub: HubId,
    slot: SlotKey,
    /// How far the client has received the stream. Only valid without a session; the hub tracks the cursor of a
    /// session.
    cursor: Offset,
}

impl Keyed for Member {
    type Key = ConnKey;

    fn key(&self) -> &ConnKey {
        &self.conn
    }
}

impl Member {
    fn new(conn: ConnKey, user: UserId, cursor: Offset) -> Self {
        let slot = SlotKey { index: 0, generation: 0 };
        Self { conn, user, present: false, has_session: false, hub: HubId(0), slot, cursor }
    }

    /// Sets the session. Returns the previous one, if there was one.
    fn attach_session(&mut self, location: ConnectionSlot) -> Option<ConnectionSlot> {
        let before = self.take_session();
        (self.has_session, self.hub, self.slot) = (true, location.hub, location.slot);
        before
    }

    /// Clears the session and returns it, if there was one.
    fn take_session(&mut self) -> Option<ConnectionSlot> {
        std::mem::take(&mut self.has_session).then_some(ConnectionSlot { hub: self.hub, slot: self.slot })
    }
}

/// The properties of a channel that never change.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id inside the server.
    pub id: ChannelId,
    /// The id for clients.
    pub uuid: Uuid,
    pub name: Arc<str>,
}

/// The most that a channel stores, regardless of its settings.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub frames: usize,
    /// Messages of the history.
    pub history: usize,
}

/// See the module's description.
#[derive(Debug)]
pub struct ChannelState {
    identity: Identity,
    settings: ChannelSettings,
    encoder: Encoder,
    retention: Retention,
    last_active: Timestamp,
    offset: Offset,
    members: DenseMap<Member>,
    present_users: ChannelMembers,
    connections: u32,
    /// The number of sessions on each hub.
    sessions: Vec<u32>,
    history: VecDeque<Arc<StoredMessage>>,
    frames: Buffer,
    /// The outgoing frames that the recorder has not taken yet, while the channel is recorded.
    recorded_frames: Option<Vec<Arc<Frame>>>,
}

impl ChannelState {
    pub fn new(
        identity: Identity,
        settings: ChannelSettings,
        encoder: Encoder,
        retention: Retention,
        now: Timestamp,
    ) -> Self {
        Self {
            identity,
            settings,
            encoder,
            retention,
            last_active: now,
            offset: 0,
            members: DenseMap::default(),
            present_users: ChannelMembers::default(),
            connections: 0,
            sessions: Vec::new(),
            history: VecDeque::new(),
            frames: Buffer::default(),
            recorded_frames: None,
        }
    }

    pub fn join(
        &mut self,
        conn: ConnKey,
        user: Arc<UserView>,
        location: Option<ConnectionSlot>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if self.members.get(&conn).is_some() {
            return self.return_present(conn, user, now, effects);
        }
        self.members.insert(Member::new(conn, user.id, self.offset));
        self.enter(conn, user, now, effects);
        if let Some(location) = location {
            // Its stream begins here, not before its own subscription.
            self.set_cursor(conn, self.offset);
            self.attach_session(conn, location, None, effects);
        }
    }

    /// A connection unsubscribes or ends.
    pub fn leave(&mut self, conn: ConnKey, now: &Timestamp, effects: &mut ChannelEffects) {
        if let Some(location) = self.members.get_mut(&conn).and_then(Member::take_session) {
            self.count_session(location.hub, -1);
            effects.push((location.hub, ToHub::Leave(self.identity.id, location.slot)));
        }
        self.part(conn, now, effects);
        self.members.remove(&conn);
    }

    /// A session attaches: its client receives what it missed, then live frames.
    pub fn attach(
        &mut self,
        conn: ConnKey,
        user: Arc<UserView>,
        location: ConnectionSlot,
        part: CatchUpPart,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.enter(conn, user, now, effects);
        self.attach_session(conn, location, Some(part), effects);
    }

    fn attach_session(
        &mut self,
        conn: ConnKey,
        location: ConnectionSlot,
        part: Option<CatchUpPart>,
        effects: &mut ChannelEffects,
    ) {
        let Some(member) = self.members.get_mut(&conn) else { return };
        let catchup = self.frames.since(member.cursor, member.user, self.encoder);
        let subscription =
            Subscription { user: member.user, from: member.cursor, through: self.offset, catchup, part };
        let before = member.attach_session(location);
        if let Some(before) = before {
            self.count_session(before.hub, -1);
        }
        self.count_session(location.hub, 1);
        effects.push((location.hub, ToHub::Join(self.identity.id, location.slot, subscription)));
    }

    fn set_cursor(&mut self, conn: ConnKey, cursor: Offset) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.cursor = cursor;
        }
    }

    /// A session has ended; its client received the stream up to `cursor`. `None` if the session never subscribed.
    pub fn detach(&mut self, conn: ConnKey, cursor: Option<Offset>) {
        let Some(member) = self.members.get_mut(&conn) else { return };
        if let Some(cursor) = cursor {
            member.cursor = cursor.max(member.cursor);
        }
        if let Some(location) = member.take_session() {
            self.count_session(location.hub, -1);
        }
    }

    /// A connection no longer counts as present.
    pub fn part(&mut self, conn: ConnKey, now: &Timestamp, effects: &mut ChannelEffects) {
        let Some(member) = self.members.get_mut(&conn).filter(|member| member.present) else { return };
        member.present = false;
        self.connections -= 1;
        if let Some(user) = self.present_users.leave(member.user) {
            self.announce(user, Presence::Parted, now, effects);
        }
    }

    /// A connection is present again without a session.
    pub fn return_present(
        &mut self,
        conn: ConnKey,
        user: Arc<UserView>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.enter(conn, user, now, effects);
    }

    fn enter(&mut self, conn: ConnKey, view: Arc<UserView>, now: &Timestamp, effects: &mut ChannelEffects) {
        let Some(member) = self.members.get_mut(&conn).filter(|member| !member.present) else { return };
        member.present = true;
        self.connections += 1;
        if self.present_users.enter(&view) {
            self.announce(view, Presence::Joined, now, effects);
        }
    }

    fn announce(
        &mut self,
        user: Arc<UserView>,
        presence: Presence,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if !self.settings.notify_presence {
            return;
        }
        let with_list = self.settings.broadcast_presence_with_user_lists;
        let users = if with_list { self.present_users.list() } else { UserList::default() };
        let (uuid, channel) = (Uuid::new_v4(), self.identity.name.clone());
        let event = PresenceEvent { uuid, channel, user, presence, users, timestamp: *now };
        if event.users.is_empty() {
            return self.broadcast(self.encoder.presence(&event), now, effects);
        }
        let offset = self.next_offset(now);
        let mut in_flight_frame = Weak::new();
        if self.recorded_frames.is_some() || self.hubs().next().is_some() {
            let frame = Arc::new(self.encoder.presence(&event));
            in_flight_frame = Arc::downgrade(&frame);
            self.deliver(&Stamped { offset, frame }, effects);
        }
        if self.settings.store_frames {
            self.frames.push_listed(offset, event, in_flight_frame, self.retention.frames);
        }
    }

    /// A user's state changed. `changed` is the list of public changes, if members may be notified.
    pub fn user_changed(
        &mut self,
        view: Arc<UserView>,
        changed: Option<&str>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if !self.present_users.update_view(&view) {
            return;
        }
        if let Some(changed) = changed.filter(|_| self.settings.notify_state) {
            let frame = self.encoder.state_change(&self.identity.name, &view, changed, now);
            self.broadcast(frame, now, effects);
        }
    }

    /// Changes the settings. A smaller history takes effect with the next message (behaviour of the original).
    pub fn configure(&mut self, settings: ChannelSettings) {
        if !settings.store_frames {
            self.frames.clear();
        }
        self.settings = settings;
    }

    /// The number of connections in this audience, with or without a session.
    pub fn audience_size(&self, audience: &Audience) -> u64 {
        let connections = |user: &UserId| u64::from(self.present_users.connections(*user));
        match &audience.only {
            None => {
                let left_out = audience.except.as_slice().iter().map(connections).sum();
                u64::from(self.connections).saturating_sub(left_out)
            }
            Some(only) => {
                only.as_slice().iter().filter(|user| audience.admits(**user)).map(connections).sum()
            }
        }
    }

    /// Publishes a message, edit or deletion. `locations`, if given, are all sessions that may receive it.
    pub fn publish(
        &mut self,
        publication: Publication,
        locations: Option<Vec<ConnectionSlot>>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        let (frame, stored) = match publication {
            Publication::Post(message, audience) => {
                let is_stored = self.settings.store_history && !message.delivery.no_history;
                let (frame, stored) = encode(StoredMessage { message, edited: None }, audience, self.encoder);
                if is_stored {
                    self.append_history(stored.clone());
                }
                (frame, Some(stored))
            }
            Publication::Edit(edit, audience) => {
                for stored in self.history.iter_mut().filter(|stored| stored.message.uuid == edit.uuid) {
                    *stored = Arc::new(edited(stored, &edit));
                }
                self.frames.edit(&edit, self.encoder);
                (Arc::new(self.encoder.edit(&edit, audience)), None)
            }
            Publication::Delete(delete, audience) => {
                self.history.retain(|stored| stored.message.uuid != delete.uuid);
                self.frames.delete(delete.uuid);
                (Arc::new(self.encoder.delete(delete.uuid, Some(&self.identity.name), audience)), None)
            }
        };
        let stamped = Stamped { offset: self.next_offset(now), frame };
        match locations {
            Some(locations) => self.deliver_to(&locations, &stamped, effects),
            None => self.deliver(&stamped, effects),
        }
        self.buffer_frame(stamped, stored);
    }

    fn append_history(&mut self, stored: Arc<StoredMessage>) {
        self.history.push_back(stored);
        // Size 0 means no limit (behaviour of the original); the server's own limit still applies.
        let size = match usize::try_from(self.settings.history_size).unwrap_or(usize::MAX) {
            0 => self.retention.history,
            size => size.min(self.retention.history),
        };
        while self.history.len() > size {
            self.history.pop_front();
        }
    }

    fn broadcast(&mut self, frame: Frame, now: &Timestamp, effects: &mut ChannelEffects) {
        let stamped = Stamped { offset: self.next_offset(now), frame: Arc::new(frame) };
        self.deliver(&stamped, effects);
        self.buffer_frame(stamped, None);
    }

    fn buffer_frame(&mut self, stamped: Stamped, stored: Option<Arc<StoredMessage>>) {
        if self.settings.store_frames {
            self.frames.push(stamped, stored, self.retention.frames);
        }
    }

    fn next_offset(&mut self, now: &Timestamp) -> Offset {
        self.last_active = *now;
        self.offset += 1;
        self.offset
    }

    fn deliver(&mut self, stamped: &Stamped, effects: &mut ChannelEffects) {
        self.record_frame(stamped);
        for hub in self.hubs() {
            effects.push((hub, ToHub::Deliver(self.identity.id, stamped.clone())));
        }
    }

    /// Sends to the listed sessions only. The hub ignores sessions of non-members.
    fn deliver_to(&mut self, locations: &[ConnectionSlot], stamped: &Stamped, effects: &mut ChannelEffects) {
        self.record_frame(stamped);
        for hub in self.hubs() {
            let slots = locations
                .iter()
                .filter(|location| location.hub == hub)
                .map(|location| location.slot)
                .collect();
            effects.push((hub, ToHub::DeliverTo(self.identity.id, slots, stamped.clone())));
        }
    }

    /// The hubs with subscribed sessions.
    fn hubs(&self) -> impl Iterator<Item = HubId> {
        let listening = self.sessions.iter().enumerate().filter(|(_, sessions)| **sessions > 0);
        listening.map(|(hub, _)| HubId(hub as u16))
    }

    fn record_frame(&mut self, stamped: &Stamped) {
        if let Some(recorded_frames) = &mut self.recorded_frames {
            recorded_frames.push(stamped.frame.clone());
        }
    }

    fn count_session(&mut self, hub: HubId, by: i32) {
        let index = usize::from(hub.0);
        if self.sessions.len() <= index {
            self.sessions.resize(index + 1, 0);
        }
        self.sessions[index] = self.sessions[index].saturating_add_signed(by);
    }

    /// Present connections, present users, stored messages.
    pub fn counts(&self) -> (u32, u32, u32) {
        (self.connections, self.present_users.len() as u32, self.history.len() as u32)
    }

    /// Starts or stops recording outgoing frames.
    pub fn set_recording(&mut self, is_on: bool) {
        self.recorded_frames = is_on.then(Vec::new);
    }

    /// Takes the frames recorded since the last call.
    pub fn take_recorded_frames(&mut self) -> Vec<Arc<Frame>> {
        self.recorded_frames.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of frames sent so far.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The time of the last message or event.
    pub fn last_active(&self) -> &Timestamp {
        &self.last_active
    }

    pub fn snapshot(&mut self, inspect: &Inspect) -> Snapshot {
        Snapshot {
            uuid: self.identity.uuid,
            name: self.identity.name.clone(),
            settings: self.settings.clone(),
            last_active: self.last_active,
            total_connections: self.connections,
            users: if inspect.users { self.present_users.list() } else { UserList::default() },
            history: if inspect.history { self.history.iter().cloned().collect() } else { Vec::new() },
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "catchup_model_tests.rs"]
mod catchup_model_tests;
#[cfg(test)]
#[path = "state_model_tests.rs"]
mod model_tests;
