//! Read-only requests to the registry.

use super::Registry;
use super::messages::{
    BrowseChannels, BrowseConnections, ConnectionSlice, Count, Counts, DescribeConnection, DescribeUser,
    KnownUsers, ListChannels, Lookup, NameChannels,
};
use crate::protocol::ids::ChannelId;
use actix::{Handler, MessageResult};

impl Handler<ListChannels> for Registry {
    type Result = MessageResult<ListChannels>;

    fn handle(&mut self, request: ListChannels, _: &mut Self::Context) -> Self::Result {
        let ids = self.parts.state.list(request.names.as_deref(), &request.exclude);
        MessageResult(self.channel_refs(ids))
    }
}

impl Handler<Lookup> for Registry {
    type Result = KnownUsers;

    fn handle(&mut self, request: Lookup, _: &mut Self::Context) -> KnownUsers {
        let state = &self.parts.state;
        KnownUsers {
            connection: request.conn_id.is_some_and(|id| state.connection(id).is_some()),
            user: request.user.is_some_and(|name| state.user_id(&name).is_some()),
        }
    }
}

impl Handler<Count> for Registry {
    type Result = Counts;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Counts {
        self.parts.state.stats()
    }
}

impl Handler<BrowseChannels> for Registry {
    type Result = MessageResult<BrowseChannels>;

    fn handle(&mut self, browse: BrowseChannels, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.channel_refs(self.parts.state.browse_channels(browse.from, browse.count)))
    }
}

impl Handler<BrowseConnections> for Registry {
    type Result = ConnectionSlice;

    fn handle(&mut self, browse: BrowseConnections, _: &mut Self::Context) -> ConnectionSlice {
        self.parts.state.browse_connections(&browse)
    }
}

impl Handler<DescribeConnection> for Registry {
    type Result = MessageResult<DescribeConnection>;

    fn handle(&mut self, request: DescribeConnection, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.state.describe_connection(request.0))
    }
}

impl Handler<DescribeUser> for Registry {
    type Result = MessageResult<DescribeUser>;

    fn handle(&mut self, request: DescribeUser, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.state.describe_user(&request.0))
    }
}

impl Handler<NameChannels> for Registry {
    type Result = MessageResult<NameChannels>;

    fn handle(&mut self, NameChannels(ids): NameChannels, _: &mut Self::Context) -> Self::Result {
        let name = |id: &ChannelId| Some(self.parts.state.channel(*id)?.identity.name.clone());
        MessageResult(ids.iter().map(name).collect())
    }
}
