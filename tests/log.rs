//! The log holds nothing up, and clients do not decide how much is logged.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod support;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::backend::signature;
use support::http::{Wire, request};
use support::process::{Process, command};
use support::within;

/// Longer than any stop of these tests may take: `shutdown_timeout_ms`, and a machine that is busy.
const STOP: Duration = Duration::from_secs(8);

/// A server that waits for its log does not answer at all; this allows for a machine that is busy.
const PROMPT: Duration = Duration::from_secs(5);

/// A server whose log goes anywhere but to the test. It runs on a socket of the test's, which therefore knows the address.
struct Quiet {
    child: Child,
    address: SocketAddr,
}

impl Quiet {
    fn start(setup: &str, log: impl Into<Stdio>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let setup = format!("{setup}\nexec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$");
        let mut command = command(&setup, &["--set", "workers=2"]);
        let child = command.stdin(OwnedFd::from(listener)).stderr(log).spawn().unwrap();
        Self { child, address }
    }

    /// How long `/health/live` took; the kernel takes the connection before the server runs.
    async fn lives(&self) -> Duration {
        let begun = Instant::now();
        let reply = Wire::open(self.address).await.ask("GET", "/health/live", &[], b"").await;
        assert_eq!(reply.status, 200);
        begun.elapsed()
    }

    async fn dropped(&self) -> u64 {
        figure(self.address, "log lines dropped: ").await
    }

    /// Sends so many requests that are refused. What comes back is read and not looked at.
    async fn refuse(&self, count: usize) {
        let bad = request("GET", "/info?x", &[("x-channelstream-secret", "a.b.c")], b"").repeat(20);
        let mut wire = Wire::open(self.address).await;
        for _ in 0..count.div_ceil(20) {
            wire.write(&bad).await;
            for _ in 0..20 {
                assert_eq!(wire.reply().await.status, 401);
            }
        }
    }

    async fn ends_at_sigterm(mut self) {
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
        assert!(begun.elapsed() < STOP, "{:?}", begun.elapsed());
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A figure of `/admin/debug`.
async fn figure(address: SocketAddr, name: &str) -> u64 {
    let (header, token) = signature();
    let debug = Wire::open(address).await.ask("GET", "/admin/debug", &[(header, &token)], b"").await.text();
    let value = debug.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("no {name} in {debug}")).parse().unwrap()
}

/// A pipe that is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

#[actix_web::test]
async fn a_log_that_is_not_read_holds_nothing_up() {
    let (_reader, writer) = full_pipe();
    let server = Quiet::start("", writer);
    server.lives().await;
    server.refuse(5_000).await;
    let waited = server.lives().await;
    assert!(waited < PROMPT, "{waited:?}");
    server.ends_at_sigterm().await;
}

#[actix_web::test]
async fn lines_that_find_no_room_are_counted_and_reported() {
    let (reader, writer) = full_pipe();
    // The HTTP stack logs some ten lines for each request at this level.
    let server = Quiet::start("export RUST_LOG=trace,actix_http=trace", writer);
    server.lives().await;
    within(async {
        while server.dropped().await == 0 {
            server.refuse(200).await;
        }
    })
    .await;
    let waited = server.lives().await;
    assert!(waited < PROMPT, "{waited:?}");
    // The reader goes on: the next line reports how many are missing, and what waited follows.
    let report = std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.enumerate().find(|(_, line)| line.contains("lines of the log were dropped"))
    });
    within(async {
        while !report.is_finished() {
            server.refuse(20).await;
            actix_rt::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (before, line) = report.join().unwrap().unwrap();
    assert!(before <= 2, "{before} lines, then {line}");
    assert!(line.contains("WARN  channelstream::log] "), "{line}");
}

#[actix_web::test]
async fn a_log_file_that_may_not_grow_holds_nothing_up() {
    let path = format!("{}/full-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&path);
    let setup = format!("ulimit -f 4\nexec 2>>{path}\nexport RUST_LOG=trace,actix_http=trace");
    let server = Quiet::start(&setup, Stdio::null());
    server.lives().await;
    within(async {
        while server.dropped().await == 0 {
            server.refuse(20).await;
        }
    })
    .await;
    server.lives().await;
    // A file that has room again is written to again, and holds what it missed.
    std::fs::write(&path, "").unwrap();
    within(async {
        loop {
            server.refuse(20).await;
            if std::fs::read_to_string(&path).unwrap().contains("lines of the log were dropped") {
                break;
            }
            std::fs::write(&path, "").unwrap();
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.ends_at_sigterm().await;
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_start_that_fails_does_not_wait_for_the_reader() {
    let (_reader, writer) = full_pipe();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for args in [["--port", "70000"], ["--port", &port], ["-c", "/nowhere.toml"]] {
        let setup = "export RUST_LOG=a=b=c";
        let mut child = command(setup, &args).stderr(writer.try_clone().unwrap()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < STOP, "{args:?} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A reader that is gone is worse than one that stalls: every line fails.
#[actix_web::test]
async fn a_log_that_nothing_can_read_holds_nothing_up() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let server = Quiet::start("", writer);
    server.lives().await;
    server.refuse(100).await;
    within(async { while server.dropped().await == 0 {} }).await;
    server.ends_at_sigterm().await;
}

/// A parent that shares the pipe may have made it one whose writers do not wait.
#[actix_web::test]
async fn a_log_whose_writers_do_not_wait_loses_nothing() {
    let (reader, writer) = full_pipe();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let server = Quiet::start("", writer);
    server.lives().await;
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(reader).read_to_string(&mut text).map(|_| text).unwrap()
    });
    server.ends_at_sigterm().await;
    let text = read.join().unwrap();
    assert!(text.contains("listening on") && text.contains("stopped after"), "{text}");
}

#[actix_web::test]
async fn refusals_are_logged_ten_times_a_second_and_summed() {
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
async fn attempts_to_sign_in_are_summed() {
    let process = Process::start();
    let log = process.log();
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost")];
    let wrong = request("POST", "/admin/sign_in", &form, b"username=a&password=b");
    // Five are answered half a second later; all others wait longer, and are told so at once.
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
async fn what_is_not_http_is_counted_and_not_logged() {
    let process = Process::start();
    for bytes in [&b"x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n"] {
        for _ in 0..20 {
            let mut wire = Wire::open(process.address).await;
            wire.write(bytes).await;
            let _ = wire.try_reply().await;
        }
    }
    within(async {
        while figure(process.address, "requests refused, malformed: ").await < 60 {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let text = process.log().text();
    assert!(!text.contains("ERROR") && !text.contains("actix_http"), "{text}");
}
