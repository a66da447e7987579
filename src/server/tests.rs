//! Behaviour that shows only while a thread of a running server is blocked.

use super::*;
use crate::auth::signing::Keys;
use crate::broker::registry::messages::{Publish, StartDrain};
use crate::protocol::message::Message;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs on its own threads, so that the test's thread may block.
pub(super) struct Server {
    address: SocketAddr,
    pub(super) core: Arc<Core>,
    stopper: Stopper,
}

impl Server {
    pub(super) fn start(settings: Settings) -> Self {
        let (started, running) = mpsc::channel();
        std::thread::spawn(move || {
            System::new().block_on(async move {
                let running = start(settings).unwrap();
                let stopper = running.stopper();
                started.send(Self { address: running.address, core: running.core.clone(), stopper }).unwrap();
                let _ = running.wait().await;
            });
        });
        running.recv_timeout(PATIENCE).unwrap()
    }

    /// Two workers, so that the registry has its own thread.
    pub(super) fn settings() -> Settings {
        Settings {
            port: 0,
            workers: 2,
            heartbeat_interval_ms: 0,
            allow_default_secrets: true,
            ..Settings::default()
        }
    }

    fn request(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = Keys::new(&self.core.settings.secrets).sign("", now);
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nx-channelstream-secret: {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A websocket of a new user in channel `c`, after its handshake.
    pub(super) fn connect(&self) -> TcpStream {
        let id = uuid::Uuid::new_v4();
        let body = json!({ "username": "ann", "conn_id": id, "channels": ["c"] }).to_string();
        assert!(self.request("POST /connect", &body).starts_with("HTTP/1.1 200"));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /ws?conn_id={id} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        stream
    }

    /// Blocks a thread until the returned sender is dropped.
    fn block(thread: &ArbiterHandle) -> mpsc::Sender<()> {
        let (blocked, (ready, is_ready)) = (mpsc::channel::<()>(), mpsc::channel());
        let (sender, receiver) = blocked;
        thread.spawn_fn(move || {
            let _ = ready.send(());
            let _ = receiver.recv_timeout(PATIENCE);
        });
        is_ready.recv_timeout(PATIENCE).unwrap();
        sender
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.end_now("the test is over");
    }
}

fn message(text: &str) -> Message {
    let body = json!([{ "user": "bob", "channel": "c", "message": { "text": text } }]).to_string();
    let limits = crate::api::body::RequestLimits::from(&Settings::default());
    crate::api::message_post::parse_messages(
        body.as_bytes(),
        &limits,
        crate::protocol::time::Timestamp::now(),
    )
    .unwrap()
    .remove(0)
}

#[test]
fn a_message_accepted_before_the_close_arrives_before_it() {
    let server = Server::start(Server::settings());
    let mut peer = server.connect();
    // The answer shows that the socket is attached: the registry has processed all earlier messages.
    let info = server.request("POST /info", r#"{"info": {"channels": ["c"]}}"#);
    assert!(info.contains("\"total_connections\": 1") || info.contains("\"total_connections\":1"), "{info}");
    let registry = server.core.registry.get().unwrap();
    let blocked = Server::block(server.core.registry_thread.get().unwrap());
    // The registry processes both without a pause: its channel has not received the message yet when the drain starts.
    server.core.in_flight.registry.add(1);
    registry.do_send(Publish::Post(vec![message("last words")], Vec::new()));
    registry.do_send(StartDrain { spread_ms: 0 });
    drop(blocked);
    assert_last_words(&mut peer);
}

#[test]
fn remaining_sessions_are_closed_after_closes_that_are_in_flight() {
    let server = Server::start(Server::settings());
    let mut peer = server.connect();
    server.request("POST /info", r#"{"info": {"channels": ["c"]}}"#);
    let registry = server.core.registry.get().unwrap();
    // Channels and hubs are blocked for longer than the registry waits for a close.
    let blocked: Vec<_> = server.stopper.threads().iter().map(Server::block).collect();
    server.core.in_flight.registry.add(1);
    registry.do_send(Publish::Post(vec![message("last words")], Vec::new()));
    registry.do_send(StartDrain { spread_ms: 0 });
    std::thread::sleep(Duration::from_millis(500));
    drop(blocked);
    assert_last_words(&mut peer);
}

/// Reads up to the close frame, and checks that the message sent before it arrives before it.
fn assert_last_words(peer: &mut TcpStream) {
    let mut received = Vec::new();
    let mut piece = [0; 4_096];
    while !received.windows(10).any(|bytes| bytes == b"restarting") {
        let count = peer.read(&mut piece).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..count]);
    }
    let received = String::from_utf8_lossy(&received);
    assert!(
        received.find("last words") < received.find("restarting") && received.contains("last words"),
        "{received}"
    );
}

/// Repeats the request until its answer has this status and contains this text.
fn until(server: &Server, path: &str, status: u16, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = server.request(&format!("GET {path}"), "");
        if answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_blocked_thread_is_detected_and_reported() {
    let server = Server::start(Settings { watchdog_timeout: 300, ..Server::settings() });
    until(&server, "/health/ready", 200, r#"{"state":"ready","reason":null}"#);
    let blocked = Server::block(server.core.registry_thread.get().unwrap());
    until(&server, "/health/ready", 503, r#"{"state":"lagging","reason":"registry has not answered for "#);
    let live = server.request("GET /health/live", "");
    assert!(live.starts_with("HTTP/1.1 200") && live.contains("lagging"), "{live}");
    assert!(server.core.counters.threads_lagged.get() >= 1);
    drop(blocked);
    until(&server, "/health/ready", 200, "ready");
}

#[test]
fn a_full_mailbox_refuses_counts_and_is_reported() {
    let server = Server::start(Settings { registry_mailbox: 1, watchdog_timeout: 0, ..Server::settings() });
    until(&server, "/health/ready", 200, "ready");
    let blocked = Server::block(server.core.registry_thread.get().unwrap());
    let body = r#"[{"user": "bob", "channel": "c", "message": {}}]"#;
    assert!(server.request("POST /message", body).starts_with("HTTP/1.1 200"));
    for _ in 0..5 {
        let refused = server.request("POST /message", body);
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    }
    assert_eq!(server.core.counters.refused_busy.get(), 5);
    let reason = r#"{"state":"overloaded","reason":"the bound registry_mailbox is reached"}"#;
    until(&server, "/health/ready", 503, reason);
    until(&server, "/health/live", 200, reason);
    drop(blocked);
    until(&server, "/health/ready", 200, "ready");
    assert!(server.request("POST /message", body).starts_with("HTTP/1.1 200"));
}
