//! What tests of whole nodes look at.

use super::{JournalEntry, Model, NodeState};
use crate::broker::engine::call::NodeNumber;
use std::collections::BTreeMap;

/// A stream as the model has it now.
#[derive(Clone, Debug)]
pub struct StreamView {
    pub epoch: String,
    pub offset: u64,
    /// The offset of the first entry that the log may contain.
    pub first: u64,
    pub connections: u32,
    /// The connections of each user, and what the stream shows of the user.
    pub members: BTreeMap<String, (u32, Vec<u8>)>,
    /// The number of messages in the history.
    pub history: usize,
    /// Whether no node can know other entries in this epoch.
    pub is_trusted: bool,
    /// The offsets and records of the log.
    pub log: Vec<(u64, Vec<u8>)>,
}

impl Model {
    /// What the last call has appended.
    pub fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    pub fn stream(&self, name: &str) -> Option<StreamView> {
        let stream = self.streams.get(name)?;
        let member = |(user, member): (&String, &super::Member)| {
            (user.clone(), (member.connections, member.view.clone()))
        };
        Some(StreamView {
            epoch: stream.epoch.clone(),
            offset: stream.offset,
            first: stream.first,
            connections: stream.connections,
            members: stream.members.iter().map(member).collect(),
            history: stream.history.len(),
            is_trusted: self.term.as_ref().is_none_or(|term| stream.term >= term.retire),
            log: stream.log.iter().map(|(offset, _, record)| (*offset, record.clone())).collect(),
        })
    }

    pub fn has_stream(&self, name: &str) -> bool {
        self.streams.contains_key(name)
    }

    /// The epochs of all streams.
    pub fn epochs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.streams.iter().map(|(name, stream)| (name, &stream.epoch))
    }

    /// What a row contains about its connection.
    pub fn row_data(&self, conn: &str) -> Option<&[u8]> {
        self.rows.get(conn).map(|row| &*row.data)
    }

    /// The record of a user.
    pub fn user_record(&self, user: &str) -> Option<&[u8]> {
        self.users.get(user).map(|user| &*user.record)
    }

    /// The stamp up to which entries have survived the last change of terms, and the last stamp.
    pub fn stamps(&self) -> (u64, u64) {
        self.term.as_ref().map_or((0, 0), |term| (term.base, term.stamp))
    }

    /// Whether the node may change something.
    pub fn knows(&self, node: NodeNumber) -> bool {
        self.is_known(node)
    }

    /// What is left of clients and of nodes that do not work any more, beside the channels.
    pub fn leftovers(&self, alive: &[NodeNumber]) -> Vec<String> {
        let rows = self.rows.keys().map(|conn| format!("row {conn}"));
        let own = self.own.iter().filter(|(node, _)| !alive.contains(node));
        let own = own
            .filter(|(_, own)| !own.counts.is_empty() || !own.interests.is_empty() || !own.rows.is_empty())
            .map(|(node, own)| format!("{own:?} of node {node}"));
        let dead = self.dead.iter().map(|node| format!("dead node {node}"));
        let streams = self.streams.iter().filter(|(_, stream)| !stream.members.is_empty());
        let members = streams.map(|(name, _)| format!("members of {name}"));
        let users = self.users.keys().map(|user| format!("user {user}"));
        let private =
            self.streams.keys().filter(|name| name.starts_with('u')).map(|name| format!("stream {name}"));
        let unswept = self
            .nodes
            .iter()
            .filter(|(node, state)| !alive.contains(node) && matches!(state, NodeState::Reported(_)));
        let unswept = unswept.map(|(node, _)| format!("node {node} is known"));
        rows.chain(own).chain(dead).chain(members).chain(users).chain(private).chain(unswept).collect()
    }
}
