//! The registry: users and connections, and channels by name. Every request from HTTP starts here.

pub(crate) mod limits;
mod blocks;
mod browse;
pub(crate) mod cluster;
mod cluster_events;
pub(crate) mod cluster_posts;
mod connect;
mod demo_share;
mod drain_schedule;
mod expiries;
mod grants;
mod lifecycle;
pub(crate) mod messages;
mod requests;
mod routing;
pub(crate) mod state;
mod stopping;
mod channel_list;
#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
pub(crate) mod users;

use super::batched_mailbox::BatchedMailbox;
use super::channel::messages::{ChannelRef, ToChannel};
use super::channel::state::{ChannelState, Retention};
use super::channel::{Channel, HubSenders};
use super::engine::link::LinkHandle;
use super::private_messages::{PrivateMessages, ToPrivateMessages};
use crate::clock::{Clock, Tick};
use crate::protocol::event::Encoder;
use crate::protocol::ids::{ChannelId, Epoch, ServerEpoch};
use crate::protocol::time::Timestamp;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::{BoundedCounter, InFlight};
use crate::telemetry::recorder::Recorder;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, WrapFuture};
use cluster::Cluster;
use cluster_posts::ListingQuestion;
use drain_schedule::DrainSchedule;
use messages::Publish;
use state::{Effect, RegistryState};
use std::sync::Arc;
use std::time::Duration;
use stopping::CloseDue;
use tokio::sync::mpsc::Sender;

/// How often deadlines are checked. `parted` must be sent within a second of a close.
const TICK: Duration = Duration::from_millis(100);
/// The most effects per turn, where they can be split. Then the registry yields to other tasks.
const TURN: usize = 4_096;
/// The number of effects for which memory is kept between requests.
const EFFECTS: usize = 64;
/// The shortest and the longest interval between checks for idle users. In between, the interval is their idle time.
const FORGET_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The dependencies of a registry.
pub struct RegistryParts {
    pub state: RegistryState,
    /// The encoder of channels.
    pub encoder: Encoder,
    /// The most that a channel stores.
    pub retention: Retention,
    /// The senders to the hubs.
    pub hubs: Arc<HubSenders>,
    /// The mailbox through which messages reach this registry.
    pub published: Arc<BatchedMailbox<Publish>>,
    /// The private message actor.
    pub private_messages: Addr<PrivateMessages>,
    pub counters: Arc<Counters>,
    pub in_flight: Arc<InFlight>,
    pub recorder: Arc<Recorder>,
    /// The way to Redis, if Redis decides.
    pub link: Option<LinkHandle>,
    /// Receives questions of other nodes about lists of connections, if Redis decides.
    pub listings: Option<Sender<ListingQuestion>>,
}

/// The registry actor.
///
/// Owns: the records of users, connections and channels, and the addresses of channels.
/// Started by: `server`, on the thread of the only worker or on its own thread.
/// Ends: with the server.
/// Mailbox: bounded by [`InFlight::registry`]; the API refuses with 503 before it is exceeded.
/// Talks to: channels and the private message actor (in one order), hubs (to release sessions).
pub struct Registry {
    parts: RegistryParts,
    channels: Vec<Addr<Channel>>,
    effects: Vec<Effect>,
    /// Effects since the registry last yielded to other tasks.
    spent: usize,
    clock: Clock,
    /// The sessions still to be closed, during the shutdown.
    drain_schedule: Option<DrainSchedule>,
    /// Ordered closes that have not reached their hubs yet.
    pending_closes: Arc<BoundedCounter>,
    /// Set if Redis decides.
    cluster: Option<Box<Cluster>>,
    /// The life of the server that Redis has named last.
    life: Option<ServerEpoch>,
}

impl Registry {
    pub fn new(parts: RegistryParts) -> Self {
        Self {
            cluster: parts.link.as_ref().map(|link| {
                let (seen, counters) = (link.seen().clone(), link.counters().clone());
                Box::new(Cluster::new(seen).with_counters(counters).with_lease(link.lease().clone()))
            }),
            life: None,
            parts,
            channels: Vec::new(),
            effects: Vec::new(),
            spent: 0,
            clock: Clock::start(TICK),
            drain_schedule: None,
            pending_closes: Arc::new(BoundedCounter::new(usize::MAX)),
        }
    }

    pub fn state(&self) -> &RegistryState {
        &self.parts.state
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Handles due deadlines of connections, a limited number per turn. During the shutdown no connection becomes
    /// absent: the remaining clients would receive an event for each closed session, although its client reconnects to
    /// another server.
    fn handle_deadlines(&mut self, context: &mut Context<Self>) {
        let now = self.clock.ticked_ms();
        let is_done = self.drain_schedule.is_some() || self.parts.state.tick(now, TURN, &mut self.effects);
        self.apply_in_turns(context);
        if !is_done {
            let next_turn = tokio::task::yield_now().into_actor(self);
            context.wait(next_turn.map(|(), registry, context| registry.handle_deadlines(context)));
        }
    }

    /// Publishes the current numbers in the counters, so that monitoring does not need to ask the registry.
    fn record_stats(&self) {
        let (stats, counters) = (self.parts.state.stats(), &self.parts.counters);
        counters.connections.set(stats.connections as u64);
        counters.users.set(stats.active_users as u64);
        counters.remembered_users.set(stats.remembered_users as u64);
        counters.channels.set(stats.channels as u64);
        counters.blocks.set(self.parts.state.blocks.len() as u64);
    }

    /// Ends a request. After many effects, the registry yields to other tasks before the next request. Otherwise actix
    /// handles the whole mailbox in one turn.
    fn end_turn(&mut self, context: &mut Context<Self>) {
        self.flush_to_link();
        if self.spent >= TURN {
            self.spent = 0;
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// Applies effects, a limited number per turn: a session in many channels causes as many when it attaches or ends.
    /// Until all are applied, the registry handles no other message.
    fn apply_in_turns(&mut self, context: &mut Context<Self>) {
        let rest = self.effects.split_off(self.effects.len().min(TURN));
        self.apply();
        if rest.is_empty() {
            return self.end_turn(context);
        }
        self.effects = rest;
        let next_turn = tokio::task::yield_now().into_actor(self);
        context.wait(next_turn.map(|(), registry, context| registry.apply_in_turns(context)));
    }

    fn apply(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.spent += effects.len();
        for effect in effects.drain(..) {
            if let Some(cluster) = &mut self.cluster {
                cluster.observe(&effect, &self.parts.state, self.clock.now_ms());
            }
            match effect {
                Effect::Create(identity, settings, rules, summary) => {
                    let parts = &self.parts;
                    let (now, epoch) = (Timestamp::now(), Epoch::new(rand::random()));
                    let stamps = parts.state.stamps.clone();
                    let state = ChannelState::new(
                        identity,
                        settings,
                        parts.encoder,
                        parts.retention,
                        now,
                        epoch,
                        stamps,
                    )
                    .with_rules(rules);
                    let state = if self.cluster.is_some() { state.following() } else { state };
                    let channel = Channel::new(
                        state,
                        summary,
                        parts.hubs.clone(),
                        parts.in_flight.clone(),
                        parts.counters.clone(),
                    )
                    .with_link(parts.link.clone());
                    self.channels.push(channel.start());
                }
                Effect::Channel(id, message) => self.send_to_channel(id, message),
                Effect::PrivateMessages(message) => self.send_to_private_messages(message),
                Effect::Hub(id, message) => self.parts.hubs.send(id, message),
                Effect::Record(conn_id, event) => {
                    self.parts.recorder.note(conn_id, event);
                }
            }
        }
        // The next request reuses this memory, unless it has become large.
        if effects.capacity() <= EFFECTS {
            self.effects = effects;
        }
    }

    fn send_to_channel(&self, id: ChannelId, message: ToChannel) {
        let Some(addr) = self.channels.get(id.0 as usize) else { return };
        if message.is_counted() {
            self.parts.in_flight.channels.add(1);
        }
        addr.do_send(message);
    }

    fn send_to_private_messages(&self, message: ToPrivateMessages) {
        if message.is_counted() {
            self.parts.in_flight.channels.add(1);
        }
        self.parts.private_messages.do_send(message);
    }

    fn channel_ref(&self, id: ChannelId) -> Option<ChannelRef> {
        let record = self.parts.state.channel(id)?;
        Some(ChannelRef {
            name: record.identity.name.clone(),
            uuid: record.identity.uuid,
            settings: record.settings.clone(),
            summary: record.summary.clone(),
            addr: self.channels.get(id.0 as usize)?.clone(),
        })
    }

    fn channel_refs(&self, ids: impl IntoIterator<Item = ChannelId>) -> Vec<ChannelRef> {
        ids.into_iter().filter_map(|id| self.channel_ref(id)).collect()
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TICK, |registry, context| {
            let tick = registry.clock.tick();
            if tick == Tick::Repeated {
                return;
            }
            registry.record_stats();
            if registry.drain_schedule.is_some() {
                // Publications accepted so far must be handled first.
                registry.parts.published.flush();
                context.address().do_send(CloseDue);
            } else if tick == Tick::OnTime {
                registry.handle_deadlines(context);
            }
        });
        let every = Duration::from_millis(self.parts.state.times.user_idle)
            .clamp(FORGET_INTERVAL.0, FORGET_INTERVAL.1);
        context.run_interval(every, |registry, _| {
            let now = registry.now_ms();
            registry.parts.state.forget_users(now);
            registry.forget_idle_streams(now);
        });
    }
}
