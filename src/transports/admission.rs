//! The admission of sessions: one set of rules for every transport, and for every reader of a handshake.
//!
//! A handshake is admitted in two steps, so that a malformed one is refused before it uses capacity: [`Admission::begin`]
//! checks the page and the state of the server, [`Admission::complete`] reserves the capacity of the session.

use crate::api::token::accepted_grant;
use crate::auth::Gate;
use crate::auth::guard::now_unix;
use crate::auth::tokens::TokenFault;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::TokenGrant;
use crate::config::AllowedOrigins;
use crate::http_error::{OverLimit, Refusal};
use crate::limits::addresses::{AddressSlot, Charge};
use crate::telemetry::causes::TokenCause;
use actix_http::RequestHead;
use std::net::IpAddr;
use uuid::Uuid;

/// Checks sessions by the settings, the state and the limits of the server.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    pub gate: &'a Gate,
    pub broker: &'a BrokerHandle,
}

/// How a session counts against the limits of the client's address.
#[derive(Clone, Copy)]
pub struct Charges {
    /// The charge if the peer is a trusted proxy.
    pub behind_proxy: Charge,
    /// The charge if the peer is the client. `None` if the slot of its connection covers the session.
    pub direct: Option<Charge>,
}

impl Admission<'_> {
    /// Checks the origin of the page and whether the server accepts sessions. `is_allowed` compares the page with the setting.
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

    /// Reserves capacity for a session, and a slot of the client's address if addresses are limited.
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

    /// Checks the token of a handshake or poll, and what it grants to the connection with this id. `None` without a token.
    ///
    /// # Errors
    /// `TokenRefused`, also if a token is required and there is none.
    pub fn check_token(
        &self,
        token: Option<&str>,
        conn_id: Option<Uuid>,
        head: &RequestHead,
    ) -> Result<Option<TokenGrant>, Refusal> {
        match token {
            Some(token) => {
                let verified = self.gate.verify_token(token, head, now_unix());
                Ok(Some(accepted_grant(self.broker, verified, conn_id)?))
            }
            None if self.gate.settings.require_tokens => {
                self.broker.note_refused_token(conn_id, TokenCause::Missing);
                Err(TokenFault::Missing.into())
            }
            None => Ok(None),
        }
    }

    /// Creates or extends the connection of a checked token, before the session attaches to it. Returns its id.
    ///
    /// # Errors
    /// `TokenRefused` for a revoked token, `TokenMismatch`, `Blocked`, `OverLimit`, `Busy`.
    pub async fn grant(&self, grant: TokenGrant) -> Result<Uuid, Refusal> {
        self.broker.admit()?;
        Ok(self.broker.grant_token(grant).await??)
    }

    /// Whether the server compresses messages for a client that offers compression.
    pub fn compresses(&self, offered: bool) -> bool {
        offered && self.broker.settings.compression
    }
}
