//! Requests of a node whose decisions Redis makes. Each makes current on this node what it needs, then runs in the
//! registry as on a single server, then waits until Redis knows what has changed.

mod channels;
mod connections;
pub mod listing;
mod moving;
mod publishing;
mod tokens;
mod users;

use super::BrokerHandle;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::LinkHandle;
use crate::broker::registry::Registry;
use crate::broker::registry::messages::Ask;
use crate::http_error::Refusal;
use actix::Addr;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A request of this node, and the way to Redis.
#[derive(Clone, Copy)]
pub(super) struct ClusterRequest<'a> {
    broker: &'a BrokerHandle,
    link: &'a LinkHandle,
}

/// The streams that a request needs. They stay current at least until this is dropped.
pub(super) struct HeldStreams {
    registry: Addr<Registry>,
    keys: Vec<Arc<str>>,
}

impl Drop for HeldStreams {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        self.registry.do_send(Ask(move |registry: &mut Registry, _: &mut _| registry.release_streams(&keys)));
    }
}

/// A connection that a request creates or brings. The request is over when this is dropped, also if its client has hung up.
pub(super) struct ComingConnection {
    registry: Addr<Registry>,
    conn_id: Uuid,
    request: Uuid,
    /// What the request may have claimed in Redis is given up by this call, unless the connection is here in the end.
    give_up: Option<Call>,
}

impl Drop for ComingConnection {
    fn drop(&mut self) {
        let (conn_id, request, give_up) = (self.conn_id, self.request, self.give_up.take());
        let end = move |registry: &mut Registry, _: &mut _| registry.end_coming(conn_id, request, give_up);
        self.registry.do_send(Ask(end));
    }
}

impl BrokerHandle {
    /// The way to Redis, if Redis decides.
    pub(super) fn cluster(&self) -> Option<ClusterRequest<'_>> {
        self.actors.link.as_ref().map(|link| ClusterRequest { broker: self, link })
    }
}

impl ClusterRequest<'_> {
    /// Makes streams current. A channel that does not exist is left out.
    async fn hold(&self, keys: Vec<Arc<str>>) -> Result<HeldStreams, Refusal> {
        let (waiter, current) = oneshot::channel();
        let held = HeldStreams { registry: self.broker.actors.registry.clone(), keys: keys.clone() };
        self.broker.ask(move |registry, _| registry.hold_streams(&keys, waiter)).await?;
        self.wait(current).await?;
        Ok(held)
    }

    fn coming(&self, conn_id: Uuid, request: Uuid) -> ComingConnection {
        let registry = self.broker.actors.registry.clone();
        ComingConnection { registry, conn_id, request, give_up: None }
    }

    /// Waits until Redis knows the members that this node has now. Without Redis the node has them nevertheless, and states
    /// them later.
    async fn settle(&self) -> Result<(), Refusal> {
        let (waiter, settled) = oneshot::channel();
        self.broker.ask(move |registry, _| registry.settle(waiter)).await?;
        self.wait(settled).await.map_err(|refused| match refused {
            Refusal::EngineUnavailable => Refusal::EngineTimeout { was_sent: true },
            refused => refused,
        })
    }

    /// Waits for the registry's word, at most as long as a call may take.
    async fn wait(&self, word: oneshot::Receiver<Result<(), EngineError>>) -> Result<(), Refusal> {
        let limit = std::time::Duration::from_millis(self.broker.settings.engine_timeout_ms);
        match tokio::time::timeout(limit, word).await {
            Ok(Ok(result)) => Ok(result?),
            // The registry has stopped.
            Ok(Err(_)) => Err(Refusal::Draining),
            Err(_) => Err(EngineError::Timeout { was_sent: true }.into()),
        }
    }
}
