//! The state of the registry: users, connections, channels by name. Pure; the caller passes the time.

use super::blocks::Blocks;
use super::demo_share::DemoShare;
use super::expiries::TokenExpiries;
use super::limits::RegistryLimits;
use super::users::{User, Users};
use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::state::Identity;
use crate::broker::channel::summary::Summary;
use crate::broker::dense_map::{KeyIndex, ShrinkHint};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::stamps::Stamps;
use crate::config::{ChannelPatterns, ChannelRules};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, HubId, Stamp, UserId};
use crate::protocol::position::Since;
use crate::protocol::settings::{ChannelConfig, ChannelSettings};
use crate::protocol::time::Timestamp;
use crate::send_queue::Transport;
use crate::telemetry::recorder::ConnectionEvent;
use indexmap::IndexMap;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::hash::RandomState;
use std::num::NonZeroU64;
use std::sync::Arc;
use uuid::Uuid;

/// An effect of a request. The actor applies effects in order.
#[derive(Debug)]
pub enum Effect {
    /// Starts a channel.
    Create(Identity, ChannelSettings, Arc<ChannelRules>, Arc<Summary>),
    /// Sends to a channel.
    Channel(ChannelId, ToChannel),
    /// Sends to the private messages.
    PrivateMessages(ToPrivateMessages),
    /// Sends to a hub.
    Hub(HubId, ToHub),
    /// Records an event of a connection, if it is recorded.
    Record(Uuid, ConnectionEvent),
}

/// Times after which connections and users change automatically, in ms.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimes {
    /// A connection without a session becomes absent.
    pub idle: u64,
    /// A connection whose session ended with the client's socket becomes absent.
    pub part: u64,
    /// The additional time if its client reconnects by itself: the longest delay that the server gives it.
    pub reconnect_delay: u64,
    /// An absent connection ends.
    pub grace: u64,
    /// A user without connections is removed.
    pub user_idle: u64,
}

/// Other nodes learn after at most this time that the owner of a connection has died, in ms; usually much earlier.
const DEATH_MS: u64 = 60_000;

impl ConnectionTimes {
    /// How long a connection exists at most without a session in a cluster, in ms. No client lacks an older frame.
    pub fn longest_absence(&self) -> u64 {
        let present = self.idle.max(self.part.saturating_add(self.reconnect_delay));
        present.saturating_add(self.grace).saturating_add(DEATH_MS)
    }
}

/// The phase of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Present without a session: it is new, or between two polls. It becomes absent after the idle time.
    Waiting,
    /// Its session ended recently with the client's socket; it soon becomes absent.
    Lingering,
    /// It has a session.
    Attached(ConnectionSlot, Transport),
    /// Its session is being released; the next one, if it still exists, waits until that session has detached. Boxed
    /// because it is rare.
    Releasing(Box<Handover>),
    /// Absent: in no count and no list, but a session may still attach.
    Away,
}

/// A session that is being released, and its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The session that must detach first.
    pub from: ConnectionSlot,
    /// The session to attach then.
    pub to: Option<NextSession>,
}

/// A session that requests its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextSession {
    pub location: ConnectionSlot,
    pub transport: Transport,
    /// What its client has, if it asked for positions.
    pub since: Option<Arc<Since>>,
}

/// The record of a connection. Small, because there may be many.
#[derive(Debug)]
pub struct ConnectionRecord {
    /// The id for clients.
    pub id: Uuid,
    pub user: UserId,
    /// The subscriptions. Usually few: a list needs a quarter of the memory of a set.
    pub channels: SmallVec<[ChannelId; 4]>,
    pub phase: Phase,
    pub(super) generation: u32,
    pub(super) deadline: Option<NonZeroU64>,
    /// A stamp of its own, taken when the connection was created: later than every cursor that an earlier connection has.
    pub(super) born: Stamp,
}

impl Phase {
    /// The phase of a connection whose session is being released without a successor.
    pub(super) fn releasing(from: ConnectionSlot) -> Self {
        Self::Releasing(Box::new(Handover { from, to: None }))
    }
}

impl ConnectionRecord {
    /// Whether the connection counts as present.
    pub fn is_present(&self) -> bool {
        self.phase != Phase::Away
    }
}

/// The record of a channel.
#[derive(Debug)]
pub struct ChannelRecord {
    pub identity: Identity,
    pub settings: ChannelSettings,
    /// The operator's rules, which limit what backends may set.
    pub rules: Arc<ChannelRules>,
    pub summary: Arc<Summary>,
}

/// See the module's description.
#[derive(Debug)]
pub struct RegistryState {
    pub(super) times: ConnectionTimes,
    pub(super) limits: RegistryLimits,
    patterns: ChannelPatterns,
    pub(super) demo: DemoShare,
    pub blocks: Blocks,
    pub(super) expiries: TokenExpiries,
    pub(super) connections: Slab<ConnectionRecord>,
    shrink_hint: ShrinkHint,
    /// Indexes of connections, by ids that clients and applications choose.
    pub(super) by_id: KeyIndex<RandomState>,
    pub(super) deadlines: Deadlines,
    pub(super) users: Users,
    /// Channels in order of creation: the index is the [`ChannelId`].
    pub(super) channels: IndexMap<Arc<str>, ChannelRecord>,
    /// The counter that channels and private messages use.
    pub stamps: Arc<Stamps>,
    generation: u32,
    pub(super) present: usize,
    pub(super) active_users: usize,
    /// Users whose present connections have changed, for the other nodes.
    pub changed_presence: Vec<UserId>,
    /// When something last arrived from other nodes, in ms of the registry's clock.
    pub arrived_at: u64,
}

impl RegistryState {
    pub fn new(times: ConnectionTimes) -> Self {
        Self {
            times,
            limits: RegistryLimits::default(),
            patterns: ChannelPatterns::default(),
            demo: DemoShare::default(),
            blocks: Blocks::default(),
            expiries: TokenExpiries::default(),
            connections: Slab::new(),
            shrink_hint: ShrinkHint::default(),
            by_id: KeyIndex::default(),
            deadlines: Deadlines::default(),
            users: Users::default(),
            channels: IndexMap::new(),
            stamps: Arc::default(),
            generation: 0,
            present: 0,
            active_users: 0,
            changed_presence: Vec::new(),
            arrived_at: 0,
        }
    }

    /// Uses the counter of channels and private messages.
    pub fn with_stamps(mut self, stamps: Arc<Stamps>) -> Self {
        self.stamps = stamps;
        self
    }

    /// Sets the limits.
    pub fn with_limits(mut self, limits: RegistryLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the rules of channels.
    pub fn with_patterns(mut self, patterns: ChannelPatterns) -> Self {
        self.patterns = patterns;
        self
    }

    pub fn connection(&self, id: Uuid) -> Option<(ConnKey, &ConnectionRecord)> {
        let index = self.by_id.find(&id, |index| &self.connections[index as usize].id)?;
        let connection = self.connections.get(index as usize)?;
        Some((ConnKey { index, generation: connection.generation }, connection))
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut ConnectionRecord> {
        let found = self.connections.get_mut(key.index as usize);
        found.filter(|connection| connection.generation == key.generation)
    }

    pub fn user_id(&self, name: &str) -> Option<UserId> {
        self.users.id(name)
    }

    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(id)
    }

    pub fn channel_id(&self, name: &str) -> Option<ChannelId> {
        self.channels.get_index_of(name).map(|index| ChannelId(index as u32))
    }

    pub fn channel(&self, id: ChannelId) -> Option<&ChannelRecord> {
        self.channels.get_index(id.0 as usize).map(|(_, record)| record)
    }

    /// All channels, oldest first.
    pub fn all_channels(&self) -> impl Iterator<Item = ChannelId> + use<> {
        (0..self.channels.len() as u32).map(ChannelId)
    }

    /// Remembered users, present users, present connections.
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
            born: self.stamps.later(),
        });
        self.shrink_hint.grown(&self.connections);
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
        self.shrink_hint.shrunk(&mut self.connections);
        self.expiries.remove(key);
        self.note_connection(connection.user, -1);
        Some(connection)
    }

    /// The channel of this name. Creates it with this configuration if it does not exist.
    pub(super) fn ensure_channel(
        &mut self,
        name: &str,
        config: impl FnOnce() -> ChannelConfig,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        if let Some(id) = self.channel_id(name) {
            return id;
        }
        let settings = self.rules_of(name).settings(&config());
        self.create_channel(name, Uuid::new_v4(), settings, effects)
    }

    /// The operator's rules for the channel of this name.
    pub(super) fn rules_of(&self, name: &str) -> &Arc<ChannelRules> {
        self.patterns.rules(name)
    }

    /// Creates a channel, of which there is none yet.
    pub(super) fn create_channel(
        &mut self,
        name: &str,
        uuid: Uuid,
        settings: ChannelSettings,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        let id = ChannelId(self.channels.len() as u32);
        let identity = Identity { id, uuid, name: name.into() };
        let rules = self.rules_of(name).clone();
        let summary = Arc::new(Summary::new(Timestamp::now()));
        self.demo.note_channel();
        effects.push(Effect::Create(identity.clone(), settings.clone(), rules.clone(), summary.clone()));
        self.channels.insert(identity.name.clone(), ChannelRecord { identity, settings, rules, summary });
        id
    }
}

/// The channels that a connection subscribes to.
pub(super) fn subscriptions(connections: &Slab<ConnectionRecord>, key: ConnKey) -> &[ChannelId] {
    connections.get(key.index as usize).map_or(&[], |connection| &connection.channels)
}

/// Deadlines in ms of the registry's clock.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(u64, ConnKey)>);

impl Deadlines {
    /// Replaces a connection's deadline.
    pub fn set(&mut self, conn: ConnKey, current: &mut Option<NonZeroU64>, at: Option<u64>) {
        if let Some(old) = current.take() {
            self.0.remove(&(old.get(), conn));
        }
        // 0 is not a valid deadline: nothing is due when the clock starts.
        *current = at.and_then(|at| NonZeroU64::new(at.max(1)));
        if let Some(at) = *current {
            self.0.insert((at.get(), conn));
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes and returns the next connection whose deadline has passed.
    pub fn next_due(&mut self, now: u64) -> Option<ConnKey> {
        let &(at, conn) = self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(conn)
    }
}
