//! Who is where, without actors: users, connections, channels by name. Pure; time is passed in.

use super::deadlines::Deadlines;
use super::demo_share::DemoShare;
use super::limits::RegistryLimits;
use super::users::{User, Users};
use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::state::Identity;
use crate::broker::channel::summary::Summary;
use crate::broker::dense_map::{KeyIndex, ShrinkHint};
use crate::broker::hub::messages::{ToHub, Transport};
use crate::broker::private_messages::ToPrivateMessages;
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, HubId, UserId};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use indexmap::IndexMap;
use slab::Slab;
use smallvec::SmallVec;
use std::hash::RandomState;
use std::num::NonZeroU64;
use std::sync::Arc;
use uuid::Uuid;

/// What is to be done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Start a channel.
    Create(Identity, ChannelSettings, Arc<Summary>),
    /// Tell a channel.
    Channel(ChannelId, ToChannel),
    /// Tell the private message streams.
    Inbox(ToPrivateMessages),
    /// Tell a hub.
    Hub(HubId, ToHub),
}

/// Times after which connections and users change by themselves, in ms.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimes {
    /// A connection without session becomes absent.
    pub idle: u64,
    /// A closed websocket's connection becomes absent.
    pub part: u64,
    /// An absent connection ends.
    pub grace: u64,
    /// A user without connections is forgotten.
    pub user_idle: u64,
}

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Present, no session: it was just made, or is between two polls. Idles out.
    Waiting,
    /// Its websocket has closed a moment ago; soon it is absent.
    Lingering,
    /// It has a session.
    Attached(ConnectionSlot, Transport),
    /// Its session has been told to go; the next one, if it still is there, waits for its goodbye. Rare, so that it has
    /// a box of its own.
    Releasing(Box<Handover>),
    /// Absent: in no count and no list, but it may come back.
    Away,
}

/// A session that goes, and the one that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Whose goodbye is waited for.
    pub from: ConnectionSlot,
    /// Who comes then.
    pub to: Option<(ConnectionSlot, Transport)>,
}

/// A connection's record. Small, for there may be many.
#[derive(Debug)]
pub struct ConnectionRecord {
    /// Its id, for clients.
    pub id: Uuid,
    /// Its user.
    pub user: UserId,
    /// Its subscriptions. Mostly few: a list costs a quarter of a set.
    pub channels: SmallVec<[ChannelId; 4]>,
    /// Where it stands.
    pub phase: Phase,
    pub(super) generation: u32,
    pub(super) deadline: Option<NonZeroU64>,
}

impl ConnectionRecord {
    /// Whether it counts.
    pub fn is_present(&self) -> bool {
        self.phase != Phase::Away
    }
}

/// A channel's record.
#[derive(Debug)]
pub struct ChannelRecord {
    /// Names.
    pub identity: Identity,
    /// Settings.
    pub settings: ChannelSettings,
    /// Figures.
    pub summary: Arc<Summary>,
}

/// See the module's description.
#[derive(Debug)]
pub struct RegistryState {
    pub(super) times: ConnectionTimes,
    pub(super) bounds: RegistryLimits,
    pub(super) demo: DemoShare,
    pub(super) connections: Slab<ConnectionRecord>,
    slack: ShrinkHint,
    /// Their places, by ids that come from outside.
    pub(super) by_id: KeyIndex<RandomState>,
    pub(super) deadlines: Deadlines,
    pub(super) users: Users,
    /// In the order of their creation: the index is the [`ChannelId`].
    pub(super) channels: IndexMap<Arc<str>, ChannelRecord>,
    generation: u32,
    pub(super) present: usize,
    pub(super) active_users: usize,
}

impl RegistryState {
    /// Nobody and nothing.
    pub fn new(times: ConnectionTimes) -> Self {
        Self {
            times,
            bounds: RegistryLimits::default(),
            demo: DemoShare::default(),
            connections: Slab::new(),
            slack: ShrinkHint::default(),
            by_id: KeyIndex::default(),
            deadlines: Deadlines::default(),
            users: Users::default(),
            channels: IndexMap::new(),
            generation: 0,
            present: 0,
            active_users: 0,
        }
    }

    /// Keeps no more than this from now on.
    pub fn bounded(mut self, bounds: RegistryLimits) -> Self {
        self.bounds = bounds;
        self
    }

    /// A connection by its id.
    pub fn connection(&self, id: Uuid) -> Option<(ConnKey, &ConnectionRecord)> {
        let index = self.by_id.find(&id, |index| &self.connections[index as usize].id)?;
        let connection = self.connections.get(index as usize)?;
        Some((ConnKey { index, generation: connection.generation }, connection))
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut ConnectionRecord> {
        let found = self.connections.get_mut(key.index as usize);
        found.filter(|connection| connection.generation == key.generation)
    }

    /// A user by name.
    pub fn user_id(&self, name: &str) -> Option<UserId> {
        self.users.id(name)
    }

    /// A user.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(id)
    }

    /// A channel by name.
    pub fn channel_id(&self, name: &str) -> Option<ChannelId> {
        self.channels.get_index_of(name).map(|index| ChannelId(index as u32))
    }

    /// A channel.
    pub fn channel(&self, id: ChannelId) -> Option<&ChannelRecord> {
        self.channels.get_index(id.0 as usize).map(|(_, record)| record)
    }

    /// All channels, oldest first.
    pub fn all_channels(&self) -> impl Iterator<Item = ChannelId> + use<> {
        (0..self.channels.len() as u32).map(ChannelId)
    }

    /// Users remembered, users present, connections present.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.users.len(), self.active_users, self.present)
    }

    pub(super) fn insert_connection(&mut self, id: Uuid, user: UserId) -> ConnKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.connections.insert(ConnectionRecord {
            id,
            user,
            channels: SmallVec::new(),
            phase: Phase::Away,
            generation,
            deadline: None,
        });
        self.slack.grown(&self.connections);
        self.note_connection(user, 1);
        let key = ConnKey { index: index as u32, generation };
        self.by_id.insert(key.index, |index| &self.connections[index as usize].id);
        if let Some(user) = self.users.get_mut(user) {
            user.connections.insert(key, |other| subscriptions(&self.connections, other));
        }
        key
    }

    pub(super) fn remove_connection(&mut self, key: ConnKey) -> Option<ConnectionRecord> {
        self.get_mut(key)?;
        self.by_id.remove(key.index, |index| &self.connections[index as usize].id);
        let connection = self.connections.remove(key.index as usize);
        self.slack.shrunk(&mut self.connections);
        self.note_connection(connection.user, -1);
        Some(connection)
    }

    /// The channel of this name, made with these settings if it is new.
    pub(super) fn ensure_channel(
        &mut self,
        name: &str,
        settings: impl FnOnce() -> ChannelSettings,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        if let Some(id) = self.channel_id(name) {
            return id;
        }
        let id = ChannelId(self.channels.len() as u32);
        let identity = Identity { id, uuid: Uuid::new_v4(), name: name.into() };
        let settings = settings();
        let summary = Arc::new(Summary::new(Timestamp::now()));
        self.demo.note_channel();
        effects.push(Effect::Create(identity.clone(), settings.clone(), summary.clone()));
        self.channels.insert(identity.name.clone(), ChannelRecord { identity, settings, summary });
        id
    }
}

/// What a connection subscribes to.
pub(super) fn subscriptions(connections: &Slab<ConnectionRecord>, key: ConnKey) -> &[ChannelId] {
    connections.get(key.index as usize).map_or(&[], |connection| &connection.channels)
}
