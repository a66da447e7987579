//! Worlds of one to four nodes over one Redis: the real states of registries, clusters, streams, hubs and send queues, the
//! real queue of calls and life of each link, and the model of the scripts as Redis. Replaced are: actors by queues, the
//! task of a link by [`link`], sockets by wires on which things take time, and the requests of `broker/handle/cluster/` and
//! of `cluster_posts.rs` by [`requests`] and [`peers`], which make the same calls and steps in tasks of a scheduler.
//!
//! `CHANNELSTREAM_SEED=7 cargo test --lib simulation::cluster` repeats the runs of seed 7.

mod actions;
mod checks;
mod clients;
mod draws;
mod faults;
mod link;
mod peers;
mod process;
mod redis;
mod requests;
mod resuming;
mod sessions;
mod tasks;
mod tests;
mod truth;

use super::stations::Taken;
use super::{Rng, Rules};
use crate::broker::registry::cluster::rows::RowData;
use crate::protocol::ids::{Epoch, SlotKey};
use crate::protocol::message::Delivery;
use crate::protocol::settings::ChannelConfig;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::PushResult;
use clients::Client;
use link::Link;
use process::Process;
use redis::Redis;
use requests::{Refused, Request};
use sessions::{Opening, Session};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use tasks::{Task, WorldClock};
use truth::Truth;

/// The configuration of a world.
#[derive(Clone, Debug)]
pub struct ClusterRules {
    seed: u64,
    nodes: usize,
    /// Retention, and the settings and rules of channels.
    rules: Rules,
    /// The clients: the number of the user, and whether it asks for positions.
    clients: Vec<(u8, bool)>,
    /// Whether Redis may lose what it has.
    loses: bool,
}

/// How a request has ended.
#[derive(Debug)]
enum Ended {
    /// One that changes the channels of a client.
    Joined {
        by: usize,
        client: usize,
        streams: Vec<String>,
        result: Result<(), Refused>,
    },
    Left {
        by: usize,
        client: usize,
        streams: Vec<String>,
        result: Result<(), Refused>,
    },
    Published {
        number: u128,
        result: Result<(), Refused>,
    },
    State {
        user: String,
        key: String,
        losses: usize,
        result: Result<(), Refused>,
    },
    Brought {
        node: usize,
        opening: Opening,
        result: Result<bool, Refused>,
    },
}

/// A running process and its link.
struct Running {
    /// Which of the world's processes.
    boot: usize,
    process: Rc<RefCell<Process>>,
    link: Link,
    requests: Vec<Task<Ended>>,
    actor_tasks: Vec<Task<()>>,
}

/// A machine on which processes run.
#[derive(Default)]
struct Node {
    running: Option<Running>,
    is_stopped: bool,
    is_cut: bool,
}

/// A part of the world that can do something.
#[derive(Clone, Copy, Debug)]
enum Station {
    Redis(usize),
    Link(usize),
    Engine(usize),
    Mark(usize),
    Registry(usize, usize),
    Stream(usize, usize),
    EndOfTurn(usize),
    Hub(usize, usize),
    Fanout(usize, usize),
    Request(usize, usize),
    ActorTask(usize, usize),
}

pub struct World {
    rules: ClusterRules,
    clock: WorldClock,
    rng: Rng,
    redis: Redis,
    is_redis_up: bool,
    nodes: Vec<Node>,
    boots: usize,
    sessions: Vec<Session>,
    clients: Vec<Client>,
    truth: Truth,
    /// The epochs of streams.
    epochs: BTreeMap<String, String>,
    last_number: u128,
    /// The messages that were not deleted.
    sent: Vec<(u128, Delivery)>,
    /// How often Redis has lost something.
    losses: usize,
    /// The keys of users' states whose requests were answered.
    states: BTreeMap<String, BTreeSet<String>>,
    configs: Rc<Vec<(String, ChannelConfig)>>,
    ready: Vec<Station>,
}

impl World {
    pub fn new(rules: ClusterRules) -> Self {
        let mut rng = Rng::new(rules.seed);
        let (frames, history) = (rules.rules.retention.frames as u32, rules.rules.retention.history as u32);
        let redis = Redis::new(redis::constants(frames, history, 10_000), Rng::new(rng.next()), rules.loses);
        let client = |(index, (user, is_resuming)): (usize, &(u8, bool))| {
            Client::new(uuid::Uuid::from_u128(1 + index as u128), format!("u{user}"), *is_resuming)
        };
        let configs = (0..3).map(|index| (format!("c{index}"), rules.rules.settings[index].clone().into()));
        let mut world = Self {
            clock: Rc::new(Cell::new(1)),
            redis,
            is_redis_up: true,
            nodes: (0..rules.nodes).map(|_| Node::default()).collect(),
            boots: 0,
            sessions: Vec::new(),
            clients: rules.clients.iter().enumerate().map(client).collect(),
            truth: Truth::default(),
            epochs: BTreeMap::new(),
            last_number: 0,
            sent: Vec::new(),
            losses: 0,
            states: BTreeMap::new(),
            configs: Rc::new(configs.collect()),
            ready: Vec::new(),
            rng,
            rules,
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        world.drain();
        world
    }

    /// Starts a process at a node.
    fn start(&mut self, node: usize) {
        self.boots += 1;
        let boot = uuid::Uuid::from_u128(self.boots as u128);
        let link = Link::new(boot, Rng::new(self.rng.next()), self.clock.get());
        let (handle, clock, configs) = (link.handle.clone(), self.clock.clone(), self.configs.clone());
        let (rules, rng) = (self.rules.rules.clone(), &mut self.rng);
        let process = Rc::new_cyclic(|weak: &Weak<RefCell<Process>>| {
            let request = Request { process: weak.clone(), link: handle.clone(), clock, configs };
            RefCell::new(Process::new(rules, handle, rng, request))
        });
        let (requests, actor_tasks) = (Vec::new(), Vec::new());
        self.nodes[node].running = Some(Running { boot: self.boots, process, link, requests, actor_tasks });
    }

    /// Whether nothing happens at a node.
    fn is_frozen(&self, node: usize) -> bool {
        self.nodes[node].is_stopped
    }

    /// Begins a request at a node, if a process runs there.
    fn request<F: Future<Output = Ended> + 'static>(
        &mut self,
        node: usize,
        begin: impl FnOnce(Request) -> F,
    ) {
        let Some(running) = &mut self.nodes[node].running else { return };
        let request = running.process.borrow().request.clone();
        running.requests.push(Task::new(begin(request)));
    }

    fn find_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let now = self.clock.get();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(running) = &mut node.running else { continue };
            if let Some(wire) = running.link.wire().filter(|wire| self.redis.is_ready(*wire)) {
                ready.extend(self.is_redis_up.then_some(Station::Redis(wire)));
            }
            if node.is_stopped {
                continue;
            }
            let is_reachable = self.is_redis_up && !node.is_cut;
            let mut push = |station, is_ready: bool| ready.extend(is_ready.then_some(station));
            push(Station::Link(index), !running.link.is_idle(&mut self.redis, is_reachable, now));
            let process = &mut *running.process.borrow_mut();
            push(Station::Engine(index), !process.from_engine.is_empty());
            push(Station::Mark(index), process.has_mark());
            (0..=process.channels.len()).for_each(|stream| {
                push(Station::Stream(index, stream), process.is_stream_ready(stream));
            });
            push(Station::EndOfTurn(index), process.has_for_hubs());
            for (at, hub) in process.hubs.iter_mut().enumerate() {
                push(Station::Registry(index, at), !hub.output.is_empty());
                push(Station::Hub(index, at), !hub.inputs[0].is_empty());
                let is_working =
                    !hub.fanout.is_idle() || hub.table.has_unfinished() || hub.has_reached_mark();
                push(Station::Fanout(index, at), is_working);
            }
            running.actor_tasks.append(&mut process.begun);
            running.requests.iter().enumerate().for_each(|(at, task)| {
                push(Station::Request(index, at), task.is_woken());
            });
            running.actor_tasks.iter().enumerate().for_each(|(at, task)| {
                push(Station::ActorTask(index, at), task.is_woken());
            });
        }
        self.ready = ready;
    }
}

impl World {
    /// Lets one station do something. False if none has anything to do.
    fn step(&mut self, rng: &mut Rng) -> bool {
        self.find_ready();
        if self.ready.is_empty() {
            return false;
        }
        let station = self.ready[rng.below(self.ready.len() as u64) as usize];
        self.run(station, rng);
        self.account();
        true
    }

    fn run(&mut self, station: Station, rng: &mut Rng) {
        let process = |world: &Self, node: usize| world.running(node).process.clone();
        match station {
            Station::Redis(wire) => self.redis.run_next(wire),
            Station::Link(node) => self.step_link(node),
            Station::Engine(node) => process(self, node).borrow_mut().step_engine(),
            Station::Mark(node) => process(self, node).borrow_mut().step_mark(),
            Station::Registry(node, hub) => {
                let process = process(self, node);
                let attaching = |number: usize| {
                    let session = &self.sessions[number];
                    session.attaching(self.clients[session.client].conn_id)
                };
                let refused = process.borrow_mut().step_registry(hub, attaching);
                if let Some(number) = refused {
                    self.refuse(number);
                }
            }
            Station::Stream(node, stream) => process(self, node).borrow_mut().step_stream(stream),
            Station::EndOfTurn(node) => process(self, node).borrow_mut().send_to_hubs(),
            Station::Hub(node, hub) => self.step_hub(node, hub),
            Station::Fanout(node, hub) => self.step_fanout(node, hub, 1 + rng.below(4) as usize),
            Station::Request(node, at) => {
                let running = self.nodes[node].running.as_mut().expect("it runs");
                if let Some(ended) = running.requests[at].poll() {
                    drop(running.requests.swap_remove(at));
                    self.ended(ended);
                }
            }
            Station::ActorTask(node, at) => {
                let running = self.nodes[node].running.as_mut().expect("it runs");
                if running.actor_tasks[at].poll().is_some() {
                    drop(running.actor_tasks.swap_remove(at));
                }
            }
        }
    }

    fn running(&self, node: usize) -> &Running {
        self.nodes[node].running.as_ref().expect("it runs")
    }

    fn step_link(&mut self, node: usize) {
        let is_reachable = self.is_redis_up && !self.nodes[node].is_cut;
        let Some(running) = &mut self.nodes[node].running else { return };
        let events = running.link.turn(&mut self.redis, is_reachable, self.clock.get());
        running.process.borrow_mut().from_engine.extend(events);
    }

    /// A hub handles what one turn of the streams has sent.
    fn step_hub(&mut self, node: usize, hub: usize) {
        let process = self.running(node).process.clone();
        loop {
            let taken = {
                let hub = &mut process.borrow_mut().hubs[hub];
                let Some(message) = hub.inputs[0].pop_front() else { return };
                hub.take(message)
            };
            match taken {
                Taken::Quietly => {}
                Taken::Pushed(key, pushed) => self.apply_result(node, hub, key, pushed),
                Taken::Release(key, reason) => self.close_by_hub(node, hub, key, reason),
            }
        }
    }

    fn step_fanout(&mut self, node: usize, hub: usize, budget: usize) {
        let process = self.running(node).process.clone();
        let failed = {
            let hub = &mut process.borrow_mut().hubs[hub];
            hub.table.set_allowance(budget);
            let failed = match hub.table.unfinished() {
                Some(key) => vec![(key, hub.table.continue_catch_up(key))],
                None => {
                    let slice = hub.fanout.run(&mut hub.table, budget);
                    hub.bytes.1 += slice.bytes;
                    slice.failed
                }
            };
            hub.report_laggards();
            failed
        };
        failed.into_iter().for_each(|(key, pushed)| self.apply_result(node, hub, key, pushed));
    }

    fn apply_result(&mut self, node: usize, hub: usize, key: SlotKey, pushed: PushResult) {
        match pushed {
            PushResult::Accepted | PushResult::Closed => {}
            PushResult::Overflow => self.close_by_hub(node, hub, key, CloseReason::TooSlow),
            PushResult::Broken => self.close_by_hub(node, hub, key, CloseReason::ByPeer(None)),
        }
    }

    /// Runs stations until none has anything to do.
    fn drain(&mut self) {
        let mut rng = Rng::new(self.rng.next());
        for _ in 0..200_000 {
            if !self.step(&mut rng) {
                return;
            }
        }
        panic!("the stations never rest: {:?}", self.ready);
    }

    /// Lets this time pass. In each tenth of a second up to `steps` stations run; with 0 steps all of the time passes at once.
    fn pass(&mut self, ms: u64, steps: usize, rng: &mut Rng) {
        let mut left = ms;
        while left > 0 {
            let (slice, before) = (if steps == 0 { left } else { left.min(100) }, self.clock.get());
            left -= slice;
            self.clock.set(before + slice);
            self.redis.pass(self.clock.get());
            for node in 0..self.nodes.len() {
                if self.is_frozen(node) {
                    continue;
                }
                let Some(running) = &mut self.nodes[node].running else { continue };
                running.process.borrow_mut().tick(slice);
                running.requests.iter().for_each(Task::wake);
                running.actor_tasks.iter().for_each(Task::wake);
                self.step_link(node);
            }
            self.pass_for_sessions(before);
            self.account();
            (0..steps).all(|_| self.step(rng));
        }
    }

    fn ended(&mut self, ended: Ended) {
        let now = self.truth.next();
        match ended {
            Ended::Joined { by, client, streams, result } => {
                let is_known = self.end_request(by, client, &result);
                if is_known && result.is_ok() {
                    self.note_lives();
                    self.clients[client].joined(&streams, now);
                }
            }
            Ended::Left { by, client, streams, result } => {
                if self.end_request(by, client, &result) {
                    self.clients[client].left(&streams, now);
                }
            }
            Ended::Published { number, result } => match result {
                Ok(()) => self.truth.answered(number, true),
                Err(refused) if refused.is_certain() => self.truth.answered(number, false),
                Err(_) => {}
            },
            Ended::State { user, key, losses, result } => {
                if result.is_ok() && losses == self.losses {
                    self.states.entry(user).or_default().insert(key);
                }
            }
            Ended::Brought { node, opening, result } => {
                if result == Ok(true) {
                    self.open_session(node, opening);
                }
            }
        }
    }

    /// A request about a client has ended. Returns whether it is known what it has done.
    fn end_request(&mut self, by: usize, client: usize, result: &Result<(), Refused>) -> bool {
        let now = self.truth.next();
        let client = &mut self.clients[client];
        client.end_request(by);
        if !matches!(result, Ok(()) | Err(Refused::Unknown)) {
            client.doubt(now);
        }
        !client.is_uncertain
    }

    /// Records what has happened.
    fn account(&mut self) {
        for (stream, epoch) in self.redis.model.epochs() {
            if self.epochs.get(stream) != Some(epoch) {
                self.epochs.insert(stream.clone(), epoch.clone());
                self.truth.renew(stream, Epoch::parse(epoch).unwrap());
            }
        }
        let (redis, truth) = (&self.redis.model, &mut self.truth);
        self.epochs.retain(|stream, _| {
            let exists = redis.has_stream(stream);
            if !exists {
                truth.forget(stream);
            }
            exists
        });
        let frames = self.rules.rules.retention.frames as u64;
        for entry in self.redis.take_journal() {
            self.truth.append(entry, frames);
            self.check_presence_event();
        }
        // A state is forgotten with its user.
        let redis = &self.redis.model;
        self.states.retain(|user, _| redis.user_record(user).is_some());
        self.note_lives();
    }

    /// Whether the connection of a client exists.
    fn exists(&self, client: &Client) -> bool {
        self.has_row(client) || self.holders(client.conn_id).next().is_some()
    }

    /// Whether a client has a row. One that a request has claimed and never used means nothing.
    fn has_row(&self, client: &Client) -> bool {
        let data = self.redis.model.row_data(&client.conn_text);
        data.is_some_and(|data| data != RowData::default().write())
    }

    /// The nodes that have a connection.
    fn holders(&self, conn_id: uuid::Uuid) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter_map(move |(index, node)| {
            let running = node.running.as_ref()?;
            running.process.borrow().registry.connection(conn_id).map(|_| index)
        })
    }

    fn note_lives(&mut self) {
        let now = self.truth.next();
        for at in 0..self.clients.len() {
            let exists = self.exists(&self.clients[at]);
            let client = &mut self.clients[at];
            match (client.is_alive, exists) {
                (true, false) => client.end(now),
                (false, true) => client.is_alive = true,
                _ => {}
            }
        }
    }
}
