//! `/demo/board`: the channel board, with the behaviour that clients of the original expect.

use super::common::{ask, frames_until_pong, open, quiet, refused};
use crate::support::socket::{BINARY, FIN, Frame, Incoming, Outgoing, TEXT};
use crate::support::{TestServer, within};
use channelstream::config::Settings;
use serde_json::json;

const PLAIN: Option<&str> = Some("text/plain; charset=utf-8");

/// The answer to a request: status and body, which must be plain text.
async fn plain(server: &TestServer, method: &str, target: &str, body: &str) -> (u16, String) {
    let reply = ask(server, method, &format!("/demo/board/{target}"), body).await;
    assert_eq!(reply.header("content-type"), PLAIN, "{method} {target}");
    assert_eq!(reply.header("access-control-allow-origin"), None, "{method} {target}");
    (reply.status, reply.text())
}

/// Sends a command, which must succeed.
async fn get(server: &TestServer, target: &str) {
    assert_eq!(plain(server, "GET", target, "").await, (200, "Done".to_owned()), "{target}");
}

async fn push(server: &TestServer, id: &str, value: &str) {
    let answer = plain(server, "POST", &format!("push/{id}"), value).await;
    assert_eq!(answer, (200, "Done".to_owned()), "{id} {value}");
}

/// A socket of the board.
struct Socket {
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Socket {
    async fn open(server: &TestServer) -> Self {
        let (incoming, outgoing) = open(server, "/demo/board/socket").await;
        Self { incoming, outgoing }
    }

    /// The texts that the server has sent so far.
    async fn received(&mut self) -> Vec<String> {
        let frames = frames_until_pong(&mut self.incoming, &mut self.outgoing).await;
        let text = |frame: Frame| {
            assert_eq!(frame.opcode, TEXT, "{frame:?}");
            String::from_utf8(frame.payload).unwrap()
        };
        frames.into_iter().map(text).collect()
    }

    async fn next(&mut self) -> String {
        String::from_utf8(self.incoming.expect().await.payload).unwrap()
    }

    /// Sends a request and waits until it has taken effect, which the board does not acknowledge: a push shows it.
    async fn ask(&mut self, server: &TestServer, request: &str, id: &str) {
        self.outgoing.text(request).await;
        let marker = format!(r#"{{"t":"msg","id":"{id}","msg":"is it done?"}}"#);
        loop {
            push(server, id, r#""is it done?""#).await;
            if self.received().await.contains(&marker) == request.starts_with("sub") {
                return;
            }
        }
    }
}

#[actix_web::test]
async fn client_creates_and_deletes_channels_over_http() {
    let server = TestServer::start(quiet());
    let bad = (400, "Missing or invalid channel identifier".to_owned());
    let done = (200, "Done".to_owned());
    let gone = (400, "Channel doesn't exist".to_owned());
    for (method, target, expected) in [
        ("GET", "new-channel", &bad),
        ("GET", "new-channel?name=a", &bad),
        ("GET", "new-channel?id=a", &done),
        ("GET", "new-channel?id=a", &bad),
        ("GET", "new-channel?id=", &done),
        ("GET", "new-channel?id=a&id=%C5%BE+%C5%BE", &done),
        ("POST", "push/%C5%BE%20%C5%BE", &done),
        ("POST", "push/a", &done),
        ("POST", "push/b", &gone),
        ("GET", "del-channel", &bad),
        ("GET", "del-channel?id=b", &bad),
        ("GET", "del-channel?id=b&id=a", &done),
        ("GET", "del-channel?id=a", &bad),
        ("POST", "push/a", &gone),
        ("GET", "new-channel?id=a", &done),
    ] {
        let body = if method == "POST" { "1" } else { "" };
        assert_eq!(&plain(&server, method, target, body).await, expected, "{method} {target}");
    }
}

#[actix_web::test]
async fn server_refuses_wrong_methods_and_redirects_wrong_paths() {
    let server = TestServer::start(quiet());
    let not_found = (404, "Not Found".to_owned());
    for target in ["nowhere", "socket", "push/", "push/a/b", "push/a%2Fb", "new-channel/x"] {
        let method = if target.starts_with("push") { "POST" } else { "GET" };
        assert_eq!(plain(&server, method, target, "").await, not_found, "{target}");
    }
    for (method, target, allowed) in [
        ("POST", "new-channel?id=x", "GET, HEAD"),
        ("PUT", "del-channel?id=x", "GET, HEAD"),
        ("GET", "push/x", "POST"),
        ("DELETE", "push/x", "POST"),
    ] {
        let reply = ask(&server, method, &format!("/demo/board/{target}"), "").await;
        assert_eq!((reply.status, reply.text()), (405, "Method Not Allowed".into()), "{method} {target}");
        assert_eq!((reply.header("allow"), reply.header("content-type")), (Some(allowed), PLAIN));
    }
    for (method, target, to) in [
        ("GET", "/new-channel/?id=x%2F", "/new-channel?id=x%2F"),
        ("GET", "/del-channel/", "/del-channel"),
        ("POST", "/push/x/?a=b", "/push/x?a=b"),
    ] {
        let reply = ask(&server, method, &format!("/demo/board{target}"), "").await;
        let to = format!("/demo/board{to}");
        assert_eq!((reply.status, reply.header("location")), (307, Some(to.as_str())), "{target}");
    }
    // None of these requests has created a channel.
    assert_eq!(Socket::open(&server).await.received().await, [""; 0]);
}

/// HEAD has the same effect as GET.
#[actix_web::test]
async fn head_creates_channels() {
    let server = TestServer::start(quiet());
    let mut wire = crate::support::http::Wire::open(server.address).await;
    wire.write("HEAD /demo/board/new-channel?id=a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
    let mut answer = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(&mut wire.into_stream(), &mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(Socket::open(&server).await.received().await, [r#"{"t":"new","id":"a"}"#]);
}

#[actix_web::test]
async fn sockets_receive_channels_and_subscribed_messages() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..quiet() });
        for id in ["b", "a", "%C5%BE%22"] {
            get(&server, &format!("new-channel?id={id}")).await;
        }
        let mut ann = Socket::open(&server).await;
        let mut bob = Socket::open(&server).await;
        for socket in [&mut ann, &mut bob] {
            let mut received = [socket.next().await, socket.next().await, socket.next().await];
            received.sort();
            assert_eq!(
                received,
                [r#"{"t":"new","id":"a"}"#, r#"{"t":"new","id":"b"}"#, r#"{"t":"new","id":"ž\""}"#]
            );
        }
        ann.ask(&server, "suba", "a").await;
        push(&server, "a", r#" {"b": "\u017e", "n": [1.50, 1e2, 12345678901234567890, null], "b": "ž"} "#)
            .await;
        push(&server, "b", "2").await;
        let message = r#"{"t":"msg","id":"a","msg":{"b":"ž","n":[1.50,1e+2,12345678901234567890,null]}}"#;
        assert_eq!(ann.received().await, [message]);
        assert_eq!(bob.received().await, [""; 0], "Bob has subscribed to nothing");
        get(&server, "new-channel?id=c").await;
        get(&server, "del-channel?id=b").await;
        for socket in [&mut ann, &mut bob] {
            assert_eq!(socket.received().await, [r#"{"t":"new","id":"c"}"#, r#"{"t":"del","id":"b"}"#]);
        }
    }
}

#[actix_web::test]
async fn subscriptions_are_stored_once_and_end() {
    let server = TestServer::start(quiet());
    get(&server, "new-channel?id=a").await;
    let mut ann = Socket::open(&server).await;
    ann.received().await;
    ann.ask(&server, "suba", "a").await;
    ann.ask(&server, "suba", "a").await;
    push(&server, "a", "1").await;
    assert_eq!(
        ann.received().await,
        [r#"{"t":"msg","id":"a","msg":1}"#],
        "a second subscription has no effect"
    );
    ann.ask(&server, "popa", "a").await;
    push(&server, "a", "2").await;
    assert_eq!(ann.received().await, [""; 0]);
    ann.ask(&server, "suba", "a").await;
    get(&server, "del-channel?id=a").await;
    get(&server, "new-channel?id=a").await;
    ann.received().await;
    push(&server, "a", "3").await;
    assert_eq!(ann.received().await, [""; 0], "a channel that is created again has no subscribers");
    // A client cannot subscribe to a channel that does not exist yet.
    ann.outgoing.text("subb").await;
    ann.ask(&server, "suba", "a").await;
    get(&server, "new-channel?id=b").await;
    push(&server, "b", "4").await;
    assert_eq!(ann.received().await, [r#"{"t":"new","id":"b"}"#]);
}

#[actix_web::test]
async fn server_ignores_invalid_requests_and_binary_frames() {
    let server = TestServer::start(quiet());
    get(&server, "new-channel?id=").await;
    get(&server, "new-channel?id=a").await;
    let mut ann = Socket::open(&server).await;
    ann.received().await;
    for text in ["", "s", "su", "žub", "subž", "pop", "Suba", " suba", "unsuba", "{}", &"sub".repeat(10_000)]
    {
        ann.outgoing.text(text).await;
    }
    ann.outgoing.frame(FIN | BINARY, b"suba").await;
    ann.outgoing.frame(FIN | BINARY, &[0xff]).await;
    // The server reads all frames above before this one. It names another channel, so none of them subscribed to `a`.
    get(&server, "new-channel?id=b").await;
    ann.ask(&server, "subb", "b").await;
    push(&server, "a", "1").await;
    push(&server, "b", "2").await;
    assert_eq!(ann.received().await, [r#"{"t":"msg","id":"b","msg":2}"#]);
}

/// The server does not parse a body for a channel that does not exist.
#[actix_web::test]
async fn server_looks_up_the_channel_before_it_refuses_invalid_json() {
    let server = TestServer::start(Settings { max_json_depth: 8, ..quiet() });
    let large = format!("\"{}\"", "x".repeat(64 << 10));
    let deep = format!("{}{}", "[".repeat(9), "]".repeat(9));
    let bodies = ["", "{", "[1,]", "nothing", "NaN", "\"\\ud800\"", "1 2", &deep];
    for body in bodies.into_iter().chain([large.as_str()]) {
        assert_eq!(
            plain(&server, "POST", "push/a", body).await,
            (400, "Channel doesn't exist".into()),
            "{body:.20}"
        );
    }
    get(&server, "new-channel?id=a").await;
    for body in bodies {
        let reply = ask(&server, "POST", "/demo/board/push/a", body).await;
        assert_eq!((reply.status, reply.header("x-channelstream-error")), (422, Some("invalid")), "{body}");
        assert!(reply.json()["_schema"][0].as_str().unwrap().starts_with("Invalid JSON: "), "{body}");
    }
    let reply = ask(&server, "POST", "/demo/board/push/a", &large).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["message"], "The body is too large. At most 65536 bytes are allowed.");
    for body in ["null", "0", "\"\"", " [ ] ", &large.replacen("xx", "", 1)] {
        push(&server, "a", body).await;
    }
}

#[actix_web::test]
async fn server_limits_the_number_of_channels_and_the_length_of_names() {
    let server = TestServer::start(quiet());
    let longest = "%C5%BE".repeat(256);
    get(&server, &format!("new-channel?id={longest}")).await;
    let reply = ask(&server, "GET", &format!("/demo/board/new-channel?id={longest}x"), "").await;
    assert_eq!((reply.status, reply.json()), (422, json!({"id": ["Longer than maximum length 256."]})));
    for number in 1..256 {
        get(&server, &format!("new-channel?id={number}")).await;
    }
    let reply = ask(&server, "GET", "/demo/board/new-channel?id=more", "").await;
    let full = json!({"id": ["There are 256 channels; delete one first."]});
    assert_eq!((reply.status, reply.json()), (422, full));
    // A socket can receive all of them in one burst.
    assert_eq!(Socket::open(&server).await.received().await.len(), 256);
    get(&server, "del-channel?id=1").await;
    get(&server, "new-channel?id=more").await;
}

/// In the original a broadcast sometimes failed while sockets closed, and always after a binary frame.
#[actix_web::test]
async fn closing_sockets_fail_no_request() {
    let server = TestServer::start(Settings { workers: 2, ..quiet() });
    get(&server, "new-channel?id=a").await;
    let mut stays = Socket::open(&server).await;
    stays.received().await;
    stays.ask(&server, "suba", "a").await;
    for round in 0..20 {
        let mut sockets = Vec::new();
        for number in 0..10 {
            let mut socket = Socket::open(&server).await;
            socket.outgoing.text("suba").await;
            match number % 3 {
                0 => socket.outgoing.close().await,
                1 => socket.outgoing.frame(FIN | BINARY, b"suba").await,
                _ => {}
            }
            sockets.push(socket);
        }
        let value = round.to_string();
        tokio::join!(push(&server, "a", &value), async { drop(sockets) });
        assert_eq!(stays.next().await, format!(r#"{{"t":"msg","id":"a","msg":{round}}}"#));
    }
}

/// The server closes a socket that never reads; neither answers nor other sockets wait for it.
#[actix_web::test]
async fn slow_socket_delays_no_other_client() {
    const PUSHES: usize = 400;
    let server = TestServer::start(Settings { max_queued_bytes: 256 << 10, ..quiet() });
    get(&server, "new-channel?id=a").await;
    let mut slow = Socket::open(&server).await;
    slow.received().await;
    slow.ask(&server, "suba", "a").await;
    let mut quick = Socket::open(&server).await;
    quick.received().await;
    quick.ask(&server, "suba", "a").await;
    let padding = "x".repeat(60 << 10);
    for number in 0..PUSHES {
        push(&server, "a", &format!("\"{number} {padding}\"")).await;
        assert!(quick.next().await.contains(&format!("\"{number} ")), "{number}");
    }
    let mut received = 0;
    while let Some(frame) = within(slow.incoming.frame()).await {
        if frame.opcode != TEXT {
            assert_eq!(frame.code(), Some(4002));
            break;
        }
        received += 1;
    }
    assert!(received < PUSHES, "it was not closed");
}

#[actix_web::test]
async fn server_refuses_sockets_on_other_paths_of_the_board() {
    let server = TestServer::start(quiet());
    for path in ["/demo/board/", "/demo/board/sockets", "/demo/board/push/a"] {
        let reply = refused(&server, path).await;
        assert_eq!(
            (reply.status, reply.header("x-channelstream-error")),
            (403, Some("no-such-socket")),
            "{path}"
        );
    }
}
