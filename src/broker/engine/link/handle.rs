//! The handle with which requesters reach the link.

use super::super::call::{Call, NodeNumber};
use super::super::error::EngineError;
use super::super::reply::Reply;
use super::Ticket;
use super::counters::EngineCounters;
use super::lease::Lease;
use super::liveness::Chore;
use super::seen::Seen;
use super::unit::{Charge, Pending};
use crate::telemetry::engine_health::EngineHealth;
use crate::telemetry::engine_metrics::EngineMetrics;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// The requester of a call.
#[derive(Debug)]
pub enum Owner {
    /// The registry.
    Ticket(Ticket),
    /// The reply is not needed.
    None,
    /// A task that waits.
    Waiter(oneshot::Sender<Result<Reply, EngineError>>),
    /// The link itself.
    Link(Chore),
    /// The health of the node: the call is behind everything that the registry states first.
    Health,
}

/// What the link receives.
#[derive(Debug)]
pub enum ToLink {
    Call(Call, Owner, Charge),
    /// A call that was not accepted.
    Refused(Owner),
    /// The registry has queued everything that it states after the node joined with this number.
    Restated(NodeNumber),
    Info(String),
    Leave(oneshot::Sender<()>),
}

/// What the handles and the link share.
#[derive(Debug, Default)]
pub struct Shared {
    pub pending: Arc<Pending>,
    pub seen: Arc<Seen>,
    pub counters: Arc<EngineCounters>,
    pub health: EngineHealth,
    pub lease: Arc<Lease>,
}

/// The way of requests to Redis. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// The queue has no bound, because `pending` has one.
    link: UnboundedSender<ToLink>,
    shared: Arc<Shared>,
    pending_limit: usize,
}

pub fn open(pending_limit: usize) -> (LinkHandle, UnboundedReceiver<ToLink>) {
    let (link, inbox) = unbounded_channel();
    (LinkHandle { link, shared: Arc::default(), pending_limit }, inbox)
}

impl LinkHandle {
    /// Runs a call and waits for its reply, behind all calls that this thread sent before.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]. They come within the timeout of the settings.
    pub async fn call(&self, call: Call) -> Result<Reply, EngineError> {
        let charge = self.shared.pending.charge(&call, self.pending_limit).ok_or(EngineError::Unavailable)?;
        let (waiter, reply) = oneshot::channel();
        let sent = self.link.send(ToLink::Call(call, Owner::Waiter(waiter), charge));
        sent.map_err(|_| EngineError::Unavailable)?;
        reply.await.unwrap_or(Err(EngineError::Unavailable))
    }

    /// Runs a call. The registry receives the reply in order with the mail.
    pub fn send(&self, call: Call, ticket: Ticket) {
        self.queue(call, Owner::Ticket(ticket));
    }

    /// Runs a call whose reply is not needed. It may fail.
    pub fn send_unanswered(&self, call: Call) {
        self.queue(call, Owner::None);
    }

    fn queue(&self, call: Call, owner: Owner) {
        self.notify(match self.shared.pending.charge(&call, self.pending_limit) {
            Some(charge) => ToLink::Call(call, owner, charge),
            None => ToLink::Refused(owner),
        });
    }

    /// The registry calls this when it has received `Joined` with this number and has queued all that it states then.
    /// Before that, what the node has stated under its earlier numbers is not removed, so that no user parts.
    pub fn restated(&self, node: NodeNumber) {
        self.notify(ToLink::Restated(node));
    }

    /// Sets what other nodes show of this one, as JSON. It is sent with the next beat.
    pub fn set_info(&self, info: String) {
        self.notify(ToLink::Info(info));
    }

    /// Sends what is queued, lets the members of the node stay for a while, and ends the link, all within the timeout of a
    /// call.
    pub async fn leave(&self) {
        let (done, is_done) = oneshot::channel();
        self.notify(ToLink::Leave(done));
        // An error means that the link has ended already.
        let _ = is_done.await;
    }

    /// Where the registry notes the stamps of the entries that it has applied.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.shared.seen
    }

    pub fn counters(&self) -> &Arc<EngineCounters> {
        &self.shared.counters
    }

    pub fn health(&self) -> &EngineHealth {
        &self.shared.health
    }

    /// Whether this node may answer from its copies.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.shared.lease
    }

    /// The figures of the link now.
    pub fn metrics(&self) -> EngineMetrics {
        self.shared.counters.metrics(self.pending_bytes())
    }

    /// The bytes of calls that were not answered yet.
    pub fn pending_bytes(&self) -> u64 {
        self.shared.pending.bytes()
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// An error means that the link has ended, because the process ends.
    fn notify(&self, message: ToLink) {
        let _ = self.link.send(message);
    }
}
