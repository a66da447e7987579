//! Connections that another node owns: they come to this node when a session attaches here, and their owner does what
//! requests need.

use super::{ClusterRequest, OnErrand, OtherRequest};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::row::{ConnectionRow, OwnerMark, Ownership};
use crate::broker::registry::Registry;
use crate::broker::registry::cluster::errands::Errand;
use crate::broker::registry::cluster::peers::{Answer, MovedConnection, Question};
use crate::broker::registry::cluster::rows::RowData;
use crate::broker::registry::cluster::{channel_key, user_key};
use crate::http_error::Refusal;
use crate::protocol::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// How long a node waits for the answer of another one.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// The same if the node has not answered before.
const WATCHED_ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// How long a request looks for a connection that moves at the same time, and how often.
pub(super) const FIND_LIMIT: Duration = Duration::from_secs(2);
const FIND_INTERVAL: Duration = Duration::from_millis(20);
/// The longest wait until a node that does not answer is declared dead.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

impl ClusterRequest<'_> {
    /// The row of a connection. `None` if it does not exist in the cluster.
    pub(super) async fn find(&self, conn_id: Uuid) -> Result<Option<ConnectionRow>, Refusal> {
        let reply = self.link.call(Call::Find { conn: conn_id.to_string() }).await?;
        Ok(ConnectionRow::read(&reply).ok_or_else(malformed_row)?)
    }

    /// Asks another node.
    pub(super) async fn ask_node(&self, to: NodeNumber, question: Question) -> Result<Answer, Refusal> {
        self.ask_node_for(ANSWER_LIMIT, to, question).await
    }

    async fn ask_node_for(
        &self,
        limit: Duration,
        to: NodeNumber,
        question: Question,
    ) -> Result<Answer, Refusal> {
        let asked = self.broker.ask(move |registry, _| registry.question(to, question)).await?;
        let (call, answer) = asked.ok_or(Refusal::Draining)?;
        if self.link.call(call).await?.number() == Some(0) {
            // The node has ended. Other nodes learn it within some seconds, and at once if it was stopped.
            return Err(EngineError::Unavailable.into());
        }
        match timeout(limit, answer).await {
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
        let mut search = Search::begin();
        loop {
            let Some(row) = self.find(conn_id).await? else { return Ok(None) };
            if !row.is_owner_alive {
                if !search.continues() {
                    return Err(EngineError::Unavailable.into());
                }
                self.bring(conn_id).await?;
                continue;
            }
            match self.ask_node(row.owner, question.clone()).await {
                Ok(Answer::Unknown) if search.continues() => sleep(FIND_INTERVAL).await,
                Err(Refusal::EngineUnavailable) if search.continues() => {
                    self.watch(row.owner, &mut search).await?;
                }
                answer => return answer.map(Some),
            }
        }
    }

    /// The owner of a connection does not answer. Its connections are free when it answers or is declared dead. Until then one
    /// request looks again and again, and the others wait for that one.
    async fn watch(&self, owner: NodeNumber, search: &mut Search) -> Result<(), Refusal> {
        let settings = &self.broker.settings;
        let death = settings.engine_dead_ms.saturating_add(2 * settings.engine_beat_ms);
        search.until = search.begun + Duration::from_millis(death).clamp(FIND_LIMIT, DEATH_LIMIT);
        if !search.watches(owner) {
            search.watch = None;
            match self.begin(Errand::Watch(owner), search.until).await? {
                Ok(watch) => search.watch = Some(watch),
                Err(OtherRequest) => return Ok(()),
            }
        }
        sleep(FIND_INTERVAL).await;
        Ok(())
    }

    /// Makes this node the owner of a connection, if it exists in the cluster. True if it does.
    pub async fn bring(&self, conn_id: Uuid) -> Result<bool, Refusal> {
        self.until_alive().await?;
        let mut search = Search::begin();
        while search.continues() {
            let known =
                self.broker.ask(move |registry, _| registry.state().connection(conn_id).is_some()).await?;
            if known {
                return Ok(true);
            }
            let Ok(mut coming) = self.begin(Errand::Bring(conn_id), search.until).await? else { continue };
            match self.bring_now(&mut coming, conn_id, &search).await? {
                Brought::Yes => return Ok(true),
                Brought::Unknown => return Ok(false),
                Brought::Moved => sleep(FIND_INTERVAL).await,
                Brought::Silent(owner) => self.watch(owner, &mut search).await?,
            }
        }
        Err(EngineError::Unavailable.into())
    }

    /// Does the same for a client that listens. One that is refused, and so has no session, does not become absent before it
    /// had the time to come again: otherwise users would part because Redis is gone.
    pub async fn bring_for_session(&self, conn_id: Uuid) -> Result<(), Refusal> {
        let brought = self.bring(conn_id).await;
        if brought.is_err() {
            let wait_ms = self.broker.settings.poll_wait_ms;
            self.broker.ask(move |registry, _| registry.keep_present(conn_id, wait_ms)).await?;
        }
        brought.map(|_| ())
    }

    async fn bring_now(
        &self,
        coming: &mut OnErrand,
        conn_id: Uuid,
        search: &Search,
    ) -> Result<Brought, Refusal> {
        let Some(row) = self.find(conn_id).await? else { return Ok(Brought::Unknown) };
        if row.is_owner_alive {
            let (owner, watches) = (row.owner, search.watches(row.owner));
            let of_registry = move |registry: &mut Registry, _: &mut _| {
                let is_here = registry.node() == Some(owner);
                (is_here, registry.has_left(conn_id), !watches && registry.is_watched(owner))
            };
            let is_free = match self.broker.ask(of_registry).await? {
                // It may be leaving this node.
                (true, has_left, _) => !has_left,
                (false, _, true) => return Ok(Brought::Silent(owner)),
                (false, _, false) => {
                    let limit = if watches { WATCHED_ANSWER_LIMIT } else { ANSWER_LIMIT };
                    let question = Question::Release { conn_id };
                    match self.ask_node_for(limit, owner, question).await {
                        Ok(answer) => matches!(answer, Answer::Released),
                        // It has died, or is about to end. Then the row names no owner soon.
                        Err(refusal) if refusal.is_of_engine() => return Ok(Brought::Silent(owner)),
                        Err(refusal) => return Err(refusal),
                    }
                }
            };
            if !is_free {
                return Ok(Brought::Moved);
            }
        }
        match self.claim_row(coming, conn_id, &row.user, 0).await? {
            Ownership::Own { generation, data } => {
                self.adopt(conn_id, row.user, generation, &data, None).await?
            }
            Ownership::Taken { generation, data, mark } => {
                self.adopt(conn_id, row.user, generation, &data, mark).await?
            }
            // It has ended meanwhile.
            Ownership::New { .. } => return Ok(Brought::Unknown),
            Ownership::Other { .. } | Ownership::Foreign | Ownership::Full => return Ok(Brought::Moved),
        }
        Ok(Brought::Yes)
    }

    /// Makes this node the owner of a connection of this user, unless another node that is alive owns it. A new one may be
    /// the last of `most`, unless that is 0.
    pub(super) async fn claim_row(
        &self,
        coming: &mut OnErrand,
        conn_id: Uuid,
        user: &str,
        most: u32,
    ) -> Result<Ownership, Refusal> {
        let (conn, user) = (conn_id.to_string(), user.to_owned());
        // The claim may take effect although its reply does not arrive, or the request ends.
        coming.give_up = Some(Call::Release { conn: conn.clone(), generation: None, data: Vec::new() });
        let data = RowData::default().write();
        let reply = self.link.call(Call::Claim { conn: conn.clone(), user, data, most }).await;
        if !matches!(reply, Ok(_) | Err(EngineError::Timeout { was_sent: true })) {
            coming.give_up = None;
        }
        let ownership = Ownership::read(&reply?).ok_or_else(malformed_row)?;
        coming.give_up = ownership.given_up_by(&conn);
        Ok(ownership)
    }

    /// Takes a connection that this node owns now.
    pub(super) async fn adopt(
        &self,
        conn_id: Uuid,
        user: String,
        generation: u64,
        data: &[u8],
        mark: Option<OwnerMark>,
    ) -> Result<(), Refusal> {
        let data = RowData::read(data).unwrap_or_default();
        let released_by = data.released.as_ref().map(|released| released.by);
        let moved = data.moved(conn_id, user, mark, Timestamp::now().unix_ms() / 1_000);
        self.adopt_moved(moved, generation).await?;
        match released_by {
            Some(by) => {
                self.link.counters().taken_from_nodes.add(1);
                self.broker.ask(move |registry, _| registry.report_raised(by, conn_id)).await?;
            }
            None => self.link.counters().taken_from_rows.add(1),
        }
        Ok(())
    }

    async fn adopt_moved(&self, moved: MovedConnection, generation: u64) -> Result<(), Refusal> {
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

/// A request that looks for a connection.
struct Search {
    begun: Instant,
    until: Instant,
    /// It watches the owner.
    watch: Option<OnErrand>,
}

impl Search {
    fn begin() -> Self {
        let begun = Instant::now();
        Self { begun, until: begun + FIND_LIMIT, watch: None }
    }

    fn continues(&self) -> bool {
        Instant::now() < self.until
    }

    fn watches(&self, owner: NodeNumber) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.errand == Errand::Watch(owner))
    }
}

/// How an attempt to bring a connection has ended.
enum Brought {
    Yes,
    /// It does not exist.
    Unknown,
    /// Another node has taken it meanwhile.
    Moved,
    /// Its owner does not answer.
    Silent(NodeNumber),
}
