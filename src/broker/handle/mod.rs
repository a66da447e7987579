//! The handle to the broker: the only way from HTTP to the actors.

mod admission;
pub mod agreement;
pub mod cluster;
pub mod listing;
pub mod node_list;
pub mod nodes;
mod requests;
pub mod totals;

use super::batched_mailbox::MailboxSender;
use super::channel::Hubs;
use super::drain::Drain;
use super::engine::call::Call;
use super::engine::error::EngineError;
use super::engine::link::LinkHandle;
use super::registry::Registry;
use super::registry::messages::{Ask, Publish};
use crate::config::Settings;
use crate::http_error::Refusal;
use crate::limits::addresses::Addresses;
use crate::limits::rate::PublishRates;
use crate::limits::responses::Responses;
use crate::limits::unauthenticated::UnauthenticatedBodies;
use crate::telemetry::Counters;
use crate::telemetry::causes::TokenCause;
use crate::telemetry::engine_health::EngineHealth;
use crate::telemetry::engine_metrics::EngineMetrics;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::recorder::{ConnectionEvent, Recorder};
use crate::telemetry::thread_health::ThreadHealth;
use actix::{Addr, Context};
pub use admission::address_refusal;
use node_list::NodeViews;
use nodes::Nodes;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// The actors of this process.
pub struct Actors {
    registry: Addr<Registry>,
    publisher: MailboxSender<Publish>,
    hubs: Arc<Hubs>,
    /// The way to Redis, if Redis decides.
    link: Option<LinkHandle>,
    nodes: Option<Arc<Nodes>>,
}

impl Actors {
    pub fn new(
        registry: Addr<Registry>,
        publisher: MailboxSender<Publish>,
        hubs: Arc<Hubs>,
        link: Option<LinkHandle>,
    ) -> Self {
        Self { registry, publisher, hubs, link, nodes: None }
    }

    /// Adds the nodes that Redis knows.
    #[must_use]
    pub fn with_nodes(self, nodes: Option<Arc<Nodes>>) -> Self {
        Self { nodes, ..self }
    }
}

/// Shared by all handlers of all threads, as `web::Data<BrokerHandle>`.
pub struct BrokerHandle {
    pub settings: Arc<Settings>,
    pub actors: Actors,
    pub counters: Arc<Counters>,
    pub recorder: Arc<Recorder>,
    pub in_flight: Arc<InFlight>,
    /// Large response bodies that their clients have not read yet.
    pub responses: Arc<Responses>,
    /// Request bodies whose senders have not yet proven that they have a secret.
    pub unauthenticated_bodies: Arc<UnauthenticatedBodies>,
    /// The publish rate of each secret.
    pub rates: Arc<PublishRates>,
    /// The open sockets of each client address. `None` without such limits.
    pub addresses: Option<Arc<Addresses>>,
    pub started: Instant,
    /// Whether the server's threads still respond.
    pub thread_health: Arc<ThreadHealth>,
    /// The progress of the server's shutdown.
    pub drain: Arc<Drain>,
}

impl BrokerHandle {
    /// Whether the server is shutting down.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Whether Redis answers, if Redis decides.
    pub fn engine_health(&self) -> Option<&EngineHealth> {
        self.actors.link.as_ref().map(LinkHandle::health)
    }

    /// Whether Redis decides and does not answer.
    pub fn is_engine_silent(&self) -> bool {
        self.engine_health().is_some_and(|health| !health.silence(Instant::now()).is_zero())
    }

    /// The nodes that Redis knows, if Redis decides.
    pub fn nodes(&self) -> Option<NodeViews> {
        self.actors.nodes.as_ref().map(|nodes| nodes.views(Instant::now()))
    }

    /// The figures of the link to Redis, if Redis decides.
    pub fn engine_metrics(&self) -> Option<EngineMetrics> {
        self.actors.link.as_ref().map(LinkHandle::metrics)
    }

    /// The figures of each script that this node has called, one on each line.
    pub fn script_figures(&self) -> Option<String> {
        self.actors.link.as_ref().map(|link| link.counters().script_figures())
    }

    /// Uses something that is valid once on all nodes. False if another request has used it.
    ///
    /// # Errors
    /// Those of the engine. Nothing was done, or the name was used.
    pub async fn use_once(&self, name: String) -> Result<bool, Refusal> {
        match &self.actors.link {
            Some(link) => match link.call(Call::UseOnce { name }).await {
                Ok(reply) => Ok(reply.number() == Some(1)),
                Err(EngineError::Full) => Err(EngineError::Full.into()),
                // The request itself was not begun, so that its sender may sign and send it again.
                Err(_) => Err(EngineError::Unavailable.into()),
            },
            None => Ok(true),
        }
    }

    /// Counts a refusal that a limit or the origin of the page caused. Called once for each refusal, where its response is
    /// put into its final form.
    pub fn count(&self, refusal: &Refusal) {
        if *refusal == Refusal::OriginNotAllowed {
            self.counters.refused_origin.add(1);
        }
        if let Some(limit) = refusal.limit() {
            self.counters.limits.count(limit);
        }
    }

    /// Counts and records a refused token. Called once for each, where the fault is found; `conn_id` is the connection
    /// that the client named.
    pub fn note_refused_token(&self, conn_id: Option<Uuid>, cause: TokenCause) {
        self.counters.refused_tokens.of(cause).add(1);
        if let Some(conn_id) = conn_id {
            self.recorder.note(conn_id, ConnectionEvent::TokenRefused(cause));
        }
    }

    /// Lets the registry run a request, and waits for the result. Meanwhile the request counts as in flight.
    ///
    /// # Errors
    /// `Busy` when the registry's mailbox is full, `Draining` when the registry has stopped.
    async fn ask<F, R>(&self, request: F) -> Result<R, Refusal>
    where
        F: FnOnce(&mut Registry, &mut Context<Registry>) -> R + Send + 'static,
        R: Send + 'static,
    {
        if self.in_flight.registry.is_full() {
            self.counters.refused_busy.add(1);
            return Err(Refusal::Busy);
        }
        // The request must see everything published before it on any connection.
        self.actors.publisher.flush();
        let _counted = self.in_flight.registry.count_in();
        self.actors.registry.send(Ask(request)).await.map_err(|_| Refusal::Draining)
    }
}
