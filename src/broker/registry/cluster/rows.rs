//! The rows of the connections that this node owns, as Redis stores them for the case that the node dies. Pure.

use super::peers::{MovedConnection, MovedPlace};
use crate::broker::engine::call::{Call, RowUpdate};
use crate::broker::registry::state::RegistryState;
use crate::protocol::ids::{ConnKey, Stamp};
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows in one call, so that no call delays others for long.
const ROWS_PER_CALL: usize = 100;

/// The row of a connection of this node.
#[derive(Debug)]
struct Row {
    conn_id: Uuid,
    generation: u64,
    /// The stamp up to which the client had received everything when its last session ended.
    received: Stamp,
    /// The session that ends now had not received everything.
    is_behind: bool,
    /// The stamp at which its session attached.
    attached: Stamp,
}

/// What a row contains about a connection, as JSON.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowData {
    pub channels: Vec<String>,
    /// The stamp at which the connection was created.
    pub born: u64,
    /// The client has received everything up to this stamp, if it has no session.
    pub received: u64,
    /// The stamp at which its session attached, or 0.
    pub attached: u64,
    /// When its token expires, in Unix seconds.
    pub token_expires: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Rows {
    rows: FxHashMap<ConnKey, Row>,
    dirty: IndexSet<ConnKey, FxBuildHasher>,
    ended: Vec<(String, u64)>,
}

impl Rows {
    /// This node owns a connection in this generation.
    pub fn own(&mut self, key: ConnKey, conn_id: Uuid, generation: u64, received: Stamp) {
        self.rows
            .insert(key, Row { conn_id, generation, received, is_behind: false, attached: Stamp::default() });
    }

    pub fn generation(&self, key: ConnKey) -> Option<u64> {
        self.rows.get(&key).map(|row| row.generation)
    }

    /// The channels or the session of a connection have changed.
    pub fn mark(&mut self, key: ConnKey) {
        if self.rows.contains_key(&key) {
            self.dirty.insert(key);
        }
    }

    /// A session attaches to a connection.
    pub fn attached(&mut self, key: ConnKey, latest: Stamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.attached = latest;
            self.dirty.insert(key);
        }
    }

    /// The session of a connection ends before it has received everything of a stream.
    pub fn note_behind(&mut self, key: ConnKey) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.is_behind = true;
        }
    }

    /// The session of a connection has ended; `latest` is the last stamp.
    pub fn detached(&mut self, key: ConnKey, latest: Stamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            if !std::mem::take(&mut row.is_behind) {
                row.received = latest;
            }
            self.dirty.insert(key);
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
        self.rows.remove(&key)
    }

    /// The calls that make this node the owner of all its connections again, because it has another number now.
    pub fn claims(&self, state: &RegistryState) -> Vec<(ConnKey, Call)> {
        let claim = |(key, row): (&ConnKey, &Row)| {
            let data = state.row_data(*key, row.received, row.attached)?.write();
            let user = state.user_of(*key)?.to_owned();
            Some((*key, Call::Claim { conn: row.conn_id.to_string(), user, data }))
        };
        self.rows.iter().filter_map(claim).collect()
    }

    /// This node owns a connection in another generation.
    pub fn renew(&mut self, key: ConnKey, generation: u64) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.generation = generation;
        }
    }

    /// The calls that store what has changed.
    pub fn take_calls(&mut self, state: &RegistryState) -> Vec<Call> {
        let mut calls = Vec::new();
        if !self.ended.is_empty() {
            calls.push(Call::End { rows: std::mem::take(&mut self.ended) });
        }
        while !self.dirty.is_empty() {
            let keys: Vec<_> = self.dirty.drain(..self.dirty.len().min(ROWS_PER_CALL)).collect();
            let rows = keys.into_iter().filter_map(|key| self.update(key, state));
            calls.push(Call::Store { rows: rows.collect() });
        }
        calls
    }

    fn update(&self, key: ConnKey, state: &RegistryState) -> Option<RowUpdate> {
        let row = self.rows.get(&key)?;
        let data = state.row_data(key, row.received, row.attached)?.write();
        Some(RowUpdate { conn: row.conn_id.to_string(), generation: row.generation, data })
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

    /// The connection whose owner has died. `delivered` is the stamp up to which the owner had delivered everything to its
    /// sessions.
    pub fn moved(self, conn_id: Uuid, user: String, delivered: Stamp, now_unix: u64) -> MovedConnection {
        // A mark that is older than the session does not cover its catch-up.
        let is_marked = self.attached > 0 && delivered.0 >= self.attached;
        let received = if is_marked { delivered.0.max(self.received) } else { self.received };
        let place = MovedPlace::until(Stamp(self.born), Stamp(received.max(self.born)));
        let channels: BTreeMap<_, _> = self.channels.into_iter().map(|channel| (channel, place)).collect();
        let token = self.token_expires.map(|unix| (unix, unix.saturating_sub(now_unix) * 1_000));
        MovedConnection { conn_id, user, channels, private: place, is_present: false, born: self.born, token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_a_dead_node_continues_where_its_client_was() {
        let data = RowData {
            channels: vec!["a".into()],
            born: 5,
            received: 20,
            attached: 25,
            token_expires: Some(100),
        };
        assert_eq!(RowData::read(&data.write()).as_ref(), Some(&data));
        let early = RowData::read(&data.write()).unwrap().moved(Uuid::nil(), "ann".into(), Stamp(24), 90);
        assert_eq!(
            early.private,
            MovedPlace::until(Stamp(5), Stamp(20)),
            "the mark is older than the session"
        );
        let moved = data.moved(Uuid::nil(), "ann".into(), Stamp(30), 90);
        assert_eq!(moved.channels["a"], MovedPlace::until(Stamp(5), Stamp(30)));
        assert_eq!(moved.token, Some((100, 10_000)));
        let idle = RowData { born: 5, received: 20, ..RowData::default() };
        assert_eq!(
            idle.moved(Uuid::nil(), "ann".into(), Stamp(30), 0).private,
            MovedPlace::until(Stamp(5), Stamp(20))
        );
    }
}
