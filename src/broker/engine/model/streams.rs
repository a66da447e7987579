//! Streams of the model: logs, history, members.

use super::{Member, Model, Reply, Stream};
use crate::broker::channel::buffer::edited;
use crate::broker::channel::messages::StoredMessage;
use crate::broker::engine::call::{NodeNumber, Retention, ScriptSettings};
use crate::broker::engine::record::Record;
use crate::protocol::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn decode(record: &[u8]) -> Option<Record> {
    Record::decode(record, Some("c"))
}

impl Stream {
    fn begin(epoch: &str, stamp: u64, term: u64, settings: ScriptSettings) -> Self {
        Self {
            epoch: epoch.into(),
            previous: (String::new(), 0),
            offset: 0,
            first: 1,
            floor: stamp,
            stamp,
            term,
            settings,
            interested: Vec::new(),
            connections: 0,
            users: 0,
            roster: 0,
            log: VecDeque::new(),
            history: VecDeque::new(),
            members: BTreeMap::new(),
        }
    }

    fn entry(&self, name: &str, record: &[u8]) -> Vec<u8> {
        let numbers = [self.offset, self.stamp, self.roster].map(u64::to_le_bytes).concat();
        let counts = [self.connections, self.users].map(u32::to_le_bytes).concat();
        let name = text(name.as_bytes());
        text(&[&[1], &name[..], self.epoch.as_bytes(), &numbers, &counts, record].concat())
    }

    fn push(&mut self, record: &[u8], frames: u32) {
        if !self.settings.store_frames {
            (self.first, self.floor) = (self.offset + 1, self.stamp);
            return;
        }
        self.log.push_back((self.offset, self.stamp, record.to_vec()));
        if self.log.len() as u32 > frames + frames / 8 {
            while self.log.len() as u32 > frames {
                let (offset, stamp, _) = self.log.pop_front().unwrap();
                (self.first, self.floor) = (offset + 1, stamp);
            }
        }
    }

    /// Applies an edit to one stored record.
    fn edit(old: &mut Vec<u8>, edit: &crate::protocol::message::Edit) {
        if let Some(Record::Message { message, edited: at }) = decode(old)
            && message.uuid == edit.uuid
        {
            let StoredMessage { message, edited } = edited(&StoredMessage { message, edited: at }, edit);
            *old = Record::Message { message, edited }.encode();
        }
    }

    fn delete(&mut self, uuid: Uuid) {
        let is_it = |record: &[u8]| matches!(decode(record), Some(Record::Message { message, .. }) if message.uuid == uuid);
        self.history.retain(|record| !is_it(record));
        for (_, _, record) in &mut self.log {
            match decode(record) {
                Some(Record::Message { message, .. }) if message.uuid == uuid => record.clear(),
                Some(Record::Edit { edit, .. }) if edit.uuid == uuid => {
                    *record = Record::Edit { edit, is_of_deleted: true }.encode();
                }
                _ => {}
            }
        }
    }
}

impl Model {
    pub(super) fn frames_of(&self, stream: &str, retention: &Retention) -> Option<u32> {
        match stream.starts_with('c') {
            true => self.streams.contains_key(stream).then_some(retention.channel_frames),
            false => Some(retention.user_frames),
        }
    }

    pub(super) fn open(&mut self, name: &str, epoch: &str, settings: ScriptSettings) {
        let term = self.term.clone().unwrap();
        match self.streams.get(name) {
            None => {
                let stream = Stream::begin(epoch, self.next_stamp(), term.term, settings);
                self.streams.insert(name.into(), stream);
            }
            Some(stream) if Some(stream.term) < term.retire => self.retire(name, epoch),
            Some(_) => {}
        }
    }

    pub(super) fn open_any(&mut self, name: &str, epoch: &str, settings: ScriptSettings) {
        let settings = if name.starts_with('c') { settings } else { ScriptSettings::PRIVATE };
        self.open(name, epoch, settings);
    }

    pub(super) fn retire(&mut self, name: &str, epoch: &str) {
        let term = self.term.as_ref().unwrap().term;
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.previous = (std::mem::replace(&mut stream.epoch, epoch.into()), stream.offset);
        stream.term = term;
        self.mail_entry(name, &[]);
    }

    fn mail_entry(&mut self, name: &str, record: &[u8]) {
        let stream = &self.streams[name];
        let entry = stream.entry(name, record);
        for node in &stream.interested {
            self.mail.entry(*node).or_default().extend_from_slice(&entry);
        }
    }

    pub(super) fn append(&mut self, name: &str, record: &[u8], frames: u32) {
        let stamp = self.next_stamp();
        let stream = self.streams.get_mut(name).unwrap();
        stream.offset += 1;
        stream.stamp = stamp;
        stream.push(record, frames);
        self.mail_entry(name, record);
    }

    pub(super) fn answer(&self, name: &str) -> Vec<u8> {
        let Stream { epoch, offset, stamp, connections, .. } = &self.streams[name];
        [&[0], epoch.as_bytes(), &offset.to_le_bytes(), &stamp.to_le_bytes(), &connections.to_le_bytes()]
            .concat()
    }

    pub(super) fn append_history(&mut self, name: &str, record: &[u8], max: u32) {
        let stream = self.streams.get_mut(name).unwrap();
        let no_history =
            matches!(decode(record), Some(Record::Message { message, .. }) if message.delivery.no_history);
        if !stream.settings.store_history || no_history {
            return;
        }
        let size = match stream.settings.history_size {
            0 => max,
            size => size.min(max),
        };
        stream.history.push_back(record.to_vec());
        while stream.history.len() as u32 > size {
            stream.history.pop_front();
        }
    }

    pub(super) fn change(
        &mut self,
        name: &str,
        epoch: &str,
        record: &[u8],
        retention: &Retention,
    ) -> Vec<u8> {
        let Some(frames) = self.frames_of(name, retention) else { return [&[1][..], &[0; 28]].concat() };
        self.open(name, epoch, ScriptSettings::PRIVATE);
        let stream = self.streams.get_mut(name).unwrap();
        match decode(record) {
            Some(Record::Edit { edit, .. }) => {
                let log = stream.log.iter_mut().map(|(_, _, record)| record);
                stream.history.iter_mut().chain(log).for_each(|old| Stream::edit(old, &edit));
            }
            Some(Record::Delete(delete)) => stream.delete(delete.uuid),
            other => panic!("{other:?} changes nothing"),
        }
        self.append(name, record, frames);
        self.answer(name)
    }

    pub(super) fn configure(&mut self, name: &str, settings: ScriptSettings) {
        let stream = self.streams.get_mut(name).unwrap();
        stream.settings = settings;
        if !settings.store_frames {
            stream.log.clear();
        }
    }

    pub(super) fn set_interest(&mut self, node: NodeNumber, name: &str, is_on: bool) {
        let own = &mut self.own.entry(node).or_default().interests;
        own.retain(|stream| stream != name);
        let interested = &mut self.streams.get_mut(name).unwrap().interested;
        interested.retain(|other| *other != node);
        if is_on {
            own.push(name.into());
            interested.push(node);
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn count(
        &mut self,
        node: NodeNumber,
        name: &str,
        user: &str,
        connections: u32,
        view: &str,
        ids: &mut [u8; 16],
        retention: &Retention,
        is_quiet: bool,
    ) {
        let counts = &mut self.own.entry(node).or_default().counts;
        let key = (name.to_owned(), user.to_owned());
        let before = match connections {
            0 => counts.remove(&key),
            _ => counts.insert(key, connections),
        };
        let before = before.unwrap_or(0);
        let stream = self.streams.get_mut(name).unwrap();
        stream.connections = stream.connections + connections - before;
        let total = stream.members.get(user).map_or(0, |member| member.connections);
        let after = total + connections - before;
        let shown = stream.members.get(user).map_or(view, |member| &member.view).to_owned();
        match after {
            0 => drop(stream.members.remove(user)),
            _ => {
                let member = Member { connections: after, view: shown.clone() };
                stream.members.insert(user.into(), member);
            }
        }
        if (total == 0) == (after == 0) {
            return;
        }
        stream.users = if after == 0 { stream.users - 1 } else { stream.users + 1 };
        stream.roster += 1;
        if !is_quiet && stream.settings.notify_presence {
            let last = u32::from_be_bytes(ids[12..].try_into().unwrap()).wrapping_add(1);
            ids[12..].copy_from_slice(&last.to_be_bytes());
            let event = Record::Presence {
                uuid: Uuid::from_bytes(*ids),
                timestamp: Timestamp::from_unix_micros(self.clock as i64),
                user: user.into(),
                view: shown,
                is_joined: after > 0,
            };
            self.append(name, &event.encode(), retention.channel_frames);
        }
    }

    pub(super) fn read(
        &self,
        name: &str,
        after: u64,
        with_history: bool,
        with_members: bool,
        max_bytes: u32,
    ) -> Reply {
        let Some(stream) = self.streams.get(name) else { return Reply::Nil };
        let mut bytes = 0;
        let entries =
            stream.log.iter().filter(|(offset, ..)| *offset > after).map(|(offset, stamp, record)| {
                [&offset.to_le_bytes(), &stamp.to_le_bytes(), &record[..]].concat()
            });
        let entries = entries.take_while(|entry| {
            let is_part = bytes < max_bytes;
            bytes += entry.len() as u32;
            is_part
        });
        let history = stream.history.iter().filter(|_| with_history).cloned().map(Reply::Bytes).collect();
        let members = stream.members.iter().filter(|_| with_members);
        let members = members.flat_map(|(user, member)| [Reply::text(user), Reply::Bytes(member.stored())]);
        let number = |number: u64| Reply::Number(number as i64);
        let fields = vec![
            Reply::text(&stream.epoch),
            number(stream.offset),
            number(stream.first),
            number(stream.floor),
            number(stream.stamp),
            number(stream.settings.flags().into()),
            number(stream.settings.history_size.into()),
            number(stream.connections.into()),
            number(stream.users.into()),
            number(stream.roster),
            Reply::text(&stream.previous.0),
            number(stream.previous.1),
        ];
        Reply::List(vec![
            Reply::List(fields),
            Reply::List(entries.map(Reply::Bytes).collect()),
            Reply::List(history),
            Reply::List(members.collect()),
        ])
    }
}
