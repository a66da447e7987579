//! The limits of the registry. They are checked before anything is changed; a request over a limit is refused as a
//! whole.

use super::state::RegistryState;
use crate::broker::requests::Connect;
use crate::config::Settings;
use crate::http_error::OverLimit;
use crate::protocol::ids::{ConnKey, UserId};
use crate::protocol::state::{StateEntry, StateMap};
use crate::telemetry::limits::Limit;
use std::collections::HashSet;

/// The limits. 0 means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistryLimits {
    /// All connections, present or absent.
    pub connections: usize,
    /// Connections of one user, present or absent.
    pub connections_per_user: usize,
    /// Channels of one connection.
    pub channels_per_connection: usize,
    /// All channels.
    pub channels: usize,
    /// Keys of one user's state.
    pub state_keys: usize,
    /// Bytes of one user's state: its keys and values.
    pub state_bytes: usize,
    /// Users with a block. Here 0 means none.
    pub blocks: usize,
}

impl From<&Settings> for RegistryLimits {
    fn from(settings: &Settings) -> Self {
        Self {
            connections: settings.max_connections,
            connections_per_user: settings.max_connections_per_user,
            channels_per_connection: settings.max_channels_per_connection,
            channels: settings.max_channels,
            state_keys: settings.max_user_state_keys,
            state_bytes: settings.max_user_state_bytes,
            blocks: settings.max_blocks,
        }
    }
}

/// Whether a count exceeds the limit.
fn is_over(bound: usize, count: usize) -> bool {
    bound > 0 && count > bound
}

fn at_most(limit: Limit, bound: usize, count: usize) -> Result<(), OverLimit> {
    if is_over(bound, count) { Err(OverLimit::of(limit, bound)) } else { Ok(()) }
}

impl RegistryState {
    /// Checks the limits for a [`Connect`]. `existing` is the named connection if it exists, `user` the user if known.
    pub(super) fn room_to_connect(
        &self,
        request: &Connect,
        existing: Option<ConnKey>,
        user: Option<UserId>,
    ) -> Result<(), OverLimit> {
        let limits = &self.limits;
        if existing.is_none() {
            if !self.demo.is_demo_request() {
                let taken = self.connections.len() - self.demo.connections();
                at_most(Limit::Connections, limits.connections, taken + 1)?;
            }
            let existing_of_user = user.and_then(|id| self.user(id)).map_or(0, |user| user.connections.len());
            at_most(Limit::ConnectionsPerUser, limits.connections_per_user, existing_of_user + 1)?;
        }
        self.room_for_channels(request.channels.iter())?;
        self.room_to_join(existing, &request.channels)?;
        let fresh: &[StateEntry] = if user.is_none() { &request.fresh_user_state } else { &[] };
        self.room_for_state(user, &[fresh, &request.user_state])
    }

    /// Checks the limits for those of these channels that do not exist yet.
    pub(super) fn room_for_channels<'a>(
        &self,
        names: impl ExactSizeIterator<Item = &'a String>,
    ) -> Result<(), OverLimit> {
        // Redis counts the channels of several nodes. This one also has copies of those that were removed.
        if self.stamps.follows() {
            return Ok(());
        }
        let (bound, taken) = (self.limits.channels, self.channels.len() - self.demo.channels());
        if self.demo.is_demo_request() || !is_over(bound, taken + names.len()) {
            return Ok(());
        }
        let new: HashSet<&String> = names.filter(|name| self.channel_id(name).is_none()).collect();
        // A request that creates no channel is not limited.
        if new.is_empty() { Ok(()) } else { at_most(Limit::Channels, bound, taken + new.len()) }
    }

    /// Checks the limits for adding a connection, existing or new, to these channels.
    pub(super) fn room_to_join(
        &self,
        connection: Option<ConnKey>,
        names: &[String],
    ) -> Result<(), OverLimit> {
        let bound = self.limits.channels_per_connection;
        let connection = connection.and_then(|key| self.connections.get(key.index as usize));
        let joined = connection.map_or(&[][..], |connection| &connection.channels);
        if !is_over(bound, joined.len() + names.len()) {
            return Ok(());
        }
        let is_in = |name: &str| self.channel_id(name).is_some_and(|id| joined.contains(&id));
        let new: HashSet<&String> = names.iter().filter(|name| !is_in(name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        at_most(Limit::ChannelsPerConnection, bound, joined.len() + new.len())
    }

    /// Checks the limits for a whole state.
    pub fn room_for_whole_state(&self, state: &StateMap) -> Result<(), OverLimit> {
        at_most(Limit::UserStateKeys, self.limits.state_keys, state.len())?;
        at_most(Limit::UserStateBytes, self.limits.state_bytes, state.size())
    }

    /// Checks the limits for merging these entries into a user's state, in this order.
    pub(super) fn room_for_state(
        &self,
        user: Option<UserId>,
        entries: &[&[StateEntry]],
    ) -> Result<(), OverLimit> {
        let RegistryLimits { state_keys, state_bytes, .. } = self.limits;
        let count: usize = entries.iter().map(|entries| entries.len()).sum();
        if count == 0 || (state_keys == 0 && state_bytes == 0) {
            return Ok(());
        }
        let details = user.and_then(|id| self.user(id)).and_then(|user| user.details.as_ref());
        let (keys, bytes) = details.map_or((0, 0), |details| (details.state.len(), details.state.size()));
        let more: usize = entries.iter().flat_map(|entries| entries.iter()).map(StateEntry::size).sum();
        if !is_over(state_keys, keys + count) && !is_over(state_bytes, bytes + more) {
            return Ok(());
        }
        // Some entries may only replace others.
        let mut merged = details.map_or_else(StateMap::default, |details| details.state.clone());
        entries.iter().for_each(|entries| _ = merged.merge(entries.iter().cloned()));
        self.room_for_whole_state(&merged)
    }
}
