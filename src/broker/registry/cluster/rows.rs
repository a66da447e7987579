//! The rows of the connections that this node owns, as Redis stores them for the case that the node dies. Pure.
//!
//! A row that has other channels is stored at once. What only sessions change, which come and go with each poll, is stored
//! before the next delivery mark: until then the mark before counts, which does not rely on it.

use super::peers::{MovedConnection, MovedPlace, Received};
use super::{channel_key, user_key};
use crate::broker::engine::call::{Call, NodeNumber, RowUpdate};
use crate::broker::engine::row::OwnerMark;
use crate::broker::registry::state::{Phase, RegistryState};
use crate::protocol::ids::{ChannelId, ConnKey, Offset, Stamp};
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows in one call, so that no call delays others for long.
const ROWS_PER_CALL: usize = 100;

/// How far a client has received the streams of which it has not received everything, by [`place_key`].
pub type Behind = BTreeMap<String, Received>;

/// The key of a channel, or of the private stream of the connection's own user.
pub fn place_key(channel: Option<&str>) -> String {
    channel.map_or_else(|| user_key("").to_string(), |name| channel_key(name).to_string())
}

/// The row of a connection of this node.
#[derive(Debug)]
struct Row {
    conn_id: Uuid,
    generation: u64,
    /// The stamp up to which the client had received everything when its last session ended, but for some streams.
    received: Stamp,
    behind: Vec<(Option<ChannelId>, Received)>,
    /// The session that ends now had received these streams so far; or it had not begun with them.
    ending: Vec<(Option<ChannelId>, Option<Offset>)>,
    /// The stamp at which its session attached.
    attached: Stamp,
    /// The channels that were added after the connection was created, and the stamp at which each was.
    added: Vec<(ChannelId, Stamp)>,
}

/// What a row contains about a connection, as JSON.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowData {
    pub channels: Vec<String>,
    /// The stamp at which the connection was created.
    pub born: u64,
    /// When its last session ended, the client had received everything up to this stamp, but for some streams.
    pub received: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: Behind,
    /// The stamp at which its session attached, or 0.
    pub attached: u64,
    /// The channels that were added after the connection was created, and the stamp at which each was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<String, u64>,
    /// When its token expires, in Unix seconds.
    pub token_expires: Option<u64>,
    /// The connection as its last owner has given it up. Then nothing else counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// A connection that its owner has given up.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Counts the connection until its next owner does.
    pub by: NodeNumber,
    pub connection: MovedConnection,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Rows {
    rows: FxHashMap<ConnKey, Row>,
    /// The rows to store.
    dirty: IndexSet<ConnKey, FxBuildHasher>,
    /// The rows to store before the next mark.
    later: IndexSet<ConnKey, FxBuildHasher>,
    ended: Vec<(String, u64)>,
    /// The rows that may belong to an earlier number of this node.
    unclaimed: IndexSet<ConnKey, FxBuildHasher>,
}

impl Rows {
    /// This node owns a connection in this generation.
    pub fn own(&mut self, key: ConnKey, conn_id: Uuid, generation: u64, received: Stamp) {
        let (behind, ending, added) = (Vec::new(), Vec::new(), Vec::new());
        let attached = Stamp::default();
        self.rows.insert(key, Row { conn_id, generation, received, behind, ending, attached, added });
    }

    pub fn generation(&self, key: ConnKey) -> Option<u64> {
        self.rows.get(&key).map(|row| row.generation)
    }

    /// A row must be stored.
    pub fn mark(&mut self, key: ConnKey) {
        if self.rows.contains_key(&key) {
            self.dirty.insert(key);
        }
    }

    /// A channel was added to a connection at this stamp.
    pub fn added(&mut self, key: ConnKey, channel: ChannelId, at: Stamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.added.retain(|(other, _)| *other != channel);
            row.added.push((channel, at));
            self.dirty.insert(key);
        }
    }

    /// A connection has left a channel.
    pub fn left(&mut self, key: ConnKey, channel: ChannelId) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.added.retain(|(other, _)| *other != channel);
            row.behind.retain(|(other, _)| *other != Some(channel));
            self.dirty.insert(key);
        }
    }

    /// The client of a connection has received a stream only so far.
    pub fn place(&mut self, key: ConnKey, channel: Option<ChannelId>, received: Received) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.behind.push((channel, received));
        }
    }

    /// A session attaches to a connection.
    pub fn attached(&mut self, key: ConnKey, latest: Stamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.attached = latest;
            self.later.insert(key);
        }
    }

    /// The session of a connection ends before it has received everything of a stream. `None` if it has received nothing.
    pub fn note_behind(&mut self, key: ConnKey, channel: Option<ChannelId>, received: Option<Offset>) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.ending.push((channel, received));
        }
    }

    /// The session of a connection has ended; `latest` is the last stamp.
    pub fn detached(&mut self, key: ConnKey, latest: Stamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            let ending = std::mem::take(&mut row.ending).into_iter();
            let behind = ending.map(|(channel, offset)| {
                (channel, offset.map_or_else(|| row.received_of(channel), Received::UpTo))
            });
            (row.behind, row.received) = (behind.collect(), latest);
            self.later.insert(key);
        }
    }

    /// A connection has ended.
    pub fn end(&mut self, key: ConnKey) {
        if let Some(row) = self.forget(key) {
            self.ended.push((row.conn_id.to_string(), row.generation));
        }
    }

    /// A connection has moved to another node. Returns its generation.
    pub fn depart(&mut self, key: ConnKey) -> Option<u64> {
        self.forget(key).map(|row| row.generation)
    }

    fn forget(&mut self, key: ConnKey) -> Option<Row> {
        self.dirty.swap_remove(&key);
        self.later.swap_remove(&key);
        self.unclaimed.swap_remove(&key);
        self.rows.remove(&key)
    }

    /// A row may belong to an earlier number of this node.
    pub fn unclaim(&mut self, key: ConnKey) {
        if self.rows.contains_key(&key) {
            self.unclaimed.insert(key);
        }
    }

    pub fn has_unclaimed(&self) -> bool {
        !self.unclaimed.is_empty()
    }

    /// The node has another number.
    pub fn unclaim_all(&mut self) {
        self.unclaimed.extend(self.rows.keys());
    }

    /// The calls that make this node the owner of such connections again.
    pub fn take_claims(&mut self, state: &RegistryState) -> Vec<(ConnKey, Uuid, Call)> {
        let claim = |key: ConnKey| {
            let row = self.rows.get(&key)?;
            let data = state.row_data(key, row)?.write();
            let user = state.user_of(key)?.to_owned();
            let call = Call::Claim { conn: row.conn_id.to_string(), user, data, most: 0 };
            Some((key, row.conn_id, call))
        };
        std::mem::take(&mut self.unclaimed).into_iter().filter_map(claim).collect()
    }

    /// This node owns a connection in another generation.
    pub fn renew(&mut self, key: ConnKey, generation: u64) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.generation = generation;
        }
    }

    /// Everything that has changed must be stored.
    pub fn mark_all_changed(&mut self) {
        self.dirty.extend(self.later.drain(..));
    }

    /// The call that ends rows, if some have ended.
    pub fn take_ended(&mut self) -> Option<Call> {
        let ended = std::mem::take(&mut self.ended);
        (!ended.is_empty()).then_some(Call::End { rows: ended })
    }

    /// The calls that store what must be stored, and the connections of each.
    pub fn take_updates(&mut self, state: &RegistryState) -> Vec<(Vec<ConnKey>, Call)> {
        let mut calls = Vec::new();
        while !self.dirty.is_empty() {
            let keys: Vec<_> = self.dirty.drain(..self.dirty.len().min(ROWS_PER_CALL)).collect();
            keys.iter().for_each(|key| _ = self.later.swap_remove(key));
            let rows = keys.iter().filter_map(|key| self.update(*key, state)).collect();
            calls.push((keys, Call::Store { rows }));
        }
        calls
    }

    fn update(&self, key: ConnKey, state: &RegistryState) -> Option<RowUpdate> {
        let row = self.rows.get(&key)?;
        let data = state.row_data(key, row)?.write();
        Some(RowUpdate { conn: row.conn_id.to_string(), generation: row.generation, data })
    }
}

impl Row {
    /// How far the client had received a stream when its last session ended.
    fn received_of(&self, channel: Option<ChannelId>) -> Received {
        let known = self.behind.iter().find(|(other, _)| *other == channel);
        known.map_or(Received::Until(self.received.0), |(_, received)| *received)
    }
}

impl RegistryState {
    /// What the row of a connection contains.
    fn row_data(&self, key: ConnKey, row: &Row) -> Option<RowData> {
        let connection = self.connections.get(key.index as usize)?;
        let name = |channel: ChannelId| Some(self.channel(channel)?.identity.name.to_string());
        let behind = row.behind.iter().filter_map(|(channel, received)| {
            let key = match channel {
                Some(channel) => place_key(Some(&name(*channel)?)),
                None => place_key(None),
            };
            Some((key, *received))
        });
        let added = row.added.iter().filter_map(|(channel, stamp)| Some((name(*channel)?, stamp.0)));
        Some(RowData {
            channels: connection.channels.iter().filter_map(|channel| name(*channel)).collect(),
            born: connection.born.0,
            received: row.received.0,
            behind: behind.collect(),
            attached: match connection.phase {
                Phase::Attached(..) | Phase::Releasing(_) => row.attached.0,
                Phase::Waiting | Phase::Lingering | Phase::Away => 0,
            },
            added: added.collect(),
            token_expires: self.expiries.unix(key),
            released: None,
        })
    }
}

impl RowData {
    pub fn write(&self) -> Vec<u8> {
        // The type contains nothing that JSON cannot express.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`RowData::write`] wrote. `None` if it is malformed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The connection that has no owner any more.
    pub fn moved(
        self,
        conn_id: Uuid,
        user: String,
        mark: Option<OwnerMark>,
        now_unix: u64,
    ) -> MovedConnection {
        let left_ms = |unix: u64| unix.saturating_sub(now_unix) * 1_000;
        if let Some(Released { connection, .. }) = self.released {
            let token = connection.token.map(|(unix, _)| (unix, left_ms(unix)));
            return MovedConnection { token, ..connection };
        }
        let born = Stamp(self.born);
        // A mark that is not newer than the session does not cover its catch-up.
        let mark = mark.filter(|mark| self.attached > 0 && mark.delivered.0 > self.attached);
        let (until, behind) = match mark {
            // What this version of the server cannot read is received again.
            Some(mark) => match mark.received.as_deref().map(serde_json::from_slice::<Behind>) {
                None => (mark.delivered.0, Behind::new()),
                Some(Ok(behind)) => (mark.delivered.0, behind),
                Some(Err(_)) => (self.received, self.behind),
            },
            None => (self.received, self.behind),
        };
        let place = |channel: Option<&str>| {
            let added = channel.and_then(|name| self.added.get(name));
            let joined = added.map_or(born, |stamp| Stamp(*stamp));
            let received = match behind.get(&place_key(channel)) {
                Some(Received::UpTo(offset)) => Received::UpTo(*offset),
                Some(Received::Until(stamp)) => Received::Until(joined.0.max(*stamp)),
                None => Received::Until(joined.0.max(until)),
            };
            MovedPlace { joined_offset: 0, joined_stamp: joined.0, received }
        };
        let private = place(None);
        let channels: BTreeMap<_, _> =
            self.channels.iter().map(|name| (name.clone(), place(Some(name)))).collect();
        let token = self.token_expires.map(|unix| (unix, left_ms(unix)));
        MovedConnection { conn_id, user, channels, private, is_present: false, born: self.born, token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(delivered: u64, behind: Option<&[(Option<&str>, Received)]>) -> Option<OwnerMark> {
        let write = |behind: &[(Option<&str>, Received)]| {
            let behind = behind.iter().map(|(channel, received)| (place_key(*channel), *received));
            serde_json::to_vec(&behind.collect::<Behind>()).unwrap()
        };
        Some(OwnerMark { delivered: Stamp(delivered), received: behind.map(write) })
    }

    /// A connection in two channels that was created at 5, and whose last session ended at 20, before it had received
    /// everything of one channel.
    fn data(attached: u64) -> RowData {
        RowData {
            channels: vec!["a".into(), "b".into()],
            born: 5,
            received: 20,
            behind: [(place_key(Some("a")), Received::UpTo(3))].into(),
            attached,
            added: [("b".into(), 12)].into(),
            token_expires: Some(100),
            released: None,
        }
    }

    /// Where the client is in the channels and in the private stream.
    fn places(data: RowData, mark: Option<OwnerMark>) -> [Received; 3] {
        let moved = data.moved(Uuid::nil(), "ann".into(), mark, 90);
        [moved.channels["a"], moved.channels["b"], moved.private].map(|place| place.received)
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        assert_eq!(RowData::read(&data(25).write()), Some(data(25)));
        let moved = data(25).moved(Uuid::nil(), "ann".into(), None, 90);
        assert_eq!(moved.token, Some((100, 10_000)));
        assert_eq!([moved.channels["a"], moved.channels["b"]].map(|place| place.joined_stamp), [5, 12]);
    }

    #[test]
    fn a_released_connection_continues_exactly_as_it_was() {
        let place = MovedPlace { joined_offset: 3, joined_stamp: u64::MAX, received: Received::UpTo(9) };
        let connection = MovedConnection {
            conn_id: Uuid::from_u128(1),
            user: "ann \u{0} \"".into(),
            channels: [("a".to_owned(), place)].into(),
            private: MovedPlace { received: Received::Until(2), ..place },
            is_present: true,
            born: 1 << 53,
            token: Some((100, 50_000)),
        };
        let released = Some(Released { by: 7, connection: connection.clone() });
        let data = RowData::read(&RowData { released, ..data(25) }.write()).unwrap();
        let moved = data.moved(Uuid::nil(), "bob".into(), mark(30, None), 90);
        assert_eq!(moved, MovedConnection { token: Some((100, 10_000)), ..connection });
    }

    #[test]
    fn a_connection_without_a_session_continues_where_its_client_was() {
        let expected = [Received::UpTo(3), Received::Until(20), Received::Until(20)];
        assert_eq!(places(data(0), None), expected);
        assert_eq!(places(data(0), mark(30, None)), expected, "the mark does not concern it");
    }

    #[test]
    fn a_session_continues_at_the_mark_of_its_node() {
        assert_eq!(places(data(25), mark(30, None)), [Received::Until(30); 3]);
        let lagging = [(Some("a"), Received::UpTo(7)), (None, Received::UpTo(9))];
        let expected = [Received::UpTo(7), Received::Until(30), Received::UpTo(9)];
        assert_eq!(places(data(25), mark(30, Some(&lagging))), expected);
    }

    #[test]
    fn a_mark_that_is_not_newer_than_the_session_does_not_count() {
        let expected = [Received::UpTo(3), Received::Until(20), Received::Until(20)];
        for delivered in [24, 25] {
            assert_eq!(places(data(25), mark(delivered, None)), expected);
        }
        let unreadable = Some(OwnerMark { delivered: Stamp(30), received: Some(b"?".to_vec()) });
        assert_eq!(places(data(25), unreadable), expected);
    }

    #[test]
    fn a_client_receives_nothing_from_before_it_subscribed() {
        let added = RowData { added: [("b".into(), 40)].into(), ..data(25) };
        assert_eq!(places(added, mark(30, None))[1], Received::Until(40));
    }
}
