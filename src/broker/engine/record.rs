//! Records: what happened, in the form in which nodes pass it on and Redis stores it. Pure.
//!
//! Little endian: `u8` version, `u8` kind, `u8` flags, 16 bytes uuid, time, time of the edit or zeros, then fields: `u32`
//! length, bytes. A time is `i64` µs since 1970 in its zone, `i16` offset of the zone in minutes, or `i16::MIN` without a zone.
//! An absent field has the length `u32::MAX`. Readers ignore fields that they do not know.

use super::fields::{Fields, Head, no_time, write_delivery, write_field, write_names, write_text};
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
        Fields(bytes).view()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_text(out, &self.state);
        write_text(out, &self.public_state);
    }
}

impl Fields<'_> {
    fn view(&mut self) -> Option<MemberView> {
        Some(MemberView { state: self.text()??, public_state: self.text()?? })
    }

    fn members(&mut self) -> Option<Vec<(String, MemberView)>> {
        let mut list = Fields(self.take()??);
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
                Head { flags, ..Head::of(DELETE, delete.uuid, None) }.write(&mut out);
                write_delivery(&mut out, &delete.delivery);
            }
            Self::Presence { uuid, timestamp, user, view, is_joined } => {
                Head::of(if *is_joined { JOINED } else { PARTED }, *uuid, Some(*timestamp)).write(&mut out);
                write_text(&mut out, user);
                view.write(&mut out);
            }
            Self::State { uuid, timestamp, user, view, changed } => {
                Head::of(STATE, *uuid, Some(*timestamp)).write(&mut out);
                write_text(&mut out, user);
                view.write(&mut out);
                write_field(&mut out, changed.as_deref().map(str::as_bytes));
            }
            other => other.encode_report(&mut out),
        }
        out
    }

    fn encode_report(&self, out: &mut Vec<u8>) {
        let head = |kind, timestamp| Head::of(kind, Uuid::nil(), timestamp);
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
        let (head, mut fields) = Head::read(bytes)?;
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

    fn decode_report(head: &Head, mut fields: Fields<'_>) -> Option<Self> {
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
    Head { flags, edited, ..Head::of(MESSAGE, message.uuid, Some(message.timestamp)) }.write(out);
    write_field(out, Some(message.user.as_bytes()));
    write_field(out, message.message.as_ref().map(|payload| &payload.as_bytes()[..]));
    write_delivery(out, &message.delivery);
}

fn encode_edit(edit: &Edit, is_of_deleted: bool, out: &mut Vec<u8>) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(edit.delivery.no_history, NO_HISTORY)
        | flag(edit.timestamp.is_some(), HAS_TIMESTAMP)
        | flag(is_of_deleted, IS_OF_DELETED);
    Head { flags, edited: edit.edited, ..Head::of(EDIT, edit.uuid, edit.timestamp) }.write(out);
    write_field(out, edit.user.as_deref().map(str::as_bytes));
    write_field(out, edit.message.as_ref().map(|payload| &payload.as_bytes()[..]));
    write_delivery(out, &edit.delivery);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Delivery;
    use crate::protocol::value::Payload;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        let offset = prop::option::of(-1_439_i16..1_440);
        (1_i64..4_000_000_000_000_000, offset)
            .prop_map(|(micros, offset)| Timestamp::from_parts(micros, offset).unwrap())
    }

    fn delivery() -> impl Strategy<Value = Delivery> {
        let names = || prop::collection::vec(".{0,4}", 0..3);
        (names(), names(), any::<bool>()).prop_map(|(pm_users, exclude_users, no_history)| Delivery {
            channel: Some("c".into()),
            pm_users,
            exclude_users,
            no_history,
        })
    }

    fn payload() -> impl Strategy<Value = Option<Payload>> {
        prop::option::of(
            "[a-z]{0,9}".prop_map(|text| Payload::from_compact(Bytes::from(format!("{{\"a\":\"{text}\"}}")))),
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        let uuid = || any::<u128>().prop_map(Uuid::from_u128);
        let message = (uuid(), time(), ".{0,5}", payload(), delivery(), prop::option::of(time())).prop_map(
            |(uuid, timestamp, user, message, delivery, edited)| Record::Message {
                message: Message { uuid, timestamp, user, message, delivery },
                edited,
            },
        );
        let edit = (
            uuid(),
            prop::option::of(time()),
            prop::option::of(".{0,5}"),
            payload(),
            time(),
            delivery(),
            any::<bool>(),
        )
            .prop_map(|(uuid, timestamp, user, message, edited, delivery, is_of_deleted)| {
                Record::Edit {
                    edit: Edit { uuid, timestamp, user, message, edited, delivery },
                    is_of_deleted,
                }
            });
        let delete =
            (uuid(), delivery()).prop_map(|(uuid, delivery)| Record::Delete(Delete { uuid, delivery }));
        let presence = (uuid(), time(), ".{0,5}", view(), any::<bool>()).prop_map(
            |(uuid, timestamp, user, view, is_joined)| Record::Presence {
                uuid,
                timestamp,
                user,
                view,
                is_joined,
            },
        );
        let state = (uuid(), time(), ".{0,5}", view(), prop::option::of(".{0,9}")).prop_map(
            |(uuid, timestamp, user, view, changed)| Record::State { uuid, timestamp, user, view, changed },
        );
        prop_oneof![message, edit, delete, presence, state, report()]
    }

    fn view() -> impl Strategy<Value = MemberView> {
        (".{0,9}", ".{0,9}").prop_map(|(state, public_state)| MemberView { state, public_state })
    }

    fn report() -> impl Strategy<Value = Record> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..9);
        let joined = prop::collection::vec((".{0,4}", view()), 0..3);
        let diff = (time(), joined, prop::collection::vec(".{0,4}", 0..3), any::<u32>());
        let previous = (any::<u64>(), any::<u64>())
            .prop_map(|(epoch, offset)| Position { epoch: Epoch::new(epoch), offset });
        prop_oneof![
            ".{0,20}".prop_map(Record::Settings),
            Just(Record::Numbers),
            diff.prop_map(|(timestamp, joined, parted, users)| Record::Diff {
                timestamp,
                joined,
                parted,
                users
            }),
            (time(), any::<u32>(), any::<u32>()).prop_map(|(timestamp, users, connections)| {
                Record::Count { timestamp, users, connections }
            }),
            (any::<u64>(), bytes()).prop_map(|(version, record)| Record::User { version, record }),
            previous.prop_map(|previous| Record::EpochEnd { previous }),
            (".{0,5}", bytes()).prop_map(|(user, record)| Record::Block { user, record }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record()) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes, Some("c")), Some(record.clone()));
            let later = [&bytes[..], &[1, 0, 0, 0, 7]].concat();
            prop_assert_eq!(Record::decode(&later, Some("c")), Some(record), "a field of a later version");
        }

        #[test]
        fn a_part_of_a_record_is_none(record in record(), cut in any::<prop::sample::Index>()) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes[..cut.index(bytes.len())], None), None);
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = Record::decode(&bytes, None);
            let _ = Record::decode(&[&[1, MESSAGE], &bytes[..]].concat(), None);
        }
    }
}
