//! A client that listens at one node after the other, and checks what it has received.

use super::random_actions::{Known, sleep_up_to};
use crate::support::events::{self, EventReader};
use crate::support::http::{Wire, request};
use crate::support::listener::{Transport, text};
use crate::support::page::Page;
use crate::support::socket::{self, CLOSE, FIN, HANDSHAKE, Incoming, PING, PONG, TEXT};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How a client listens: with which transport, and whether it sends what it has when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    OldSocket,
    OldPolls,
    Socket,
    EventStream,
    Polls,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::OldSocket, Self::OldPolls, Self::Socket, Self::EventStream, Self::Polls];

    fn is_old(self) -> bool {
        matches!(self, Self::OldSocket | Self::OldPolls)
    }

    fn transport(self) -> Transport {
        match self {
            Self::OldSocket | Self::Socket => Transport::Websocket,
            Self::EventStream => Transport::Sse,
            Self::OldPolls | Self::Polls => Transport::LongPoll,
        }
    }
}

/// What all clients have in common.
pub struct Progress {
    /// How many have attached for the first time.
    pub attached: Semaphore,
    /// How many have received the last message of each stream.
    pub complete: Semaphore,
    /// They listen until this is set.
    pub is_over: Cell<bool>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { attached: Semaphore::new(0), complete: Semaphore::new(0), is_over: Cell::new(false) }
    }
}

/// A session that is kept open.
enum Session {
    Socket(Incoming),
    Stream(EventReader),
}

impl Session {
    /// Returns `None` if the node refuses it, or is gone.
    async fn open(at: SocketAddr, transport: Transport, query: &str) -> Option<Self> {
        let mut wire = Wire::try_open(at).await.ok()?;
        match transport {
            Transport::Websocket => {
                wire.try_write(request("GET", &format!("/ws?{query}"), &HANDSHAKE, b"")).await.ok()?;
                let (incoming, mut outgoing) =
                    wire.head().await.filter(|head| head.status == 101).map(|_| socket::halves(wire))?;
                outgoing.frame(FIN | PING, b"").await;
                Some(Self::Socket(incoming))
            }
            _ => {
                wire.try_write(request("GET", &format!("/sse?{query}"), &[], b"")).await.ok()?;
                let (_, reader, _) = events::try_read(wire).await?.ok()?;
                Some(Self::Stream(reader))
            }
        }
    }

    /// Waits until something has arrived.
    async fn ready(&mut self) {
        match self {
            Self::Socket(incoming) => incoming.ready().await,
            Self::Stream(reader) => reader.ready().await,
        }
    }

    /// What arrives next; `None` when the session has ended.
    async fn next(&mut self) -> Option<Arrival> {
        match self {
            Self::Socket(incoming) => {
                let frame = incoming.frame().await.filter(|frame| frame.opcode != CLOSE)?;
                match frame.opcode {
                    TEXT => Some(Arrival::Events(serde_json::from_slice(&frame.payload).expect("a list"))),
                    PONG => Some(Arrival::Pong),
                    _ => Some(Arrival::Events(Vec::new())),
                }
            }
            Self::Stream(reader) => {
                let block = reader.next().await?;
                let events = match block.event.as_deref() {
                    Some("end") => return None,
                    Some("attached") => return Some(Arrival::Attached(block.element().clone())),
                    None if block.is_cursor() => vec![json!({"type": "cursor", "cursor": block.id})],
                    _ => block.data.map_or(Vec::new(), |list| serde_json::from_value(list).expect("a list")),
                };
                Some(Arrival::Events(events))
            }
        }
    }
}

enum Arrival {
    Events(Vec<Value>),
    /// A websocket is attached.
    Pong,
    /// An event stream is attached.
    Attached(Value),
}

/// See the module's description.
pub struct Client {
    kind: Kind,
    user: String,
    conn_id: String,
    known: Known,
    chance: StdRng,
    /// What it knows about positions; texts of old clients are collected there as well.
    page: Page,
    missing_ends: BTreeSet<String>,
    is_attached: bool,
    progress: Rc<Progress>,
}

impl Client {
    pub fn new(
        kind: Kind,
        user: String,
        conn_id: String,
        known: Known,
        chance: StdRng,
        progress: Rc<Progress>,
    ) -> Self {
        let streams = ["c0", "c1", "c2", &user].map(|stream| format!("{stream} end"));
        let missing_ends = streams.into_iter().collect();
        Self {
            kind,
            user,
            conn_id,
            known,
            chance,
            page: Page::default(),
            missing_ends,
            is_attached: false,
            progress,
        }
    }

    /// Listens until everything is over.
    pub async fn run(mut self) -> Self {
        match self.kind.transport() {
            Transport::LongPoll => self.poll().await,
            _ => self.listen().await,
        }
        self
    }

    fn note_attached(&mut self) {
        if !std::mem::replace(&mut self.is_attached, true) {
            self.progress.attached.add_permits(1);
        }
    }

    async fn poll(&mut self) {
        while !self.missing_ends.is_empty() {
            match self.poll_once().await {
                Some(events) => {
                    self.note_attached();
                    events.into_iter().for_each(|event| self.note(event));
                }
                None => sleep_up_to(&mut self.chance, 100).await,
            }
        }
    }

    async fn poll_once(&mut self) -> Option<Vec<Value>> {
        let target = format!("/listen?{}", self.query());
        let mut wire = Wire::try_open(self.known.any(&mut self.chance)).await.ok()?;
        wire.try_write(request("GET", &target, &[("connection", "close")], b"")).await.ok()?;
        let reply = wire.try_reply().await?;
        match reply.status {
            200 => reply.json().as_array().cloned(),
            503 => None,
            _ => panic!("{:?} {}: {reply:?}", self.kind, self.user),
        }
    }

    fn query(&self) -> String {
        let conn_id = &self.conn_id;
        let positions = || match self.page.positions.is_empty() {
            true => String::new(),
            false => self.page.positions(),
        };
        match self.kind {
            Kind::OldSocket | Kind::OldPolls => format!("conn_id={conn_id}"),
            Kind::Socket => format!("conn_id={conn_id}&resume=1{}", positions()),
            Kind::EventStream => format!("conn_id={conn_id}{}", positions()),
            Kind::Polls => {
                let since = self.page.cursor.as_ref().map_or(String::new(), |_| self.page.cursor());
                format!("conn_id={conn_id}&resume=1{since}")
            }
        }
    }

    async fn listen(&mut self) {
        let mut session = None;
        while !self.progress.is_over.get() {
            session = match session {
                None => self.open().await,
                Some(session) => self.stay(session).await,
            };
        }
    }

    /// Opens a session at any node.
    async fn open(&mut self) -> Option<Session> {
        match self.try_open().await {
            Some((session, early)) if session.is_some() || !early.is_empty() => {
                early.into_iter().for_each(|event| self.note(event));
                session
            }
            _ => {
                sleep_up_to(&mut self.chance, 100).await;
                None
            }
        }
    }

    /// Returns the session once it is attached, or none if it ended before, and what has arrived until then.
    async fn try_open(&mut self) -> Option<(Option<Session>, Vec<Value>)> {
        let at = self.known.any(&mut self.chance);
        let mut session = Session::open(at, self.kind.transport(), &self.query()).await?;
        let mut early = Vec::new();
        loop {
            match session.next().await {
                Some(Arrival::Events(events)) => early.extend(events),
                Some(Arrival::Attached(element)) => {
                    early.push(element);
                    break;
                }
                Some(Arrival::Pong) => break,
                None => return Some((None, early)),
            }
        }
        self.note_attached();
        Some((Some(session), early))
    }

    /// Listens for a while, and then moves to another node or breaks the connection. A client that has received
    /// everything stays.
    async fn stay(&mut self, mut session: Session) -> Option<Session> {
        let until = tokio::time::Instant::now() + Duration::from_millis(self.chance.random_range(0..1_500));
        while tokio::time::timeout_at(until, session.ready()).await.is_ok() {
            if let Arrival::Events(events) = session.next().await? {
                events.into_iter().for_each(|event| self.note(event));
            }
        }
        if self.missing_ends.is_empty() {
            return Some(session);
        }
        match self.kind.is_old() {
            // An old client does not know what it missed, so it never breaks a connection.
            true => self.take_over(session).await,
            false => None,
        }
    }

    /// Opens another session, and reads the first one to its end.
    async fn take_over(&mut self, mut first: Session) -> Option<Session> {
        let (second, early) = self.try_open().await.unwrap_or_default();
        if second.is_none() && early.is_empty() {
            return Some(first);
        }
        while let Some(arrival) = first.next().await {
            if let Arrival::Events(events) = arrival {
                events.into_iter().for_each(|event| self.note(event));
            }
        }
        early.into_iter().for_each(|event| self.note(event));
        second
    }

    fn note(&mut self, event: Value) {
        let kind = event["type"].as_str().expect("a type");
        let is_end = kind == "message" && self.missing_ends.remove(&text(&event));
        if is_end && self.missing_ends.is_empty() {
            self.progress.complete.add_permits(1);
        }
        match self.kind.is_old() {
            true if kind == "message" => self.page.frames.push(text(&event)),
            true => {}
            false => {
                self.check_recovered(&event);
                self.page.take(event);
            }
        }
    }

    /// No stream has lost anything.
    fn check_recovered(&self, element: &Value) {
        let lost = |of: &Value| of["recovered"] == json!(false);
        let streams = element["streams"].as_object();
        let is_lost = lost(element)
            || element.get("private").is_some_and(lost)
            || streams.is_some_and(|streams| streams.values().any(lost));
        assert!(!is_lost, "{:?} {}: {element}", self.kind, self.user);
    }

    /// Checks what it has received against how many messages were published in each stream, and the events of users.
    pub fn check(self, published: &BTreeMap<String, u64>) {
        for stream in ["c0", "c1", "c2", &self.user] {
            let count = published.get(stream).copied().unwrap_or(0);
            let numbers = (0..count).map(|number| number.to_string());
            let expected: Vec<_> =
                numbers.chain(["end".into()]).map(|text| format!("{stream} {text}")).collect();
            let prefix = format!("{stream} ");
            let texts: Vec<_> = self.page.frames.iter().filter(|text| text.starts_with(&prefix)).collect();
            match self.kind.is_old() {
                true => self.check_complete(&texts, &expected),
                false => assert_eq!(texts, expected.iter().collect::<Vec<_>>(), "{:?}", self.kind),
            }
        }
        self.check_presence();
    }

    /// Old clients may receive messages again, but miss none.
    fn check_complete(&self, texts: &[&String], expected: &[String]) {
        let places: BTreeMap<_, _> = expected.iter().enumerate().map(|(place, text)| (text, place)).collect();
        let mut next = 0;
        for text in texts {
            let place = places[text];
            assert!(place <= next, "{:?} {}: {:?} is missing", self.kind, self.user, &expected[next..place]);
            next = next.max(place + 1);
        }
        assert_eq!(next, expected.len(), "{:?} {}", self.kind, self.user);
    }

    /// Users have joined and parted in turn.
    fn check_presence(&self) {
        let mut last: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for event in &self.page.presence {
            let [channel, user, action] =
                event.split(' ').collect::<Vec<_>>().try_into().expect("three words");
            let before = last.insert((channel, user), action);
            assert!(before != Some(action), "{:?}: {channel}: {user} {action} twice", self.kind);
        }
    }
}
