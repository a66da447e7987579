//! The core without actors: the real states of registry, channels, private message streams, hubs and send queues,
//! connected by queues. A scheduler runs them in any order. Time and random numbers follow from a seed, so every run
//! can be repeated: `CHANNELSTREAM_SEED=7 cargo test --lib simulation` repeats the run of seed 7.
//!
//! Between two stations messages keep their order, as in mailboxes; between different pairs any order is possible.
//! Clients read sockets at any speed, and clocks advance when the seed determines it.

mod account;
mod admission;
mod actions;
mod cluster;
mod draws;
mod invariants;
mod log;
mod page;
mod peers;
mod reading;
mod replica;
mod requests;
mod returning;
mod runs;
mod stations;
mod streams;
mod tests;

use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::state::{ChannelState, Retention};
use crate::broker::hub::fanout::Fanout;
use crate::broker::hub::messages::{Detached, ToHub};
use crate::broker::hub::table::SessionTable;
use crate::broker::marking::Marking;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::PrivateMessagesState;
use crate::broker::receipts::Receipts;
use crate::broker::registry::state::{ConnectionTimes, Effect, RegistryState};
use crate::broker::stamps::Stamps;
use crate::config::{ChannelPatterns, ChannelRules};
use crate::fixtures::{ENCODER, PLENTY};
use crate::protocol::ids::{ConnKey, Offset, UserId};
use crate::protocol::message::Delivery;
use crate::protocol::settings::ChannelSettings;
use account::ExpectedDeliveries;
use admission::Admission;
use log::Log;
use page::Page;
use peers::Session;
use rand::SeedableRng;
use rand::rngs::StdRng;
use returning::SERVER;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

const HUBS: u16 = 2;
/// How long a poll's successor waits for the receipt of its response.
const ANSWER_MS: u64 = 1_000;
/// How long a poll waits for events.
const WAIT_MS: u64 = 800;
const TIMES: ConnectionTimes =
    ConnectionTimes { idle: 1_000, part: 100, reconnect_delay: 200, grace: 2_000, user_idle: 10_000 };

/// The configuration of a world.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The seed of the epochs of streams.
    epochs: u64,
    retention: Retention,
    /// The settings of the channels, by index.
    settings: Vec<ChannelSettings>,
    /// The operator's rules for the channels, by index. Without any, all channels have the default rules.
    pub channels: Vec<ChannelRules>,
    /// The connections whose clients ask for positions.
    pub returning: Vec<Uuid>,
}

impl Rules {
    /// Channels have different settings, and in half of the worlds they store little.
    pub fn draw(rng: &mut Rng) -> Self {
        // Draws nothing, so that a stored seed keeps its run.
        let epochs = rng.0;
        let few = Retention { frames: 3 + rng.below(12) as usize, history: 1 + rng.below(8) as usize };
        let retention = if rng.once_in(2) { few } else { PLENTY };
        let settings = (0..3).map(|_| ChannelSettings {
            notify_presence: !rng.once_in(3),
            broadcast_presence_with_user_lists: !rng.once_in(3),
            notify_state: rng.once_in(2),
            store_history: rng.once_in(2),
            history_size: rng.below(6),
            store_frames: !rng.once_in(6),
        });
        Self { epochs, retention, settings: settings.collect(), channels: Vec::new(), returning: Vec::new() }
    }

    fn settings(&self, channel: &str) -> &ChannelSettings {
        &self.settings[index_of(channel)]
    }

    /// The operator's rules for a channel.
    fn channel(&self, channel: &str) -> ChannelRules {
        self.channels.get(index_of(channel)).cloned().unwrap_or_default()
    }

    /// The frames that a channel certainly keeps at this time: how many, and those published since when.
    fn kept(&self, channel: &str, now: u64) -> Kept {
        let is_stored = self.settings(channel).store_frames;
        let frames = if is_stored { self.retention.frames as Offset } else { 0 };
        let age_ms = self.channel(channel).frames_age_s * 1_000;
        Kept { frames, since: if age_ms > 0 { now.saturating_sub(age_ms) } else { 0 } }
    }
}

fn index_of(channel: &str) -> usize {
    channel[1..].parse().unwrap()
}

/// The last frames of a channel, up to this number, that were published at this time or later.
#[derive(Clone, Copy)]
struct Kept {
    frames: Offset,
    since: u64,
}

/// Messages from hubs and their sessions to the registry, in one order.
enum ToRegistry {
    /// The session with this number requests its connection.
    Attach(usize),
    Detached(Detached),
}

struct Hub {
    table: SessionTable,
    fanout: Fanout,
    /// Queues from the registry, the private message streams, and each channel.
    inputs: Vec<VecDeque<ToHub>>,
    output: VecDeque<ToRegistry>,
    /// Bytes of frames received, and of those completely processed.
    bytes: (usize, usize),
    /// Delivery marks, each after a round of the fan-out.
    pending_marks: VecDeque<(u64, Arc<Marking>)>,
}

pub struct World {
    now: u64,
    rules: Rules,
    /// All messages so far that were not deleted.
    pub sent: Vec<(u128, Delivery)>,
    last_number: u128,
    /// The number of messages, edits and deletions so far.
    published: usize,
    /// The receipts that requests wait for.
    receipts: Vec<Arc<Receipts>>,
    registry: RegistryState,
    /// Draws the epochs of channels.
    epochs: Rng,
    channels: Vec<(ChannelState, VecDeque<ToChannel>)>,
    private_messages: (PrivateMessagesState, VecDeque<ToPrivateMessages>),
    hubs: Vec<Hub>,
    sessions: Vec<Session>,
    account: ExpectedDeliveries,
    keys: HashSet<ConnKey>,
    users_of: HashMap<ConnKey, UserId>,
    /// The clients that ask for positions, by the ids of their connections.
    pages: HashMap<Uuid, Page>,
    /// Their connections.
    returning: HashMap<ConnKey, Uuid>,
    log: Log,
    admission: Admission,
    stamps: Arc<Stamps>,
    effects: Vec<Effect>,
}

impl World {
    pub fn new(rules: Rules) -> Self {
        let stamps: Arc<Stamps> = Arc::default();
        let patterns = ChannelPatterns::new(rules.channels.clone()).unwrap();
        let private_messages = PrivateMessagesState::new(
            ENCODER,
            rules.retention.frames,
            StdRng::seed_from_u64(rules.epochs),
            stamps.clone(),
        );
        Self {
            now: 0,
            sent: Vec::new(),
            last_number: 0,
            published: 0,
            receipts: Vec::new(),
            registry: RegistryState::new(TIMES).with_stamps(stamps.clone()).with_patterns(patterns),
            epochs: Rng::new(rules.epochs),
            channels: Vec::new(),
            private_messages: (private_messages, VecDeque::new()),
            hubs: (0..HUBS).map(|id| Hub::new(id, SERVER)).collect(),
            sessions: Vec::new(),
            account: ExpectedDeliveries::new(),
            keys: HashSet::new(),
            users_of: HashMap::new(),
            pages: rules.returning.iter().map(|conn_id| (*conn_id, Page::default())).collect(),
            returning: HashMap::new(),
            log: Log::default(),
            admission: Admission::default(),
            stamps,
            effects: Vec::new(),
            rules,
        }
    }

    pub fn next_number(&mut self) -> u128 {
        self.last_number += 1;
        self.last_number
    }

    /// Advances all clocks.
    pub fn pass(&mut self, ms: u64) {
        let before = self.now;
        self.now += ms;
        self.registry.blocks.expire(self.now, usize::MAX);
        self.registry.tick(self.now, usize::MAX, &mut self.effects);
        self.registry.forget_users(self.now);
        self.apply();
        self.pass_for_sessions(before);
    }
}

/// Repeatable random numbers: SplitMix64. The generator is part of the project, so that a stored seed always gives the same
/// run.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True with probability 1 / `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these values.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}
