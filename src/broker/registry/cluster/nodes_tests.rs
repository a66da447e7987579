//! Several nodes over the model of the scripts: each has what Redis has, in whatever order replies and mail arrive, and
//! although connections to Redis break.

use super::*;
use crate::broker::channel::messages::Inspect;
use crate::broker::channel::state::{ChannelState, Retention};
use crate::broker::engine::call::{EngineConstants, Item, Retention as KeptByRedis, Sender};
use crate::broker::engine::model::Model;
use crate::broker::engine::record::Record;
use crate::broker::engine::reply::Reply;
use crate::broker::engine::snapshot::StreamSnapshot;
use crate::broker::registry::state::ConnectionTimes;
use crate::broker::requests::Connect;
use crate::broker::stamps::Stamps;
use crate::fixtures::{ENCODER, message, time};
use crate::protocol::ids::{Epoch, Stamp};
use crate::protocol::settings::ChannelConfig;
use crate::protocol::websocket::close::CloseReason;
use proptest::prelude::*;
use std::collections::VecDeque;

const CHANNELS: [&str; 2] = ["a", "b"];
const NODES: usize = 3;
const START_US: u64 = 1_700_000_000_000_000;
/// Longer than a stream without members is followed, in ms.
const LONG_MS: u64 = 11_000;

const CONSTANTS: EngineConstants = EngineConstants {
    retention: KeptByRedis { channel_frames: 4, user_frames: 4, history: 3 },
    key_window_ms: 1_000,
    max_channels: 0,
    max_blocks: 9,
    user_idle_ms: 3_600_000,
    channel_idle_ms: 0,
    grace_ms: 1_000,
    beat_ms: 1_000,
    dead_ms: 3_600_000,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// If `late`, a message is published while the channel is being loaded, and arrives before its contents.
    Connect {
        node: usize,
        conn: u128,
        channel: usize,
        late: bool,
    },
    Disconnect {
        node: usize,
        conn: u128,
    },
    Publish {
        channel: usize,
    },
    /// The connection of a node to Redis breaks, and what is on its way is lost.
    Break {
        node: usize,
    },
    /// The node joins again.
    Join {
        node: usize,
    },
    /// So many things arrive at a node. If `replies_first`, the mail that came with a reply arrives behind it.
    Arrive {
        node: usize,
        count: usize,
        replies_first: bool,
    },
    /// Time passes.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let (node, conn, channel) = (0..NODES, 0..6_u128, 0..CHANNELS.len());
    prop_oneof![
        4 => (node.clone(), conn.clone(), channel.clone(), any::<bool>())
            .prop_map(|(node, conn, channel, late)| Step::Connect { node, conn, channel, late }),
        3 => (node.clone(), conn).prop_map(|(node, conn)| Step::Disconnect { node, conn }),
        6 => channel.prop_map(|channel| Step::Publish { channel }),
        1 => node.clone().prop_map(|node| Step::Break { node }),
        2 => node.clone().prop_map(|node| Step::Join { node }),
        6 => (node, 0..6_usize, any::<bool>())
            .prop_map(|(node, count, replies_first)| Step::Arrive { node, count, replies_first }),
        1 => Just(Step::Wait),
    ]
}

#[derive(Debug)]
enum Arriving {
    Mail(Vec<u8>),
    Reply(Ticket, Reply),
}

struct Node {
    number: NodeNumber,
    cluster: Cluster,
    state: RegistryState,
    channels: Vec<ChannelState>,
    arriving: VecDeque<Arriving>,
    is_connected: bool,
}

struct World {
    redis: Model,
    nodes: Vec<Node>,
    now: u64,
    published: u128,
}

/// A sender of one call, whose number its process uses once.
fn sender(node: NodeNumber) -> Sender {
    let epoch = Epoch::new(rand::random());
    Sender { node, boot: Uuid::new_v4(), number: 0, epoch, seed: Uuid::nil(), settings: CONSTANTS }
}

impl Node {
    fn new(number: NodeNumber) -> Self {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        Self {
            number,
            cluster: Cluster::default(),
            state: RegistryState::new(times).with_stamps(Arc::new(Stamps::following())),
            channels: Vec::new(),
            arriving: VecDeque::new(),
            is_connected: false,
        }
    }

    fn apply(&mut self, effects: Vec<Effect>, now: u64) {
        for effect in effects {
            self.cluster.observe(&effect, &self.state, now);
            match effect {
                Effect::Create(identity, settings, rules, _) => {
                    let kept = Retention { frames: 4, history: 3 };
                    let (epoch, stamps) = (Epoch::new(0), self.state.stamps.clone());
                    let channel =
                        ChannelState::new(identity, settings, ENCODER, kept, time(0), epoch, stamps);
                    self.channels.push(channel.with_rules(rules).following());
                }
                Effect::Channel(id, message) => self.send(id, message),
                _ => {}
            }
        }
        self.cluster.flush(&self.state, now);
    }

    fn send(&mut self, id: ChannelId, message: ToChannel) {
        let (channel, effects) = (&mut self.channels[id.0 as usize], &mut Vec::new());
        match message {
            ToChannel::Join { conn, user, location } => channel.join(conn, user, location, &time(0), effects),
            ToChannel::Leave(conn, _) => channel.leave(conn, &time(0), effects),
            ToChannel::Apply(decision) => channel.apply(*decision, effects),
            ToChannel::Load(copy) => channel.load(*copy, effects),
            _ => {}
        }
    }

    /// The streams that connections of this node need.
    fn is_member(&self, name: &str) -> bool {
        let id = self.state.channel_id(name);
        id.is_some_and(|id| self.channels[id.0 as usize].member_keys().next().is_some())
    }
}

impl World {
    fn new() -> Self {
        let mut redis = Model::new(START_US, sender(1));
        let adopt = Call::Adopt { known_term: 0, run: "r".into(), stamp: Stamp(0) };
        redis.run(&adopt, &sender(1));
        let nodes: Vec<_> = (1..=NODES as u64).map(Node::new).collect();
        for node in &nodes {
            redis.run(&Call::Enlist { earlier: 0, info: "{}".into() }, &sender(node.number));
        }
        let mut world = Self { redis, nodes, now: 1, published: 0 };
        (0..NODES).for_each(|node| world.join(node));
        world.settle();
        world
    }

    /// Runs a call of a node. The mail arrives at all nodes, and at the calling one before the reply or behind it.
    fn call(&mut self, index: usize, call: &Call, ticket: Option<Ticket>) -> Reply {
        self.redis.clock += 10;
        let number = self.nodes[index].number;
        let (reply, mails) = self.redis.run(call, &sender(number));
        for (number, bytes) in mails {
            let node = self.nodes.iter_mut().find(|node| node.number == number).unwrap();
            if node.is_connected {
                node.arriving.push_back(Arriving::Mail(bytes));
            }
        }
        if let Some(ticket) = ticket {
            self.nodes[index].arriving.push_back(Arriving::Reply(ticket, reply.clone()));
        }
        reply
    }

    fn send_out(&mut self, index: usize) {
        for to_link in self.nodes[index].cluster.take_outbox() {
            let ToLink::Call(call, ticket) = to_link else { continue };
            if self.nodes[index].is_connected {
                self.call(index, &call, ticket);
            }
        }
    }

    fn arrive(&mut self, index: usize, replies_first: bool) -> bool {
        let (now, node) = (self.now, &mut self.nodes[index]);
        // A later push may be handled before a reply.
        let mail = node.arriving.iter().position(|arriving| matches!(arriving, Arriving::Mail(_)));
        if let Some(mail) = mail.filter(|_| !replies_first).and_then(|at| node.arriving.remove(at)) {
            node.arriving.push_front(mail);
        }
        let Some(arriving) = node.arriving.pop_front() else { return false };
        let mut effects = Vec::new();
        match arriving {
            Arriving::Mail(bytes) => node.cluster.mail(&bytes, &mut node.state, now, &mut effects),
            Arriving::Reply(ticket, reply) => {
                node.cluster.replied(ticket, Ok(reply), &mut node.state, now, &mut effects);
            }
        }
        node.apply(effects, now);
        self.send_out(index);
        true
    }

    fn settle(&mut self) {
        while (0..NODES).any(|index| self.arrive(index, true)) {}
    }

    fn join(&mut self, index: usize) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        node.is_connected = true;
        node.arriving.clear();
        let mut effects = Vec::new();
        node.cluster.joined(node.number, 1, true, &mut node.state, now, &mut effects);
        node.apply(effects, now);
        self.send_out(index);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect { node, conn, channel, late } if self.nodes[node].is_connected => {
                self.connect(node, conn, CHANNELS[channel], late);
            }
            Step::Disconnect { node, conn } => {
                let (now, at) = (self.now, &mut self.nodes[node]);
                let (id, mut effects) = (Uuid::from_u128(conn + 100 * node as u128), Vec::new());
                at.state.disconnect(id, &CloseReason::Ended.into(), now, &mut effects);
                at.apply(effects, now);
                self.send_out(node);
            }
            Step::Publish { channel } => self.publish(CHANNELS[channel]),
            Step::Break { node } => {
                let at = &mut self.nodes[node];
                at.is_connected = false;
                at.arriving.clear();
                at.cluster.lost();
            }
            Step::Join { node } if !self.nodes[node].is_connected => self.join(node),
            Step::Arrive { node, count, replies_first } => {
                (0..count).for_each(|_| _ = self.arrive(node, replies_first));
            }
            Step::Wait => {
                self.now += LONG_MS;
                self.redis.clock += 1_000 * LONG_MS;
                for index in 0..NODES {
                    let (now, node, mut effects) = (self.now, &mut self.nodes[index], Vec::new());
                    node.cluster.forget_idle(&mut node.state, now, &mut effects);
                    node.apply(effects, now);
                    self.send_out(index);
                }
            }
            Step::Connect { .. } | Step::Join { .. } => {}
        }
    }

    fn publish(&mut self, channel: &str) {
        self.published += 1;
        let record = Record::Message { message: message(self.published), edited: None }.encode();
        let items = vec![Item { stream: channel_key(channel).to_string(), record, part: None }];
        if let Some(index) = self.nodes.iter().position(|node| node.is_connected) {
            self.call(index, &Call::Append { items }, None);
        }
    }

    /// What a request does: it creates the channel, makes it current, and connects.
    fn connect(&mut self, index: usize, conn: u128, channel: &str, late: bool) {
        let config = ChannelConfig {
            notify_presence: Some(true),
            store_history: Some(true),
            ..ChannelConfig::default()
        };
        let user = format!("u{}", conn % 3);
        let opened = self.nodes[index].state.to_open(channel, Uuid::from_u128(7), &config);
        self.call(index, &Call::Open { channels: vec![opened] }, None);
        let keys = [channel_key(channel), user_key(&user)];
        let (waiter, mut current) = tokio::sync::oneshot::channel();
        self.nodes[index].cluster.hold(&keys, waiter);
        self.send_out(index);
        if late {
            self.publish(channel);
        }
        while current.try_recv() != Ok(Ok(())) {
            assert!(self.arrive(index, !late), "the streams become current");
        }
        let (now, node, mut effects) = (self.now, &mut self.nodes[index], Vec::new());
        let request = Connect {
            username: user,
            conn_id: Some(Uuid::from_u128(conn + 100 * index as u128)),
            channels: vec![channel.into()],
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: Vec::new(),
        };
        node.state.connect(request, now, &mut effects).unwrap();
        node.apply(effects, now);
        node.cluster.release(&keys, now);
        self.send_out(index);
    }

    /// A channel as Redis stores it.
    fn stored(&mut self, name: &str) -> Option<StreamSnapshot> {
        let (after, with_history, with_members, max_bytes) = (0, true, true, u32::MAX);
        let stream = channel_key(name).to_string();
        let (reply, _) =
            self.redis.run(&Call::Read { stream, after, with_history, with_members, max_bytes }, &sender(1));
        StreamSnapshot::read(&reply).unwrap()
    }

    fn check(&mut self) {
        for name in CHANNELS {
            let Some(stored) = self.stored(name) else { continue };
            let mut expected: Vec<_> = stored.members.iter().map(|member| member.user.clone()).collect();
            expected.sort();
            let here = |node: &Node| match node.state.channel_id(name) {
                Some(id) => (0..3_u32)
                    .filter_map(|user| node.state.user_id(&format!("u{user}")))
                    .map(|user| node.state.present_connections(user, id))
                    .sum(),
                None => 0,
            };
            assert_eq!(self.nodes.iter().map(here).sum::<u32>(), stored.connections, "connections of {name}");
            for node in self.nodes.iter_mut().filter(|node| node.is_member(name)) {
                let id = node.state.channel_id(name).unwrap();
                let channel = &mut node.channels[id.0 as usize];
                assert_eq!(channel.position(), stored.position, "{name} at node {}", node.number);
                let snapshot = channel.snapshot(&Inspect { users: true, history: true });
                let users: Vec<_> = snapshot.users.iter().map(|user| user.name.to_string()).collect();
                assert_eq!((users, snapshot.total_connections), (expected.clone(), stored.connections));
                assert_eq!(snapshot.history.len(), stored.history.len());
                let (frames, _) = channel.num_stored();
                assert!(frames >= stored.entries.len().min(4), "{frames} of {}", stored.entries.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn nodes_have_what_redis_has(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        (0..NODES).for_each(|node| world.step(Step::Join { node }));
        world.settle();
        world.check();
        (0..NODES).for_each(|node| world.join(node));
        world.settle();
        world.check();
    }
}

/// A copy without contents frees what a channel has.
#[test]
fn a_channel_that_is_not_followed_takes_no_memory() {
    let mut world = World::new();
    world.connect(0, 1, "a", false);
    (0..3).for_each(|_| world.step(Step::Publish { channel: 0 }));
    world.settle();
    assert_eq!(world.nodes[0].channels[0].num_stored().0, 4, "the user joined, and three messages");
    world.step(Step::Disconnect { node: 0, conn: 1 });
    world.settle();
    world.step(Step::Wait);
    assert_eq!(world.nodes[0].channels[0].num_stored(), (0, 0));
    world.connect(0, 1, "a", false);
    world.settle();
    world.check();
}

/// Nothing is missing behind the place where the node had stopped to follow.
#[test]
fn a_channel_that_became_stale_is_loaded_as_a_whole() {
    let mut world = World::new();
    world.connect(0, 1, "a", false);
    (0..2).for_each(|_| world.step(Step::Publish { channel: 0 }));
    world.settle();
    world.step(Step::Disconnect { node: 0, conn: 1 });
    world.settle();
    world.step(Step::Break { node: 0 });
    world.step(Step::Join { node: 0 });
    world.settle();
    world.connect(0, 1, "a", false);
    world.settle();
    world.check();
}

/// What is published while a log is read in parts comes with the last part, and as mail.
#[test]
fn what_arrives_while_a_long_log_is_loaded_is_applied_once() {
    let mut world = World::new();
    let opened = world.nodes[0].state.to_open("a", Uuid::from_u128(7), &ChannelConfig::default());
    world.call(0, &Call::Open { channels: vec![opened] }, None);
    let record = || Record::Message { message: message(1), edited: None }.encode();
    let large = [record(), vec![0; 1_100_000]].concat();
    let publish = |world: &mut World, record| {
        let item = Item { stream: "ca".into(), record, part: None };
        world.call(1, &Call::Append { items: vec![item] }, None);
    };
    publish(&mut world, large);
    publish(&mut world, record());
    let (waiter, mut current) = tokio::sync::oneshot::channel();
    world.nodes[0].cluster.hold(&[channel_key("a")], waiter);
    world.send_out(0);
    publish(&mut world, record());
    world.settle();
    assert_eq!(current.try_recv(), Ok(Ok(())));
    let id = world.nodes[0].state.channel_id("a").unwrap();
    let channel = &world.nodes[0].channels[id.0 as usize];
    assert_eq!((channel.position().offset, channel.num_stored().0), (3, 3));
}

/// A frame that names a user is kept for a client that returns: meanwhile the user keeps its id, however soon users are
/// forgotten.
#[test]
fn a_user_that_frames_name_keeps_its_id_while_its_clients_may_return() {
    let times = ConnectionTimes { idle: 20, part: 10, reconnect_delay: 5, grace: 1_000, user_idle: 1 };
    let mut state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
    state.arrived_at = 500;
    let ann = state.intern("ann");
    state.forget_users(500 + times.longest_absence() - 1);
    assert_eq!(state.user_id("ann"), Some(ann));
    state.forget_users(500 + times.longest_absence());
    assert_eq!(state.user_id("ann"), None);
}
