//! Runs an actor of actix-web-actors on a socket that the server has taken over.
//!
//! `WebsocketContext` converts a stream of bytes to a stream of bytes. In an ordinary application, HTTP polls it as the
//! body of a response and stops when the peer stops reading. The actor then freezes, including its timers. Here the
//! connection always polls it, and limits the data queued for the peer.
//!
//! The actor receives whole messages within their limit and in valid UTF-8, because the server's own decoder has read
//! them. It receives no pings, pongs and close frames, because the connection handles them.

use super::connection::{MAX_SENT_PER_TURN, MessageHandler, check_push};
use super::subscribers::ClientQueue;
use crate::clock;
use crate::protocol::websocket::Opcode;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::SendQueue;
use actix::{Actor, StreamHandler};
use actix_http::error::PayloadError;
use actix_http::ws::{Codec, OpCode, Parser};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Maximum size of a message for an actor, in bytes: the default frame limit of actix's codec.
pub const MAX_MESSAGE: usize = 64 << 10;

/// The next frame for the actor.
type NextFrame = Rc<RefCell<Option<Bytes>>>;

/// Runs the actor of one socket.
pub struct ActorAdapter {
    actor: Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::Error>>>>,
    next: NextFrame,
    queue: Arc<ClientQueue>,
}

impl ActorAdapter {
    /// Starts the actor; dropping the adapter stops it. `queue` counts the messages that other actors send to it.
    pub fn new<A>(actor: A, queue: Arc<ClientQueue>) -> Self
    where
        A: Actor<Context = WebsocketContext<A>> + StreamHandler<Result<Message, ProtocolError>>,
    {
        let next = NextFrame::default();
        let codec = Codec::new().max_size(MAX_MESSAGE);
        Self {
            actor: Box::pin(WebsocketContext::with_codec(actor, frames(next.clone()), codec)),
            next,
            queue,
        }
    }
}

/// The actor's input. It needs no waker: only the task that fills it polls it, immediately afterwards.
fn frames(next: NextFrame) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::poll_fn(move |_| match next.take() {
        Some(frame) => Poll::Ready(Some(Ok(frame))),
        None => Poll::Pending,
    })
}

/// The frame in the form that a browser sends.
fn masked(opcode: Opcode, payload: &[u8]) -> Bytes {
    let opcode = if opcode == Opcode::Text { OpCode::Text } else { OpCode::Binary };
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, payload, opcode, true, true);
    frame.freeze()
}

impl MessageHandler for ActorAdapter {
    /// An actor that waits for another one does not accept a message.
    fn is_ready(&self, _: &SendQueue) -> bool {
        self.next.borrow().is_none()
    }

    fn handle_message(&mut self, opcode: Opcode, payload: Bytes, _: &SendQueue) -> Result<(), CloseReason> {
        self.next.replace(Some(masked(opcode, &payload)));
        Ok(())
    }

    fn poll(&mut self, send_queue: &SendQueue, context: &mut Context<'_>) -> Result<(), CloseReason> {
        if self.queue.is_evicted() {
            return Err(CloseReason::TooSlow);
        }
        for _ in 0..MAX_SENT_PER_TURN {
            match self.actor.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => check_push(send_queue.push_control(&bytes))?,
                // The actor has stopped.
                Poll::Ready(Some(Err(_)) | None) => return Err(CloseReason::Ended),
                Poll::Pending => return Ok(()),
            }
        }
        clock::yield_now(context);
        Ok(())
    }
}
