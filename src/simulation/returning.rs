//! Clients that ask for positions. Each one remembers what it has read, returns with all or a part of it, and checks
//! everything that it reads against the log of the world: nothing is hidden, repeated or out of order, and a cursor
//! covers what it promises.

use super::World;
use super::log::{Log, Published, StreamName};
use super::page::Page;
use super::replica::Replica;
use crate::fixtures::seen_json;
use crate::protocol::ids::{ChannelId, ConnKey, Epoch, Position, ServerEpoch, UserId};
use crate::protocol::position::Cursor;
use serde_json::Value;
use uuid::Uuid;

pub const SERVER: ServerEpoch = ServerEpoch::new(0x5eed);

/// A connection whose client reads, and its user.
#[derive(Clone, Copy)]
pub struct Reader {
    pub conn_id: Uuid,
    pub user: UserId,
    pub key: ConnKey,
}

impl Reader {
    /// A channel, or the private stream of the reader's user if the name is empty.
    pub fn stream(&self, name: &str) -> StreamName {
        (name.to_owned(), name.is_empty().then_some(self.user))
    }
}

struct Client<'a> {
    reader: Reader,
    page: &'a mut Page,
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
        let before = self.page.memory.known.get(name).map(|replica| replica.at);
        let known = before.filter(|known| known.epoch == from.epoch).map_or(0, |known| known.offset);
        let recovered = json["recovered"] == true;
        let lost = match (recovered, json["gap"]["upto"].as_u64()) {
            (true, _) => 0,
            (false, Some(upto)) => upto,
            (false, None) => through,
        };
        // It knows the stream from before, so that everything in between was meant for it.
        if recovered && before.is_some() {
            let is_between =
                |frame: &Published| frame.position.offset > known && frame.position.offset <= from.offset;
            log.assert_none(&self.reader, name, Some(from.epoch), "recovered", is_between);
        }
        // An earlier life of the stream may have ended while it was away.
        if let Some(cursor) = self.page.memory.cursor.filter(|_| recovered) {
            let had = |at: Position| {
                before.is_some_and(|before| before.epoch == at.epoch && before.offset >= at.offset)
            };
            let is_of_earlier_life = |frame: &Published| {
                let at = frame.position;
                at.epoch != from.epoch && frame.stamp > cursor.stamp && !had(at)
            };
            log.assert_none(&self.reader, name, None, "recovered", is_of_earlier_life);
        }
        self.page.progress.insert(name.to_owned(), (from, lost));
        self.learn(name, Position { offset: from.offset.max(lost), ..from }, recovered);
    }

    fn subscribed(&mut self, log: &Log, name: &str, at: Position) {
        // A subscription made while attached begins after the event of joining.
        let mut joined = log.joined[&(self.reader.key, name.to_owned())].iter();
        let is_one = joined.clone().any(|joined| at.offset == joined.before || at.offset == joined.after);
        // A new member of an open channel receives what is kept, and the client does not know where that begins.
        let kept_after = joined.next_back().filter(|_| log.is_open(name)).map(|joined| joined.kept_after);
        assert!(is_one || kept_after.is_some(), "{name} is announced at {at:?}");
        let lost = kept_after.unwrap_or(0);
        self.page.progress.insert(name.to_owned(), (at, lost));
        self.page.memory.known.insert(name.to_owned(), Replica::new(at).beginning_after(lost));
    }

    /// The client has everything up to this position, or begins there because it may have lost something before.
    fn learn(&mut self, name: &str, position: Position, recovered: bool) {
        let replica =
            self.page.memory.known.get_mut(name).filter(|replica| replica.at.epoch == position.epoch);
        match replica.filter(|replica| recovered || position.offset <= replica.at.offset) {
            Some(replica) => replica.advance(position.offset),
            None => _ = self.page.memory.known.insert(name.to_owned(), Replica::new(position)),
        }
    }

    fn frame(&mut self, log: &Log, json: &Value) {
        let name = json["channel"].as_str().unwrap_or_default();
        let offset = json["offset"].as_u64().unwrap_or_else(|| panic!("a frame without offset: {json}"));
        let Some(&(before, lost)) = self.page.progress.get(name) else {
            panic!("{name} was never announced")
        };
        assert!(offset > before.offset, "{name} repeats {offset} after {before:?}");
        let now = Position { offset, ..before };
        let event = seen_json(json);
        log.check_read(&self.reader, name, now, (&event.kind, event.number));
        let is_between = |frame: &Published| {
            let at = frame.position.offset;
            at > before.offset.max(lost) && at < offset
        };
        log.assert_none(&self.reader, name, Some(before.epoch), "skipped", is_between);
        self.page.progress.insert(name.to_owned(), (now, lost));
        let known = &mut self.page.memory.known;
        let replica = known.entry(name.to_owned()).or_insert_with(|| Replica::new(now));
        replica.apply(&event);
    }

    fn cursor(&mut self, log: &Log, cursor: Cursor) {
        assert_eq!(cursor.server, SERVER);
        let before = self.page.memory.cursor.map(|cursor| cursor.stamp);
        assert!(before <= Some(cursor.stamp), "the cursor went back");
        // A cursor covers the streams of the connection, not those that it has left.
        let key = self.reader.key;
        let has_left = |name: &String| log.leaving.contains_key(&(key, name.clone()));
        self.page.memory.known.retain(|name, _| !has_left(name));
        let current = self.page.progress.clone().into_iter().filter(|(name, _)| !has_left(name));
        for (name, (at, lost)) in current {
            let is_promised = |frame: &Published| {
                frame.stamp <= cursor.stamp && frame.position.offset > at.offset.max(lost)
            };
            log.assert_none(&self.reader, &name, Some(at.epoch), "covered by a cursor", is_promised);
        }
        self.page.memory.cursor = Some(cursor);
        self.page.store();
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

    /// Panics unless the clients with a session have read everything, and have the state of a client that never left.
    pub fn check_replicas(&mut self) {
        for conn_id in self.rules.returning.clone() {
            let Some((key, connection)) = self.registry.connection(conn_id) else { continue };
            let page = &self.pages[&conn_id];
            if page.session.is_none_or(|number| self.sessions[number].owner != Some(key)) {
                continue;
            }
            let reader = Reader { conn_id, user: connection.user, key };
            let name = |id: &ChannelId| self.registry.channel(*id).unwrap().identity.name.to_string();
            let streams: Vec<String> = connection.channels.iter().map(name).chain([String::new()]).collect();
            for name in streams {
                let replica = self.pages[&conn_id].memory.known[&name].clone();
                let is_missing = |frame: &Published| frame.position.offset > replica.through();
                self.log.assert_none(
                    &reader,
                    &name,
                    Some(replica.at.epoch),
                    "missing at the end",
                    is_missing,
                );
                self.check_replica(&reader, &name, &replica);
            }
        }
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
        act(&mut Client { reader: Reader { conn_id, user, key }, page }, &self.log);
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
