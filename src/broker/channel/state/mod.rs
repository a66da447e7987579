//! The state of a channel: members, presence, history, frames. Pure; the caller passes the time.

mod following;
mod presence;
mod publishing;

use super::buffer::{Buffer, Place};
use super::members::{ChannelMembers, Member};
use super::messages::{Inspect, Snapshot, StoredMessage};
use super::presence_changes::PresenceChanges;
use crate::broker::dense_map::DenseMap;
use crate::broker::hub::messages::{Attaching, JoinedChannel, Stamped, ToHub};
use crate::broker::recovery::Subscriber;
use crate::broker::stamps::Stamps;
use crate::config::{ChannelRules, Replay};
use crate::protocol::event::{Encoder, Presence, PresenceEvent, UserView};
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, Epoch, HubId, Offset, Position, UserId};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use crate::protocol::user_list::UserList;
use following::Following;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// Commands to hubs, in order.
pub type ChannelEffects = Vec<(HubId, ToHub)>;

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
    rules: Arc<ChannelRules>,
    last_active: Timestamp,
    position: Position,
    stamps: Arc<Stamps>,
    members: DenseMap<Member>,
    present_users: ChannelMembers,
    connections: u32,
    /// What members are not notified of yet, where they are notified once in an interval.
    changes: Option<Box<PresenceChanges>>,
    /// The time in ms, if the rules contain intervals.
    clock_ms: u64,
    /// The number of sessions on each hub.
    sessions: Vec<u32>,
    history: VecDeque<Arc<StoredMessage>>,
    frames: Buffer,
    /// The outgoing frames that the recorder has not taken yet, while the channel is recorded.
    recorded_frames: Option<Vec<Arc<Frame>>>,
    /// Set if Redis decides about this channel, and this state follows.
    following: Option<Box<Following>>,
}

impl ChannelState {
    pub fn new(
        identity: Identity,
        settings: ChannelSettings,
        encoder: Encoder,
        retention: Retention,
        now: Timestamp,
        epoch: Epoch,
        stamps: Arc<Stamps>,
    ) -> Self {
        Self {
            identity,
            settings,
            encoder,
            retention,
            rules: Arc::default(),
            last_active: now,
            position: Position::start(epoch),
            stamps,
            members: DenseMap::default(),
            present_users: ChannelMembers::default(),
            connections: 0,
            changes: None,
            clock_ms: 0,
            sessions: Vec::new(),
            history: VecDeque::new(),
            frames: Buffer::default(),
            recorded_frames: None,
            following: None,
        }
    }

    /// Sets the operator's rules for this channel.
    pub fn with_rules(mut self, rules: Arc<ChannelRules>) -> Self {
        if let Some(frames) = rules.frames {
            self.retention.frames = frames;
        }
        self.rules = rules;
        self
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
        let replays = self.rules.replay == Replay::Members;
        let offset = if replays { 0 } else { self.position.offset };
        let joined = Place { offset, stamp: self.stamps.next(now) };
        self.members.insert(Member::new(conn, user.id, joined));
        self.enter(conn, user, now, effects);
        if let Some(location) = location {
            if !replays {
                // Its stream begins here, not before its own subscription.
                self.set_cursor(conn, self.position.offset);
            }
            self.attach_session(conn, location, None, now, effects);
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
        attaching: Attaching,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.enter(conn, user, now, effects);
        self.attach_session(conn, location, Some(attaching), now, effects);
    }

    fn attach_session(
        &mut self,
        conn: ConnKey,
        location: ConnectionSlot,
        attaching: Option<Attaching>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.evict_old_frames(now);
        let Some(member) = self.members.get_mut(&conn) else { return };
        let subscriber = Subscriber {
            name: &self.identity.name,
            user: member.user,
            position: self.position,
            joined: member.joined,
            cursor: member.cursor,
            buffer: &mut self.frames,
        };
        let subscription = subscriber.subscribe(attaching, self.encoder);
        let before = member.attach_session(location);
        if let Some(before) = before {
            self.count_session(before.hub, -1);
        }
        self.count_session(location.hub, 1);
        let Identity { id, name, .. } = &self.identity;
        let channel = JoinedChannel { id: *id, name: name.clone(), epoch: self.position.epoch };
        effects.push((location.hub, ToHub::Join(channel, location.slot, subscription)));
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
        if self.following.is_some() {
            return;
        }
        self.connections -= 1;
        let (user, keep_until) = (member.user, self.keep_until());
        if let Some(user) = self.present_users.leave(user, keep_until) {
            self.change_presence(user, Presence::Parted, now, effects);
        }
        self.change_numbers();
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
        if self.following.is_some() {
            return;
        }
        self.connections += 1;
        if self.present_users.enter(&view) {
            self.change_presence(view, Presence::Joined, now, effects);
        }
        self.change_numbers();
    }

    fn announce(
        &mut self,
        uuid: Uuid,
        user: Arc<UserView>,
        presence: Presence,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        let with_list = self.settings.broadcast_presence_with_user_lists
            && self.rules.allows_list(self.present_users.len());
        let users = if with_list { self.present_users.list() } else { UserList::default() };
        let channel = self.identity.name.clone();
        let event = PresenceEvent { uuid, channel, user, presence, users, timestamp: *now };
        if event.users.is_empty() {
            return self.broadcast(self.encoder.presence(&event), now, effects);
        }
        let place = self.next_place(now);
        let mut in_flight_frame = Weak::new();
        if self.recorded_frames.is_some() || self.hubs().next().is_some() {
            let frame = Arc::new(self.encoder.presence(&event));
            in_flight_frame = Arc::downgrade(&frame);
            self.deliver(&Stamped { offset: place.offset, stamp: place.stamp, frame }, effects);
        }
        match self.settings.store_frames {
            true => self.frames.push_listed(place, event, in_flight_frame, self.retention.frames),
            false => self.frames.skip(place),
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
        if let Some(changes) = &mut self.changes {
            changes.update_view(&view);
        }
        if let Some(changed) = changed.filter(|_| self.settings.notify_state) {
            let frame = self.encoder.state_change(Uuid::new_v4(), &self.identity.name, &view, changed, now);
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
            // A channel that follows does not know how many connections of a user other nodes have.
            Some(only) => {
                only.as_slice().iter().filter(|user| audience.admits(**user)).map(connections).sum()
            }
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

    /// The epoch, and the number of frames sent so far.
    pub fn position(&self) -> Position {
        self.position
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
mod tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod following_tests;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod catchup_model_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod presence_model_tests;
