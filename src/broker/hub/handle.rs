//! What the sessions of a thread hold of their hub.

use super::messages::{Attach, AttachRefused, Detached, Transport};
use super::recording::Tapes;
use super::table::SessionTable;
use super::{BUCKETS, Hub, HubShared, TICK_MS};
use crate::broker::batched_mailbox::FlushMailbox;
use crate::clock::Clock;
use crate::config::Settings;
use crate::limits::in_flight::{Counted, InFlight};
use crate::protocol::ids::{HubId, SlotKey};
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{FrameSender, QueueCapacity, SendQueue};
use crate::telemetry::Counters;
use crate::telemetry::recorder::{ConnectionEvent, Recorder};
use actix::{Actor, Addr, Recipient};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Everything a hub needs.
pub struct HubParts {
    /// Its number.
    pub id: HubId,
    /// The server's settings.
    pub settings: Arc<Settings>,
    /// The server's counters.
    pub counters: Arc<Counters>,
    /// The server's gauges.
    pub in_flight: Arc<InFlight>,
    /// The flight recorder.
    pub recorder: Arc<Recorder>,
    /// Where sessions ask to be attached.
    pub attach: Recipient<Attach>,
    /// What is on its way there from any thread; a session that asks must find it done.
    pub published: Arc<dyn FlushMailbox>,
    /// Where goodbyes go.
    pub detached: Recipient<Detached>,
}

/// A hub, seen from its own thread.
#[derive(Clone)]
pub struct HubHandle {
    shared: Rc<HubShared>,
}

impl HubHandle {
    /// Starts a hub on this thread.
    pub fn start(parts: HubParts) -> (Self, Addr<Hub>) {
        let sender = if parts.settings.io_uring { FrameSender::with_ring() } else { FrameSender::default() };
        let shared = Rc::new(HubShared {
            table: RefCell::new(SessionTable::new(parts.id).recording(Tapes::new(parts.recorder))),
            fanout: RefCell::new(super::fanout::Fanout::new(sender)),
            wheel: RefCell::new(super::wheel::Wheel::new(BUCKETS, 0)),
            work: tokio::sync::Notify::new(),
            farewells: RefCell::default(),
            due: RefCell::default(),
            clock: Clock::start(Duration::from_millis(TICK_MS)),
            started: Instant::now(),
            epoch_ms: Timestamp::now().unix_ms(),
            queued: Cell::default(),
            settings: parts.settings,
            counters: parts.counters,
            in_flight: parts.in_flight,
            attach: parts.attach,
            published: parts.published,
            registry: parts.detached,
        });
        let hub = Hub { id: parts.id, shared: shared.clone() };
        (Self { shared }, hub.start())
    }

    /// The server's settings.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.shared.settings
    }

    /// How much may wait for one peer.
    pub fn queue_bound(&self) -> QueueCapacity {
        QueueCapacity::new(self.settings().max_queued_bytes, self.settings().max_queued_frames)
    }

    /// The hub's clock, in ms, moved on at every tick. It stands still while the process does.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.ticked_ms()
    }

    /// Makes a place for a session. `client` is where it comes from, if its socket does not say so.
    pub fn open(
        &self,
        conn_id: Uuid,
        transport: Transport,
        send_queue: Rc<SendQueue>,
        client: Option<IpAddr>,
    ) -> SlotKey {
        let websocket = send_queue.is_socket();
        let mut table = self.shared.table.borrow_mut();
        let key = table.open(conn_id, transport, send_queue);
        if let Some(slot) = table.slot(key) {
            slot.opened_s = (self.now_ms() / 1_000).try_into().unwrap_or(u32::MAX);
            slot.client = client.map(Box::new);
        }
        table.begin_tape(key);
        if websocket && let Some(slot) = table.slot(key) {
            let first = |interval: u64| match interval {
                0 => u64::MAX,
                // Sessions that came together shall not all be served together for ever.
                ms => self.now_ms() + ms - rand::random_range(0..=ms / 5),
            };
            slot.heartbeat_at = first(self.shared.settings.heartbeat_interval_ms);
            slot.ping_at = first(self.shared.settings.ping_interval_ms);
            let idle = match self.shared.settings.pong_timeout {
                0 => u64::MAX,
                ms => self.now_ms() + ms,
            };
            let next = slot.heartbeat_at.min(slot.ping_at).min(idle);
            if next < u64::MAX {
                self.shared.wheel.borrow_mut().insert(next.div_ceil(TICK_MS), key);
            }
        }
        key
    }

    /// Asks the registry to attach a websocket to its connection. If there is none, the session is told to go, as it
    /// might be at any time later.
    pub fn attach_websocket(&self, conn_id: Uuid, slot: SlotKey) {
        self.ask(conn_id, slot, Transport::Websocket, None);
    }

    /// Asks the registry to attach a poll to its connection. No answer means that the server stops.
    pub fn attach_poll(&self, conn_id: Uuid, slot: SlotKey) -> oneshot::Receiver<Result<(), AttachRefused>> {
        let (answer, receiver) = oneshot::channel();
        self.ask(conn_id, slot, Transport::LongPoll, Some(answer));
        receiver
    }

    fn ask(
        &self,
        conn_id: Uuid,
        slot: SlotKey,
        transport: Transport,
        answer: Option<oneshot::Sender<Result<(), AttachRefused>>>,
    ) {
        let place = self.shared.table.borrow().place(slot);
        // Whoever has seen a message accepted and listens then is to get it as one that it missed.
        self.shared.published.flush();
        self.shared.attach.do_send(Attach { conn_id, place, transport, answer });
    }

    /// Writes down what happened to a session, if it is recorded.
    pub fn note(&self, slot: SlotKey, event: impl FnOnce() -> ConnectionEvent) {
        self.shared.table.borrow_mut().note(slot, event);
    }

    /// The session is gone.
    pub fn detach(&self, slot: SlotKey) {
        let detached = self.shared.table.borrow_mut().detach(slot);
        self.shared.report(detached);
    }

    /// The session must go.
    pub fn dismiss(&self, slot: SlotKey, reason: CloseReason) {
        self.shared.dismiss(slot, reason);
    }

    /// Counts a websocket that is gone, by why it was closed.
    pub fn count_closed(&self, reason: Option<CloseReason>) {
        self.shared.counters.closes.count(reason);
    }

    /// Counts a session in for as long as it keeps this.
    pub fn count_session(&self) -> Counted {
        Counted::new(self.shared.in_flight.sessions.clone())
    }
}
