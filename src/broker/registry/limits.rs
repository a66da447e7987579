//! How much the registry keeps at most. Looked at before anything is changed; what is over is refused as a whole.

use super::messages::Connect;
use super::state::RegistryState;
use crate::config::Settings;
use crate::http_error::OverLimit;
use crate::protocol::ids::{ConnKey, UserId};
use crate::protocol::state::{StateEntry, StateMap};
use crate::telemetry::limits::Limit;
use std::collections::HashSet;

/// The bounds; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistryLimits {
    /// Connections in all, present or not.
    pub connections: usize,
    /// Connections of one user, present or not.
    pub connections_per_user: usize,
    /// Channels that one connection is in.
    pub channels_per_connection: usize,
    /// Channels in all.
    pub channels: usize,
    /// Keys of one user's state.
    pub state_keys: usize,
    /// Bytes of one user's state: those of its keys and values.
    pub state_bytes: usize,
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
        }
    }
}

/// Whether so many are too many.
fn is_over(bound: usize, count: usize) -> bool {
    bound > 0 && count > bound
}

fn at_most(limit: Limit, bound: usize, count: usize) -> Result<(), OverLimit> {
    if is_over(bound, count) { Err(OverLimit::of(limit, bound)) } else { Ok(()) }
}

impl RegistryState {
    /// Whether there is room for all that this asks for. `existing` is the connection that it names, if there is one,
    /// `user` the user if known.
    pub(super) fn room_to_connect(
        &self,
        request: &Connect,
        existing: Option<ConnKey>,
        user: Option<UserId>,
    ) -> Result<(), OverLimit> {
        let bounds = &self.bounds;
        if existing.is_none() {
            if !self.demo.asks() {
                let taken = self.connections.len() - self.demo.connections();
                at_most(Limit::Connections, bounds.connections, taken + 1)?;
            }
            let theirs = user.and_then(|id| self.user(id)).map_or(0, |user| user.connections.len());
            at_most(Limit::ConnectionsPerUser, bounds.connections_per_user, theirs + 1)?;
        }
        self.room_for_channels(request.channels.iter())?;
        self.room_to_join(existing, &request.channels)?;
        let fresh: &[StateEntry] = if user.is_none() { &request.fresh_user_state } else { &[] };
        self.room_for_state(user, &[fresh, &request.user_state])
    }

    /// Whether there is room for those of these channels that do not exist yet.
    pub(super) fn room_for_channels<'a>(
        &self,
        names: impl ExactSizeIterator<Item = &'a String>,
    ) -> Result<(), OverLimit> {
        let (bound, taken) = (self.bounds.channels, self.channels.len() - self.demo.channels());
        if self.demo.asks() || !is_over(bound, taken + names.len()) {
            return Ok(());
        }
        let new: HashSet<&String> = names.filter(|name| self.channel_id(name).is_none()).collect();
        // Whoever creates none is not concerned.
        if new.is_empty() { Ok(()) } else { at_most(Limit::Channels, bound, taken + new.len()) }
    }

    /// Whether a connection, existing or new, may be in these channels as well.
    pub(super) fn room_to_join(
        &self,
        connection: Option<ConnKey>,
        names: &[String],
    ) -> Result<(), OverLimit> {
        let bound = self.bounds.channels_per_connection;
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

    /// Whether a user's state has room for these entries, merged in this order.
    pub(super) fn room_for_state(
        &self,
        user: Option<UserId>,
        entries: &[&[StateEntry]],
    ) -> Result<(), OverLimit> {
        let RegistryLimits { state_keys, state_bytes, .. } = self.bounds;
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
        // Some may only take the place of others.
        let mut merged = details.map_or_else(StateMap::default, |details| details.state.clone());
        entries.iter().for_each(|entries| _ = merged.merge(entries.iter().cloned()));
        at_most(Limit::UserStateKeys, state_keys, merged.len())?;
        at_most(Limit::UserStateBytes, state_bytes, merged.size())
    }
}
