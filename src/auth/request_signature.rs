//! Requests whose signature is bound to them: see [`super::signing::request_signature`]. It goes before one that is not.

use super::guard::Caller;
use super::replays::Seen;
use super::signing::request_signature::{BadBoundSignature, BoundSignature, BoundTo};
use super::{Gate, peer};
use crate::http_error::Refusal;
use actix_http::RequestHead;
use actix_web::http::header::HeaderName;
use std::borrow::Cow;
use std::sync::PoisonError;

/// The header of a bound signature.
pub const BOUND_HEADER: &str = "x-channelstream-signature";
pub(crate) static BOUND: HeaderName = HeaderName::from_static(BOUND_HEADER);

impl Gate {
    /// The bound signature of an allowed peer, as far as it can be judged without the body. None where none was sent.
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

    /// Judges it by the whole request, whose path is `path` as the API names it. It is good once.
    ///
    /// # Errors
    /// `BadSignature`; `WellKnownSecret`; `Busy` when too many are remembered to remember another one.
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
        match replays.see(signature.timestamp(), signature.identity(), now_unix) {
            Seen::New => Ok(Caller::Signed(secret)),
            Seen::Before => Err(self.bad_signature(head, &"it has been used before")),
            Seen::NoRoom => Err(Refusal::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::SIGNATURE_HEADER;
    use super::*;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use std::sync::Arc;

    const NOW: u64 = 1_700_000_000;

    fn gate(settings: Settings) -> Gate {
        Gate::new(Arc::new(settings))
    }

    fn signed(target: &str) -> (&'static str, String) {
        let request = BoundTo { method: "GET", target, body: b"" };
        (BOUND_HEADER, gate(Settings::default()).secrets().keys.sign_bound(&request, NOW, "n"))
    }

    fn judge(
        gate: &Gate,
        uri: &str,
        headers: &[(&'static str, String)],
        peer: &str,
    ) -> Result<Caller, Refusal> {
        let request = TestRequest::with_uri(uri).peer_addr(peer.parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(header.clone()));
        gate.standing(request.to_http_request().head(), NOW)
    }

    const HOME: &str = "127.0.0.1:4711";

    #[test]
    fn a_bound_signature_is_good_once_and_for_its_request() {
        let gate = gate(Settings::default());
        let header = [signed("/info?a=b")];
        assert_eq!(judge(&gate, "/info", &header, HOME), Err(Refusal::BadSignature));
        assert_eq!(judge(&gate, "/info?a=b", &header, "192.0.2.1:1"), Ok(Caller::Stranger));
        assert_eq!(judge(&gate, "/info?a=b", &header, HOME), Ok(Caller::Signed(0)));
        assert_eq!(judge(&gate, "/info?a=b", &header, HOME), Err(Refusal::BadSignature));
    }

    #[test]
    fn the_path_is_the_one_of_the_api() {
        let trusted_proxies = || vec!["127.0.0.1/32".parse().unwrap()];
        let settings = Settings {
            trusted_proxies: trusted_proxies(),
            allow_default_secrets: true,
            ..Settings::default()
        };
        let behind_proxy = || gate(settings.clone());
        let prefix = ("x-script-name", "/push".to_owned());
        let headers = [signed("/info"), prefix.clone()];
        assert_eq!(judge(&behind_proxy(), "/push//info", &headers, HOME), Ok(Caller::Signed(0)));
        // In the spelling of its sender.
        let headers = [signed("/%69nfo"), prefix];
        assert_eq!(judge(&behind_proxy(), "/pus%68//%69nfo", &headers, HOME), Ok(Caller::Signed(0)));
        assert_eq!(judge(&behind_proxy(), "/push/info", &headers, HOME), Err(Refusal::BadSignature));
    }

    #[test]
    fn it_goes_before_a_general_one() {
        let general = (SIGNATURE_HEADER, gate(Settings::default()).secrets().keys.sign("", NOW));
        let judge =
            |headers: &[(&'static str, String)]| judge(&gate(Settings::default()), "/info", headers, HOME);
        assert_eq!(judge(std::slice::from_ref(&general)), Ok(Caller::Signed(0)));
        for bad in ["", "garbage", "t=1,n=a,v1=b"] {
            let headers = [general.clone(), (BOUND_HEADER, bad.to_owned())];
            assert_eq!(judge(&headers), Err(Refusal::BadSignature), "{bad}");
        }
        assert_eq!(judge(&[signed("/info"), signed("/info")]), Err(Refusal::BadSignature), "two of them");
        assert_eq!(judge(&[signed("/info"), (SIGNATURE_HEADER, "garbage".into())]), Ok(Caller::Signed(0)));
    }

    #[test]
    fn general_ones_can_be_switched_off() {
        let strict = gate(Settings { require_bound_signatures: true, ..Settings::default() });
        let token = strict.secrets().keys.sign("", NOW);
        let general = (SIGNATURE_HEADER, token.clone());
        assert_eq!(judge(&strict, "/info", &[general], HOME), Err(Refusal::BadSignature));
        assert_eq!(judge(&strict, &format!("/info?secret={token}"), &[], HOME), Err(Refusal::BadSignature));
        assert_eq!(judge(&strict, "/info", &[], HOME), Ok(Caller::Anonymous));
        assert_eq!(judge(&strict, "/info", &[signed("/info")], HOME), Ok(Caller::Signed(0)));
    }
}
