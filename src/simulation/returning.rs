//! Clients that ask for positions. Each one remembers what it has read, returns with all or a part of it, and checks
//! everything that it reads against the log of the world: nothing is hidden, repeated or out of order, and a cursor
//! covers what it promises.

use super::World;
use crate::fixtures::seen;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ConnKey, Epoch, Offset, Position, ServerEpoch, Stamp, UserId};
use crate::protocol::position::{Cursor, KnownCursor, Since};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

pub const SERVER: ServerEpoch = ServerEpoch::new(0x5eed);

/// A channel by its name, or the private stream of a user.
type StreamName = (String, Option<UserId>);

/// A frame that was published.
struct Published {
    position: Position,
    stamp: Stamp,
    kind: String,
    number: u128,
    audience: crate::protocol::frame::Audience,
}

/// Offsets after the first, up to the second one.
type Range = (Offset, Offset);

/// Everything published, and the times at which connections were not subscribed.
#[derive(Default)]
pub struct Log {
    streams: HashMap<StreamName, Vec<Published>>,
    deleted: HashSet<u128>,
    /// Where the channels were when a connection was created, or when it left them.
    outside: HashMap<(ConnKey, String), Offset>,
    not_subscribed: HashMap<(Uuid, String), Vec<Range>>,
    /// Where a channel was before and after a connection joined it, each time.
    joined: HashMap<(ConnKey, String), Vec<Range>>,
    /// The stamps at which connections left channels.
    left: HashMap<(Uuid, String), Stamp>,
    /// Where channels were when the registry unsubscribed a connection. What was on its way is delivered only to a session
    /// that existed.
    leaving: HashMap<(ConnKey, String), Offset>,
    optional: HashMap<(Uuid, String), Vec<Range>>,
}

impl Log {
    pub fn publish(&mut self, stream: StreamName, position: Position, stamp: Stamp, frame: &Frame) {
        let event = seen(&frame.live_element());
        if event.kind == "message:delete" {
            self.deleted.insert(event.number);
        }
        let (kind, number, audience) = (event.kind, event.number, frame.audience().clone());
        self.streams.entry(stream).or_default().push(Published { position, stamp, kind, number, audience });
    }

    /// Whether a cursor of this moment is from after the client left the stream.
    fn has_left(&self, conn_id: Uuid, name: &str, stamp: Stamp) -> bool {
        self.left.get(&(conn_id, name.to_owned())).is_some_and(|left| *left <= stamp)
    }

    /// The registry unsubscribes a connection.
    pub fn unsubscribe(&mut self, conn: ConnKey, conn_id: Uuid, channel: &str, at: (Offset, Stamp)) {
        self.left.insert((conn_id, channel.to_owned()), at.1);
        self.leaving.insert((conn, channel.to_owned()), at.0);
    }

    /// A connection is outside of a channel from this offset on.
    pub fn leave(&mut self, conn: ConnKey, channel: &str, offset: Offset) {
        self.outside.insert((conn, channel.to_owned()), offset);
    }

    /// A channel subscribes a connection. The registry may have unsubscribed it since.
    pub fn join(
        &mut self,
        conn: ConnKey,
        conn_id: Uuid,
        channel: &str,
        (before, after): Range,
        is_subscribed: bool,
    ) {
        if is_subscribed && let Some(left) = self.leaving.remove(&(conn, channel.to_owned())) {
            self.optional.entry((conn_id, channel.to_owned())).or_default().push((left, before));
        }
        let left = self.outside.remove(&(conn, channel.to_owned())).unwrap_or(0);
        self.not_subscribed.entry((conn_id, channel.to_owned())).or_default().push((left, before));
        self.joined.entry((conn, channel.to_owned())).or_default().push((before, after));
    }

    /// Whether the connection existed and was not subscribed when this frame was published.
    fn is_outside(&self, client: &Client<'_>, channel: &str, offset: Offset) -> bool {
        let left = self.outside.get(&(client.key, channel.to_owned())).map(|left| (*left, Offset::MAX));
        let times = self.not_subscribed.get(&(client.conn_id, channel.to_owned()));
        let mut times = times.into_iter().flatten().copied().chain(left);
        times.any(|(after, upto)| offset > after && offset <= upto)
    }

    fn is_optional(&self, client: &Client<'_>, channel: &str, offset: Offset) -> bool {
        let left = self.leaving.get(&(client.key, channel.to_owned())).map(|left| (*left, Offset::MAX));
        let times = self.optional.get(&(client.conn_id, channel.to_owned()));
        let mut times = times.into_iter().flatten().copied().chain(left);
        times.any(|(after, upto)| offset > after && offset <= upto)
    }

    /// Panics if a frame was meant for this client in this life of the stream, or in any, and `is_expected`.
    fn assert_none(
        &self,
        client: &Client<'_>,
        name: &str,
        epoch: Option<Epoch>,
        why: &str,
        is_expected: impl Fn(&Published) -> bool,
    ) {
        let stream = (name.to_owned(), name.is_empty().then_some(client.user));
        for frame in self.streams.get(&stream).into_iter().flatten() {
            let is_gone = self.deleted.contains(&frame.number)
                && frame.kind.starts_with("message")
                && frame.kind != "message:delete";
            let is_meant = epoch.is_none_or(|epoch| frame.position.epoch == epoch)
                && frame.audience.admits(client.user)
                && !self.is_outside(client, name, frame.position.offset)
                && !self.is_optional(client, name, frame.position.offset);
            assert!(
                !is_meant || is_gone || !is_expected(frame),
                "{why}: {name:?} {} {} of {:?} is hidden from {}",
                frame.position.offset,
                frame.kind,
                frame.number,
                client.conn_id
            );
        }
    }
}

struct Client<'a> {
    conn_id: Uuid,
    user: UserId,
    key: ConnKey,
    page: &'a mut Page,
}

/// What a client has read.
#[derive(Clone, Debug, Default)]
struct Memory {
    cursor: Option<Cursor>,
    /// Up to which offset it has everything.
    known: BTreeMap<String, Position>,
}

/// The part of its memory with which a client returns.
#[derive(Clone, Copy, Debug)]
pub enum Returns {
    All,
    /// With what it had this many cursors before.
    Earlier(usize),
    CursorOnly,
    PositionsOnly,
    /// As a new page.
    Nothing,
}

/// A client over all its sessions.
#[derive(Default)]
pub struct Page {
    memory: Memory,
    earlier: Vec<Memory>,
    /// The session that it reads.
    pub session: Option<usize>,
    /// How far this session is in each stream, and up to where losses were reported.
    progress: BTreeMap<String, (Position, Offset)>,
}

impl Page {
    /// Begins a session, and returns what the client sends.
    pub fn begin(
        &mut self,
        log: &Log,
        conn_id: Uuid,
        session: usize,
        polls: bool,
        returns: Returns,
    ) -> Arc<Since> {
        self.session = Some(session);
        self.progress.clear();
        if let Some(Cursor { stamp, .. }) = self.memory.cursor {
            // It has seen that it is no longer subscribed.
            self.memory.known.retain(|name, _| !log.has_left(conn_id, name, stamp));
        }
        match returns {
            Returns::All => {}
            Returns::Earlier(back) => {
                let at = self.earlier.len().saturating_sub(1 + back);
                self.memory = self.earlier.get(at).cloned().unwrap_or_default();
            }
            // What it does not send, it does not have: the server's own cursor cannot replace it.
            Returns::CursorOnly => {
                let cursor = self.memory.cursor;
                self.memory.known.retain(|_, _| cursor.is_some());
            }
            Returns::PositionsOnly => self.memory.cursor = None,
            Returns::Nothing => self.memory = Memory::default(),
        }
        if polls && self.memory.cursor.is_some() {
            // Without an answer about a stream, everything follows that it does not have. Some may be repeated.
            let known = self.memory.known.iter();
            let repeats = known.map(|(name, at)| (name.clone(), (Position { offset: 0, ..*at }, at.offset)));
            self.progress = repeats.collect();
        }
        let positions = match returns {
            Returns::CursorOnly => BTreeMap::new(),
            _ => self.memory.known.iter().map(|(name, position)| (name.as_str().into(), *position)).collect(),
        };
        Arc::new(Since { cursor: self.memory.cursor.map(KnownCursor::Own), positions })
    }
}

fn position(json: &Value, offset: &str) -> Position {
    let epoch = Epoch::parse(json["epoch"].as_str().unwrap()).unwrap();
    Position { epoch, offset: json[offset].as_u64().unwrap() }
}

impl Client<'_> {
    /// The answer about one stream.
    fn attached(&mut self, log: &Log, name: &str, json: &Value) {
        let from = position(json, "from");
        let through = json["offset"].as_u64().unwrap();
        let known = self.page.memory.known.get(name).filter(|known| known.epoch == from.epoch);
        let known = known.map_or(0, |known| known.offset);
        let recovered = json["recovered"] == true;
        let lost = match (recovered, json["gap"]["upto"].as_u64()) {
            (true, _) => 0,
            (false, Some(upto)) => upto,
            (false, None) => through,
        };
        // It knows the stream from before, so that everything in between was meant for it.
        if recovered && self.page.memory.known.contains_key(name) {
            let is_between =
                |frame: &Published| frame.position.offset > known && frame.position.offset <= from.offset;
            log.assert_none(self, name, Some(from.epoch), "recovered", is_between);
        }
        // An earlier life of the stream may have ended while it was away.
        if let Some(cursor) = self.page.memory.cursor.filter(|_| recovered) {
            let before = self.page.memory.known.get(name).copied();
            let had = |at: Position| {
                before.is_some_and(|before| before.epoch == at.epoch && before.offset >= at.offset)
            };
            let is_of_earlier_life = |frame: &Published| {
                let at = frame.position;
                at.epoch != from.epoch && frame.stamp > cursor.stamp && !had(at)
            };
            log.assert_none(self, name, None, "recovered", is_of_earlier_life);
        }
        self.page.progress.insert(name.to_owned(), (from, lost));
        self.learn(name, Position { offset: from.offset.max(lost), ..from });
    }

    fn subscribed(&mut self, log: &Log, name: &str, at: Position) {
        // A subscription made while attached begins after the event of joining.
        let mut joined = log.joined[&(self.key, name.to_owned())].iter();
        let is_one = joined.any(|joined| at.offset == joined.0 || at.offset == joined.1);
        assert!(is_one, "{name} is announced at {at:?}");
        self.page.progress.insert(name.to_owned(), (at, 0));
        self.page.memory.known.insert(name.to_owned(), at);
    }

    fn learn(&mut self, name: &str, position: Position) {
        let known = self.page.memory.known.entry(name.to_owned()).or_insert(position);
        *known = match known.epoch == position.epoch {
            true => Position { offset: position.offset.max(known.offset), ..position },
            false => position,
        };
    }

    fn frame(&mut self, log: &Log, json: &Value) {
        let name = json["channel"].as_str().unwrap_or_default();
        let offset = json["offset"].as_u64().unwrap_or_else(|| panic!("a frame without offset: {json}"));
        let Some(&(before, lost)) = self.page.progress.get(name) else {
            panic!("{name} was never announced")
        };
        assert!(offset > before.offset, "{name} repeats {offset} after {before:?}");
        assert!(!log.is_outside(self, name, offset), "{name} {offset} is from before the subscription");
        let is_between = |frame: &Published| {
            let at = frame.position.offset;
            at > before.offset.max(lost) && at < offset
        };
        log.assert_none(self, name, Some(before.epoch), "skipped", is_between);
        let now = Position { offset, ..before };
        self.page.progress.insert(name.to_owned(), (now, lost));
        self.learn(name, now);
    }

    fn cursor(&mut self, log: &Log, cursor: Cursor) {
        assert_eq!(cursor.server, SERVER);
        let before = self.page.memory.cursor.map(|cursor| cursor.stamp);
        assert!(before <= Some(cursor.stamp), "the cursor went back");
        // A cursor covers the streams of the connection, not those that it has left.
        let key = self.key;
        let has_left = |name: &String| log.leaving.contains_key(&(key, name.clone()));
        self.page.memory.known.retain(|name, _| !has_left(name));
        let current = self.page.progress.clone().into_iter().filter(|(name, _)| !has_left(name));
        for (name, (at, lost)) in current {
            let is_promised = |frame: &Published| {
                frame.stamp <= cursor.stamp && frame.position.offset > at.offset.max(lost)
            };
            log.assert_none(self, &name, Some(at.epoch), "covered by a cursor", is_promised);
        }
        self.page.memory.cursor = Some(cursor);
        self.page.earlier.push(self.page.memory.clone());
    }
}

impl World {
    /// Whether a session belongs to a client that asks for positions.
    pub fn is_returning(&self, number: usize) -> bool {
        self.pages.contains_key(&self.sessions[number].conn_id)
    }

    /// Such a client reads an element.
    pub fn note_returning(&mut self, number: usize, element: &[u8]) {
        let json: Value = serde_json::from_slice(element).unwrap();
        self.with_client(number, |client, log| client.read(log, &json));
    }

    /// The client of an event stream stores an id, after it has read the event with this id if there is one.
    pub fn note_id(&mut self, number: usize, id: &str, list: Option<&str>) {
        let cursor = Cursor::parse(id).unwrap();
        let event: Option<Value> = list.map(|list| serde_json::from_str(list).unwrap());
        let offset = event.map(|list| list[0]["offset"].as_u64().unwrap());
        assert_eq!(cursor.frame.map(|frame| frame.offset), offset, "{id} names its event");
        self.with_client(number, |client, log| client.cursor(log, cursor));
    }

    fn with_client(&mut self, number: usize, act: impl FnOnce(&mut Client<'_>, &Log)) {
        let session = &self.sessions[number];
        let (conn_id, key) =
            (session.conn_id, session.owner.expect("only attached sessions receive elements"));
        let user = self.users_of[&key];
        let page = self.pages.get_mut(&conn_id).unwrap();
        // It has a newer session, and ignores what arrives at the old one.
        if page.session != Some(number) {
            return;
        }
        act(&mut Client { conn_id, user, key, page }, &self.log);
    }
}

impl Client<'_> {
    fn read(&mut self, log: &Log, json: &Value) {
        match json["type"].as_str().unwrap() {
            "attached" => {
                for (name, of) in json["streams"].as_object().unwrap() {
                    self.attached(log, name, of);
                }
                if let Some(of) = json.get("private") {
                    self.attached(log, "", of);
                }
                // It has positions of an earlier connection.
                for name in json["unknown"].as_array().unwrap() {
                    self.page.memory.known.remove(name.as_str().unwrap());
                }
            }
            "subscribed" => self.subscribed(log, json["channel"].as_str().unwrap(), position(json, "offset")),
            "cursor" => self.cursor(log, Cursor::parse(json["cursor"].as_str().unwrap()).unwrap()),
            _ => self.frame(log, json),
        }
    }
}
