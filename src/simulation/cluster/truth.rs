//! Everything that Redis has appended, and what it has lost since: against it clients are checked.

use crate::broker::engine::model::JournalEntry;
use crate::broker::engine::record::Record;
use crate::protocol::ids::{Epoch, Position, Stamp};
use crate::protocol::message::Delivery;
use std::collections::{BTreeSet, HashMap, HashSet};

/// An entry of a stream. Its index in [`Truth`] is its place in the order of all entries.
#[derive(Debug)]
pub struct Entry {
    /// The key of the stream.
    pub stream: String,
    pub position: Position,
    pub stamp: Stamp,
    /// The type and the id that clients see.
    pub kind: &'static str,
    pub uuid: u128,
    /// What identifies a message, an edit or a deletion.
    pub number: Option<u128>,
    only: Vec<String>,
    except: Vec<String>,
    /// Redis no longer has it, because it started with an earlier state.
    pub is_lost: bool,
    /// Streams keep only later ones.
    pub is_evicted: bool,
    /// Its message was deleted later.
    pub is_deleted: bool,
}

impl Entry {
    /// Whether it is meant for this user, if the user is a member.
    pub fn is_meant_for(&self, user: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|name| name == user))
            && !self.except.iter().any(|name| name == user)
    }

    /// Whether a client that returns finds it.
    pub fn is_kept(&self) -> bool {
        !self.is_lost && !self.is_evicted && !self.is_deleted
    }
}

/// See the module's description.
#[derive(Default)]
pub struct Truth {
    pub entries: Vec<Entry>,
    by_stream: HashMap<String, Vec<usize>>,
    by_number: HashMap<(String, u128), Vec<usize>>,
    /// The last entry at each position.
    by_place: HashMap<(String, Epoch, u64), usize>,
    /// The positions that a client has seen.
    reached: HashSet<(String, Epoch, u64)>,
    /// The items whose requests were answered, and those whose requests were refused with certainty.
    accepted: HashSet<u128>,
    refused: HashSet<u128>,
    /// The stamps of all entries that were not lost grow.
    last_stamp: Stamp,
}

fn delivery(delivery: Delivery) -> (Vec<String>, Vec<String>) {
    // A private message goes to one stream for each user.
    let only = if delivery.channel.is_some() { delivery.pm_users } else { Vec::new() };
    (only, delivery.exclude_users)
}

impl Truth {
    /// The number of the next entry.
    pub fn next(&self) -> usize {
        self.entries.len()
    }

    pub fn append(&mut self, entry: JournalEntry, frames: u64) {
        let JournalEntry { stream, epoch, offset, stamp, record } = entry;
        let position = Position { epoch: Epoch::parse(&epoch).unwrap(), offset };
        let place = (stream.clone(), position.epoch, offset);
        assert!(stamp > self.last_stamp.0, "stamps grow");
        self.last_stamp = Stamp(stamp);
        assert!(!self.reached.contains(&place), "two records at {place:?} reach clients");
        let record = Record::decode(&record, stream.strip_prefix('c')).expect("a record");
        let nothing = (Vec::new(), Vec::new());
        let (kind, uuid, number, (only, except)) = match record {
            Record::Message { message, .. } => {
                let uuid = message.uuid.as_u128();
                ("message", uuid, Some(uuid), delivery(message.delivery))
            }
            Record::Edit { edit, .. } => {
                let text = edit.message.as_ref().expect("an edit has a text");
                let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).unwrap();
                let serial = json["edit"].as_u64().unwrap();
                let number = super::super::account::number_of_edit(serial.into());
                ("message:edit", edit.uuid.as_u128(), Some(number), delivery(edit.delivery))
            }
            Record::Delete(delete) => {
                let uuid = delete.uuid.as_u128();
                self.delete(&stream, uuid);
                let number = super::super::account::number_of_delete(uuid);
                ("message:delete", uuid, Some(number), delivery(delete.delivery))
            }
            Record::Presence { uuid, user, .. } => {
                ("presence", uuid.as_u128(), None, (Vec::new(), vec![user]))
            }
            Record::State { uuid, .. } => ("user_state_change", uuid.as_u128(), None, nothing),
            Record::Diff { .. } => ("presence:diff", 0, None, nothing),
            Record::Count { .. } => ("presence:count", 0, None, nothing),
            other => panic!("{other:?} has no place"),
        };
        let index = self.entries.len();
        if let Some(number) = number {
            assert!(!self.refused.contains(&number), "{number} was refused, and is published");
            let same = self.by_number.entry((stream.clone(), number)).or_default();
            assert!(
                same.iter().all(|at| self.entries[*at].is_lost),
                "{number} is published twice in {stream}"
            );
            same.push(index);
        }
        let all = self.by_stream.entry(stream.clone()).or_default();
        all.push(index);
        self.by_place.insert(place, index);
        for at in all.iter().rev() {
            let old = &mut self.entries.get_mut(*at);
            if let Some(old) = old.as_mut().filter(|old| old.position.offset + frames <= offset) {
                if old.is_evicted {
                    break;
                }
                old.is_evicted = true;
            }
        }
        let (is_lost, is_evicted, is_deleted) = (false, false, false);
        let stamp = Stamp(stamp);
        self.entries.push(Entry {
            stream,
            position,
            stamp,
            kind,
            uuid,
            number,
            only,
            except,
            is_lost,
            is_evicted,
            is_deleted,
        });
    }

    fn delete(&mut self, stream: &str, uuid: u128) {
        for at in self.by_stream.get(stream).into_iter().flatten() {
            let entry = &mut self.entries[*at];
            entry.is_deleted |= entry.uuid == uuid && ["message", "message:edit"].contains(&entry.kind);
        }
    }

    /// A stream continues in another epoch: what is left of it has positions there.
    pub fn renew(&mut self, stream: &str, epoch: Epoch) {
        for at in self.by_stream.get(stream).into_iter().flatten() {
            let entry = &mut self.entries[*at];
            if !entry.is_lost && entry.position.epoch != epoch {
                entry.position.epoch = epoch;
                self.by_place.insert((stream.to_owned(), epoch, entry.position.offset), *at);
            }
        }
    }

    /// A stream has ended, because nothing has used it for long.
    pub fn forget(&mut self, stream: &str) {
        for at in self.by_stream.get(stream).into_iter().flatten() {
            self.entries[*at].is_evicted = true;
        }
    }

    /// Redis has started again, and has entries up to this stamp.
    pub fn lose(&mut self, last: Stamp) {
        self.entries.iter_mut().for_each(|entry| entry.is_lost |= entry.stamp > last);
        self.last_stamp = last;
    }

    pub fn of_stream(&self, stream: &str) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        self.by_stream.get(stream).into_iter().flatten().map(|at| (*at, &self.entries[*at]))
    }

    pub fn find(&self, stream: &str, number: u128) -> Option<usize> {
        self.by_number.get(&(stream.to_owned(), number))?.last().copied()
    }

    /// The entry at a position that a client has seen.
    pub fn reach(&mut self, stream: &str, at: Position) -> Option<usize> {
        let place = (stream.to_owned(), at.epoch, at.offset);
        let found = self.by_place.get(&place).copied()?;
        self.reached.insert(place);
        Some(found)
    }

    /// The request of an item was answered.
    pub fn answered(&mut self, number: u128, is_accepted: bool) {
        let set = if is_accepted { &mut self.accepted } else { &mut self.refused };
        set.insert(number);
        if !is_accepted {
            let found = self.entries.iter().find(|entry| entry.number == Some(number));
            assert!(found.is_none(), "a refused request has done something: {found:?}");
        }
    }

    pub fn is_accepted(&self, entry: &Entry) -> bool {
        entry.number.is_some_and(|number| self.accepted.contains(&number))
    }

    /// Whether Redis has an item that it had lost: its node had no reply yet, and sent it again.
    fn was_repeated(&self, lost: &Entry) -> bool {
        let same = lost.number.and_then(|number| self.by_number.get(&(lost.stream.clone(), number)));
        same.is_some_and(|same| same.iter().any(|at| !self.entries[*at].is_lost))
    }

    /// Panics unless each accepted item is in its stream, as far as streams keep them, or its epoch has ended.
    pub fn check_kept(&self, stream: &str, epoch: Epoch, first: u64, log: &BTreeSet<u64>) {
        for (_, entry) in self.of_stream(stream).filter(|(_, entry)| entry.position.epoch == epoch) {
            if self.is_accepted(entry) && !entry.is_evicted && entry.position.offset >= first {
                assert!(!entry.is_lost || self.was_repeated(entry), "lost without another epoch: {entry:?}");
                assert!(log.contains(&entry.position.offset), "missing in the log: {entry:?}");
            }
        }
    }
}
