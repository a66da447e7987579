//! The actor of one event stream on a socket of its own. The hub writes to it through the shared send queue.

use super::head::{head, retry_ms};
use crate::broker::hub::handle::{AttachRefused, HubHandle};
use crate::connection::peer_timeout::limit_unacknowledged;
use crate::connection::reject;
use crate::http_error::Refusal;
use crate::limits::addresses::AddressSlot;
use crate::protocol::ids::SlotKey;
use crate::protocol::position::Since;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::decoder::DecodeTurn;
use crate::send_queue::{SendQueue, Transport};
use crate::telemetry::in_flight::Counted;
use crate::telemetry::recorder::ConnectionEvent;
use crate::transports::websocket::close_wait::CloseWait;
use crate::transports::websocket::context::{Drive, Progress, SessionContext, run};
use crate::transports::websocket::reading::SocketReader;
use actix::{Actor, Running};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use uuid::Uuid;

/// The most bytes that a client may send after its request. They are dropped.
const MAX_RECEIVED: usize = 4 << 10;

/// Owns: the socket (in its send queue).
/// Started by: the connection dispatcher, with the first request of a connection, on its thread.
/// Ends: when the socket is closed. It then leaves its hub as well.
/// Mailbox: none; its socket, its send queue and the answer of the registry wake it.
/// Talks to: its hub (attach, detach).
pub struct EventSession {
    slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    stage: StreamStage,
    /// Bytes that the client sent after its request.
    received: usize,
    close_wait: CloseWait,
    _counted: Counted,
    /// The slot among the sockets of its address, if these are counted.
    _address_slot: Option<Box<AddressSlot>>,
}

/// The stage of a session.
enum StreamStage {
    /// The registry has not answered; nothing was sent.
    Attaching(Box<Attaching>),
    /// The client receives events.
    Open,
    /// The connection is unknown; the client receives a refusal.
    Refused,
}

/// What the beginning of the response depends on.
struct Attaching {
    answer: oneshot::Receiver<Result<(), AttachRefused>>,
    /// The header lines for the page of the client.
    page_headers: Vec<u8>,
    retry_ms: u32,
}

/// A request for an event stream that is admitted and not answered.
pub struct EventRequest<'a> {
    pub conn_id: Uuid,
    /// What the client has.
    pub since: Arc<Since>,
    /// The client's address, if the socket's peer is a proxy.
    pub client: Option<IpAddr>,
    /// The header lines for the page of the client.
    pub page_headers: Vec<u8>,
    /// The bytes received after the request.
    pub rest: &'a [u8],
}

impl EventSession {
    /// Starts the session of a request. `address_slot` is released when the session ends.
    pub fn start(
        socket: TcpStream,
        request: EventRequest<'_>,
        hub: HubHandle,
        address_slot: Option<Box<AddressSlot>>,
    ) {
        let EventRequest { conn_id, since, client, page_headers, rest } = request;
        let settings = hub.settings();
        limit_unacknowledged(&socket, settings.pong_timeout);
        let retry_ms = retry_ms(settings);
        let send_queue = SendQueue::events(Some(socket), hub.queue_bound(), hub.now_ms(), retry_ms);
        // The hub may have frames before the registry's answer arrives, and the answer decides about the status.
        send_queue.hold();
        let send_queue = Rc::new(send_queue);
        let slot = hub.open(conn_id, send_queue.clone(), client);
        let answer = hub.try_attach(conn_id, slot, Transport::Sse, Some(since));
        let _counted = hub.count_session(Transport::Sse);
        run(Self {
            slot,
            hub,
            send_queue,
            stage: StreamStage::Attaching(Box::new(Attaching { answer, page_headers, retry_ms })),
            received: rest.len(),
            close_wait: CloseWait::default(),
            _counted,
            _address_slot: address_slot,
        });
    }

    /// Begins the response when its status is known.
    fn poll_begin(&mut self, context: &mut Context<'_>) {
        let StreamStage::Attaching(attaching) = &mut self.stage else { return };
        let answer = match Pin::new(&mut attaching.answer).poll(context) {
            Poll::Ready(answer) => answer,
            // The server closes its sessions.
            Poll::Pending if self.send_queue.closing().is_some() => Ok(Ok(())),
            Poll::Pending => return,
        };
        if let Ok(Err(AttachRefused::UnknownConnection)) = answer {
            let refusal = reject::answer_with(&Refusal::UnknownConnection, &attaching.page_headers);
            self.stage = StreamStage::Refused;
            self.hub.detach(self.slot);
            self.send_queue.clear();
            return self.send_queue.release(refusal);
        }
        let head = head(&attaching.page_headers, attaching.retry_ms);
        self.stage = StreamStage::Open;
        self.send_queue.release(head.into());
        if answer.is_err() {
            // The registry is gone, because the server is stopping.
            self.hub.close(self.slot, CloseReason::GoingAway);
        }
    }

    /// Whether nothing follows what is queued.
    fn is_ending(&self) -> bool {
        matches!(self.stage, StreamStage::Refused) || self.send_queue.closing().is_some()
    }
}

impl SocketReader for EventSession {
    fn send_queue(&self) -> &Rc<SendQueue> {
        &self.send_queue
    }

    /// Drops what the client sends.
    fn receive(&mut self, bytes: &[u8], _: &mut DecodeTurn) {
        self.received += bytes.len();
    }

    /// The session ends instead of reading more.
    fn is_behind(&self) -> bool {
        self.received > MAX_RECEIVED
    }
}

impl Actor for EventSession {
    type Context = SessionContext;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if self.is_behind() {
            self.hub.note(self.slot, || ConnectionEvent::Closed(CloseReason::TooBig, None));
            self.hub.count_closed(Some(CloseReason::TooBig));
        } else if !matches!(self.stage, StreamStage::Refused) {
            self.hub.count_closed(self.send_queue.closing());
        }
        self.hub.detach(self.slot);
        Running::Stop
    }
}

impl Drive for EventSession {
    fn drive(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        self.send_queue.register(context);
        if self.poll_read(context)? == Progress::Done || self.is_behind() {
            return Ok(Progress::Done);
        }
        self.poll_begin(context);
        if let StreamStage::Attaching(_) = self.stage {
            return Ok(Progress::More);
        }
        let flushed = self.send_queue.poll_flush(context)?;
        if !self.is_ending() {
            return Ok(Progress::More);
        }
        if flushed.is_ready() {
            self.send_queue.shutdown_write();
        }
        Ok(self.close_wait.poll_limit(context))
    }
}
