//! What every handler may need: the way to the registry, the gauges, the limits.

use super::batched_mailbox::MailboxSender;
use super::drain::Drain;
use super::registry::Registry;
use super::registry::messages::Publish;
use crate::config::Settings;
use crate::http_error::{OverLimit, Refusal};
use crate::limits::addresses::{AddressSlot, Addresses, Charge};
use crate::limits::rate::PublishRates;
use crate::limits::responses::{LARGE, Responses};
use crate::limits::unproven::Unproven;
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
    /// The server's settings.
    pub settings: Arc<Settings>,
    /// The registry.
    pub registry: Addr<Registry>,
    /// The way of messages there.
    pub publisher: MailboxSender<Publish>,
    /// The server's counters.
    pub counters: Arc<Counters>,
    /// The server's gauges.
    pub in_flight: Arc<InFlight>,
    /// Large response bodies that wait for their clients.
    pub responses: Arc<Responses>,
    /// Bodies of senders that have not proven that they have a secret.
    pub unproven: Arc<Unproven>,
    /// How much each secret may publish.
    pub rates: Arc<PublishRates>,
    /// The sockets of each client address, if they are limited.
    pub addresses: Option<Arc<Addresses>>,
    /// When the server started.
    pub started: Instant,
    /// Whether its threads take their turns.
    pub thread_health: Arc<ThreadHealth>,
    /// How far its stop has come.
    pub drain: Arc<Drain>,
}

impl BrokerHandle {
    /// Whether the server stops.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Counts a refusal that says that a limit was reached. Called where it is put into its final form.
    pub fn count(&self, refusal: &Refusal) {
        if let Some(limit) = refusal.limit() {
            self.counters.limits.count(limit);
        }
    }

    /// Refuses what would change something while a mailbox is full.
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

    /// Refuses what is answered with much while too much of what was answered waits for its clients.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit_response(&self) -> Result<(), Refusal> {
        self.responses.admit().inspect_err(|_| self.counters.refused_busy.add(1))
    }

    /// The same for a response that has just been written, before anything is changed.
    ///
    /// # Errors
    /// `Busy`, for a large one.
    pub fn admit_written(&self, response: &[u8]) -> Result<(), Refusal> {
        if response.len() > LARGE { self.admit_response() } else { Ok(()) }
    }

    /// Refuses a websocket or poll when as many are open as may be.
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

    /// Takes a seat for a socket of this client; none where addresses have no limits.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn seat(&self, client: Option<IpAddr>, comes: Charge) -> Result<Option<Box<AddressSlot>>, OverLimit> {
        match (&self.addresses, client) {
            (Some(addresses), Some(client)) => {
                addresses.enter(client, comes).map(Some).map_err(|limit| over(limit, &self.settings))
            }
            _ => Ok(None),
        }
    }

    /// Refuses messages of a secret that has published too many. `secret` is the number of the secret that signed them.
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

    /// Asks the registry and waits for its answer, counted as under way meanwhile.
    ///
    /// # Errors
    /// `Busy` when its mailbox is full, `Draining` when it is gone.
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
        // What was published before, on whichever connection, is seen by what is asked now.
        self.publisher.flush();
        let _counted = self.in_flight.registry.count_in();
        self.registry.send(message).await.map_err(|_| Refusal::Draining)
    }

    /// Hands messages to the registry without waiting: the request is answered before they are routed.
    pub fn publish(&self, publish: Publish) {
        if !publish.is_empty() {
            self.in_flight.registry.add(1);
            self.publisher.send(publish);
        }
    }
}

/// What is said to an address that has reached one of its limits.
pub fn over(limit: Limit, settings: &Settings) -> OverLimit {
    let bound = match limit {
        Limit::ConnectRate => settings.connect_rate_per_address,
        _ => settings.max_sockets_per_address,
    };
    OverLimit::of(limit, bound)
}
