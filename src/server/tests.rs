//! What only shows when a thread of a running server is held still.

use super::*;
use crate::auth::signing::Keys;
use crate::broker::registry::messages::{Publish, StartDrain};
use crate::protocol::message::Message;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs on threads of its own, while the test's own thread may block.
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

    /// Two workers, so that the registry has a thread of its own.
    pub(super) fn settings() -> Settings {
        Settings {
            port: 0,
            workers: 2,
            heartbeat_interval_ms: 0,
            allow_default_secrets: true,
            ..Settings::default()
        }
    }

    fn ask(&self, head: &str, body: &str) -> String {
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

    /// A websocket of a new user in channel `c`, its handshake done.
    pub(super) fn enter(&self) -> TcpStream {
        let id = uuid::Uuid::new_v4();
        let body = json!({ "username": "ann", "conn_id": id, "channels": ["c"] }).to_string();
        assert!(self.ask("POST /connect", &body).starts_with("HTTP/1.1 200"));
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

    /// Holds a thread still until the sender is dropped.
    fn hold(thread: &ArbiterHandle) -> mpsc::Sender<()> {
        let (held, (ready, is_ready)) = (mpsc::channel::<()>(), mpsc::channel());
        let (sender, receiver) = held;
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
    let limits = crate::api::limits::RequestLimits::from(&Settings::default());
    crate::api::message_post::parse_messages(
        body.as_bytes(),
        &limits,
        crate::protocol::time::Timestamp::now(),
    )
    .unwrap()
    .remove(0)
}

#[test]
fn what_was_accepted_before_a_goodbye_comes_before_it() {
    let server = Server::start(Server::settings());
    let mut peer = server.enter();
    // Attached: everything so far has gone through the registry.
    let info = server.ask("POST /info", r#"{"info": {"channels": ["c"]}}"#);
    assert!(info.contains("\"total_connections\": 1") || info.contains("\"total_connections\":1"), "{info}");
    let registry = server.core.registry.get().unwrap();
    let held = Server::hold(server.core.registry_thread.get().unwrap());
    // In one turn of the registry both: the message is not even with its channel when all are sent away.
    server.core.in_flight.registry.add(1);
    registry.do_send(Publish::Post(vec![message("last words")]));
    registry.do_send(StartDrain { spread_ms: 0 });
    drop(held);
    assert_last_words(&mut peer);
}

#[test]
fn who_is_left_is_not_sent_away_before_goodbyes_that_are_under_way() {
    let server = Server::start(Server::settings());
    let mut peer = server.enter();
    server.ask("POST /info", r#"{"info": {"channels": ["c"]}}"#);
    let registry = server.core.registry.get().unwrap();
    // Channels and hubs stand still for longer than the registry gives a goodbye.
    let held: Vec<_> = server.stopper.threads().iter().map(Server::hold).collect();
    server.core.in_flight.registry.add(1);
    registry.do_send(Publish::Post(vec![message("last words")]));
    registry.do_send(StartDrain { spread_ms: 0 });
    std::thread::sleep(Duration::from_millis(500));
    drop(held);
    assert_last_words(&mut peer);
}

/// Reads up to the goodbye: what was said before it comes before it.
fn assert_last_words(peer: &mut TcpStream) {
    let mut heard = Vec::new();
    let mut piece = [0; 4_096];
    while !heard.windows(10).any(|bytes| bytes == b"restarting") {
        let count = peer.read(&mut piece).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..count]);
    }
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.find("last words") < heard.find("restarting") && heard.contains("last words"), "{heard}");
}

/// Asks again until the answer begins and goes on like this.
fn until(server: &Server, path: &str, status: u16, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = server.ask(&format!("GET {path}"), "");
        if answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_thread_that_is_held_up_is_noticed_and_told() {
    let server = Server::start(Settings { watchdog_timeout: 300, ..Server::settings() });
    until(&server, "/health/ready", 200, r#"{"state":"ready","reason":null}"#);
    let held = Server::hold(server.core.registry_thread.get().unwrap());
    until(&server, "/health/ready", 503, r#"{"state":"lagging","reason":"registry has not answered for "#);
    let live = server.ask("GET /health/live", "");
    assert!(live.starts_with("HTTP/1.1 200") && live.contains("lagging"), "{live}");
    assert!(server.core.counters.threads_lagged.get() >= 1);
    drop(held);
    until(&server, "/health/ready", 200, "ready");
}

#[test]
fn a_mailbox_that_is_full_refuses_counts_and_tells() {
    let server = Server::start(Settings { registry_mailbox: 1, watchdog_timeout: 0, ..Server::settings() });
    until(&server, "/health/ready", 200, "ready");
    let held = Server::hold(server.core.registry_thread.get().unwrap());
    let body = r#"[{"user": "bob", "channel": "c", "message": {}}]"#;
    assert!(server.ask("POST /message", body).starts_with("HTTP/1.1 200"));
    for _ in 0..5 {
        let refused = server.ask("POST /message", body);
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    }
    assert_eq!(server.core.counters.refused_busy.get(), 5);
    let reason = r#"{"state":"overloaded","reason":"the bound registry_mailbox is reached"}"#;
    until(&server, "/health/ready", 503, reason);
    until(&server, "/health/live", 200, reason);
    drop(held);
    until(&server, "/health/ready", 200, "ready");
    assert!(server.ask("POST /message", body).starts_with("HTTP/1.1 200"));
}
