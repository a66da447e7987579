//! Read-only requests to the registry.

use super::Registry;
use crate::broker::channel::handle::ChannelRef;
use crate::broker::requests::{
    BrowseConnections, ConnectionDetails, ConnectionSlice, Counts, KnownUsers, UserDetails,
};
use crate::protocol::ids::ChannelId;
use std::sync::Arc;
use uuid::Uuid;

impl Registry {
    /// The named channels without those in `exclude`; unknown names are ignored. `None` means all channels.
    pub fn list_channels(&self, names: Option<&[String]>, exclude: &[String]) -> Vec<ChannelRef> {
        self.channel_refs(self.parts.state.list(names, exclude))
    }

    pub fn known(&self, conn_id: Option<Uuid>, user: Option<&str>) -> KnownUsers {
        let state = &self.parts.state;
        KnownUsers {
            connection: conn_id.is_some_and(|id| state.connection(id).is_some()),
            user: user.is_some_and(|name| state.user_id(name).is_some()),
        }
    }

    pub fn counts(&self) -> Counts {
        self.parts.state.stats()
    }

    pub fn browse_channels(&self, from: usize, count: usize) -> Vec<ChannelRef> {
        self.channel_refs(self.parts.state.browse_channels(from, count))
    }

    pub fn browse_connections(&self, browse: &BrowseConnections) -> ConnectionSlice {
        self.parts.state.browse_connections(browse)
    }

    pub fn describe_connection(&self, id: Uuid) -> Option<ConnectionDetails> {
        self.parts.state.describe_connection(id)
    }

    pub fn describe_user(&self, name: &str) -> Option<UserDetails> {
        self.parts.state.describe_user(name)
    }

    /// The names of channels, in the order of the request.
    pub fn name_channels(&self, ids: &[ChannelId]) -> Vec<Option<Arc<str>>> {
        let name = |id: &ChannelId| Some(self.parts.state.channel(*id)?.identity.name.clone());
        ids.iter().map(name).collect()
    }
}
