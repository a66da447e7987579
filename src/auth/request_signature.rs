//! Checks signatures that are bound to one request (see [`super::signing::request_signature`]), and stores those that have
//! been used, so that each of them is valid only once. A bound signature overrides a general one.

use super::guard::Caller;
use super::signing::request_signature::{BadBoundSignature, BoundSignature, BoundTo, WINDOW_S};
use super::{Gate, peer};
use crate::http_error::Refusal;
use actix_http::RequestHead;
use actix_web::http::header::HeaderName;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

pub const BOUND_HEADER: &str = "x-channelstream-signature";
pub(crate) static BOUND: HeaderName = HeaderName::from_static(BOUND_HEADER);

impl Gate {
    /// The bound signature of an allowed peer, checked as far as possible without the body. `None` if there is none.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn bound_signature(
        &self,
        head: &RequestHead,
        now_unix: u64,
    ) -> Result<Option<BoundSignature>, Refusal> {
        let mut sent = head.headers.get_all(&BOUND);
        let Some(value) = sent.next() else { return Ok(None) };
        if !peer::may_post(head.peer_addr.map(|peer| peer.ip()), &self.settings.allow_posting_from) {
            return Ok(None);
        }
        let only = sent.next().is_none();
        let parsed = BoundSignature::parse(value.as_bytes()).ok().filter(|_| only);
        let parsed = parsed.ok_or(BadBoundSignature::Unreadable);
        let timely = parsed.and_then(|signature| signature.check_time(now_unix).map(|()| signature));
        timely.map(Some).map_err(|reason| self.bad_signature(head, &reason))
    }

    /// Checks the signature for the whole request; `path` is its path as the API names it. A signature is valid once in this
    /// process; [`BrokerHandle::use_once`](crate::broker::handle::BrokerHandle::use_once) checks the other nodes.
    ///
    /// # Errors
    /// `BadSignature`; `WellKnownSecret`; `Busy` if the store for used signatures is full.
    pub fn admit_bound(
        &self,
        signature: &BoundSignature,
        head: &RequestHead,
        path: &str,
        body: &[u8],
        now_unix: u64,
    ) -> Result<Caller, Refusal> {
        let target: Cow<'_, str> = match head.uri.query() {
            Some(query) => format!("{path}?{query}").into(),
            None => path.into(),
        };
        let request = BoundTo { method: head.method.as_str(), target: &target, body };
        let peer = head.peer_addr.map(|peer| peer.ip());
        let secrets = self.secrets();
        let verified = secrets.verify_bound(signature, &request, peer, now_unix);
        let secret = verified.map_err(|reason| self.bad_signature(head, &reason))?;
        self.admit_secret(&secrets, secret, head)?;
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        match replays.check(signature.timestamp(), signature.identity(), now_unix) {
            ReplayCheck::New => Ok(Caller::Signed(secret)),
            ReplayCheck::Used => Err(self.bad_signature(head, &"it has been used before")),
            ReplayCheck::Full => Err(Refusal::Busy),
        }
    }
}

impl Gate {
    /// Makes a signature valid again that was admitted, because its request was refused before anything was done.
    pub fn restore_bound(&self, signature: &BoundSignature) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.forget(signature.timestamp(), signature.identity());
    }
}

/// The identities of the signatures of one second. Only clients that have a secret can insert one. The standard hasher
/// with its random seed protects against those of them that share the secret with others and try to cause collisions.
type Identities = HashSet<u128>;

/// Stores every signature for as long as it could be valid, up to a fixed number.
///
/// An expired signature never counts as new. If the clock goes back, older signatures are refused until the clock reaches
/// its former time.
#[derive(Debug)]
pub struct Replays {
    seconds: BTreeMap<u64, Identities>,
    stored: usize,
    capacity: usize,
    /// Signatures with an earlier timestamp have been removed.
    oldest: u64,
}

/// The result of the check of a signature whose MAC is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayCheck {
    /// The signature is new, and is stored now.
    New,
    /// The signature has been used, or could have been.
    Used,
    /// There is no room to store it; the client can send it again a little later.
    Full,
}

impl Replays {
    /// Stores at most this many signatures, which take about forty bytes each. Memory is allocated when they arrive.
    pub fn new(capacity: usize) -> Self {
        Self { seconds: BTreeMap::new(), stored: 0, capacity, oldest: 0 }
    }

    /// Looks a signature up and stores it.
    pub fn check(&mut self, timestamp: u64, identity: u128, now_unix: u64) -> ReplayCheck {
        self.remove_expired(now_unix);
        if timestamp < self.oldest
            || self.seconds.get(&timestamp).is_some_and(|second| second.contains(&identity))
        {
            return ReplayCheck::Used;
        }
        if self.stored >= self.capacity {
            return ReplayCheck::Full;
        }
        self.stored += 1;
        self.seconds.entry(timestamp).or_default().insert(identity);
        ReplayCheck::New
    }

    /// Removes a signature.
    fn forget(&mut self, timestamp: u64, identity: u128) {
        if self.seconds.get_mut(&timestamp).is_some_and(|second| second.remove(&identity)) {
            self.stored -= 1;
        }
    }

    fn remove_expired(&mut self, now_unix: u64) {
        self.oldest = self.oldest.max(now_unix.saturating_sub(WINDOW_S));
        while let Some(first) = self.seconds.first_entry().filter(|first| *first.key() < self.oldest) {
            self.stored -= first.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::SIGNATURE_HEADER;
    use super::*;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use std::sync::Arc;

    const NOW: u64 = 1_700_000_000;

    fn gate(settings: Settings) -> Gate {
        Gate::new(Arc::new(settings))
    }

    fn signed(target: &str) -> (&'static str, String) {
        let request = BoundTo { method: "GET", target, body: b"" };
        (BOUND_HEADER, gate(Settings::default()).secrets().keys.sign_bound(&request, NOW, "n"))
    }

    fn check(
        gate: &Gate,
        uri: &str,
        headers: &[(&'static str, String)],
        peer: &str,
    ) -> Result<Caller, Refusal> {
        let request = TestRequest::with_uri(uri).peer_addr(peer.parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(header.clone()));
        gate.caller(request.to_http_request().head(), NOW)
    }

    const LOOPBACK: &str = "127.0.0.1:4711";

    #[test]
    fn a_bound_signature_is_valid_once_and_for_its_request() {
        let gate = gate(Settings::default());
        let header = [signed("/info?a=b")];
        assert_eq!(check(&gate, "/info", &header, LOOPBACK), Err(Refusal::BadSignature));
        assert_eq!(check(&gate, "/info?a=b", &header, "192.0.2.1:1"), Ok(Caller::Untrusted));
        assert_eq!(check(&gate, "/info?a=b", &header, LOOPBACK), Ok(Caller::Signed(0)));
        assert_eq!(check(&gate, "/info?a=b", &header, LOOPBACK), Err(Refusal::BadSignature));
    }

    #[test]
    fn the_signed_path_has_no_proxy_prefix() {
        let trusted_proxies = || vec!["127.0.0.1/32".parse().unwrap()];
        let settings = Settings {
            trusted_proxies: trusted_proxies(),
            allow_default_secrets: true,
            ..Settings::default()
        };
        let behind_proxy = || gate(settings.clone());
        let prefix = ("x-script-name", "/push".to_owned());
        let headers = [signed("/info"), prefix.clone()];
        assert_eq!(check(&behind_proxy(), "/push//info", &headers, LOOPBACK), Ok(Caller::Signed(0)));
        // The path is signed as the client sent it, not in its normal form.
        let headers = [signed("/%69nfo"), prefix];
        assert_eq!(check(&behind_proxy(), "/pus%68//%69nfo", &headers, LOOPBACK), Ok(Caller::Signed(0)));
        assert_eq!(check(&behind_proxy(), "/push/info", &headers, LOOPBACK), Err(Refusal::BadSignature));
    }

    #[test]
    fn a_bound_signature_overrides_a_general_one() {
        let general = (SIGNATURE_HEADER, gate(Settings::default()).secrets().keys.sign("", NOW));
        let check = |headers: &[(&'static str, String)]| {
            check(&gate(Settings::default()), "/info", headers, LOOPBACK)
        };
        assert_eq!(check(std::slice::from_ref(&general)), Ok(Caller::Signed(0)));
        for bad in ["", "garbage", "t=1,n=a,v1=b"] {
            let headers = [general.clone(), (BOUND_HEADER, bad.to_owned())];
            assert_eq!(check(&headers), Err(Refusal::BadSignature), "{bad}");
        }
        assert_eq!(check(&[signed("/info"), signed("/info")]), Err(Refusal::BadSignature), "two of them");
        assert_eq!(check(&[signed("/info"), (SIGNATURE_HEADER, "garbage".into())]), Ok(Caller::Signed(0)));
    }

    #[test]
    fn general_signatures_can_be_switched_off() {
        let strict = gate(Settings { require_bound_signatures: true, ..Settings::default() });
        let token = strict.secrets().keys.sign("", NOW);
        let general = (SIGNATURE_HEADER, token.clone());
        assert_eq!(check(&strict, "/info", &[general], LOOPBACK), Err(Refusal::BadSignature));
        assert_eq!(
            check(&strict, &format!("/info?secret={token}"), &[], LOOPBACK),
            Err(Refusal::BadSignature)
        );
        assert_eq!(check(&strict, "/info", &[], LOOPBACK), Ok(Caller::Unsigned));
        assert_eq!(check(&strict, "/info", &[signed("/info")], LOOPBACK), Ok(Caller::Signed(0)));
    }

    #[test]
    fn a_signature_is_new_once() {
        let mut replays = Replays::new(10);
        for now in [NOW, NOW + 30] {
            let expected = if now == NOW { ReplayCheck::New } else { ReplayCheck::Used };
            assert_eq!(replays.check(NOW, 1, now), expected);
            assert_eq!(
                replays.check(NOW + 60, 1, now),
                expected,
                "the same MAC with another time is another signature"
            );
        }
        assert_eq!(replays.check(NOW, 2, NOW + 60), ReplayCheck::New);
        assert_eq!(replays.check(NOW, 1, NOW + 60), ReplayCheck::Used);
    }

    #[test]
    fn a_full_store_refuses_new_signatures_and_keeps_the_others() {
        let mut replays = Replays::new(2);
        assert_eq!(
            (replays.check(NOW, 1, NOW), replays.check(NOW + 1, 2, NOW)),
            (ReplayCheck::New, ReplayCheck::New)
        );
        assert_eq!(replays.check(NOW, 3, NOW), ReplayCheck::Full);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::Used);
        assert_eq!(replays.check(NOW + 61, 3, NOW + 61), ReplayCheck::New, "the first one has expired");
        assert_eq!(replays.check(NOW + 61, 4, NOW + 61), ReplayCheck::Full);
        assert_eq!(replays.stored, 2);
    }

    #[test]
    fn a_signature_can_be_restored() {
        let mut replays = Replays::new(1);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::New);
        replays.forget(NOW, 2);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::Used);
        replays.forget(NOW, 1);
        assert_eq!((replays.check(NOW, 1, NOW), replays.stored), (ReplayCheck::New, 1));
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_signature_valid_again() {
        let mut replays = Replays::new(10);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::New);
        assert_eq!(replays.check(NOW + 1_000, 2, NOW + 1_000), ReplayCheck::New);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::Used);
        assert_eq!(replays.check(NOW + 1_000, 2, NOW), ReplayCheck::Used);
    }

    proptest! {
        #[test]
        fn no_signature_is_accepted_twice(steps in prop::collection::vec((0u64..200, 0u64..400, 0u128..6), 1..200), capacity in 1usize..20) {
            let (mut replays, mut accepted) = (Replays::new(capacity), HashSet::new());
            for (timestamp, now, identity) in steps {
                let result = replays.check(timestamp, identity, now);
                prop_assert!(result != ReplayCheck::New || accepted.insert((timestamp, identity)));
                let held: usize = replays.seconds.values().map(HashSet::len).sum();
                prop_assert!(held == replays.stored && held <= capacity);
            }
        }
    }
}
