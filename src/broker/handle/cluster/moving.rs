//! Connections that another node owns: they come to this node when a session attaches here, and their owner does what
//! requests need.

use super::ClusterRequest;
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::row::{ConnectionRow, Ownership};
use crate::broker::registry::cluster::peers::{Answer, MovedConnection, Question};
use crate::broker::registry::cluster::rows::RowData;
use crate::broker::registry::cluster::{channel_key, user_key};
use crate::http_error::Refusal;
use crate::protocol::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

/// How long a node waits for the answer of another one.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long a request looks for a connection that moves at the same time, and how often.
const FIND_LIMIT: Duration = Duration::from_secs(2);
const FIND_INTERVAL: Duration = Duration::from_millis(20);

impl ClusterRequest<'_> {
    /// The row of a connection. `None` if it does not exist in the cluster.
    pub(super) async fn find(&self, conn_id: Uuid) -> Result<Option<ConnectionRow>, Refusal> {
        let reply = self.link.call(Call::Find { conn: conn_id.to_string() }).await?;
        Ok(ConnectionRow::read(&reply).ok_or_else(malformed_row)?)
    }

    /// Asks another node.
    pub(super) async fn ask_node(&self, to: NodeNumber, question: Question) -> Result<Answer, Refusal> {
        let answer = self.broker.ask(move |registry, _| registry.ask_node(to, question)).await?;
        let answer = answer.ok_or(Refusal::Draining)?;
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(Answer::Busy)) => Err(EngineError::Timeout { was_sent: true }.into()),
            Ok(Ok(answer)) => Ok(answer),
            // The node has died or is cut off. It is declared dead within some seconds.
            _ => Err(EngineError::Timeout { was_sent: true }.into()),
        }
    }

    /// Lets the owner of a connection answer: this node, if the last owner has died. A connection may be between two owners.
    /// `None` if it does not exist.
    pub(super) async fn ask_owner(
        &self,
        conn_id: Uuid,
        question: Question,
    ) -> Result<Option<Answer>, Refusal> {
        let until = Instant::now() + FIND_LIMIT;
        loop {
            let Some(row) = self.find(conn_id).await? else { return Ok(None) };
            if !row.is_owner_alive {
                self.bring(conn_id).await?;
                continue;
            }
            match self.ask_node(row.owner, question.clone()).await? {
                Answer::Unknown if Instant::now() < until => sleep(FIND_INTERVAL).await,
                answer => return Ok(Some(answer)),
            }
        }
    }

    /// Makes this node the owner of a connection, if it exists in the cluster. True if it does.
    pub async fn bring(&self, conn_id: Uuid) -> Result<bool, Refusal> {
        let until = Instant::now() + FIND_LIMIT;
        while Instant::now() < until {
            let known =
                self.broker.ask(move |registry, _| registry.state().connection(conn_id).is_some()).await?;
            if known {
                return Ok(true);
            }
            if let Some(coming) = self.broker.ask(move |registry, _| registry.begin_coming(conn_id)).await? {
                let _ = timeout_at(until, coming).await;
                continue;
            }
            let brought = self.bring_now(conn_id).await;
            self.broker.ask(move |registry, _| registry.end_coming(conn_id)).await?;
            match brought? {
                Brought::Yes => return Ok(true),
                Brought::Unknown => return Ok(false),
                Brought::Moved => sleep(FIND_INTERVAL).await,
            }
        }
        Err(EngineError::Unavailable.into())
    }

    async fn bring_now(&self, conn_id: Uuid) -> Result<Brought, Refusal> {
        let Some(row) = self.find(conn_id).await? else { return Ok(Brought::Unknown) };
        if row.is_owner_alive && !self.is_this_node(row.owner).await? {
            return self.bring_from_owner(conn_id, &row).await;
        }
        let call = Call::Claim { conn: conn_id.to_string(), user: row.user.clone(), data: row.data.clone() };
        let reply = self.link.call(call).await?;
        let (generation, data, mark) = match Ownership::read(&reply).ok_or_else(malformed_row)? {
            // The owner may have stored the row once more before it ended.
            Ownership::Taken { generation, data, mark } => (generation, data, mark),
            // A request has created the row and then failed.
            Ownership::Own { generation } => (generation, row.data, None),
            _ => return Ok(Brought::Moved),
        };
        let data = RowData::read(&data).unwrap_or_default();
        let now_unix = Timestamp::now().unix_ms() / 1_000;
        let moved = data.moved(conn_id, row.user, mark, now_unix);
        self.adopt(moved, generation).await?;
        Ok(Brought::Yes)
    }

    async fn bring_from_owner(&self, conn_id: Uuid, row: &ConnectionRow) -> Result<Brought, Refusal> {
        let Answer::Released(moved) = self.ask_node(row.owner, Question::Release { conn_id }).await? else {
            return Ok(Brought::Moved);
        };
        let (owner, generation) = (row.owner, row.generation);
        let reply = self.link.call(Call::Take { conn: conn_id.to_string(), owner, generation }).await?;
        let Some(Ownership::Taken { generation, .. }) = Ownership::read(&reply) else {
            return Ok(Brought::Moved);
        };
        self.adopt(*moved, generation).await?;
        self.broker.ask(move |registry, _| registry.report_raised(owner, conn_id)).await?;
        Ok(Brought::Yes)
    }

    async fn adopt(&self, moved: MovedConnection, generation: u64) -> Result<(), Refusal> {
        let user = self.user(&moved.user).await?;
        self.install_user(&moved.user, user.version, &user.record).await?;
        let mut keys: Vec<Arc<str>> = moved.channels.keys().map(|name| channel_key(name)).collect();
        keys.push(user_key(&moved.user));
        let _held = self.hold(keys).await?;
        self.broker.ask(move |registry, context| registry.adopt(&moved, generation, context)).await?;
        self.settle().await
    }

    pub(super) async fn is_this_node(&self, node: NodeNumber) -> Result<bool, Refusal> {
        self.broker.ask(move |registry, _| registry.node() == Some(node)).await
    }
}

pub(super) fn malformed_row() -> EngineError {
    EngineError::Refused("the row of a connection is malformed".into())
}

/// How an attempt to bring a connection has ended.
enum Brought {
    Yes,
    /// It does not exist.
    Unknown,
    /// Another node has taken it meanwhile.
    Moved,
}
