//! Connections and their subscriptions.

use super::moving::FIND_LIMIT;
use super::users::PlannedChange;
use super::{ClusterRequest, HeldStreams, OnErrand};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::row::Ownership;
use crate::broker::registry::Registry;
use crate::broker::registry::cluster::errands::Errand;
use crate::broker::registry::cluster::peers::{Answer, Question};
use crate::broker::registry::cluster::rows::RowData;
use crate::broker::registry::cluster::{channel_key, user_key};
use crate::broker::requests::{
    Connect, ConnectRefused, Connected, Requester, Subscribe, SubscribeRefused, Subscribed,
    UnknownConnection, Unsubscribe,
};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::settings::ChannelConfig;
use crate::telemetry::limits::Limit;
use futures_util::future::join;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

impl ClusterRequest<'_> {
    pub async fn connect(
        &self,
        mut request: Connect,
        by: Requester,
    ) -> Result<Result<Connected, ConnectRefused>, Refusal> {
        let conn_id = *request.conn_id.get_or_insert_with(Uuid::new_v4);
        let planned = match self.plan_connect(&request, by).await? {
            Ok(planned) => planned,
            Err(refused) => return Ok(Err(refused)),
        };
        let (claimed, again) = (self.claim(conn_id, &request.username).await?, request.clone());
        let connected = match claimed {
            Claimed::Here(generation) => {
                self.connect_here((conn_id, generation), true, request, planned, by).await?
            }
            Claimed::New(generation, _coming) => {
                self.connect_here((conn_id, generation), false, request, planned, by).await?
            }
            Claimed::Elsewhere => None,
            Claimed::Foreign => return Ok(Err(ConnectRefused::BelongsToAnother)),
            Claimed::Full => return Ok(Err(self.too_many_connections())),
        };
        match connected {
            Some(connected) => Ok(connected),
            // It may have moved meanwhile.
            None => self.connect_elsewhere(conn_id, again, by).await,
        }
    }

    /// Connects a connection that this node owns in this generation. `None` if it was here and has moved meanwhile.
    async fn connect_here(
        &self,
        owned: (Uuid, u64),
        was_here: bool,
        mut request: Connect,
        planned: PlannedChange,
        by: Requester,
    ) -> Result<Option<Result<Connected, ConnectRefused>>, Refusal> {
        let _held = match self.prepare_connect(&mut request, planned, by).await? {
            Ok(held) => held,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        let (conn_id, generation) = owned;
        let connected = self.broker.ask(move |registry, context| {
            let is_here = !was_here || registry.generation(conn_id) == Some(generation);
            is_here.then(|| registry.connect(request, by, Some(owned), context))
        });
        let connected = connected.await?;
        self.settle().await?;
        Ok(connected)
    }

    pub(super) fn too_many_connections(&self) -> ConnectRefused {
        let bound = self.broker.settings.max_connections_per_user;
        ConnectRefused::OverLimit(OverLimit::of(Limit::ConnectionsPerUser, bound))
    }

    /// Makes this node the owner of a connection of this user, unless another node that is alive owns it.
    pub(super) async fn claim(&self, conn_id: Uuid, user: &str) -> Result<Claimed, Refusal> {
        let until = Instant::now() + FIND_LIMIT;
        self.until_alive().await?;
        let most = u32::try_from(self.broker.settings.max_connections_per_user).unwrap_or(u32::MAX);
        while Instant::now() < until {
            let own = move |registry: &mut Registry, _: &mut _| {
                (registry.generation(conn_id), registry.has_left(conn_id))
            };
            match self.broker.ask(own).await? {
                (Some(generation), _) => return Ok(Claimed::Here(generation)),
                (None, true) => return Ok(Claimed::Elsewhere),
                (None, false) => {}
            }
            let Ok(mut coming) = self.begin(Errand::Bring(conn_id), until).await? else { continue };
            match self.claim_row(&mut coming, conn_id, user, most).await? {
                Ownership::New { generation } => return Ok(Claimed::New(generation, coming)),
                Ownership::Foreign => return Ok(Claimed::Foreign),
                Ownership::Full => return Ok(Claimed::Full),
                Ownership::Other { .. } => return Ok(Claimed::Elsewhere),
                Ownership::Own { generation, data } => {
                    self.adopt(conn_id, user.to_owned(), generation, &data, None).await?;
                }
                Ownership::Taken { generation, data, mark } => {
                    self.adopt(conn_id, user.to_owned(), generation, &data, mark).await?;
                }
            }
        }
        Err(EngineError::Unavailable.into())
    }

    /// Lets the owner of a connection connect it again.
    async fn connect_elsewhere(
        &self,
        conn_id: Uuid,
        request: Connect,
        by: Requester,
    ) -> Result<Result<Connected, ConnectRefused>, Refusal> {
        let planned = match self.plan_connect(&request, by).await? {
            Ok(planned) => planned,
            Err(refused) => return Ok(Err(refused)),
        };
        let created =
            self.create_channels_elsewhere(conn_id, &request.channels, &request.channel_configs).await?;
        match created {
            Ok(()) => {}
            Err(SubscribeRefused::OverLimit(over)) => return Ok(Err(ConnectRefused::OverLimit(over))),
            // It has just ended: a repeated request creates it.
            Err(_) => return Err(EngineError::Unavailable.into()),
        }
        if let Err(refused) = self.change_state(&request, planned, by).await? {
            return Ok(Err(refused));
        }
        let Connect { username, channels, .. } = request;
        let question = Question::Connect { conn_id, user: username.clone(), channels: channels.clone() };
        match self.ask_owner(conn_id, question).await? {
            Some(Answer::Subscribed { .. }) => {
                let user = self.broker.ask(move |registry, _| registry.state().shown(&username)).await?;
                let user = user.ok_or(EngineError::Unavailable)?;
                let channels = self.channels(channels, &[]).await?;
                Ok(Ok(Connected { conn_id, user, channels }))
            }
            Some(Answer::OverLimit { limit, bound }) => {
                Ok(Err(ConnectRefused::OverLimit(over(&limit, bound))))
            }
            _ => Ok(Err(ConnectRefused::BelongsToAnother)),
        }
    }

    /// Creates the channels that are missing, stores the user's state, which it takes out of the request, and makes current
    /// what the connection needs. What may refuse the request comes first.
    pub(super) async fn prepare_connect(
        &self,
        request: &mut Connect,
        planned: PlannedChange,
        by: Requester,
    ) -> Result<Result<HeldStreams, ConnectRefused>, Refusal> {
        if let Err(over) = self.create_channels(&request.channels, &request.channel_configs).await? {
            return Ok(Err(ConnectRefused::OverLimit(over)));
        }
        let changed = self.change_state(request, planned, by);
        // The calls of both share a pipeline.
        let (changed, held) = join(changed, self.hold_for(&request.username, &request.channels)).await;
        if let Err(refused) = changed? {
            return Ok(Err(refused));
        }
        (request.fresh_user_state, request.user_state, request.state_public_keys) =
            (Vec::new(), Vec::new(), None);
        Ok(Ok(held?))
    }

    /// Creates the channels that are missing in the cluster, and makes them and the user's private stream current.
    pub(super) async fn open(
        &self,
        user: &str,
        channels: &[String],
        configs: &[(String, ChannelConfig)],
    ) -> Result<Result<HeldStreams, OverLimit>, Refusal> {
        if let Err(over) = self.create_channels(channels, configs).await? {
            return Ok(Err(over));
        }
        Ok(Ok(self.hold_for(user, channels).await?))
    }

    /// Makes channels and a user's private stream current.
    async fn hold_for(&self, user: &str, channels: &[String]) -> Result<HeldStreams, Refusal> {
        let mut keys: Vec<Arc<str>> = channels.iter().map(|name| channel_key(name)).collect();
        keys.push(user_key(user));
        keys.sort_unstable();
        keys.dedup();
        self.hold(keys).await
    }

    pub async fn subscribe(
        &self,
        request: Subscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, SubscribeRefused>, Refusal> {
        let checked = request.clone();
        let user = self.broker.ask(move |registry, _| registry.may_subscribe(&checked, by)).await?;
        let user = match user {
            Ok(user) => user,
            Err(SubscribeRefused::UnknownConnection) => return self.subscribe_elsewhere(request).await,
            Err(refused) => return Ok(Err(refused)),
        };
        self.receive_earlier().await?;
        let _held = match self.open(&user, &request.channels, &request.channel_configs).await? {
            Ok(held) => held,
            Err(over) => return Ok(Err(SubscribeRefused::OverLimit(over))),
        };
        let again = request.clone();
        let subscribed =
            self.broker.ask(move |registry, context| registry.subscribe(request, by, context)).await?;
        if let Err(SubscribeRefused::UnknownConnection) = subscribed {
            // It has moved meanwhile.
            return self.subscribe_elsewhere(again).await;
        }
        self.settle().await?;
        Ok(subscribed)
    }

    /// Creates the channels that are missing, if a connection of another node exists and has room for them.
    async fn create_channels_elsewhere(
        &self,
        conn_id: Uuid,
        channels: &[String],
        configs: &[(String, ChannelConfig)],
    ) -> Result<Result<(), SubscribeRefused>, Refusal> {
        let Some(row) = self.find(conn_id).await? else {
            return Ok(Err(SubscribeRefused::UnknownConnection));
        };
        let row = RowData::read(&row.data);
        let has: HashSet<String> = row.into_iter().flat_map(|row| row.channels).collect();
        let more = channels.iter().filter(|name| !has.contains(*name)).collect::<HashSet<_>>().len();
        let bound = self.broker.settings.max_channels_per_connection;
        if bound > 0 && more > 0 && has.len() + more > bound {
            let over = OverLimit::of(Limit::ChannelsPerConnection, bound);
            return Ok(Err(SubscribeRefused::OverLimit(over)));
        }
        Ok(self.create_channels(channels, configs).await?.map_err(SubscribeRefused::OverLimit))
    }

    /// Lets the owner of a connection subscribe it.
    async fn subscribe_elsewhere(
        &self,
        request: Subscribe,
    ) -> Result<Result<Subscribed, SubscribeRefused>, Refusal> {
        let Subscribe { conn_id, channels, channel_configs } = request;
        let created = self.create_channels_elsewhere(conn_id, &channels, &channel_configs).await?;
        if let Err(refused) = created {
            return Ok(Err(refused));
        }
        let question = Question::Subscribe { conn_id, channels };
        match self.ask_owner(conn_id, question).await? {
            Some(Answer::Subscribed { channels, changed }) => {
                Ok(Ok(self.subscribed(channels, changed).await?))
            }
            Some(Answer::OverLimit { limit, bound }) => {
                Ok(Err(SubscribeRefused::OverLimit(over(&limit, bound))))
            }
            _ => Ok(Err(SubscribeRefused::UnknownConnection)),
        }
    }

    async fn subscribed(&self, channels: Vec<String>, changed: Vec<String>) -> Result<Subscribed, Refusal> {
        let channels = self.channels(channels, &[]).await?;
        Ok(Subscribed { channels, changed: changed.into_iter().map(Into::into).collect() })
    }

    pub async fn unsubscribe(
        &self,
        request: Unsubscribe,
        by: Requester,
    ) -> Result<Result<Subscribed, UnknownConnection>, Refusal> {
        let Unsubscribe { conn_id, channels } = request.clone();
        self.receive_earlier().await?;
        let answer =
            self.broker.ask(move |registry, context| registry.unsubscribe(request, by, context)).await?;
        if answer.is_ok() {
            self.settle().await?;
            return Ok(answer);
        }
        match self.ask_owner(conn_id, Question::Unsubscribe { conn_id, channels }).await? {
            Some(Answer::Subscribed { channels, changed }) => {
                Ok(Ok(self.subscribed(channels, changed).await?))
            }
            _ => Ok(Err(UnknownConnection)),
        }
    }
}

/// What became of a claim.
pub(super) enum Claimed {
    /// This node has the connection, in this generation.
    Here(u64),
    /// The connection is new, and this node owns it in this generation.
    New(u64, OnErrand),
    /// Another node owns it.
    Elsewhere,
    /// It belongs to another user.
    Foreign,
    /// The user has too many connections at all nodes together.
    Full,
}

/// A limit that another node has named.
fn over(limit: &str, bound: u64) -> OverLimit {
    let limit = Limit::of(limit).unwrap_or(Limit::ChannelsPerConnection);
    OverLimit { limit, bound, retry_after_s: None }
}
