//! Invariants: of single events, of the world at rest, and of a world whose clients are gone.

use super::World;
use super::redis::Loses;
use super::resuming::Returns;
use super::sessions::Opening;
use crate::broker::channel::messages::Inspect;
use crate::broker::engine::record::MemberView;
use crate::broker::registry::cluster::user_record::UserRecord;
use crate::broker::registry::state::Phase;
use crate::protocol::ids::{ChannelId, Epoch};
use std::collections::{BTreeMap, BTreeSet};

/// The time in which everything heals: a node is declared dead, its rows are freed, connections that moved no longer
/// count at two nodes.
const HEALING_MS: u64 = 6_000;
const HEALING_STEP_MS: u64 = 250;
/// After this time nothing is left of clients that are gone.
const IDLE_MS: u64 = 75_000;
/// Time passes in steps of this length when nothing is going on.
const LONG_MS: u64 = 1_000;

impl World {
    /// No user joins or parts whose session was attached and stays, although Redis may end, and may lose what it has.
    pub fn check_presence_event(&self) {
        let Some(entry) = self.truth.entries.last().filter(|entry| entry.kind == "presence") else { return };
        let members =
            self.clients.iter().filter(|client| client.is_steady && client.is_member(&entry.stream));
        let steady = members.into_iter().find(|client| !entry.is_meant_for(&client.user));
        assert!(
            steady.is_none(),
            "{entry:?}, although the user's client {:?} stays",
            steady.map(|of| &of.conn_text)
        );
    }

    /// All failures end, and everything comes to rest.
    pub fn settle(&mut self) {
        self.start_redis(Loses::Nothing);
        for node in 0..self.nodes.len() {
            self.heal(node);
            self.nodes[node].is_stopped = false;
        }
        let mut rng = super::Rng::new(self.rng.next());
        for _ in 0..HEALING_MS / HEALING_STEP_MS {
            self.pass(HEALING_STEP_MS, 0, &mut rng);
            self.drain();
        }
        self.check_at_rest();
        for at in 0..self.clients.len() {
            let streams = self.streams_of(at);
            let now = self.truth.next();
            self.clients[at].resolve(&streams, now);
        }
        (0..self.sessions.len()).for_each(|number| self.read_all(number));
        for at in 0..self.clients.len() {
            let is_attached = self.is_attached(at);
            let client = &mut self.clients[at];
            client.is_steady = is_attached;
            client.may_repeat &= !is_attached;
        }
    }

    /// The streams of the connection of a client.
    fn streams_of(&self, client: usize) -> BTreeSet<String> {
        let client = &self.clients[client];
        let Some(node) = self.holders(client.conn_id).next() else { return BTreeSet::new() };
        let process = self.running(node).process.borrow();
        let Some((_, connection)) = process.registry.connection(client.conn_id) else {
            return BTreeSet::new();
        };
        let name = |id: &ChannelId| format!("c{}", process.registry.channel(*id).unwrap().identity.name);
        connection.channels.iter().map(name).chain([format!("u{}", client.user)]).collect()
    }

    fn is_attached(&self, client: usize) -> bool {
        let conn_id = self.clients[client].conn_id;
        self.holders(conn_id).any(|node| {
            let process = self.running(node).process.borrow();
            let phase = process.registry.connection(conn_id).map(|(_, connection)| connection.phase.clone());
            matches!(phase, Some(Phase::Attached(_, transport)) if transport.keep_alive().is_some())
        })
    }

    fn check_at_rest(&mut self) {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].running.is_some()).collect();
        for node in &running {
            let running = self.running(*node);
            assert!(running.link.is_connected(), "node {node} is connected");
            assert!(self.redis.model.knows(running.link.node()), "node {node} is known");
            assert!(running.actor_tasks.is_empty(), "node {node} answers");
            assert!(running.requests.is_empty(), "a request of node {node} is answered");
            self.check_process(*node);
        }
        self.check_streams(&running);
        self.check_states();
        // Without a node there is none that declares another one dead.
        if !running.is_empty() {
            self.check_owners(&running);
            self.check_numbers(&running);
        }
    }

    /// The stations of a process agree.
    fn check_process(&self, node: usize) {
        let process = &mut *self.running(node).process.borrow_mut();
        process.registry.check(process.now);
        for (index, (state, _)) in (0..).zip(&process.channels) {
            let members: BTreeSet<_> = state.member_keys().collect();
            let subscribed = process
                .registry
                .all_connections()
                .filter(|(_, connection)| connection.channels.contains(&ChannelId(index)));
            assert_eq!(members, subscribed.map(|(key, _)| key).collect(), "members without connection");
        }
        let attached = process
            .registry
            .all_connections()
            .filter(|(_, connection)| matches!(connection.phase, Phase::Attached(..) | Phase::Releasing(_)));
        let attached = attached.count();
        let slots: usize = process.hubs.iter().map(|hub| hub.table.keys().len()).sum();
        for hub in &process.hubs {
            hub.table.check();
            assert!(hub.fanout.is_idle() && hub.bytes.0 == hub.bytes.1, "bytes in flight: {:?}", hub.bytes);
        }
        assert_eq!(slots, attached, "sessions of node {node} without connection");
    }

    /// Each connection is at one node, and its row names this node and its generation.
    fn check_owners(&self, running: &[usize]) {
        let mut seen = BTreeSet::new();
        for node in running {
            let (process, number) = (self.running(*node).process.borrow(), self.running(*node).link.node());
            for (key, connection) in process.registry.all_connections() {
                assert!(seen.insert(connection.id), "{} is at two nodes", connection.id);
                let generation = process.cluster.generation(key);
                let row = self.redis.model.owner(&connection.id.to_string());
                assert_eq!(Some(row), generation.map(|of| (number, of)), "the row of {}", connection.id);
            }
        }
        for client in &self.clients {
            let (owner, generation) = self.redis.model.owner(&client.conn_text);
            let is_owned = generation > 0 && self.redis.model.knows(owner) && self.has_row(client);
            assert!(
                !is_owned || seen.contains(&client.conn_id),
                "the row of {} names node {owner}, which does not have it",
                client.conn_text
            );
        }
    }

    /// Nodes have what Redis has of the streams of their members, and Redis has what was accepted.
    fn check_streams(&mut self, running: &[usize]) {
        let users = (0..super::actions::USERS).map(|user| format!("uu{user}"));
        for key in self.configs.iter().map(|(name, _)| format!("c{name}")).chain(users) {
            let Some(stored) = self.redis.model.stream(&key) else { continue };
            let (epoch, log) = (Epoch::parse(&stored.epoch).unwrap(), stored.log.iter());
            if stored.is_trusted {
                let log = log.map(|(offset, _)| *offset).collect();
                self.truth.check_kept(&key, epoch, stored.first, &log);
            }
            let Some(name) = key.strip_prefix('c') else { continue };
            for node in running {
                let process = &mut *self.running(*node).process.borrow_mut();
                let Some(id) = process.registry.channel_id(name) else { continue };
                let (channel, _) = &mut process.channels[id.0 as usize];
                if channel.member_keys().next().is_none() {
                    continue;
                }
                let at = channel.position();
                assert_eq!((at.epoch, at.offset), (epoch, stored.offset), "{name} at node {node}");
                let snapshot = channel.snapshot(&Inspect { users: true, history: true });
                let users: BTreeMap<_, _> = snapshot
                    .users
                    .iter()
                    .map(|user| (user.name.to_string(), MemberView::of(user).encode()))
                    .collect();
                let expected: BTreeMap<_, _> =
                    stored.members.iter().map(|(user, (_, view))| (user.clone(), view.clone())).collect();
                assert_eq!(users, expected, "the users of {name} at node {node}");
                assert_eq!(snapshot.total_connections, stored.connections, "{name} at node {node}");
                assert_eq!(snapshot.history.len(), stored.history, "the history of {name} at node {node}");
            }
        }
    }

    /// The totals of Redis are the sums of what the nodes have.
    fn check_numbers(&self, running: &[usize]) {
        let mut expected: BTreeMap<(String, String), u32> = BTreeMap::new();
        for node in running {
            let process = self.running(*node).process.borrow();
            for (_, connection) in process.registry.all_connections() {
                let user = process.registry.user(connection.user).unwrap().view.name.to_string();
                *expected.entry((format!("u{user}"), user.clone())).or_default() += 1;
                for id in connection.channels.iter().filter(|_| connection.is_present()) {
                    let name = &process.registry.channel(*id).unwrap().identity.name;
                    *expected.entry((format!("c{name}"), user.clone())).or_default() += 1;
                }
            }
        }
        let mut found = BTreeMap::new();
        let channels = self.configs.iter().map(|(name, _)| format!("c{name}"));
        let users = (0..super::actions::USERS).map(|user| format!("uu{user}"));
        for key in channels.chain(users) {
            let members = self.redis.model.stream(&key).map(|stored| stored.members).unwrap_or_default();
            found.extend(members.into_iter().map(|(user, (count, _))| ((key.clone(), user), count)));
        }
        assert_eq!(found, expected, "members in Redis, and at the nodes");
    }

    /// No change of a state is lost.
    fn check_states(&self) {
        for (user, keys) in &self.states {
            let record = self.redis.model.user_record(user).expect("it is kept");
            let record = UserRecord::read(record).expect("a record");
            let text = record.view().state;
            let state: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(
                keys.iter().all(|key| state.get(key).is_some()),
                "{user}: {keys:?} are not all in {text}"
            );
        }
    }

    /// Redis has started with an earlier state.
    pub fn forget_states(&mut self) {
        for (user, keys) in &mut self.states {
            let record = self.redis.model.user_record(user).and_then(UserRecord::read);
            let state: serde_json::Value = match record {
                Some(record) => serde_json::from_str(&record.view().state).unwrap(),
                None => serde_json::Value::Null,
            };
            keys.retain(|key| state.get(key).is_some());
        }
    }

    /// Everything heals, all clients return and read everything: then nothing may be missing.
    pub fn finish(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.start_again(node));
        self.settle();
        for client in 0..self.clients.len() {
            let (polls, is_slow, returns) = (false, false, Returns::All);
            let hub = client % 2;
            self.attach(client % self.nodes.len(), Opening { client, polls, hub, is_slow, returns });
        }
        self.settle();
        for client in &self.clients {
            let holder = self.holders(client.conn_id).next();
            assert!(!client.is_alive || holder.is_some(), "{} cannot return", client.conn_text);
            client.check_complete(&self.truth);
        }
    }

    /// No client returns, and time passes: nothing is left.
    pub fn expire(&mut self) {
        (0..self.sessions.len()).for_each(|number| self.leave(number));
        let mut rng = super::Rng::new(self.rng.next());
        for _ in 0..IDLE_MS / LONG_MS {
            self.pass(LONG_MS, 0, &mut rng);
            self.drain();
        }
        self.check_at_rest();
        let mut alive = Vec::new();
        for node in &self.nodes {
            let running = node.running.as_ref().expect("all nodes run");
            alive.push(running.link.node());
            let process = running.process.borrow();
            assert_eq!(process.registry.counts(), (0, 0, 0), "users, present users and connections");
            process.registry.check_nothing_waits();
            assert!(process.private_messages.0.is_empty(), "a private stream without its user");
            assert!(running.link.is_quiet() || running.link.is_connected());
            for (state, _) in &process.channels {
                assert_eq!(state.num_stored(), (0, 0), "a channel that is not followed");
            }
        }
        let mut leftovers = self.redis.model.leftovers(&alive);
        let unused = self.clients.iter().filter(|client| !self.has_row(client));
        let unused: Vec<_> = unused.map(|client| format!("row {}", client.conn_text)).collect();
        leftovers.retain(|left| !unused.contains(left));
        assert!(leftovers.is_empty(), "left in Redis: {leftovers:?}");
    }
}
