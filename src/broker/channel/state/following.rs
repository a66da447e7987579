//! A channel about which Redis decides. The state delivers to the members of this node, and takes offsets, presence,
//! settings and history from the decisions.

use super::{ChannelEffects, ChannelState};
use crate::broker::channel::buffer::{Buffer, Floor, Place, encode};
use crate::broker::channel::decisions::{Change, ChannelCopy, ClusterNumbers, Decision, ProposedReport};
use crate::broker::channel::members::{ChannelMembers, Member};
use crate::broker::channel::presence_changes::PresenceReport;
use crate::broker::hub::messages::{Stamped, ToHub};
use crate::broker::registry::cluster::peers::{MovedPlace, Received};
use crate::config::PresenceMode;
use crate::protocol::event::{Presence, UserView};
use crate::protocol::ids::{ConnKey, Offset, Position};
use crate::protocol::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a channel knows in addition if it follows.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The place of the frame of the decision that is being applied.
    place: Option<Place>,
    numbers: ClusterNumbers,
    /// The offset of the last report of presence; 0 if there was none.
    reported: Offset,
    proposed: Option<ProposedReport>,
}

impl Following {
    /// The place that Redis has given to the next frame.
    pub fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Proposes a report to Redis.
    pub fn propose(&mut self, report: Option<PresenceReport>) {
        let ClusterNumbers { users, connections, .. } = self.numbers;
        let (after, numbers) = (self.reported, (users, connections));
        self.proposed = report.map(|report| ProposedReport { after, numbers, report });
    }
}

impl ChannelState {
    /// Lets the state follow the decisions of Redis.
    pub fn following(mut self) -> Self {
        self.following = Some(Box::default());
        self
    }

    /// The report of presence that is due, for Redis.
    pub fn take_proposed_report(&mut self) -> Option<ProposedReport> {
        self.following.as_mut()?.proposed.take()
    }

    /// Proposes what has changed. Another node may be first, or the proposal be lost: the changes stay until a report contains
    /// them, and are proposed again after the next interval.
    pub(super) fn propose_report(&mut self) {
        let (numbers, counts) = (self.numbers(), self.rules.presence == PresenceMode::Counts);
        let (Some(changes), Some(following)) = (&mut self.changes, &mut self.following) else { return };
        if !self.settings.notify_presence {
            return changes.forget();
        }
        changes.end_interval();
        let mut proposed = changes.clone();
        following.propose(if counts { proposed.take_count(numbers) } else { proposed.take_diff() });
        if following.proposed.is_some() {
            self.begin_interval();
        }
    }

    /// Applies a decision. Its place is the next one of the stream.
    pub fn apply(&mut self, decision: Decision, effects: &mut ChannelEffects) {
        let Decision { place, numbers, time, change } = decision;
        let Some(following) = &mut self.following else { return };
        following.place = place;
        let is_new = following.numbers.version != numbers.version;
        following.numbers = numbers;
        self.connections = numbers.connections;
        match change {
            Change::Publish(publication, locations) => {
                self.publish(publication, locations, &time, effects);
            }
            Change::Edited(message, audience) => {
                let (frame, stored) = encode(message, audience, self.encoder);
                let Place { offset, stamp } = self.next_place(&time);
                let stamped = Stamped { offset, stamp, frame };
                self.deliver(&stamped, effects);
                self.buffer_frame(stamped, Some(stored));
            }
            Change::Presence(uuid, user, presence) => {
                self.follow_presence(uuid, user, presence, &time, effects)
            }
            Change::State(uuid, view, changed) => {
                self.follow_state(uuid, &view, changed.as_deref(), &time, effects)
            }
            Change::Settings(settings) => self.configure(settings),
            Change::Diff { joined, parted, users } => {
                self.note_reported();
                self.note_known_users(&joined, &parted);
                let parted: Vec<_> = parted.iter().map(|user| user.name.clone()).collect();
                let frame = self.encoder.presence_diff(&self.identity.name, &joined, &parted, users);
                self.broadcast(frame, &time, effects);
            }
            Change::Count { users, connections } => {
                self.note_reported();
                self.note_known_count(users, connections);
                let frame = self.encoder.presence_count(&self.identity.name, users, connections);
                self.broadcast(frame, &time, effects);
            }
            Change::Roster(views) => self.present_users = ChannelMembers::of(views),
            Change::Nothing => {}
        }
        if is_new {
            self.change_numbers();
        }
        self.skip_unused_place();
    }

    /// Whether the decision that is being applied causes a frame.
    fn causes_frame(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.place.is_some())
    }

    /// Moves behind an entry that causes no frame.
    fn skip_unused_place(&mut self) {
        let Some(place) = self.following.as_mut().and_then(|following| following.take_place()) else {
            return;
        };
        self.position.offset = place.offset;
        if !self.settings.store_frames {
            self.frames.skip(place);
        }
    }

    fn follow_presence(
        &mut self,
        uuid: Uuid,
        user: Arc<UserView>,
        presence: Presence,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        match presence {
            Presence::Joined => _ = self.present_users.enter(&user),
            Presence::Parted => _ = self.present_users.leave(user.id, None),
        }
        if self.causes_frame() {
            self.announce(uuid, user, presence, now, effects);
        } else if self.settings.notify_presence && self.rules.presence == PresenceMode::Diffs {
            self.begin_interval();
            self.changes.get_or_insert_default().note(user, presence);
        }
    }

    fn follow_state(
        &mut self,
        uuid: Uuid,
        view: &Arc<UserView>,
        changed: Option<&str>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        self.present_users.update_view(view);
        if let Some(changes) = &mut self.changes {
            changes.update_view(view);
        }
        if self.causes_frame() {
            let frame =
                self.encoder.state_change(uuid, &self.identity.name, view, changed.unwrap_or("[]"), now);
            self.broadcast(frame, now, effects);
        }
    }

    fn note_reported(&mut self) {
        if let Some(following) = &mut self.following {
            following.reported = following.place.map_or(following.reported, |place| place.offset);
        }
    }

    /// The members know from a report what it contains. What has changed since then belongs to the next one.
    fn note_known_users(&mut self, joined: &[Arc<UserView>], parted: &[Arc<UserView>]) {
        let changes = self.changes.get_or_insert_default();
        let known = joined.iter().map(|user| (user, Some(user.clone())));
        for (user, known) in known.chain(parted.iter().map(|user| (user, None))) {
            changes.note_known(&user.name, known, self.present_users.view(user.id).cloned());
        }
        changes.end_interval();
        if changes.is_pending() {
            self.begin_interval();
        }
    }

    fn note_known_count(&mut self, users: u32, connections: u32) {
        let changes = self.changes.get_or_insert_default();
        changes.forget();
        changes.note_counted((users, connections));
        if self.rules.presence == PresenceMode::Counts && (users, connections) != self.numbers() {
            self.begin_interval();
        }
    }

    /// Users and connections in the cluster.
    fn numbers(&self) -> (u32, u32) {
        self.following
            .as_ref()
            .map_or((0, 0), |following| (following.numbers.users, following.numbers.connections))
    }

    /// A connection moves to another node. Returns its place.
    pub fn depart(
        &mut self,
        conn: ConnKey,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) -> Option<MovedPlace> {
        let member = self.members.get(&conn)?;
        let (Place { offset, stamp }, received) = (member.joined, Received::UpTo(member.cursor));
        self.leave(conn, now, effects);
        Some(MovedPlace { joined_offset: offset, joined_stamp: stamp.0, received })
    }

    /// A connection has come from another node.
    pub fn adopt(&mut self, conn: ConnKey, user: &UserView, place: MovedPlace, is_present: bool) {
        let (joined, cursor) = self.frames.find(place, self.position.offset);
        let mut member = Member::new(conn, user.id, joined);
        (member.cursor, member.present) = (cursor, is_present);
        self.members.insert(member);
    }

    /// Replaces everything but the members of this node by what Redis stores. Frames after the current position go to the
    /// members.
    pub fn load(&mut self, copy: ChannelCopy, effects: &mut ChannelEffects) {
        let ChannelCopy { uuid, settings, position, stamp, floor, kept, history, roster, numbers, reported } =
            copy;
        let known = self.position.offset;
        if self.position.epoch != position.epoch || floor.offset > known {
            let begin = Position { epoch: position.epoch, offset: known.max(floor.offset) };
            let id = self.identity.id;
            effects.extend(self.hubs().map(|hub| (hub, ToHub::Renew(id, begin))));
        }
        let mut known_users = self.known_users();
        let mut known_count = self.changes.as_ref().map(|changes| changes.counted());
        self.identity.uuid = uuid;
        self.settings = settings;
        self.position.epoch = position.epoch;
        self.position.offset = floor.offset;
        self.frames = Buffer::above(Floor { place: floor, is_unkept: !self.settings.store_frames });
        self.present_users = before(&roster, &kept);
        self.changes = None;
        let mut unseen = Vec::new();
        for decision in kept {
            let is_new = decision.place.is_some_and(|place| place.offset > known);
            if let (true, Change::Diff { joined, parted, .. }) = (is_new, &decision.change) {
                known_users.extend(joined.iter().map(|user| (user.name.clone(), user.clone())));
                parted.iter().for_each(|user| _ = known_users.remove(&user.name));
            }
            if let Change::Count { users, connections } = decision.change {
                known_count = Some((users, connections));
            }
            self.apply(decision, if is_new { effects } else { &mut unseen });
        }
        self.position = position;
        self.last_active = Timestamp::from_unix_micros(i64::try_from(stamp.0).unwrap_or(i64::MAX));
        self.present_users = ChannelMembers::of(roster);
        self.connections = numbers.connections;
        self.history = history.into();
        self.changes = None;
        self.following = Some(Box::new(Following { numbers, reported, ..Following::default() }));
        self.note_difference(known_users);
        if let Some((users, connections)) =
            known_count.filter(|_| self.rules.presence == PresenceMode::Counts)
        {
            self.note_known_count(users, connections);
        }
    }

    /// The users that the members know as present, where they receive what changed in an interval.
    fn known_users(&mut self) -> BTreeMap<Box<str>, Arc<UserView>> {
        if self.rules.presence != PresenceMode::Diffs {
            return BTreeMap::new();
        }
        let present = self.present_users.list();
        let mut known = present.iter().map(|user| (user.name.clone(), user.clone())).collect();
        if let Some(changes) = &self.changes {
            changes.undo(&mut known);
        }
        known
    }

    /// The next report contains how the users that are present differ from those that the members know.
    fn note_difference(&mut self, mut known: BTreeMap<Box<str>, Arc<UserView>>) {
        if self.rules.presence != PresenceMode::Diffs || self.hubs().next().is_none() {
            return;
        }
        let present = self.present_users.list();
        let changes = self.changes.get_or_insert_default();
        for user in present.iter() {
            changes.note_known(&user.name, known.remove(&user.name), Some(user.clone()));
        }
        known.into_iter().for_each(|(name, user)| changes.note_known(&name, Some(user), None));
        if changes.is_pending() {
            self.begin_interval();
        }
    }
}

/// The users that were present before these decisions, if `roster` is present after them.
fn before(roster: &[Arc<UserView>], decisions: &[Decision]) -> ChannelMembers {
    let mut members = ChannelMembers::of(roster.iter().cloned());
    for decision in decisions.iter().rev() {
        match &decision.change {
            Change::Presence(_, user, Presence::Joined) => _ = members.leave(user.id, None),
            Change::Presence(_, user, Presence::Parted) => _ = members.enter(user),
            _ => {}
        }
    }
    members
}
