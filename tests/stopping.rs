//! How the server stops: everybody is told, nobody can hold it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod support;

use channelstream::settings::Settings;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::backend::Backend;
use support::http::{Wire, request};
use support::socket::{self, FIN, Incoming, Outgoing, PING};
use support::{TestServer, settings, within};

/// Settings under which nothing ends by itself while a test runs.
fn long() -> Settings {
    Settings { poll_wait_ms: 60_000, shutdown_timeout_ms: 2_000, ..settings() }
}

async fn enter(backend: Backend, channels: &[&str]) -> (Incoming, Outgoing) {
    let conn_id = backend.connect("ann", channels).await;
    let opened = socket::open(backend.address, &format!("/ws?conn_id={conn_id}"), &[]).await;
    let (mut incoming, mut outgoing) = opened.map_err(|reply| panic!("{reply:?}")).unwrap();
    // Its session has begun when it answers.
    outgoing.frame(FIN | PING, b"").await;
    assert_eq!(incoming.until_pong().await, []);
    (incoming, outgoing)
}

/// A poll that has been attached: it has taken over from another one.
async fn poll(backend: Backend) -> Wire {
    let conn_id = backend.connect("bob", &["c"]).await;
    let target = format!("/listen?conn_id={conn_id}");
    let (mut one, mut other) = (Wire::open(backend.address).await, Wire::open(backend.address).await);
    one.write(request("GET", &target, &[], b"")).await;
    other.write(request("GET", &target, &[], b"")).await;
    within(async {
        tokio::select! { _ = one.reply() => other, _ = other.reply() => one }
    })
    .await
}

#[actix_web::test]
async fn everybody_is_told() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, shutdown_timeout_ms: 10_000, ..long() });
        let (address, backend) = (server.address, server.backend());
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(enter(backend, &["c"]).await);
            sockets.push(enter(backend, &[]).await);
        }
        let mut polls = Vec::new();
        for _ in 0..5 {
            polls.push(poll(backend).await);
        }
        let late = backend.connect("late", &["c"]).await;
        let mut connections = Vec::new();
        for _ in 0..2 {
            // Accepted, and known to a worker, before the stop.
            let mut wire = Wire::open(address).await;
            assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
            connections.push(wire);
        }
        let ended = server.stop_in_background();
        // As long as one of them has not answered its goodbye, the server is there.
        let (mut first, mut first_outgoing) = sockets.pop().unwrap();
        assert_eq!(first.closing().await.code(), Some(1001));
        // Who comes now is turned away in a way that brings old clients back.
        let mut wire = connections.pop().unwrap();
        let listen = wire.ask("GET", &format!("/listen?conn_id={late}"), &[], b"").await;
        assert_eq!((listen.status, listen.json()), (200, json!([])));
        let mut wire = connections.pop().unwrap();
        let upgrade = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let refused = wire.ask("GET", &format!("/ws?conn_id={late}"), &upgrade, b"").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert_eq!(refused.header("x-channelstream-error"), Some("draining"));
        first_outgoing.close().await;
        for (mut incoming, mut outgoing) in sockets {
            let frame = incoming.closing().await;
            assert_eq!(frame.code(), Some(1001));
            assert_eq!(&frame.payload[2..], b"server is stopping");
            outgoing.close().await;
        }
        for mut wire in polls {
            let reply = wire.reply().await;
            assert_eq!((reply.status, reply.json()), (200, json!([])));
            assert!(!reply.keeps_alive(), "a kept connection would hold the server");
        }
        within(ended).await.unwrap();
        assert!(Wire::try_open(address).await.is_err());
    }
}

#[actix_web::test]
async fn nobody_can_hold_it() {
    let server = TestServer::start(Settings { max_queued_bytes: 64 << 20, ..long() });
    let backend = server.backend();
    // Never reads, and has more waiting than fits into any buffer.
    let never_reads = enter(backend, &["c"]).await;
    let padding = "x".repeat(1 << 20);
    for _ in 0..12 {
        backend.say("c", &padding).await;
    }
    backend.channel("c").await;
    // Promises a body, and sends a little of it again and again.
    let mut slow = Wire::open(server.address).await;
    let (name, token) = support::backend::signature();
    let head =
        format!("POST /message HTTP/1.1\r\nHost: t\r\n{name}: {token}\r\nContent-Length: 100000\r\n\r\n[");
    slow.write(head).await;
    let dripping = actix_rt::spawn(async move {
        let mut stream = slow.into_stream();
        while tokio::io::AsyncWriteExt::write_all(&mut stream, b" ").await.is_ok() {
            let _ = tokio::io::AsyncWriteExt::flush(&mut stream).await;
            actix_rt::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // Keeps a connection open that has nothing to do.
    let mut idle = Wire::open(server.address).await;
    assert_eq!(idle.ask("GET", "/nowhere", &[], b"").await.status, 404);
    let begun = Instant::now();
    within(server.stop_in_background()).await.unwrap();
    // The limit of 2 s, rounded up by the stack, and some time to be busy.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    within(dripping).await.unwrap();
    drop((never_reads, idle));
}

/// A server without anybody has nothing to wait for.
#[actix_web::test]
async fn an_idle_server_stops_at_once() {
    let server = TestServer::start(Settings { workers: 2, shutdown_timeout_ms: 15_000, ..settings() });
    let conn_id = server.backend().connect("ann", &["c"]).await;
    assert!(!conn_id.is_empty());
    let begun = Instant::now();
    within(server.stop_in_background()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_channelstream"))
            .env_clear()
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .args(["--port", "0", "--set", "workers=2", "--set", "demo=off"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listening on")).expect("it says where it listens");
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split('/').next().unwrap().parse().unwrap();
        // Read to the end, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code, once there is one.
    async fn ended(&mut self) -> Option<i32> {
        within(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn the_process_ends_well_on_sigterm_and_sigint() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start();
        let backend = Backend { address: process.address };
        let (mut incoming, _outgoing) = enter(backend, &["c"]).await;
        let mut waiting = poll(backend).await;
        let begun = Instant::now();
        process.signal(signal);
        assert_eq!(incoming.closing().await.code(), Some(1001), "{signal}");
        assert_eq!(waiting.reply().await.json(), json!([]), "{signal}");
        assert_eq!(process.ended().await, Some(0), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{signal}: {:?}", begun.elapsed());
    }
}

/// Whoever reads that it listens may tell it to stop.
#[actix_web::test]
async fn a_signal_right_after_the_start_is_heard() {
    for _ in 0..5 {
        let mut process = Process::start();
        process.signal("-TERM");
        assert_eq!(process.ended().await, Some(0));
    }
}
