//! A restart under load: the old process closes all clients, and the new one takes over the same listening socket.

use crate::ALONE;
use crate::support::backend::{Backend, signature};
use crate::support::http::{Reply, Wire};
use crate::support::process::Process;
use crate::support::socket::{self, CLOSE};
use crate::support::within;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

const SPREAD_MS: u64 = 1_500;
const LIMIT_MS: u64 = 8_000;
const SOCKETS: usize = 60;
const POLLS: usize = 10;
const PUBLISHERS: usize = 4;
/// A margin for a machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(8);

/// The state that all parts of the test share.
struct Stage {
    address: SocketAddr,
    /// The last accepted number of each publisher.
    accepted: RefCell<[u64; PUBLISHERS]>,
    /// The start times of requests without an answer.
    unanswered: RefCell<Vec<Instant>>,
    over: RefCell<bool>,
}

/// The messages that a session received: the numbers of each publisher.
#[derive(Default)]
struct ReceivedNumbers(BTreeMap<u64, Vec<u64>>);

impl ReceivedNumbers {
    fn note(&mut self, events: &Value) {
        for event in events.as_array().unwrap() {
            let message = &event["message"];
            if let (Some(by), Some(number)) = (message["by"].as_u64(), message["number"].as_u64()) {
                self.0.entry(by).or_default().push(number);
            }
        }
    }

    /// Checks that every number arrived once and in order, and that none of the accepted ones is missing.
    fn check(&self, before: &[u64; PUBLISHERS], receiver: &str) {
        for (by, accepted) in before.iter().enumerate() {
            let numbers = self.0.get(&(by as u64)).map_or(&[][..], Vec::as_slice);
            let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, wanted, "{receiver} of publisher {by}");
            assert!(numbers.len() as u64 >= *accepted, "{receiver}: {} of {accepted}", numbers.len());
        }
    }
}

/// Posts one number after the other, on one connection as long as the server keeps it open.
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
        let request = crate::support::http::request("POST", "/message", &[(name, &token)], body.as_bytes());
        used.write(request).await;
        match used.try_reply().await {
            Some(reply) => {
                assert_eq!(reply.status, 200, "{reply:?}");
                stage.accepted.borrow_mut()[by] = number;
                number += 1;
                wire = reply.keeps_alive().then_some(used);
            }
            // The server may have accepted the message: sent again with the same number, it might arrive twice.
            None => {
                stage.unanswered.borrow_mut().push(begun);
                number += 1;
            }
        }
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The course of one session until its server closed it.
struct ClosedSession {
    received: ReceivedNumbers,
    retry_ms: u64,
}

async fn connect(stage: &Stage, user: &str) -> String {
    Backend::new(stage.address).connect(user, &["c"]).await
}

/// Opens a websocket for a new connection; returns the refusal otherwise.
async fn open(stage: &Stage, user: &str) -> Result<(socket::Incoming, socket::Outgoing), Reply> {
    let conn_id = connect(stage, user).await;
    socket::open(stage.address, &format!("/ws?conn_id={conn_id}"), &[]).await
}

async fn listen((mut incoming, mut outgoing): (socket::Incoming, socket::Outgoing)) -> ClosedSession {
    let mut received = ReceivedNumbers::default();
    loop {
        let frame = incoming.expect_message().await;
        if frame.opcode == CLOSE {
            assert_eq!(frame.code(), Some(1012));
            outgoing.close().await;
            let text = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
            let ms = text.rsplit("retry after ").next().and_then(|rest| rest.strip_suffix(" ms"));
            return ClosedSession { received, retry_ms: ms.unwrap().parse().unwrap() };
        }
        received.note(&serde_json::from_slice(&frame.payload).unwrap());
    }
}

/// Reconnects after the requested time. Returns when the new session has received a message.
async fn reconnect(stage: &Stage, user: &str, life: &ClosedSession) -> Instant {
    actix_rt::time::sleep(Duration::from_millis(life.retry_ms)).await;
    loop {
        match open(stage, user).await {
            Ok((mut incoming, _outgoing)) => {
                let back = Instant::now();
                assert_ne!(incoming.expect_message().await.opcode, CLOSE);
                return back;
            }
            Err(refused) => {
                assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
                actix_rt::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// A client that polls: the messages from the old server, and when the new server answered.
async fn poll(stage: Rc<Stage>, user: String, ready: Rc<RefCell<usize>>) -> (ReceivedNumbers, Instant) {
    let mut received = ReceivedNumbers::default();
    let conn_id = connect(&stage, &user).await;
    *ready.borrow_mut() += 1;
    loop {
        let target = format!("/listen?conn_id={conn_id}");
        let reply =
            Wire::open(stage.address).await.ask("GET", &target, &[("connection", "close")], b"").await;
        match reply.status {
            200 => received.note(&reply.json()),
            // The new server does not know this connection.
            401 => break,
            _ => panic!("{reply:?}"),
        }
    }
    connect(&stage, &user).await;
    (received, Instant::now())
}

async fn wait_until(what: impl Fn() -> bool) {
    within(async {
        while !what() {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn restart_under_load_refuses_no_request_and_all_clients_reconnect() {
    let _alone = ALONE.lock().await;
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
        let known = Backend::new(stage.address).channel("c").await;
        known["total_connections"] == SOCKETS
    };
    assert!(attached().await);
    let polling = Rc::new(RefCell::new(0));
    let polls: Vec<_> = (0..POLLS)
        .map(|index| actix_rt::spawn(poll(stage.clone(), format!("l{index}"), polling.clone())))
        .collect();
    wait_until(|| *polling.borrow() == POLLS).await;
    let publishers: Vec<_> = (0..PUBLISHERS).map(|by| actix_rt::spawn(publish(stage.clone(), by))).collect();
    let lives: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(index, socket)| {
            let stage = stage.clone();
            actix_rt::spawn(async move {
                let life = listen(socket).await;
                let gone = Instant::now();
                let back = reconnect(&stage, &format!("s{index}"), &life).await;
                (life, gone, back)
            })
        })
        .collect();
    wait_until(|| stage.accepted.borrow().iter().all(|number| *number > 20)).await;

    let before = *stage.accepted.borrow();
    let stop_sent = Instant::now();
    old.signal("-TERM");
    assert_eq!(old.ended().await, Some(0), "{}", old.log().text());
    assert!(stop_sent.elapsed() < Duration::from_millis(LIMIT_MS) + SLACK / 4, "{:?}", stop_sent.elapsed());
    let stopped_accepting = old.log().wait_for("no connections are accepted any more").await;
    old.log().wait_for("unfinished: 0 sessions").await;
    let new = Process::on(&listener, &args);
    let up = Instant::now();

    let (mut gone_ms, mut back_ms) = (Vec::new(), Vec::new());
    for life in lives {
        let (life, gone, back) = within(life).await.unwrap();
        life.received.check(&before, "a websocket");
        // A client may need a second more after a refusal, and time on a slow machine.
        let soonest = (gone + Duration::from_millis(life.retry_ms)).max(up);
        assert!(back < soonest + Duration::from_secs(1) + SLACK, "{:?}", back - soonest);
        gone_ms.push((gone - stop_sent).as_millis() as u64);
        back_ms.push((back - stop_sent).as_millis() as u64);
    }
    for poll in polls {
        let (received, back) = within(poll).await.unwrap();
        received.check(&before, "a poll");
        assert!(back < up + SLACK);
    }
    *stage.over.borrow_mut() = true;
    join_all(publishers).await.into_iter().for_each(|publisher| publisher.unwrap());
    let refused: Vec<_> =
        stage.unanswered.borrow().iter().filter(|begun| **begun < stopped_accepting).map(|_| ()).collect();
    assert_eq!(refused.len(), 0, "the server answers every request before the second phase");
    gone_ms.sort_unstable();
    back_ms.sort_unstable();
    println!("closed after {} to {} ms", gone_ms[0], gone_ms[SOCKETS - 1]);
    println!("the new process listened after {} ms", (up - stop_sent).as_millis());
    println!("reconnected after {} to {} ms", back_ms[0], back_ms[SOCKETS - 1]);
    println!("requests without an answer: {}", stage.unanswered.borrow().len());
    assert!(gone_ms[SOCKETS - 1] - gone_ms[0] > SPREAD_MS / 2, "{gone_ms:?}");
    assert!(
        back_ms[SOCKETS - 1] - back_ms[0] > SPREAD_MS / 2,
        "clients reconnect in the order in which they were closed: {back_ms:?}"
    );
    drop(new);
}
