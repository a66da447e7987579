//! A channel: configuration, members, presence, history and frames of one name.

pub mod messages;
pub mod state;
pub mod members;
pub mod buffer;
pub mod ordered_close;
pub mod summary;

use super::batched_mailbox::MailboxSender;
use super::hub::Hub;
use super::hub::messages::ToHub;
use crate::protocol::ids::HubId;
use crate::protocol::time::Timestamp;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::recorder::{Published, Recorder};
use actix::{Actor, Addr, AsyncContext, Context, Handler, WrapFuture};
use messages::{Inspect, Publication, Record, Snapshot, ToChannel};
use state::{ChannelEffects, ChannelState};
use std::sync::{Arc, OnceLock};
use summary::Summary;

/// The addresses of all hubs, by number, for those who ask them something.
#[derive(Debug, Default)]
pub struct Hubs(Vec<OnceLock<Addr<Hub>>>);

impl Hubs {
    /// Room for so many hubs.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| OnceLock::new()).collect())
    }

    /// Notes where a hub is. The first address stays.
    pub fn set(&self, id: HubId, addr: Addr<Hub>) {
        if let Some(place) = self.0.get(usize::from(id.0)) {
            let _ = place.set(addr);
        }
    }

    /// Where a hub is.
    pub fn get(&self, id: HubId) -> Option<&Addr<Hub>> {
        self.0.get(usize::from(id.0)).and_then(OnceLock::get)
    }
}

/// The ways to all hubs, by number, from the thread of registry and channels: all that hubs are told goes here, in one
/// order.
#[derive(Debug)]
pub struct HubSenders(Vec<MailboxSender<ToHub>>);

impl HubSenders {
    /// These ones.
    pub fn new(hubs: Vec<MailboxSender<ToHub>>) -> Self {
        Self(hubs)
    }

    /// Tells a hub something, in order with all else that it is told.
    pub fn tell(&self, hub: HubId, message: ToHub) {
        if let Some(hub) = self.0.get(usize::from(hub.0)) {
            hub.send(message);
        }
    }

    /// Tells all hubs to say goodbye to their sessions.
    pub fn drain(&self) {
        self.0.iter().for_each(|hub| hub.send(ToHub::Drain));
    }

    /// Tells hubs what is to be told, counts the bytes of its frames in, and returns how many there are.
    pub fn apply(&self, effects: impl IntoIterator<Item = (HubId, ToHub)>, in_flight: &InFlight) -> usize {
        let mut all = 0;
        for (hub, message) in effects {
            let Some(hub) = self.0.get(usize::from(hub.0)) else { continue };
            let bytes = match &message {
                ToHub::Deliver(_, stamped) | ToHub::DeliverTo(_, _, stamped) => stamped.frame.live().len(),
                ToHub::DeliverPrivate(_, frame) => frame.live().len(),
                _ => 0,
            };
            if bytes > 0 {
                in_flight.hub_bytes.add(bytes);
                all += bytes;
            }
            hub.send(message);
        }
        all
    }
}

/// The channel actor.
///
/// Owns: one [`ChannelState`].
/// Started by: the registry, when the channel is first named.
/// Ends: with the registry; channels are never removed (behaviour of the original).
/// Mailbox: bounded by [`InFlight::channels`] over all channels; the API refuses with 503 before it is exceeded.
/// Talks to: the hubs of its members' sessions.
pub struct Channel {
    state: ChannelState,
    summary: Arc<Summary>,
    hubs: Arc<HubSenders>,
    in_flight: Arc<InFlight>,
    counters: Arc<Counters>,
    effects: ChannelEffects,
    /// What has been published since the last pause, and what else has been done; see [`TURN`].
    published: usize,
    others: usize,
    /// Where what goes out is written down, while somebody wants to know.
    recorder: Option<Arc<Recorder>>,
}

impl Channel {
    /// A channel with this state.
    pub fn new(
        state: ChannelState,
        summary: Arc<Summary>,
        hubs: Arc<HubSenders>,
        in_flight: Arc<InFlight>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            state,
            summary,
            hubs,
            in_flight,
            counters,
            effects: Vec::new(),
            published: 0,
            others: 0,
            recorder: None,
        }
    }
}

/// What a channel does before the other tasks of its thread have their turn, in messages. A channel's mailbox is
/// otherwise emptied in one turn, whatever is in it.
const TURN: usize = 1_024;
/// Bytes of frames, and messages of the history that are looked through, which cost as much as a message.
const BYTES: usize = 4 << 10;
const LOOKED_THROUGH: usize = 64;

impl Channel {
    /// Counts a publication among the messages, and returns what it costs beside its frame.
    fn count(&self, publication: &Publication) -> usize {
        match publication {
            Publication::Post(_, audience) => {
                self.counters.queued.add(self.state.reached(audience));
                0
            }
            Publication::Edit(..) | Publication::Delete(..) => {
                let (_, _, history) = self.state.counts();
                history as usize / LOOKED_THROUGH
            }
        }
    }

    /// Pauses when enough is done. A pause between the messages of one request sends them in two parts, so those who come
    /// and go do not bring it nearer.
    fn spend(&mut self, is_publication: bool, cost: usize, context: &mut Context<Self>) {
        let spent = if is_publication { &mut self.published } else { &mut self.others };
        *spent += cost;
        if *spent >= TURN {
            *spent = 0;
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// Writes down what has gone out, until nobody wants to know.
    fn record(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        let (connections, _, _) = self.state.counts();
        let uuid = self.state.identity().uuid;
        let frames = self.state.take_watched();
        let wanted =
            frames.iter().all(|frame| recorder.note_published(uuid, Published::of(frame, connections)));
        if !wanted {
            self.recorder = None;
            self.state.watch(false);
        }
    }
}

impl Actor for Channel {
    type Context = Context<Self>;
}

impl Handler<ToChannel> for Channel {
    type Result = ();

    fn handle(&mut self, message: ToChannel, context: &mut Self::Context) {
        let now = Timestamp::now();
        let published = match &message {
            ToChannel::Publish(publication) => Some(self.count(publication)),
            ToChannel::PublishTo(publication, _) => Some(self.count(publication)),
            _ => None,
        };
        let (state, effects) = (&mut self.state, &mut self.effects);
        match message {
            ToChannel::OrderedClose(share) => return drop(share),
            ToChannel::Join { conn, user, place } => state.join(conn, user, place, &now, effects),
            ToChannel::Leave(conn) => state.leave(conn, &now, effects),
            ToChannel::Attach { conn, user, place, part } => {
                state.attach(conn, user, place, part, &now, effects);
            }
            ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
            ToChannel::Part(conn) => state.part(conn, &now, effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Publish(publication) => {
                self.in_flight.channels.sub(1);
                state.publish(publication, None, &now, effects);
            }
            ToChannel::PublishTo(publication, places) => {
                self.in_flight.channels.sub(1);
                state.publish(*publication, Some(places), &now, effects);
            }
        }
        self.summary.update(&self.state);
        self.record();
        let bytes = self.hubs.apply(self.effects.drain(..), &self.in_flight);
        self.spend(published.is_some(), 1 + published.unwrap_or(0) + bytes / BYTES, context);
    }
}

impl Handler<Record> for Channel {
    type Result = ();

    fn handle(&mut self, Record(recorder): Record, _: &mut Self::Context) {
        recorder.arm_channel(self.state.identity().uuid);
        if self.recorder.is_none() {
            self.state.watch(true);
            self.recorder = Some(recorder);
        }
    }
}

impl Handler<Inspect> for Channel {
    type Result = Snapshot;

    fn handle(&mut self, inspect: Inspect, _: &mut Self::Context) -> Snapshot {
        self.state.snapshot(&inspect)
    }
}
