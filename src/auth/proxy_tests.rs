use super::*;
use crate::auth::Gate;
use crate::config::Settings;
use actix_http::RequestHead;
use actix_web::dev::Url;
use actix_web::http::Uri;
use actix_web::test::TestRequest;
use proptest::prelude::*;
use std::sync::Arc;

const PROXY: &str = "127.0.0.1:1";

fn head(path: &str, headers: &[(&'static str, &str)]) -> RequestHead {
    let request = TestRequest::with_uri(path).peer_addr(PROXY.parse().unwrap());
    let request = headers.iter().fold(request, |request, header| request.append_header(*header));
    let made = request.to_http_request();
    let mut head = RequestHead::default();
    (head.headers, head.uri, head.peer_addr) = (made.headers().clone(), made.uri().clone(), made.peer_addr());
    head
}

fn behind_a_proxy() -> Gate {
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    Gate::new(Arc::new(Settings { trusted_proxies, ..Settings::default() }))
}

fn from_ini() -> Gate {
    Gate::new(Arc::new(Settings { ini: Some("x.ini".into()), ..Settings::default() }))
}

fn inner(path: &str, headers: &[(&'static str, &str)]) -> String {
    behind_a_proxy().inner_path(&head(path, headers)).into_owned()
}

fn base(list: &[(&'static str, &str)]) -> String {
    based(&behind_a_proxy(), list, None).to_string()
}

fn based(gate: &Gate, list: &[(&'static str, &str)], forced: Option<&str>) -> BaseUrl {
    let head = head("/", list);
    let host = head.headers.get("host").and_then(|host| host.to_str().ok());
    BaseUrl::read(host, gate.forwarded(&head), forced, "localhost:8000")
}

#[test]
fn prefix_and_host_have_a_length_limit() {
    let (longest, longer) = ("p".repeat(256), "p".repeat(257));
    assert_eq!(base(&[("x-script-name", &longest)]), format!("http://localhost:8000/{longest}"));
    assert_eq!(base(&[("x-script-name", &longer)]), "http://localhost:8000");
    let (longest, longer) = ("h".repeat(259), "h".repeat(260));
    assert_eq!(base(&[("host", &longest)]), format!("http://{longest}"));
    assert_eq!(base(&[("host", &longer)]), "http://localhost:8000");
}

#[test]
fn the_prefix_is_removed_from_paths_that_start_with_it() {
    let from = |path, prefix| inner(path, &[("x-script-name", prefix)]);
    assert_eq!(from("/p/connect", "/p"), "/connect");
    assert_eq!(from("/connect", "/p"), "/connect");
    assert_eq!(from("/p", "/p"), "/");
    assert_eq!(from("/p/", "/p"), "/");
    assert_eq!(from("/pages", "/p"), "/pages");
    assert_eq!(from("/p/q/ws", "p/q/"), "/ws");
    assert_eq!(from("//p//connect", "/p"), "/connect");
    assert_eq!(inner("/f/ws", &[("x-forwarded-prefix", "/f")]), "/ws");
    let both = [("x-script-name", "/s"), ("x-forwarded-prefix", "/f")];
    assert_eq!(inner("/s/ws", &both), "/ws");
    assert_eq!(inner("/f/ws", &[("x-script-name", ""), ("x-forwarded-prefix", "/f")]), "/ws");
    // The proxy appends its entry to the one of the client.
    assert_eq!(inner("/p/ws", &[("x-script-name", "/client, /p")]), "/ws");
}

#[test]
fn a_prefix_is_removed_in_every_encoding() {
    let from = |path, prefix| inner(path, &[("x-script-name", prefix)]);
    assert_eq!(from("/%70us%68/connect", "/push"), "/connect");
    assert_eq!(from("/push/connect", "/%70ush"), "/connect");
    assert_eq!(from("/a%2fb/connect", "/a%2Fb"), "/connect");
    assert_eq!(from("/a/b/connect", "/a%2Fb"), "/a/b/connect");
    let sent = |path| behind_a_proxy().path_as_sent(&head(path, &[("x-script-name", "/push")])).into_owned();
    assert_eq!(sent("//pus%68//%63onnect"), "/%63onnect");
}

#[test]
fn doubled_slashes_become_one() {
    assert_eq!(inner("//connect", &[]), "/connect");
    assert_eq!(inner("/a///b/", &[]), "/a/b/");
    let head = head("/connect", &[]);
    assert!(matches!(behind_a_proxy().inner_path(&head), Cow::Borrowed("/connect")));
}

#[test]
fn escapes_have_one_normal_form() {
    for (sent, read) in [
        ("/l%69sten", "/listen"),
        ("/%6C%69%73%74%65%6e", "/listen"),
        ("/%6c%69st%65n", "/listen"),
        ("/openapi-3%2e1%2Djson%5f%7E", "/openapi-3.1-json_~"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%20%c3%a9b", "/a%20%C3%A9b"),
        ("/%256cisten", "/%256cisten"),
        ("/%%36cisten", "/%256cisten"),
        ("/%2%35x%", "/%2525x%25"),
        ("/%+1%-1%\u{e9}", "/%25+1%25-1%25\u{e9}"),
        ("/%00", "/%00"),
    ] {
        assert_eq!(normal(sent), read, "{sent}");
    }
}

#[test]
fn untrusted_clients_cannot_set_a_prefix() {
    let path = |gate: &Gate, path: &str, prefix: &str| {
        gate.inner_path(&head(path, &[("x-script-name", prefix)])).into_owned()
    };
    let direct = Gate::new(Arc::default());
    assert_eq!(path(&direct, "/push/connect", "/push"), "/push/connect");
    // Accepted as in 0.7.1, except for prefixes that turn a path for browsers into another one.
    assert_eq!(path(&from_ini(), "/push/connect", "/push"), "/connect");
    for prefix in [
        "/ws",
        "/wsx",
        "/static",
        "/static/a",
        "/w%73",
        "//listen",
        "disconnect/a",
        "/openapi.json",
        "/WS",
        "/Static",
        "/./ws",
        "/a/../ws",
        "/a/%2e%2e/ws",
        "/a%2F..%2Fws",
    ] {
        let sent = format!("/{}/connect", prefix.trim_matches('/'));
        assert_eq!(path(&from_ini(), &sent, prefix), normal(&sent), "{prefix}");
    }
    assert_eq!(path(&behind_a_proxy(), "/static/connect", "/static"), "/connect");
    let forwarded = [("x-forwarded-prefix", "/push")];
    assert_eq!(from_ini().inner_path(&head("/push/connect", &forwarded)), "/push/connect");
}

#[test]
fn scheme_headers_have_an_order_of_precedence() {
    assert_eq!(base(&[("host", "h:81")]), "http://h:81");
    assert_eq!(base(&[("host", "h"), ("x-scheme", "https"), ("x-forwarded-proto", "http")]), "https://h");
    assert_eq!(base(&[("host", "h"), ("x-url-scheme", "HTTPS")]), "https://h");
    assert_eq!(base(&[("host", "h"), ("x-forwarded-proto", "https, http")]), "https://h");
    assert_eq!(base(&[("host", "h"), ("x-scheme", "javascript"), ("x-url-scheme", "https")]), "https://h");
    let forced = based(&behind_a_proxy(), &[("x-scheme", "http")], Some("https"));
    assert!(forced.is_https());
    assert_eq!(forced.url("/admin"), "https://localhost:8000/admin");
}

#[test]
fn untrusted_clients_cannot_set_the_scheme() {
    for name in SCHEME_HEADERS {
        let https = [(name, "https")];
        assert!(!based(&Gate::new(Arc::default()), &https, None).is_https(), "{name}");
        assert_eq!(based(&from_ini(), &https, None).is_https(), name != "x-forwarded-proto", "{name}");
    }
}

#[test]
fn a_base_url_contains_no_dangerous_characters() {
    for host in ["a'b", "<script>", "", "a b", "a/b", "u@h", "h\u{e9}"] {
        assert_eq!(base(&[("host", host)]), "http://localhost:8000", "{host}");
    }
    assert_eq!(base(&[("host", "h"), ("x-script-name", "/a'b")]), "http://h");
    assert_eq!(
        base(&[("host", "h"), ("x-script-name", "//elsewhere.example/")]),
        "http://h/elsewhere.example"
    );
    assert_eq!(base(&[("host", "h"), ("x-script-name", "/")]), "http://h");
}

/// The path that the router matches, as actix decodes it.
fn routed(path: &str) -> Option<String> {
    Some(Url::new(Uri::try_from(path).ok()?).path().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rules_and_router_use_the_same_path(
        parts in prop::collection::vec("[/%2560-9A-Fa-flistenws.]|%[0-9a-fA-F]{2}|%2[fF5]|%%|%6[cC]", 0..12)
    ) {
        let read = normal(&format!("/{}", parts.concat())).into_owned();
        prop_assert_eq!(normal(&read), read.clone(), "the normal form is stable");
        let routed = routed(&read).unwrap();
        let is_plain = |path: &str| path.bytes().all(|byte| is_unreserved(byte) || byte == b'/');
        prop_assert!(read == routed || !is_plain(&routed), "{} is {} for the router", read, routed);
        // The same is true for the start of a longer path.
        let common = read.chars().zip(routed.chars()).take_while(|(one, other)| one == other).count();
        prop_assert!(read[common..].is_empty() == routed[common..].is_empty());
        prop_assert!(common == read.len() || read[common..].starts_with('%'));
    }
}
