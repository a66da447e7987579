//! Warns of risks, and of settings that are valid by themselves and contradict each other.

use std::net::IpAddr;

use jsonwebtoken::Algorithm;

use super::engine::EngineSetting;
use super::kind_list::AllowedPeers;
use super::kind_text::DemoSetting;
use super::table::{Key, Settings};
use super::{MIN_TOKEN_SECRET_BYTES, is_loopback};

/// Numbers of which the first should not exceed the second, the consequence, and whether the first is reported only if the
/// operator set it: some defaults exceed a small second number without harm. In the second one 0 means "no limit" or "off",
/// so it is not exceeded.
type AtMost = (&'static str, &'static str, &'static str, bool);

const NEVER_REACHED: &str = "it is never reached";

const AT_MOST: &[AtMost] = &[
    ("shutdown_spread", "shutdown_timeout_ms", "the server uses half of the latter", false),
    ("max_body_bytes", "max_pending_body_bytes", "the former limits all bodies together", false),
    ("max_queued_bytes", "max_total_queued_bytes", "one slow session can get others closed", false),
    ("max_frame_bytes", "max_total_queued_bytes", "one large event can get sessions closed", false),
    ("max_frame_bytes", "max_pending_bytes", "one large event can make the API answer 503", false),
    ("max_frame_bytes", "max_body_bytes", NEVER_REACHED, true),
    ("compression_threshold_bytes", "max_frame_bytes", "nothing is compressed", true),
    ("max_connections_per_user", "max_connections", NEVER_REACHED, true),
    ("max_sessions", "max_connections", NEVER_REACHED, true),
    ("max_sockets_per_address", "max_sessions", NEVER_REACHED, true),
    ("max_channels_per_connection", "max_channels", NEVER_REACHED, true),
    ("max_channels_per_request", "max_channels_per_connection", NEVER_REACHED, true),
    ("max_channels_per_request", "max_list_items", NEVER_REACHED, true),
];

/// The warnings about settings that a server starts with.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let risks = [default_secrets, trusted_headers, Settings::half_default_warning];
    let risks = risks.iter().filter_map(|risk| risk(settings));
    risks.chain(contradictions(settings)).collect()
}

fn default_secrets(settings: &Settings) -> Option<String> {
    let is_open = settings.exposes_default_secrets() && !settings.allow_default_secrets;
    (settings.ini.is_some() && is_open).then(|| {
        let keys = settings.default_secrets().join(" and ");
        let host = settings.exposed_host().unwrap_or(&settings.host);
        format!(
            "SECURITY: {keys} still at the well-known default while the server listens on {host}: every client that reaches \
             this port can do everything. Set your own secrets!"
        )
    })
}

fn trusted_headers(settings: &Settings) -> Option<String> {
    (settings.ini.is_some() && settings.trusted_proxies.is_empty()).then(|| {
        "trusted_proxies: empty, so the server uses the headers X-Script-Name, X-Scheme and X-Url-Scheme of every client, as \
         0.7.1 does. Name the addresses of your proxies, or 127.0.0.1 if there is none."
            .into()
    })
}

/// Each of them names both settings.
fn contradictions(settings: &Settings) -> impl Iterator<Item = String> {
    let numbers = AT_MOST.iter().filter_map(|rule| exceeds(rule, settings));
    let rules = [idle_sockets, origins, no_callers, same_address, short_secrets, engine_room];
    let others = rules.into_iter().filter_map(|rule| rule(settings));
    numbers.chain(others).chain(without_effect(settings))
}

fn number(name: &str, settings: &Settings) -> Option<i64> {
    Key::find(name)?.number(settings)
}

fn exceeds(&(part, whole, so, unless_default): &AtMost, settings: &Settings) -> Option<String> {
    let (value, bound) = (number(part, settings)?, number(whole, settings)?);
    let is_harmless = unless_default && number(part, &Settings::default()) == Some(value);
    (value > bound && bound != 0 && !is_harmless)
        .then(|| format!("{part}: {value} is more than {whole} ({bound}), so {so}"))
}

fn idle_sockets(settings: &Settings) -> Option<String> {
    let (idle, ping) = (settings.pong_timeout, settings.ping_interval_ms);
    let reason = match (idle, ping) {
        (0, _) => return None,
        (_, 0) => "ping_interval_ms is 0".into(),
        _ if ping >= idle => format!("{idle} is not longer than ping_interval_ms ({ping})"),
        _ => return None,
    };
    Some(format!("pong_timeout: {reason}, so the server will close quiet clients"))
}

/// Pages of any origin may subscribe, at an address that they can reach.
fn origins(settings: &Settings) -> Option<String> {
    let reached = match is_loopback(&settings.host) {
        _ if !settings.allowed_origins.is_empty() => return None,
        false => format!("host: other machines can reach {}", settings.host),
        true if !settings.trusted_proxies.is_empty() => {
            "trusted_proxies: other machines can reach the server through a proxy".into()
        }
        true => return None,
    };
    Some(format!(
        "{reached}, and allowed_origins is empty, so pages of any site may open websockets and poll"
    ))
}

/// Programs on the same machine that call a server at such an address have this address themselves, not loopback.
fn no_callers(settings: &Settings) -> Option<String> {
    let AllowedPeers::Only(peers) = &settings.allow_posting_from else { return None };
    if peers.is_empty() {
        return Some("allow_posting_from: it is empty, so the signed API refuses all callers".into());
    }
    let (host, _) = settings.api_address();
    let address: IpAddr = host.parse().ok()?;
    let is_apart = !address.is_unspecified() && !is_loopback(host);
    let key = if settings.internal_host.is_some() { "internal_host" } else { "host" };
    (is_apart && peers.iter().all(IpAddr::is_loopback)).then(|| {
        format!(
            "allow_posting_from: it names loopback only, and {key} is {host}, so the signed API refuses all callers"
        )
    })
}

fn same_address(settings: &Settings) -> Option<String> {
    let internal = settings.internal_host.as_deref()?;
    let any = |host: &str| ["0.0.0.0", "::"].contains(&host);
    let named = |host: &str| host.parse::<IpAddr>().is_err();
    let both_local = is_loopback(internal) && is_loopback(&settings.host);
    let by_name = both_local && (named(internal) || named(&settings.host));
    let same = internal == settings.host || any(internal) || any(&settings.host) || by_name;
    let port = settings.internal_port;
    (same && port == settings.port && port != 0).then(|| {
        format!("internal_port: {port} equals port, and internal_host and host overlap, so the server cannot listen on both")
    })
}

/// A short secret can be found by trying, from one token. RFC 7518 (section 3.2) requires 32 bytes for HS256. On loopback,
/// and for the well-known secret, other rules apply.
fn short_secrets(settings: &Settings) -> Option<String> {
    let is_used = !settings.listens_on_loopback() && settings.token_algorithms.contains(&Algorithm::HS256);
    let own = settings.secrets.iter().filter(|secret| !Settings::is_well_known_secret(secret));
    let shortest = own.map(|secret| secret.expose().len()).min().filter(|bytes| is_used && *bytes < 32)?;
    let so = match shortest < MIN_TOKEN_SECRET_BYTES {
        true => format!(
            "the server refuses connection tokens signed with less than {MIN_TOKEN_SECRET_BYTES} bytes"
        ),
        false => "secrets that sign connection tokens should have 32 bytes".into(),
    };
    Some(format!("secrets: the shortest one has {shortest} bytes; {so} (RFC 7518)"))
}

fn engine_room(settings: &Settings) -> Option<String> {
    let (frame, room) = (settings.max_frame_bytes, settings.engine_pending_bytes);
    (settings.engine == EngineSetting::Redis && frame > room).then(|| {
        format!("max_frame_bytes: {frame} is more than engine_pending_bytes ({room}), so one large event can make the API answer 503")
    })
}

/// Settings that have no effect beside another one, or that refuse what another one allows.
fn without_effect(settings: &Settings) -> impl Iterator<Item = String> {
    let default = Settings::default();
    let has_port = settings.internal_port != default.internal_port;
    let uses_key_files = settings.token_algorithms.iter().any(|algorithm| *algorithm != Algorithm::HS256);
    let has_threshold = settings.compression_threshold_bytes != default.compression_threshold_bytes;
    let is_embedded = settings.engine == EngineSetting::Embedded;
    let rules = [
        (
            is_embedded && !settings.engine_url.is_empty(),
            "engine_url: it has no effect while engine is embedded",
        ),
        (
            !is_embedded && settings.demo == DemoSetting::On,
            "demo: it has no effect while engine is redis, because its visitors would share the users of all nodes",
        ),
        (
            settings.token_public_key.is_some() && !uses_key_files,
            "token_public_key: it has no effect while token_algorithms lists no algorithm with public keys",
        ),
        (
            settings.token_jwks.is_some() && !uses_key_files,
            "token_jwks: it has no effect while token_algorithms lists no algorithm with public keys",
        ),
        (
            settings.require_tokens && settings.token_algorithms.is_empty(),
            "require_tokens: token_algorithms is empty, so the server refuses all sessions",
        ),
        (
            has_port && settings.internal_host.is_none(),
            "internal_port: it has no effect while internal_host is empty",
        ),
        (
            settings.enforce_https && settings.http_scheme.as_deref() == Some("http"),
            "http_scheme: it is http, which enforce_https refuses",
        ),
        (
            // The server itself does not implement TLS.
            settings.enforce_https && settings.trusted_proxies.is_empty(),
            "enforce_https: only proxies in trusted_proxies can report TLS, and it is empty, so requests may be refused",
        ),
        (
            has_threshold && !settings.compression,
            "compression_threshold_bytes: it has no effect while compression is off",
        ),
        (
            settings.require_bound_signatures && !settings.check_signature_age,
            "check_signature_age: it has no effect while require_bound_signatures is on, because bound signatures always expire",
        ),
    ];
    rules.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning.into())
}

#[cfg(test)]
mod tests {
    use super::super::kind::Given;
    use super::super::{AllowedOrigins, Secret};
    use super::*;

    fn warnings(settings: Settings) -> Vec<String> {
        contradictions(&settings).collect()
    }

    #[track_caller]
    fn warned(settings: Settings, one: &str, other: &str) {
        let warnings = warnings(settings);
        let named = warnings.iter().any(|text| text.starts_with(&format!("{one}: ")) && text.contains(other));
        assert!(named, "{one} and {other}: {warnings:?}");
    }

    fn set(settings: &mut Settings, name: &str, value: i64) -> Result<(), String> {
        (Key::find(name).unwrap().read)(settings, Given::Typed(&value.into()), &mut Vec::new())
    }

    fn changed(name: &str, value: i64) -> Settings {
        let mut settings = Settings::default();
        set(&mut settings, name, value).unwrap();
        settings
    }

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(warnings(Settings::default()), Vec::<String>::new());
    }

    #[test]
    fn each_number_over_its_bound_is_reported_with_both_names() {
        for (part, whole, ..) in AT_MOST {
            let mut settings = match number(whole, &Settings::default()) {
                Some(0) => changed(whole, 10),
                _ => Settings::default(),
            };
            let over = number(whole, &settings).unwrap() + 1;
            if set(&mut settings, part, over).is_err() {
                // The part cannot be that large: a smaller whole is exceeded as well.
                settings = changed(whole, 100_000);
                settings.max_frame_bytes = 100_001;
            }
            warned(settings, part, whole);
        }
    }

    #[test]
    fn a_default_is_not_reported_where_it_is_harmless() {
        assert_eq!(warnings(changed("max_channels", 500)), Vec::<String>::new());
        assert_eq!(warnings(changed("max_list_items", 500)), Vec::<String>::new());
        // 0 means no limit, or a stop that does not wait.
        assert_eq!(warnings(changed("shutdown_timeout_ms", 0)), Vec::<String>::new());
        assert_eq!(warnings(changed("max_total_queued_bytes", 0)), Vec::<String>::new());
    }

    #[test]
    fn one_event_fits_into_what_may_wait_for_redis() {
        let small = Settings { engine: EngineSetting::Redis, ..changed("engine_pending_bytes", 2 << 20) };
        warned(small, "max_frame_bytes", "engine_pending_bytes (2097152)");
        assert_eq!(warnings(changed("engine_pending_bytes", 2 << 20)), Vec::<String>::new());
    }

    #[test]
    fn quiet_clients_need_pings() {
        warned(changed("pong_timeout", 20_000), "pong_timeout", "ping_interval_ms (25000)");
        warned(changed("ping_interval_ms", 0), "pong_timeout", "ping_interval_ms is 0");
        let never = Settings { pong_timeout: 0, ping_interval_ms: 0, ..Settings::default() };
        assert_eq!(warnings(never), Vec::<String>::new());
    }

    #[test]
    fn a_public_server_names_the_origins_of_its_pages() {
        let public = || Settings { host: "0.0.0.0".into(), ..Settings::default() };
        warned(public(), "host", "allowed_origins");
        let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        warned(Settings { trusted_proxies, ..Settings::default() }, "trusted_proxies", "allowed_origins");
        let allowed_origins = AllowedOrigins(vec!["https://app.example".parse().unwrap()]);
        assert_eq!(warnings(Settings { allowed_origins, ..public() }), Vec::<String>::new());
    }

    #[test]
    fn an_api_without_callers_is_reported() {
        let none = Settings { allow_posting_from: AllowedPeers::Only(Vec::new()), ..Settings::default() };
        warned(none, "allow_posting_from", "empty");
        let at = |host: &str| Settings { host: host.into(), ..Settings::default() };
        warned(at("192.0.2.7"), "allow_posting_from", "host is 192.0.2.7");
        let internal = |host: &str| Settings { internal_host: Some(host.into()), ..at("0.0.0.0") };
        warned(internal("2001:db8::1"), "allow_posting_from", "internal_host is 2001:db8::1");
        let others = AllowedPeers::Only(vec!["127.0.0.1".parse().unwrap(), "192.0.2.8".parse().unwrap()]);
        let reached = Settings { allow_posting_from: others, ..at("192.0.2.7") };
        let any = Settings { allow_posting_from: AllowedPeers::Any, ..at("192.0.2.7") };
        for settings in [reached, any, at("0.0.0.0"), at("::"), at("push.example"), internal("::1")] {
            let warnings = warnings(settings);
            assert!(!warnings.iter().any(|text| text.starts_with("allow_posting_from")), "{warnings:?}");
        }
    }

    #[test]
    fn short_secrets_of_a_public_server_are_reported() {
        let with = |secret: &str| Settings {
            host: "0.0.0.0".into(),
            secrets: vec![Secret::new(secret), Secret::new("x".repeat(40))],
            ..Settings::default()
        };
        warned(with("fifteen bytes.."), "secrets", "15 bytes; the server refuses");
        warned(with(&"x".repeat(31)), "secrets", "should have 32 bytes");
        let fine = [
            with(&"x".repeat(32)),
            Settings { host: "::1".into(), ..with("short") },
            Settings { token_algorithms: Vec::new(), ..with("short") },
        ];
        for settings in fine {
            assert!(!warnings(settings).iter().any(|text| text.starts_with("secrets: ")));
        }
    }

    #[test]
    fn settings_without_effect_are_reported() {
        let key_file = || Some("keys".to_owned());
        warned(
            Settings { token_public_key: key_file(), ..Settings::default() },
            "token_public_key",
            "no effect",
        );
        let none = Settings { require_tokens: true, token_algorithms: Vec::new(), ..Settings::default() };
        warned(none, "require_tokens", "token_algorithms");
        warned(Settings { token_jwks: key_file(), ..Settings::default() }, "token_jwks", "no effect");
        warned(changed("internal_port", 9_000), "internal_port", "internal_host");
        let both = Settings {
            internal_host: Some("127.0.0.1".into()),
            internal_port: 8_000,
            secrets: vec![Secret::new("own")],
            ..Settings::default()
        };
        let named = Settings { host: "localhost".into(), ..both.clone() };
        let apart = Settings { host: "127.0.0.2".into(), ..both.clone() };
        warned(both, "internal_port", "host overlap");
        warned(named, "internal_port", "host overlap");
        assert_eq!(warnings(apart), Vec::<String>::new());
        let https = || Settings { enforce_https: true, ..Settings::default() };
        warned(https(), "enforce_https", "trusted_proxies");
        warned(Settings { http_scheme: Some("http".into()), ..https() }, "http_scheme", "enforce_https");
        let plain = Settings { compression: false, compression_threshold_bytes: 9, ..Settings::default() };
        warned(plain, "compression_threshold_bytes", "compression is off");
        let engine_url = vec!["redis://localhost".parse().unwrap()];
        warned(Settings { engine_url, ..Settings::default() }, "engine_url", "engine is embedded");
        let bound =
            Settings { require_bound_signatures: true, check_signature_age: false, ..Settings::default() };
        warned(bound, "check_signature_age", "require_bound_signatures");
    }
}
