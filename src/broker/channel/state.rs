//! A channel without its actor: members, presence, history, frames. Pure; time is passed in.

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

/// What is to be told to hubs, in order.
pub type ChannelEffects = Vec<(HubId, ToHub)>;

/// A subscribed connection. Small, for there are as many as connections and more.
#[derive(Debug)]
struct Member {
    conn: ConnKey,
    user: UserId,
    /// Counted among the connections, its user among the users.
    present: bool,
    /// It has a session, which is to be found here. Not an `Option` of a [`ConnectionSlot`], which is half as large again.
    seated: bool,
    hub: HubId,
    slot: SlotKey,
    /// How far its peer got, while it has no session; then its hub knows.
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
        Self { conn, user, present: false, seated: false, hub: HubId(0), slot, cursor }
    }

    /// Its session is here now; where it was before, if it had one.
    fn seat(&mut self, place: ConnectionSlot) -> Option<ConnectionSlot> {
        let before = self.unseat();
        (self.seated, self.hub, self.slot) = (true, place.hub, place.slot);
        before
    }

    /// Its session is gone; where it was, if it had one.
    fn unseat(&mut self) -> Option<ConnectionSlot> {
        std::mem::take(&mut self.seated).then_some(ConnectionSlot { hub: self.hub, slot: self.slot })
    }
}

/// What never changes about a channel.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Inside the server.
    pub id: ChannelId,
    /// For clients.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
}

/// How much a channel keeps at most, whatever its settings say.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Frames for catch-up.
    pub frames: usize,
    /// Messages of its history.
    pub history: usize,
}

/// See the module's description.
#[derive(Debug)]
pub struct ChannelState {
    identity: Identity,
    settings: ChannelSettings,
    encoder: Encoder,
    keeping: Retention,
    last_active: Timestamp,
    offset: Offset,
    members: DenseMap<Member>,
    roster: ChannelMembers,
    connections: u32,
    /// Sessions on each hub.
    sessions: Vec<u32>,
    history: VecDeque<Arc<StoredMessage>>,
    frames: Buffer,
    /// Somebody looks at what goes out; it is kept for them until it is taken.
    watched: Option<Vec<Arc<Frame>>>,
}

impl ChannelState {
    /// A channel without members.
    pub fn new(
        identity: Identity,
        settings: ChannelSettings,
        encoder: Encoder,
        keeping: Retention,
        now: Timestamp,
    ) -> Self {
        Self {
            identity,
            settings,
            encoder,
            keeping,
            last_active: now,
            offset: 0,
            members: DenseMap::default(),
            roster: ChannelMembers::default(),
            connections: 0,
            sessions: Vec::new(),
            history: VecDeque::new(),
            frames: Buffer::default(),
            watched: None,
        }
    }

    /// A connection subscribes.
    pub fn join(
        &mut self,
        conn: ConnKey,
        user: Arc<UserView>,
        place: Option<ConnectionSlot>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if self.members.get(&conn).is_some() {
            return self.return_present(conn, user, now, effects);
        }
        self.members.insert(Member::new(conn, user.id, self.offset));
        self.enter(conn, user, now, effects);
        if let Some(place) = place {
            // From here on, not from before its own arrival.
            self.set_cursor(conn, self.offset);
            self.seat(conn, place, None, effects);
        }
    }

    /// A connection unsubscribes or ends.
    pub fn leave(&mut self, conn: ConnKey, now: &Timestamp, effects: &mut ChannelEffects) {
        if let Some(place) = self.members.get_mut(&conn).and_then(Member::unseat) {
            self.count_session(place.hub, -1);
            effects.push((place.hub, ToHub::Leave(self.identity.id, place.slot)));
        }
        self.part(conn, now, effects);
        self.members.remove(&conn);
    }

    /// A session attaches: what its peer misses, then what comes.
    pub fn attach(
        &mut self,
        conn: ConnKey,
        user: Arc<UserView>,
        place: ConnectionSlot,
        part: CatchUpPart,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.enter(conn, user, now, effects);
        self.seat(conn, place, Some(part), effects);
    }

    fn seat(
        &mut self,
        conn: ConnKey,
        place: ConnectionSlot,
        part: Option<CatchUpPart>,
        effects: &mut ChannelEffects,
    ) {
        let Some(member) = self.members.get_mut(&conn) else { return };
        let catchup = self.frames.since(member.cursor, member.user, self.encoder);
        let listen =
            Subscription { user: member.user, from: member.cursor, through: self.offset, catchup, part };
        let before = member.seat(place);
        if let Some(before) = before {
            self.count_session(before.hub, -1);
        }
        self.count_session(place.hub, 1);
        effects.push((place.hub, ToHub::Join(self.identity.id, place.slot, listen)));
    }

    fn set_cursor(&mut self, conn: ConnKey, cursor: Offset) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.cursor = cursor;
        }
    }

    /// A session is gone; its peer got this far. Without a cursor it never got to listen.
    pub fn detach(&mut self, conn: ConnKey, cursor: Option<Offset>) {
        let Some(member) = self.members.get_mut(&conn) else { return };
        if let Some(cursor) = cursor {
            member.cursor = cursor.max(member.cursor);
        }
        if let Some(place) = member.unseat() {
            self.count_session(place.hub, -1);
        }
    }

    /// A connection stays away.
    pub fn part(&mut self, conn: ConnKey, now: &Timestamp, effects: &mut ChannelEffects) {
        let Some(member) = self.members.get_mut(&conn).filter(|member| member.present) else { return };
        member.present = false;
        self.connections -= 1;
        if let Some(user) = self.roster.leave(member.user) {
            self.announce(user, Presence::Parted, now, effects);
        }
    }

    /// A connection is back without a session.
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
        if self.roster.enter(&view) {
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
        let users = if with_list { self.roster.list() } else { UserList::default() };
        let (uuid, channel) = (Uuid::new_v4(), self.identity.name.clone());
        let event = PresenceEvent { uuid, channel, user, presence, users, timestamp: *now };
        if event.users.is_empty() {
            return self.broadcast(self.encoder.presence(&event), now, effects);
        }
        let offset = self.next_offset(now);
        let mut on_its_way = Weak::new();
        if self.watched.is_some() || self.hubs().next().is_some() {
            let frame = Arc::new(self.encoder.presence(&event));
            on_its_way = Arc::downgrade(&frame);
            self.deliver(&Stamped { offset, frame }, effects);
        }
        if self.settings.store_frames {
            self.frames.push_listed(offset, event, on_its_way, self.keeping.frames);
        }
    }

    /// A user's state changed. `changed` is the list of public changes, given where members may be told.
    pub fn user_changed(
        &mut self,
        view: Arc<UserView>,
        changed: Option<&str>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if !self.roster.show(&view) {
            return;
        }
        if let Some(changed) = changed.filter(|_| self.settings.notify_state) {
            let frame = self.encoder.state_change(&self.identity.name, &view, changed, now);
            self.broadcast(frame, now, effects);
        }
    }

    /// New settings. A smaller history takes effect with the next message (behaviour of the original).
    pub fn configure(&mut self, settings: ChannelSettings) {
        if !settings.store_frames {
            self.frames.clear();
        }
        self.settings = settings;
    }

    /// Connections that get what is for this audience, with a session or without.
    pub fn reached(&self, audience: &Audience) -> u64 {
        let connections = |user: &UserId| u64::from(self.roster.connections(*user));
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

    /// A message, edit or deletion passes through. `places`, where given, are those of all sessions that may get it.
    pub fn publish(
        &mut self,
        publication: Publication,
        places: Option<Vec<ConnectionSlot>>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        let (frame, kept) = match publication {
            Publication::Post(message, audience) => {
                let keep = self.settings.store_history && !message.delivery.no_history;
                let (frame, kept) = encode(StoredMessage { message, edited: None }, audience, self.encoder);
                if keep {
                    self.remember(kept.clone());
                }
                (frame, Some(kept))
            }
            Publication::Edit(edit, audience) => {
                for kept in self.history.iter_mut().filter(|kept| kept.message.uuid == edit.uuid) {
                    *kept = Arc::new(edited(kept, &edit));
                }
                self.frames.edit(&edit, self.encoder);
                (Arc::new(self.encoder.edit(&edit, audience)), None)
            }
            Publication::Delete(delete, audience) => {
                self.history.retain(|kept| kept.message.uuid != delete.uuid);
                self.frames.delete(delete.uuid);
                (Arc::new(self.encoder.delete(delete.uuid, Some(&self.identity.name), audience)), None)
            }
        };
        let stamped = Stamped { offset: self.next_offset(now), frame };
        match places {
            Some(places) => self.deliver_to(&places, &stamped, effects),
            None => self.deliver(&stamped, effects),
        }
        self.keep(stamped, kept);
    }

    fn remember(&mut self, kept: Arc<StoredMessage>) {
        self.history.push_back(kept);
        // Size 0 never cuts (behaviour of the original); the server's own bound does.
        let size = match usize::try_from(self.settings.history_size).unwrap_or(usize::MAX) {
            0 => self.keeping.history,
            size => size.min(self.keeping.history),
        };
        while self.history.len() > size {
            self.history.pop_front();
        }
    }

    fn broadcast(&mut self, frame: Frame, now: &Timestamp, effects: &mut ChannelEffects) {
        let stamped = Stamped { offset: self.next_offset(now), frame: Arc::new(frame) };
        self.deliver(&stamped, effects);
        self.keep(stamped, None);
    }

    fn keep(&mut self, stamped: Stamped, kept: Option<Arc<StoredMessage>>) {
        if self.settings.store_frames {
            self.frames.push(stamped, kept, self.keeping.frames);
        }
    }

    fn next_offset(&mut self, now: &Timestamp) -> Offset {
        self.last_active = *now;
        self.offset += 1;
        self.offset
    }

    fn deliver(&mut self, stamped: &Stamped, effects: &mut ChannelEffects) {
        self.watch_frame(stamped);
        for hub in self.hubs() {
            effects.push((hub, ToHub::Deliver(self.identity.id, stamped.clone())));
        }
    }

    /// To few. Who is not here has a place all the same: its hub knows better.
    fn deliver_to(&mut self, places: &[ConnectionSlot], stamped: &Stamped, effects: &mut ChannelEffects) {
        self.watch_frame(stamped);
        for hub in self.hubs() {
            let slots = places.iter().filter(|place| place.hub == hub).map(|place| place.slot).collect();
            effects.push((hub, ToHub::DeliverTo(self.identity.id, slots, stamped.clone())));
        }
    }

    /// Hubs with sessions that listen.
    fn hubs(&self) -> impl Iterator<Item = HubId> {
        let listening = self.sessions.iter().enumerate().filter(|(_, sessions)| **sessions > 0);
        listening.map(|(hub, _)| HubId(hub as u16))
    }

    fn watch_frame(&mut self, stamped: &Stamped) {
        if let Some(watched) = &mut self.watched {
            watched.push(stamped.frame.clone());
        }
    }

    fn count_session(&mut self, hub: HubId, by: i32) {
        let index = usize::from(hub.0);
        if self.sessions.len() <= index {
            self.sessions.resize(index + 1, 0);
        }
        self.sessions[index] = self.sessions[index].saturating_add_signed(by);
    }

    /// Present connections, present users, kept messages.
    pub fn counts(&self) -> (u32, u32, u32) {
        (self.connections, self.roster.len() as u32, self.history.len() as u32)
    }

    /// Whether what goes out is to be kept for who looks at it.
    pub fn watch(&mut self, watched: bool) {
        self.watched = watched.then(Vec::new);
    }

    /// What has gone out since this was asked last, if it is kept.
    pub fn take_watched(&mut self) -> Vec<Arc<Frame>> {
        self.watched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What never changes about it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Frames sent so far.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Last message or event.
    pub fn last_active(&self) -> &Timestamp {
        &self.last_active
    }

    /// What the channel is and has.
    pub fn snapshot(&mut self, inspect: &Inspect) -> Snapshot {
        Snapshot {
            uuid: self.identity.uuid,
            name: self.identity.name.clone(),
            settings: self.settings.clone(),
            last_active: self.last_active,
            total_connections: self.connections,
            users: if inspect.users { self.roster.list() } else { UserList::default() },
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
