//! Clients that ask for positions. Each remembers what it has read, returns with it, and checks everything that it reads
//! against the truth: nothing is hidden, repeated or out of order, and what a cursor covers has arrived.

use super::clients::Client;
use super::truth::{Entry, Truth};
use crate::fixtures::seen_json;
use crate::protocol::ids::{Epoch, Offset, Position, ServerEpoch};
use crate::protocol::position::{Cursor, KnownCursor, Since};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How far a session is in a stream.
#[derive(Clone, Copy, Debug)]
struct Progress {
    at: Position,
    /// Up to here losses were reported.
    lost: Offset,
}

/// What a client has, over all its sessions.
#[derive(Default)]
pub struct Memory {
    cursor: Option<Cursor>,
    known: BTreeMap<String, Position>,
    /// The session that it reads.
    pub session: Option<usize>,
    progress: BTreeMap<String, Progress>,
    /// The entries that it has read.
    has: HashSet<usize>,
    /// The entries of each stream up to which it knows that it may have lost some.
    excused: BTreeMap<String, usize>,
}

/// With what a client returns.
#[derive(Clone, Copy, Debug)]
pub enum Returns {
    All,
    CursorOnly,
    PositionsOnly,
    Nothing,
}

fn position(json: &Value, offset: &str) -> Position {
    let epoch = Epoch::parse(json["epoch"].as_str().unwrap()).unwrap();
    Position { epoch, offset: json[offset].as_u64().unwrap() }
}

impl Memory {
    pub fn has(&self, at: usize, entry: &Entry) -> bool {
        self.has.contains(&at) || self.excused.get(&entry.stream).is_some_and(|upto| at < *upto)
    }

    /// Its connection is gone, and the next one begins without what the client had.
    pub fn forget(&mut self) {
        *self =
            Self { session: self.session, progress: std::mem::take(&mut self.progress), ..Self::default() };
    }
}

impl Client {
    fn key(&self, name: &str) -> String {
        if name.is_empty() { format!("u{}", self.user) } else { format!("c{name}") }
    }

    fn excuse(&mut self, key: &str, upto: usize) {
        let excused = self.memory.excused.entry(key.to_owned()).or_default();
        *excused = upto.max(*excused);
    }

    /// Begins a session. Returns what the client sends to a server of this life.
    pub fn begin(
        &mut self,
        session: usize,
        polls: bool,
        returns: Returns,
        life: ServerEpoch,
        truth: &Truth,
    ) -> Arc<Since> {
        self.memory.session = Some(session);
        self.memory.progress.clear();
        match returns {
            Returns::All => {}
            Returns::CursorOnly if self.memory.cursor.is_none() => self.memory.known.clear(),
            Returns::CursorOnly => {}
            Returns::PositionsOnly => self.memory.cursor = None,
            Returns::Nothing => {
                (self.memory.cursor, self.memory.known) = (None, BTreeMap::new());
                // What the server has delivered, this page does not have.
                let streams: Vec<_> = self.streams().cloned().collect();
                streams.iter().for_each(|key| self.excuse(key, truth.next()));
            }
        }
        let memory = &mut self.memory;
        if polls && memory.cursor.is_some() {
            // Without an answer about a stream, everything follows that it does not have. Some may be repeated.
            let progress = |(name, at): (&String, &Position)| {
                (name.clone(), Progress { at: Position { offset: 0, ..*at }, lost: at.offset })
            };
            memory.progress = memory.known.iter().map(progress).collect();
        }
        let positions = match returns {
            Returns::CursorOnly => BTreeMap::new(),
            _ => memory.known.iter().map(|(name, at)| (name.as_str().into(), *at)).collect(),
        };
        let known = |cursor: Cursor| match cursor.server == life {
            true => KnownCursor::Own(cursor),
            false => KnownCursor::Foreign,
        };
        Arc::new(Since { cursor: memory.cursor.map(known), positions })
    }

    pub fn read_element(&mut self, json: &Value, truth: &mut Truth) {
        match json["type"].as_str().unwrap() {
            "attached" => {
                for (name, of) in json["streams"].as_object().unwrap() {
                    self.attached(name, of, truth);
                }
                if let Some(of) = json.get("private") {
                    self.attached("", of, truth);
                }
                for name in json["unknown"].as_array().unwrap() {
                    self.memory.known.remove(name.as_str().unwrap());
                }
            }
            "subscribed" => self.subscribed(json, truth),
            "cursor" => self.cursor(Cursor::parse(json["cursor"].as_str().unwrap()).unwrap(), truth),
            _ => self.frame(json, truth),
        }
    }

    /// The answer about one stream.
    fn attached(&mut self, name: &str, json: &Value, truth: &Truth) {
        let from = position(json, "from");
        let through = json["offset"].as_u64().unwrap();
        let key = self.key(name);
        let lost = match (json["recovered"] == true, json["gap"]["upto"].as_u64()) {
            (true, _) if self.memory.cursor.is_some() || self.memory.known.contains_key(name) => {
                self.check_recovered(&key, from, truth);
                0
            }
            // What the server has delivered to an earlier session, this page does not know.
            (true, _) => {
                // The first session of a connection does not report what Redis has lost since the connection was created.
                let lost = truth.of_stream(&key).filter(|(_, entry)| entry.is_lost).map(|(at, _)| at);
                self.memory.has.extend(lost);
                self.excuse_up_to(&key, from, truth);
                0
            }
            (false, Some(upto)) => upto,
            (false, None) => through,
        };
        if lost > 0 || json["recovered"] == false {
            self.excuse_up_to(&key, Position { offset: lost, ..from }, truth);
        }
        self.memory.progress.insert(name.to_owned(), Progress { at: from, lost });
        self.memory.known.insert(name.to_owned(), Position { offset: from.offset.max(lost), ..from });
    }

    /// The client knows that it may lack everything up to this position, and everything of earlier epochs.
    fn excuse_up_to(&mut self, key: &str, at: Position, truth: &Truth) {
        let is_told = |entry: &Entry| entry.position.epoch != at.epoch || entry.position.offset <= at.offset;
        // Entries of another epoch that come later are not excused.
        let first_later = truth
            .of_stream(key)
            .filter(|(_, entry)| !entry.is_lost)
            .find(|(_, entry)| entry.position.epoch == at.epoch && entry.position.offset > at.offset);
        let upto = first_later.map_or(truth.next(), |(index, _)| index);
        debug_assert!(
            truth
                .of_stream(key)
                .take_while(|(index, _)| *index < upto)
                .all(|(_, entry)| { is_told(entry) || entry.is_lost })
        );
        self.excuse(key, upto);
    }

    /// Panics if the client lacks something that it does not receive now.
    fn check_recovered(&self, key: &str, from: Position, truth: &Truth) {
        for (at, entry) in truth.of_stream(key) {
            let follows =
                !entry.is_lost && entry.position.epoch == from.epoch && entry.position.offset > from.offset;
            // The application of a lost item was promised that it arrives.
            let is_promised = !entry.is_deleted && (!entry.is_lost || truth.is_accepted(entry));
            assert!(
                follows || !is_promised || !self.is_required(at, entry) || self.memory.has(at, entry),
                "client {}: recovered from {from:?} hides {at} {entry:?}",
                self.conn_id.as_u128()
            );
        }
    }

    /// A stream is announced: a channel that it has joined, or one in which it may have lost something.
    fn subscribed(&mut self, json: &Value, truth: &Truth) {
        let (name, at) = (json["channel"].as_str().unwrap(), position(json, "offset"));
        let key = self.key(name);
        if json["recovered"] == false {
            self.excuse_up_to(&key, at, truth);
        }
        self.memory.progress.insert(name.to_owned(), Progress { at, lost: 0 });
        self.memory.known.insert(name.to_owned(), at);
    }

    fn frame(&mut self, json: &Value, truth: &mut Truth) {
        let name = json["channel"].as_str().unwrap_or_default();
        let offset = json["offset"].as_u64().unwrap_or_else(|| panic!("a frame without offset: {json}"));
        let who = format!("client {} of {} in {name:?}", self.conn_id.as_u128(), self.user);
        let Some(&Progress { at: before, lost }) = self.memory.progress.get(name) else {
            panic!("{who}: the stream was never announced")
        };
        assert!(offset > before.offset, "{who} receives {offset} after {before:?}");
        let (now, key) = (Position { offset, ..before }, self.key(name));
        let Some(at) = truth.reach(&key, now) else { panic!("{who}: there is nothing at {now:?}: {json}") };
        let (entry, event) = (&truth.entries[at], seen_json(json));
        assert_eq!((entry.kind, entry.uuid), (&*event.kind, event.number), "{who} at {now:?}");
        assert!(entry.is_meant_for(&self.user), "{who}: {entry:?} is not meant for it");
        for (index, between) in truth.of_stream(&key) {
            let Position { epoch, offset: at } = between.position;
            let is_between = epoch == before.epoch && at > before.offset.max(lost) && at < offset;
            assert!(
                !is_between
                    || !between.is_kept()
                    || !self.is_required(index, between)
                    || self.memory.has(index, between),
                "{who}: {index} {between:?} is skipped, after {before:?}"
            );
        }
        self.memory.has.insert(at);
        self.memory.progress.insert(name.to_owned(), Progress { at: now, lost });
        let known = self.memory.known.entry(name.to_owned()).or_insert(now);
        if known.epoch != now.epoch || known.offset < now.offset {
            *known = now;
        }
    }

    fn cursor(&mut self, cursor: Cursor, truth: &Truth) {
        let before = self.memory.cursor.filter(|before| before.server == cursor.server);
        assert!(
            before.map(|before| before.stamp) <= Some(cursor.stamp),
            "the cursor went back: {before:?} {cursor:?}"
        );
        for name in self.memory.progress.keys() {
            for (at, entry) in truth.of_stream(&self.key(name)) {
                assert!(
                    entry.stamp > cursor.stamp
                        || !entry.is_kept()
                        || !self.is_required(at, entry)
                        || self.memory.has(at, entry),
                    "client {}: a cursor at {:?} covers {at} {entry:?}",
                    self.conn_id.as_u128(),
                    cursor.stamp
                );
            }
        }
        self.memory.cursor = Some(cursor);
    }
}
