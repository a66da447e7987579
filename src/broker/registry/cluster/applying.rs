//! What arrives in the mailbox of this node: names become ids, and each entry goes to its stream.

use super::Cluster;
use super::copies::read_settings;
use super::followed::FollowPhase;
use super::user_record::UserRecord;
use crate::broker::channel::buffer::Place;
use crate::broker::channel::decisions::{Change, ClusterNumbers, Decision};
use crate::broker::channel::messages::{Publication, StoredMessage, ToChannel};
use crate::broker::engine::entry::{Mail, StreamChange, StreamName, read_mail};
use crate::broker::engine::record::{MemberView, Record};
use crate::broker::engine::snapshot::{LogEntry, StreamSnapshot};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::decisions::{PrivateEntry, PrivateItem};
use crate::broker::private_messages::state::Recipient;
use crate::broker::registry::state::{Effect, RegistryState};
use crate::broker::registry::users::Details;
use crate::protocol::event::{Presence, UserView};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, ConnectionSlot, Position, Stamp, UserId};
use crate::protocol::message::Delivery;
use crate::protocol::time::Timestamp;
use crate::telemetry::log_sums::UNREADABLE;
use std::sync::Arc;

/// What has arrived about a stream and must wait.
#[derive(Debug)]
pub(super) struct HeldChange {
    key: Arc<str>,
    has_place: bool,
    position: Position,
    stamp: Stamp,
    numbers: ClusterNumbers,
    record: Vec<u8>,
}

impl HeldChange {
    fn of(change: &StreamChange<'_>, has_place: bool) -> Self {
        Self {
            key: change.stream.key().into(),
            has_place,
            position: change.position,
            stamp: change.stamp,
            numbers: numbers_of(change),
            record: change.record.to_vec(),
        }
    }

    /// An entry of a log.
    pub(super) fn of_log(key: &Arc<str>, copy: &StreamSnapshot, entry: LogEntry) -> Self {
        let position = Position { epoch: copy.position.epoch, offset: entry.offset };
        let (key, numbers) = (key.clone(), numbers_of_copy(copy));
        Self { key, has_place: true, position, stamp: entry.stamp, numbers, record: entry.record }
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(super) fn change(&self) -> Option<StreamChange<'_>> {
        Some(StreamChange {
            stream: StreamName::read(self.key.as_bytes())?,
            position: self.position,
            stamp: self.stamp,
            numbers: self.numbers.version,
            connections: self.numbers.connections,
            users: self.numbers.users,
            record: &self.record,
        })
    }
}

fn numbers_of(change: &StreamChange<'_>) -> ClusterNumbers {
    ClusterNumbers { connections: change.connections, users: change.users, version: change.numbers }
}

pub(super) fn numbers_of_copy(copy: &StreamSnapshot) -> ClusterNumbers {
    ClusterNumbers { connections: copy.connections, users: copy.users, version: copy.numbers }
}

pub(super) fn time_of(stamp: Stamp) -> Timestamp {
    Timestamp::from_unix_micros(i64::try_from(stamp.0).unwrap_or(i64::MAX))
}

impl Cluster {
    /// Handles what the mailbox has received at once.
    pub fn mail(&mut self, payload: &[u8], state: &mut RegistryState, now: u64, effects: &mut Vec<Effect>) {
        let Some(items) = read_mail(payload) else {
            // Another version of the server has sent it. What is missing is found by its offset.
            return UNREADABLE.log(None, format_args!("what another node has sent cannot be read"));
        };
        for item in items {
            let (change, has_place) = match item {
                Mail::Entry(change) => (change, true),
                Mail::Note(change) => (change, false),
                Mail::Post(post) => {
                    self.posts.push(post.to_vec());
                    continue;
                }
            };
            match &mut self.reloading {
                Some(reloading) => reloading.held.push(HeldChange::of(&change, has_place)),
                None => self.handle(&change, has_place, state, now, effects),
            }
        }
    }

    pub(super) fn handle_held(
        &mut self,
        held: Vec<HeldChange>,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        for held in held {
            match (&mut self.reloading, held.change()) {
                // One of those before it has shown a gap.
                (Some(reloading), _) => reloading.held.push(held),
                (None, Some(change)) => self.handle(&change, held.has_place, state, now, effects),
                (None, None) => {}
            }
        }
    }

    /// Applies an entry or a note if it is the next one. After a gap everything is loaded again.
    fn handle(
        &mut self,
        change: &StreamChange<'_>,
        has_place: bool,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        if change.stream == StreamName::Cluster {
            if let Some(Record::Block { user, record }) = Record::decode(change.record, None) {
                self.block_changed(&user, &record, state, now);
            }
            return;
        }
        let key = change.stream.key();
        let Some(followed) = self.streams.get_mut(&key) else { return };
        match followed.phase {
            FollowPhase::Stale => return,
            // Its contents are on their way. They need not contain this.
            FollowPhase::Loading => return followed.held.push(HeldChange::of(change, has_place)),
            FollowPhase::Current => {}
        }
        let is_same_epoch = followed.epoch() == Some(change.position.epoch);
        let known = followed.offset();
        let is_known = match has_place {
            true => change.position.offset <= known,
            false => {
                let is_counted = change.numbers == followed.version && Record::is_of_numbers(change.record);
                change.position.offset < known || change.numbers < followed.version || is_counted
            }
        };
        if is_same_epoch && is_known {
            return;
        }
        if !is_same_epoch || change.position.offset != known + u64::from(has_place) {
            log::warn!("an entry of a stream is missing; everything is loaded again");
            self.counters.gaps.add(1);
            self.joined(self.node, self.term, true, state, now, effects);
            return self.hold_back(change, has_place);
        }
        followed.position = Some(change.position);
        followed.version = change.numbers;
        state.apply_change(change, has_place, effects);
        state.stamps.follow(change.stamp);
        if has_place {
            self.counters.entries.add(1);
            if let Some(lag) = self.lag.of(change.stamp, now) {
                self.counters.delivery_ms.observe(lag);
            }
            self.seen.note(&key, change.stamp, change.position.offset);
        }
    }

    fn hold_back(&mut self, change: &StreamChange<'_>, has_place: bool) {
        if let Some(reloading) = &mut self.reloading {
            reloading.held.push(HeldChange::of(change, has_place));
        }
    }
}

impl RegistryState {
    /// The id of a user that a stream names. Such a user need not have a connection here.
    pub(super) fn intern(&mut self, name: &str) -> UserId {
        let Some(id) = self.user_id(name) else { return self.users.insert(name, self.arrived_at, false) };
        if let Some(user) = self.users.get_mut(id) {
            user.last_active = user.last_active.max(self.arrived_at);
        }
        id
    }

    /// What others see of a user, as a stream states it.
    pub(super) fn intern_view(&mut self, name: &str, shown: &MemberView) -> Arc<UserView> {
        let id = self.intern(name);
        let view = UserView::new(id, name.into(), &shown.state, &shown.public_state);
        match self.users.get_mut(id) {
            Some(user) if *user.view == view => user.view.clone(),
            Some(user) => {
                user.view = Arc::new(view);
                user.view.clone()
            }
            None => Arc::new(view),
        }
    }

    pub(super) fn apply_change(
        &mut self,
        change: &StreamChange<'_>,
        has_place: bool,
        effects: &mut Vec<Effect>,
    ) {
        let place = Place { offset: change.position.offset, stamp: change.stamp };
        match change.stream {
            StreamName::Channel(name) => {
                let Some(channel) = self.channel_id(name) else { return };
                let decided = self.decided(channel, name, change.record);
                if let Change::Settings(settings) = &decided {
                    self.note_settings(channel, settings);
                }
                let (place, numbers, time) =
                    (has_place.then_some(place), numbers_of(change), time_of(change.stamp));
                let decision = Decision { place, numbers, time, change: decided };
                effects.push(Effect::Channel(channel, ToChannel::Apply(Box::new(decision))));
            }
            StreamName::User(name) => match Record::decode(change.record, None) {
                Some(Record::User { version, record }) => match UserRecord::read(&record) {
                    Some(record) => self.install_user(name, version, record),
                    None => UNREADABLE
                        .log(None, format_args!("the stored record of user {name:?} cannot be read")),
                },
                record if has_place => {
                    let user = self.intern(name);
                    let entry = Box::new(PrivateEntry { place, item: private_item(record) });
                    let recipient = self.recipient(user);
                    effects.push(Effect::PrivateMessages(ToPrivateMessages::Apply(entry, recipient)));
                }
                _ => {}
            },
            StreamName::Cluster => {}
        }
    }

    /// What a record of a channel changes. One of a later version of the server changes nothing that this one knows.
    pub(super) fn decided(&mut self, channel: ChannelId, name: &str, record: &[u8]) -> Change {
        let Some(record) = Record::decode(record, Some(name)) else { return Change::Nothing };
        match record {
            Record::Message { message, edited } => {
                let (audience, locations) = self.receivers(channel, &message.delivery);
                match edited {
                    Some(_) => Change::Edited(StoredMessage { message, edited }, audience),
                    None => Change::Publish(Publication::Post(message, audience), locations),
                }
            }
            Record::Edit { edit, .. } => {
                let (audience, locations) = self.receivers(channel, &edit.delivery);
                Change::Publish(Publication::Edit(edit, audience), locations)
            }
            Record::Delete(delete) => {
                let (audience, locations) = self.receivers(channel, &delete.delivery);
                Change::Publish(Publication::Delete(delete, audience), locations)
            }
            Record::Presence { uuid, user, view, is_joined, .. } => {
                let presence = if is_joined { Presence::Joined } else { Presence::Parted };
                Change::Presence(uuid, self.intern_view(&user, &view), presence)
            }
            Record::State { uuid, user, view, changed, .. } => {
                Change::State(uuid, self.intern_view(&user, &view), changed.map(String::into_boxed_str))
            }
            Record::Settings(text) => read_settings(&text).map_or(Change::Nothing, Change::Settings),
            Record::Diff { joined, parted, users, .. } => {
                let joined = joined.iter().map(|(user, view)| self.intern_view(user, view)).collect();
                let parted = parted.iter().map(|name| self.intern_known(name)).collect();
                Change::Diff { joined, parted, users }
            }
            Record::Count { users, connections, .. } => Change::Count { users, connections },
            Record::Numbers | Record::User { .. } | Record::EpochEnd { .. } | Record::Block { .. } => {
                Change::Nothing
            }
        }
    }

    /// The audience of an item, and its sessions if they are few. The named users need not have connections here.
    fn receivers(
        &mut self,
        channel: ChannelId,
        delivery: &Delivery,
    ) -> (Audience, Option<Vec<ConnectionSlot>>) {
        delivery.pm_users.iter().chain(&delivery.exclude_users).for_each(|name| _ = self.intern(name));
        self.resolve_audience(channel, delivery)
    }

    fn intern_known(&mut self, name: &str) -> Arc<UserView> {
        let id = self.intern(name);
        match self.user(id) {
            Some(user) => user.view.clone(),
            None => Arc::new(UserView::new(id, name.into(), "{}", "{}")),
        }
    }

    /// Replaces a user's state by what Redis stores.
    pub fn install_user(&mut self, name: &str, version: u64, record: UserRecord) {
        let id = self.intern(name);
        let known = self.user(id).and_then(|user| user.details.as_ref()).map_or(0, |details| details.version);
        if version < known {
            return;
        }
        self.intern_view(name, &record.view());
        if let Some(user) = self.users.get_mut(id) {
            user.uuid = record.uuid;
            let has_details =
                user.details.is_some() || record.state.len() > 0 || !record.public_keys.is_empty();
            if has_details {
                let details = user.details.get_or_insert_default();
                *details.as_mut() = Details { state: record.state, public_keys: record.public_keys, version };
            }
        }
    }

    /// A user, and its sessions on this node.
    pub(super) fn recipient(&self, user: UserId) -> Recipient {
        let connections = self.user(user).into_iter().flat_map(|user| user.connections.iter());
        let connections = connections.filter_map(|key| self.connections.get(key.index as usize));
        let locations = connections.filter_map(|connection| connection.phase.session()).collect();
        Recipient { user, locations }
    }
}

/// The contents of an entry of a private stream.
pub(super) fn private_item(record: Option<Record>) -> PrivateItem {
    match record {
        Some(Record::Message { message, edited }) => PrivateItem::Post(message, edited),
        Some(Record::Edit { edit, .. }) => PrivateItem::Edit(edit),
        Some(Record::Delete(delete)) => PrivateItem::Delete(delete),
        _ => PrivateItem::Nothing,
    }
}
