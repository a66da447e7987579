//! The state that HTTP handlers share: the registry, the counters and the limits.

use super::batched_mailbox::MailboxSender;
use super::drain::Drain;
use super::registry::Registry;
use super::registry::messages::Publish;
use crate::config::Settings;
use crate::http_error::{OverLimit, Refusal};
use crate::limits::addresses::{AddressSlot, Addresses, Charge};
use crate::limits::rate::PublishRates;
use crate::limits::responses::{LARGE, Responses};
use crate::limits::unauthenticated::UnauthenticatedBodies;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::limits::Limit;
use crate::telemetry::thread_health::ThreadHealth;
use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Shared by all handlers of all threads, as `web::Data<BrokerHandle>`.
pub struct BrokerHandle {
    pub settings: Arc<Settings>,
    pub registry: Addr<Registry>,
    /// Sends messages to the registry.
    pub publisher: MailboxSender<Publish>,
    pub counters: Arc<Counters>,
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

    /// Counts a refusal that a limit or the origin of the page caused. Called once for each refusal, where its response is put
    /// into its final form.
    pub fn count(&self, refusal: &Refusal) {
        if let Refusal::OriginNotAllowed = refusal {
            self.counters.refused_origin.add(1);
        }
        if let Some(limit) = refusal.limit() {
            self.counters.limits.count(limit);
        }
    }

    /// Refuses a request that changes something while a mailbox is full.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit(&self) -> Result<(), Refusal> {
        if self.in_flight.is_full() {
            self.counters.refused_busy.add(1);
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// Refuses a request with a large response while too many response bytes wait for their clients.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit_response(&self) -> Result<(), Refusal> {
        self.responses.admit().inspect_err(|_| self.counters.refused_busy.add(1))
    }

    /// Does the same for a response that was just written, before anything is changed.
    ///
    /// # Errors
    /// `Busy`, for a large one.
    pub fn admit_written(&self, response: &[u8]) -> Result<(), Refusal> {
        if response.len() > LARGE { self.admit_response() } else { Ok(()) }
    }

    /// Refuses a websocket or poll while `max_sessions` are open.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn admit_session(&self) -> Result<(), OverLimit> {
        let bound = self.settings.max_sessions;
        match bound > 0 && self.in_flight.sessions.get() >= bound {
            true => Err(OverLimit::of(Limit::Sessions, bound)),
            false => Ok(()),
        }
    }

    /// Reserves a slot for a socket of this client. `None` without limits for addresses.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn reserve_address_slot(
        &self,
        client: Option<IpAddr>,
        charge: Charge,
    ) -> Result<Option<Box<AddressSlot>>, OverLimit> {
        match (&self.addresses, client) {
            (Some(addresses), Some(client)) => addresses
                .acquire(client, charge)
                .map(Some)
                .map_err(|limit| address_refusal(limit, &self.settings)),
            _ => Ok(None),
        }
    }

    /// Refuses messages of a secret that exceeds its publish rate. `secret` is the index of the secret that signed
    /// them.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn admit_messages(&self, secret: usize, count: usize) -> Result<(), Refusal> {
        if !self.rates.is_limited() {
            return Ok(());
        }
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.rates.take(secret, count, now_us).map_err(|seconds| {
            let over = OverLimit::of(Limit::PublishRate, self.settings.publish_rate_per_secret);
            OverLimit { retry_after_s: Some(seconds), ..over }.into()
        })
    }

    /// Sends a request to the registry and waits for the result. Meanwhile the request counts as in flight.
    ///
    /// # Errors
    /// `Busy` when the registry's mailbox is full, `Draining` when the registry has stopped.
    pub async fn ask<M>(&self, message: M) -> Result<M::Result, Refusal>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Registry: Handler<M>,
        <Registry as actix::Actor>::Context: ToEnvelope<Registry, M>,
    {
        if self.in_flight.registry.is_full() {
            self.counters.refused_busy.add(1);
            return Err(Refusal::Busy);
        }
        // The request must see everything published before it on any connection.
        self.publisher.flush();
        let _counted = self.in_flight.registry.count_in();
        self.registry.send(message).await.map_err(|_| Refusal::Draining)
    }

    /// Sends messages to the registry without waiting: the client receives its response before they are routed.
    pub fn publish(&self, publish: Publish) {
        if !publish.is_empty() {
            self.in_flight.registry.add(1);
            self.publisher.send(publish);
        }
    }
}

/// The refusal for an address that has reached one of its limits.
pub fn address_refusal(limit: Limit, settings: &Settings) -> OverLimit {
    let bound = match limit {
        Limit::ConnectRate => settings.connect_rate_per_address,
        _ => settings.max_sockets_per_address,
    };
    OverLimit::of(limit, bound)
}
