//! How the server stops: it closes every client, and no client can delay the stop.

use crate::support::backend::Backend;
use crate::support::http::{Wire, request};
use crate::support::process::{Process, command};
use crate::support::socket::{self, CLOSE, FIN, HANDSHAKE, Incoming, Outgoing, PING};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::json;
use std::time::{Duration, Instant};

/// Settings with which nothing ends on its own during a test.
fn long_timeouts() -> Settings {
    Settings { poll_wait_ms: 60_000, shutdown_timeout_ms: 2_000, shutdown_spread: 0, ..settings() }
}

async fn enter(backend: Backend, channels: &[&str]) -> (Incoming, Outgoing) {
    let conn_id = backend.connect("ann", channels).await;
    let opened = socket::open(backend.address(), &format!("/ws?conn_id={conn_id}"), &[]).await;
    let (mut incoming, mut outgoing) = opened.map_err(|reply| panic!("{reply:?}")).unwrap();
    // Its session has begun when it sends the pong.
    outgoing.frame(FIN | PING, b"").await;
    assert_eq!(incoming.until_pong().await, []);
    (incoming, outgoing)
}

/// A poll that is attached: it has taken over from another one.
async fn poll(backend: Backend) -> Wire {
    let conn_id = backend.connect("bob", &["c"]).await;
    let target = format!("/listen?conn_id={conn_id}");
    let (mut one, mut other) = (Wire::open(backend.address()).await, Wire::open(backend.address()).await);
    one.write(request("GET", &target, &[], b"")).await;
    other.write(request("GET", &target, &[], b"")).await;
    within(async {
        tokio::select! { _ = one.reply() => other, _ = other.reply() => one }
    })
    .await
}

#[actix_web::test]
async fn stop_closes_every_client() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, shutdown_timeout_ms: 10_000, ..long_timeouts() });
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
            // Accepted and assigned to a worker before the stop.
            let mut wire = Wire::open(address).await;
            assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
            connections.push(wire);
        }
        let ended = server.stop_in_background();
        // The server runs until the last client has answered its close frame.
        let (mut first, mut first_outgoing) = sockets.pop().unwrap();
        assert_eq!(first.closing().await.code(), Some(1012));
        // The server refuses new sessions in a way after which old clients reconnect.
        let mut wire = connections.pop().unwrap();
        let listen = wire.ask("GET", &format!("/listen?conn_id={late}"), &[], b"").await;
        assert_eq!((listen.status, listen.json()), (200, json!([])));
        let mut wire = connections.pop().unwrap();
        let refused = wire.ask("GET", &format!("/ws?conn_id={late}"), &HANDSHAKE, b"").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert_eq!(refused.header("x-channelstream-error"), Some("draining"));
        first_outgoing.close().await;
        for (mut incoming, mut outgoing) in sockets {
            let frame = incoming.closing().await;
            assert_eq!(frame.code(), Some(1012));
            assert_eq!(&frame.payload[2..], b"server is restarting; retry after 0 ms");
            outgoing.close().await;
        }
        for mut wire in polls {
            let reply = wire.reply().await;
            assert_eq!((reply.status, reply.json()), (200, json!([])));
            assert!(!reply.keeps_alive(), "an open connection would delay the stop");
        }
        within(ended).await.unwrap();
        assert!(Wire::try_open(address).await.is_err());
    }
}

/// A reload waits for a file that never ends; the stop does not wait for the reload.
#[actix_web::test]
async fn blocked_reload_does_not_delay_the_stop() {
    let path = format!("{}/hangs-{}.toml", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, "port = 0\nshutdown_timeout_ms = 2000\n").unwrap();
    let mut process = Process::run(command("", &["-c", &path]));
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    process.signal("-HUP");
    // The answer comes after the signal: the reload has begun, or is about to begin.
    Wire::open(process.address).await.ask("GET", "/health/live", &[], b"").await;
    actix_rt::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    process.signal("-TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    std::fs::remove_file(&path).unwrap();
}

#[actix_web::test]
async fn no_client_can_delay_the_stop() {
    let server = TestServer::start(Settings { max_queued_bytes: 64 << 20, ..long_timeouts() });
    let backend = server.backend();
    // This client never reads, and more is queued for it than fits into any buffer.
    let never_reads = enter(backend, &["c"]).await;
    let padding = "x".repeat(1 << 20);
    for _ in 0..12 {
        backend.publish_text("c", &padding).await;
    }
    backend.channel("c").await;
    // This client announces a body and sends it slowly.
    let mut slow = Wire::open(server.address).await;
    let (name, token) = crate::support::backend::signature();
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
    // This client keeps an idle connection open.
    let mut idle = Wire::open(server.address).await;
    assert_eq!(idle.ask("GET", "/nowhere", &[], b"").await.status, 404);
    let begun = Instant::now();
    within(server.stop_in_background()).await.unwrap();
    // The limit of 2 s, rounded up by actix, and a margin for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    within(dripping).await.unwrap();
    drop((never_reads, idle));
}

/// A server without clients has nothing to wait for.
#[actix_web::test]
async fn idle_server_stops_immediately() {
    let server = TestServer::start(Settings { workers: 2, shutdown_timeout_ms: 15_000, ..settings() });
    let conn_id = server.backend().connect("ann", &["c"]).await;
    assert!(!conn_id.is_empty());
    let begun = Instant::now();
    within(server.stop_in_background()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn process_exits_with_0_on_sigterm_and_sigint() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start();
        let backend = Backend::new(process.address);
        let (mut incoming, _outgoing) = enter(backend, &["c"]).await;
        let mut waiting = poll(backend).await;
        let begun = Instant::now();
        process.signal(signal);
        assert_eq!(incoming.closing().await.code(), Some(1012), "{signal}");
        assert_eq!(waiting.reply().await.json(), json!([]), "{signal}");
        assert_eq!(process.ended().await, Some(0), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{signal}: {:?}", begun.elapsed());
    }
}

/// A service manager may stop the server as soon as the log names its address.
#[actix_web::test]
async fn server_handles_a_signal_right_after_the_start() {
    for _ in 0..5 {
        let mut process = Process::start();
        process.signal("-TERM");
        assert_eq!(process.ended().await, Some(0));
    }
}

/// An operator sends a second signal to end the wait.
#[actix_web::test]
async fn second_signal_ends_the_server_immediately() {
    let mut process = Process::run(command(
        "",
        &["--port", "0", "--set", "shutdown_timeout_ms=600000", "--set", "shutdown_spread=600000"],
    ));
    let mut sockets = Vec::new();
    // The server closes the first one immediately.
    for _ in 0..3 {
        sockets.push(enter(Backend::new(process.address), &["c"]).await);
    }
    process.signal("-TERM");
    process.log().wait_for("SIGTERM: stopping").await;
    process.signal("-INT");
    assert_eq!(process.ended().await, Some(1));
    process.log().wait_for("SIGINT for the second time, aborted: ").await;
}

/// Old clients reconnect at a fixed time after the close, so only the server can spread them.
#[actix_web::test]
async fn server_closes_sessions_one_after_the_other_while_it_answers_requests() {
    const SPREAD_MS: u64 = 1_500;
    for workers in [1, 2] {
        let server = TestServer::start(Settings {
            workers,
            shutdown_timeout_ms: 10_000,
            shutdown_spread: SPREAD_MS,
            leave_delay: 0,
            ..long_timeouts()
        });
        let (address, backend) = (server.address, server.backend());
        backend.configure(&["c"], json!({"notify_presence": true})).await;
        let mut sockets = Vec::new();
        for _ in 0..30 {
            sockets.push(enter(backend, &["c"]).await);
        }
        // They have received each other's presence events.
        for (incoming, outgoing) in &mut sockets {
            outgoing.frame(FIN | PING, b"").await;
            incoming.until_pong().await;
        }
        let late = backend.connect("late", &["c"]).await;
        let begun = Instant::now();
        let ended = server.stop_in_background();
        let listening: Vec<_> = sockets
            .into_iter()
            .map(|(mut incoming, mut outgoing)| {
                actix_rt::spawn(async move {
                    let mut texts = Vec::new();
                    loop {
                        let frame = incoming.expect_message().await;
                        if frame.opcode == CLOSE {
                            outgoing.close().await;
                            return (begun.elapsed(), texts, frame);
                        }
                        texts.push(String::from_utf8(frame.payload).unwrap());
                    }
                })
            })
            .collect();
        let ready = wait_until_unready(address).await;
        assert_eq!(ready.json(), json!({"state": "draining", "reason": "the server is stopping"}));
        let live = Wire::open(address).await.ask("GET", "/health/live", &[], b"").await;
        assert_eq!((live.status, live.json()["state"].as_str()), (200, Some("draining")));
        // The server still accepts new connections and answers every request.
        backend.publish_text("c", "still here").await;
        assert!(!backend.connect("new", &["c"]).await.is_empty());
        let refused = socket::open(address, &format!("/ws?conn_id={late}"), &[]).await.err().unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        // A poll returns the messages that its client has missed, then an empty list.
        let missed = Wire::open(address).await.ask("GET", &format!("/listen?conn_id={late}"), &[], b"").await;
        assert!(missed.text().contains("still here"), "{missed:?}");
        let asked = Instant::now();
        let listen = Wire::open(address).await.ask("GET", &format!("/listen?conn_id={late}"), &[], b"").await;
        assert_eq!((listen.status, listen.json()), (200, json!([])));
        assert!(asked.elapsed() > Duration::from_millis(500), "old clients poll again immediately");
        let mut times = Vec::new();
        let mut received = 0;
        for one in listening {
            let (at, texts, close) = within(one).await.unwrap();
            assert_eq!(close.code(), Some(1012));
            assert_eq!(&close.payload[2..], b"server is restarting; retry after 1500 ms");
            assert!(
                !texts.iter().any(|text| text.contains("parted")),
                "no client is notified about closed ones"
            );
            received += usize::from(texts.iter().any(|text| text.contains("still here")));
            times.push(at.as_millis() as u64);
        }
        times.sort_unstable();
        assert!(times[0] < SPREAD_MS && times[29] >= SPREAD_MS * 9 / 10, "{times:?}");
        // Never half of them together, even if a busy machine delays some.
        assert!(times.windows(15).all(|some| some[14] - some[0] > SPREAD_MS / 5), "{times:?}");
        assert!(received > 0, "clients that are still attached receive new messages");
        within(ended).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(12));
    }
}

/// The first answer of /health/ready that is not a 200.
async fn wait_until_unready(address: std::net::SocketAddr) -> crate::support::http::Reply {
    within(async {
        loop {
            let reply = Wire::open(address).await.ask("GET", "/health/ready", &[], b"").await;
            if reply.status != 200 {
                return reply;
            }
        }
    })
    .await
}

/// A poll returns its collected messages, because the next poll reaches another server.
#[actix_web::test]
async fn stop_returns_the_collected_messages_of_a_poll() {
    let server = TestServer::start(Settings { poll_batch_window_ms: 60_000, ..long_timeouts() });
    let backend = server.backend();
    let conn_id = backend.connect("bob", &["c"]).await;
    let mut wire = Wire::open(server.address).await;
    wire.write(request("GET", &format!("/listen?conn_id={conn_id}"), &[], b"")).await;
    backend.publish_text("c", "collected").await;
    // These requests are handled after the message: the poll has it, or receives it as catch-up.
    backend.channel("c").await;
    within(async {
        while backend.post("/info", json!({"info": {"channels": ["c"]}})).await["channels"]["c"]["total_connections"] != 1 {}
    })
    .await;
    let ended = server.stop_in_background();
    let reply = wire.reply().await;
    assert_eq!(reply.json()[0]["message"]["text"], "collected", "{reply:?}");
    within(ended).await.unwrap();
}
