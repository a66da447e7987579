//! The actor of one websocket. It owns the socket; the hub writes to it through the shared send queue.

use super::close_wait::CloseWait;
use super::context::{Drive, Progress, run};
use super::reading::SocketReader;
use super::token::{TokenExchange, TokenRefresher};
use crate::broker::hub::handle::HubHandle;
use crate::limits::addresses::AddressSlot;
use crate::protocol::ids::SlotKey;
use crate::protocol::position::Since;
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
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Owns: the socket (in its send queue) and the decoder of incoming data. It is small, because most sessions are idle.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed. It then leaves its hub as well.
/// Mailbox: none; its socket and its send queue wake it. To close it, an actor calls its hub, which closes the send
/// queue, so that frames and the close frame keep their order.
/// Talks to: its hub (attach, detach).
pub struct WebsocketSession {
    slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    /// Present only while a message is incomplete.
    decoder: Option<Box<Decoder>>,
    close_wait: CloseWait,
    _counted: Counted,
    /// Boxed because most sessions have none of it.
    extras: Option<Box<Extras>>,
}

/// What only some sessions have.
struct Extras {
    /// The slot among the sockets of its address, if these are counted.
    _address_slot: Option<Box<AddressSlot>>,
    /// Replaces the token, if the session has one.
    token: Option<TokenExchange>,
}

/// A valid handshake that still needs its response.
pub struct Handshake<'a> {
    pub conn_id: Uuid,
    /// What the client has, if it asked for positions.
    pub since: Option<Arc<Since>>,
    /// The client's address, if the socket's peer is a proxy.
    pub client: Option<IpAddr>,
    /// Whether messages may be compressed.
    pub deflate: bool,
    /// The bytes of the response.
    pub answer: &'a [u8],
    /// The bytes received after the handshake.
    pub rest: &'a [u8],
}

impl WebsocketSession {
    /// Answers a handshake and starts its session. `address_slot` is released when the session ends;
    /// `refresher` replaces the token of a session that has one.
    pub fn start(
        socket: TcpStream,
        handshake: Handshake<'_>,
        hub: HubHandle,
        address_slot: Option<Box<AddressSlot>>,
        refresher: Option<TokenRefresher>,
    ) {
        let Handshake { conn_id, since, client, deflate, answer, rest } = handshake;
        let settings = hub.settings();
        let send_queue = SendQueue::socket(socket, hub.queue_bound(), hub.now_ms())
            .compressing(deflate.then_some(settings.compression_threshold_bytes))
            .positioned(since.is_some());
        let send_queue = Rc::new(send_queue);
        let slot = hub.open(conn_id, send_queue.clone(), client);
        // Attach before anything is read, so that the registry receives this request before a possible close. Attach
        // before the response is sent, because a client that has received it may reconnect on another thread, and the
        // later session takes over.
        hub.attach(conn_id, slot, send_queue.transport(), since);
        // If the socket is broken, the next read reports it.
        let _ = send_queue.push_answer(answer);
        let _counted = hub.count_session(send_queue.transport());
        let mut session = Self {
            slot,
            hub,
            send_queue,
            decoder: None,
            close_wait: CloseWait::default(),
            _counted,
            extras: Extras::boxed(address_slot, refresher),
        };
        if !rest.is_empty() {
            session.receive(rest, &mut DecodeTurn::default());
        }
        run(session);
    }

    /// Of the pings that are read together, only the last one is answered: RFC 6455, section 5.5.3, allows it, and a
    /// peer that floods the server with pings does not cause a write for each.
    fn read_messages(&mut self, turn: &mut DecodeTurn) {
        let Some(decoder) = &mut self.decoder else { return };
        let mut ping = None;
        let end = loop {
            match decoder.decode(turn) {
                Ok(Some(Incoming::Ping(payload))) => ping = Some(payload),
                Ok(Some(Incoming::Close(code))) => break Some(CloseReason::ByPeer(code)),
                // Other input only shows that the peer is alive (behaviour of the original).
                Ok(Some(Incoming::Text(text))) => {
                    if let Some(token) = self.extras.as_ref().and_then(|extras| extras.token.as_ref()) {
                        token.receive(&text, &self.send_queue);
                    }
                }
                Ok(Some(Incoming::Binary(_) | Incoming::Pong)) => {}
                Ok(None) => break None,
                Err(reason) => break Some(reason),
            }
        };
        if decoder.is_idle() {
            self.decoder = None;
        }
        if let Some(payload) = ping {
            // If the queue is full, the next frame closes this session; a lost pong does not.
            let _ = self.send_queue.push_control(&frame(Opcode::Pong, &payload));
        }
        if let Some(reason) = end {
            self.close(reason);
        }
    }

    /// Leaves the hub immediately, and sends the peer a close frame.
    fn close(&mut self, reason: CloseReason) {
        self.decoder = None;
        let CloseReason::ByPeer(_) = reason else { return self.hub.close(self.slot, reason) };
        self.hub.note(self.slot, || ConnectionEvent::Closed(reason, None));
        self.hub.detach(self.slot);
        if let Some(socket) = self.send_queue.stream() {
            delay_output(socket);
        }
        self.send_queue.close(reason);
    }
}

impl Extras {
    fn boxed(address_slot: Option<Box<AddressSlot>>, refresher: Option<TokenRefresher>) -> Option<Box<Self>> {
        let is_needed = address_slot.is_some() || refresher.is_some();
        let token = refresher.map(TokenExchange::new);
        is_needed.then(|| Box::new(Self { _address_slot: address_slot, token }))
    }
}

/// Delays output until the end of the stream. The answer to a peer's close frame is the last data the peer receives: in
/// one segment with the end it costs the kernel, and wakes the peer, once instead of twice.
fn delay_output(socket: &TcpStream) {
    // On failure everything is sent as well, at a slightly higher cost.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_cork(true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

impl SocketReader for WebsocketSession {
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
        Ok(self.close_wait.poll(reason, flushed.is_ready(), &self.send_queue, context))
    }
}
