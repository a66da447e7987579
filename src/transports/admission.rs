//! The one admission of sessions: who may attach, whatever reads the handshake and whatever the transport.
//!
//! A handshake is admitted in two steps, so that a malformed one is refused before it takes a place: [`Admission::begin`]
//! judges the page and the server's state, [`Admission::complete`] takes the session's place.

use crate::auth::Gate;
use crate::broker::handle::BrokerHandle;
use crate::config::AllowedOrigins;
use crate::http_error::{OverLimit, Refusal};
use crate::limits::addresses::{AddressSlot, Charge};
use std::net::IpAddr;

/// What sessions are admitted by.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    /// The rules for all requests.
    pub gate: &'a Gate,
    /// The server's state and its limits.
    pub broker: &'a BrokerHandle,
}

/// How the sockets of an address are charged for a session.
#[derive(Clone, Copy)]
pub struct Charges {
    /// The peer is the operator's proxy, and the session is its client's.
    pub behind_proxy: Charge,
    /// The peer is the client. `None`: the slot that its connection has already is enough.
    pub direct: Option<Charge>,
}

impl Admission<'_> {
    /// Judges the page that asks and the state of the server. `is_allowed` judges the page by the setting.
    ///
    /// # Errors
    /// `OriginNotAllowed`, `Draining`.
    pub fn begin(&self, is_allowed: impl FnOnce(&AllowedOrigins) -> bool) -> Result<(), Refusal> {
        if !is_allowed(&self.gate.settings.allowed_origins) {
            return Err(Refusal::OriginNotAllowed);
        }
        if self.broker.is_draining() {
            return Err(Refusal::Draining);
        }
        Ok(())
    }

    /// Takes room for another session, and a slot of the client's address where addresses are limited.
    ///
    /// # Errors
    /// `OverLimit`.
    pub fn complete(
        &self,
        peer: Option<IpAddr>,
        client: Option<IpAddr>,
        charges: Charges,
    ) -> Result<Option<Box<AddressSlot>>, OverLimit> {
        self.broker.admit_session()?;
        if self.broker.addresses.is_none() {
            return Ok(None);
        }
        let is_proxy = peer.is_some_and(|peer| self.gate.is_proxy(peer));
        let charge = if is_proxy { Some(charges.behind_proxy) } else { charges.direct };
        charge.map_or(Ok(None), |charge| self.broker.reserve_address_slot(client, charge))
    }

    /// Whether messages are compressed for a client that offers it.
    pub fn compresses(&self, offered: bool) -> bool {
        offered && self.broker.settings.compression
    }
}
