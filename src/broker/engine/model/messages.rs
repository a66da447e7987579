//! Messages of the model, with the rules that the embedded engine has for edits.

use super::{Model, Stream};
use crate::broker::channel::buffer::edited;
use crate::broker::channel::messages::StoredMessage;
use crate::broker::engine::call::{Item, KeyedPart};
use crate::broker::engine::record::Record;
use crate::protocol::message::Edit;
use std::collections::BTreeMap;
use uuid::Uuid;

const NO_STREAM: [u8; 30] = {
    let mut answer = [0; 30];
    answer[0] = 1;
    answer
};

fn decode(record: &[u8]) -> Option<Record> {
    Record::decode(record, Some("c"))
}

fn is_message(record: &[u8], uuid: Uuid) -> bool {
    matches!(decode(record), Some(Record::Message { message, .. }) if message.uuid == uuid)
}

/// Applies an edit to one stored record. Returns whether it is the edited message.
fn edit_one(old: &mut Vec<u8>, edit: &Edit) -> bool {
    match decode(old) {
        Some(Record::Message { message, edited: at }) if message.uuid == edit.uuid => {
            let StoredMessage { message, edited } = edited(&StoredMessage { message, edited: at }, edit);
            *old = Record::Message { message, edited }.encode();
            true
        }
        _ => false,
    }
}

impl Stream {
    /// Returns whether the history contains the message.
    fn edit(&mut self, edit: &Edit) -> bool {
        self.log.iter_mut().for_each(|(_, _, old)| _ = edit_one(old, edit));
        self.history.iter_mut().filter_map(|old| edit_one(old, edit).then_some(())).count() > 0
    }

    fn delete(&mut self, uuid: Uuid) {
        self.history.retain(|record| !is_message(record, uuid));
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
    pub(super) fn append_item(&mut self, item: &Item) -> Vec<u8> {
        self.publish_once(item.part.as_ref(), |model| model.publish_item(item))
    }

    /// Publishes a part of a request, unless one with its key has done so.
    pub(super) fn publish_once(
        &mut self,
        part: Option<&KeyedPart>,
        act: impl FnOnce(&mut Self) -> Vec<u8>,
    ) -> Vec<u8> {
        let Some(KeyedPart { request, number }) = part else { return [act(self), vec![0; 8]].concat() };
        let (first, answers) = self.keyed.entry(request.key).or_insert((*request, BTreeMap::new()));
        if first.fingerprint != request.fingerprint {
            return [vec![2], vec![0; 37]].concat();
        }
        if let Some(answer) = answers.get(number) {
            return [&answer[..], &first.time.unix_micros().to_le_bytes()].concat();
        }
        let answer = act(self);
        let known = self.keyed.get_mut(&request.key);
        known.unwrap().1.insert(*number, answer.clone());
        [answer, vec![0; 8]].concat()
    }

    fn publish_item(&mut self, item: &Item) -> Vec<u8> {
        if !self.streams.contains_key(&item.stream) {
            return NO_STREAM.to_vec();
        }
        self.open(&item.stream);
        let is_in_history = self.append_history(&item.stream, &item.record);
        let is_in_log = self.append(&item.stream, &item.record);
        self.answer(&item.stream, is_in_log, is_in_history)
    }

    fn append_history(&mut self, name: &str, record: &[u8]) -> bool {
        let max = self.sender.settings.retention.history;
        let stream = self.streams.get_mut(name).unwrap();
        let no_history =
            matches!(decode(record), Some(Record::Message { message, .. }) if message.delivery.no_history);
        let size = match stream.settings.history_size {
            0 => max,
            size => size.min(max),
        };
        if !stream.settings.store_history || no_history || size == 0 {
            return false;
        }
        stream.history.push_back(record.to_vec());
        while stream.history.len() as u32 > size {
            stream.history.pop_front();
        }
        true
    }

    fn answer(&self, name: &str, is_in_log: bool, is_in_history: bool) -> Vec<u8> {
        let Stream { epoch, offset, stamp, connections, .. } = &self.streams[name];
        let kept = u8::from(is_in_log) | u8::from(is_in_history) << 1;
        let numbers = [*offset, *stamp].map(u64::to_le_bytes).concat();
        [&[0, kept], epoch.as_bytes(), &numbers, &connections.to_le_bytes()].concat()
    }

    pub(super) fn change(&mut self, name: &str, record: &[u8]) -> Vec<u8> {
        self.open(name);
        let Some(stream) = self.streams.get_mut(name) else { return NO_STREAM.to_vec() };
        let is_in_history = match decode(record) {
            Some(Record::Edit { edit, .. }) => stream.edit(&edit),
            Some(Record::Delete(delete)) => {
                stream.delete(delete.uuid);
                false
            }
            other => panic!("{other:?} changes nothing"),
        };
        let is_in_log = self.append(name, record);
        self.answer(name, is_in_log, is_in_history)
    }
}
