//! A process of the server without its actors: the real states of registry, streams and hubs, connected by queues. What
//! the registry's actor does with them is here, in the order in which the actor does it.

use super::super::{HUBS, Hub, Rng, Rules, TIMES, ToRegistry};
use super::requests::Request;
use super::tasks::Task;
use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::state::ChannelState;
use crate::broker::engine::call::Call;
use crate::broker::engine::link::{FromEngine, LinkHandle};
use crate::broker::hub::messages::ToHub;
use crate::broker::marking::{MarkRoute, Marked, Marking};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::PrivateMessagesState;
use crate::broker::registry::cluster::{Cluster, ToLink};
use crate::broker::registry::state::{Effect, RegistryState};
use crate::broker::stamps::Stamps;
use crate::config::ChannelPatterns;
use crate::fixtures::{ENCODER, time};
use crate::protocol::ids::{ChannelId, Epoch, HubId, ServerEpoch};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What has arrived at the ends of the way of delivery marks.
#[derive(Debug, Default)]
struct MarkQueues {
    to_hubs: Mutex<Vec<Arc<Marking>>>,
    to_registry: Mutex<VecDeque<Marked>>,
}

impl MarkRoute for MarkQueues {
    fn to_hubs(&self, marking: &Arc<Marking>) {
        self.to_hubs.lock().unwrap().push(marking.clone());
    }

    fn to_registry(&self, marked: Marked) {
        self.to_registry.lock().unwrap().push_back(marked);
    }
}

/// See the module's description.
pub struct Process {
    /// The clock of the actors, in ms. It does not run while the process is stopped.
    pub now: u64,
    rules: Rules,
    pub registry: RegistryState,
    pub cluster: Cluster,
    pub link: LinkHandle,
    pub channels: Vec<(ChannelState, VecDeque<ToChannel>)>,
    pub private_messages: (PrivateMessagesState, VecDeque<ToPrivateMessages>),
    pub hubs: Vec<Hub>,
    /// What goes to the hubs when the streams have handled everything, as one batch each.
    for_hubs: Vec<(HubId, ToHub)>,
    pub from_engine: VecDeque<FromEngine>,
    marks: Arc<MarkQueues>,
    pub effects: Vec<Effect>,
    life: ServerEpoch,
    /// The tasks of the registry's actor that begin.
    pub begun: Vec<Task<()>>,
    pub request: Request,
}

impl Process {
    pub fn new(rules: Rules, link: LinkHandle, rng: &mut Rng, request: Request) -> Self {
        let stamps = Arc::new(Stamps::following());
        let patterns = ChannelPatterns::new(rules.channels.clone()).unwrap();
        let (frames, epochs) = (rules.retention.frames, StdRng::seed_from_u64(rng.next()));
        let private = PrivateMessagesState::new(ENCODER, frames, epochs, stamps.clone()).following(true);
        let life = ServerEpoch::new(rng.next());
        Self {
            now: 1,
            registry: RegistryState::new(TIMES).with_stamps(stamps).with_patterns(patterns),
            cluster: Cluster::new(link.seen().clone()),
            link,
            channels: Vec::new(),
            private_messages: (private, VecDeque::new()),
            hubs: (0..HUBS).map(|id| Hub::new(id, life)).collect(),
            for_hubs: Vec::new(),
            from_engine: VecDeque::new(),
            marks: Arc::default(),
            effects: Vec::new(),
            life,
            begun: Vec::new(),
            rules,
            request,
        }
    }

    /// The life of the server to which its stamps belong.
    pub fn life(&self) -> ServerEpoch {
        self.life
    }

    /// What the registry does at the end of a turn.
    pub fn end_turn(&mut self) {
        self.apply();
        self.cluster.note_presence(std::mem::take(&mut self.registry.changed_presence));
        self.cluster.flush(&self.registry, self.now);
        for to_link in self.cluster.take_outbox() {
            match to_link {
                ToLink::Call(call, Some(ticket)) => self.link.send(call, ticket),
                ToLink::Call(call, None) => self.link.send_unanswered(call),
                ToLink::Restated(node) => self.link.restated(node),
            }
        }
    }

    fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            self.cluster.observe(&effect, &self.registry, self.now);
            match effect {
                Effect::Create(identity, settings, rules, _) => {
                    let (retention, stamps) = (self.rules.retention, self.registry.stamps.clone());
                    let state = ChannelState::new(
                        identity,
                        settings,
                        ENCODER,
                        retention,
                        time(0),
                        Epoch::new(0),
                        stamps,
                    );
                    self.channels.push((state.with_rules(rules).following(), VecDeque::new()));
                }
                Effect::Channel(id, message) => self.channels[id.0 as usize].1.push_back(message),
                Effect::PrivateMessages(message) => self.private_messages.1.push_back(message),
                Effect::Hub(id, message) => self.for_hubs.push((id, message)),
                Effect::Record(..) => {}
            }
        }
    }

    /// The registry handles the next event of the link.
    pub fn step_engine(&mut self) {
        let Some(event) = self.from_engine.pop_front() else { return };
        let now = self.now;
        self.registry.arrived_at = now;
        let (cluster, state) = (&mut self.cluster, &mut self.registry);
        let mut mark = None;
        match event {
            FromEngine::Joined { node, store, term, is_same_node, .. } => {
                cluster.joined(node, term, is_same_node, state, now, &mut self.effects);
                self.begin_life(&store);
            }
            FromEngine::Mail(payload) => cluster.mail(&payload, state, now, &mut self.effects),
            FromEngine::Reply(ticket, reply) => cluster.replied(ticket, reply, state, now, &mut self.effects),
            FromEngine::Stamp { stamp, store } => {
                mark = cluster.begin_mark(stamp, state).map(|channels| (stamp, channels));
                self.begin_life(&store);
            }
            FromEngine::Lost => cluster.lost(),
        }
        self.handle_posts();
        self.apply();
        if let Some((stamp, channels)) = mark {
            let passage = Marking::begin(stamp, self.marks.clone());
            for channel in channels {
                self.channels[channel.0 as usize].1.push_back(ToChannel::Mark(passage.clone()));
            }
            self.private_messages.1.push_back(ToPrivateMessages::Mark(passage));
        }
        self.end_turn();
    }

    /// Whether a delivery mark has come back.
    pub fn has_mark(&self) -> bool {
        !self.marks.to_registry.lock().unwrap().is_empty()
    }

    /// The registry handles a delivery mark that has come back.
    pub fn step_mark(&mut self) {
        let marked = self.marks.to_registry.lock().unwrap().pop_front();
        if let Some(Marked { stamp, laggards }) = marked {
            self.cluster.marked(stamp, laggards, &self.registry);
        }
        self.end_turn();
    }

    fn begin_life(&mut self, store: &str) {
        let digest = Sha256::digest(store.as_bytes());
        let life = ServerEpoch::new(digest.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk)));
        if std::mem::replace(&mut self.life, life) != life {
            self.for_hubs.extend((0..HUBS).map(|id| (HubId(id), ToHub::BeginLife(life))));
        }
    }

    /// The registry handles what a hub or a session sends. A session whose connection does not exist is returned.
    pub fn step_registry(
        &mut self,
        hub: usize,
        next: impl Fn(usize) -> super::sessions::Attaching,
    ) -> Option<usize> {
        let mut refused = None;
        match self.hubs[hub].output.pop_front() {
            Some(ToRegistry::Attach(number)) => {
                let attaching = next(number);
                let attached = self.registry.attach(attaching.conn_id, attaching.next, &mut self.effects);
                refused = attached.is_err().then_some(number);
            }
            Some(ToRegistry::Detached(gone)) => {
                let conn_id = gone.conn_id;
                self.registry.detached(gone, self.now, &mut self.effects);
                let link = self.link.clone();
                self.cluster.depart(conn_id, &link, &mut self.registry, self.now, &mut self.effects);
            }
            None => return None,
        }
        self.end_turn();
        refused
    }

    /// Time passes for the registry.
    pub fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.registry.tick(self.now, usize::MAX, &mut self.effects);
        self.end_turn();
        self.registry.forget_users(self.now);
        self.cluster.forget_idle(&mut self.registry, self.now, &mut self.effects);
        self.end_turn();
    }

    /// A stream has something to do: those of channels by index, and behind them the private ones.
    pub fn is_stream_ready(&self, index: usize) -> bool {
        match self.channels.get(index) {
            Some((state, queue)) => !queue.is_empty() || state.next_due().is_some_and(|due| due <= self.now),
            None => !self.private_messages.1.is_empty(),
        }
    }

    pub fn step_stream(&mut self, index: usize) {
        match index < self.channels.len() {
            true => self.step_channel(ChannelId(index as u32)),
            false => self.step_private(),
        }
        for marking in std::mem::take(&mut *self.marks.to_hubs.lock().unwrap()) {
            self.for_hubs.extend((0..HUBS).map(|id| (HubId(id), ToHub::Mark(marking.clone()))));
        }
        if (0..=self.channels.len()).all(|index| match self.channels.get(index) {
            Some((_, queue)) => queue.is_empty(),
            None => self.private_messages.1.is_empty(),
        }) {
            self.send_to_hubs();
        }
    }

    /// The end of a turn of the thread.
    pub fn send_to_hubs(&mut self) {
        for (hub, message) in std::mem::take(&mut self.for_hubs) {
            self.hubs[usize::from(hub.0)].inputs[0].push_back(message);
        }
    }

    /// Whether messages wait for the end of the turn although no stream has anything to do.
    pub fn has_for_hubs(&self) -> bool {
        !self.for_hubs.is_empty()
            && self.private_messages.1.is_empty()
            && self.channels.iter().all(|(_, queue)| queue.is_empty())
    }

    fn step_channel(&mut self, id: ChannelId) {
        let (state, queue) = &mut self.channels[id.0 as usize];
        state.set_clock(self.now);
        let (now, mut effects) = (time(1_000 * self.now as i64), Vec::new());
        match queue.pop_front() {
            None => {
                state.tick(&now, &mut effects);
                if let Some(report) = state.take_proposed_report() {
                    self.link.send_unanswered(report.call(&state.identity().name));
                }
            }
            Some(message) => handle_in_channel(state, message, &now, &mut effects),
        }
        if let Some(record) = self.registry.channel(id) {
            record.summary.update(&self.channels[id.0 as usize].0);
        }
        self.for_hubs.append(&mut effects);
    }

    fn step_private(&mut self) {
        let (state, queue) = &mut self.private_messages;
        let Some(message) = queue.pop_front() else { return };
        let mut effects = Vec::new();
        match message {
            ToPrivateMessages::Open(user, conn) => state.open(user, conn),
            ToPrivateMessages::Close(user, conn, last) => state.close(user, conn, last),
            ToPrivateMessages::Attach(user, conn, location, attaching) => {
                state.attach(user, conn, location, attaching, &mut effects);
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Depart(user, conn, departure) => {
                departure.note_private(state.depart(user, conn));
            }
            ToPrivateMessages::Adopt(user, conn, place) => state.adopt(user, conn, place),
            ToPrivateMessages::Apply(entry, recipient) => state.apply(*entry, &recipient, &mut effects),
            ToPrivateMessages::Load(copy, recipient) => state.load(*copy, &recipient, &mut effects),
            ToPrivateMessages::Forget(user) => state.forget(user),
            // Redis decides about messages.
            ToPrivateMessages::Post(..) | ToPrivateMessages::Edit(..) | ToPrivateMessages::Delete(..) => {
                unreachable!("a node publishes through Redis")
            }
            ToPrivateMessages::Recheck(..)
            | ToPrivateMessages::OrderedClose(_)
            | ToPrivateMessages::Mark(_) => {}
        }
        self.for_hubs.append(&mut effects);
    }

    /// Runs a call whose reply is not needed.
    pub fn send_unanswered(&self, call: Call) {
        self.link.send_unanswered(call);
    }
}

fn handle_in_channel(
    state: &mut ChannelState,
    message: ToChannel,
    now: &crate::protocol::time::Timestamp,
    effects: &mut Vec<(HubId, ToHub)>,
) {
    match message {
        ToChannel::Join { conn, user, location } => state.join(conn, user, location, now, effects),
        ToChannel::Leave(conn, _) => state.leave(conn, now, effects),
        ToChannel::Attach { conn, user, location, attaching } => {
            state.attach(conn, user, location, attaching, now, effects);
        }
        ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
        ToChannel::Part(conn, _) => state.part(conn, now, effects),
        ToChannel::Return(conn, user) => state.return_present(conn, user, now, effects),
        ToChannel::UserChanged(view, changed) => state.user_changed(view, changed.as_deref(), now, effects),
        ToChannel::Configure(settings) => state.configure(settings),
        ToChannel::Depart(conn, _, departure) => {
            if let Some(place) = state.depart(conn, now, effects) {
                departure.note_channel(&state.identity().name, place);
            }
        }
        ToChannel::Adopt { conn, user, place, is_present } => state.adopt(conn, &user, place, is_present),
        ToChannel::Apply(decision) => state.apply(*decision, effects),
        ToChannel::Load(copy) => state.load(*copy, effects),
        ToChannel::Publish(_) | ToChannel::PublishTo(..) | ToChannel::PublishWithReceipt(_) => {
            unreachable!("a node publishes through Redis")
        }
        ToChannel::Recheck(_) | ToChannel::OrderedClose(_) | ToChannel::Mark(_) => {}
    }
}
