//! `/demo/chat`: everybody gets what anybody says.

use crate::common::{open, quiet, settled};
use crate::support::socket::{self, BINARY, CLOSE, FIN, Frame, Incoming, Outgoing, PING, PONG, TEXT, frame};
use crate::support::{TestServer, within};
use channelstream::config::Settings;
use std::collections::BTreeSet;

const CHAT: &str = "/demo/chat";

/// Opens a socket that is in the room already: it has heard itself.
async fn join(server: &TestServer) -> (Incoming, Outgoing) {
    let (mut incoming, mut outgoing) = open(server, CHAT).await;
    let knock = uuid::Uuid::new_v4().to_string();
    outgoing.text(&knock).await;
    while incoming.expect().await.payload != knock.as_bytes() {}
    (incoming, outgoing)
}

async fn text(incoming: &mut Incoming) -> String {
    let frame = incoming.expect().await;
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    String::from_utf8(frame.payload).unwrap()
}

#[actix_web::test]
async fn everybody_gets_what_anybody_says() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..quiet() });
        let (mut ann, mut ann_says) = join(&server).await;
        let (mut bob, mut bob_says) = join(&server).await;
        assert_eq!(settled(&mut ann, &mut ann_says).await.len(), 1, "Bob's knock");
        ann_says.text("hello, ž").await;
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(text(incoming).await, "hello, ž");
        }
        bob_says.frame(FIN | BINARY, &[0, 0xff]).await;
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(incoming.expect().await, Frame { opcode: BINARY, payload: vec![0, 0xff] });
        }
        bob_says.raw(&[frame(TEXT, b"in "), frame(FIN | PING, b"p"), frame(FIN, b"parts")].concat()).await;
        assert_eq!(bob.expect().await, Frame { opcode: PONG, payload: b"p".to_vec() });
        for incoming in [&mut ann, &mut bob] {
            assert_eq!(text(incoming).await, "in parts");
        }
    }
}

#[actix_web::test]
async fn who_leaves_is_missed_by_nobody() {
    let server = TestServer::start(quiet());
    let (mut ann, mut ann_says) = join(&server).await;
    for code in [1000_u16, 4321] {
        let (mut bob, mut bob_says) = join(&server).await;
        bob_says.frame(FIN | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(bob.closing().await.code(), Some(code));
        assert_eq!(within(bob.frame()).await, None);
        text(&mut ann).await;
    }
    // Without a word.
    drop(join(&server).await);
    text(&mut ann).await;
    ann_says.text("anybody here?").await;
    assert_eq!(text(&mut ann).await, "anybody here?");
}

#[actix_web::test]
async fn whoever_vanishes_is_dropped() {
    let settings = Settings { ping_interval_ms: 50, pong_timeout: 1_500, ..quiet() };
    let server = TestServer::start(settings);
    let (mut vanished, _keep) = open(&server, CHAT).await;
    let (mut there, mut saying) = open(&server, CHAT).await;
    let answering = async {
        loop {
            if there.expect().await.opcode == PING {
                saying.frame(FIN | PONG, b"").await;
            }
        }
    };
    let closing =
        tokio::select! { closing = vanished.closing() => closing, () = answering => unreachable!() };
    assert_eq!(closing.code(), Some(4003));
    saying.text("still there").await;
    while there.expect().await.payload != b"still there" {}
}

/// What cannot be said is refused as on `/ws`, and is nobody else's trouble.
#[actix_web::test]
async fn nonsense_ends_the_socket_of_who_says_it() {
    let server = TestServer::start(quiet());
    let (mut ann, mut ann_says) = join(&server).await;
    let cases = [
        (frame(FIN | TEXT, b"\xff"), 1007),
        (frame(FIN | 0x3, b"x"), 1002),
        (frame(FIN | 0x40 | TEXT, b"compressed"), 1002),
        (frame(FIN | TEXT, &[b'x'; (64 << 10) + 1]), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask".to_vec(), 1009),
    ];
    for (bytes, code) in cases {
        let (mut bob, mut bob_says) = open(&server, CHAT).await;
        bob_says.raw(&bytes).await;
        assert_eq!(bob.closing().await.code(), Some(code));
    }
    let longest = "x".repeat(64 << 10);
    ann_says.text(&longest).await;
    assert!(text(&mut ann).await == longest);
}

/// Compressed messages are not agreed on: actix-web-actors does not know them.
#[actix_web::test]
async fn no_compression() {
    let server = TestServer::start(quiet());
    let offer = [("sec-websocket-extensions", "permessage-deflate")];
    let opened = socket::open_with_reply(server.address, CHAT, &offer).await;
    let (reply, ..) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
    assert_eq!(reply.header("sec-websocket-extensions"), None);
}

/// A burst is more than any mailbox of actix holds by default; nobody is thrown out for it, and nothing is lost.
#[actix_web::test]
async fn all_talk_at_once() {
    const PEOPLE: usize = 60;
    const EACH: usize = 20;
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..quiet() });
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(join(&server).await);
        }
        for (number, (_, outgoing)) in people.iter_mut().enumerate() {
            let all =
                (0..EACH).flat_map(|turn| frame(FIN | TEXT, format!("said {number} {turn}").as_bytes()));
            outgoing.raw(&all.collect::<Vec<_>>()).await;
        }
        for (incoming, _) in &mut people {
            let mut heard = BTreeSet::new();
            let mut turns = [0; PEOPLE];
            while heard.len() < PEOPLE * EACH {
                let said = text(incoming).await;
                let Some(rest) = said.strip_prefix("said ") else { continue };
                let (number, turn) = rest.split_once(' ').unwrap();
                let (number, turn): (usize, usize) = (number.parse().unwrap(), turn.parse().unwrap());
                assert_eq!(turn, turns[number], "each one's words keep their order");
                turns[number] += 1;
                assert!(heard.insert((number, turn)), "{said} came twice");
            }
        }
    }
}

/// Those who never read are closed at their bound; the others get everything, and do not wait for them.
#[actix_web::test]
async fn who_never_reads_is_closed_and_delays_nobody() {
    const MESSAGES: usize = 600;
    let server = TestServer::start(Settings { max_queued_bytes: 256 << 10, workers: 2, ..quiet() });
    let mut sleepers = Vec::new();
    for _ in 0..5 {
        sleepers.push(join(&server).await);
    }
    let (mut ann, mut ann_says) = join(&server).await;
    let padding = "x".repeat(60 << 10);
    // More than any kernel keeps for a socket whose peer does not read.
    for number in 0..MESSAGES {
        let said = format!("{number} {padding}");
        ann_says.text(&said).await;
        assert!(text(&mut ann).await == said, "message {number}");
    }
    for (mut incoming, _keep) in sleepers {
        let mut received = 0;
        let closed = loop {
            match within(incoming.frame()).await {
                Some(frame) if frame.opcode == TEXT => received += 1,
                end => break end,
            }
        };
        assert!(received < MESSAGES, "it was not closed");
        // Where a frame was half out there was nothing sensible to say.
        assert!(closed.is_none_or(|frame| frame.code() == Some(4002)));
    }
}

#[actix_web::test]
async fn it_says_goodbye_when_the_server_stops() {
    let server = TestServer::start(quiet());
    let (mut incoming, mut outgoing) = join(&server).await;
    let stopped = server.stop_in_background();
    assert_eq!(incoming.closing().await.code(), Some(1001));
    outgoing.close().await;
    within(stopped).await.unwrap();
}
