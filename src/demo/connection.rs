//! The actor of one socket of the demo. It handles the connection, so that the file of each demo contains only the
//! handling of messages.

use super::Demo;
use super::heartbeat::{HeartbeatEvent, SocketHeartbeat};
use super::memory_share::MemoryShare;
use crate::clock;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::decoder::{DecodeTurn, Decoder, Incoming};
use crate::protocol::websocket::{Opcode, PING, frame};
use crate::send_queue::{PushResult, QueueCapacity, SendQueue};
use crate::telemetry::in_flight::Counted;
use crate::transports::websocket::close_wait::CloseWait;
use crate::transports::websocket::context::{Drive, Progress, SessionContext, run};
use crate::transports::websocket::reading::SocketReader;
use actix::Actor;
use bytes::Bytes;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Maximum size of the messages processed for one socket in one turn, in addition to the limits of [`DecodeTurn`].
const TURN_BYTES: usize = 256 << 10;
/// Maximum number of messages that a handler sends in one turn.
pub const MAX_SENT_PER_TURN: usize = 64;

/// Handles the messages of one demo's socket.
pub trait MessageHandler: Unpin + 'static {
    /// Whether the handler accepts the next message. Until it does, the socket is not read, which slows down the peer.
    fn is_ready(&self, send_queue: &SendQueue) -> bool;

    /// Handles a whole message, text or binary.
    ///
    /// # Errors
    /// The reason for which the socket must be closed.
    fn handle_message(
        &mut self,
        opcode: Opcode,
        payload: Bytes,
        send_queue: &SendQueue,
    ) -> Result<(), CloseReason>;

    /// Sends messages that are not responses, and registers for the next wake-up.
    ///
    /// # Errors
    /// The reason for which the socket must be closed.
    fn poll(&mut self, _send_queue: &SendQueue, _context: &mut Context<'_>) -> Result<(), CloseReason> {
        Ok(())
    }
}

/// Converts the result of a push.
///
/// # Errors
/// The peer does not read, or is gone.
pub fn check_push(pushed: PushResult) -> Result<(), CloseReason> {
    if pushed == PushResult::Accepted { Ok(()) } else { Err(CloseReason::TooSlow) }
}

/// A socket after its handshake.
pub struct Accepted<'a> {
    pub socket: TcpStream,
    /// The bytes received after the handshake.
    pub rest: &'a [u8],
    /// Maximum size of a message from the peer, in bytes.
    pub max_message: usize,
    /// Compression was negotiated.
    pub deflate: bool,
}

/// Owns: the socket (in its send queue), the decoder of incoming data, and the message handler.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed, for any reason. The message handler ends when the close frame is queued.
/// Mailbox: none; its socket, its send queue, its heartbeat, the server's shutdown and its message handler wake it.
/// Talks to: no actor itself; its message handler may.
pub struct DemoConnection<C: MessageHandler> {
    send_queue: Rc<SendQueue>,
    decoder: Decoder,
    handler: Option<C>,
    heartbeat: SocketHeartbeat,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    share: MemoryShare,
    close_wait: CloseWait,
    /// The decoder may hold messages that have not been handled, so the socket is not read.
    behind: bool,
    _counted: [Counted; 2],
}

impl<C: MessageHandler> DemoConnection<C> {
    /// Starts the actor on this thread. `counted` is its slot among the demo's sockets.
    pub fn start(handler: C, accepted: Accepted<'_>, demo: &Demo, counted: Counted) {
        let settings = &demo.settings;
        let mut decoder = Decoder::new(accepted.max_message).inflating(accepted.deflate);
        decoder.feed(accepted.rest);
        run(Self {
            send_queue: Rc::new(SendQueue::socket(
                accepted.socket,
                QueueCapacity::new(settings.max_queued_bytes, settings.max_queued_frames),
                0,
            )),
            decoder,
            handler: Some(handler),
            heartbeat: SocketHeartbeat::new(settings),
            stopping: Box::pin(demo.stopping.clone().cancelled_owned()),
            share: MemoryShare::of(demo.memory.clone()),
            close_wait: CloseWait::default(),
            // The handshake may have been followed by messages.
            behind: true,
            _counted: [counted, Counted::new(demo.in_flight.sessions.websocket.clone())],
        });
    }

    fn is_ready(&self) -> bool {
        self.handler.as_ref().is_some_and(|handler| handler.is_ready(&self.send_queue))
    }

    /// Handles received messages while the handler accepts them and the turn lasts. Returns true when none is left, so
    /// that the socket can be read again.
    fn process_messages(&mut self) -> bool {
        let (mut turn, mut bytes) = (DecodeTurn::default(), 0);
        while self.is_ready() && bytes < TURN_BYTES {
            match self.decoder.decode(&mut turn) {
                Ok(None) => return !self.decoder.is_behind(),
                Ok(Some(incoming)) => bytes += self.process(incoming),
                Err(reason) => self.end(reason),
            }
        }
        false
    }

    /// Handles one item from the peer. Returns its size.
    fn process(&mut self, incoming: Incoming) -> usize {
        let (opcode, payload) = match incoming {
            Incoming::Text(payload) => (Opcode::Text, payload),
            Incoming::Binary(payload) => (Opcode::Binary, payload),
            Incoming::Ping(payload) => {
                self.check(check_push(self.send_queue.push_control(&frame(Opcode::Pong, &payload))));
                return payload.len();
            }
            Incoming::Pong => return 0,
            Incoming::Close(code) => {
                self.end(CloseReason::ByPeer(code));
                return 0;
            }
        };
        let size = payload.len();
        let Some(handler) = &mut self.handler else { return 0 };
        let result = handler.handle_message(opcode, payload, &self.send_queue);
        self.check(result);
        size
    }

    /// Handles everything that does not depend on incoming messages.
    fn poll_events(&mut self, context: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else { return };
        let result = handler.poll(&self.send_queue, context);
        self.check(result);
        while let Poll::Ready(event) = self.heartbeat.poll(context) {
            match event {
                // A peer with queued data shows that it is alive by reading it.
                HeartbeatEvent::Ping if !self.send_queue.is_empty() => {}
                HeartbeatEvent::Ping => self.check(check_push(self.send_queue.push_control(&PING))),
                HeartbeatEvent::Silent => return self.end(CloseReason::Silent),
            }
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            self.end(CloseReason::GoingAway);
        }
        if !self.share.hold(self.decoder.held_bytes() + self.send_queue.queued_bytes()) {
            self.end(CloseReason::Busy);
        }
    }

    /// Writes queued data. A peer that reads it is alive, even if it sends nothing.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let waiting = self.send_queue.queued_bytes();
        let flushed = self.send_queue.poll_flush(context)?.is_ready();
        if self.send_queue.queued_bytes() < waiting {
            self.heartbeat.record_activity();
        }
        Ok(flushed)
    }

    fn check(&mut self, outcome: Result<(), CloseReason>) {
        if let Err(reason) = outcome {
            self.end(reason);
        }
    }

    /// Queues a close frame, once. The message handler and received data are dropped immediately, whatever the peer
    /// does next.
    fn end(&mut self, reason: CloseReason) {
        if self.handler.take().is_none() {
            return;
        }
        self.decoder = Decoder::new(0);
        match reason {
            CloseReason::TooSlow | CloseReason::Silent => self.send_queue.abort(reason),
            _ => self.send_queue.close(reason),
        }
    }
}

impl<C: MessageHandler> SocketReader for DemoConnection<C> {
    fn send_queue(&self) -> &Rc<SendQueue> {
        &self.send_queue
    }

    fn receive(&mut self, bytes: &[u8], _: &mut DecodeTurn) {
        self.heartbeat.record_activity();
        self.decoder.feed(bytes);
    }

    /// `process_messages` handles received data, and the socket is not read before that.
    fn is_behind(&self) -> bool {
        false
    }
}

impl<C: MessageHandler> Actor for DemoConnection<C> {
    type Context = SessionContext;
}

impl<C: MessageHandler> Drive for DemoConnection<C> {
    fn drive(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        self.send_queue.register(context);
        let reads = !self.behind;
        let ended = reads && self.poll_read(context)? == Progress::Done;
        // Messages from other actors are sent before the response to messages just received.
        self.poll_events(context);
        self.behind = !self.process_messages() && self.handler.is_some();
        self.poll_events(context);
        let flushed = self.flush(context)?;
        if ended {
            return Ok(Progress::Done);
        }
        if let Some(reason) = self.send_queue.closing() {
            return Ok(self.close_wait.poll(reason, flushed, &self.send_queue, context));
        }
        let may_go_on = if self.behind { self.is_ready() } else { !reads };
        if may_go_on {
            clock::yield_now(context);
        }
        Ok(Progress::More)
    }
}
