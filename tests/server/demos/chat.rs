//! `/demo/chat`: every client receives each message of every client.

use super::common::{assert_closes_at_stop, assert_closes_without_pongs, frames_until_pong, open, quiet};
use crate::support::socket::{self, BINARY, CLOSE, FIN, Frame, Incoming, Outgoing, PING, PONG, TEXT, frame};
use crate::support::{TestServer, within};
use channelstream::config::Settings;
use std::collections::BTreeSet;

const CHAT: &str = "/demo/chat";

/// Opens a socket that has joined the room: it has received its own message.
async fn join(server: &TestServer) -> (Incoming, Outgoing) {
    let (mut incoming, mut outgoing) = open(server, CHAT).await;
    let greeting = uuid::Uuid::new_v4().to_string();
    outgoing.text(&greeting).await;
    while incoming.expect().await.payload != greeting.as_bytes() {}
    (incoming, outgoing)
}

async fn text(incoming: &mut Incoming) -> String {
    let frame = incoming.expect().await;
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    String::from_utf8(frame.payload).unwrap()
}

#[actix_web::test]
async fn every_client_receives_every_message() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..quiet() });
        let (mut ann, mut ann_outgoing) = join(&server).await;
        let (mut bob, mut bob_outgoing) = join(&server).await;
        assert_eq!(frames_until_pong(&mut ann, &mut ann_outgoing).await.len(), 1, "Bob's greeting");
        ann_outgoing.text("hello, ž").await;
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(text(incoming).await, "hello, ž");
        }
        bob_outgoing.frame(FIN | BINARY, &[0, 0xff]).await;
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(incoming.expect().await, Frame { opcode: BINARY, payload: vec![0, 0xff] });
        }
        bob_outgoing
            .raw(&[frame(TEXT, b"in "), frame(FIN | PING, b"p"), frame(FIN, b"parts")].concat())
            .await;
        assert_eq!(bob.expect().await, Frame { opcode: PONG, payload: b"p".to_vec() });
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(text(incoming).await, "in parts");
        }
    }
}

#[actix_web::test]
async fn client_that_leaves_affects_no_other_client() {
    let server = TestServer::start(quiet());
    let (mut ann, mut ann_outgoing) = join(&server).await;
    for code in [1000_u16, 4321] {
        let (mut bob, mut bob_outgoing) = join(&server).await;
        bob_outgoing.frame(FIN | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(bob.closing().await.code(), Some(code));
        assert_eq!(within(bob.frame()).await, None);
        text(&mut ann).await;
    }
    // A client drops its connection without a close.
    drop(join(&server).await);
    text(&mut ann).await;
    ann_outgoing.text("anybody here?").await;
    assert_eq!(text(&mut ann).await, "anybody here?");
}

#[actix_web::test]
async fn server_closes_a_client_that_sends_no_pongs() {
    assert_closes_without_pongs(CHAT).await;
}

/// The server refuses invalid frames as on `/ws`; other clients do not notice it.
#[actix_web::test]
async fn server_closes_only_the_socket_that_sent_an_invalid_frame() {
    let server = TestServer::start(quiet());
    let (mut ann, mut ann_outgoing) = join(&server).await;
    let cases = [
        (frame(FIN | TEXT, b"\xff"), 1007),
        (frame(FIN | 0x3, b"x"), 1002),
        (frame(FIN | 0x40 | TEXT, b"compressed"), 1002),
        (frame(FIN | TEXT, &[b'x'; (64 << 10) + 1]), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask".to_vec(), 1009),
    ];
    for (bytes, code) in cases {
        let (mut bob, mut bob_outgoing) = open(&server, CHAT).await;
        bob_outgoing.raw(&bytes).await;
        assert_eq!(bob.closing().await.code(), Some(code));
    }
    let longest = "x".repeat(64 << 10);
    ann_outgoing.text(&longest).await;
    assert!(text(&mut ann).await == longest);
}

/// The server does not negotiate compression: actix-web-actors does not implement it.
#[actix_web::test]
async fn server_negotiates_no_compression() {
    let server = TestServer::start(quiet());
    let offer = [("sec-websocket-extensions", "permessage-deflate")];
    let opened = socket::open_with_reply(server.address, CHAT, &offer).await;
    let (reply, ..) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
    assert_eq!(reply.header("sec-websocket-extensions"), None);
}

/// A burst exceeds the default capacity of an actix mailbox; the server closes no client for it and loses no message.
#[actix_web::test]
async fn clients_receive_every_message_of_a_burst() {
    const CLIENTS: usize = 60;
    const EACH: usize = 20;
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..quiet() });
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(join(&server).await);
        }
        for (number, (_, outgoing)) in clients.iter_mut().enumerate() {
            let all =
                (0..EACH).flat_map(|turn| frame(FIN | TEXT, format!("number {number} {turn}").as_bytes()));
            outgoing.raw(&all.collect::<Vec<_>>()).await;
        }
        for (incoming, _) in &mut clients {
            let mut received = BTreeSet::new();
            let mut turns = [0; CLIENTS];
            while received.len() < CLIENTS * EACH {
                let message = text(incoming).await;
                let Some(rest) = message.strip_prefix("number ") else { continue };
                let (number, turn) = rest.split_once(' ').unwrap();
                let (number, turn): (usize, usize) = (number.parse().unwrap(), turn.parse().unwrap());
                assert_eq!(turn, turns[number], "the messages of each client keep their order");
                turns[number] += 1;
                assert!(received.insert((number, turn)), "{message} arrived twice");
            }
        }
    }
}

/// Clients that never read are closed at the queue limit; the others receive every message without a delay.
#[actix_web::test]
async fn server_closes_clients_that_never_read_without_delaying_others() {
    const MESSAGES: usize = 600;
    let server = TestServer::start(Settings { max_queued_bytes: 256 << 10, workers: 2, ..quiet() });
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(join(&server).await);
    }
    let (mut ann, mut ann_outgoing) = join(&server).await;
    let padding = "x".repeat(60 << 10);
    // More than any kernel buffers for a socket whose peer does not read.
    for number in 0..MESSAGES {
        let message = format!("{number} {padding}");
        ann_outgoing.text(&message).await;
        assert!(text(&mut ann).await == message, "message {number}");
    }
    for (mut incoming, _keep) in silent {
        let mut received = 0;
        let closed = loop {
            match within(incoming.frame()).await {
                Some(frame) if frame.opcode == TEXT => received += 1,
                end => break end,
            }
        };
        assert!(received < MESSAGES, "it was not closed");
        // After a partial frame the server cannot send a close frame.
        assert!(closed.is_none_or(|frame| frame.code() == Some(4002)));
    }
}

#[actix_web::test]
async fn server_sends_a_close_frame_when_it_stops() {
    let server = TestServer::start(quiet());
    let socket = join(&server).await;
    assert_closes_at_stop(server, socket).await;
}
