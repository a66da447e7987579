//! The contents of streams as Redis stores them, in the form in which channels and private messages take them.

use super::applying::{HeldChange, numbers_of_copy, private_item, time_of};
use super::counts::CountedPair;
use super::followed::FollowPhase;
use super::{Cluster, channel_key};
use crate::broker::channel::buffer::Place;
use crate::broker::channel::decisions::{Change, ChannelCopy, ClusterNumbers, Decision};
use crate::broker::channel::messages::{StoredMessage, ToChannel};
use crate::broker::engine::call::{self, ScriptSettings};
use crate::broker::engine::entry::StreamName;
use crate::broker::engine::record::Record;
use crate::broker::engine::snapshot::StreamSnapshot;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::decisions::{PrivateCopy, PrivateEntry};
use crate::broker::registry::state::{Effect, RegistryState};
use crate::config::PresenceMode;
use crate::protocol::event::UserView;
use crate::protocol::ids::{ChannelId, Epoch, Offset, Position, UserId};
use crate::protocol::settings::{ChannelConfig, ChannelSettings};
use std::sync::Arc;
use uuid::Uuid;

/// Reads the settings of a channel as Redis stores them.
pub fn read_settings(text: &str) -> Option<ChannelSettings> {
    let config: ChannelConfig = serde_json::from_str(text).ok()?;
    Some(config.or(&ChannelSettings::default()))
}

/// The settings of a channel in the form in which Redis stores them.
pub fn write_settings(settings: &ChannelSettings) -> String {
    let mut out = Vec::new();
    settings.write_json(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

impl Cluster {
    /// Takes the contents of a stream that no client of this node has seen since it was last followed.
    pub(super) fn load(
        &mut self,
        key: &str,
        copy: StreamSnapshot,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(followed) = self.streams.get_mut(key) else { return };
        (followed.position, followed.version) = (Some(copy.position), copy.numbers);
        followed.phase = FollowPhase::Current;
        let held = std::mem::take(&mut followed.held);
        let stamp = copy.stamp;
        state.load_copy(key, copy, effects);
        state.stamps.follow(stamp);
        self.handle_held(held, state, now, effects);
    }

    /// Applies all copies when the last one has arrived, in the order of stamps, and then what has arrived meanwhile.
    pub(super) fn end_reloading(&mut self, state: &mut RegistryState, now: u64, effects: &mut Vec<Effect>) {
        let Some(reloading) = self.reloading.take_if(|reloading| reloading.left == 0) else { return };
        let (mut missed, mut copies) = (Vec::new(), Vec::new());
        for (key, copy) in reloading.copies {
            let Some(followed) = self.streams.get_mut(&key) else { continue };
            let Some(mut copy) = copy else {
                self.streams.loaded(&key, &Ok(false));
                continue;
            };
            let known = followed.offset();
            let continues = followed.continues_in(&copy);
            (followed.position, followed.version) = (Some(copy.position), copy.numbers);
            self.streams.loaded(&key, &Ok(true));
            if continues {
                let new = std::mem::take(&mut copy.entries).into_iter().filter(|entry| entry.offset > known);
                missed.extend(new.map(|entry| HeldChange::of_log(&key, &copy, entry)));
            }
            copies.push((key, copy, continues));
        }
        missed.sort_by_key(HeldChange::stamp);
        missed
            .iter()
            .filter_map(HeldChange::change)
            .for_each(|change| state.apply_change(&change, true, effects));
        for (key, copy, continues) in copies {
            state.stamps.follow(copy.stamp);
            match continues {
                true => state.refresh_copy(&key, copy, effects),
                false => state.load_copy(&key, copy, effects),
            }
        }
        self.handle_held(reloading.held, state, now, effects);
    }
}

impl RegistryState {
    /// Replaces the copy of a stream.
    fn load_copy(&mut self, key: &str, copy: StreamSnapshot, effects: &mut Vec<Effect>) {
        match StreamName::read(key.as_bytes()) {
            Some(StreamName::Channel(name)) => self.load_channel(name, copy, effects),
            Some(StreamName::User(name)) => self.load_private(name, copy, effects),
            Some(StreamName::Cluster) | None => {}
        }
    }

    fn load_private(&mut self, name: &str, copy: StreamSnapshot, effects: &mut Vec<Effect>) {
        let user = self.intern(name);
        let kept = copy.entries.iter().map(|entry| PrivateEntry {
            place: Place { offset: entry.offset, stamp: entry.stamp },
            item: private_item(Record::decode(&entry.record, None)),
        });
        let floor = Place { offset: copy.first - 1, stamp: copy.floor };
        let copy = PrivateCopy { user, position: copy.position, floor, kept: kept.collect() };
        let recipient = self.recipient(user);
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Load(Box::new(copy), recipient)));
    }

    fn load_channel(&mut self, name: &str, copy: StreamSnapshot, effects: &mut Vec<Effect>) {
        let settings = read_settings(&copy.settings).unwrap_or_default();
        let id = self.install_channel(name, copy.uuid, &settings, effects);
        let kept = copy.entries.iter().map(|entry| Decision {
            place: Some(Place { offset: entry.offset, stamp: entry.stamp }),
            numbers: numbers_of_copy(&copy),
            time: time_of(entry.stamp),
            change: self.decided(id, name, &entry.record),
        });
        let kept = kept.collect();
        let history = copy.history.iter().filter_map(|record| stored_message(record, name)).collect();
        let roster = self.roster(&copy);
        let copy = ChannelCopy {
            uuid: copy.uuid,
            settings,
            position: copy.position,
            stamp: copy.stamp,
            floor: Place { offset: copy.first - 1, stamp: copy.floor },
            kept,
            history,
            roster,
            numbers: numbers_of_copy(&copy),
            reported: copy.announced,
        };
        effects.push(Effect::Channel(id, ToChannel::Load(Box::new(copy))));
    }

    /// Frees the memory of a channel that this node no longer follows.
    pub(super) fn emptied(&self, id: ChannelId) -> Option<Effect> {
        let record = self.channel(id)?;
        let position = Position { epoch: Epoch::new(0), offset: 0 };
        let copy = ChannelCopy {
            uuid: record.identity.uuid,
            settings: record.settings.clone(),
            position,
            stamp: self.stamps.latest(),
            floor: Place { offset: 0, stamp: self.stamps.latest() },
            kept: Vec::new(),
            history: Vec::new(),
            roster: Vec::new(),
            numbers: ClusterNumbers::default(),
            reported: 0,
        };
        Some(Effect::Channel(id, ToChannel::Load(Box::new(copy))))
    }

    /// Updates a copy that has all entries: notes have none.
    fn refresh_copy(&mut self, key: &str, copy: StreamSnapshot, effects: &mut Vec<Effect>) {
        let Some(StreamName::Channel(name)) = StreamName::read(key.as_bytes()) else { return };
        let Some(id) = self.channel_id(name) else { return };
        let settings = read_settings(&copy.settings).unwrap_or_default();
        self.note_settings(id, &settings);
        let roster = self.roster(&copy);
        for change in [Change::Settings(settings), Change::Roster(roster)] {
            let decision =
                Decision { place: None, numbers: numbers_of_copy(&copy), time: time_of(copy.stamp), change };
            effects.push(Effect::Channel(id, ToChannel::Apply(Box::new(decision))));
        }
    }

    fn roster(&mut self, copy: &StreamSnapshot) -> Vec<Arc<UserView>> {
        let members = copy.members.iter();
        members.map(|member| self.intern_view(&member.user, &member.view)).collect()
    }

    /// The settings of a channel have changed.
    pub(super) fn note_settings(&mut self, channel: ChannelId, settings: &ChannelSettings) {
        if let Some((_, record)) = self.channels.get_index_mut(channel.0 as usize) {
            record.settings = settings.clone();
        }
    }

    /// A channel that Redis knows, as a record of this node.
    fn install_channel(
        &mut self,
        name: &str,
        uuid: Uuid,
        settings: &ChannelSettings,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        if let Some(id) = self.channel_id(name) {
            if let Some((_, record)) = self.channels.get_index_mut(id.0 as usize) {
                (record.settings, record.identity.uuid) = (settings.clone(), uuid);
            }
            return id;
        }
        self.create_channel(name, uuid, settings.clone(), effects)
    }

    /// A channel of this node in the form in which Redis creates it.
    pub(super) fn channel_to_open(&self, key: &str, offset: Offset) -> Option<call::ChannelToOpen> {
        let record = self.channel(self.channel_id(key.strip_prefix('c')?)?)?;
        let config = record.settings.clone().into();
        Some(call::ChannelToOpen {
            offset,
            ..self.to_open(&record.identity.name, record.identity.uuid, &config)
        })
    }

    /// A channel in the form in which Redis creates it.
    pub fn to_open(&self, name: &str, uuid: Uuid, config: &ChannelConfig) -> call::ChannelToOpen {
        let settings = self.rules_of(name).settings(config);
        call::ChannelToOpen {
            stream: channel_key(name).to_string(),
            uuid,
            settings: ScriptSettings {
                notify_presence: settings.notify_presence,
                store_history: settings.store_history,
                store_frames: settings.store_frames,
                notify_state: settings.notify_state,
                quiet_presence: self.rules_of(name).presence != PresenceMode::Events,
                history_size: u32::try_from(settings.history_size).unwrap_or(u32::MAX),
                frames: self.rules_of(name).frames.map(|frames| u32::try_from(frames).unwrap_or(u32::MAX)),
            },
            text: write_settings(&settings),
            offset: 0,
        }
    }

    /// The number of a user's present connections in a channel.
    pub(super) fn present_connections(&self, user: UserId, channel: ChannelId) -> u32 {
        let connections = self.user(user).into_iter().flat_map(|user| user.connections.iter());
        let connections = connections.filter_map(|key| self.connections.get(key.index as usize));
        let present = connections.filter(|conn| conn.is_present() && conn.channels.contains(&channel));
        present.count() as u32
    }

    /// Calls `act` with each pair that this node counts.
    pub(super) fn each_counted_pair(&self, mut act: impl FnMut(CountedPair)) {
        for (_, connection) in &self.connections {
            act((None, connection.user));
            connection.channels.iter().for_each(|channel| act((Some(*channel), connection.user)));
        }
    }
}

/// Reads a message of a history.
pub fn stored_message(record: &[u8], channel: &str) -> Option<Arc<StoredMessage>> {
    match Record::decode(record, Some(channel))? {
        Record::Message { message, edited } => Some(Arc::new(StoredMessage { message, edited })),
        _ => None,
    }
}
