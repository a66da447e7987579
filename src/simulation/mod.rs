//! The whole house without actors: the real states of registry, channels, private message streams, hubs and send queues, joined by
//! queues, with a scheduler that is free to let any of them go on. Time and chance follow from a seed, so every run can
//! be repeated: `CHANNELSTREAM_SEED=7 cargo test --lib simulation` is the life of seed 7 again.
//!
//! Between each two stations messages keep their order, as mailboxes do; between different ones anything goes. Sockets
//! take as few bytes as their peers like, clocks move when the seed says so.

mod account;
mod actions;
mod chance;
mod invariants;
mod peers;
mod requests;
mod stations;
mod tests;

use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::state::{ChannelState, Retention};
use crate::broker::hub::fanout::Fanout;
use crate::broker::hub::messages::{Detached, ToHub};
use crate::broker::hub::table::SessionTable;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::PrivateMessagesState;
use crate::broker::registry::state::{ConnectionTimes, Effect, RegistryState};
use crate::fixtures::{ENCODER, PLENTY};
use crate::protocol::ids::{ConnKey, HubId};
use crate::protocol::message::Delivery;
use crate::protocol::settings::ChannelSettings;
use account::Account;
use chance::Chance;
use peers::Session;
use std::collections::{HashSet, VecDeque};

const HUBS: u16 = 2;
/// How long a poll's successor waits for the receipt of its answer.
const ANSWER_MS: u64 = 1_000;
/// How long a poll waits for something to be answered with.
const WAIT_MS: u64 = 800;
const TIMES: ConnectionTimes = ConnectionTimes { idle: 1_000, part: 100, grace: 2_000, user_idle: 10_000 };

/// How a world is set up.
#[derive(Clone, Debug)]
pub struct Rules {
    keeping: Retention,
    /// Of channel 0, 1 and so on.
    settings: Vec<ChannelSettings>,
}

impl Rules {
    /// Channels differ, and in every second world they keep little.
    pub fn draw(chance: &mut Chance) -> Self {
        let few = Retention { frames: 3 + chance.below(12) as usize, history: 1 + chance.below(8) as usize };
        let keeping = if chance.once_in(2) { few } else { PLENTY };
        let settings = (0..3).map(|_| ChannelSettings {
            notify_presence: !chance.once_in(3),
            broadcast_presence_with_user_lists: !chance.once_in(3),
            notify_state: chance.once_in(2),
            store_history: chance.once_in(2),
            history_size: chance.below(6),
            store_frames: !chance.once_in(6),
        });
        Self { keeping, settings: settings.collect() }
    }

    fn settings(&self, channel: &str) -> &ChannelSettings {
        let index: usize = channel[1..].parse().unwrap();
        &self.settings[index]
    }
}

/// What hubs and their sessions tell the registry, in one order.
enum ToRegistry {
    /// The session of this number asks for its connection.
    Attach(usize),
    Detached(Detached),
}

struct Hub {
    table: SessionTable,
    fanout: Fanout,
    /// From the registry, the private message streams, then each channel.
    inputs: Vec<VecDeque<ToHub>>,
    output: VecDeque<ToRegistry>,
    /// Bytes of frames that came, and of those that were finished with.
    bytes: (usize, usize),
}

pub struct World {
    now: u64,
    rules: Rules,
    /// Messages so far that nobody deleted.
    pub sent: Vec<(u128, Delivery)>,
    last_number: u128,
    registry: RegistryState,
    channels: Vec<(ChannelState, VecDeque<ToChannel>)>,
    private_messages: (PrivateMessagesState, VecDeque<ToPrivateMessages>),
    hubs: Vec<Hub>,
    sessions: Vec<Session>,
    account: Account,
    keys: HashSet<ConnKey>,
    effects: Vec<Effect>,
}

impl World {
    pub fn new(rules: Rules) -> Self {
        let hub = |id| Hub {
            table: SessionTable::new(HubId(id)),
            fanout: Fanout::default(),
            inputs: vec![VecDeque::new(), VecDeque::new()],
            output: VecDeque::new(),
            bytes: (0, 0),
        };
        Self {
            now: 0,
            sent: Vec::new(),
            last_number: 0,
            registry: RegistryState::new(TIMES),
            channels: Vec::new(),
            private_messages: (PrivateMessagesState::new(ENCODER, rules.keeping.frames), VecDeque::new()),
            hubs: (0..HUBS).map(hub).collect(),
            sessions: Vec::new(),
            account: Account::new(),
            keys: HashSet::new(),
            effects: Vec::new(),
            rules,
        }
    }

    /// A number for something new.
    pub fn next_number(&mut self) -> u128 {
        self.last_number += 1;
        self.last_number
    }

    /// Time passes, for everybody who has a clock.
    pub fn pass(&mut self, ms: u64) {
        let before = self.now;
        self.now += ms;
        self.registry.tick(self.now, usize::MAX, &mut self.effects);
        self.registry.forget_users(self.now);
        self.apply();
        self.pass_for_sessions(before);
    }
}
