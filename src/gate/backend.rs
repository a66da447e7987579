//! What every handler may need: the way to the registry, the gauges, the limits.

use super::drain::Drain;
use crate::error::Refusal;
use crate::handoff::Sender;
use crate::observe::Counters;
use crate::observe::pressure::Pressure;
use crate::observe::vitals::Vitals;
use crate::registry::Registry;
use crate::registry::messages::Publish;
use crate::settings::Settings;
use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use std::sync::Arc;
use std::time::Instant;

/// Shared by all handlers of all threads, as `web::Data<Backend>`.
pub struct Backend {
    /// The server's settings.
    pub settings: Arc<Settings>,
    /// The registry.
    pub registry: Addr<Registry>,
    /// The way of messages there.
    pub publisher: Sender<Publish>,
    /// The server's counters.
    pub counters: Arc<Counters>,
    /// The server's gauges.
    pub pressure: Arc<Pressure>,
    /// When the server started.
    pub started: Instant,
    /// Whether its threads take their turns.
    pub vitals: Arc<Vitals>,
    /// How far its stop has come.
    pub drain: Arc<Drain>,
}

impl Backend {
    /// Whether the server stops.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Refuses what would change something while a mailbox is full.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit(&self) -> Result<(), Refusal> {
        if self.pressure.is_full() {
            self.counters.refused_busy.add(1);
            return Err(Refusal::Busy);
        }
        Ok(())
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
        if self.pressure.registry.is_full() {
            self.counters.refused_busy.add(1);
            return Err(Refusal::Busy);
        }
        // What was published before, on whichever connection, is seen by what is asked now.
        self.publisher.flush();
        let _counted = self.pressure.registry.count_in();
        self.registry.send(message).await.map_err(|_| Refusal::Draining)
    }

    /// Hands messages to the registry without waiting: the request is answered before they are routed.
    pub fn publish(&self, publish: Publish) {
        if !publish.is_empty() {
            self.pressure.registry.add(1);
            self.publisher.send(publish);
        }
    }
}
