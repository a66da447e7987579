//! A restart under load: the old process sends everybody away, the new one takes over the same listening socket.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::backend::{Backend, signature};
use support::http::{Reply, Wire};
use support::process::Process;
use support::socket::{self, CLOSE};
use support::within;

const SPREAD_MS: u64 = 1_500;
const LIMIT_MS: u64 = 8_000;
const SOCKETS: usize = 60;
const POLLS: usize = 10;
const PUBLISHERS: usize = 4;
/// For a machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(8);

/// What all parts of the test share.
struct Stage {
    address: SocketAddr,
    /// Numbers accepted so far, by publisher.
    accepted: RefCell<[u64; PUBLISHERS]>,
    /// Requests that got no answer: when they began.
    unanswered: RefCell<Vec<Instant>>,
    over: RefCell<bool>,
}

/// Messages that a session got: the numbers of each publisher.
#[derive(Default)]
struct Heard(BTreeMap<u64, Vec<u64>>);

impl Heard {
    fn note(&mut self, events: &Value) {
        for event in events.as_array().unwrap() {
            let said = &event["message"];
            if let (Some(by), Some(number)) = (said["by"].as_u64(), said["number"].as_u64()) {
                self.0.entry(by).or_default().push(number);
            }
        }
    }

    /// Every number once and in order, and all up to those that were accepted before.
    fn check(&self, before: &[u64; PUBLISHERS], who: &str) {
        for (by, accepted) in before.iter().enumerate() {
            let numbers = self.0.get(&(by as u64)).map_or(&[][..], Vec::as_slice);
            let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, wanted, "{who} of publisher {by}");
            assert!(numbers.len() as u64 >= *accepted, "{who}: {} of {accepted}", numbers.len());
        }
    }
}

/// Posts number after number, on one connection as long as it is kept.
async fn publish(stage: Rc<Stage>, by: usize) {
    let mut wire: Option<Wire> = None;
    let mut number = 1;
    while !*stage.over.borrow() {
        let begun = Instant::now();
        let body =
            json!([{"user": "p", "channel": "c", "message": {"by": by, "number": number}}]).to_string();
        let (name, token) = signature();
        let mut used = match wire.take() {
            Some(wire) => wire,
            None => Wire::open(stage.address).await,
        };
        let request = support::http::request("POST", "/message", &[(name, &token)], body.as_bytes());
        used.write(request).await;
        match used.try_reply().await {
            Some(reply) => {
                assert_eq!(reply.status, 200, "{reply:?}");
                stage.accepted.borrow_mut()[by] = number;
                number += 1;
                wire = reply.keeps_alive().then_some(used);
            }
            // Whether it was accepted is not known: sent again under the same number it might come twice.
            None => {
                stage.unanswered.borrow_mut().push(begun);
                number += 1;
            }
        }
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One session's life: until its server sent it away.
struct Life {
    heard: Heard,
    retry_ms: u64,
}

async fn connect(stage: &Stage, user: &str) -> String {
    Backend { address: stage.address }.connect(user, &["c"]).await
}

/// Opens a websocket for a new connection; tells the refusal otherwise.
async fn open(stage: &Stage, user: &str) -> Result<(socket::Incoming, socket::Outgoing), Reply> {
    let conn_id = connect(stage, user).await;
    socket::open(stage.address, &format!("/ws?conn_id={conn_id}"), &[]).await
}

async fn live((mut incoming, mut outgoing): (socket::Incoming, socket::Outgoing)) -> Life {
    let mut heard = Heard::default();
    loop {
        let frame = incoming.expect_said().await;
        if frame.opcode == CLOSE {
            assert_eq!(frame.code(), Some(1012));
            outgoing.close().await;
            let text = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
            let ms = text.rsplit("retry after ").next().and_then(|rest| rest.strip_suffix(" ms"));
            return Life { heard, retry_ms: ms.unwrap().parse().unwrap() };
        }
        heard.note(&serde_json::from_slice(&frame.payload).unwrap());
    }
}

/// Comes back as it was asked to. Returns when a message has come through the new session.
async fn come_back(stage: &Stage, user: &str, life: &Life) -> Instant {
    actix_rt::time::sleep(Duration::from_millis(life.retry_ms)).await;
    loop {
        match open(stage, user).await {
            Ok((mut incoming, _outgoing)) => {
                let back = Instant::now();
                assert_ne!(incoming.expect_said().await.opcode, CLOSE);
                return back;
            }
            Err(refused) => {
                assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
                actix_rt::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// A client that polls: what it heard of the old server, and when the new one answered.
async fn poll(stage: Rc<Stage>, user: String, ready: Rc<RefCell<usize>>) -> (Heard, Instant) {
    let mut heard = Heard::default();
    let conn_id = connect(&stage, &user).await;
    *ready.borrow_mut() += 1;
    loop {
        let target = format!("/listen?conn_id={conn_id}");
        let reply =
            Wire::open(stage.address).await.ask("GET", &target, &[("connection", "close")], b"").await;
        match reply.status {
            200 => heard.note(&reply.json()),
            // The new server does not know it.
            401 => break,
            _ => panic!("{reply:?}"),
        }
    }
    connect(&stage, &user).await;
    (heard, Instant::now())
}

async fn until(what: impl Fn() -> bool) {
    within(async {
        while !what() {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_restart_under_load_refuses_nothing_and_brings_everybody_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (spread, limit) = (format!("shutdown_spread={SPREAD_MS}"), format!("shutdown_timeout_ms={LIMIT_MS}"));
    let args = ["--set", "workers=2", "--set", &spread, "--set", &limit, "--set", "channel_frames=100000"];
    let mut old = Process::on(&listener, &args);
    assert_eq!(old.address, listener.local_addr().unwrap());
    let stage = Rc::new(Stage {
        address: old.address,
        accepted: RefCell::default(),
        unanswered: RefCell::default(),
        over: RefCell::new(false),
    });
    let mut sockets = Vec::new();
    for index in 0..SOCKETS {
        sockets.push(open(&stage, &format!("s{index}")).await.unwrap());
    }
    let attached = || async {
        let known = Backend { address: stage.address }.channel("c").await;
        known["total_connections"] == SOCKETS
    };
    assert!(attached().await);
    let polling = Rc::new(RefCell::new(0));
    let polls: Vec<_> = (0..POLLS)
        .map(|index| actix_rt::spawn(poll(stage.clone(), format!("l{index}"), polling.clone())))
        .collect();
    until(|| *polling.borrow() == POLLS).await;
    let publishers: Vec<_> = (0..PUBLISHERS).map(|by| actix_rt::spawn(publish(stage.clone(), by))).collect();
    let lives: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(index, socket)| {
            let stage = stage.clone();
            actix_rt::spawn(async move {
                let life = live(socket).await;
                let gone = Instant::now();
                let back = come_back(&stage, &format!("s{index}"), &life).await;
                (life, gone, back)
            })
        })
        .collect();
    until(|| stage.accepted.borrow().iter().all(|number| *number > 20)).await;

    let before = *stage.accepted.borrow();
    let told = Instant::now();
    old.signal("-TERM");
    assert_eq!(old.ended().await, Some(0), "{}", old.log().text());
    assert!(told.elapsed() < Duration::from_millis(LIMIT_MS) + SLACK / 4, "{:?}", told.elapsed());
    let closed = old.log().wait_for("no connection is taken any more").await;
    old.log().wait_for("left over: 0 sessions").await;
    let new = Process::on(&listener, &args);
    let up = Instant::now();

    let (mut gone_ms, mut back_ms) = (Vec::new(), Vec::new());
    for life in lives {
        let (life, gone, back) = within(life).await.unwrap();
        life.heard.check(&before, "a websocket");
        // As soon as it was asked to come and the new one was there, a refusal's second and the machine's slowness apart.
        let soonest = (gone + Duration::from_millis(life.retry_ms)).max(up);
        assert!(back < soonest + Duration::from_secs(1) + SLACK, "{:?}", back - soonest);
        gone_ms.push((gone - told).as_millis() as u64);
        back_ms.push((back - told).as_millis() as u64);
    }
    for poll in polls {
        let (heard, back) = within(poll).await.unwrap();
        heard.check(&before, "a poll");
        assert!(back < up + SLACK);
    }
    *stage.over.borrow_mut() = true;
    join_all(publishers).await.into_iter().for_each(|publisher| publisher.unwrap());
    let refused: Vec<_> =
        stage.unanswered.borrow().iter().filter(|begun| **begun < closed).map(|_| ()).collect();
    assert_eq!(refused.len(), 0, "before the second phase every request is answered");
    gone_ms.sort_unstable();
    back_ms.sort_unstable();
    println!("sent away after {} to {} ms", gone_ms[0], gone_ms[SOCKETS - 1]);
    println!("the new process listened after {} ms", (up - told).as_millis());
    println!("back after {} to {} ms", back_ms[0], back_ms[SOCKETS - 1]);
    println!("requests without an answer: {}", stage.unanswered.borrow().len());
    assert!(gone_ms[SOCKETS - 1] - gone_ms[0] > SPREAD_MS / 2, "{gone_ms:?}");
    assert!(back_ms[SOCKETS - 1] - back_ms[0] > SPREAD_MS / 2, "they come as they went: {back_ms:?}");
    drop(new);
}
