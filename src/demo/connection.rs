//! The actor of one socket of the demo: all that is about the connection, so that the file of each demo holds only
//! what it does with messages.

use super::Demo;
use super::heartbeat::{Beat, Pulse};
use super::memory_share::Share;
use crate::clock;
use crate::limits::in_flight::Counted;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::decoder::{Decoder, Incoming, Turn};
use crate::protocol::websocket::{Opcode, PING, frame};
use crate::send_queue::{Bound, Outbox, Pushed};
use crate::transports::websocket::context::{Drive, SessionContext, Step, run};
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

/// Bytes of messages that one socket is served in one turn, beside the bounds of [`Turn`].
const TURN_BYTES: usize = 256 << 10;
/// What a conversation has to say in one turn, at most.
pub const TURN_SAID: usize = 64;

/// What a demo does with the messages of one socket.
pub trait Conversation: Unpin + 'static {
    /// Whether the next message may come. While it may not the socket is not read, which the peer will feel.
    fn is_ready(&self, outbox: &Outbox) -> bool;

    /// A whole message came, text or binary.
    ///
    /// # Errors
    /// Why the socket must be closed.
    fn hear(&mut self, opcode: Opcode, payload: Bytes, outbox: &Outbox) -> Result<(), CloseReason>;

    /// Says what it has to say by itself, and registers for what wakes it next.
    ///
    /// # Errors
    /// Why the socket must be closed.
    fn poll(&mut self, _outbox: &Outbox, _context: &mut Context<'_>) -> Result<(), CloseReason> {
        Ok(())
    }
}

/// What became of something that was sent.
///
/// # Errors
/// The peer does not read, or is gone.
pub fn sent(pushed: Pushed) -> Result<(), CloseReason> {
    if pushed == Pushed::Accepted { Ok(()) } else { Err(CloseReason::TooSlow) }
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
/// Owns: the socket (in its outbox), the decoder of what the peer sends, and the conversation.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed, for whatever reason; the conversation ends with the goodbye already.
/// Mailbox: none; it is woken by its socket, its outbox, its pulse, the server's stop and its conversation.
/// Talks to: nobody; its conversation may.
pub struct Connection<C: Conversation> {
    outbox: Rc<Outbox>,
    decoder: Decoder,
    conversation: Option<C>,
    pulse: Pulse,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    share: Share,
    goodbye: Goodbye,
    /// The decoder may hold messages that have not been answered, so nothing more is read.
    behind: bool,
    _counted: [Counted; 2],
}

impl<C: Conversation> Connection<C> {
    /// Starts the actor on this thread. `counted` is its place among the demo's sockets.
    pub fn start(conversation: C, accepted: Accepted<'_>, demo: &Demo, counted: Counted) {
        let settings = &demo.settings;
        let mut decoder = Decoder::new(accepted.max_message).inflating(accepted.deflate);
        decoder.feed(accepted.rest);
        run(Self {
            outbox: Rc::new(Outbox::socket(
                accepted.socket,
                Bound::new(settings.max_queued_bytes, settings.max_queued_frames),
                0,
            )),
            decoder,
            conversation: Some(conversation),
            pulse: Pulse::new(settings),
            stopping: Box::pin(demo.stopping.clone().cancelled_owned()),
            share: Share::of(demo.memory.clone()),
            goodbye: Goodbye::default(),
            // What came with the handshake, if anything did.
            behind: true,
            _counted: [counted, Counted::new(demo.pressure.sessions.clone())],
        });
    }

    fn is_ready(&self) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.is_ready(&self.outbox))
    }

    /// Answers what was heard, as far as the conversation is ready for it and the turn lasts. True when nothing is
    /// left, so that more may be read.
    fn converse(&mut self) -> bool {
        let (mut turn, mut bytes) = (Turn::default(), 0);
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
                self.check(sent(self.outbox.push_control(&frame(Opcode::Pong, &payload))));
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
        let heard = conversation.hear(opcode, payload, &self.outbox);
        self.check(heard);
        size
    }

    /// All that does not wait for the peer's next word.
    fn tend(&mut self, context: &mut Context<'_>) {
        let Some(conversation) = &mut self.conversation else { return };
        let said = conversation.poll(&self.outbox, context);
        self.check(said);
        while let Poll::Ready(beat) = self.pulse.poll(context) {
            match beat {
                // Whoever still has something to take shows by taking it that it is there.
                Beat::Ping if !self.outbox.is_empty() => {}
                Beat::Ping => self.check(sent(self.outbox.push_control(&PING))),
                Beat::Silent => return self.end(CloseReason::Silent),
            }
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            self.end(CloseReason::GoingAway);
        }
        if !self.share.hold(self.decoder.held_bytes() + self.outbox.queued_bytes()) {
            self.end(CloseReason::Busy);
        }
    }

    /// Writes what waits. A peer that takes it is there, even if it has no time to say so.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let waiting = self.outbox.queued_bytes();
        let flushed = self.outbox.poll_flush(context)?.is_ready();
        if self.outbox.queued_bytes() < waiting {
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
            CloseReason::TooSlow | CloseReason::Silent => self.outbox.abort(reason),
            _ => self.outbox.close(reason),
        }
    }
}

impl<C: Conversation> Reads for Connection<C> {
    fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    fn receive(&mut self, bytes: &[u8], _: &mut Turn) {
        self.pulse.hear();
        self.decoder.feed(bytes);
    }

    /// What was read is answered apart, and nothing is read before that.
    fn is_behind(&self) -> bool {
        false
    }
}

impl<C: Conversation> Actor for Connection<C> {
    type Context = SessionContext;
}

impl<C: Conversation> Drive for Connection<C> {
    fn drive(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        self.outbox.register(context);
        let reads = !self.behind;
        let ended = reads && self.poll_read(context)? == Step::Done;
        // What others have told so far goes out before the answer to what was just heard.
        self.tend(context);
        self.behind = !self.converse() && self.conversation.is_some();
        self.tend(context);
        let flushed = self.flush(context)?;
        if ended {
            return Ok(Step::Done);
        }
        if let Some(reason) = self.outbox.closing() {
            return Ok(self.goodbye.poll(reason, flushed, &self.outbox, context));
        }
        let may_go_on = if self.behind { self.is_ready() } else { !reads };
        if may_go_on {
            clock::yield_now(context);
        }
        Ok(Step::More)
    }
}
