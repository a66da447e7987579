//! Checks of requests: addresses, signatures, origins, proxies, TLS.
//!
//! A handler names what it requires in its parameters: [`guard::Signed`] is a valid signature from an allowed address,
//! [`body::Body`] the body as UTF-8. The checks need only a request's head, so that the upgrade service, which no
//! middleware reaches, applies the same ones.

pub(crate) mod allowed_origins;
pub(crate) mod public_paths;
pub mod signing;
pub(crate) mod forwarded;
pub(crate) mod proxy;
pub(crate) mod peer;
pub(crate) mod usage;
pub(crate) mod secrets;
pub(crate) mod tokens;
pub(crate) mod request_signature;
pub(crate) mod idempotency;
pub(crate) mod guard;
pub(crate) mod body;
mod well_known;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use actix_http::RequestHead;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use arc_swap::{ArcSwap, Guard};

use crate::config::{Secret, Settings};
use crate::http_error::Refusal;
use crate::telemetry::log_sums::escaped;
use guard::now_unix;
use idempotency::IdempotencyKeys;
use proxy::BaseUrl;
use request_signature::Replays;
use secrets::{Fingerprints, Secrets};
use tokens::{TokenFault, TokenVerifier, VerifiedToken};

/// The headers that can name a prefix. Parsed once, since they are looked up for every request.
static PREFIX_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-script-name"), HeaderName::from_static("x-forwarded-prefix")];

/// These paths are served without TLS as well: old clients open plain websockets, and load balancers check the health.
const WEBSOCKET_PATH: &str = "/ws";
const HEALTH_PATHS: &str = "/health/";

/// Authenticates requests. There is one for the whole server, shared as `web::Data<Gate>`.
#[derive(Debug)]
pub struct Gate {
    /// The server's settings. Their secrets are those of the start; the current ones are [`Gate::secrets`].
    pub settings: Arc<Settings>,
    secrets: ArcSwap<Secrets>,
    tokens: ArcSwap<TokenVerifier>,
    /// Replaces a `cookie_secret` that is not set.
    random: ArcSwap<Secret>,
    fingerprints: Fingerprints,
    replays: Mutex<Replays>,
    /// The keys of requests that must not be published twice.
    pub idempotency: IdempotencyKeys,
}

impl Gate {
    /// Derives the keys from the settings. Tokens are verified without the key files, which
    /// [`Gate::replace_token_verifier`] adds. Without a `cookie_secret` it uses a random one, so that admins must sign in
    /// again after a restart.
    pub fn new(settings: Arc<Settings>) -> Self {
        let random = Secret::random();
        let fingerprints = Fingerprints::default();
        let secrets = Secrets::new(&settings, &random, &fingerprints, None, now_unix());
        let replays = Mutex::new(Replays::new(settings.max_remembered_signatures));
        let idempotency = IdempotencyKeys::new(settings.max_idempotency_keys, settings.publish_window_ms);
        let tokens = ArcSwap::from_pointee(TokenVerifier::without_files(&settings));
        let secrets = ArcSwap::from_pointee(secrets);
        let random = ArcSwap::from_pointee(random);
        Self { settings, secrets, tokens, random, fingerprints, replays, idempotency }
    }

    /// The current secrets. A caller must not keep them for longer than it checks one request.
    pub fn secrets(&self) -> Guard<Arc<Secrets>> {
        self.secrets.load()
    }

    /// Replaces the current secrets by those of these settings. All other settings are unchanged.
    pub fn replace_secrets(&self, settings: &Settings) {
        let before = self.secrets.load();
        let random = self.random.load();
        let secrets = Secrets::new(settings, &random, &self.fingerprints, Some(&before), now_unix());
        self.secrets.store(Arc::new(secrets));
    }

    /// What signs cookies if the settings have no `cookie_secret`.
    pub fn cookie_secret(&self) -> Secret {
        Secret::clone(&self.random.load())
    }

    /// Signs cookies with the secret on which all nodes have agreed, if the settings have no `cookie_secret`.
    pub fn agree_on_cookie_secret(&self, secret: Secret) {
        if **self.random.load() != secret {
            self.random.store(Arc::new(secret));
            self.secrets.rcu(|secrets| secrets.with_cookie_secret(&self.random.load()));
        }
    }

    /// What shows whether other nodes have the same secrets and keys, by setting.
    pub fn shared_fingerprints(&self) -> BTreeMap<String, String> {
        let mut fingerprints = self.secrets().shared_fingerprints();
        fingerprints.insert("token keys".to_owned(), self.tokens.load().key_names());
        fingerprints
    }

    /// Replaces the keys and rules for connection tokens.
    pub fn replace_token_verifier(&self, verifier: TokenVerifier) {
        self.tokens.store(Arc::new(verifier));
    }

    /// Checks a connection token that came with this request.
    ///
    /// # Errors
    /// As [`Gate::verify_token_of`].
    pub fn verify_token(
        &self,
        token: &str,
        head: &RequestHead,
        now_unix: u64,
    ) -> Result<VerifiedToken, TokenFault> {
        let peer = head.peer_addr.map(|peer| peer.ip());
        self.verify_token_of(token, peer, self.may_use_well_known(head), now_unix)
    }

    /// Checks a connection token of this peer. `is_local` allows a token that was signed with a well-known secret.
    ///
    /// # Errors
    /// The fault of the token.
    pub fn verify_token_of(
        &self,
        token: &str,
        peer: Option<IpAddr>,
        is_local: bool,
        now_unix: u64,
    ) -> Result<VerifiedToken, TokenFault> {
        let secrets = self.secrets();
        let verified = self.tokens.load().verify(token, &secrets, peer, now_unix)?;
        match verified.secret.is_some_and(|secret| secrets.is_well_known(secret)) {
            true if !is_local => Err(TokenFault::Signature),
            _ => Ok(verified),
        }
    }

    /// The URL of the server as the sender of this request sees it.
    pub fn base_url(&self, head: &RequestHead) -> BaseUrl {
        let fallback = format!("localhost:{}", self.settings.port);
        let scheme = self.settings.http_scheme.as_deref();
        BaseUrl::read(text(&head.headers, "host"), self.forwarded(head), scheme, &fallback)
    }

    /// Whether the request has no header that can name a proxy's prefix.
    pub fn has_no_prefix(&self, head: &RequestHead) -> bool {
        !PREFIX_HEADERS.iter().any(|name| head.headers.contains_key(name))
    }

    /// The request's path as the routes use it, in normal form. Every rule about paths uses this path.
    pub fn inner_path<'a>(&self, head: &'a RequestHead) -> Cow<'a, str> {
        match self.path_as_sent(head) {
            Cow::Borrowed(path) => proxy::normal(path),
            Cow::Owned(path) => proxy::normal(&path).into_owned().into(),
        }
    }

    /// The request's path without a proxy's prefix, but not normalized: bound signatures cover it in this form.
    pub fn path_as_sent<'a>(&self, head: &'a RequestHead) -> Cow<'a, str> {
        let path = head.uri.path();
        if self.has_no_prefix(head) && !path.contains("//") {
            return Cow::Borrowed(path);
        }
        proxy::path_as_sent(path, self.forwarded(head))
    }

    /// The client's address: the peer's, or the one that trusted proxies report. It is used for logs and limits, not to
    /// authorize API calls.
    pub fn client_address(&self, head: &RequestHead) -> Option<IpAddr> {
        let lines: Vec<&[u8]> = head.headers.get_all("x-forwarded-for").map(HeaderValue::as_bytes).collect();
        Some(peer::client(head.peer_addr?.ip(), lines.into_iter(), &self.settings.trusted_proxies))
    }

    /// The client's address, if the peer is a trusted proxy that reports it in these lines of `X-Forwarded-For`; see
    /// [`peer::client`].
    pub fn client_behind_proxies<'a>(
        &self,
        peer: SocketAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Option<IpAddr> {
        let client = peer::client(peer.ip(), forwarded_for, &self.settings.trusted_proxies);
        Some(client).filter(|client| *client != peer.ip().to_canonical())
    }

    /// Logs a refusal at level debug. Headers, queries and bodies are not logged, because they may contain secrets.
    pub fn log_refusal(&self, head: &RequestHead, refusal: &Refusal) {
        if log::log_enabled!(log::Level::Debug) {
            let client =
                self.client_address(head).map_or_else(|| "unknown".to_owned(), |client| client.to_string());
            let (path, status) = (escaped(head.uri.path()), refusal.status().as_u16());
            log::debug!("{} {path} refused with {status} {}, client {client}", head.method, refusal.code());
        }
    }

    /// Whether this peer is a trusted proxy, whose sockets carry different clients.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        peer::is_trusted(peer, &self.settings.trusted_proxies)
    }

    /// Whether a trusted proxy reports that the client uses TLS. This server never terminates TLS itself.
    pub fn uses_tls(&self, head: &RequestHead) -> bool {
        // The nearest proxy wrote the last entry.
        let last = self.forwarded(head).get("x-forwarded-proto").and_then(|list| list.rsplit(',').next());
        last.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
    }

    /// Refuses a request without TLS to a path that `enforce_https` covers. `path` is the inner path.
    ///
    /// # Errors
    /// `HttpsRequired`.
    pub fn admit_scheme(&self, head: &RequestHead, path: &str) -> Result<(), Refusal> {
        let is_covered = path != WEBSOCKET_PATH && !path.starts_with(HEALTH_PATHS);
        if self.settings.enforce_https && is_covered && !self.uses_tls(head) {
            return Err(Refusal::HttpsRequired);
        }
        Ok(())
    }
}

/// A header's value, if it exists and is text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::signing::Keys;
    use super::*;
    use actix_web::test::TestRequest;

    fn head(peer: &str, headers: &[(&'static str, &str)]) -> RequestHead {
        let request = TestRequest::default().peer_addr(peer.parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        let mut head = RequestHead::default();
        let made = request.to_http_request();
        head.headers = made.headers().clone();
        head.peer_addr = made.peer_addr();
        head
    }

    fn behind_loopback() -> Gate {
        let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        Gate::new(Arc::new(Settings { trusted_proxies, ..Settings::default() }))
    }

    #[test]
    fn forwarded_headers_count_from_trusted_proxies_only() {
        let headers = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.7")];
        let seen = |gate: &Gate| gate.client_address(&head("127.0.0.1:1", &headers)).unwrap().to_string();
        assert_eq!(seen(&behind_loopback()), "192.0.2.7");
        assert_eq!(seen(&Gate::new(Arc::default())), "127.0.0.1");
    }

    #[test]
    fn only_a_trusted_proxy_can_report_tls() {
        let gate = behind_loopback();
        assert!(gate.uses_tls(&head("127.0.0.1:1", &[("x-forwarded-proto", "https")])));
        assert!(!gate.uses_tls(&head("127.0.0.1:1", &[("x-forwarded-proto", "https, http")])));
        assert!(!gate.uses_tls(&head("127.0.0.1:1", &[])));
        assert!(!gate.uses_tls(&head("192.0.2.1:1", &[("x-forwarded-proto", "https")])));
    }

    #[test]
    fn a_cookie_is_no_api_signature() {
        let cookie_secret = Secret::new("secret");
        let gate = Gate::new(Arc::new(Settings { cookie_secret, ..Settings::default() }));
        let secrets = gate.secrets();
        let cookie = secrets.cookie_keys.sign("admin", 1_000);
        assert!(secrets.cookie_keys.verify(&cookie, 1_000, None).is_ok());
        assert!(secrets.keys.verify(&cookie, 1_000, None).is_err());
    }

    #[test]
    fn secrets_are_replaced_while_the_server_runs() {
        let gate = Gate::new(Arc::default());
        let (before, cookie) = (gate.secrets(), gate.secrets().cookie_keys.sign("admin", 1_000));
        let old = before.keys.sign("", 1_000);
        gate.replace_secrets(&Settings { secrets: vec![Secret::new("new")], ..Settings::default() });
        assert!(before.keys.verify(&old, 1_000, None).is_ok(), "a request in flight keeps its secrets");
        assert!(gate.secrets().keys.verify(&old, 1_000, None).is_err());
        let new = Keys::new(&[Secret::new("new")]).sign("", 1_000);
        assert!(gate.secrets().keys.verify(new, 1_000, None).is_ok());
        // Admins stay signed in, also with a random cookie secret.
        assert!(gate.secrets().cookie_keys.verify(&cookie, 1_000, None).is_ok());
        gate.replace_secrets(&Settings { admin_secret: Secret::new("new"), ..Settings::default() });
        assert!(gate.secrets().cookie_keys.verify(&cookie, 1_000, None).is_err());
    }
}
