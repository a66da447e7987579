//! Who is where: users, connections and channels by name. Everything begins here.

pub mod messages;
pub mod state;
pub mod bounds;
mod connect;
mod lifecycle;
mod routing;
mod survey;
mod browse;
mod deadlines;
mod departures;
#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
mod conn_set;
pub mod users;

use crate::channel::farewell::Farewell;
use crate::channel::messages::ToChannel;
use crate::channel::state::{ChannelState, Keeping};
use crate::channel::{Channel, HubSenders};
use crate::handoff::{Batch, Handoff};
use crate::hub::messages::{Attach, Detached, ToHub};
use crate::ids::{ChannelId, HubId, SlotKey};
use crate::inbox::{Inboxes, ToInbox};
use crate::observe::Counters;
use crate::observe::pressure::{Counted, Gauge, Pressure};
use crate::wire::event::Encoder;
use crate::wire::time::Timestamp;
use crate::wire::websocket::close::CloseReason;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};
use departures::Departures;
use messages::*;
use rustc_hash::{FxHashMap, FxHashSet};
use state::{Effect, RegistryState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often deadlines are looked at. `parted` must go out within a second of a close.
const TICK: Duration = Duration::from_millis(100);
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
    pub keeping: Keeping,
    /// The ways to hubs.
    pub hubs: Arc<HubSenders>,
    /// The way of messages here.
    pub published: Arc<Handoff<Publish>>,
    /// The inboxes.
    pub inboxes: Addr<Inboxes>,
    /// The server's counters.
    pub counters: Arc<Counters>,
    /// The server's gauges.
    pub pressure: Arc<Pressure>,
}

/// To itself, while the server stops: it is time for the next batch of sessions to go.
#[derive(Message)]
#[rtype(result = "()")]
struct Depart;

/// The registry actor.
///
/// Owns: the records of users, connections and channels, and the addresses of channels.
/// Started by: `app`, on the only worker's thread or on a thread of its own.
/// Ends: with the server.
/// Mailbox: bounded by [`Pressure::registry`]; the API refuses with 503 before it is exceeded.
/// Talks to: channels and inboxes (in one order), hubs (to release sessions).
pub struct Registry {
    parts: RegistryParts,
    channels: Vec<Addr<Channel>>,
    effects: Vec<Effect>,
    started: Instant,
    /// While the server stops: who is still to be sent away.
    departures: Option<Departures>,
    /// Goodbyes that have not come to their hubs yet.
    farewells: Arc<Gauge>,
}

impl Registry {
    /// A registry of these parts.
    pub fn new(parts: RegistryParts) -> Self {
        Self {
            parts,
            channels: Vec::new(),
            effects: Vec::new(),
            started: Instant::now(),
            departures: None,
            farewells: Arc::new(Gauge::new(usize::MAX)),
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// For who watches the server all the time, and shall not have to ask.
    fn note_census(&self) {
        let (census, counters) = (self.parts.state.census(), &self.parts.counters);
        counters.connections.set(census.connections as u64);
        counters.users.set(census.active_users as u64);
        counters.channels.set(census.channels as u64);
    }

    fn apply(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Create(identity, settings, summary) => {
                    let parts = &self.parts;
                    let now = Timestamp::now();
                    let state = ChannelState::new(identity, settings, parts.encoder, parts.keeping, now);
                    let channel = Channel::new(state, summary, parts.hubs.clone(), parts.pressure.clone());
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
            self.parts.pressure.channels.add(1);
        }
        addr.do_send(message);
    }

    fn tell_inboxes(&self, message: ToInbox) {
        if message.is_publication() {
            self.parts.pressure.channels.add(1);
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

    /// Sends away those sessions whose time has come, behind everything accepted before; at the end whoever is left.
    fn send_away(&mut self, now: u64) {
        let Some(departures) = &mut self.departures else { return };
        let reason = CloseReason::Restarting(departures.retry_ms());
        let due = departures.due(now);
        let mut batches: FxHashMap<HubId, (Vec<SlotKey>, FxHashSet<ChannelId>)> = FxHashMap::default();
        for departing in due.into_iter().filter_map(|key| self.parts.state.departing(key)) {
            let (keys, channels) = batches.entry(departing.place.hub).or_default();
            keys.push(departing.place.slot);
            channels.extend(departing.channels);
        }
        for (hub, (keys, channels)) in batches {
            let (hubs, under_way) = (self.parts.hubs.clone(), Counted::new(self.farewells.clone()));
            let farewell = Arc::new(Farewell::new(hubs, hub, keys, reason, under_way));
            self.tell_inboxes(ToInbox::Farewell(farewell.clone()));
            for channel in channels {
                self.tell_channel(channel, ToChannel::Farewell(farewell.clone()));
            }
        }
        // Nobody's goodbye is overtaken, nor what was accepted before it.
        let is_over = self.departures.as_ref().is_some_and(|departures| departures.is_over(now));
        if is_over && self.farewells.get() == 0 {
            self.parts.hubs.drain();
        }
    }

    fn names(&self, ids: &[ChannelId]) -> Vec<Arc<str>> {
        let name = |id: &ChannelId| self.parts.state.channel(*id).map(|record| record.identity.name.clone());
        ids.iter().filter_map(name).collect()
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TICK, |registry, context| {
            let now = registry.now_ms();
            // While the server stops nobody becomes absent: those who are still there would hear of each who was sent
            // away, and each comes back to another server.
            if registry.departures.is_none() {
                registry.parts.state.tick(now, &mut registry.effects);
                registry.apply();
            }
            registry.note_census();
            if registry.departures.is_some() {
                // What has been accepted is on its way here by now, and comes first.
                registry.parts.published.flush();
                context.address().do_send(Depart);
            }
        });
        let every = Duration::from_millis(self.parts.state.times.user_idle).clamp(FORGET.0, FORGET.1);
        context.run_interval(every, |registry, _| {
            let now = registry.now_ms();
            registry.parts.state.forget_users(now);
        });
    }
}

impl Handler<Connect> for Registry {
    type Result = MessageResult<Connect>;

    fn handle(&mut self, request: Connect, _: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let opened = self.parts.state.connect(request, now, &mut self.effects);
        self.apply();
        MessageResult(opened.map(|opened| Connected {
            conn_id: opened.conn_id,
            user: opened.user,
            channels: self.refer_all(opened.channels),
        }))
    }
}

impl Handler<Subscribe> for Registry {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, request: Subscribe, _: &mut Self::Context) -> Self::Result {
        let changed = self.parts.state.subscribe(request, &mut self.effects);
        self.apply();
        MessageResult(changed.map(|changed| Subscribed {
            changed: self.names(&changed.changed),
            channels: self.refer_all(changed.channels),
        }))
    }
}

impl Handler<Unsubscribe> for Registry {
    type Result = MessageResult<Unsubscribe>;

    fn handle(&mut self, request: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let changed = self.parts.state.unsubscribe(request, &mut self.effects);
        self.apply();
        MessageResult(changed.ok_or(UnknownConnection).map(|changed| Subscribed {
            changed: self.names(&changed.changed),
            channels: self.refer_all(changed.channels),
        }))
    }
}

impl Handler<SetUserState> for Registry {
    type Result = MessageResult<SetUserState>;

    fn handle(&mut self, request: SetUserState, _: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let SetUserState { user, user_state, state_public_keys } = request;
        let state = &mut self.parts.state;
        let new = state.set_user_state(&user, user_state, state_public_keys, now, &mut self.effects);
        self.apply();
        MessageResult(new.map(|new| StateChanged {
            user: new.user,
            changed: new.changed,
            public_keys: new.public_keys,
        }))
    }
}

impl Handler<Publish> for Registry {
    type Result = ();

    fn handle(&mut self, request: Publish, _: &mut Self::Context) {
        self.parts.pressure.registry.sub(1);
        let (state, effects) = (&self.parts.state, &mut self.effects);
        match request {
            Publish::Post(messages) => {
                self.parts.counters.messages.add(messages.len() as u64);
                messages.into_iter().for_each(|message| state.post(message, effects));
            }
            Publish::Edit(edits) => edits.into_iter().for_each(|edit| state.edit(edit, effects)),
            Publish::Delete(deletes) => deletes.into_iter().for_each(|delete| state.delete(delete, effects)),
        }
        self.apply();
    }
}

impl Handler<Batch<Publish>> for Registry {
    type Result = ();

    fn handle(&mut self, batch: Batch<Publish>, context: &mut Self::Context) {
        batch.0.into_iter().for_each(|request| self.handle(request, context));
    }
}

impl Handler<Configure> for Registry {
    type Result = MessageResult<Configure>;

    fn handle(&mut self, request: Configure, _: &mut Self::Context) -> Self::Result {
        let ids = self.parts.state.configure(request.0, &mut self.effects);
        self.apply();
        MessageResult(ids.map(|ids| self.refer_all(ids)))
    }
}

impl Handler<ListChannels> for Registry {
    type Result = MessageResult<ListChannels>;

    fn handle(&mut self, request: ListChannels, _: &mut Self::Context) -> Self::Result {
        let ids = self.parts.state.list(request.names.as_deref(), &request.exclude);
        MessageResult(self.refer_all(ids))
    }
}

impl Handler<Disconnect> for Registry {
    type Result = bool;

    fn handle(&mut self, Disconnect(conn_id): Disconnect, _: &mut Self::Context) -> bool {
        let now = self.now_ms();
        let known = self.parts.state.disconnect(conn_id, now, &mut self.effects);
        self.apply();
        known
    }
}

impl Handler<Lookup> for Registry {
    type Result = Known;

    fn handle(&mut self, request: Lookup, _: &mut Self::Context) -> Known {
        let state = &self.parts.state;
        Known {
            connection: request.conn_id.is_some_and(|id| state.connection(id).is_some()),
            user: request.user.is_some_and(|name| state.user_id(&name).is_some()),
        }
    }
}

impl Handler<Count> for Registry {
    type Result = Counts;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Counts {
        self.parts.state.census()
    }
}

impl Handler<BrowseChannels> for Registry {
    type Result = MessageResult<BrowseChannels>;

    fn handle(&mut self, browse: BrowseChannels, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.refer_all(self.parts.state.browse_channels(browse.from, browse.count)))
    }
}

impl Handler<BrowseConnections> for Registry {
    type Result = ConnectionSlice;

    fn handle(&mut self, browse: BrowseConnections, _: &mut Self::Context) -> ConnectionSlice {
        self.parts.state.browse_connections(&browse)
    }
}

impl Handler<DescribeConnection> for Registry {
    type Result = MessageResult<DescribeConnection>;

    fn handle(&mut self, request: DescribeConnection, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.state.describe_connection(request.0))
    }
}

impl Handler<DescribeUser> for Registry {
    type Result = MessageResult<DescribeUser>;

    fn handle(&mut self, request: DescribeUser, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.state.describe_user(&request.0))
    }
}

impl Handler<NameChannels> for Registry {
    type Result = MessageResult<NameChannels>;

    fn handle(&mut self, NameChannels(ids): NameChannels, _: &mut Self::Context) -> Self::Result {
        let name = |id: &ChannelId| Some(self.parts.state.channel(*id)?.identity.name.clone());
        MessageResult(ids.iter().map(name).collect())
    }
}

impl Handler<DisconnectUser> for Registry {
    type Result = MessageResult<DisconnectUser>;

    fn handle(&mut self, request: DisconnectUser, _: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let state = &mut self.parts.state;
        let ended = state.disconnect_user(&request.user, request.at_most, now, &mut self.effects);
        self.apply();
        MessageResult(ended)
    }
}

impl Handler<Attach> for Registry {
    type Result = ();

    fn handle(&mut self, request: Attach, _: &mut Self::Context) {
        let Attach { conn_id, place, transport, answer } = request;
        let attached = self.parts.state.attach(conn_id, (place, transport), &mut self.effects);
        match answer {
            // A session that is gone already has said so behind its question.
            Some(answer) => _ = answer.send(attached),
            // As the original does: accepted, and closed at once.
            None if attached.is_err() => {
                let release = ToHub::Release(place.slot, CloseReason::Ended);
                self.effects.push(Effect::Hub(place.hub, release));
            }
            None => {}
        }
        self.apply();
    }
}

impl Handler<Detached> for Registry {
    type Result = ();

    fn handle(&mut self, gone: Detached, _: &mut Self::Context) {
        let now = self.now_ms();
        self.parts.state.detached(gone, now, &mut self.effects);
        self.apply();
    }
}

impl Handler<Drain> for Registry {
    type Result = ();

    fn handle(&mut self, Drain { spread_ms }: Drain, _: &mut Self::Context) {
        let now = self.now_ms();
        self.departures.get_or_insert_with(|| Departures::new(self.parts.state.keys(), now, spread_ms));
    }
}

impl Handler<Depart> for Registry {
    type Result = ();

    fn handle(&mut self, _: Depart, _: &mut Self::Context) {
        self.send_away(self.now_ms());
    }
}
