//! The requests of applications and operators. The outer error is `Busy` or `Draining`; an inner one is the answer.

use super::BrokerHandle;
use crate::broker::registry::messages::Publish;
use crate::broker::requests::{
    ChannelRef, Connect, ConnectRefused, Connected, EndedConnections, KnownUsers, Requester, SetUserState,
    StateChanged, StateRefused, Subscribe, SubscribeRefused, Subscribed, UnknownConnection, Unsubscribe,
};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::settings::ChannelSettings;
use uuid::Uuid;

impl BrokerHandle {
    /// Sends messages without waiting: the client receives its response before they are routed.
    pub fn publish(&self, messages: Vec<Message>) {
        self.send(Publish::Post(messages));
    }

    /// Sends edits in the same way.
    pub fn edit(&self, edits: Vec<Edit>) {
        self.send(Publish::Edit(edits));
    }

    /// Sends deletions in the same way.
    pub fn delete(&self, deletes: Vec<Delete>) {
        self.send(Publish::Delete(deletes));
    }

    fn send(&self, publish: Publish) {
        if !publish.is_empty() {
            self.in_flight.registry.add(1);
            self.actors.publisher.send(publish);
        }
    }

    pub async fn connect(
        &self,
        request: Connect,
        by: Requester,
    ) -> Result<Result<Connected, ConnectRefused>, Refusal> {
        self.ask(move |registry, context| registry.connect(request, by, context)).await
    }

    pub async fn subscribe(
        &self,
        request: Subscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, SubscribeRefused>, Refusal> {
        self.ask(move |registry, context| registry.subscribe(request, by, context)).await
    }

    pub async fn unsubscribe(
        &self,
        request: Unsubscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, UnknownConnection>, Refusal> {
        self.ask(move |registry, context| registry.unsubscribe(request, by, context)).await
    }

    pub async fn set_user_state(
        &self,
        request: SetUserState,
        by: Requester,
    ) -> Result<Result<StateChanged, StateRefused>, Refusal> {
        self.ask(move |registry, context| registry.set_user_state(request, by, context)).await
    }

    /// Creates channels or changes their settings.
    pub async fn configure_channels(
        &self,
        configs: Vec<(String, ChannelSettings)>,
    ) -> Result<Result<Vec<ChannelRef>, OverLimit>, Refusal> {
        self.ask(move |registry, context| registry.configure(configs, context)).await
    }

    /// Ends a connection permanently. True if the connection existed.
    pub async fn disconnect(&self, conn_id: Uuid) -> Result<bool, Refusal> {
        self.ask(move |registry, context| registry.disconnect(conn_id, context)).await
    }

    /// Ends at most this many connections of a user permanently. `None` if the user does not exist.
    pub async fn disconnect_user(
        &self,
        user: String,
        at_most: usize,
    ) -> Result<Option<EndedConnections>, Refusal> {
        self.ask(move |registry, context| registry.disconnect_user(&user, at_most, context)).await
    }

    /// The named channels without those in `exclude`; unknown names are ignored. `None` means all channels.
    pub async fn channels(
        &self,
        names: Option<Vec<String>>,
        exclude: Vec<String>,
    ) -> Result<Vec<ChannelRef>, Refusal> {
        self.ask(move |registry, _| registry.list_channels(names.as_deref(), &exclude)).await
    }

    /// Whether a connection and a user exist, for errors that are reported together with others.
    pub async fn known(&self, conn_id: Option<Uuid>, user: Option<String>) -> Result<KnownUsers, Refusal> {
        self.ask(move |registry, _| registry.state().known(conn_id, user.as_deref())).await
    }
}
