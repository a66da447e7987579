//! What a client makes of a stream by applying its frames in order: the messages with their edits, and who is present.

use super::World;
use super::log::{Log, Published};
use super::returning::Reader;
use crate::broker::channel::messages::Inspect;
use crate::fixtures::Seen;
use crate::protocol::ids::{Offset, Position};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A client's copy of a stream, from a position on.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Up to where the client has everything.
    pub at: Position,
    since: Offset,
    /// The texts of the messages.
    messages: BTreeMap<u128, String>,
    /// The users of which it knows whether they are present.
    users: BTreeMap<String, bool>,
    /// The last numbers of users and connections.
    numbers: Option<(u64, u64)>,
}

impl Replica {
    /// A copy that begins here: the client knows nothing about what came before.
    pub fn new(at: Position) -> Self {
        let (messages, users) = (BTreeMap::new(), BTreeMap::new());
        Self { at, since: at.offset, messages, users, numbers: None }
    }

    /// The client has everything up to this offset.
    pub fn advance(&mut self, offset: Offset) {
        self.at.offset = self.at.offset.max(offset);
    }

    /// The client may lack frames up to this offset. Those that it receives do not count.
    pub fn beginning_after(self, offset: Offset) -> Self {
        Self { since: offset.max(self.since), ..self }
    }

    /// Up to where nothing that counts is missing.
    pub fn through(&self) -> Offset {
        self.at.offset.max(self.since)
    }

    /// Applies a frame. One that the client has already changes nothing.
    pub fn apply(&mut self, Seen { kind, number, json, .. }: &Seen) {
        let offset = json["offset"].as_u64().unwrap();
        if offset <= self.at.offset {
            return;
        }
        self.at.offset = offset;
        if offset <= self.since {
            return;
        }
        apply(&mut self.messages, kind, *number, &json["message"]);
        let name = |user: &Value| user.as_str().unwrap().to_owned();
        match kind.as_str() {
            "presence" => {
                self.users.insert(name(&json["user"]), json["message"]["action"] == "joined");
            }
            "presence:diff" => {
                let joined = json["joined"].as_array().unwrap().iter();
                self.users.extend(joined.map(|user| (name(&user["user"]), true)));
                let parted = json["parted"].as_array().unwrap().iter();
                self.users.extend(parted.map(|user| (name(user), false)));
            }
            "presence:count" => {
                let number = |key: &str| json[key].as_u64().unwrap();
                self.numbers = Some((number("users"), number("connections")));
            }
            _ => {}
        }
    }
}

fn apply(messages: &mut BTreeMap<u128, String>, kind: &str, number: u128, text: &Value) {
    match kind {
        "message" => _ = messages.insert(number, text.to_string()),
        "message:edit" => {
            messages.entry(number).and_modify(|before| *before = text.to_string());
        }
        "message:delete" => _ = messages.remove(&number),
        _ => {}
    }
}

impl Log {
    /// The messages of a client that has read a stream live since the replica began, and those about which that client
    /// may know something else, because it was not meant to get all of their frames.
    fn read_live(
        &self,
        reader: &Reader,
        name: &str,
        replica: &Replica,
    ) -> (BTreeMap<u128, String>, BTreeSet<u128>) {
        let (mut messages, mut uncertain) = (BTreeMap::new(), BTreeSet::new());
        let is_part = |frame: &Published| {
            let Position { epoch, offset } = frame.position;
            epoch == replica.at.epoch && offset > replica.since
        };
        for frame in self.frames(reader, name).iter().filter(|frame| is_part(frame)) {
            if self.is_promised(reader, name, frame) {
                apply(&mut messages, &frame.kind, frame.number, &frame.message);
            } else {
                uncertain.insert(frame.number);
            }
        }
        (messages, uncertain)
    }
}

impl World {
    /// Panics unless a client that has read everything has the messages of a client that never left, each in its last
    /// form, and knows truly who is present.
    pub fn check_replica(&mut self, reader: &Reader, name: &str, replica: &Replica) {
        let (mut expected, uncertain) = self.log.read_live(reader, name, replica);
        let mut messages = replica.messages.clone();
        for copy in [&mut expected, &mut messages] {
            copy.retain(|number, _| !uncertain.contains(number));
        }
        assert_eq!(messages, expected, "the messages of {name:?} for {}", reader.conn_id);
        let own = self.registry.user(reader.user).map(|user| user.view.name.to_string());
        let Some((state, _)) = self.channels.iter_mut().find(|(state, _)| *state.identity().name == *name)
        else {
            return;
        };
        // Otherwise members will be notified later.
        if state.next_due().is_none() {
            let snapshot = state.snapshot(&Inspect { users: true, history: false });
            let is_here = |name: &String| snapshot.users.iter().any(|user| *user.name == **name);
            // Events go to other users than the one concerned.
            for (user, here) in replica.users.iter().filter(|(user, _)| Some(*user) != own.as_ref()) {
                assert_eq!(*here, is_here(user), "{user} in {name:?} for {}", reader.conn_id);
            }
            let numbers = (snapshot.users.len() as u64, u64::from(snapshot.total_connections));
            assert_eq!(replica.numbers.unwrap_or(numbers), numbers, "in {name:?} for {}", reader.conn_id);
        }
    }
}
