//! What nodes ask each other, as `broker/handle/cluster/moving.rs` and `broker/registry/cluster_posts.rs` do it.

use super::process::Process;
use super::requests::{OnErrand, Refused, Request};
use super::tasks::{Task, sleep_until, timeout_at};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::row::{ConnectionRow, OwnerMark, Ownership};
use crate::broker::registry::cluster::peers::{Answer, MovedConnection, Post, Question};
use crate::broker::registry::cluster::rows::RowData;
use crate::broker::registry::cluster::{channel_key, user_key};
use crate::broker::requests::{Connect, Subscribe, Unsubscribe};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

const ANSWER_MS: u64 = 1_000;
pub const FIND_MS: u64 = 2_000;
const FIND_INTERVAL_MS: u64 = 20;

/// How an attempt to bring a connection has ended.
enum Brought {
    Yes,
    Unknown,
    Moved,
}

type Asked = (NodeNumber, u64);

impl Request {
    async fn find(&self, conn_id: Uuid) -> Result<Option<ConnectionRow>, Refused> {
        let reply = self.call(Call::Find { conn: conn_id.to_string() }).await?;
        Ok(ConnectionRow::read(&reply).expect("a row"))
    }

    async fn ask_node(&self, to: NodeNumber, question: Question) -> Result<Answer, Refused> {
        let asked = self.ask(move |process| {
            let (id, answer) = process.cluster.questions.ask();
            let post = Post::Ask { from: process.cluster.node(), id, question };
            (Call::Send { to, bytes: post.write() }, answer)
        });
        let (call, answer) = asked.await;
        if self.call(call).await?.number() == Some(0) {
            return Err(EngineError::Unavailable.into());
        }
        match timeout_at(&self.clock, self.clock.get() + ANSWER_MS, answer).await {
            Some(Ok(Answer::Busy)) => Err(EngineError::Timeout { was_sent: true }.into()),
            Some(Ok(answer)) => Ok(answer),
            _ => Err(EngineError::Timeout { was_sent: true }.into()),
        }
    }

    pub async fn ask_owner(&self, conn_id: Uuid, question: Question) -> Result<Option<Answer>, Refused> {
        let until = self.clock.get() + FIND_MS;
        loop {
            let Some(row) = self.find(conn_id).await? else { return Ok(None) };
            if !row.is_owner_alive {
                self.bring(conn_id).await?;
                continue;
            }
            match self.ask_node(row.owner, question.clone()).await {
                Ok(Answer::Unknown) | Err(Refused::Engine(EngineError::Unavailable))
                    if self.clock.get() < until =>
                {
                    sleep_until(&self.clock, self.clock.get() + FIND_INTERVAL_MS).await;
                }
                answer => return answer.map(Some),
            }
        }
    }

    /// Makes this node the owner of a connection, if it exists in the cluster. True if it does.
    pub async fn bring(&self, conn_id: Uuid) -> Result<bool, Refused> {
        let until = self.clock.get() + FIND_MS;
        while self.clock.get() < until {
            if self.ask(move |process| process.registry.connection(conn_id).is_some()).await {
                return Ok(true);
            }
            let Ok(mut coming) = self.begin(conn_id, until).await else { continue };
            match self.bring_now(&mut coming).await? {
                Brought::Yes => return Ok(true),
                Brought::Unknown => return Ok(false),
                Brought::Moved => sleep_until(&self.clock, self.clock.get() + FIND_INTERVAL_MS).await,
            }
        }
        Err(EngineError::Unavailable.into())
    }

    async fn bring_now(&self, coming: &mut OnErrand) -> Result<Brought, Refused> {
        let conn_id = coming.conn_id;
        let Some(row) = self.find(conn_id).await? else { return Ok(Brought::Unknown) };
        if row.is_owner_alive {
            let owner = row.owner;
            let is_free = match self.ask(move |process| process.cluster.node() == owner).await {
                // It may be leaving this node.
                true => !self.ask(move |process| process.cluster.moving.has_left(conn_id)).await,
                false => {
                    let answer = self.ask_node(owner, Question::Release { conn_id }).await;
                    matches!(answer, Ok(Answer::Released))
                }
            };
            if !is_free {
                return Ok(Brought::Moved);
            }
        }
        match self.claim_row(coming, &row.user).await? {
            Ownership::Own { generation, data } => {
                self.adopt(conn_id, row.user, generation, &data, None).await?;
            }
            Ownership::Taken { generation, data, mark } => {
                self.adopt(conn_id, row.user, generation, &data, mark).await?;
            }
            // It has ended meanwhile.
            Ownership::New { .. } => return Ok(Brought::Unknown),
            Ownership::Other { .. } | Ownership::Foreign | Ownership::Full => return Ok(Brought::Moved),
        }
        Ok(Brought::Yes)
    }

    pub async fn claim_row(&self, coming: &mut OnErrand, user: &str) -> Result<Ownership, Refused> {
        let (conn, user) = (coming.conn_id.to_string(), user.to_owned());
        coming.give_up = Some(Call::Release { conn: conn.clone(), generation: None, data: Vec::new() });
        let data = RowData::default().write();
        let reply = self.link.call(Call::Claim { conn: conn.clone(), user, data, most: 0 }).await;
        if !matches!(reply, Ok(_) | Err(EngineError::Timeout { was_sent: true })) {
            coming.give_up = None;
        }
        let ownership = Ownership::read(&reply?).expect("a reply of claim");
        coming.give_up = ownership.given_up_by(&conn);
        Ok(ownership)
    }

    /// Takes a connection that this node owns now.
    pub async fn adopt(
        &self,
        conn_id: Uuid,
        user: String,
        generation: u64,
        data: &[u8],
        mark: Option<OwnerMark>,
    ) -> Result<(), Refused> {
        let data = RowData::read(data).expect("a row");
        let released_by = data.released.as_ref().map(|released| released.by);
        self.adopt_moved(data.moved(conn_id, user, mark, 0), generation).await?;
        if let Some(to) = released_by {
            let bytes = Post::Raised { conn_id }.write();
            self.ask(move |process| process.send_unanswered(Call::Send { to, bytes })).await;
        }
        Ok(())
    }

    async fn adopt_moved(&self, moved: MovedConnection, generation: u64) -> Result<(), Refused> {
        let user = self.user(&moved.user).await?;
        self.install_user(&moved.user, user.version, &user.record).await;
        let mut keys: Vec<Arc<str>> = moved.channels.keys().map(|name| channel_key(name)).collect();
        keys.push(user_key(&moved.user));
        let _held = self.hold(keys).await?;
        self.ask(move |process| {
            let (state, effects) = (&mut process.registry, &mut process.effects);
            if state.connection(moved.conn_id).is_none() {
                process.cluster.adopt(&moved, generation, state, process.now, effects);
            }
            process.end_turn();
        })
        .await;
        self.settle().await
    }
}

impl Process {
    /// Handles what other nodes have sent.
    pub fn handle_posts(&mut self) {
        for bytes in self.cluster.take_posts() {
            match Post::read(&bytes).expect("all nodes have the same version") {
                Post::Answer { id, answer } => self.cluster.questions.answered(id, answer),
                Post::Raised { conn_id } => self.cluster.raised(conn_id),
                Post::Ask { from, id, question } => self.answer((from, id), question),
            }
        }
    }

    fn answer(&mut self, asked: Asked, question: Question) {
        let now = self.now;
        if let Some(conn_id) = question.conn_id() {
            self.release_unknown(conn_id);
        }
        match question {
            Question::Release { conn_id } => {
                let (link, state) = (self.link.clone(), &mut self.registry);
                if !self.cluster.release_connection(conn_id, asked, &link, state, now, &mut self.effects) {
                    self.send_answer(asked, Answer::Unknown);
                }
                self.end_turn();
            }
            Question::Disconnect { conn_id, why } => {
                let is_known = self.registry.disconnect(conn_id, &why.read(), now, &mut self.effects);
                let answer = if is_known { Answer::Ended { ended: 1, left: 0 } } else { Answer::Unknown };
                self.answer_when_settled(asked, answer);
            }
            Question::DisconnectUser { .. }
            | Question::List { .. }
            | Question::Describe { .. }
            | Question::DescribeUser { .. } => unreachable!("no action asks this"),
            Question::Unsubscribe { conn_id, channels } => {
                let request = Unsubscribe { conn_id, channels };
                let changed = self.registry.unsubscribe(request, &mut self.effects);
                let answer = changed.map_or(Answer::Unknown, |_| subscribed());
                self.answer_when_settled(asked, answer);
            }
            Question::Connect { conn_id, user, channels } => {
                let request = Connect::again(conn_id, user, channels.clone());
                self.answer_when_current(asked, channels, move |process| {
                    if process.registry.connection(conn_id).is_none() {
                        return Answer::Unknown;
                    }
                    let connected = process.registry.connect(request, process.now, &mut process.effects);
                    connected.map_or(Answer::Unknown, |_| subscribed())
                });
            }
            Question::Subscribe { conn_id, channels } => {
                let request = Subscribe { conn_id, channels: channels.clone(), channel_configs: Vec::new() };
                self.answer_when_current(asked, channels, move |process| {
                    let changed = process.registry.subscribe(request, &mut process.effects);
                    changed.map_or(Answer::Unknown, |_| subscribed())
                });
            }
        }
    }

    /// Gives up a connection that a request has claimed, which has ended before it created the connection.
    fn release_unknown(&self, conn_id: Uuid) {
        if self.registry.connection(conn_id).is_none() && !self.cluster.moving.is_between(conn_id) {
            let (conn, data) = (conn_id.to_string(), Vec::new());
            self.send_unanswered(Call::Release { conn, generation: None, data });
        }
    }

    fn answer_when_current(
        &mut self,
        asked: Asked,
        channels: Vec<String>,
        act: impl FnOnce(&mut Self) -> Answer + 'static,
    ) {
        let keys: Vec<Arc<str>> = channels.iter().map(|name| channel_key(name)).collect();
        let (waiter, current) = oneshot::channel();
        self.cluster.hold(&keys, waiter);
        self.end_turn();
        let request = self.request.clone();
        self.begun.push(Task::new(async move {
            let current = current.await;
            let then = move |process: &mut Self| {
                let answer = match current {
                    Ok(Ok(())) => act(process),
                    _ => Answer::Busy,
                };
                process.end_turn();
                process.cluster.release(&keys, process.now);
                process.answer_when_settled(asked, answer);
            };
            request.ask(then).await;
        }));
    }

    fn answer_when_settled(&mut self, asked: Asked, answer: Answer) {
        let (waiter, settled) = oneshot::channel();
        self.end_turn();
        self.cluster.settle(waiter);
        let request = self.request.clone();
        self.begun.push(Task::new(async move {
            let settled = settled.await;
            let answer = if settled == Ok(Ok(())) { answer } else { Answer::Busy };
            request.ask(move |process| process.send_answer(asked, answer)).await;
        }));
    }

    fn send_answer(&self, (to, id): Asked, answer: Answer) {
        self.send_unanswered(Call::Send { to, bytes: Post::Answer { id, answer }.write() });
    }
}

/// The node that asks does not need the channels here.
fn subscribed() -> Answer {
    Answer::Subscribed { channels: Vec::new(), changed: Vec::new() }
}
