//! Records: what happened, in the form in which nodes pass it on and Redis stores it. Pure.
//!
//! Little endian: `u8` version, `u8` kind, `u8` flags, 16 bytes uuid, time, time of the edit or zeros, then fields: `u32`
//! length, bytes. A time is `i64` µs since 1970 in its zone, `i16` offset of the zone in minutes, or `i16::MIN` without a zone.
//! An absent field has the length `u32::MAX`. Readers ignore fields that they do not know.

use super::fields::{
    RecordFields, RecordHead, no_time, write_delivery, write_field, write_names, write_text,
};
use crate::protocol::event::UserView;
use crate::protocol::ids::{Epoch, Position};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::time::Timestamp;
use uuid::Uuid;

const MESSAGE: u8 = 1;
const EDIT: u8 = 2;
const DELETE: u8 = 3;
const JOINED: u8 = 4;
const PARTED: u8 = 5;
const SETTINGS: u8 = 6;
const NUMBERS: u8 = 7;
const STATE: u8 = 8;
const DIFF: u8 = 9;
const COUNT: u8 = 10;
const USER: u8 = 11;
const EPOCH: u8 = 12;
const BLOCK: u8 = 13;

const NO_HISTORY: u8 = 1;
/// An edit that sets the time of the message.
const HAS_TIMESTAMP: u8 = 2;
/// A script has deleted the message of this edit.
const IS_OF_DELETED: u8 = 4;

/// What an entry of a stream contains. The stream itself is not part of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Message {
        message: Message,
        /// The time of the last edit.
        edited: Option<Timestamp>,
    },
    Edit {
        edit: Edit,
        /// Whether its message was deleted later.
        is_of_deleted: bool,
    },
    Delete(Delete),
    /// A user's first connection in the cluster joined, or its last one left.
    Presence {
        uuid: Uuid,
        timestamp: Timestamp,
        user: String,
        view: MemberView,
        is_joined: bool,
    },
    /// The settings of a channel as JSON.
    Settings(String),
    /// Only the number of connections has changed.
    Numbers,
    /// The state of a member has changed.
    State {
        uuid: Uuid,
        timestamp: Timestamp,
        user: String,
        view: MemberView,
        /// The changed part as JSON. `None` if members must not learn of it.
        changed: Option<String>,
    },
    /// The changes of presence in an interval: users that joined, names of users that parted.
    Diff {
        timestamp: Timestamp,
        joined: Vec<(String, MemberView)>,
        parted: Vec<String>,
        users: u32,
    },
    /// The numbers after an interval in which they changed.
    Count {
        timestamp: Timestamp,
        users: u32,
        connections: u32,
    },
    /// The record of the stream's user has changed.
    User {
        version: u64,
        /// Empty if the record was removed.
        record: Vec<u8>,
    },
    /// The epoch of the stream has ended here, because entries may be lost.
    EpochEnd {
        previous: Position,
    },
    /// The block of a user. The record is empty if the block was removed.
    Block {
        user: String,
        record: Vec<u8>,
    },
}

/// What a stream shows of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// The whole state as JSON.
    pub state: String,
    /// The public part of it as JSON.
    pub public_state: String,
}

impl Record {
    /// Whether a note with this record states that the numbers of its stream have changed. Others keep them.
    pub fn is_of_numbers(record: &[u8]) -> bool {
        matches!(record.get(1), Some(&(JOINED | PARTED | NUMBERS)))
    }
}

impl MemberView {
    pub fn of(view: &UserView) -> Self {
        Self { state: view.state().to_owned(), public_state: view.public_state().to_owned() }
    }

    /// Two fields of a record; scripts do not look inside.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.state.len() + self.public_state.len() + 8);
        self.write(&mut out);
        out
    }

    /// Reads what [`MemberView::encode`] wrote. `None` if it is malformed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        RecordFields(bytes).view()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_text(out, &self.state);
        write_text(out, &self.public_state);
    }
}

impl RecordFields<'_> {
    fn view(&mut self) -> Option<MemberView> {
        Some(MemberView { state: self.text()??, public_state: self.text()?? })
    }

    fn members(&mut self) -> Option<Vec<(String, MemberView)>> {
        let mut list = RecordFields(self.take()??);
        let mut members = Vec::new();
        while !list.0.is_empty() {
            members.push((list.text()??, list.view()?));
        }
        Some(members)
    }
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        match self {
            Self::Message { message, edited } => encode_message(message, *edited, &mut out),
            Self::Edit { edit, is_of_deleted } => encode_edit(edit, *is_of_deleted, &mut out),
            Self::Delete(delete) => {
                let flags = if delete.delivery.no_history { NO_HISTORY } else { 0 };
                RecordHead { flags, ..RecordHead::of(DELETE, delete.uuid, None) }.write(&mut out);
                write_delivery(&mut out, &delete.delivery);
            }
            Self::Presence { uuid, timestamp, user, view, is_joined } => {
                RecordHead::of(if *is_joined { JOINED } else { PARTED }, *uuid, Some(*timestamp))
                    .write(&mut out);
                write_text(&mut out, user);
                view.write(&mut out);
            }
            Self::State { uuid, timestamp, user, view, changed } => {
                RecordHead::of(STATE, *uuid, Some(*timestamp)).write(&mut out);
                write_text(&mut out, user);
                view.write(&mut out);
                write_field(&mut out, changed.as_deref().map(str::as_bytes));
            }
            other => other.encode_report(&mut out),
        }
        out
    }

    fn encode_report(&self, out: &mut Vec<u8>) {
        let head = |kind, timestamp| RecordHead::of(kind, Uuid::nil(), timestamp);
        match self {
            Self::Settings(settings) => {
                head(SETTINGS, None).write(out);
                write_text(out, settings);
            }
            Self::Diff { timestamp, joined, parted, users } => {
                head(DIFF, Some(*timestamp)).write(out);
                let mut list = Vec::new();
                for (user, view) in joined {
                    write_text(&mut list, user);
                    view.write(&mut list);
                }
                write_field(out, Some(&list));
                write_names(out, parted);
                write_field(out, Some(&users.to_le_bytes()));
            }
            Self::Count { timestamp, users, connections } => {
                head(COUNT, Some(*timestamp)).write(out);
                write_field(out, Some(&users.to_le_bytes()));
                write_field(out, Some(&connections.to_le_bytes()));
            }
            Self::User { version, record } => {
                head(USER, None).write(out);
                write_field(out, Some(&version.to_le_bytes()));
                write_field(out, Some(record));
            }
            Self::EpochEnd { previous } => {
                head(EPOCH, None).write(out);
                write_text(out, &previous.epoch.to_string());
                write_field(out, Some(&previous.offset.to_le_bytes()));
            }
            Self::Block { user, record } => {
                head(BLOCK, None).write(out);
                write_text(out, user);
                write_field(out, Some(record));
            }
            _ => head(NUMBERS, None).write(out),
        }
    }

    /// Reads a record of a channel, or of a private stream. `None` if it is malformed, of another version or of an
    /// unknown kind.
    pub fn decode(bytes: &[u8], channel: Option<&str>) -> Option<Self> {
        let (head, mut fields) = RecordHead::read(bytes)?;
        let record = match head.kind {
            MESSAGE => Self::Message {
                message: Message {
                    uuid: head.uuid,
                    timestamp: head.timestamp,
                    user: fields.text()??,
                    message: fields.payload()?,
                    delivery: fields.delivery(channel, head.flags & NO_HISTORY != 0)?,
                },
                edited: head.edited(),
            },
            EDIT => Self::Edit {
                edit: Edit {
                    uuid: head.uuid,
                    timestamp: (head.flags & HAS_TIMESTAMP != 0).then_some(head.timestamp),
                    user: fields.text()?,
                    message: fields.payload()?,
                    edited: head.edited,
                    delivery: fields.delivery(channel, head.flags & NO_HISTORY != 0)?,
                },
                is_of_deleted: head.flags & IS_OF_DELETED != 0,
            },
            DELETE => Self::Delete(Delete {
                uuid: head.uuid,
                delivery: fields.delivery(channel, head.flags & NO_HISTORY != 0)?,
            }),
            JOINED | PARTED => Self::Presence {
                uuid: head.uuid,
                timestamp: head.timestamp,
                user: fields.text()??,
                view: fields.view()?,
                is_joined: head.kind == JOINED,
            },
            STATE => Self::State {
                uuid: head.uuid,
                timestamp: head.timestamp,
                user: fields.text()??,
                view: fields.view()?,
                changed: fields.text()?,
            },
            _ => return Self::decode_report(&head, fields),
        };
        Some(record)
    }

    fn decode_report(head: &RecordHead, mut fields: RecordFields<'_>) -> Option<Self> {
        Some(match head.kind {
            SETTINGS => Self::Settings(fields.text()??),
            NUMBERS => Self::Numbers,
            DIFF => Self::Diff {
                timestamp: head.timestamp,
                joined: fields.members()?,
                parted: fields.names()?,
                users: u32::from_le_bytes(fields.chunk()?),
            },
            COUNT => Self::Count {
                timestamp: head.timestamp,
                users: u32::from_le_bytes(fields.chunk()?),
                connections: u32::from_le_bytes(fields.chunk()?),
            },
            USER => {
                Self::User { version: u64::from_le_bytes(fields.chunk()?), record: fields.take()??.to_vec() }
            }
            EPOCH => {
                let epoch = Epoch::parse(&fields.text()??)?;
                Self::EpochEnd { previous: Position { epoch, offset: u64::from_le_bytes(fields.chunk()?) } }
            }
            BLOCK => Self::Block { user: fields.text()??, record: fields.take()??.to_vec() },
            _ => return None,
        })
    }
}

fn encode_message(message: &Message, edited: Option<Timestamp>, out: &mut Vec<u8>) {
    let flags = if message.delivery.no_history { NO_HISTORY } else { 0 };
    let edited = edited.unwrap_or_else(no_time);
    RecordHead { flags, edited, ..RecordHead::of(MESSAGE, message.uuid, Some(message.timestamp)) }.write(out);
    write_field(out, Some(message.user.as_bytes()));
    write_field(out, message.message.as_ref().map(|payload| &payload.as_bytes()[..]));
    write_delivery(out, &message.delivery);
}

fn encode_edit(edit: &Edit, is_of_deleted: bool, out: &mut Vec<u8>) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(edit.delivery.no_history, NO_HISTORY)
        | flag(edit.timestamp.is_some(), HAS_TIMESTAMP)
        | flag(is_of_deleted, IS_OF_DELETED);
    RecordHead { flags, edited: edit.edited, ..RecordHead::of(EDIT, edit.uuid, edit.timestamp) }.write(out);
    write_field(out, edit.user.as_deref().map(str::as_bytes));
    write_field(out, edit.message.as_ref().map(|payload| &payload.as_bytes()[..]));
    write_delivery(out, &edit.delivery);
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
