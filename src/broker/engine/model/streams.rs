//! Streams of the model: entries, notes, the nodes that follow them, what a node reads.

use super::{JournalEntry, Model, Reply, Stream, Total, bytes, field, number, status};
use crate::broker::engine::call::{ChannelToOpen, NodeNumber, ScriptSettings};
use crate::broker::engine::record::Record;
use crate::protocol::ids::{Epoch, Position};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

pub(super) fn is_channel(name: &str) -> bool {
    name.starts_with('c')
}

impl Stream {
    fn item(&self, name: &str, kind: u8, record: &[u8]) -> Vec<u8> {
        let numbers = [self.offset, self.stamp, self.numbers].map(u64::to_le_bytes).concat();
        let counts = [self.connections, self.users].map(u32::to_le_bytes).concat();
        let name = field(name.as_bytes());
        field(&[&[1, kind], &name[..], self.epoch.as_bytes(), &numbers, &counts, record].concat())
    }

    /// Returns whether the log keeps the record.
    fn push(&mut self, record: &[u8], frames: u32) -> bool {
        if !self.settings.store_frames || frames == 0 {
            self.log.clear();
            (self.first, self.floor) = (self.offset + 1, self.stamp);
            return false;
        }
        self.log.push_back((self.offset, self.stamp, record.to_vec()));
        true
    }

    /// Forgets the oldest entries if there are too many.
    fn trim(&mut self, frames: u32) {
        if self.log.len() as u32 <= frames + frames / 8 {
            return;
        }
        while self.log.len() as u32 > frames {
            let (offset, stamp, _) = self.log.pop_front().unwrap();
            (self.first, self.floor) = (offset + 1, stamp);
        }
    }
}

impl Model {
    /// Begins a new epoch of a stream that a node without a report may know better.
    pub(super) fn open(&mut self, name: &str) {
        let retire = self.term().retire;
        if self.streams.get(name).is_some_and(|stream| stream.term < retire) {
            self.retire(name);
        }
    }

    pub(super) fn retire(&mut self, name: &str) {
        let (term, epoch) = (self.term().term, self.sender.epoch.to_string());
        let stream = self.streams.get_mut(name).unwrap();
        stream.previous = (std::mem::replace(&mut stream.epoch, epoch), stream.offset);
        stream.term = term;
        let previous =
            Position { epoch: Epoch::parse(&stream.previous.0).unwrap(), offset: stream.previous.1 };
        self.note(name, &Record::EpochEnd { previous }.encode());
    }

    pub(super) fn raise_offset(&mut self, name: &str, offset: u64) {
        let frames = self.frames_of(name);
        let stream = self.streams.get_mut(name).unwrap();
        if offset <= stream.offset {
            return;
        }
        if stream.settings.store_frames && offset - stream.offset <= frames.into() {
            let stamp = stream.stamp;
            stream.log.extend((stream.offset + 1..=offset).map(|offset| (offset, stamp, Vec::new())));
        } else {
            stream.log.clear();
            (stream.first, stream.floor) = (offset + 1, stream.stamp);
        }
        stream.offset = offset;
    }

    fn begin(&mut self, name: &str, settings: ScriptSettings, channel: Option<(Uuid, String)>, offset: u64) {
        let (stamp, epoch, term) = (self.next_stamp(), self.sender.epoch.to_string(), self.term().term);
        let stream = Stream {
            epoch,
            previous: (String::new(), 0),
            offset,
            first: offset + 1,
            floor: stamp,
            stamp,
            term,
            settings,
            channel,
            interested: Vec::new(),
            connections: 0,
            users: 0,
            numbers: 0,
            announced: 0,
            present: 0,
            log: VecDeque::new(),
            history: VecDeque::new(),
            members: BTreeMap::new(),
        };
        self.streams.insert(name.into(), stream);
        if !is_channel(name) {
            self.add_total(Total::Remembered, 1);
        }
        self.plan_removal(name);
    }

    /// Opens a stream; that of a user begins if it is missing. Returns whether there is one.
    pub(super) fn open_or_begin(&mut self, name: &str, offset: u64) -> bool {
        if !self.streams.contains_key(name) && !is_channel(name) {
            self.begin(name, ScriptSettings::PRIVATE, None, offset);
        }
        self.open(name);
        self.streams.contains_key(name)
    }

    fn is_full(&self, more: usize) -> bool {
        let channels = self.streams.keys().filter(|name| is_channel(name)).count();
        let max = self.sender.settings.max_channels as usize;
        more > 0 && max > 0 && channels + more > max
    }

    pub(super) fn open_channels(&mut self, channels: &[ChannelToOpen]) -> Reply {
        let missing = channels.iter().filter(|channel| !self.streams.contains_key(&channel.stream));
        if self.is_full(missing.map(|channel| &channel.stream).collect::<BTreeSet<_>>().len()) {
            return status("FULL");
        }
        for channel in channels {
            match self.streams.contains_key(&channel.stream) {
                true => {
                    self.open(&channel.stream);
                    self.streams.get_mut(&channel.stream).unwrap().settings.frames = channel.settings.frames;
                    self.raise_offset(&channel.stream, channel.offset);
                }
                false => self.begin_channel(channel),
            }
        }
        status("OK")
    }

    fn begin_channel(&mut self, channel: &ChannelToOpen) {
        let about = (channel.uuid, channel.text.clone());
        self.begin(&channel.stream, channel.settings, Some(about), channel.offset);
    }

    pub(super) fn configure(&mut self, channel: &ChannelToOpen) -> Reply {
        let name = &channel.stream;
        if !self.streams.contains_key(name) {
            if self.is_full(1) {
                return status("FULL");
            }
            self.begin_channel(channel);
            return status("OK");
        }
        self.open(name);
        let stream = self.streams.get_mut(name).unwrap();
        stream.settings = channel.settings;
        stream.channel.as_mut().unwrap().1 = channel.text.clone();
        if !channel.settings.store_frames {
            stream.log.clear();
            (stream.first, stream.floor) = (stream.offset + 1, stream.stamp);
        }
        self.note(name, &Record::Settings(channel.text.clone()).encode());
        status("OK")
    }

    fn send(&mut self, name: &str, kind: u8, record: &[u8]) {
        let stream = &self.streams[name];
        let item = stream.item(name, kind, record);
        for node in &stream.interested {
            self.mail.entry(*node).or_default().extend_from_slice(&item);
        }
    }

    pub(super) fn note(&mut self, name: &str, record: &[u8]) {
        self.send(name, 1, record);
    }

    /// Returns whether the log keeps the record.
    pub(super) fn append(&mut self, name: &str, record: &[u8]) -> bool {
        let (stamp, frames) = (self.next_stamp(), self.frames_of(name));
        let stream = self.streams.get_mut(name).unwrap();
        (stream.offset, stream.stamp) = (stream.offset + 1, stamp);
        let is_kept = stream.push(record, frames);
        if is_kept {
            self.longer.insert(name.into());
        }
        let (epoch, offset) = (stream.epoch.clone(), stream.offset);
        self.journal.push(JournalEntry { stream: name.into(), epoch, offset, stamp, record: record.into() });
        self.send(name, 0, record);
        is_kept
    }

    fn frames_of(&self, name: &str) -> u32 {
        let retention = self.sender.settings.retention;
        let usual = if is_channel(name) { retention.channel_frames } else { retention.user_frames };
        self.streams.get(name).and_then(|stream| stream.settings.frames).unwrap_or(usual)
    }

    /// Trims the logs to which the call has appended.
    pub(super) fn trim_logs(&mut self) {
        for name in std::mem::take(&mut self.longer) {
            let frames = self.frames_of(&name);
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.trim(frames);
            }
        }
    }

    pub(super) fn announce(&mut self, name: &str, after: u64, record: &[u8]) -> Reply {
        self.open(name);
        match self.streams.get_mut(name) {
            Some(stream) if stream.announced == after => {
                stream.announced = stream.offset + 1;
                self.append(name, record);
                number(1_u32)
            }
            _ => number(0_u32),
        }
    }

    pub(super) fn set_interest(&mut self, node: NodeNumber, name: &str, is_on: bool) {
        let own = &mut self.own.entry(node).or_default().interests;
        own.remove(name);
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.interested.retain(|other| *other != node);
        if is_on {
            own.insert(name.into());
            stream.interested.push(node);
        }
    }

    pub(super) fn follow(&mut self, name: &str, after: u64, max_bytes: u32) -> Reply {
        if !self.open_or_begin(name, after) {
            return Reply::Nil;
        }
        self.raise_offset(name, after);
        self.set_interest(self.sender.node, name, true);
        self.read(name, after, max_bytes, true, true)
    }

    /// The size of the first entry behind an offset, as `read` counts it; 0 if there is none.
    pub fn entry_size(&self, name: &str, after: u64) -> u32 {
        let mut entries = self.streams.get(name).into_iter().flat_map(|stream| &stream.log);
        let entry = entries.find(|(offset, ..)| *offset > after);
        entry.map_or(0, |(_, _, record)| record.len() as u32 + 16)
    }

    pub(super) fn summary(&self, name: &str) -> Reply {
        let Some(stream) = self.streams.get(name) else { return Reply::Nil };
        let (id, settings) = stream
            .channel
            .as_ref()
            .map_or((String::new(), ""), |(id, settings)| (id.to_string(), settings.as_str()));
        Reply::List(vec![
            number(stream.connections),
            number(stream.users),
            number(stream.history.len() as u64),
            number(stream.offset),
            number(stream.stamp),
            bytes(id),
            bytes(settings),
        ])
    }

    pub(super) fn read(
        &self,
        name: &str,
        after: u64,
        max_bytes: u32,
        with_history: bool,
        with_members: bool,
    ) -> Reply {
        let Some(stream) = self.streams.get(name) else { return Reply::Nil };
        let mut size = 0;
        let entries =
            stream.log.iter().filter(|(offset, ..)| *offset > after).map(|(offset, stamp, record)| {
                [&offset.to_le_bytes(), &stamp.to_le_bytes(), &record[..]].concat()
            });
        let entries = entries.take_while(|entry| {
            let is_part = size < max_bytes;
            size += entry.len() as u32;
            is_part
        });
        let history = stream.history.iter().filter(|_| with_history).map(bytes).collect();
        let members = stream.members.iter().filter(|_| with_members);
        let members = members.flat_map(|(user, member)| [bytes(user), bytes(member.stored())]);
        let (uuid, settings) = stream.channel.clone().unwrap_or_default();
        let fields = vec![
            bytes(&stream.epoch),
            number(stream.offset),
            number(stream.first),
            number(stream.floor),
            number(stream.stamp),
            number(stream.connections),
            number(stream.users),
            number(stream.numbers),
            number(stream.announced),
            bytes(uuid.to_string()),
            bytes(settings),
            bytes(&stream.previous.0),
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
