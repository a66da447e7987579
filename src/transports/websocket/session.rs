//! The actor of one websocket. It owns the socket; the hub writes to it through the shared send queue.

use super::context::{Drive, Progress, run};
use super::goodbye::Goodbye;
use super::reading::Reads;
use crate::broker::hub::handle::HubHandle;
use crate::broker::hub::messages::Transport;
use crate::limits::addresses::AddressSlot;
use crate::protocol::ids::SlotKey;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::decoder::{DecodeTurn, Decoder, Incoming};
use crate::protocol::websocket::{Opcode, frame};
use crate::send_queue::SendQueue;
use crate::telemetry::in_flight::Counted;
use crate::telemetry::recorder::ConnectionEvent;
use actix::{Actor, Running};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use uuid::Uuid;

/// The websocket session.
///
/// Owns: the socket (in its send queue) and the decoder of what the peer sends. Small, for most sessions are idle.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed; then it is gone from its hub as well.
/// Mailbox: none; it is woken by its socket and its send queue. Whoever wants it to go tells its hub, which closes the
/// send queue: one order for frames and goodbyes.
/// Talks to: its hub (attach, detach).
pub struct WebsocketSession {
    slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    /// Only while a message is incomplete.
    decoder: Option<Box<Decoder>>,
    goodbye: Goodbye,
    _counted: Counted,
    /// Among the sockets of its address, if these are counted.
    _seat: Option<Box<AddressSlot>>,
}

/// A handshake that is good, and still to be answered.
pub struct Handshake<'a> {
    /// The connection that it asks for.
    pub conn_id: Uuid,
    /// Where the peer is, if the socket's other end is a proxy.
    pub client: Option<IpAddr>,
    /// Whether messages may be compressed.
    pub deflate: bool,
    /// The answer's bytes.
    pub answer: &'a [u8],
    /// What came right behind the handshake.
    pub rest: &'a [u8],
}

impl WebsocketSession {
    /// Answers a handshake and starts its session. `seat` is given back when the session is gone.
    pub fn start(
        socket: TcpStream,
        handshake: &Handshake<'_>,
        hub: HubHandle,
        seat: Option<Box<AddressSlot>>,
    ) {
        let &Handshake { conn_id, client, deflate, answer, rest } = handshake;
        let settings = hub.settings();
        let send_queue = SendQueue::socket(socket, hub.queue_bound(), hub.now_ms())
            .compressing(deflate.then_some(settings.compression_threshold_bytes));
        let send_queue = Rc::new(send_queue);
        let slot = hub.open(conn_id, Transport::Websocket, send_queue.clone(), client);
        // Asked before anything is read: the question must be in the registry's mailbox before a goodbye is. And before
        // the answer goes out: a client that has it may come again, on another thread, and the later one takes over.
        hub.attach_websocket(conn_id, slot);
        // A socket that breaks meanwhile says so when it is read.
        let _ = send_queue.push_answer(answer);
        let _counted = hub.count_session();
        let mut session =
            Self { slot, hub, send_queue, decoder: None, goodbye: Goodbye::default(), _counted, _seat: seat };
        if !rest.is_empty() {
            session.receive(rest, &mut DecodeTurn::default());
        }
        run(session);
    }

    /// Of the pings that are read together, the last one is answered: RFC 6455, section 5.5.3, allows it, and a peer
    /// that floods us with pings gets no write for each.
    fn read_messages(&mut self, turn: &mut DecodeTurn) {
        let Some(decoder) = &mut self.decoder else { return };
        let mut ping = None;
        let end = loop {
            match decoder.decode(turn) {
                Ok(Some(Incoming::Ping(payload))) => ping = Some(payload),
                Ok(Some(Incoming::Close(code))) => break Some(CloseReason::ByPeer(code)),
                // Input of any kind only shows that the peer lives (behaviour of the original).
                Ok(Some(Incoming::Text(_) | Incoming::Binary(_) | Incoming::Pong)) => {}
                Ok(None) => break None,
                Err(reason) => break Some(reason),
            }
        };
        if decoder.is_idle() {
            self.decoder = None;
        }
        if let Some(payload) = ping {
            // A full queue decides about this peer at the next frame; a lost pong does not.
            let _ = self.send_queue.push_control(&frame(Opcode::Pong, &payload));
        }
        if let Some(reason) = end {
            self.leave(reason);
        }
    }

    /// Gone from the hub at once; the peer is told.
    fn leave(&mut self, reason: CloseReason) {
        self.decoder = None;
        let CloseReason::ByPeer(_) = reason else { return self.hub.close(self.slot, reason) };
        self.hub.note(self.slot, || ConnectionEvent::Closed(reason));
        self.hub.detach(self.slot);
        if let Some(socket) = self.send_queue.stream() {
            hold_back(socket);
        }
        self.send_queue.close(reason);
    }
}

/// What is written from now on goes out with the end of the stream. Our answer to a peer's goodbye is the last thing
/// that it gets: in one segment with the end it costs the kernel, and wakes the peer, once instead of twice.
fn hold_back(socket: &TcpStream) {
    // Without it all goes out as well, a little less cheaply.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_cork(true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

impl Reads for WebsocketSession {
    fn send_queue(&self) -> &Rc<SendQueue> {
        &self.send_queue
    }

    fn receive(&mut self, bytes: &[u8], turn: &mut DecodeTurn) {
        if !bytes.is_empty() {
            self.send_queue.set_last_received(self.hub.now_ms());
            let (max, deflate) =
                (self.hub.settings().max_client_message_bytes, self.send_queue.is_compressing());
            let decoder = self.decoder.get_or_insert_with(|| Box::new(Decoder::new(max).inflating(deflate)));
            decoder.feed(bytes);
        }
        self.read_messages(turn);
    }

    fn is_behind(&self) -> bool {
        self.decoder.as_ref().is_some_and(|decoder| decoder.is_behind())
    }
}

impl Actor for WebsocketSession {
    type Context = super::context::SessionContext;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.hub.detach(self.slot);
        self.hub.count_closed(self.send_queue.closing());
        Running::Stop
    }
}

impl Drive for WebsocketSession {
    fn drive(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        self.send_queue.register(context);
        if self.poll_read(context)? == Progress::Done {
            return Ok(Progress::Done);
        }
        let flushed = self.send_queue.clone().poll_flush(context);
        let Some(reason) = self.send_queue.closing() else {
            return match flushed {
                Poll::Ready(Err(error)) => Err(error),
                _ => Ok(Progress::More),
            };
        };
        Ok(self.goodbye.poll(reason, flushed.is_ready(), &self.send_queue, context))
    }
}
