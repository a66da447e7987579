//! Logging never blocks the server, and clients cannot fill the log.

use crate::support::backend::Backend;
use crate::support::http::{Wire, request};
use crate::support::process::{Process, command};
use crate::support::socket::{self, TEXT};
use crate::support::within;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::json;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any stop in these tests may take: `shutdown_timeout_ms`, and a margin for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// A server that waits for its log does not answer at all; this limit allows for a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A server whose log does not go to the test. It runs on a socket of the test, which therefore has its address.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(setup: &str, log: impl Into<Stdio>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let setup = format!("{setup}\nexec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$");
        let mut command = command(&setup, &["--set", "workers=2"]);
        let child = command.stdin(OwnedFd::from(listener)).stderr(log).spawn().unwrap();
        Self { child, address }
    }

    /// Returns how long `/health/live` took; the kernel accepts the connection before the server runs.
    async fn live_latency(&self) -> Duration {
        let begun = Instant::now();
        let reply = Wire::open(self.address).await.ask("GET", "/health/live", &[], b"").await;
        assert_eq!(reply.status, 200);
        begun.elapsed()
    }

    async fn dropped_lines(&self) -> usize {
        Backend::new(self.address).debug_value("log lines dropped").await
    }

    /// Sends at least `count` requests that the server refuses, and reads the answers.
    async fn send_refused(&self, count: usize) {
        let bad = request("GET", "/info?x", &[("x-channelstream-secret", "a.b.c")], b"").repeat(20);
        let mut wire = Wire::open(self.address).await;
        for _ in 0..count.div_ceil(20) {
            wire.write(&bad).await;
            for _ in 0..20 {
                assert_eq!(wire.reply().await.status, 401);
            }
        }
    }

    async fn assert_ends_at_sigterm(mut self) {
        let begun = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = within(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(status.success(), "{status:?}");
        assert!(begun.elapsed() < STOP_LIMIT, "{:?}", begun.elapsed());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A full pipe.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

#[actix_web::test]
async fn unread_log_does_not_block_the_server() {
    let (_reader, writer) = full_pipe();
    let server = Server::start("", writer);
    server.live_latency().await;
    server.send_refused(5_000).await;
    let waited = server.live_latency().await;
    assert!(waited < ANSWER_LIMIT, "{waited:?}");
    server.assert_ends_at_sigterm().await;
}

#[actix_web::test]
async fn server_counts_and_reports_dropped_lines() {
    let (reader, writer) = full_pipe();
    // The HTTP stack logs some ten lines for each request at this level.
    let server = Server::start("export RUST_LOG=trace,actix_http=trace", writer);
    server.live_latency().await;
    within(async {
        while server.dropped_lines().await == 0 {
            server.send_refused(200).await;
        }
    })
    .await;
    let waited = server.live_latency().await;
    assert!(waited < ANSWER_LIMIT, "{waited:?}");
    // The reader continues: the next line reports how many are missing, and the queued lines follow.
    let report = std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.enumerate().find(|(_, line)| line.contains("lines of the log were dropped"))
    });
    within(async {
        while !report.is_finished() {
            server.send_refused(20).await;
            actix_rt::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (before, line) = report.join().unwrap().unwrap();
    assert!(before <= 2, "{before} lines, then {line}");
    assert!(line.contains("WARN  channelstream::log] "), "{line}");
}

#[actix_web::test]
async fn full_log_file_does_not_block_the_server() {
    let path = format!("{}/full-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&path);
    let setup = format!("ulimit -f 4\nexec 2>>{path}\nexport RUST_LOG=trace,actix_http=trace");
    let server = Server::start(&setup, Stdio::null());
    server.live_latency().await;
    within(async {
        while server.dropped_lines().await == 0 {
            server.send_refused(20).await;
        }
    })
    .await;
    server.live_latency().await;
    // The server writes again to a file with free space, and reports the lines that it dropped.
    std::fs::write(&path, "").unwrap();
    within(async {
        loop {
            server.send_refused(20).await;
            if std::fs::read_to_string(&path).unwrap().contains("lines of the log were dropped") {
                break;
            }
            std::fs::write(&path, "").unwrap();
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.assert_ends_at_sigterm().await;
    std::fs::remove_file(path).unwrap();
}

#[test]
fn failed_start_does_not_wait_for_the_reader() {
    let (_reader, writer) = full_pipe();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for args in [["--port", "70000"], ["--port", &port], ["-c", "/nowhere.toml"]] {
        let setup = "export RUST_LOG=a=b=c";
        let mut child = command(setup, &args).stderr(writer.try_clone().unwrap()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < STOP_LIMIT, "{args:?} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A pipe without a reader is worse than a slow reader: every line fails.
#[actix_web::test]
async fn closed_log_pipe_does_not_block_the_server() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let server = Server::start("", writer);
    server.live_latency().await;
    server.send_refused(100).await;
    within(async { while server.dropped_lines().await == 0 {} }).await;
    server.assert_ends_at_sigterm().await;
}

/// A parent process that shares the pipe may have made its writers non-blocking.
#[actix_web::test]
async fn non_blocking_log_pipe_loses_no_line() {
    let (reader, writer) = full_pipe();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let server = Server::start("", writer);
    server.live_latency().await;
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(reader).read_to_string(&mut text).map(|_| text).unwrap()
    });
    server.assert_ends_at_sigterm().await;
    let text = read.join().unwrap();
    assert!(text.contains("listening on") && text.contains("stopped after"), "{text}");
}

#[actix_web::test]
async fn server_logs_ten_refusals_a_second_and_counts_the_others() {
    let process = Process::start();
    let log = process.log();
    let before = log.text().lines().count();
    let begun = Instant::now();
    let path = format!("/nowhere%0A%1B%E2%80%AE{}", "x".repeat(3_000));
    for header in [("x-channelstream-secret", "a.b.c"), ("x-channelstream-signature", "t=1")] {
        let bad = request("GET", &path, &[header], b"").repeat(10);
        let mut wire = Wire::open(process.address).await;
        for _ in 0..100 {
            wire.write(&bad).await;
            for _ in 0..10 {
                assert_eq!(wire.reply().await.status, 401);
            }
        }
    }
    log.wait_for("more signatures were refused within ").await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let text = log.text();
    let lines: Vec<&str> = text.lines().skip(before).filter(|line| line.contains("refused")).collect();
    assert!(lines.len() <= 11 * (seconds + 1), "{} lines in {seconds} s", lines.len());
    for line in &lines {
        assert!(line.contains("INFO  channelstream::auth]") && line.contains("client 127.0.0.1"), "{line}");
        assert!(line.len() < 500 && !line.contains(|char: char| char.is_control()), "{line:?}");
    }
    assert!(
        lines[0].contains("signature refused on /nowhere") && lines[0].contains("more bytes"),
        "{}",
        lines[0]
    );
    assert!(text.lines().all(|line| line.starts_with('[')), "{text}");
}

#[actix_web::test]
async fn server_counts_further_attempts_to_sign_in() {
    let process = Process::start();
    let log = process.log();
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost")];
    let wrong = request("POST", "/admin/sign_in", &form, b"username=a&password=b");
    // The server answers five of them after half a second; it refuses all others immediately, because they would wait
    // longer.
    let mut tries = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::open(process.address).await;
        wire.write(&wrong).await;
        tries.push(wire);
    }
    for mut wire in tries {
        assert_eq!(wire.reply().await.status, 200);
    }
    let mut wire = Wire::open(process.address).await;
    for _ in 0..200 {
        wire.write(&wrong).await;
        assert_eq!(wire.reply().await.status, 429);
    }
    log.wait_for("more attempts to sign in failed within ").await;
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("channelstream::console]")).collect();
    assert!(lines.len() < 100, "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("client 127.0.0.1")), "{lines:?}");
}

#[actix_web::test]
async fn server_counts_malformed_requests_without_logging_them() {
    let process = Process::start();
    let backend = Backend::new(process.address);
    for bytes in [&b"x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n"] {
        for _ in 0..20 {
            let mut wire = Wire::open(process.address).await;
            wire.write(bytes).await;
            let _ = wire.try_reply().await;
        }
    }
    within(async {
        while backend.debug_value("requests refused, malformed").await < 60 {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let text = process.log().text();
    assert!(!text.contains("ERROR") && !text.contains("actix_http"), "{text}");
}

#[actix_web::test]
async fn debug_lines_show_the_life_of_a_connection_without_its_data() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = Process::on(&listener, &["--set", "log_level=debug"]);
    let (backend, log) = (Backend::new(process.address), process.log());
    let conn_id = backend.connect("ann", &["c"]).await;
    let (mut incoming, mut outgoing) =
        socket::open(process.address, &format!("/ws?conn_id={conn_id}"), &[]).await.expect("a websocket");
    backend.publish_text("c", "a confidential text").await;
    assert_eq!(incoming.expect_message().await.opcode, TEXT);
    backend.publish(json!({"pm_users": ["ann"]}), "a confidential text").await;
    assert_eq!(incoming.expect_message().await.opcode, TEXT);
    outgoing.close().await;
    incoming.closing().await;
    let refused = Wire::open(process.address).await;
    let token = [("x-channelstream-secret", "a.confidential.token")];
    let reply = { refused }.ask("POST", "/info?secret=confidential", &token, b"{}").await;
    assert_eq!(reply.status, 401);
    for line in ["created for 1 channels", "websocket session opened, client 127.0.0.1", "session ended"] {
        log.wait_for(&format!("connection {conn_id}: {line}")).await;
    }
    log.wait_for("POST /info refused with 401 bad-signature, client 127.0.0.1").await;
    for stream in ["channel c: begins", "private stream of user 0: begins"] {
        log.wait_for(stream).await;
        let text = log.text();
        let (_, epoch) = text.split_once(&format!("{stream} with epoch ")).expect("an epoch");
        let epoch = epoch.lines().next().unwrap_or_default();
        let is_digit = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
        assert!(epoch.len() == 8 && epoch.chars().all(is_digit), "{epoch}");
        assert_eq!(text.matches(stream).count(), 1, "a stream begins once");
    }
    assert!(!log.text().contains("confidential"), "{}", log.text());
}
