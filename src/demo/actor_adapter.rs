//! actix-web-actors on a socket that was taken over.
//!
//! Its `WebsocketContext` is a stream of bytes made from a stream of bytes. In a stock application HTTP polls it as
//! the body of an answer, and stops polling when the peer stops reading: the actor freezes, timers and all. Here the
//! connection polls it whatever the peer does, and bounds what waits for the peer.
//!
//! Messages come to the actor whole, within their limit and as valid UTF-8, for the server's own decoder has read
//! them; pings, pongs and close frames do not come at all, the connection has dealt with them.

use super::connection::{MessageHandler, TURN_SAID, sent};
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

/// Largest message that an actor takes, in bytes: what the codec of actix takes for a frame by default.
pub const MAX_MESSAGE: usize = 64 << 10;

/// The frame that the actor takes next.
type Next = Rc<RefCell<Option<Bytes>>>;

/// An actor at one socket.
pub struct ActorAdapter {
    actor: Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::Error>>>>,
    next: Next,
    lane: Arc<ClientQueue>,
}

impl ActorAdapter {
    /// Starts the actor; dropping the bridge stops it. `lane` is the way on which others speak to it.
    pub fn new<A>(actor: A, lane: Arc<ClientQueue>) -> Self
    where
        A: Actor<Context = WebsocketContext<A>> + StreamHandler<Result<Message, ProtocolError>>,
    {
        let next = Next::default();
        let codec = Codec::new().max_size(MAX_MESSAGE);
        Self { actor: Box::pin(WebsocketContext::with_codec(actor, frames(next.clone()), codec)), next, lane }
    }
}

/// What the actor reads. It needs no waker: it is only asked by the task that fills it, right afterwards.
fn frames(next: Next) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::poll_fn(move |_| match next.take() {
        Some(frame) => Poll::Ready(Some(Ok(frame))),
        None => Poll::Pending,
    })
}

/// As a browser would have sent it.
fn masked(opcode: Opcode, payload: &[u8]) -> Bytes {
    let opcode = if opcode == Opcode::Text { OpCode::Text } else { OpCode::Binary };
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, payload, opcode, true, true);
    frame.freeze()
}

impl MessageHandler for ActorAdapter {
    /// An actor that waits for another one takes no message meanwhile.
    fn is_ready(&self, _: &SendQueue) -> bool {
        self.next.borrow().is_none()
    }

    fn hear(&mut self, opcode: Opcode, payload: Bytes, _: &SendQueue) -> Result<(), CloseReason> {
        self.next.replace(Some(masked(opcode, &payload)));
        Ok(())
    }

    fn poll(&mut self, send_queue: &SendQueue, context: &mut Context<'_>) -> Result<(), CloseReason> {
        if self.lane.is_evicted() {
            return Err(CloseReason::TooSlow);
        }
        for _ in 0..TURN_SAID {
            match self.actor.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => sent(send_queue.push_control(&bytes))?,
                // The actor has stopped.
                Poll::Ready(Some(Err(_)) | None) => return Err(CloseReason::Ended),
                Poll::Pending => return Ok(()),
            }
        }
        clock::yield_now(context);
        Ok(())
    }
}
