//! A channel: the settings, members, presence, history and frames under one name.

pub mod messages;
pub mod decisions;
pub mod state;
mod leaving_users;
mod members;
mod presence_changes;
pub(crate) mod buffer;
pub(crate) mod summary;

use super::batched_mailbox::MailboxSender;
use super::engine::link::LinkHandle;
use super::hub::Hub;
use super::hub::messages::ToHub;
use super::marking::Marking;
use super::receipts::Receipt;
use crate::protocol::ids::{HubId, ServerEpoch};
use crate::protocol::time::Timestamp;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::recorder::{Published, Recorder};
use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, SpawnHandle, WrapFuture};
use messages::{Inspect, Publication, ReceiptedPublication, Recheck, Record, ToChannel};
use state::{ChannelEffects, ChannelState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use summary::Summary;

/// The addresses of all hubs, by number, for requests to them.
#[derive(Debug, Default)]
pub struct Hubs(Vec<OnceLock<Addr<Hub>>>);

impl Hubs {
    /// Reserves space for this many hubs.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| OnceLock::new()).collect())
    }

    /// Sets the address of a hub. Later calls have no effect.
    pub fn set(&self, id: HubId, addr: Addr<Hub>) {
        if let Some(addr_cell) = self.0.get(usize::from(id.0)) {
            let _ = addr_cell.set(addr);
        }
    }

    /// The address of a hub.
    pub fn get(&self, id: HubId) -> Option<&Addr<Hub>> {
        self.0.get(usize::from(id.0)).and_then(OnceLock::get)
    }
}

/// The senders to all hubs, by number, on the thread of the registry and the channels. All commands to hubs pass
/// through them, in one order.
#[derive(Debug)]
pub struct HubSenders(Vec<MailboxSender<ToHub>>);

impl HubSenders {
    pub fn new(hubs: Vec<MailboxSender<ToHub>>) -> Self {
        Self(hubs)
    }

    /// Sends a command to a hub, in order with all other commands.
    pub fn send(&self, hub: HubId, message: ToHub) {
        if let Some(hub) = self.0.get(usize::from(hub.0)) {
            hub.send(message);
        }
    }

    /// Orders all hubs to close their sessions.
    pub fn drain(&self) {
        self.0.iter().for_each(|hub| hub.send(ToHub::Drain));
    }

    /// Sends all hubs the life of the server to which stamps belong.
    pub fn begin_life(&self, server: ServerEpoch) {
        self.0.iter().for_each(|hub| hub.send(ToHub::BeginLife(server)));
    }

    /// Sends a delivery mark to all hubs.
    pub fn mark(&self, marking: &Arc<Marking>) {
        self.0.iter().for_each(|hub| hub.send(ToHub::Mark(marking.clone())));
    }

    /// Sends commands to hubs, and adds the bytes of their frames to the in-flight counter. Returns these bytes.
    pub fn apply(&self, effects: impl IntoIterator<Item = (HubId, ToHub)>, in_flight: &InFlight) -> usize {
        let mut all = 0;
        for (hub, message) in effects {
            let Some(hub) = self.0.get(usize::from(hub.0)) else { continue };
            let bytes = match &message {
                ToHub::Deliver(_, stamped) | ToHub::DeliverTo(_, _, stamped) => stamped.frame.live().len(),
                ToHub::DeliverPrivate(_, _, frame) => frame.live().len(),
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
    /// The costs of publications and of other commands since the last pause; see [`TURN`].
    published_costs: usize,
    other_costs: usize,
    /// Receives the outgoing frames while the channel is recorded.
    recorder: Option<Arc<Recorder>>,
    /// The start of the channel's clock.
    started: Instant,
    /// When the state next does something by itself, in ms of the clock, and the timer for it.
    timer: Option<(u64, SpawnHandle)>,
    /// The way to Redis, if Redis decides.
    link: Option<LinkHandle>,
}

impl Channel {
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
            published_costs: 0,
            other_costs: 0,
            recorder: None,
            started: Instant::now(),
            timer: None,
            link: None,
        }
    }

    /// Sets the way to Redis, if Redis decides.
    pub fn with_link(mut self, link: Option<LinkHandle>) -> Self {
        self.link = link;
        self
    }
}

/// The work of a channel, in messages, after which it yields to the other tasks of its thread. Otherwise actix handles
/// a whole mailbox in one turn, however long it is.
const TURN: usize = 1_024;
/// Bytes of frames that cost as much as a message, and messages of the history whose scan costs as much.
const BYTES_PER_COST: usize = 4 << 10;
const HISTORY_PER_COST: usize = 64;

impl Channel {
    /// Adds a publication to the counters. Returns the cost of a message, apart from its frame.
    fn count(&self, message: &ToChannel) -> usize {
        let searches_history = match message.publication() {
            Some(Publication::Post(_, audience)) => {
                self.counters.queued.add(self.state.audience_size(audience));
                false
            }
            Some(Publication::Edit(..) | Publication::Delete(..)) => true,
            None => matches!(message, ToChannel::Recheck(_)),
        };
        let (_, _, history) = self.state.counts();
        1 + if searches_history { history as usize / HISTORY_PER_COST } else { 0 }
    }

    /// Yields after enough work. A pause between the messages of one request would split their delivery in two, so
    /// joining and leaving members do not count towards it.
    fn spend(&mut self, is_publication: bool, cost: usize, context: &mut Context<Self>) {
        let spent = if is_publication { &mut self.published_costs } else { &mut self.other_costs };
        *spent += cost;
        if *spent >= TURN {
            *spent = 0;
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes the results of a command visible. Returns the bytes of the frames that were sent.
    fn apply(&mut self, context: &mut Context<Self>) -> usize {
        self.summary.update(&self.state);
        self.record();
        self.set_timer(context);
        self.hubs.apply(self.effects.drain(..), &self.in_flight)
    }

    /// Sets the timer for what is due next. An earlier timer stays: it sets the next one.
    fn set_timer(&mut self, context: &mut Context<Self>) {
        let Some(due) = self.state.next_due() else { return };
        if let Some((at, timer)) = self.timer {
            if at <= due {
                return;
            }
            context.cancel_future(timer);
        }
        let delay = Duration::from_millis(due.saturating_sub(self.now_ms()));
        self.timer = Some((due, context.run_later(delay, Self::tick)));
    }

    fn tick(&mut self, context: &mut Context<Self>) {
        self.timer = None;
        self.state.set_clock(self.now_ms());
        self.state.tick(&Timestamp::now(), &mut self.effects);
        if let (Some(report), Some(link)) = (self.state.take_proposed_report(), &self.link) {
            link.send_unanswered(report.call(&self.state.identity().name));
        }
        let bytes = self.apply(context);
        self.spend(false, 1 + bytes / BYTES_PER_COST, context);
    }

    /// Passes the outgoing frames to the recorder, until it no longer needs them.
    fn record(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        let (connections, _, _) = self.state.counts();
        let uuid = self.state.identity().uuid;
        let frames = self.state.take_recorded_frames();
        let is_recorded =
            frames.iter().all(|frame| recorder.note_published(uuid, Published::of(frame, connections)));
        if !is_recorded {
            self.recorder = None;
            self.state.set_recording(false);
        }
    }
}

impl Actor for Channel {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        log::debug!(
            "channel {}: begins with epoch {}",
            self.state.identity().name,
            self.state.position().epoch
        );
    }
}

impl Handler<ToChannel> for Channel {
    type Result = ();

    fn handle(&mut self, message: ToChannel, context: &mut Self::Context) {
        let now = Timestamp::now();
        let (is_publication, cost) = (message.publication().is_some(), self.count(&message));
        if message.is_counted() {
            self.in_flight.channels.sub(1);
        }
        if self.state.needs_clock() {
            self.state.set_clock(self.now_ms());
        }
        let (state, effects) = (&mut self.state, &mut self.effects);
        match message {
            ToChannel::OrderedClose(ordered_close) => return drop(ordered_close),
            ToChannel::Mark(passage) => return drop(passage),
            ToChannel::Join { conn, user, location } => state.join(conn, user, location, &now, effects),
            ToChannel::Leave(conn, _) => state.leave(conn, &now, effects),
            ToChannel::Attach { conn, user, location, attaching } => {
                state.attach(conn, user, location, attaching, &now, effects);
            }
            ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
            ToChannel::Part(conn, _) => state.part(conn, &now, effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Depart(conn, _, departure) => {
                if let Some(place) = state.depart(conn, &now, effects) {
                    departure.note_channel(&state.identity().name, place);
                }
            }
            ToChannel::Adopt { conn, user, place, is_present } => state.adopt(conn, &user, place, is_present),
            ToChannel::Apply(decision) => state.apply(*decision, effects),
            ToChannel::Load(copy) => state.load(*copy, effects),
            ToChannel::Publish(publication) => _ = state.publish(publication, None, &now, effects),
            ToChannel::PublishTo(publication, locations) => {
                state.publish(*publication, Some(locations), &now, effects);
            }
            ToChannel::Recheck(recheck) => {
                let Recheck { message, stream, slot } = *recheck;
                slot.fill(Receipt::Channel(state.recheck(stream, message)));
            }
            ToChannel::PublishWithReceipt(receipted) => {
                let ReceiptedPublication { publication, locations, slot } = *receipted;
                slot.fill(Receipt::Channel(state.publish(publication, locations, &now, effects)));
            }
        }
        let bytes = self.apply(context);
        self.spend(is_publication, cost + bytes / BYTES_PER_COST, context);
    }
}

impl Handler<Record> for Channel {
    type Result = ();

    fn handle(&mut self, Record(recorder): Record, _: &mut Self::Context) {
        recorder.record_channel(self.state.identity().uuid);
        if self.recorder.is_none() {
            self.state.set_recording(true);
            self.recorder = Some(recorder);
        }
    }
}

impl Handler<Inspect> for Channel {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, inspect: Inspect, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.snapshot(&inspect))
    }
}
