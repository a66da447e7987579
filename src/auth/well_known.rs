//! Well-known secrets, and a demo mode that no setting switched on, are available to requests from this machine only.
//!
//! The default secret and the default password are public. A server that listens on loopback can still be reached from
//! other machines: through a proxy on the same machine, and through the developer's own browser, which a page of any site
//! can make send requests. So a request with a well-known secret must come from this machine: its peer is this machine, it
//! has no header of a proxy, it names no foreign `Host`, and it comes from no foreign page. `allow_default_secrets = true`
//! switches the rule off.

use super::Gate;
use super::allowed_origins::origin_of;
use super::secrets::Secrets;
use crate::config::DemoSetting;
use crate::http_error::Refusal;
use crate::telemetry::log_sums::WELL_KNOWN_SECRETS;
use actix_http::RequestHead;
use std::net::{IpAddr, Ipv6Addr};

/// Headers that proxies add. Their values do not matter: a client on this machine sends none of them.
const PROXY_HEADERS: [&str; 22] = [
    "forwarded",
    "via",
    "x-script-name",
    "x-scheme",
    "x-url-scheme",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-ray",
    "cdn-loop",
    "fastly-client-ip",
    "fly-client-ip",
    "x-appengine-user-ip",
    "x-forward-for",
    "x-nginx-proxy",
    "x-originating-ip",
    "x-remote-addr",
    "x-remote-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
];
/// Prefixes of further such headers.
const PROXY_HEADER_PREFIXES: [&str; 6] =
    ["x-forwarded", "x-real-", "x-original-", "x-envoy-", "x-arr-", "x-azure-"];

impl Gate {
    /// Checks a request with a valid signature that was made with the secret of this number.
    ///
    /// # Errors
    /// `WellKnownSecret`.
    pub(crate) fn admit_secret(
        &self,
        secrets: &Secrets,
        number: usize,
        head: &RequestHead,
    ) -> Result<(), Refusal> {
        if secrets.accept_known_secret && secrets.is_well_known(number) {
            return self.admit_well_known("secret", head);
        }
        Ok(())
    }

    /// Checks a request that is authenticated by the admin's password, or by a cookie that was issued for it.
    ///
    /// # Errors
    /// `WellKnownSecret`.
    pub fn admit_password(&self, head: &RequestHead) -> Result<(), Refusal> {
        if self.secrets().well_known_password {
            return self.admit_well_known("password", head);
        }
        Ok(())
    }

    /// Whether demo mode is available to this request. If the setting turns it on, it is available to all. If it is on
    /// because nothing suggests a deployment, it is available to requests from this machine while all secrets are the
    /// well-known ones.
    pub fn serves_demo(&self, head: &RequestHead) -> bool {
        let all_well_known = || {
            let secrets = self.secrets();
            secrets.well_known_password && secrets.are_well_known()
        };
        self.settings.demo_enabled()
            && (self.settings.demo == DemoSetting::On
                || (all_well_known() && self.foreign_reason(head).is_none()))
    }

    /// Whether a well-known secret is accepted from the sender of this request.
    pub fn may_use_well_known(&self, head: &RequestHead) -> bool {
        self.settings.allow_default_secrets || self.foreign_reason(head).is_none()
    }

    fn admit_well_known(&self, what: &str, head: &RequestHead) -> Result<(), Refusal> {
        if self.settings.allow_default_secrets {
            return Ok(());
        }
        let Some(reason) = self.foreign_reason(head) else { return Ok(()) };
        WELL_KNOWN_SECRETS.log(
            self.client_address(head),
            format_args!(
                "a request with the well-known {what} is refused because it {reason}: set your own secrets and \
                 admin_secret, or allow_default_secrets = true"
            ),
        );
        Err(Refusal::WellKnownSecret(reason))
    }

    /// The reason why a request is not from this machine, as the end of a sentence about the request.
    fn foreign_reason(&self, head: &RequestHead) -> Option<&'static str> {
        if !head.peer_addr.is_some_and(|peer| self.is_own_address(peer.ip().to_canonical())) {
            return Some("comes from another machine");
        }
        // A target in absolute form names a host as well.
        if head.uri.authority().is_some_and(|named| !self.is_own_host(named.as_str())) {
            return Some("names a foreign host");
        }
        let mut page = RequestPage::default();
        for (name, value) in &head.headers {
            let value = value.to_str().unwrap_or("not text");
            match name.as_str() {
                "host" if !self.is_own_host(value) => return Some("names a foreign `Host`"),
                "origin" => page.origins.push(value),
                "referer" => page.referer = Some(value),
                "sec-fetch-site" => page.site = Some(value),
                "sec-fetch-mode" => page.navigates = value == "navigate",
                name if is_proxy_header(name) => return Some("came through a proxy"),
                _ => {}
            }
        }
        (!self.is_own_page(&page)).then_some("comes from a page of a foreign origin")
    }

    /// Browsers send the origin with all requests except plain loads (images, scripts, links). With those they report
    /// whether a page of another site caused the request, and usually which page. The answer to a navigation is visible
    /// only to the user, not to the page.
    fn is_own_page(&self, page: &RequestPage<'_>) -> bool {
        let by_referer = |page: &str| self.is_own_origin(&page[..origin_of(page.as_bytes()).len()]);
        match page.site {
            _ if !page.origins.is_empty() => page.origins.iter().all(|origin| self.is_own_origin(origin)),
            Some("same-origin" | "none") => true,
            Some(_) => page.navigates || page.referer.is_some_and(by_referer),
            None => page.referer.is_none_or(by_referer),
        }
    }

    fn is_own_origin(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.is_own_host(host))
    }

    /// Whether a host, with or without a port, is this machine: a loopback name or address, or a host of the settings.
    fn is_own_host(&self, authority: &str) -> bool {
        let Some(host) = without_port(authority) else { return false };
        let name = host.trim_end_matches('.');
        let is_loopback_name =
            ends_with_ignoring_case(name, ".localhost") || name.eq_ignore_ascii_case("localhost");
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        is_loopback_name
            || address.is_some_and(|address| address.is_loopback())
            || self.settings.hosts().any(|own| same_host(own, host, address))
    }

    /// Whether a peer is this machine.
    fn is_own_address(&self, peer: IpAddr) -> bool {
        peer.is_loopback()
            || self
                .settings
                .hosts()
                .any(|own| own.parse().is_ok_and(|own: IpAddr| own.to_canonical() == peer))
    }
}

/// The headers by which a browser describes the page that caused a request.
#[derive(Default)]
struct RequestPage<'a> {
    origins: smallvec::SmallVec<[&'a str; 2]>,
    referer: Option<&'a str>,
    site: Option<&'a str>,
    navigates: bool,
}

/// Compares a host with a setting: `Host: test` equals the setting `Test`, `Host: [0:0::1]` equals `::1`.
fn same_host(own: &str, host: &str, address: Option<IpAddr>) -> bool {
    match own.parse::<IpAddr>() {
        Ok(own) => address == Some(own.to_canonical()),
        Err(_) => own.eq_ignore_ascii_case(host),
    }
}

/// The host of `host`, `host:port`, `[address]` and `[address]:port`; an IPv6 address without its brackets.
fn without_port(authority: &str) -> Option<&str> {
    let is_port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return Some(address).filter(|address| is_port && address.parse::<Ipv6Addr>().is_ok());
    }
    match authority.split_once(':') {
        Some((host, port)) => Some(host).filter(|_| is_port(port)),
        None => Some(authority),
    }
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let at = text.len().checked_sub(end.len());
    at.and_then(|at| text.get(at..)).is_some_and(|rest| rest.eq_ignore_ascii_case(end))
}

fn is_proxy_header(name: &str) -> bool {
    PROXY_HEADERS.contains(&name) || PROXY_HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use std::sync::Arc;

    fn reason(settings: Settings, peer: &str, headers: &[(&'static str, &str)]) -> Option<&'static str> {
        let request = TestRequest::default().peer_addr(peer.parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        Gate::new(Arc::new(settings)).foreign_reason(request.to_http_request().head())
    }

    fn local_reason(headers: &[(&'static str, &str)]) -> Option<&'static str> {
        reason(Settings::default(), "127.0.0.1:4711", headers)
    }

    #[test]
    fn hosts_of_this_machine_are_accepted_on_any_port() {
        let own = [
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "localhost.:80",
            "app.localhost:8000",
            "a.b.localhost",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.8.8.8:1",
            "[::1]",
            "[::1]:8000",
            "[0:0::1]",
            "[::ffff:127.0.0.1]:1",
            "localhost:",
        ];
        for host in own {
            assert_eq!(local_reason(&[("host", host)]), None, "{host}");
            for scheme in ["http", "https"] {
                assert_eq!(local_reason(&[("origin", &format!("{scheme}://{host}"))]), None, "{host}");
            }
        }
        let others = [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "evil-localhost",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:8000@evil.example",
            "localhost:x",
            "localhost:1:2",
            "[::2]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[localhost]",
            "::1",
            "128.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f.1",
            "localhost/",
            "local host",
            "l\u{f6}calhost",
        ];
        for host in others {
            assert!(local_reason(&[("host", host)]).is_some(), "{host}");
            assert!(local_reason(&[("origin", &format!("http://{host}"))]).is_some(), "{host}");
        }
        assert_eq!(local_reason(&[]), None, "a program may send no host");
        assert!(
            local_reason(&[("host", "localhost"), ("host", "evil.example")]).is_some(),
            "each of several hosts must be local"
        );
    }

    #[test]
    fn the_host_of_the_settings_is_this_machine() {
        let named = |host: &str| Settings { host: host.into(), ..Settings::default() };
        for (host, sent) in
            [("dev.example", "DEV.example:8000"), ("10.0.0.1", "10.0.0.1"), ("::2", "[0:0::2]:1")]
        {
            let headers = [("host", sent), ("origin", &*format!("http://{sent}"))];
            assert_eq!(reason(named(host), "127.0.0.1:1", &headers), None, "{host}");
        }
        assert_eq!(reason(named("10.0.0.1"), "10.0.0.1:1", &[]), None);
        assert!(reason(named("10.0.0.1"), "10.0.0.2:1", &[("host", "10.0.0.1")]).is_some());
        assert!(reason(named("0.0.0.0"), "10.0.0.2:1", &[("host", "localhost")]).is_some(), "a forged name");
        let internal = Settings { internal_host: Some("api.internal".into()), ..Settings::default() };
        assert_eq!(reason(internal, "127.0.0.1:1", &[("host", "api.internal:8001")]), None);
        assert_eq!(reason(Settings::default(), "[::1]:1", &[]), None);
    }

    #[test]
    fn origins_that_are_no_address_of_this_machine_are_foreign() {
        for origin in
            ["null", "", "localhost", "file://", "chrome-extension://localhost", "http://localhost/", "*"]
        {
            assert!(local_reason(&[("host", "localhost"), ("origin", origin)]).is_some(), "{origin}");
        }
        assert!(local_reason(&[("origin", "http://localhost"), ("origin", "http://evil.example")]).is_some());
    }

    #[test]
    fn loads_without_an_origin_are_checked_by_fetch_metadata_and_referer() {
        let image = |site, referer| {
            let mut headers = vec![("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")];
            headers.extend(Some(("referer", referer)).filter(|_| !str::is_empty(referer)));
            local_reason(&headers)
        };
        assert_eq!((image("same-origin", ""), image("none", "")), (None, None));
        for site in ["cross-site", "same-site", "", "something-new"] {
            assert!(
                image(site, "").is_some() && image(site, "https://evil.example/http://localhost/").is_some()
            );
            assert_eq!(image(site, "http://localhost:8101/page?x"), None);
        }
        assert_eq!(
            local_reason(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
            None,
            "a link"
        );
        // Browsers that send no fetch metadata.
        assert!(local_reason(&[("referer", "https://evil.example/localhost")]).is_some());
        assert_eq!(local_reason(&[("referer", "http://127.0.0.1:8101")]), None);
    }

    #[test]
    fn every_header_of_a_proxy_is_detected() {
        let families = [
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x-forwarded",
            "x-real-ip",
            "x-real-host",
            "x-original-url",
            "x-envoy-peer",
        ];
        for name in PROXY_HEADERS.into_iter().chain(families) {
            for value in ["", "203.0.113.9", "127.0.0.1"] {
                assert_eq!(local_reason(&[(name, value)]), Some("came through a proxy"), "{name}");
            }
        }
        for name in ["accept", "x-channelstream-secret", "x-requested-with", "forwarded-by", "viaduct"] {
            assert_eq!(local_reason(&[(name, "x")]), None, "{name}");
        }
    }

    #[test]
    fn replacing_secrets_changes_the_rules_immediately() {
        let request = TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap());
        let head = request.insert_header(("via", "1.1 proxy")).to_http_request();
        let (local, proxied) =
            (TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap()).to_http_request(), head);
        let gate = Gate::new(Arc::default());
        let allowed = || (gate.admit_password(proxied.head()).is_ok(), gate.serves_demo(local.head()));
        assert_eq!(allowed(), (false, true));
        let own = || Secret::new("own");
        gate.replace_secrets(&Settings { secrets: vec![own()], ..Settings::default() });
        assert_eq!(allowed(), (false, false), "an own secret switches the demo off");
        gate.replace_secrets(&Settings { secrets: vec![own()], admin_secret: own(), ..Settings::default() });
        assert_eq!(allowed(), (true, false));
        gate.replace_secrets(&Settings::default());
        assert_eq!(allowed(), (false, true));
    }

    #[test]
    fn the_host_of_an_absolute_target_is_checked() {
        let check = |uri: &str| {
            let request = TestRequest::with_uri(uri).peer_addr("127.0.0.1:1".parse().unwrap());
            Gate::new(Arc::default()).foreign_reason(request.to_http_request().head())
        };
        assert_eq!(check("http://localhost:8000/info"), None);
        assert_eq!(check("http://evil.example/info"), Some("names a foreign host"));
    }
}
