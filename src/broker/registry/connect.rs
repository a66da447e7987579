//! Connections, subscriptions and user states, as applications request them.

use super::state::{Effect, Phase, RegistryState, subscriptions};
use crate::broker::channel::messages::ToChannel;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::requests::{
    Connect, ConnectRefused, StateRefused, Subscribe, SubscribeRefused, Unsubscribe,
};
use crate::protocol::event::UserView;
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, UserId};
use crate::protocol::settings::ChannelConfig;
use crate::protocol::state::{StateEntry, write_changes};
use std::sync::Arc;
use uuid::Uuid;

/// The result of a [`Connect`].
#[derive(Debug)]
pub struct Opened {
    pub conn_id: Uuid,
    pub user: Arc<UserView>,
    /// The requested channels, without repetition.
    pub channels: Vec<ChannelId>,
}

/// The result of a [`Subscribe`] or [`Unsubscribe`].
#[derive(Debug)]
pub struct Changed {
    /// All current subscriptions, in order of their names.
    pub channels: Vec<ChannelId>,
    /// The actual changes, in order of their names.
    pub changed: Vec<ChannelId>,
}

/// The result of a change of state.
#[derive(Debug)]
pub struct NewState {
    /// The user after the change.
    pub user: Arc<UserView>,
    /// The changed entries.
    pub changed: Vec<StateEntry>,
    /// The public keys after the change.
    pub public_keys: Vec<String>,
}

impl RegistryState {
    /// Connects a user; see `/connect`.
    ///
    /// # Errors
    /// The user is blocked, the id belongs to a connection of another user, or a limit is reached. Nothing is changed.
    pub fn connect(
        &mut self,
        request: Connect,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Opened, ConnectRefused> {
        let (known, existing) = self.may_connect(&request, now)?;
        let conn_id = request.conn_id.unwrap_or_else(Uuid::new_v4);
        let user =
            known.unwrap_or_else(|| self.users.insert(&request.username, now, self.demo.is_demo_request()));
        let fresh = if known.is_none() { request.fresh_user_state } else { Vec::new() };
        let before = self.view(user);
        self.change_state(user, fresh, request.user_state, request.state_public_keys, now);
        let after = self.view(user);
        if before != after {
            // Lists show the new state; members are not notified (behaviour of the original).
            self.notify_channels(user, &after, None, effects);
        }
        let key = match existing {
            Some(key) => key,
            None => {
                let key = self.insert_connection(conn_id, user);
                log::debug!("connection {conn_id}: created for {} channels", request.channels.len());
                effects.push(Effect::PrivateMessages(ToPrivateMessages::Open(user, key)));
                key
            }
        };
        // The application vouches for the connection from now on.
        self.expiries.remove(key);
        self.mark_present(key, now, effects);
        let mut names = request.channels;
        // Joins in sorted order, like the original.
        names.sort();
        names.dedup();
        let channels = self.join_all(key, &names, &request.channel_configs, effects);
        Ok(Opened { conn_id, user: after, channels })
    }

    /// Checks whether the user may connect. Returns the user, if known, and the named connection, if it exists.
    ///
    /// # Errors
    /// As [`RegistryState::connect`].
    pub fn may_connect(
        &self,
        request: &Connect,
        now: u64,
    ) -> Result<(Option<UserId>, Option<ConnKey>), ConnectRefused> {
        let known = self.user_id(&request.username);
        if self.blocks.is_blocked(&request.username, now) {
            return Err(ConnectRefused::Blocked);
        }
        let existing = request.conn_id.and_then(|id| self.connection(id));
        let is_foreign = existing.is_some_and(|(_, connection)| Some(connection.user) != known);
        if is_foreign || known.is_some_and(|user| !self.may_access(user)) {
            return Err(ConnectRefused::BelongsToAnother);
        }
        let existing = existing.map(|(key, _)| key);
        if !self.share_has_room(existing, known, &request.channels) {
            return Err(ConnectRefused::DemoIsFull);
        }
        self.room_to_connect(request, existing, known).map_err(ConnectRefused::OverLimit)?;
        Ok((known, existing))
    }

    /// The user's current view.
    fn view(&self, user: UserId) -> Arc<UserView> {
        match self.user(user) {
            Some(user) => user.view.clone(),
            // Unreachable while a connection or request holds the user. An empty view is harmless.
            None => Arc::new(UserView::new(user, "".into(), "{}", "{}")),
        }
    }

    /// Marks a connection as present because the application connected it again. Its idle time starts again.
    fn mark_present(&mut self, key: ConnKey, now: u64, effects: &mut Vec<Effect>) {
        let idle = now + self.times.idle;
        let Some(connection) = self.get_mut(key) else { return };
        match connection.phase {
            Phase::Away => {
                let (user, channels) = (connection.user, connection.channels.clone());
                connection.phase = Phase::Waiting;
                self.count_present(user, 1);
                let view = self.view(user);
                for channel in channels {
                    effects.push(Effect::Channel(channel, ToChannel::Return(key, view.clone())));
                }
            }
            Phase::Lingering => connection.phase = Phase::Waiting,
            Phase::Waiting => {}
            Phase::Attached(..) | Phase::Releasing(..) => return,
        }
        self.set_deadline(key, Some(idle));
    }

    pub(super) fn join_all(
        &mut self,
        key: ConnKey,
        names: &[String],
        configs: &[(String, ChannelConfig)],
        effects: &mut Vec<Effect>,
    ) -> Vec<ChannelId> {
        names.iter().map(|name| self.join(key, name, configs, effects).0).collect()
    }

    fn join(
        &mut self,
        key: ConnKey,
        name: &str,
        configs: &[(String, ChannelConfig)],
        effects: &mut Vec<Effect>,
    ) -> (ChannelId, bool) {
        let config =
            || configs.iter().rev().find(|(n, _)| n == name).map(|(_, c)| c.clone()).unwrap_or_default();
        let channel = self.ensure_channel(name, config, effects);
        let Some(connection) = self.get_mut(key) else { return (channel, false) };
        let new = !connection.channels.contains(&channel);
        if new {
            connection.channels.push(channel);
            let location = connection.phase.session();
            let absent = connection.phase == Phase::Away;
            let id = connection.user;
            if let Some(user) = self.users.get_mut(id) {
                user.connections.join(channel);
            }
            let user = self.view(id);
            effects.push(Effect::Channel(channel, ToChannel::Join { conn: key, user, location }));
            if absent {
                effects.push(Effect::Channel(channel, ToChannel::Part(key, id)));
            }
        }
        (channel, new)
    }

    /// Adds subscriptions.
    ///
    /// # Errors
    /// The connection does not exist, or a limit is reached. Nothing is changed.
    pub fn subscribe(
        &mut self,
        request: Subscribe,
        effects: &mut Vec<Effect>,
    ) -> Result<Changed, SubscribeRefused> {
        let (key, _) = self.may_subscribe(&request)?;
        let mut changed = Vec::new();
        for name in &request.channels {
            let (channel, new) = self.join(key, name, &request.channel_configs, effects);
            if new {
                changed.push(channel);
            }
        }
        Ok(self.changed(key, changed))
    }

    /// Checks whether the connection may subscribe. Returns it, and its user.
    ///
    /// # Errors
    /// As [`RegistryState::subscribe`].
    pub fn may_subscribe(&self, request: &Subscribe) -> Result<(ConnKey, UserId), SubscribeRefused> {
        let (key, user) =
            self.accessible_connection(request.conn_id).ok_or(SubscribeRefused::UnknownConnection)?;
        if !self.share_has_room(Some(key), Some(user), &request.channels) {
            return Err(SubscribeRefused::DemoIsFull);
        }
        self.room_for_channels(request.channels.iter())
            .and_then(|()| self.room_to_join(Some(key), &request.channels))
            .map_err(SubscribeRefused::OverLimit)?;
        Ok((key, user))
    }

    /// Removes subscriptions. `None` if the connection does not exist.
    pub fn unsubscribe(&mut self, request: Unsubscribe, effects: &mut Vec<Effect>) -> Option<Changed> {
        let (key, _) = self.accessible_connection(request.conn_id)?;
        let mut changed = Vec::new();
        for channel in request.channels.iter().filter_map(|name| self.channel_id(name)).collect::<Vec<_>>() {
            let Some(connection) = self.get_mut(key) else { continue };
            if let Some(at) = connection.channels.iter().position(|id| *id == channel) {
                connection.channels.swap_remove(at);
                let id = connection.user;
                if let Some(user) = self.users.get_mut(id) {
                    user.connections.leave(channel);
                }
                effects.push(Effect::Channel(channel, ToChannel::Leave(key, id)));
                changed.push(channel);
            }
        }
        Some(self.changed(key, changed))
    }

    /// A connection that the current request may access, and its user.
    fn accessible_connection(&self, id: Uuid) -> Option<(ConnKey, UserId)> {
        let (key, connection) = self.connection(id)?;
        Some((key, connection.user)).filter(|(_, user)| self.may_access(*user))
    }

    fn changed(&self, key: ConnKey, mut changed: Vec<ChannelId>) -> Changed {
        let mut channels: Vec<ChannelId> = match self.connections.get(key.index as usize) {
            Some(connection) => connection.channels.iter().copied().collect(),
            None => Vec::new(),
        };
        self.sort_by_name(&mut channels);
        self.sort_by_name(&mut changed);
        Changed { channels, changed }
    }

    pub(super) fn sort_by_name(&self, channels: &mut [ChannelId]) {
        let name = |id: &ChannelId| self.channel(*id).map(|record| record.identity.name.clone());
        channels.sort_by_cached_key(name);
    }

    /// Changes a user's state; see `/user_state`.
    ///
    /// # Errors
    /// The user does not exist, or a limit is reached. Nothing is changed.
    pub fn set_user_state(
        &mut self,
        user: &str,
        state: Vec<StateEntry>,
        public_keys: Option<Vec<String>>,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<NewState, StateRefused> {
        let id = self.user_id(user).filter(|id| self.may_access(*id)).ok_or(StateRefused::UnknownUser)?;
        self.room_for_state(Some(id), &[&state]).map_err(StateRefused::OverLimit)?;
        let before = self.view(id);
        let changed = self.change_state(id, Vec::new(), state, public_keys, now);
        let after = self.view(id);
        let public_keys = self.user(id).map_or_else(Vec::new, |user| user.public_keys().to_vec());
        if !changed.is_empty() || before != after {
            let event = (!changed.is_empty()).then(|| {
                let mut out = Vec::new();
                let public = |entry: &&StateEntry| public_keys.contains(&entry.key);
                write_changes(changed.iter().filter(public), &mut out);
                String::from_utf8(out).unwrap_or_else(|_| "[]".into()).into_boxed_str()
            });
            self.notify_channels(id, &after, event, effects);
        }
        Ok(NewState { user: after, changed, public_keys })
    }

    /// Sends the user's new view once to each channel in which the user has a connection.
    fn notify_channels(
        &self,
        id: UserId,
        view: &Arc<UserView>,
        event: Option<Box<str>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(user) = self.user(id) else { return };
        let mut channels = user.connections.channels(|only| subscriptions(&self.connections, only));
        self.sort_by_name(&mut channels);
        for channel in channels {
            let message = ToChannel::UserChanged(view.clone(), event.clone());
            effects.push(Effect::Channel(channel, message));
        }
    }

    fn change_state(
        &mut self,
        id: UserId,
        initial: Vec<StateEntry>,
        state: Vec<StateEntry>,
        public_keys: Option<Vec<String>>,
        now: u64,
    ) -> Vec<StateEntry> {
        let Some(user) = self.users.get_mut(id) else { return Vec::new() };
        user.last_active = now;
        let idle = initial.is_empty() && state.is_empty() && public_keys.as_ref().is_none_or(Vec::is_empty);
        if idle && user.details.is_none() {
            return Vec::new();
        }
        let details = user.details.get_or_insert_default();
        details.state.merge(initial);
        let changed = details.state.merge(state);
        if let Some(keys) = public_keys {
            details.public_keys = keys;
        }
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap_or_else(|_| "{}".into())
        };
        let state = text(&|out| details.state.write_json(out));
        let public_state = text(&|out| details.state.public(&details.public_keys).write_json(out));
        let view = UserView::new(id, user.view.name.clone(), &state, &public_state);
        if *user.view != view {
            user.view = Arc::new(view);
        }
        changed
    }
}

impl Phase {
    /// The attached session, if there is one.
    pub(super) fn session(&self) -> Option<ConnectionSlot> {
        match self {
            Phase::Attached(location, _) => Some(*location),
            _ => None,
        }
    }

    /// The session that is a member of its channels. This includes a session that is being released: it receives frames
    /// until it has ended.
    pub(super) fn member(&self) -> Option<ConnectionSlot> {
        match self {
            Phase::Attached(location, _) => Some(*location),
            Phase::Releasing(handover) => Some(handover.from),
            _ => None,
        }
    }
}
