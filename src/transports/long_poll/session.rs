//! The actor of one long-poll: it waits for a first event, collects further events for a short time, and responds.

use crate::broker::hub::handle::{AttachRefused, HubHandle};
use crate::protocol::ids::SlotKey;
use crate::protocol::position::Since;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{ResponsePart, SendQueue, Transport};
use crate::telemetry::in_flight::Counted;
use crate::telemetry::recorder::ConnectionEvent;
use actix::{Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, Running, WrapFuture};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How long a poll waits for missed events during shutdown, or when the client has finished sending.
const CATCH_UP_WAIT: Duration = Duration::from_millis(100);

/// How long a poll that another session takes over waits for its empty list. Its client polls again immediately and
/// takes over in turn: without the delay, two pages with one id would keep the server busy.
const TAKE_OVER_WAIT: Duration = Duration::from_secs(1);

/// Owns: its send queue, which collects events.
/// Started by: GET /listen, on the request's thread.
/// Ends: when the kernel has accepted the response, or the client has closed the connection. It then leaves its hub.
/// Mailbox: none; its send queue and its timers wake it.
/// Talks to: its hub (attach, detach).
pub struct PollSession {
    conn_id: Uuid,
    /// What the client has, if it asked for positions.
    since: Option<Arc<Since>>,
    slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    answer: Option<oneshot::Sender<PollAnswer>>,
    collecting: bool,
    /// Another session has taken over, and the response is delayed.
    reply_delayed: bool,
    wait: Duration,
    counted: Option<Counted>,
    /// Its client, until that has finished sending.
    client: Option<Rc<dyn PollClient>>,
    started: Instant,
}

/// The connection of a client that polls.
pub trait PollClient {
    /// Waits until the client has finished sending. The client may have closed the connection, or may wait for its
    /// response.
    fn poll_half_closed(&self, context: &task::Context<'_>) -> Poll<()>;
}

/// The result of a poll.
pub enum PollAnswer {
    /// Events, in a receipt that must be confirmed when the kernel has accepted them.
    Events(Receipt),
    /// The connection is unknown.
    UnknownConnection,
}

/// Represents a poll's response while it is sent, and holds its events. If it is dropped without [`Receipt::confirm`],
/// the events count as not delivered, and the next poll returns them again.
pub struct Receipt {
    hub: HubHandle,
    slot: SlotKey,
    send_queue: Rc<SendQueue>,
    parts: usize,
    _counted: Option<Counted>,
}

/// The events of a response are gone: the server needed their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted;

impl Receipt {
    /// Whether the response contains no events.
    pub fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// The part of the response at this index; `None` after the last one.
    ///
    /// # Errors
    /// `Evicted`; the client receives the events with another poll.
    pub fn part(&self, index: usize) -> Result<Option<ResponsePart>, Evicted> {
        match self.send_queue.part(index) {
            _ if index >= self.parts => Ok(None),
            Some(part) => Ok(Some(part)),
            None => Err(Evicted),
        }
    }

    pub fn parts(&self) -> impl Iterator<Item = ResponsePart> {
        (0..self.parts).map_while(|index| self.send_queue.part(index))
    }

    /// Records that the kernel has accepted the whole response.
    pub fn confirm(self) {
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
    /// Starts a poll. The receiver gets the result; dropping it ends the poll.
    ///
    /// A client that finishes sending gets a response soon, because only writing shows whether it still reads.
    pub fn start(
        conn_id: Uuid,
        since: Option<Arc<Since>>,
        address: Option<IpAddr>,
        client: Option<Rc<dyn PollClient>>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        let wait = Duration::from_millis(hub.settings().poll_wait_ms);
        let counted = hub.count_session(Transport::LongPoll);
        Self::start_for(wait, Some(counted), (conn_id, since), address, client, hub)
    }

    /// Starts a poll during shutdown. It waits only for missed events, and shutdown does not wait for its end.
    pub fn start_during_shutdown(
        conn_id: Uuid,
        since: Option<Arc<Since>>,
        client: Option<IpAddr>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        Self::start_for(CATCH_UP_WAIT, None, (conn_id, since), client, None, hub)
    }

    fn start_for(
        wait: Duration,
        counted: Option<Counted>,
        (conn_id, since): (Uuid, Option<Arc<Since>>),
        address: Option<IpAddr>,
        client: Option<Rc<dyn PollClient>>,
        hub: HubHandle,
    ) -> oneshot::Receiver<PollAnswer> {
        let (answer, receiver) = oneshot::channel();
        let send_queue = SendQueue::poll(hub.queue_bound(), hub.now_ms()).positioned(since.is_some());
        let send_queue = Rc::new(send_queue);
        let slot = hub.open(conn_id, send_queue.clone(), address);
        let (answer, started) = (Some(answer), Instant::now());
        Actor::start(Self {
            conn_id,
            since,
            slot,
            hub,
            send_queue,
            answer,
            collecting: false,
            reply_delayed: false,
            wait,
            counted,
            client,
            started,
        });
        receiver
    }

    fn attach(&mut self, context: &mut Context<Self>) {
        let transport = self.send_queue.transport();
        let request = self.hub.try_attach(self.conn_id, self.slot, transport, self.since.take());
        context.spawn(request.into_actor(self).map(|answer, session, context| match answer {
            Ok(Ok(())) => {}
            Ok(Err(AttachRefused::UnknownConnection)) => {
                if let Some(answer) = session.answer.take() {
                    let _ = answer.send(PollAnswer::UnknownConnection);
                }
                context.stop();
            }
            // The server is stopping: send an empty list, because old clients do not retry after a failed poll.
            Err(_) => session.finish(context),
        }));
    }

    /// The window starts with the first event and does not move, so that a steady flow of events cannot delay a poll.
    fn begin_collecting(&mut self, context: &mut Context<Self>) {
        self.collecting = true;
        let window = Duration::from_millis(self.hub.settings().poll_batch_window_ms);
        context.run_later(window, |session, context| session.finish(context));
    }

    /// A poll that has just begun still receives missed events.
    fn finish_soon(&mut self, context: &mut Context<Self>) {
        self.client = None;
        let wait = CATCH_UP_WAIT.saturating_sub(self.started.elapsed());
        context.run_later(wait, |session, context| match session.reply_delayed {
            // No delay is needed here: this connection sends no further requests.
            true => session.reply(context),
            false => session.finish(context),
        });
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        if self.send_queue.closing() != Some(CloseReason::TakenOver) {
            self.reply(context);
        } else if !std::mem::replace(&mut self.reply_delayed, true) {
            // The session has left its hub already, so its successor does not wait.
            context.run_later(TAKE_OVER_WAIT, |session, context| session.reply(context));
        }
    }

    fn reply(&mut self, context: &mut Context<Self>) {
        // Several events can lead here, but only one response is sent: a second receipt would remove the first one's
        // slot.
        let Some(answer) = self.answer.take() else { return };
        let released = self.send_queue.closing().is_some();
        self.hub.end_response(self.slot);
        self.send_queue.seal();
        // A poll that was closed leaves its events to the next session.
        let parts = if released { 0 } else { self.send_queue.begin_answer() };
        let receipt = Receipt {
            parts,
            hub: self.hub.clone(),
            slot: self.slot,
            send_queue: self.send_queue.clone(),
            _counted: self.counted.as_ref().map(|_| self.hub.count_session(Transport::LongPoll)),
        };
        self.hub.note(self.slot, || {
            let events = receipt.parts().filter(|part| !part.is_rest).count();
            ConnectionEvent::Answered(events, receipt.parts().map(|part| part.bytes.len()).sum())
        });
        // If the receiver is gone, the error returns the receipt unconfirmed, and it is dropped.
        let _ = answer.send(PollAnswer::Events(receipt));
        context.stop();
    }
}

/// Wakes the session when its send queue has content or is closed, or when its client has finished sending or is gone.
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
        let is_closed = session.answer.as_mut().is_some_and(|answer| answer.poll_closed(context).is_ready());
        if is_closed {
            session.hub.close(session.slot, CloseReason::ByPeer(None));
            actor_context.stop();
        } else if session.send_queue.is_sealed() {
            session.finish(actor_context);
        } else if session.send_queue.has_frames() && !session.collecting {
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
        // If a response is being sent, the receipt detaches; otherwise the session does.
        if self.answer.take().is_some() {
            self.hub.detach(self.slot);
        }
        Running::Stop
    }
}
