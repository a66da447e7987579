//! Authenticates API requests by address and signature. A handler with a [`Signed`] parameter cannot be reached without
//! a valid signature from an allowed address.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::{Ready, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use actix_http::RequestHead;
use actix_web::dev::Payload;
use actix_web::http::header::HeaderName;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::request_signature::BOUND;
use super::signing::MAX_AGE_S;
use super::{Gate, peer};
use crate::http_error::Refusal;
use crate::telemetry::log_sums::{REFUSED_SIGNATURES, escaped};

pub const SIGNATURE_HEADER: &str = "x-channelstream-secret";
/// The query parameter that replaces the header.
const SIGNATURE_PARAMETER: &str = "secret";
static SIGNATURE: HeaderName = HeaderName::from_static(SIGNATURE_HEADER);

/// The sender of a request, by its address and signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The peer's address is not in `allow_posting_from`, or the request came to an address that ignores signatures. Its
    /// signature was not checked.
    Untrusted,
    /// An allowed peer that sent no signature.
    Unsigned,
    /// An allowed peer with a valid signature, made with the secret of this number.
    Signed(usize),
}

/// A request with a valid signature from an allowed address.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    secret: usize,
}

impl Signed {
    /// The number of the secret that signed; see [`super::secrets::Secrets`].
    pub fn secret(self) -> usize {
        self.secret
    }
}

impl FromRequest for Signed {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller_of(req).and_then(|caller| match caller {
            Caller::Untrusted => Err(Refusal::AddressNotAllowed),
            Caller::Unsigned => Err(Refusal::SignatureMissing),
            Caller::Signed(secret) => Ok(Self { secret }),
        }))
    }
}

impl Gate {
    fn max_age_s(&self) -> Option<u64> {
        self.settings.check_signature_age.then_some(MAX_AGE_S)
    }

    /// Checks a signature in the header of an allowed peer. Returns and logs no reason if there is none or it is invalid.
    pub fn signed(&self, head: &RequestHead) -> Option<Signed> {
        let peer = head.peer_addr.map(|peer| peer.ip());
        let allowed = peer::may_post(peer, &self.settings.allow_posting_from);
        let general = !self.settings.require_bound_signatures && !head.headers.contains_key(&BOUND);
        let token = head.headers.get(&SIGNATURE).filter(|_| allowed && general)?;
        let secrets = self.secrets();
        let secret = secrets.verify(token.as_bytes(), peer, now_unix(), self.max_age_s()).ok()?;
        self.admit_secret(&secrets, secret, head).ok()?;
        Some(Signed { secret })
    }

    /// Checks address and signature, in this order. A bound signature is checked for a request without a body.
    ///
    /// # Errors
    /// An invalid signature is refused on every path, and so is a well-known secret that is not accepted from this
    /// sender. `Busy` as in [`Gate::admit_bound`].
    pub fn caller(&self, head: &RequestHead, now_unix: u64) -> Result<Caller, Refusal> {
        let peer = head.peer_addr.map(|peer| peer.ip());
        if !peer::may_post(peer, &self.settings.allow_posting_from) {
            return Ok(Caller::Untrusted);
        }
        if let Some(signature) = self.bound_signature(head, now_unix)? {
            // For a request with a body, the middleware has checked the signature before.
            return self.admit_bound(&signature, head, &self.path_as_sent(head), b"", now_unix);
        }
        let Some(token) = token(head).filter(|token| !token.is_empty()) else {
            return Ok(Caller::Unsigned);
        };
        if self.settings.require_bound_signatures {
            return Err(self.bad_signature(head, &"it is not bound to its request"));
        }
        let secrets = self.secrets();
        match secrets.verify(&token, peer, now_unix, self.max_age_s()) {
            Ok(secret) => self.admit_secret(&secrets, secret, head).map(|()| Caller::Signed(secret)),
            Err(reason) => Err(self.bad_signature(head, &reason)),
        }
    }
}

impl Gate {
    /// Logs the reason for which a signature is refused.
    pub(crate) fn bad_signature(&self, head: &RequestHead, reason: &dyn Display) -> Refusal {
        let path = escaped(head.uri.path());
        let client = self.client_address(head);
        REFUSED_SIGNATURES.log(client, format_args!("signature refused on {path}: {reason}"));
        Refusal::BadSignature
    }
}

/// The caller that the middleware determined. Determines it here if no middleware ran.
///
/// # Errors
/// As [`Gate::caller`].
pub fn caller_of(req: &HttpRequest) -> Result<Caller, Refusal> {
    if let Some(known) = req.extensions().get::<Caller>() {
        return Ok(*known);
    }
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    gate.caller(req.head(), now_unix())
}

/// The signature of a request. The header overrides the query parameter, even if the header is empty.
fn token(head: &RequestHead) -> Option<Cow<'_, [u8]>> {
    if let Some(header) = head.headers.get(&SIGNATURE) {
        return Some(header.as_bytes().into());
    }
    let query = web::Query::<Vec<(String, String)>>::from_query(head.uri.query()?).ok()?;
    let (_, secret) = query.into_inner().into_iter().rev().find(|(name, _)| name == SIGNATURE_PARAMETER)?;
    Some(secret.into_bytes().into())
}

/// The current time in Unix seconds.
pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AllowedPeers;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use std::sync::Arc;

    const NOW: u64 = 1_700_000_000;

    fn check(settings: Settings, uri: &str, header: Option<&str>, peer: &str) -> Result<Caller, Refusal> {
        let mut request = TestRequest::with_uri(uri).peer_addr(peer.parse().unwrap());
        if let Some(header) = header {
            request = request.insert_header((SIGNATURE_HEADER, header));
        }
        Gate::new(Arc::new(settings)).caller(request.to_http_request().head(), NOW)
    }

    fn from_loopback(uri: &str, header: Option<&str>) -> Result<Caller, Refusal> {
        check(Settings::default(), uri, header, "127.0.0.1:4711")
    }

    fn signed_at(time: u64) -> String {
        Gate::new(Arc::default()).secrets().keys.sign("/info", time)
    }

    #[test]
    fn the_address_is_checked_before_the_signature() {
        let foreign = |header| check(Settings::default(), "/info", header, "192.0.2.1:4711");
        assert_eq!(foreign(None), Ok(Caller::Untrusted));
        assert_eq!(foreign(Some("garbage")), Ok(Caller::Untrusted));
        assert_eq!(foreign(Some(&signed_at(NOW))), Ok(Caller::Untrusted));
        let open = Settings {
            allow_posting_from: AllowedPeers::Any,
            allow_default_secrets: true,
            ..Settings::default()
        };
        assert_eq!(check(open, "/info", Some(&signed_at(NOW)), "192.0.2.1:1"), Ok(Caller::Signed(0)));
    }

    #[test]
    fn forwarded_headers_do_not_open_the_api() {
        let settings =
            Settings { trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()], ..Settings::default() };
        let request = TestRequest::default()
            .peer_addr("192.0.2.1:1".parse().unwrap())
            .insert_header(("x-forwarded-for", "127.0.0.1"))
            .insert_header((SIGNATURE_HEADER, signed_at(NOW)));
        let caller = Gate::new(Arc::new(settings)).caller(request.to_http_request().head(), NOW);
        assert_eq!(caller, Ok(Caller::Untrusted));
    }

    #[test]
    fn the_header_overrides_the_parameter() {
        let good = signed_at(NOW);
        let with_good = format!("/info?a=b&secret={good}");
        assert_eq!(from_loopback(&with_good, None), Ok(Caller::Signed(0)));
        assert_eq!(from_loopback("/info?secret=garbage", Some(&good)), Ok(Caller::Signed(0)));
        assert_eq!(from_loopback(&with_good, Some("garbage")), Err(Refusal::BadSignature));
        assert_eq!(from_loopback(&with_good, Some("")), Ok(Caller::Unsigned));
        assert_eq!(from_loopback("/info?secret=", None), Ok(Caller::Unsigned));
        assert_eq!(from_loopback("/listen?secret=bad", None), Err(Refusal::BadSignature));
    }

    #[test]
    fn the_parameter_is_decoded() {
        let encoded = signed_at(NOW).replace('.', "%2E");
        assert_eq!(from_loopback(&format!("/info?secret={encoded}"), None), Ok(Caller::Signed(0)));
    }

    #[test]
    fn age_is_limited_unless_switched_off() {
        assert_eq!(from_loopback("/info", Some(&signed_at(NOW - 60))), Ok(Caller::Signed(0)));
        assert_eq!(from_loopback("/info", Some(&signed_at(NOW - 61))), Err(Refusal::BadSignature));
        let lax = || Settings { check_signature_age: false, ..Settings::default() };
        let old = signed_at(NOW - 1_000_000);
        assert_eq!(check(lax(), "/info", Some(&old), "127.0.0.1:1"), Ok(Caller::Signed(0)));
        assert_eq!(check(lax(), "/info", Some("garbage"), "127.0.0.1:1"), Err(Refusal::BadSignature));
    }
}
