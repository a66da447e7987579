//! A whole server with clients that attach, leave and vanish at random, over every transport: each client receives its
//! messages once and in order, and loses only those that a dropped connection took with it.
//!
//! Twelve seconds, unless `CHANNELSTREAM_RANDOM_SECONDS` sets another time. `CHANNELSTREAM_SEED` repeats the choices of
//! an earlier run; the timing of the machine still differs.

use crate::support::http::{Reply, Wire, request};
use crate::support::socket::{self, CLOSE, FIN, Incoming, Outgoing, PING, PONG, TEXT};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use flate2::{Decompress, FlushDecompress, Status};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 14;
const USERS: usize = 5;
const CHANNELS: usize = 3;
const SECONDS: u64 = 12;
/// Set in the first byte of a compressed message.
const COMPRESSED: u8 = 0x40;
/// Why the server closed a socket: see docs/api.md.
const TAKEN_OVER: u16 = 4001;
const TOO_SLOW: u16 = 4002;
/// One message in four is long: together they fill the kernel's buffers for a peer that does not read.
const LONG_ONE_IN: u32 = 4;
const LONG_BYTES: usize = 60_000;

/// What a client received, in order.
#[derive(Debug)]
enum Entry {
    Got(String, u64),
    /// The client dropped the connection: messages in flight are lost.
    Cut,
}

/// How many times each event happened, to check that it did happen.
#[derive(Default)]
struct Tally(RefCell<BTreeMap<&'static str, u64>>);

impl Tally {
    fn count(&self, what: &'static str) {
        *self.0.borrow_mut().entry(what).or_default() += 1;
    }

    fn of(&self, what: &'static str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }
}

struct Client {
    server: Rc<TestServer>,
    conn_id: String,
    chance: StdRng,
    log: Vec<Entry>,
    /// The last session was a poll, and the client dropped it.
    cut_poll: bool,
    tally: Rc<Tally>,
    enough: Rc<Cell<bool>>,
}

/// A websocket whose session is attached, or a poll that waits for its answer.
enum Session {
    Socket(Socket),
    Poll(Wire, bool),
}

struct Socket {
    incoming: Incoming,
    outgoing: Outgoing,
    /// Frames that were read and are not processed yet.
    pending: Vec<(u8, Vec<u8>)>,
}

impl Socket {
    /// Sends a ping, and reads the frames up to the pong or a close frame.
    async fn ping_until_pong(&mut self) {
        self.outgoing.frame(FIN | PING, b"").await;
        while let Some(frame) = within(self.incoming.raw_frame()).await {
            let last = frame.0 == FIN | PONG || frame.0 == FIN | CLOSE;
            self.pending.push(frame);
            if last {
                break;
            }
        }
    }
}

impl Client {
    fn ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.chance.random_range(0..most))
    }

    async fn run(mut self) -> Self {
        let mut session = self.open().await;
        while !self.enough.get() {
            session = self.next_session(session).await;
        }
        self.finish(session).await;
        self
    }

    async fn open(&mut self) -> Session {
        match self.chance.random_range(0..4) {
            0 => Session::Socket(self.open_socket(false).await),
            1 => Session::Socket(self.open_socket(true).await),
            kind => {
                let jsonp = kind == 3;
                self.tally.count(if jsonp { "polls as scripts" } else { "polls" });
                let mut wire = Wire::open(self.server.address).await;
                let callback = if jsonp { "&callback=take" } else { "" };
                let target = format!("/listen?conn_id={}{callback}", self.conn_id);
                wire.write(request("GET", &target, &[], b"")).await;
                Session::Poll(wire, jsonp)
            }
        }
    }

    async fn open_socket(&mut self, deflate: bool) -> Socket {
        self.tally.count(if deflate { "compressed websockets" } else { "websockets" });
        let offer = [("sec-websocket-extensions", "permessage-deflate")];
        let target = format!("/ws?conn_id={}", self.conn_id);
        let opened = socket::open(self.server.address, &target, if deflate { &offer } else { &[] }).await;
        let (incoming, outgoing) = opened.expect("the server accepts a websocket");
        let mut socket = Socket { incoming, outgoing, pending: Vec::new() };
        // A session that sends a pong has attached to its connection.
        socket.ping_until_pong().await;
        socket
    }

    /// Listens for a while, and then changes to the next session in a random way.
    async fn next_session(&mut self, session: Session) -> Session {
        let once_more = std::mem::take(&mut self.cut_poll);
        let next = match session {
            Session::Socket(socket) => self.use_socket(socket, once_more).await,
            Session::Poll(wire, jsonp) => self.use_poll(wire, jsonp).await,
        };
        if once_more {
            // If the client of a poll hangs up immediately, its session may end after that of the next one.
            self.log.push(Entry::Cut);
        }
        next
    }

    async fn use_socket(&mut self, mut socket: Socket, after_cut_poll: bool) -> Session {
        if self.chance.random_range(0..5) == 0 {
            // The client does not read while others receive a lot.
            tokio::time::sleep(self.ms(3_000)).await;
        }
        let until = Instant::now() + self.ms(700);
        if let Some(code) = self.read_until(&mut socket, until).await {
            match code {
                Some(TAKEN_OVER) => assert!(after_cut_poll, "no other session took over"),
                // After a partial frame the server sends no close frame.
                Some(TOO_SLOW) | None => self.tally.count("closed, too slow"),
                other => panic!("closed with {other:?}"),
            }
            return self.open().await;
        }
        if self.chance.random_range(0..2) == 0 {
            self.log.push(Entry::Cut);
            self.tally.count("websockets cut");
            drop(socket);
            return self.open().await;
        }
        // The next session takes over; the client reads this one to its end.
        let next = self.open().await;
        self.tally.count("websockets taken over");
        self.read_to_close(socket).await;
        next
    }

    async fn use_poll(&mut self, wire: Wire, jsonp: bool) -> Session {
        match self.chance.random_range(0..4) {
            0 | 1 => {
                self.take_answer(wire, jsonp).await;
                self.open().await
            }
            2 => {
                tokio::time::sleep(self.ms(60)).await;
                drop(wire);
                self.log.push(Entry::Cut);
                self.cut_poll = true;
                self.tally.count("polls cut");
                self.open().await
            }
            _ => self.take_over_poll(wire, jsonp).await,
        }
    }

    /// A websocket takes over from a poll, or the poll from the websocket: only the server determines the order.
    async fn take_over_poll(&mut self, wire: Wire, jsonp: bool) -> Session {
        let mut socket = self.open_socket(true).await;
        let before = self.log.len();
        self.take_answer(wire, jsonp).await;
        let of_poll = self.log.split_off(before);
        self.tally.count("polls taken over");
        // The poll has ended, so the websocket has been closed or not by now.
        socket.ping_until_pong().await;
        let is_last = socket.pending.last().is_some_and(|frame| frame.0 == FIN | PONG);
        if is_last {
            self.log.extend(of_poll);
            return Session::Socket(socket);
        }
        self.tally.count("polls that took over");
        self.read_to_close(socket).await;
        self.log.extend(of_poll);
        self.open().await
    }

    /// Reads a session to its end after another one took over.
    async fn read_to_close(&mut self, mut socket: Socket) {
        let mut closed = self.process_frames(&mut socket);
        while closed.is_none() {
            match within(socket.incoming.raw_frame()).await {
                Some(frame) => socket.pending.push(frame),
                None => return,
            }
            closed = self.process_frames(&mut socket);
        }
        let known = [Some(Some(TAKEN_OVER)), Some(Some(TOO_SLOW))];
        assert!(known.contains(&closed), "{closed:?}");
    }

    /// Records the frames that were read. Returns `Some` if the last one was a close frame.
    fn process_frames(&mut self, socket: &mut Socket) -> Option<Option<u16>> {
        let mut closed = None;
        for (first, payload) in std::mem::take(&mut socket.pending) {
            assert!(closed.is_none(), "nothing follows a close frame");
            match first == FIN | CLOSE {
                true => closed = Some(code(&payload)),
                false => self.note_frame((first, payload)),
            }
        }
        closed
    }

    /// Reads until this time. Returns `Some` if the socket was closed: with its code, unless there was no close frame.
    async fn read_until(&mut self, socket: &mut Socket, until: Instant) -> Option<Option<u16>> {
        loop {
            let closed = self.process_frames(socket);
            let left = until.saturating_duration_since(Instant::now());
            if closed.is_some() || left.is_zero() {
                return closed;
            }
            // The client never stops in the middle of a frame: the time only ends between frames.
            if tokio::time::timeout(left, socket.incoming.ready()).await.is_ok() {
                match within(socket.incoming.raw_frame()).await {
                    Some(frame) => socket.pending.push(frame),
                    None => return Some(None),
                }
            }
        }
    }

    async fn take_answer(&mut self, mut wire: Wire, jsonp: bool) {
        let reply: Reply = wire.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let text = reply.text();
        let list = match jsonp {
            true => text.strip_prefix("take(").and_then(|rest| rest.strip_suffix(')')).expect("a call"),
            false => &text,
        };
        self.note(serde_json::from_str(list).expect("a list"));
    }

    fn note_frame(&mut self, (first, payload): (u8, Vec<u8>)) {
        match first {
            _ if first == FIN | TEXT => self.note(serde_json::from_slice(&payload).expect("a list")),
            _ if first == FIN | COMPRESSED | TEXT => {
                self.tally.count("compressed messages");
                self.note(serde_json::from_slice(&inflated(&payload)).expect("a list"));
            }
            other => assert!([FIN | PING, FIN | PONG].contains(&other), "{other:x}"),
        }
    }

    fn note(&mut self, events: Vec<Value>) {
        for event in events {
            assert_eq!(event["type"], "message", "{event}");
            let message = &event["message"];
            let stream = message["stream"].as_str().expect("a stream").to_owned();
            self.log.push(Entry::Got(stream, message["n"].as_u64().expect("a number")));
        }
    }

    /// After the last message was published: takes over from the last session and reads everything that is left.
    async fn finish(&mut self, last: Session) {
        let mut socket = match last {
            Session::Poll(wire, jsonp) => {
                self.take_answer(wire, jsonp).await;
                self.open_socket(false).await
            }
            Session::Socket(last) => {
                let socket = self.open_socket(false).await;
                self.read_to_close(last).await;
                socket
            }
        };
        loop {
            // What the server has written when nothing is in flight inside it arrives before the pong.
            let is_at_rest = self.is_at_rest().await;
            socket.ping_until_pong().await;
            assert_eq!(self.process_frames(&mut socket), None, "the socket is open");
            if is_at_rest {
                return;
            }
        }
    }

    /// Whether no message is in flight inside the server.
    async fn is_at_rest(&self) -> bool {
        let reply = self.server.backend().send("GET", "/admin/debug", &[], b"").await;
        let debug = reply.text();
        let in_flight: Vec<_> = debug.lines().filter(|line| line.contains("in flight")).collect();
        assert!(!in_flight.is_empty(), "{debug}");
        in_flight.iter().all(|line| line.ends_with(": 0"))
    }

    /// Checks that each stream is complete and in order, except for gaps after a dropped connection. Returns the number
    /// lost.
    fn check(&self, published: &BTreeMap<String, u64>, user: &str) -> u64 {
        let mut lost = 0;
        let streams = (0..CHANNELS).map(|n| format!("c{n}")).chain([user.to_owned()]);
        for stream in streams {
            let (mut last, mut was_cut) = (0, false);
            for entry in &self.log {
                match entry {
                    Entry::Cut => was_cut = true,
                    Entry::Got(of, number) if *of == stream => {
                        assert!(*number > last, "{number} of {stream} came after {last}");
                        let gap = number - last - 1;
                        assert!(gap == 0 || was_cut, "{gap} before {number} of {stream} are missing");
                        lost += gap;
                        (last, was_cut) = (*number, false);
                    }
                    Entry::Got(..) => {}
                }
            }
            let all = published.get(&stream).copied().unwrap_or(0);
            assert!(last == all || was_cut, "{stream} ends with {last} instead of {all}");
            lost += all - last;
        }
        let strange = self
            .log
            .iter()
            .find(|entry| matches!(entry, Entry::Got(of, _) if !of.starts_with('c') && of != user));
        assert!(strange.is_none(), "{strange:?} was not for {user}");
        lost
    }
}

/// The status code in a close frame.
fn code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Decompresses a message: each is a separate stream, without the marker at its end.
fn inflated(payload: &[u8]) -> Vec<u8> {
    let input = [payload, b"\0\0\xff\xff"].concat();
    let mut out = Vec::with_capacity(256 << 10);
    let done = Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    assert!(matches!(done, Status::Ok | Status::StreamEnd) && out.len() < out.capacity());
    out
}

/// Publishes one batch after the other until `end`; the numbers are the order in each stream.
async fn publish(server: &TestServer, chance: &mut StdRng, end: Instant) -> BTreeMap<String, u64> {
    let backend = server.backend();
    let mut published = BTreeMap::new();
    // Random letters, so that compression does not shrink the text to nothing.
    let long_fill: String = (0..LONG_BYTES).map(|_| char::from(chance.random_range(b'a'..=b'z'))).collect();
    while Instant::now() < end {
        let mut batch = Vec::new();
        for _ in 0..chance.random_range(1..6) {
            let private = chance.random_range(0..5) == 0;
            let stream = match private {
                true => format!("u{}", chance.random_range(0..USERS)),
                false => format!("c{}", chance.random_range(0..CHANNELS)),
            };
            let number = published.entry(stream.clone()).or_insert(0);
            *number += 1;
            let long = chance.random_range(0..LONG_ONE_IN) == 0;
            let fill = if long { &long_fill[..] } else { &long_fill[..chance.random_range(0..400)] };
            let message = json!({"stream": stream, "n": number, "fill": fill});
            let mut item = json!({"user": "publisher", "message": message});
            match private {
                true => item["pm_users"] = json!([stream]),
                false => item["channel"] = json!(stream),
            }
            batch.push(item);
        }
        backend.post("/message", batch.into()).await;
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..12))).await;
    }
    published
}

/// The number in an environment variable, if it is set.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[actix_web::test]
async fn clients_lose_and_repeat_nothing() {
    let seed = number("CHANNELSTREAM_SEED").unwrap_or_else(|| rand::rng().next_u64());
    let seconds = number("CHANNELSTREAM_RANDOM_SECONDS").unwrap_or(SECONDS);
    println!("CHANNELSTREAM_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let server = Rc::new(TestServer::start(Settings {
        workers: 2,
        max_queued_bytes: 300_000,
        channel_frames: 1_000_000,
        grace_time_ms: 600_000,
        poll_wait_ms: 300,
        poll_batch_window_ms: 5,
        ..settings()
    }));
    let (tally, enough) = (Rc::new(Tally::default()), Rc::new(Cell::new(false)));
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("c{n}")).collect();
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let user = format!("u{}", index % USERS);
        let conn_id = server.backend().connect(&user, &channels).await;
        let chance = StdRng::seed_from_u64(chance.next_u64());
        let (server, tally, enough) = (server.clone(), tally.clone(), enough.clone());
        let client = Client { server, conn_id, chance, log: Vec::new(), cut_poll: false, tally, enough };
        clients.push((user, actix_rt::spawn(client.run())));
    }
    let published = publish(&server, &mut chance, Instant::now() + Duration::from_secs(seconds)).await;
    enough.set(true);
    let mut lost = 0;
    for (user, task) in clients {
        lost += task.await.expect("no client fails").check(&published, &user);
    }
    println!("published {published:?}; {:?}; lost with cut connections: {lost}", tally.0.borrow());
    for what in [
        "websockets",
        "compressed messages",
        "polls",
        "polls as scripts",
        "websockets cut",
        "polls cut",
        "websockets taken over",
        "polls taken over",
    ] {
        assert!(tally.of(what) > 0, "the run had no {what}");
    }
}
