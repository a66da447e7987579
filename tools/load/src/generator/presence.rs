//! What the members of a channel are informed of about users that come and go. All members must be informed of the same,
//! so only the first one's events are read, and those of the others are compared with them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// In every event about users, and in no other frame of the generator.
const PRESENCE: &[u8] = b"\"type\":\"presence";

/// The events of one member.
#[derive(Clone, Debug, Default)]
struct Received {
    frames: u32,
    content: DefaultHasher,
}

/// See the module's description.
#[derive(Debug)]
pub struct PresenceLog {
    members: Vec<Received>,
    /// How often each user joined, as the first member was informed, minus how often it left.
    users: BTreeMap<String, i64>,
    /// The sum of these.
    present: i64,
    /// The number of users in the last event that has one.
    stated: Option<u64>,
}

impl PresenceLog {
    /// The log of this many members.
    pub fn new(members: usize) -> Self {
        let members = vec![Received::default(); members];
        Self { members, users: BTreeMap::new(), present: 0, stated: None }
    }

    /// Records a frame of this member. False if it is no event about users.
    pub fn note(&mut self, member: usize, payload: &[u8]) -> bool {
        let is_presence = payload.windows(PRESENCE.len()).any(|window| window == PRESENCE);
        let Some(received) = self.members.get_mut(member).filter(|_| is_presence) else { return false };
        received.frames += 1;
        received.content.write(payload);
        member > 0 || self.read(payload).is_some()
    }

    /// Reads a list of one event. `None` if it informs of no user.
    fn read(&mut self, payload: &[u8]) -> Option<()> {
        let list: Value = serde_json::from_slice(payload).ok()?;
        let event = &list[0];
        match (event["type"].as_str()?, event["message"]["action"].as_str()) {
            ("presence", Some("joined")) => self.change(&event["user"], 1)?,
            ("presence", Some("parted")) => self.change(&event["user"], -1)?,
            ("presence:diff", _) => {
                event["joined"].as_array()?.iter().try_for_each(|user| self.change(&user["user"], 1))?;
                event["parted"].as_array()?.iter().try_for_each(|name| self.change(name, -1))?;
                self.stated = Some(event["users"].as_u64()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn change(&mut self, name: &Value, by: i64) -> Option<()> {
        *self.users.entry(name.as_str()?.to_owned()).or_default() += by;
        self.present += by;
        Some(())
    }

    /// Whether the first member was informed of this number of present users, and all others received as many events.
    pub fn all_know(&self, users: usize) -> bool {
        let frames = self.frames();
        self.present == users as i64 && self.members.iter().all(|received| received.frames == frames)
    }

    /// The largest number of frames of a member.
    pub fn frames(&self) -> u32 {
        self.members.iter().map(|received| received.frames).max().unwrap_or(0)
    }

    /// The faults, if exactly the users of these names should be present, beside `others` that had joined before.
    pub fn faults(&self, names: impl Iterator<Item = String>, others: usize) -> Vec<String> {
        let digest = |received: &Received| (received.frames, received.content.finish());
        let first = self.members.first().map(digest);
        let differing = self.members.iter().filter(|received| Some(digest(received)) != first).count();
        let mut missing: BTreeMap<String, i64> = names.map(|name| (name, 1)).collect();
        let all = (missing.len() + others) as u64;
        for (name, count) in &self.users {
            *missing.entry(name.clone()).or_default() -= count;
        }
        let wrong = missing.values().filter(|difference| **difference != 0).count();
        let mut faults = Vec::new();
        if differing > 0 {
            faults.push(format!("{differing} members received other events than the first"));
        }
        if wrong > 0 {
            faults.push(format!("{wrong} users were not reported, or not once"));
        }
        let misstated = self.stated.filter(|stated| *stated != all);
        faults.extend(misstated.map(|stated| format!("{stated} users stated, {all} are present")));
        faults
    }
}
