//! A stream as `read` and `follow` return it. Pure.

use super::entry::Reader;
use super::record::MemberView;
use super::reply::Reply;
use crate::protocol::ids::{Epoch, Offset, Position, Stamp};
use uuid::Uuid;

/// The state of a stream, and the parts of it that the call asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSnapshot {
    pub position: Position,
    /// The offset of the first entry in the log.
    pub first: Offset,
    /// The stamp of the entry before that one.
    pub floor: Stamp,
    /// The stamp of the last entry.
    pub stamp: Stamp,
    /// The id of a channel; nil for the stream of a user.
    pub uuid: Uuid,
    /// The settings of a channel as JSON; empty for the stream of a user.
    pub settings: String,
    pub connections: u32,
    pub users: u32,
    /// How often `connections` or `users` have changed.
    pub numbers: u64,
    /// The offset of the last report of presence; 0 if there was none.
    pub announced: Offset,
    /// Where the epoch before this one ended.
    pub previous: Option<Position>,
    /// The entries behind the offset of the call. If the last one is not the last one of the stream, more can be read.
    pub entries: Vec<LogEntry>,
    /// Records of messages, the oldest first.
    pub history: Vec<Vec<u8>>,
    pub members: Vec<StreamMember>,
}

/// An entry in the log of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub offset: Offset,
    pub stamp: Stamp,
    /// Empty if the message was deleted.
    pub record: Vec<u8>,
}

/// A user in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMember {
    pub user: String,
    /// In the cluster.
    pub connections: u32,
    /// The version of the user's record that `view` belongs to; 0 if there was none.
    pub version: u64,
    pub view: MemberView,
}

impl StreamSnapshot {
    /// Reads a reply. The outer value is `None` if it is malformed, the inner one if there is no such stream.
    pub fn read(reply: &Reply) -> Option<Option<Self>> {
        if *reply == Reply::Nil {
            return Some(None);
        }
        let [fields, entries, history, members] = reply.list()? else { return None };
        let mut snapshot = Self::read_fields(fields.list()?)?;
        snapshot.entries = entries.list()?.iter().map(LogEntry::read).collect::<Option<_>>()?;
        let history = history.list()?.iter().map(|record| Some(record.bytes()?.to_vec()));
        snapshot.history = history.collect::<Option<_>>()?;
        let members = members.list()?.chunks(2).map(StreamMember::read);
        snapshot.members = members.collect::<Option<_>>()?;
        Some(Some(snapshot))
    }

    /// Whether the log has entries before those that were read.
    pub fn begins_late(&self) -> bool {
        match self.entries.first() {
            Some(entry) => entry.offset > self.first,
            None => self.first <= self.position.offset,
        }
    }

    fn read_fields(fields: &[Reply]) -> Option<Self> {
        let [
            epoch,
            offset,
            first,
            floor,
            stamp,
            connections,
            users,
            numbers,
            announced,
            uuid,
            settings,
            previous_epoch,
            previous_offset,
        ] = fields
        else {
            return None;
        };
        let previous = match previous_epoch.text()? {
            "" => None,
            epoch => Some(Position { epoch: Epoch::parse(epoch)?, offset: previous_offset.number()? }),
        };
        Some(Self {
            position: Position { epoch: Epoch::parse(epoch.text()?)?, offset: offset.number()? },
            first: first.number()?,
            floor: Stamp(floor.number()?),
            stamp: Stamp(stamp.number()?),
            uuid: Uuid::parse_str(uuid.text()?).ok()?,
            settings: settings.text()?.to_owned(),
            connections: connections.number()?.try_into().ok()?,
            users: users.number()?.try_into().ok()?,
            numbers: numbers.number()?,
            announced: announced.number()?,
            previous,
            entries: Vec::new(),
            history: Vec::new(),
            members: Vec::new(),
        })
    }
}

impl LogEntry {
    fn read(reply: &Reply) -> Option<Self> {
        let mut reader = Reader(reply.bytes()?);
        let (offset, stamp) = (reader.u64()?, Stamp(reader.u64()?));
        Some(Self { offset, stamp, record: reader.0.to_vec() })
    }
}

impl StreamMember {
    fn read(pair: &[Reply]) -> Option<Self> {
        let [user, member] = pair else { return None };
        let mut reader = Reader(member.bytes()?);
        let (connections, version) = (reader.u32()?, reader.u64()?);
        let view = MemberView::read(reader.0)?;
        Some(Self { user: user.text()?.to_owned(), connections, version, view })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bytes(bytes.as_ref().to_vec())
    }

    fn reply(member: &[u8]) -> Reply {
        let uuid = Uuid::from_u128(7).to_string();
        let texts = |all: [&str; 4]| all.map(bytes).to_vec();
        let [epoch, id, settings, previous] =
            texts(["00000001", &uuid, "{}", "00000002"]).try_into().unwrap();
        let numbers = |from: i64, to: i64| (from..=to).map(Reply::Number).collect::<Vec<_>>();
        let fields = [vec![epoch], numbers(1, 8), vec![id, settings, previous], numbers(9, 9)].concat();
        let entry = [&6_u64.to_le_bytes()[..], &60_u64.to_le_bytes(), b"record"].concat();
        Reply::List(vec![
            Reply::List(fields),
            Reply::List(vec![bytes(entry)]),
            Reply::List(vec![bytes("old")]),
            Reply::List(vec![bytes("ada"), bytes(member)]),
        ])
    }

    fn member(connections: u32, version: u64, view: &MemberView) -> Vec<u8> {
        [&connections.to_le_bytes()[..], &version.to_le_bytes(), &view.encode()].concat()
    }

    #[test]
    fn a_reply_becomes_a_snapshot() {
        let view = MemberView { state: "{\"a\":1}".into(), public_state: "{}".into() };
        let snapshot = StreamSnapshot::read(&reply(&member(2, 5, &view))).unwrap().unwrap();
        let at = |epoch: &str, offset| Position { epoch: Epoch::parse(epoch).unwrap(), offset };
        let expected = StreamSnapshot {
            position: at("00000001", 1),
            first: 2,
            floor: Stamp(3),
            stamp: Stamp(4),
            connections: 5,
            users: 6,
            numbers: 7,
            announced: 8,
            uuid: Uuid::from_u128(7),
            settings: "{}".into(),
            previous: Some(at("00000002", 9)),
            entries: vec![LogEntry { offset: 6, stamp: Stamp(60), record: b"record".to_vec() }],
            history: vec![b"old".to_vec()],
            members: vec![StreamMember { user: "ada".into(), connections: 2, version: 5, view }],
        };
        assert_eq!(snapshot, expected);
    }

    #[test]
    fn a_malformed_reply_is_none() {
        assert_eq!(StreamSnapshot::read(&Reply::Nil), Some(None));
        assert_eq!(StreamSnapshot::read(&Reply::Status("FENCED".into())), None);
        assert_eq!(StreamSnapshot::read(&reply(b"short")), None);
        assert_eq!(StreamSnapshot::read(&Reply::List(vec![Reply::Nil; 4])), None);
    }
}
