//! The limits that requests and sessions must pass before the broker receives them.

use super::BrokerHandle;
use crate::config::Settings;
use crate::http_error::{OverLimit, Refusal};
use crate::limits::addresses::{AddressSlot, Charge};
use crate::limits::responses::LARGE;
use crate::telemetry::limits::Limit;
use std::net::IpAddr;

impl BrokerHandle {
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
}

/// The refusal for an address that has reached one of its limits.
pub fn address_refusal(limit: Limit, settings: &Settings) -> OverLimit {
    let bound = match limit {
        Limit::ConnectRate => settings.connect_rate_per_address,
        _ => settings.max_sockets_per_address,
    };
    OverLimit::of(limit, bound)
}
