//! The requests of applications, operators and the console. The outer error is `Busy` or `Draining`; an inner one is the
//! answer.

use super::BrokerHandle;
use crate::broker::receipts::{PublishedItem, ReceiptSlot};
use crate::broker::registry::messages::Publish;
use crate::broker::requests::{
    Block, BlockUser, ChannelRef, Connect, ConnectRefused, Connected, Ending, KeyedRequest, KnownUsers,
    Requester, SetUserState, StateChanged, StateRefused, Subscribe, SubscribeRefused, Subscribed, TokenGrant,
    TokenGrantRefused, UnknownConnection, Unsubscribe,
};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::settings::ChannelConfig;
use crate::protocol::time::Timestamp;
use crate::telemetry::causes::TokenCause;
use uuid::Uuid;

/// Number of connections of one user that are ended in one turn of the registry.
const CONNECTIONS_PER_TURN: usize = 500;

impl BrokerHandle {
    /// Publishes messages. Returns before they are routed: the client receives its response then, unless its request
    /// waits for their receipts. `slots` has a slot for the receipt of each message, or is empty. `request` is given if it
    /// has an idempotency key. If a request with this key has published the messages at another node, returns its time.
    ///
    /// # Errors
    /// Those of the engine; `IdempotencyKeyReused` if a request at another node has the key. The embedded engine accepts all
    /// messages, and at once.
    pub async fn publish(
        &self,
        messages: Vec<Message>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.publish(messages, slots, request)).await;
        }
        self.send(Publish::Post(messages, slots));
        Ok(None)
    }

    /// Publishes edits in the same way.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn edit(
        &self,
        edits: Vec<Edit>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.edit(edits, slots, request)).await;
        }
        self.send(Publish::Edit(edits, slots));
        Ok(None)
    }

    /// Publishes deletions in the same way.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn delete(
        &self,
        deletes: Vec<Delete>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.delete(deletes, slots, request)).await;
        }
        self.send(Publish::Delete(deletes, slots));
        Ok(None)
    }

    /// Asks whether items that were published earlier are still kept. The slots receive their receipts.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn recheck(&self, items: Vec<(PublishedItem, ReceiptSlot)>) -> Result<(), Refusal> {
        let _held = match self.cluster() {
            Some(cluster) => Some(Box::pin(cluster.hold_streams_of(&items)).await?),
            None => None,
        };
        self.send(Publish::Recheck(items));
        Ok(())
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
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.connect(request, by)).await;
        }
        self.ask(move |registry, context| registry.connect(request, by, None, context)).await
    }

    pub async fn subscribe(
        &self,
        request: Subscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, SubscribeRefused>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.subscribe(request, by)).await;
        }
        self.ask(move |registry, context| registry.subscribe(request, by, context)).await
    }

    pub async fn unsubscribe(
        &self,
        request: Unsubscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, UnknownConnection>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.unsubscribe(request, by)).await;
        }
        self.ask(move |registry, context| registry.unsubscribe(request, by, context)).await
    }

    pub async fn set_user_state(
        &self,
        request: SetUserState,
        by: Requester,
    ) -> Result<Result<StateChanged, StateRefused>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.set_user_state(request, by)).await;
        }
        self.ask(move |registry, context| registry.set_user_state(request, by, context)).await
    }

    /// Creates channels or changes their settings.
    pub async fn configure_channels(
        &self,
        configs: Vec<(String, ChannelConfig)>,
    ) -> Result<Result<Vec<ChannelRef>, OverLimit>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.configure_channels(configs)).await;
        }
        self.ask(move |registry, context| registry.configure(configs, context)).await
    }

    /// Ends a connection permanently. True if the connection existed.
    pub async fn disconnect(&self, conn_id: Uuid, why: Ending) -> Result<bool, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.disconnect(conn_id, why)).await;
        }
        self.ask(move |registry, context| registry.disconnect(conn_id, &why, context)).await
    }

    /// Ends all connections of a user permanently, a limited number in one turn of the registry. Returns how many; `None`
    /// if the user does not exist.
    pub async fn disconnect_user(&self, user: &str, why: Ending) -> Result<Option<usize>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.disconnect_user(user, &why)).await;
        }
        let mut ended = 0;
        loop {
            let (user, why) = (user.to_owned(), why.clone());
            let step = self.ask(move |registry, context| {
                registry.disconnect_user(&user, CONNECTIONS_PER_TURN, &why, context)
            });
            let Some(step) = step.await? else { return Ok(None) };
            ended += step.ended;
            // The registry always ends some of the remaining connections. The check still guarantees that the loop ends.
            if step.left == 0 || step.ended == 0 {
                return Ok(Some(ended));
            }
        }
    }

    /// Creates or extends the connection of a valid token. Returns the connection's id.
    pub async fn grant_token(&self, grant: TokenGrant) -> Result<Result<Uuid, TokenGrantRefused>, Refusal> {
        let conn_id = grant.connect.conn_id;
        let granted = match self.cluster() {
            Some(cluster) => Box::pin(cluster.grant_token(grant)).await?,
            None => self.ask(move |registry, context| registry.grant_token(grant, None, context)).await?,
        };
        if granted == Err(TokenGrantRefused::Revoked) {
            self.note_refused_token(conn_id, TokenCause::Revoked);
        }
        Ok(granted)
    }

    /// Blocks a user, or revokes the user's tokens. Open sessions stay.
    pub async fn block(&self, request: BlockUser) -> Result<Result<(), OverLimit>, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.block(request)).await;
        }
        self.ask(move |registry, _| registry.block(request)).await
    }

    /// Ends a block. False if there was none.
    pub async fn unblock(&self, user: String) -> Result<bool, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.unblock(user)).await;
        }
        self.ask(move |registry, _| registry.unblock(&user)).await
    }

    /// All blocks, in the order of the users' names.
    pub async fn blocks(&self) -> Result<Vec<Block>, Refusal> {
        self.ask(|registry, _| registry.list_blocks()).await
    }

    /// The named channels without those in `exclude`; unknown names are ignored. `None` means all channels that this process
    /// has; see [`Self::read_channels`] for those of the cluster.
    pub async fn channels(
        &self,
        names: Option<Vec<String>>,
        exclude: Vec<String>,
    ) -> Result<Vec<ChannelRef>, Refusal> {
        let names = match (self.cluster(), names) {
            (Some(cluster), Some(names)) => return Box::pin(cluster.channels(names, &exclude)).await,
            (_, names) => names,
        };
        self.ask(move |registry, _| registry.list_channels(names.as_deref(), &exclude)).await
    }

    /// Makes this node the owner of a connection, if Redis decides and another node owns it. A session that attaches here
    /// finds it then.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn bring(&self, conn_id: Uuid) -> Result<(), Refusal> {
        match self.cluster() {
            Some(cluster) => Box::pin(cluster.bring_for_session(conn_id)).await,
            None => Ok(()),
        }
    }

    /// Whether Redis decides.
    pub fn is_clustered(&self) -> bool {
        self.cluster().is_some()
    }

    /// Whether a connection and a user exist, for errors that are reported together with others.
    pub async fn known(&self, conn_id: Option<Uuid>, user: Option<String>) -> Result<KnownUsers, Refusal> {
        if let Some(cluster) = self.cluster() {
            return Box::pin(cluster.known(conn_id, user)).await;
        }
        self.ask(move |registry, _| registry.state().known(conn_id, user.as_deref())).await
    }
}
