//! The actor of one long-poll: it waits for a first event, collects for a moment, and answers.

use crate::broker::hub::handle::HubHandle;
use crate::broker::hub::messages::{AttachRefused, Transport};
use crate::protocol::ids::SlotKey;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{ResponsePart, SendQueue};
use crate::telemetry::in_flight::Counted;
use crate::telemetry::recorder::ConnectionEvent;
use actix::{Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, Running, WrapFuture};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How long a poll waits for what its client has missed, when the server stops or the client has finished sending.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// How long a poll that another session takes over waits for its empty list. Its client polls again at once, and takes
/// over in turn: two pages with one id would keep the server busy with nothing else.
const TAKEN_OVER_WAIT: Duration = Duration::from_secs(1);

/// The poll session.
///
/// Owns: nothing but its send queue, which collects events.
/// Started by: GET /listen, on the request's thread.
/// Ends: when the answer has been taken by the kernel, or the client has hung up; then it is gone from its hub.
/// Mailbox: none of its own; it is woken by its send queue and by its timers.
/// Talks to: its hub (attach, detach).
pub struct PollSession {
    conn_id: Uuid,
    slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    answer: Option<oneshot::Sender<PollAnswer>>,
    collecting: bool,
    /// Another session has taken over, and the answer waits.
    held_back: bool,
    wait: Duration,
    counted: Option<Counted>,
    /// Its client, until it has finished sending.
    client: Option<Rc<dyn PollClient>>,
    started: Instant,
}

/// The connection of a client that polls.
pub trait PollClient {
    /// Waits until the client has finished sending. It may have hung up, or it may wait for its answer.
    fn poll_half_closed(&self, context: &task::Context<'_>) -> Poll<()>;
}

/// What a poll is answered with.
pub enum PollAnswer {
    /// Events, in the receipt that is to be given back when the kernel has them.
    Events(Receipt),
    /// No such connection.
    UnknownConnection,
}

/// Stands for a poll's answer on its way, and holds its events. Dropped without [`Receipt::sign`], the events count as not delivered,
/// and the next poll brings them again.
pub struct Receipt {
    hub: HubHandle,
    slot: SlotKey,
    send_queue: Rc<SendQueue>,
    parts: usize,
    _counted: Option<Counted>,
}

/// The events of an answer are gone: the server wanted their memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn;

impl Receipt {
    /// Whether the answer has no event.
    pub fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// The part of the answer at this place; `None` behind the last one.
    ///
    /// # Errors
    /// `Withdrawn`; the client gets the events with another poll.
    pub fn part(&self, index: usize) -> Result<Option<ResponsePart>, Withdrawn> {
        match self.send_queue.part(index) {
            _ if index >= self.parts => Ok(None),
            Some(part) => Ok(Some(part)),
            None => Err(Withdrawn),
        }
    }

    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = ResponsePart> {
        (0..self.parts).map_while(|index| self.send_queue.part(index))
    }

    /// The kernel has taken the whole answer.
    pub fn sign(self) {
        self.hub.note(self.slot, || ConnectionEvent::Taken(true));
        self.send_queue.clear();
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.send_queue.is_empty() {
            self.hub.note(self.slot, || ConnectionEvent::Taken(false));
        }
        self.hub.detach(self.slot);
    }
}

impl PollSession {
    /// Starts a poll. The receiver gets the answer; dropping it ends the poll.
    ///
    /// A client that finishes sending is answered soon: whether it still reads is known when it has got something.
    pub fn start(
        conn_id: Uuid,
        address: Option<IpAddr>,
        client: Option<Rc<dyn PollClient>>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        let wait = Duration::from_millis(hub.settings().poll_wait_ms);
        let counted = hub.count_session();
        Self::start_for(wait, Some(counted), conn_id, address, client, hub)
    }

    /// Starts a poll while the server stops: it waits for nothing but what its client has missed, and nobody waits
    /// for its end.
    pub fn start_last(
        conn_id: Uuid,
        client: Option<IpAddr>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        Self::start_for(LAST_WAIT, None, conn_id, client, None, hub)
    }

    fn start_for(
        wait: Duration,
        counted: Option<Counted>,
        conn_id: Uuid,
        address: Option<IpAddr>,
        client: Option<Rc<dyn PollClient>>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        let (answer, receiver) = oneshot::channel();
        let send_queue = Rc::new(SendQueue::poll(hub.queue_bound(), hub.now_ms()));
        let slot = hub.open(conn_id, Transport::LongPoll, send_queue.clone(), address);
        let (answer, started) = (Some(answer), Instant::now());
        Actor::start(Self {
            conn_id,
            slot,
            hub,
            send_queue,
            answer,
            collecting: false,
            held_back: false,
            wait,
            counted,
            client,
            started,
        });
        receiver
    }

    fn attach(&self, context: &mut Context<Self>) {
        let asked = self.hub.attach_poll(self.conn_id, self.slot);
        context.spawn(asked.into_actor(self).map(|answer, session, context| match answer {
            Ok(Ok(())) => {}
            Ok(Err(AttachRefused::UnknownConnection)) => {
                if let Some(answer) = session.answer.take() {
                    let _ = answer.send(PollAnswer::UnknownConnection);
                }
                context.stop();
            }
            // The server stops: an empty list, for a failed poll is never tried again by old clients.
            Err(_) => session.finish(context),
        }));
    }

    /// The window opens with the first event and does not move: a steady flow never starves a poll.
    fn begin_collecting(&mut self, context: &mut Context<Self>) {
        self.collecting = true;
        let window = Duration::from_millis(self.hub.settings().poll_batch_window_ms);
        context.run_later(window, |session, context| session.finish(context));
    }

    /// What the client has missed is on its way to a poll that has just begun.
    fn finish_soon(&mut self, context: &mut Context<Self>) {
        self.client = None;
        let wait = LAST_WAIT.saturating_sub(self.started.elapsed());
        context.run_later(wait, |session, context| match session.held_back {
            // There is no loop to slow down: this connection asks for nothing more.
            true => session.reply(context),
            false => session.finish(context),
        });
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        if self.send_queue.closing() != Some(CloseReason::TakenOver) {
            self.reply(context);
        } else if !std::mem::replace(&mut self.held_back, true) {
            // Gone from its hub already, so that its successor does not wait.
            context.run_later(TAKEN_OVER_WAIT, |session, context| session.reply(context));
        }
    }

    fn reply(&mut self, context: &mut Context<Self>) {
        // Told twice, answered once: a second receipt would take the first one's slot away.
        let Some(answer) = self.answer.take() else { return };
        let released = self.send_queue.closing().is_some();
        self.send_queue.seal();
        // A poll that was told to go leaves its events to whoever comes next.
        let parts = if released { 0 } else { self.send_queue.begin_answer() };
        let receipt = Receipt {
            parts,
            hub: self.hub.clone(),
            slot: self.slot,
            send_queue: self.send_queue.clone(),
            _counted: self.counted.as_ref().map(|_| self.hub.count_session()),
        };
        self.hub.note(self.slot, || {
            let events = receipt.parts().filter(|part| !part.is_rest).count();
            ConnectionEvent::Answered(events, receipt.parts().map(|part| part.bytes.len()).sum())
        });
        // If nobody listens any more, the receipt comes back unsigned with the error, and is dropped.
        let _ = answer.send(PollAnswer::Events(receipt));
        context.stop();
    }
}

/// Wakes the session when its send queue has something, is closed, or its client has finished sending or is gone.
struct PollWakeUps;

impl ActorFuture<PollSession> for PollWakeUps {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut PollSession,
        actor_context: &mut Context<PollSession>,
        context: &mut task::Context<'_>,
    ) -> Poll<()> {
        session.send_queue.register(context);
        let hung_up = session.answer.as_mut().is_some_and(|answer| answer.poll_closed(context).is_ready());
        if hung_up {
            session.hub.close(session.slot, CloseReason::ByPeer(None));
            actor_context.stop();
        } else if session.send_queue.is_sealed() {
            session.finish(actor_context);
        } else if !session.send_queue.is_empty() && !session.collecting {
            session.begin_collecting(actor_context);
        }
        if session.client.as_ref().is_some_and(|client| client.poll_half_closed(context).is_ready()) {
            session.finish_soon(actor_context);
        }
        Poll::Pending
    }
}

impl Actor for PollSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.attach(context);
        context.spawn(PollWakeUps);
        context.run_later(self.wait, |session, context| {
            if !session.collecting {
                session.finish(context);
            }
        });
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        // With an answer on its way the receipt detaches; without one nobody else does.
        if self.answer.take().is_some() {
            self.hub.detach(self.slot);
        }
        Running::Stop
    }
}
