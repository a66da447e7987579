//! Channels as Redis has them, for answers about many: this node does not follow them.

use super::ClusterRequest;
use super::listing::CHANNELS_AT_ONCE;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::snapshot::{StreamMember, StreamSnapshot};
use crate::broker::registry::cluster::channel_key;
use crate::broker::registry::cluster::copies::{read_settings, stored_message};
use crate::broker::requests::{ChannelFigures, Inspect, Snapshot};
use crate::http_error::Refusal;
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::user_list::UserList;
use futures_util::future::try_join_all;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use uuid::Uuid;

/// About the most bytes that are read together, but for a larger channel, which is read alone. Redis closes the connection of a
/// node whose replies exceed its output buffer, of 32 MiB by default.
const READ_AT_ONCE: u64 = 8 << 20;
/// About the bytes of a member with its state.
const MEMBER_BYTES: u64 = 1 << 10;

/// The users of an answer, with ids of this answer: each has one view and one id in all channels.
#[derive(Default)]
struct ReadUsers(HashMap<String, Arc<UserView>>);

impl ReadUsers {
    fn list(&mut self, members: Vec<StreamMember>) -> UserList {
        let mut list = UserList::default();
        members.into_iter().for_each(|member| list.insert(self.view(member)));
        list
    }

    fn view(&mut self, StreamMember { user, view, .. }: StreamMember) -> Arc<UserView> {
        let id = UserId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        match self.0.entry(user) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let name = new.key().as_str().into();
                new.insert(Arc::new(UserView::new(id, name, &view.state, &view.public_state))).clone()
            }
        }
    }
}

impl ClusterRequest<'_> {
    /// The named channels that exist, in the order of their names. Only those with users or messages that are asked for are
    /// read as a whole.
    pub async fn read_channels(&self, names: &[String], include: &Inspect) -> Result<Vec<Snapshot>, Refusal> {
        let (mut found, mut users) = (Vec::with_capacity(names.len()), ReadUsers::default());
        for names in names.chunks(CHANNELS_AT_ONCE) {
            let mut left = self.summaries(names).await?;
            while !left.is_empty() {
                let rest = left.split_off(self.together(&left, include));
                let parts = left.iter().map(|(_, figures)| self.read_part(figures, include));
                let parts = try_join_all(parts).await?;
                for ((id, figures), part) in left.into_iter().zip(parts) {
                    found.push(snapshot(id, figures, part, &mut users));
                }
                left = rest;
            }
        }
        Ok(found)
    }

    /// How many of these channels are read together; at least one.
    fn together(&self, channels: &[(Uuid, ChannelFigures)], include: &Inspect) -> usize {
        let message_bytes = self.broker.settings.max_frame_bytes as u64;
        let mut room = READ_AT_ONCE;
        let fits = channels.iter().take_while(|(_, figures)| {
            let users = if include.users { u64::from(figures.users) * MEMBER_BYTES } else { 0 };
            let history = if include.history { u64::from(figures.history) * message_bytes } else { 0 };
            let rest = room.checked_sub(users + history);
            room = rest.unwrap_or(0);
            rest.is_some()
        });
        fits.count().max(1)
    }

    /// What the figures of a channel lack. `None` if nothing is asked for, or if it was removed meanwhile.
    async fn read_part(
        &self,
        figures: &ChannelFigures,
        include: &Inspect,
    ) -> Result<Option<StreamSnapshot>, Refusal> {
        let with_history = include.history && figures.history > 0;
        let with_members = include.users && figures.users > 0;
        if !with_history && !with_members {
            return Ok(None);
        }
        let stream = channel_key(&figures.name).to_string();
        let call = Call::Read { stream, after: 0, with_history, with_members, max_bytes: 0 };
        let malformed = || EngineError::Refused("the contents of a channel are malformed".into());
        Ok(StreamSnapshot::read(&self.link.call(call).await?).ok_or_else(malformed)?)
    }
}

fn snapshot(
    id: Uuid,
    figures: ChannelFigures,
    part: Option<StreamSnapshot>,
    users: &mut ReadUsers,
) -> Snapshot {
    let empty = Snapshot {
        uuid: id,
        name: figures.name,
        settings: figures.settings,
        last_active: figures.last_active,
        total_connections: figures.connections,
        users: UserList::default(),
        history: Vec::new(),
    };
    let Some(part) = part else { return empty };
    Snapshot {
        settings: read_settings(&part.settings).unwrap_or_default(),
        total_connections: part.connections,
        history: part.history.iter().filter_map(|record| stored_message(record, &empty.name)).collect(),
        users: users.list(part.members),
        ..empty
    }
}
