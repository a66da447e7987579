//! Head and fields of a record. Pure.

use crate::protocol::message::Delivery;
use crate::protocol::time::Timestamp;
use crate::protocol::value::Payload;
use bytes::Bytes;
use uuid::Uuid;

const VERSION: u8 = 1;
const ABSENT: u32 = u32::MAX;

/// The offset of a time without a zone.
const NO_ZONE: i16 = i16::MIN;

/// The head of a record. A time that a kind does not have is [`no_time`].
pub(super) struct RecordHead {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) uuid: Uuid,
    pub(super) timestamp: Timestamp,
    pub(super) edited: Timestamp,
}

pub(super) fn no_time() -> Timestamp {
    Timestamp::from_unix_micros(0)
}

impl RecordHead {
    const LENGTH: usize = 39;

    /// The head of a record without flags. Some kinds have no id or no time.
    pub(super) fn of(kind: u8, uuid: Uuid, timestamp: Option<Timestamp>) -> Self {
        Self { kind, flags: 0, uuid, timestamp: timestamp.unwrap_or_else(no_time), edited: no_time() }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.kind, self.flags]);
        out.extend_from_slice(self.uuid.as_bytes());
        for time in [self.timestamp, self.edited] {
            let (micros, offset) = time.parts();
            out.extend_from_slice(&micros.to_le_bytes());
            out.extend_from_slice(&offset.unwrap_or(NO_ZONE).to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<(Self, RecordFields<'_>)> {
        let (head, fields) = bytes.split_at_checked(Self::LENGTH)?;
        let ([version, kind, flags], rest) = head.split_first_chunk()?;
        let (uuid, rest) = rest.split_first_chunk()?;
        let (timestamp, edited) = rest.split_first_chunk::<10>()?;
        let head = Self {
            kind: *kind,
            flags: *flags,
            uuid: Uuid::from_bytes(*uuid),
            timestamp: read_time(timestamp)?,
            edited: read_time(edited)?,
        };
        (*version == VERSION).then_some((head, RecordFields(fields)))
    }

    pub(super) fn edited(&self) -> Option<Timestamp> {
        (self.edited != no_time()).then_some(self.edited)
    }
}

fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    let (micros, offset) = bytes.split_first_chunk()?;
    let offset = i16::from_le_bytes(offset.try_into().ok()?);
    Timestamp::from_parts(i64::from_le_bytes(*micros), (offset != NO_ZONE).then_some(offset))
}

pub(super) fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(ABSENT, |field| field.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(field.unwrap_or_default());
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_field(out, Some(text.as_bytes()));
}

pub(super) fn write_names(out: &mut Vec<u8>, names: &[String]) {
    let mut list = Vec::new();
    names.iter().for_each(|name| write_text(&mut list, name));
    write_field(out, Some(&list));
}

pub(super) fn write_delivery(out: &mut Vec<u8>, delivery: &Delivery) {
    write_names(out, &delivery.pm_users);
    write_names(out, &delivery.exclude_users);
}

/// The fields behind a head.
pub(super) struct RecordFields<'a>(pub(super) &'a [u8]);

impl<'a> RecordFields<'a> {
    /// The next field. The outer value is `None` if there is none.
    pub(super) fn take(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let (field, rest) = rest.split_at_checked(if length == ABSENT { 0 } else { length as usize })?;
        self.0 = rest;
        Some((length != ABSENT).then_some(field))
    }

    pub(super) fn text(&mut self) -> Option<Option<String>> {
        match self.take()? {
            Some(field) => Some(Some(String::from_utf8(field.to_vec()).ok()?)),
            None => Some(None),
        }
    }

    pub(super) fn payload(&mut self) -> Option<Option<Payload>> {
        Some(self.take()?.map(|field| Payload::from_compact(Bytes::copy_from_slice(field))))
    }

    pub(super) fn names(&mut self) -> Option<Vec<String>> {
        let mut list = RecordFields(self.take()??);
        let mut names = Vec::new();
        while !list.0.is_empty() {
            names.push(list.text()??);
        }
        Some(names)
    }

    /// A field of a fixed size.
    pub(super) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take()??.try_into().ok()
    }

    /// The users that receive an item of a channel, or of the private stream of a user.
    pub(super) fn delivery(&mut self, channel: Option<&str>, no_history: bool) -> Option<Delivery> {
        Some(Delivery {
            channel: channel.map(str::to_owned),
            pm_users: self.names()?,
            exclude_users: self.names()?,
            no_history,
        })
    }
}
