//! The actor of one websocket. It owns the socket; the hub writes to it through the shared outbox.

use super::context::{Drive, Step, run};
use super::goodbye::Goodbye;
use super::reading::Reads;
use crate::hub::handle::HubHandle;
use crate::hub::messages::{AttachRefused, Transport};
use crate::ids::SlotKey;
use crate::observe::pressure::Counted;
use crate::observe::recorder::ConnectionEvent;
use crate::outbox::Outbox;
use crate::wire::websocket::close::CloseReason;
use crate::wire::websocket::decoder::{Decoder, Incoming};
use crate::wire::websocket::{Opcode, frame};
use actix::{Actor, Running};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use uuid::Uuid;

/// The websocket session.
///
/// Owns: the socket (in its outbox) and the decoder of what the peer sends.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed; then it is gone from its hub as well.
/// Mailbox: none; it is woken by its socket, its outbox and the registry's answer. Whoever wants it to go tells its
/// hub, which closes the outbox: one order for frames and goodbyes.
/// Talks to: its hub (attach, detach).
pub struct WebsocketSession {
    conn_id: Uuid,
    slot: SlotKey,
    hub: HubHandle,
    outbox: Rc<Outbox>,
    decoder: Decoder,
    attaching: Option<oneshot::Receiver<Result<(), AttachRefused>>>,
    goodbye: Goodbye,
    _counted: Counted,
}

impl WebsocketSession {
    /// Starts a session on a socket whose handshake is done. `rest` is what came right behind the handshake.
    /// `client` is where the peer is, if the socket's other end is a proxy. `deflate` if the handshake agreed on
    /// compressed messages.
    pub fn start(
        conn_id: Uuid,
        socket: TcpStream,
        rest: &[u8],
        client: Option<IpAddr>,
        deflate: bool,
        hub: HubHandle,
    ) {
        let settings = hub.settings().clone();
        let outbox = Outbox::socket(socket, settings.max_queued_bytes, hub.now_ms())
            .compressing(deflate.then_some(settings.compression_threshold_bytes));
        let outbox = Rc::new(outbox);
        let slot = hub.open(conn_id, Transport::Websocket, outbox.clone(), client);
        let mut decoder = Decoder::new(settings.max_client_message_bytes).inflating(deflate);
        decoder.feed(rest);
        let _counted = hub.count_session();
        run(Self {
            conn_id,
            slot,
            hub,
            outbox,
            decoder,
            attaching: None,
            goodbye: Goodbye::default(),
            _counted,
        });
    }

    fn read_messages(&mut self) {
        loop {
            match self.decoder.decode() {
                Ok(Some(Incoming::Ping(payload))) => {
                    // A full queue decides about this peer at the next frame; a lost pong does not.
                    let _ = self.outbox.push_control(&frame(Opcode::Pong, &payload));
                }
                Ok(Some(Incoming::Close(code))) => return self.leave(CloseReason::ByPeer(code)),
                // Input of any kind only shows that the peer lives (behaviour of the original).
                Ok(Some(Incoming::Text(_) | Incoming::Binary(_) | Incoming::Pong)) => {}
                Ok(None) => return,
                Err(reason) => return self.leave(reason),
            }
        }
    }

    /// Gone from the hub at once; the peer is told.
    fn leave(&mut self, reason: CloseReason) {
        self.hub.note(self.slot, || ConnectionEvent::Closed(reason));
        self.hub.detach(self.slot);
        if let (CloseReason::ByPeer(_), Some(socket)) = (reason, self.outbox.stream()) {
            hold_back(socket);
        }
        self.outbox.close(reason);
    }

    fn poll_attached(&mut self, context: &mut Context<'_>) {
        let Some(attaching) = &mut self.attaching else { return };
        let Poll::Ready(answer) = Pin::new(attaching).poll(context) else { return };
        self.attaching = None;
        match answer {
            Ok(Ok(())) => {}
            // As the original does: accepted, and closed at once.
            Ok(Err(AttachRefused::UnknownConnection)) => self.leave(CloseReason::Ended),
            Err(_) => self.leave(CloseReason::GoingAway),
        }
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
    fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.outbox.hear(self.hub.now_ms());
        self.decoder.feed(bytes);
        self.read_messages();
    }
}

impl Actor for WebsocketSession {
    type Context = super::context::SessionContext;

    fn started(&mut self, _: &mut Self::Context) {
        // Asked before anything is read: the question must be in the registry's mailbox before a goodbye is.
        self.attaching = Some(self.hub.attach(self.conn_id, self.slot, Transport::Websocket));
        self.read_messages();
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.hub.detach(self.slot);
        Running::Stop
    }
}

impl Drive for WebsocketSession {
    fn drive(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        self.outbox.register(context);
        self.poll_attached(context);
        if self.poll_read(context)? == Step::Done {
            return Ok(Step::Done);
        }
        let flushed = self.outbox.clone().poll_flush(context);
        let Some(reason) = self.outbox.closing() else {
            return match flushed {
                Poll::Ready(Err(error)) => Err(error),
                _ => Ok(Step::More),
            };
        };
        Ok(self.goodbye.poll(reason, flushed.is_ready(), &self.outbox, context))
    }
}
