use super::*;
use crate::auth::Gate;
use crate::transports::websocket::upgrade::offers_deflate;
use actix_codec::Decoder;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::header;
use bytes::BytesMut;
use proptest::prelude::*;
use std::sync::Arc;

const ID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const NEEDED: [&str; 5] = [
    "Host: test",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

fn handshake(target: &str, headers: &[&str]) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
}

fn good(more: &[&str]) -> Vec<u8> {
    handshake(&format!("/ws?conn_id={ID}"), &[&NEEDED[..], more].concat())
}

#[test]
fn handshakes_of_browsers_and_proxies_are_plain() {
    let bytes = good(&[
        "Origin: http://test",
        "Sec-Fetch-Site: same-origin",
        "User-Agent: a browser",
        "Accept-Encoding: gzip, deflate",
        "Cookie: a=b",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
        "X-Forwarded-For: 192.0.2.3",
        "X-Real-IP: 192.0.2.4",
        "X-Forwarded-Proto: https",
    ]);
    let with_more = [&bytes[..], b"\x88\x80\0\0\0\0"].concat();
    let plain = PlainHandshake::read(&with_more).unwrap();
    assert_eq!(plain.target.conn_id.unwrap().to_string(), ID);
    assert!(plain.deflate);
    assert_eq!(plain.length, bytes.len());
    assert_eq!(plain.forwarded_for[..], ["192.0.2.1, 192.0.2.2", "192.0.2.3"]);
    assert_eq!(plain.origin, Some(&b"http://test"[..]));
}

#[test]
fn clients_that_ask_for_positions_are_plain() {
    let targets = [
        format!("/ws?conn_id={ID}&resume=1&since=17c2k9x.a"),
        format!("/ws?resume=1&positions=%7B%22a%22%3A%2200000000.1%22%7D&conn_id={ID}"),
    ];
    let targets = targets.map(|target| {
        let bytes = handshake(&target, &NEEDED);
        PlainHandshake::read(&bytes).unwrap().target
    });
    assert_eq!(targets[0].resume.since.as_deref(), Some("17c2k9x.a"));
    assert_eq!(targets[1].resume.positions.as_deref(), Some(r#"{"a":"00000000.1"}"#));
    assert_eq!(targets[1].conn_id.unwrap().to_string(), ID);
}

#[test]
fn responses_follow_rfc_6455() {
    let bytes = good(&[]);
    let plain = PlainHandshake::read(&bytes).unwrap();
    let answer = |deflate| String::from_utf8(plain.answer(deflate)).unwrap();
    assert_eq!(
        answer(false),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert!(answer(true).contains(&format!("\r\nsec-websocket-extensions: {}\r\n", deflate::ANSWER)));
}

#[test]
fn incomplete_handshakes_go_to_the_http_stack() {
    let bytes = good(&[]);
    for end in 0..bytes.len() {
        assert_eq!(PlainHandshake::read(&bytes[..end]), None, "{end}");
    }
}

#[test]
fn special_handshakes_go_to_the_upgrade_service() {
    for more in [
        "X-Channelstream-Secret: x",
        "X-Script-Name: /p",
        "X-Forwarded-Prefix: /p",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Sec-Fetch-Site: cross-site",
        "Referer: http://test/",
        "Host: other",
        "Upgrade: websocket",
        "Connection: close",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_eq!(PlainHandshake::read(&good(&[more])), None, "{more}");
    }
    let id = ID.replace('-', "");
    for target in [
        "/ws".to_owned(),
        "/ws?conn_id=".to_owned(),
        format!("//ws?conn_id={ID}"),
        format!("/ws/?conn_id={ID}"),
        format!("/ws?conn_id={ID}&secret=x"),
        format!("/ws?secret=x&conn_id={ID}"),
        format!("/ws?conn_id={id}"),
        format!("/ws?conn_id=%30{}", &ID[1..]),
        format!("/ws?conn_id={{{}}}", &ID[2..]),
        format!("http://test/ws?conn_id={ID}"),
        format!("/ws?conn_id={ID}#x"),
    ] {
        assert_eq!(PlainHandshake::read(&handshake(&target, &NEEDED)), None, "{target}");
    }
    let text = String::from_utf8(good(&[])).unwrap();
    for (from, to) in [("GET", "POST"), ("HTTP/1.1", "HTTP/1.0"), ("13", "14"), ("==", "=\"")] {
        assert_eq!(PlainHandshake::read(text.replacen(from, to, 1).as_bytes()), None, "{from} {to}");
    }
}

/// The data of a handshake.
#[derive(Debug, PartialEq)]
struct HandshakeData {
    target: SessionTarget,
    deflate: bool,
    accept: Vec<u8>,
    length: usize,
    forwarded_for: Vec<String>,
}

impl From<PlainHandshake<'_>> for HandshakeData {
    fn from(plain: PlainHandshake<'_>) -> Self {
        Self {
            target: plain.target,
            deflate: plain.deflate,
            accept: plain.accept.to_vec(),
            length: plain.length,
            forwarded_for: plain.forwarded_for.iter().map(|line| line.to_string()).collect(),
        }
    }
}

/// The data that the HTTP stack and the upgrade service read from an accepted handshake.
fn parsed_by_the_stack(bytes: &[u8]) -> Option<HandshakeData> {
    let mut codec = Codec::default();
    let mut rest = BytesMut::from(bytes);
    let Ok(Some(Message::Item(request))) = codec.decode(&mut rest) else { return None };
    let head = request.head();
    let is_plain = Gate::new(Arc::default()).has_no_prefix(head) && head.uri.path() == "/ws";
    let is_signed = head.headers.contains_key(SIGNATURE_HEADER) || head.uri.query()?.contains("secret");
    if !matches!(codec.message_type(), MessageType::Stream) || !is_plain || is_signed {
        return None;
    }
    let answer = ws::handshake(head).ok()?.finish();
    let forwarded_for = head.headers.get_all("x-forwarded-for").map(|line| line.to_str());
    Some(HandshakeData {
        target: SessionTarget::read(head.uri.query()?).ok()?,
        deflate: offers_deflate(head),
        accept: answer.headers().get(header::SEC_WEBSOCKET_ACCEPT)?.as_bytes().to_vec(),
        length: bytes.len() - rest.len(),
        forwarded_for: forwarded_for.map(|line| line.unwrap().to_owned()).collect(),
    })
}

/// Headers that affect the result, and some that do not.
fn header_lines() -> impl Strategy<Value = Vec<&'static str>> {
    let odd = prop::sample::select(vec![
        "connection: keep-alive, upgrade",
        "connection: Upgrade , close",
        "connection: upgraded",
        "connection:",
        "upgrade: WebSocket ",
        "upgrade: websocket, h2c",
        "upgrade: h2c",
        "host: other",
        "sec-websocket-version: 13 ",
        "sec-websocket-version: 8",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAAA=",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAP==",
        "sec-websocket-key: short",
        "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "sec-websocket-extensions: x-other",
        "x-forwarded-for: 192.0.2.1,192.0.2.2",
        "x-forwarded-for:",
        "x-real-ip: 192.0.2.3",
        "x-script-name: /p",
        "x-channelstream-secret:",
        "content-length: 5",
        "transfer-encoding: chunked",
        "expect: 100-continue",
        "accept: text/html",
        "origin: null",
        "cookie: a=b",
        ": x",
        "a b: c",
        "x",
    ]);
    let needed = prop::sample::subsequence(NEEDED.to_vec(), 4..=NEEDED.len());
    (needed, prop::collection::vec(odd, 0..4)).prop_flat_map(|(needed, odd)| {
        let lines = needed.into_iter().chain(odd).collect::<Vec<_>>();
        Just(lines).prop_shuffle()
    })
}

fn target() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec!["/ws", "/ws?conn_id=x", "//ws?conn_id=", "/ws?secret=x&conn_id="]);
    let usual = Just(format!("/ws?conn_id={ID}"));
    let half = "[0-9a-fA-F-]{36}".prop_map(|id| format!("/ws?conn_id={id}"));
    let more = "(&(resume|since|positions|x)=[01a.%27B{+#]{0,5}){0,3}";
    let resuming = more.prop_map(|more| format!("/ws?conn_id={ID}{more}"));
    prop_oneof![4 => usual, 2 => resuming, 1 => half, 1 => odd.prop_map(str::to_owned)]
}

#[actix_web::test]
async fn plain_handshakes_give_the_same_data_as_the_http_stack() {
    let plain_ones = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(4_000), |(target in target(), lines in header_lines(), rest in any::<[u8; 3]>())| {
        let bytes = [&handshake(&target, &lines)[..], &rest].concat();
        if let Some(plain) = PlainHandshake::read(&bytes) {
            plain_ones.set(plain_ones.get() + 1);
            prop_assert_eq!(Some(plain.into()), parsed_by_the_stack(&bytes));
        }
    });
    assert!(plain_ones.get() > 400, "only {} handshakes were plain", plain_ones.get());
}

proptest! {
    #[test]
    fn arbitrary_bytes_cause_no_panic(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(PlainHandshake::read(&bytes), None);
    }
}
