//! The handle through which the sessions of a thread use their hub.

pub use super::messages::AttachRefused;
use super::messages::{Attach, Detached};
use super::recording::RecordedSessions;
use super::table::SessionTable;
use super::{BUCKETS, Hub, HubShared, TICK_MS};
use crate::broker::batched_mailbox::FlushMailbox;
use crate::clock::Clock;
use crate::config::Settings;
use crate::protocol::ids::{HubId, ServerEpoch, SlotKey};
use crate::protocol::position::{Since, Unreadable};
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{FrameSender, QueueCapacity, SendQueue, Transport};
use crate::telemetry::Counters;
use crate::telemetry::in_flight::{Counted, InFlight};
use crate::telemetry::recorder::{ConnectionEvent, Recorder};
use actix::{Actor, Addr, Recipient};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The dependencies of a hub.
pub struct HubParts {
    pub id: HubId,
    pub settings: Arc<Settings>,
    pub counters: Arc<Counters>,
    pub in_flight: Arc<InFlight>,
    pub recorder: Arc<Recorder>,
    /// Receives the attach requests of sessions: the registry.
    pub attach: Recipient<Attach>,
    /// Publications that any thread has sent to the registry. They must be handled before an attach request.
    pub published: Arc<dyn FlushMailbox>,
    /// Receives the reports of ended sessions: the registry.
    pub detached: Recipient<Detached>,
    /// This life of the server.
    pub server: ServerEpoch,
}

/// A hub as seen from its own thread.
#[derive(Clone)]
pub struct HubHandle {
    shared: Rc<HubShared>,
}

impl HubHandle {
    /// Starts a hub on the current thread.
    pub fn start(parts: HubParts) -> (Self, Addr<Hub>) {
        let sender = if parts.settings.io_uring { FrameSender::with_ring() } else { FrameSender::default() };
        let shared = Rc::new(HubShared {
            table: RefCell::new(
                SessionTable::new(parts.id, parts.server).recording(RecordedSessions::new(parts.recorder)),
            ),
            fanout: RefCell::new(super::fanout::Fanout::new(sender)),
            wheel: RefCell::new(super::timers::Wheel::new(BUCKETS, 0)),
            work: tokio::sync::Notify::new(),
            pending_closes: RefCell::default(),
            pending_marks: RefCell::default(),
            due: RefCell::default(),
            clock: Clock::start(Duration::from_millis(TICK_MS)),
            started: Instant::now(),
            start_ms: Timestamp::now().unix_ms(),
            queued: Cell::default(),
            settings: parts.settings,
            counters: parts.counters,
            in_flight: parts.in_flight,
            attach: parts.attach,
            published: parts.published,
            registry: parts.detached,
        });
        let hub = Hub { shared: shared.clone() };
        (Self { shared }, hub.start())
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.shared.settings
    }

    /// The capacity of each send queue.
    pub fn queue_bound(&self) -> QueueCapacity {
        QueueCapacity::new(self.settings().max_queued_bytes, self.settings().max_queued_frames)
    }

    /// Reads what a returning client has, from its query parameters.
    ///
    /// # Errors
    /// A parameter is malformed, or there are too many positions.
    pub fn read_since(&self, since: Option<&str>, positions: Option<&str>) -> Result<Arc<Since>, Unreadable> {
        let server = self.shared.table.borrow().server;
        Since::read(since, positions, server, self.settings().max_positions).map(Arc::new)
    }

    /// The hub's clock, in ms. It advances with every tick, and stops while the process is suspended.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.ticked_ms()
    }

    /// Creates the slot of a session. `client` is the client's address, if the socket does not show it.
    pub fn open(&self, conn_id: Uuid, send_queue: Rc<SendQueue>, client: Option<IpAddr>) -> SlotKey {
        let transport = send_queue.transport();
        let mut table = self.shared.table.borrow_mut();
        let key = table.open(conn_id, send_queue);
        if let Some(slot) = table.slot(key) {
            slot.opened_s = (self.now_ms() / 1_000).try_into().unwrap_or(u32::MAX);
            slot.client = client.map(Box::new);
            if log::log_enabled!(log::Level::Debug) {
                let client = slot.address().map_or_else(|| "unknown".to_owned(), |client| client.to_string());
                log::debug!("connection {conn_id}: {} session opened, client {client}", transport.name());
            }
        }
        table.begin_recording(key);
        if let Some(keep_alive) = transport.keep_alive()
            && let Some(slot) = table.slot(key)
        {
            let first = |interval: u64| match interval {
                0 => u64::MAX,
                // Spreads the timers of sessions that connected at the same time.
                ms => self.now_ms() + ms - rand::random_range(0..=ms / 5),
            };
            slot.heartbeat_at = first(slot.heartbeat_ms(&self.shared.settings));
            if keep_alive.ping.is_some() {
                slot.ping_at = first(self.shared.settings.ping_interval_ms);
            }
            self.shared.schedule(key, slot);
        }
        key
    }

    /// Asks the registry to attach a session to its connection. If there is none, the registry closes the session, as
    /// it may at any later time.
    pub fn attach(&self, conn_id: Uuid, slot: SlotKey, transport: Transport, since: Option<Arc<Since>>) {
        self.request_attach(conn_id, slot, transport, since, None);
    }

    /// Does the same, and returns the result instead of closing the session. A dropped sender means that the server is
    /// shutting down.
    pub fn try_attach(
        &self,
        conn_id: Uuid,
        slot: SlotKey,
        transport: Transport,
        since: Option<Arc<Since>>,
    ) -> oneshot::Receiver<Result<(), AttachRefused>> {
        let (answer, receiver) = oneshot::channel();
        self.request_attach(conn_id, slot, transport, since, Some(answer));
        receiver
    }

    fn request_attach(
        &self,
        conn_id: Uuid,
        slot: SlotKey,
        transport: Transport,
        since: Option<Arc<Since>>,
        answer: Option<oneshot::Sender<Result<(), AttachRefused>>>,
    ) {
        let location = self.shared.table.borrow().location(slot);
        // A client that subscribes after a publish was accepted receives it as catch-up.
        self.shared.published.flush();
        self.shared.attach.do_send(Attach { conn_id, location, transport, since, answer });
    }

    /// Queues the last element of a poll's response, if its client asked for positions.
    pub fn end_response(&self, slot: SlotKey) {
        self.shared.table.borrow_mut().end_response(slot);
    }

    /// Records an event of a session, if the session is recorded.
    pub fn note(&self, slot: SlotKey, event: impl FnOnce() -> ConnectionEvent) {
        self.shared.table.borrow_mut().note(slot, event);
    }

    /// Removes a session that has ended.
    pub fn detach(&self, slot: SlotKey) {
        let detached = self.shared.table.borrow_mut().detach(slot);
        self.shared.report(detached);
    }

    /// Closes a session.
    pub fn close(&self, slot: SlotKey, reason: CloseReason) {
        self.shared.close(slot, reason);
    }

    /// Counts a closed websocket or event stream under its close reason.
    pub fn count_closed(&self, reason: Option<CloseReason>) {
        self.shared.counters.closes.count(reason);
    }

    /// Counts a session until the returned value is dropped.
    pub fn count_session(&self, transport: Transport) -> Counted {
        Counted::new(transport.open_sessions(&self.shared.in_flight.sessions).clone())
    }
}
