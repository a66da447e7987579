//! A client that sends a lot does not delay the others, and a pause of the process closes no client.

use crate::ALONE;
use crate::support::backend::Backend;
use crate::support::http::Wire;
use crate::support::process::{Process, command};
use crate::support::socket::{self, BINARY, CLOSE, FIN, PING, PONG, TEXT, frame};
use crate::support::within;
use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const RSV1: u8 = 0x40;
/// A request that takes this long was delayed. Without a limit on the work of a turn one takes three seconds or more,
/// or as long as the flood lasts; with it a few milliseconds, or as long as the other tasks of a busy machine take.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);
/// Half of the requests take no longer than this.
const MEDIAN: Duration = Duration::from_millis(250);
const REQUESTS: usize = 9;

fn start(args: &[&str]) -> Process {
    Process::run(command("", &[&["--port", "0", "--set", "workers=1"], args].concat()))
}

/// Sends the same bytes repeatedly and reads the answers, until it is stopped or the server hangs up.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Flood {
    /// Sends `first` once, and then `unit` repeatedly.
    fn start(address: SocketAddr, target: &str, headers: &str, first: &[u8], unit: &[u8]) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        let handshake = format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.write_all(handshake.as_bytes()).unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        socket.write_all(first).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, block) = (stop.clone(), unit.repeat((64 << 10) / unit.len() + 1));
        let thread = std::thread::spawn(move || {
            let (mut sent, mut buffer) = (0, vec![0; 256 << 10]);
            while !stopped.load(Ordering::Relaxed) {
                let written = match socket.write(&block[sent % block.len()..]) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => return sent,
                };
                sent += written;
                match socket.read(&mut buffer) {
                    Ok(0) => return sent,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return sent,
                    Ok(_) => {}
                    Err(_) if written == 0 => std::thread::sleep(Duration::from_millis(1)),
                    Err(_) => {}
                }
            }
            sent
        });
        Self { stop, thread }
    }

    /// Stops the flood; returns the number of bytes sent.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Measures how long another client waits for its answers during a flood.
async fn assert_short_waits(address: SocketAddr, name: &str, flood: Flood) {
    sleep(Duration::from_millis(100)).await;
    let mut waits = Vec::new();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let live = async { Wire::open(address).await.ask("GET", "/health/live", &[], b"").await.status };
        assert_eq!(timeout(ANSWER_LIMIT, live).await, Ok(200), "{name}: another client waits for too long");
        waits.push(begun.elapsed());
    }
    let sent = flood.stop();
    waits.sort_unstable();
    println!(
        "{name}: {sent} bytes, other clients wait {:?}, at most {:?}",
        waits[REQUESTS / 2],
        waits[REQUESTS - 1]
    );
    assert!(sent > 64 << 10, "{name}: the flood ended after {sent} bytes");
    assert!(waits[REQUESTS / 2] <= MEDIAN, "{name}: {waits:?}");
}

fn compressed(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![b'a'; bytes], &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn check_watchdog(process: &Process) {
    let log = process.log();
    assert!(log.at("has not answered").is_none(), "{}", log.text());
}

#[actix_web::test]
async fn flood_of_plain_frames_does_not_delay_other_clients() {
    let _alone = ALONE.lock().await;
    let process = start(&[]);
    let backend = Backend::new(process.address);
    for (name, first, unit) in [
        ("empty pings", vec![], frame(FIN | PING, b"")),
        ("long pings", vec![], frame(FIN | PING, &[b'x'; 125])),
        ("pongs", vec![], frame(FIN | PONG, b"")),
        ("empty texts", vec![], frame(FIN | TEXT, b"")),
        ("small texts", vec![], frame(FIN | TEXT, b"hi")),
        ("texts in small fragments", vec![], [frame(TEXT, b"h"), frame(FIN, b"i")].concat()),
        ("a message without end", frame(BINARY, b""), frame(0, b"")),
        ("large messages", vec![], frame(FIN | BINARY, &[b'x'; 60_000])),
    ] {
        let target = format!("/ws?conn_id={}", backend.connect("ann", &["c"]).await);
        let flood = Flood::start(process.address, &target, "", &first, &unit);
        assert_short_waits(process.address, name, flood).await;
    }
    check_watchdog(&process);
}

#[actix_web::test]
async fn flood_of_compressed_messages_does_not_delay_other_clients() {
    let _alone = ALONE.lock().await;
    let process = start(&[]);
    let backend = Backend::new(process.address);
    let empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(10_000);
    for (name, unit) in [
        ("empty messages", frame(FIN | RSV1 | TEXT, &[])),
        ("small messages", frame(FIN | RSV1 | TEXT, &compressed(2))),
        ("messages that inflate to 64 KiB", frame(FIN | RSV1 | TEXT, &compressed(64 << 10))),
        ("messages of empty blocks", frame(FIN | RSV1 | BINARY, &empty_blocks)),
        (
            "pings between",
            [frame(RSV1 | TEXT, &compressed(2)), frame(FIN | PING, b""), frame(FIN, &[0])].concat(),
        ),
    ] {
        let target = format!("/ws?conn_id={}", backend.connect("ann", &["c"]).await);
        let extension = "sec-websocket-extensions: permessage-deflate\r\n";
        let flood = Flood::start(process.address, &target, extension, &[], &unit);
        assert_short_waits(process.address, name, flood).await;
    }
    check_watchdog(&process);
}

#[actix_web::test]
async fn flood_to_a_demo_does_not_delay_other_clients() {
    let _alone = ALONE.lock().await;
    let process = start(&["--set", "demo=on"]);
    let large = frame(FIN | RSV1 | TEXT, &compressed(15 << 20));
    let deflate = "sec-websocket-extensions: permessage-deflate\r\n";
    for (name, target, headers, unit) in [
        ("pings to the echo", "/demo/echo", "", frame(FIN | PING, b"")),
        ("texts to the echo", "/demo/echo", "", frame(FIN | TEXT, b"hi")),
        ("15 MiB in 15 KiB to the echo", "/demo/echo", deflate, large),
        ("texts to the chat", "/demo/chat", "", frame(FIN | TEXT, b"hi")),
        ("requests to the board", "/demo/board/socket", "", frame(FIN | TEXT, b"subx")),
    ] {
        let flood = Flood::start(process.address, target, headers, &[], &unit);
        assert_short_waits(process.address, name, flood).await;
    }
    check_watchdog(&process);
}

/// A client that sends regularly until it is stopped. Returns the code with which the server closed its socket, if it
/// did; 0 if the socket ended without a close frame.
async fn send_regularly(address: SocketAddr, target: String, stop: Arc<AtomicBool>) -> Option<u16> {
    let (mut incoming, mut outgoing) = socket::open(address, &target, &[]).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            frame = incoming.frame() => match frame {
                Some(frame) if frame.opcode == CLOSE => return frame.code(),
                Some(_) => {}
                None => return Some(0),
            },
            _ = tick.tick() => {
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
                // Nothing can interrupt this frame in the middle: it is small.
                outgoing.frame(FIN | PONG, b"").await;
            }
        }
    }
}

/// The process stops for longer than any of its timeouts: SIGSTOP, a frozen container, a snapshot of the machine.
#[actix_web::test]
async fn pause_of_the_process_closes_no_client_that_kept_sending() {
    let _alone = ALONE.lock().await;
    let settings = ["pong_timeout=1000", "unattached_timeout=1000", "poll_wait_ms=300"];
    let more = ["ping_interval_ms=300", "heartbeat_interval_ms=300", "grace_time_ms=500", "demo=on"];
    let args: Vec<&str> = settings.iter().chain(&more).flat_map(|setting| ["--set", *setting]).collect();
    let process = start(&args);
    let backend = Backend::new(process.address);
    backend.configure(&["c"], json!({"notify_presence": true})).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..8 {
        let conn_id = backend.connect(&format!("user {number}"), &["other"]).await;
        let target = if number < 6 { format!("/ws?conn_id={conn_id}") } else { "/demo/echo".to_owned() };
        clients.push(actix_rt::spawn(send_regularly(process.address, target, stop.clone())));
    }
    // One client polls, and a witness would receive its presence event if the server considered it gone.
    let witness = backend.connect("witness", &["c"]).await;
    let (mut seen, mut outgoing) =
        socket::open(process.address, &format!("/ws?conn_id={witness}"), &[]).await.unwrap();
    let poller = backend.connect("poller", &["c"]).await;
    let target = format!("/listen?conn_id={poller}");
    let mut wire = Wire::open(process.address).await;
    assert_eq!(wire.ask("GET", &target, &[], b"").await.status, 200);

    process.signal("-STOP");
    wire.write(crate::support::http::request("GET", &target, &[], b"")).await;
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        outgoing.frame(FIN | PONG, b"").await;
    }
    process.signal("-CONT");
    assert_eq!(within(wire.reply()).await.status, 200);
    outgoing.frame(FIN | PING, b"still here?").await;
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        outgoing.frame(FIN | PONG, b"").await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(within(client).await.unwrap(), None, "closed, with this code");
    }
    let before = seen.until_pong().await;
    let texts: Vec<String> =
        before.iter().map(|frame| String::from_utf8_lossy(&frame.payload).into_owned()).collect();
    assert!(!before.iter().any(|frame| frame.opcode == CLOSE), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("parted")), "{texts:?}");
    check_watchdog(&process);
}
