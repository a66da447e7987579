//! `/demo/echo`; `tests/server/echo_cases` tests what it has in common with every echo server.

use super::common::{
    assert_closes_at_stop, assert_closes_without_pongs, behind_a_proxy, open, quiet, refused,
};
use crate::support::socket::{BINARY, FIN, Frame, PING, TEXT, frame};
use crate::support::{TestServer, within};
use channelstream::config::Settings;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

#[actix_web::test]
async fn server_echoes_text_json_and_bytes_unchanged() {
    let server = TestServer::start(quiet());
    let (mut incoming, mut outgoing) = open(&server, "/demo/echo").await;
    let json = r#"{"t": "update", "data": [1, 2.50, "ž", null]}"#.as_bytes();
    for (opcode, payload) in [(TEXT, &b"hello"[..]), (TEXT, json), (BINARY, &[0, 1, 0xff]), (TEXT, b"")] {
        outgoing.frame(FIN | opcode, payload).await;
        assert_eq!(incoming.expect().await, Frame { opcode, payload: payload.to_vec() });
    }
}

#[actix_web::test]
async fn server_echoes_at_most_sixteen_mebibytes() {
    let server = TestServer::start(quiet());
    let (mut incoming, mut outgoing) = open(&server, "/demo/echo").await;
    let payload = b"0123456789".repeat(16 * MIB / 10 + 1)[..16 * MIB].to_vec();
    outgoing.frame(FIN | BINARY, &payload).await;
    assert!(incoming.expect().await.payload == payload);
    // The same in two frames; the server closes before it has received the second one.
    outgoing.frame(BINARY, &payload).await;
    outgoing.raw(&frame(FIN, b"1")[..6]).await;
    assert_eq!(incoming.closing().await.code(), Some(1009));
}

/// The server stops reading from a client that does not read the echoes: it queues little and loses nothing.
#[actix_web::test]
async fn client_that_does_not_read_is_slowed_down_and_loses_nothing() {
    const MESSAGES: usize = 64;
    let server = TestServer::start(Settings { max_queued_bytes: 64 << 10, ..quiet() });
    let mut stream = upgraded_stream(&server).await;
    let all: Vec<u8> =
        (0..MESSAGES).flat_map(|number| frame(FIN | BINARY, &vec![number as u8; MIB])).collect();
    let mut sent = 0;
    // Until the server reads nothing for a second.
    while let Ok(ready) = tokio::time::timeout(Duration::from_secs(1), stream.writable()).await {
        ready.unwrap();
        sent += stream.try_write(&all[sent..]).unwrap_or(0);
    }
    assert!(sent < all.len() / 2, "{sent} of {} bytes were read although none were echoed", all.len());
    let (mut read, mut write) = stream.split();
    let writing = async { write.write_all(&all[sent..]).await.unwrap() };
    let reading = async {
        for number in 0..MESSAGES {
            let mut message = vec![0; 10 + MIB];
            read.read_exact(&mut message).await.unwrap();
            assert!(
                message.ends_with(&[number as u8; 8]) && message[10..].iter().all(|b| *b == number as u8)
            );
        }
    };
    within(async { tokio::join!(writing, reading) }).await;
}

async fn upgraded_stream(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = "GET /demo/echo HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[actix_web::test]
async fn server_closes_a_client_that_sends_no_pongs() {
    assert_closes_without_pongs("/demo/echo").await;
}

/// The server sends no ping that a client busy with a long message must answer.
#[actix_web::test]
async fn slow_client_receives_its_long_message() {
    let server = TestServer::start(Settings { ping_interval_ms: 20, max_queued_bytes: 64 << 10, ..quiet() });
    let (mut clock, _keep) = open(&server, "/demo/echo").await;
    let (mut slow, mut outgoing) = open(&server, "/demo/echo").await;
    let payload = vec![7; 16 * MIB];
    outgoing.frame(FIN | BINARY, &payload).await;
    for _ in 0..20 {
        assert_eq!(clock.expect().await.opcode, PING);
    }
    loop {
        let frame = slow.expect().await;
        if frame.opcode != PING {
            assert!(frame == Frame { opcode: BINARY, payload });
            break;
        }
    }
}

#[actix_web::test]
async fn server_sends_a_close_frame_when_it_stops() {
    let server = TestServer::start(quiet());
    let socket = open(&server, "/demo/echo").await;
    assert_closes_at_stop(server, socket).await;
}

#[actix_web::test]
async fn server_refuses_sockets_above_the_limit() {
    let server = TestServer::start(quiet());
    let mut sockets = Vec::new();
    for _ in 0..1_000 {
        sockets.push(open(&server, "/demo/echo").await);
    }
    let reply = refused(&server, "/demo/echo").await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (503, Some("busy")));
    let (mut incoming, mut outgoing) = sockets.swap_remove(500);
    outgoing.close().await;
    assert_eq!(incoming.closing().await.code(), Some(1000));
    assert_eq!(within(incoming.frame()).await, None);
    open(&server, "/demo/echo").await;
}

#[actix_web::test]
async fn server_serves_the_echo_behind_a_prefix() {
    let server = TestServer::start(behind_a_proxy());
    let headers = [("x-forwarded-prefix", "/push")];
    let opened = crate::support::socket::open(server.address, "/push/demo/echo", &headers).await;
    let (mut incoming, mut outgoing) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
    outgoing.text("here").await;
    assert_eq!(incoming.expect().await.payload, b"here");
}
