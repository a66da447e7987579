//! Who is where: users, connections and channels by name. Everything begins here.

pub mod limits;
mod browse;
mod user_connections;
mod connect;
mod deadlines;
mod demo_share;
mod drain_schedule;
mod lifecycle;
pub mod messages;
mod questions;
mod requests;
mod routing;
mod sessions;
pub mod state;
mod stopping;
mod channel_list;
#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
pub mod users;

use super::batched_mailbox::Handoff;
use super::channel::messages::ToChannel;
use super::channel::state::{ChannelState, Retention};
use super::channel::{Channel, HubSenders};
use super::private_messages::{PrivateMessages, ToPrivateMessages};
use crate::clock::{Clock, Tick};
use crate::protocol::event::Encoder;
use crate::protocol::ids::ChannelId;
use crate::protocol::time::Timestamp;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::{BoundedCounter, InFlight};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, WrapFuture};
use drain_schedule::DrainSchedule;
use messages::{ChannelRef, Publish};
use state::{Effect, RegistryState};
use std::sync::Arc;
use std::time::Duration;
use stopping::Depart;

/// How often deadlines are looked at. `parted` must go out within a second of a close.
const TICK: Duration = Duration::from_millis(100);
/// Effects of one turn, at most, where they can be parted: then other tasks have their turn.
const TURN: usize = 4_096;
/// Effects for which memory is kept from one request to the next.
const EFFECTS: usize = 64;
/// How often users are looked at who may be forgotten, at least and at most: as often as their time passes.
const FORGET: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Everything a registry needs.
pub struct RegistryParts {
    /// Its state.
    pub state: RegistryState,
    /// How channels encode.
    pub encoder: Encoder,
    /// How much channels keep at most.
    pub keeping: Retention,
    /// The ways to hubs.
    pub hubs: Arc<HubSenders>,
    /// The way of messages here.
    pub published: Arc<Handoff<Publish>>,
    /// The private message streams.
    pub inboxes: Addr<PrivateMessages>,
    /// The server's counters.
    pub counters: Arc<Counters>,
    /// The server's gauges.
    pub in_flight: Arc<InFlight>,
}

/// The registry actor.
///
/// Owns: the records of users, connections and channels, and the addresses of channels.
/// Started by: `app`, on the only worker's thread or on a thread of its own.
/// Ends: with the server.
/// Mailbox: bounded by [`InFlight::registry`]; the API refuses with 503 before it is exceeded.
/// Talks to: channels and private message streams (in one order), hubs (to release sessions).
pub struct Registry {
    parts: RegistryParts,
    channels: Vec<Addr<Channel>>,
    effects: Vec<Effect>,
    /// Effects since the other tasks of the thread had their turn.
    spent: usize,
    clock: Clock,
    /// While the server stops: who is still to be sent away.
    departures: Option<DrainSchedule>,
    /// Goodbyes that have not come to their hubs yet.
    farewells: Arc<BoundedCounter>,
}

impl Registry {
    /// A registry of these parts.
    pub fn new(parts: RegistryParts) -> Self {
        Self {
            parts,
            channels: Vec::new(),
            effects: Vec::new(),
            spent: 0,
            clock: Clock::start(TICK),
            departures: None,
            farewells: Arc::new(BoundedCounter::new(usize::MAX)),
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Ends and parts connections whose time has come, some of them in each turn. While the server stops nobody becomes
    /// absent: those who are still there would hear of each who was sent away, and each comes back to another server.
    fn look_at_deadlines(&mut self, context: &mut Context<Self>) {
        let now = self.clock.ticked_ms();
        let is_done = self.departures.is_some() || self.parts.state.tick(now, TURN, &mut self.effects);
        self.apply_in_turns(context);
        if !is_done {
            let next_turn = tokio::task::yield_now().into_actor(self);
            context.wait(next_turn.map(|(), registry, context| registry.look_at_deadlines(context)));
        }
    }

    /// For who watches the server all the time, and shall not have to ask.
    fn note_census(&self) {
        let (census, counters) = (self.parts.state.census(), &self.parts.counters);
        counters.connections.set(census.connections as u64);
        counters.users.set(census.active_users as u64);
        counters.remembered_users.set(census.remembered_users as u64);
        counters.channels.set(census.channels as u64);
    }

    /// Behind a request: if it and those before it had many effects, the next one waits until other tasks had their turn.
    /// A mailbox is otherwise emptied in one turn.
    fn end_turn(&mut self, context: &mut Context<Self>) {
        if self.spent >= TURN {
            self.spent = 0;
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// Applies effects, some of them in each turn: a session in very many channels has as many when it comes or goes.
    /// Until all are applied nothing else happens to the registry.
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
            match effect {
                Effect::Create(identity, settings, summary) => {
                    let parts = &self.parts;
                    let now = Timestamp::now();
                    let state = ChannelState::new(identity, settings, parts.encoder, parts.keeping, now);
                    let channel = Channel::new(
                        state,
                        summary,
                        parts.hubs.clone(),
                        parts.in_flight.clone(),
                        parts.counters.clone(),
                    );
                    self.channels.push(channel.start());
                }
                Effect::Channel(id, message) => self.tell_channel(id, message),
                Effect::Inbox(message) => self.tell_inboxes(message),
                Effect::Hub(id, message) => self.parts.hubs.tell(id, message),
            }
        }
        // Its memory serves the next request as well, unless a crowd has made it large.
        if effects.capacity() <= EFFECTS {
            self.effects = effects;
        }
    }

    fn tell_channel(&self, id: ChannelId, message: ToChannel) {
        let Some(addr) = self.channels.get(id.0 as usize) else { return };
        if matches!(message, ToChannel::Publish(_) | ToChannel::PublishTo(..)) {
            self.parts.in_flight.channels.add(1);
        }
        addr.do_send(message);
    }

    fn tell_inboxes(&self, message: ToPrivateMessages) {
        if message.is_publication() {
            self.parts.in_flight.channels.add(1);
        }
        self.parts.inboxes.do_send(message);
    }

    fn refer(&self, id: ChannelId) -> Option<ChannelRef> {
        let record = self.parts.state.channel(id)?;
        Some(ChannelRef {
            name: record.identity.name.clone(),
            uuid: record.identity.uuid,
            settings: record.settings.clone(),
            summary: record.summary.clone(),
            addr: self.channels.get(id.0 as usize)?.clone(),
        })
    }

    fn refer_all(&self, ids: impl IntoIterator<Item = ChannelId>) -> Vec<ChannelRef> {
        ids.into_iter().filter_map(|id| self.refer(id)).collect()
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
            registry.note_census();
            if registry.departures.is_some() {
                // What has been accepted is on its way here by now, and comes first.
                registry.parts.published.flush();
                context.address().do_send(Depart);
            } else if tick == Tick::OnTime {
                registry.look_at_deadlines(context);
            }
        });
        let every = Duration::from_millis(self.parts.state.times.user_idle).clamp(FORGET.0, FORGET.1);
        context.run_interval(every, |registry, _| {
            let now = registry.now_ms();
            registry.parts.state.forget_users(now);
        });
    }
}
