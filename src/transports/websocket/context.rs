//! The context of an actor that is driven only by its socket: a life cycle without a mailbox.
//!
//! actix's own `Context` contains a mailbox and lists of futures: about 500 bytes for each session that does not use
//! them. With ten thousand idle sessions that is a third of all memory.

use actix::{Actor, ActorContext, ActorState};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{self, Poll};

/// The life cycle of a session.
#[derive(Debug)]
pub struct SessionContext {
    state: ActorState,
}

impl ActorContext for SessionContext {
    fn stop(&mut self) {
        if self.state.alive() {
            self.state = ActorState::Stopping;
        }
    }

    fn terminate(&mut self) {
        self.state = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.state
    }
}

/// The result of one turn of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The session waits for its next event.
    More,
    /// The session has ended.
    Done,
}

/// An actor that is driven by its own events.
pub trait Drive: Actor<Context = SessionContext> + Unpin + Sized {
    /// Runs one turn, and registers for the next wake-up.
    ///
    /// # Errors
    /// The socket's errors; the session ends.
    fn drive(&mut self, context: &mut task::Context<'_>) -> io::Result<Progress>;
}

/// Starts an actor on this thread.
pub fn run<A: Drive>(actor: A) {
    actix_rt::spawn(Life { actor, context: SessionContext { state: ActorState::Started } });
}

struct Life<A: Drive> {
    actor: A,
    context: SessionContext,
}

impl<A: Drive> Future for Life<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task_context: &mut task::Context<'_>) -> Poll<()> {
        let Self { actor, context } = self.get_mut();
        if context.state == ActorState::Started {
            context.state = ActorState::Running;
            actor.started(context);
        }
        if matches!(actor.drive(task_context), Ok(Progress::Done) | Err(_)) {
            context.stop();
        }
        if context.state == ActorState::Running {
            return Poll::Pending;
        }
        actor.stopping(context);
        context.state = ActorState::Stopped;
        actor.stopped(context);
        Poll::Ready(())
    }
}
