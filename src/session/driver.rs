//! Drives a websocket session: reads when there is something, writes what waits when there is room.

use super::websocket::WebsocketSession;
use crate::wire::websocket::close::CloseReason;
use actix::{ActorContext, ActorFuture, Context};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{self, Poll};

/// Reads of one socket in one turn at most, so that a flood from one peer leaves the others their turn.
const READS: usize = 8;
const SCRATCH_BYTES: usize = 16 << 10;

thread_local! {
    /// Where sockets are read into: one for the thread, so that idle sessions hold none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The session's own future: never done before the session is.
pub struct Driver;

enum Read {
    Some,
    Nothing,
    End,
}

fn read(session: &mut WebsocketSession) -> io::Result<Read> {
    let outbox = session.outbox().clone();
    let Some(socket) = outbox.stream() else { return Ok(Read::End) };
    SCRATCH.with_borrow_mut(|scratch| match socket.try_read(scratch) {
        Ok(0) => Ok(Read::End),
        Ok(count) => {
            // Whatever a peer still says after the goodbye no longer matters.
            if outbox.closing().is_none() {
                session.receive(&scratch[..count]);
            } else if has_close_frame(&scratch[..count]) {
                return Ok(Read::End);
            }
            Ok(Read::Some)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
        Err(error) => Err(error),
    })
}

/// Whether a read begins with a close frame: the usual answer to ours. If it is hidden behind something else, the
/// end of the socket or the time limit will do.
fn has_close_frame(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x88)
}

fn poll_read(session: &mut WebsocketSession, context: &mut task::Context<'_>) -> io::Result<Read> {
    for _ in 0..READS {
        let outbox = session.outbox().clone();
        let Some(socket) = outbox.stream() else { return Ok(Read::End) };
        match socket.poll_read_ready(context) {
            Poll::Pending => return Ok(Read::Nothing),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Ready(Ok(())) => match read(session)? {
                Read::End => return Ok(Read::End),
                Read::Some | Read::Nothing => {}
            },
        }
    }
    context.waker().wake_by_ref();
    Ok(Read::Some)
}

impl ActorFuture<WebsocketSession> for Driver {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut WebsocketSession,
        actor_context: &mut Context<WebsocketSession>,
        context: &mut task::Context<'_>,
    ) -> Poll<()> {
        session.outbox().register(context);
        match poll_read(session, context) {
            Ok(Read::End) | Err(_) => {
                actor_context.stop();
                return Poll::Ready(());
            }
            Ok(_) => {}
        }
        let flushed = session.outbox().poll_flush(context);
        let broken = matches!(flushed, Poll::Ready(Err(_)));
        match session.outbox().closing() {
            Some(reason) if is_final(reason, flushed.is_ready()) => actor_context.stop(),
            _ if broken => actor_context.stop(),
            Some(_) => session.begin_leaving(actor_context),
            None => {}
        }
        Poll::Pending
    }
}

/// After our answer to the peer's goodbye, and towards a peer that does not read, there is nothing to wait for.
fn is_final(reason: CloseReason, flushed: bool) -> bool {
    match reason {
        CloseReason::ByPeer(_) => flushed,
        CloseReason::TooSlow | CloseReason::Silent => true,
        _ => false,
    }
}
