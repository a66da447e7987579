//! The actor of one socket of the demo: all that is about the connection, so that the file of each demo holds only
//! what it does with messages.

use super::Demo;
use super::heartbeat::{Beat, SocketHeartbeat};
use super::memory_share::MemoryShare;
use crate::clock;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::decoder::{DecodeTurn, Decoder, Incoming};
use crate::protocol::websocket::{Opcode, PING, frame};
use crate::send_queue::{PushResult, QueueCapacity, SendQueue};
use crate::telemetry::in_flight::Counted;
use crate::transports::websocket::context::{Drive, Progress, SessionContext, run};
use crate::transports::websocket::goodbye::Goodbye;
use crate::transports::websocket::reading::Reads;
use actix::Actor;
use bytes::Bytes;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Bytes of messages that one socket is served in one turn, beside the bounds of [`DecodeTurn`].
const TURN_BYTES: usize = 256 << 10;
/// What a conversation has to say in one turn, at most.
pub const TURN_SAID: usize = 64;

/// What a demo does with the messages of one socket.
pub trait MessageHandler: Unpin + 'static {
    /// Whether the next message may come. While it may not the socket is not read, which the peer will feel.
    fn is_ready(&self, send_queue: &SendQueue) -> bool;

    /// A whole message came, text or binary.
    ///
    /// # Errors
    /// Why the socket must be closed.
    fn hear(&mut self, opcode: Opcode, payload: Bytes, send_queue: &SendQueue) -> Result<(), CloseReason>;

    /// Says what it has to say by itself, and registers for what wakes it next.
    ///
    /// # Errors
    /// Why the socket must be closed.
    fn poll(&mut self, _outbox: &SendQueue, _context: &mut Context<'_>) -> Result<(), CloseReason> {
        Ok(())
    }
}

/// What became of something that was sent.
///
/// # Errors
/// The peer does not read, or is gone.
pub fn sent(pushed: PushResult) -> Result<(), CloseReason> {
    if pushed == PushResult::Accepted { Ok(()) } else { Err(CloseReason::TooSlow) }
}

/// A socket whose handshake is done.
pub struct Accepted<'a> {
    /// The socket.
    pub socket: TcpStream,
    /// What came right behind the handshake.
    pub rest: &'a [u8],
    /// Largest message that is taken, in bytes.
    pub max_message: usize,
    /// Compressed messages were agreed on.
    pub deflate: bool,
}

/// A demo's socket.
///
/// Owns: the socket (in its send queue), the decoder of what the peer sends, and the conversation.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed, for whatever reason; the conversation ends with the goodbye already.
/// Mailbox: none; it is woken by its socket, its send queue, its pulse, the server's stop and its conversation.
/// Talks to: nobody; its conversation may.
pub struct DemoConnection<C: MessageHandler> {
    send_queue: Rc<SendQueue>,
    decoder: Decoder,
    conversation: Option<C>,
    pulse: SocketHeartbeat,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    share: MemoryShare,
    goodbye: Goodbye,
    /// The decoder may hold messages that have not been answered, so nothing more is read.
    behind: bool,
    _counted: [Counted; 2],
}

impl<C: MessageHandler> DemoConnection<C> {
    /// Starts the actor on this thread. `counted` is its place among the demo's sockets.
    pub fn start(conversation: C, accepted: Accepted<'_>, demo: &Demo, counted: Counted) {
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
            conversation: Some(conversation),
            pulse: SocketHeartbeat::new(settings),
            stopping: Box::pin(demo.stopping.clone().cancelled_owned()),
            share: MemoryShare::of(demo.memory.clone()),
            goodbye: Goodbye::default(),
            // What came with the handshake, if anything did.
            behind: true,
            _counted: [counted, Counted::new(demo.in_flight.sessions.clone())],
        });
    }

    fn is_ready(&self) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.is_ready(&self.send_queue))
    }

    /// Answers what was heard, as far as the conversation is ready for it and the turn lasts. True when nothing is
    /// left, so that more may be read.
    fn converse(&mut self) -> bool {
        let (mut turn, mut bytes) = (DecodeTurn::default(), 0);
        while self.is_ready() && bytes < TURN_BYTES {
            match self.decoder.decode(&mut turn) {
                Ok(None) => return !self.decoder.is_behind(),
                Ok(Some(incoming)) => bytes += self.take(incoming),
                Err(reason) => self.end(reason),
            }
        }
        false
    }

    /// Takes one thing that the peer said; tells its size.
    fn take(&mut self, incoming: Incoming) -> usize {
        let (opcode, payload) = match incoming {
            Incoming::Text(payload) => (Opcode::Text, payload),
            Incoming::Binary(payload) => (Opcode::Binary, payload),
            Incoming::Ping(payload) => {
                self.check(sent(self.send_queue.push_control(&frame(Opcode::Pong, &payload))));
                return payload.len();
            }
            Incoming::Pong => return 0,
            Incoming::Close(code) => {
                self.end(CloseReason::ByPeer(code));
                return 0;
            }
        };
        let size = payload.len();
        let Some(conversation) = &mut self.conversation else { return 0 };
        let heard = conversation.hear(opcode, payload, &self.send_queue);
        self.check(heard);
        size
    }

    /// All that does not wait for the peer's next word.
    fn tend(&mut self, context: &mut Context<'_>) {
        let Some(conversation) = &mut self.conversation else { return };
        let said = conversation.poll(&self.send_queue, context);
        self.check(said);
        while let Poll::Ready(beat) = self.pulse.poll(context) {
            match beat {
                // Whoever still has something to take shows by taking it that it is there.
                Beat::Ping if !self.send_queue.is_empty() => {}
                Beat::Ping => self.check(sent(self.send_queue.push_control(&PING))),
                Beat::Silent => return self.end(CloseReason::Silent),
            }
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            self.end(CloseReason::GoingAway);
        }
        if !self.share.hold(self.decoder.held_bytes() + self.send_queue.queued_bytes()) {
            self.end(CloseReason::Busy);
        }
    }

    /// Writes what waits. A peer that takes it is there, even if it has no time to say so.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let waiting = self.send_queue.queued_bytes();
        let flushed = self.send_queue.poll_flush(context)?.is_ready();
        if self.send_queue.queued_bytes() < waiting {
            self.pulse.hear();
        }
        Ok(flushed)
    }

    fn check(&mut self, outcome: Result<(), CloseReason>) {
        if let Err(reason) = outcome {
            self.end(reason);
        }
    }

    /// Says goodbye, once. The conversation and what was heard are let go at once, whatever the peer does next.
    fn end(&mut self, reason: CloseReason) {
        if self.conversation.take().is_none() {
            return;
        }
        self.decoder = Decoder::new(0);
        match reason {
            CloseReason::TooSlow | CloseReason::Silent => self.send_queue.abort(reason),
            _ => self.send_queue.close(reason),
        }
    }
}

impl<C: MessageHandler> Reads for DemoConnection<C> {
    fn send_queue(&self) -> &Rc<SendQueue> {
        &self.send_queue
    }

    fn receive(&mut self, bytes: &[u8], _: &mut DecodeTurn) {
        self.pulse.hear();
        self.decoder.feed(bytes);
    }

    /// What was read is answered apart, and nothing is read before that.
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
        // What others have told so far goes out before the answer to what was just heard.
        self.tend(context);
        self.behind = !self.converse() && self.conversation.is_some();
        self.tend(context);
        let flushed = self.flush(context)?;
        if ended {
            return Ok(Progress::Done);
        }
        if let Some(reason) = self.send_queue.closing() {
            return Ok(self.goodbye.poll(reason, flushed, &self.send_queue, context));
        }
        let may_go_on = if self.behind { self.is_ready() } else { !reads };
        if may_go_on {
            clock::yield_now(context);
        }
        Ok(Progress::More)
    }
}
