//! What nodes ask each other about connections, and what they answer.

use super::Registry;
use super::cluster::channel_key;
use super::cluster::errands::Errand;
use super::cluster::peers::{Answer, MovedConnection, Post, Question};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::requests::{
    Connect, ConnectRefused, Requester, Subscribe, SubscribeRefused, Subscribed, UnknownConnection,
    Unsubscribe,
};
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::log_sums::UNREADABLE;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Connections of a user that one question ends.
const CONNECTIONS_PER_QUESTION: usize = 500;

/// A question about lists, which needs the hubs: the node that has asked, and its number there.
#[derive(Debug)]
pub struct ListingQuestion {
    pub to: NodeNumber,
    pub id: u64,
    pub question: Question,
}

/// A question of another node: that node, and its number there.
type Asked = (NodeNumber, u64);

impl Registry {
    /// The number of this node in the cluster.
    pub fn node(&self) -> Option<NodeNumber> {
        self.cluster.as_ref().map(|cluster| cluster.node())
    }

    /// The call that asks another node. The receiver gets the answer, if there is one.
    pub fn question(
        &mut self,
        to: NodeNumber,
        question: Question,
    ) -> Option<(Call, oneshot::Receiver<Answer>)> {
        let cluster = self.cluster.as_mut()?;
        let (id, answer) = cluster.questions.ask();
        let post = Post::Ask { from: cluster.node(), id, question };
        Some((Call::Send { to, bytes: post.write() }, answer))
    }

    /// A request begins an errand. If another request is on it, the receiver learns when that has ended.
    pub fn begin_errand(&mut self, errand: Errand, request: Uuid) -> Option<oneshot::Receiver<()>> {
        self.cluster.as_mut()?.moving.errands.begin(errand, request)
    }

    /// See [`super::cluster::Cluster::end_errand`].
    pub fn end_errand(&mut self, errand: Errand, request: Uuid, give_up: Option<Call>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.end_errand(errand, request, give_up, &self.parts.state);
            self.flush_to_link();
        }
    }

    /// Whether a node does not answer, and a request watches it.
    pub fn is_watched(&self, node: NodeNumber) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.moving.errands.is_running(Errand::Watch(node)))
    }

    /// Whether this node has given a connection up, and still counts it.
    pub fn has_left(&self, conn_id: Uuid) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.moving.has_left(conn_id))
    }

    /// Takes a connection that has come from another node, whose streams are current. That of a blocked user ends.
    pub fn adopt(&mut self, moved: &MovedConnection, generation: u64, context: &mut Context<Self>) {
        let now = self.now_ms();
        let Some(cluster) = &mut self.cluster else { return };
        if self.parts.state.connection(moved.conn_id).is_none() {
            cluster.adopt(moved, generation, &mut self.parts.state, now, &mut self.effects);
        }
        self.apply_in_turns(context);
        if self.parts.state.blocks.is_blocked(&moved.user, now) {
            // When the block was set, the connection had no owner that could end it.
            self.disconnect(moved.conn_id, &CloseReason::Blocked.into(), context);
        }
    }

    /// The client of a connection was refused. If it polls, it has its answer after `wait_ms`.
    pub fn keep_present(&mut self, conn_id: Uuid, wait_ms: u64) {
        let from = self.now_ms().saturating_add(wait_ms);
        self.parts.state.keep_present(conn_id, from);
    }

    /// The generation in which this node owns a connection.
    pub fn generation(&self, conn_id: Uuid) -> Option<u64> {
        let (key, _) = self.parts.state.connection(conn_id)?;
        self.cluster.as_ref()?.generation(key)
    }

    /// This node owns a connection in this generation.
    pub(super) fn own_row(&mut self, conn_id: Uuid, generation: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.own_row(conn_id, generation, &self.parts.state);
        }
    }

    /// Reports to the former owner of a connection that this node counts it.
    pub fn report_raised(&mut self, to: NodeNumber, conn_id: Uuid) {
        if let Some(link) = &self.parts.link {
            link.send_unanswered(Call::Send { to, bytes: Post::Raised { conn_id }.write() });
        }
    }

    /// A session has ended. If its connection is to go to another node, it goes now.
    pub(super) fn depart(&mut self, conn_id: Uuid) {
        let now = self.now_ms();
        let (Some(cluster), Some(link)) = (&mut self.cluster, &self.parts.link) else { return };
        cluster.depart(conn_id, link, &mut self.parts.state, now, &mut self.effects);
    }

    pub(super) fn handle_posts(&mut self, context: &mut Context<Self>) {
        let posts = self.cluster.as_mut().map(|cluster| cluster.take_posts()).unwrap_or_default();
        for bytes in posts {
            let Some(cluster) = &mut self.cluster else { return };
            match Post::read(&bytes) {
                Some(Post::Answer { id, answer }) => cluster.questions.answered(id, answer),
                Some(Post::Raised { conn_id }) => cluster.raised(conn_id),
                Some(Post::Ask { from, id, question }) => self.answer((from, id), question, context),
                None => UNREADABLE
                    .log(None, format_args!("a node has sent what this version of the server does not know")),
            }
        }
    }

    fn answer(&mut self, asked: Asked, question: Question, context: &mut Context<Self>) {
        if let Some(conn_id) = question.conn_id() {
            self.release_unknown(conn_id);
        }
        match question {
            Question::Release { conn_id } => self.release_connection(asked, conn_id, context),
            Question::Disconnect { conn_id, why } => {
                let known = self.disconnect(conn_id, &why.read(), context);
                let answer = if known { Answer::Ended { ended: 1, left: 0 } } else { Answer::Unknown };
                self.answer_when_settled(asked, answer, context);
            }
            Question::DisconnectUser { user, why } => {
                let ended = self.disconnect_user(&user, CONNECTIONS_PER_QUESTION, &why.read(), context);
                let answer = ended
                    .map_or(Answer::Unknown, |ended| Answer::Ended { ended: ended.ended, left: ended.left });
                self.answer_when_settled(asked, answer, context);
            }
            Question::Unsubscribe { conn_id, channels } => {
                let request = Unsubscribe { conn_id, channels };
                let answer = match self.unsubscribe(request, Requester::Application, context) {
                    Ok(subscribed) => subscribed_answer(&subscribed),
                    Err(UnknownConnection) => Answer::Unknown,
                };
                self.answer_when_settled(asked, answer, context);
            }
            Question::Connect { conn_id, user, channels } => {
                let request = Connect::again(conn_id, user, channels.clone());
                let connect = |registry: &mut Self, context: &mut _| registry.connect_now(request, context);
                self.answer_when_current(asked, &channels, connect, context);
            }
            Question::Subscribe { conn_id, channels } => {
                let request = Subscribe { conn_id, channels: channels.clone(), channel_configs: Vec::new() };
                let subscribe =
                    |registry: &mut Self, context: &mut _| registry.subscribe_now(request, context);
                self.answer_when_current(asked, &channels, subscribe, context);
            }
            Question::List { .. } | Question::Describe { .. } | Question::DescribeUser { .. } => {
                self.hand_on(ListingQuestion { to: asked.0, id: asked.1, question });
            }
        }
    }

    /// Hands on a question that needs the hubs.
    fn hand_on(&self, question: ListingQuestion) {
        let Some(listings) = &self.parts.listings else { return };
        if let Err(refused) = listings.try_send(question) {
            let ListingQuestion { to, id, .. } = refused.into_inner();
            self.send_answer((to, id), Answer::Busy);
        }
    }

    /// Gives up a connection that this node may own without having it: a request has claimed it, and has ended before it
    /// created the connection.
    fn release_unknown(&self, conn_id: Uuid) {
        let (Some(cluster), Some(link)) = (&self.cluster, &self.parts.link) else { return };
        if self.parts.state.connection(conn_id).is_none() && !cluster.moving.is_between(conn_id) {
            let (conn, data) = (conn_id.to_string(), Vec::new());
            link.send_unanswered(Call::Release { conn, generation: None, data });
        }
    }

    fn release_connection(&mut self, asked: Asked, conn_id: Uuid, context: &mut Context<Self>) {
        let now = self.now_ms();
        let (Some(cluster), Some(link)) = (&mut self.cluster, &self.parts.link) else { return };
        let state = &mut self.parts.state;
        if cluster.is_leaving() {
            // Soon the row contains everything, and names no owner.
            return self.send_answer(asked, Answer::Busy);
        }
        if !cluster.release_connection(conn_id, asked, link, state, now, &mut self.effects) {
            self.send_answer(asked, Answer::Unknown);
        }
        self.apply_in_turns(context);
    }

    /// Acts when the channels are current, and answers.
    fn answer_when_current(
        &mut self,
        asked: Asked,
        channels: &[String],
        act: impl FnOnce(&mut Self, &mut Context<Self>) -> Answer + 'static,
        context: &mut Context<Self>,
    ) {
        let keys: Vec<Arc<str>> = channels.iter().map(|name| channel_key(name)).collect();
        let (waiter, current) = oneshot::channel();
        self.hold_streams(&keys, waiter);
        let then = current.into_actor(self).map(move |current, registry: &mut Self, context| {
            let answer = match current {
                Ok(Ok(())) => act(registry, context),
                _ => Answer::Busy,
            };
            registry.release_streams(&keys);
            registry.answer_when_settled(asked, answer, context);
        });
        context.spawn(then);
    }

    fn connect_now(&mut self, request: Connect, context: &mut Context<Self>) -> Answer {
        let is_known = request.conn_id.is_some_and(|id| self.parts.state.connection(id).is_some());
        if !is_known {
            return Answer::Unknown;
        }
        match self.connect(request, Requester::Application, None, context) {
            Ok(connected) => Answer::Subscribed {
                channels: connected.channels.iter().map(|channel| channel.name.to_string()).collect(),
                changed: Vec::new(),
            },
            Err(ConnectRefused::OverLimit(over)) => {
                Answer::OverLimit { limit: over.limit.setting().to_owned(), bound: over.bound }
            }
            Err(_) => Answer::Unknown,
        }
    }

    fn subscribe_now(&mut self, request: Subscribe, context: &mut Context<Self>) -> Answer {
        match self.subscribe(request, Requester::Application, context) {
            Ok(subscribed) => subscribed_answer(&subscribed),
            Err(SubscribeRefused::UnknownConnection | SubscribeRefused::DemoIsFull) => Answer::Unknown,
            Err(SubscribeRefused::OverLimit(over)) => {
                Answer::OverLimit { limit: over.limit.setting().to_owned(), bound: over.bound }
            }
        }
    }

    /// Answers when Redis knows the members that this node has now.
    fn answer_when_settled(&mut self, asked: Asked, answer: Answer, context: &mut Context<Self>) {
        let (waiter, settled) = oneshot::channel();
        self.flush_to_link();
        self.settle(waiter);
        context.spawn(settled.into_actor(self).map(move |settled, registry: &mut Self, _| {
            let answer = if settled == Ok(Ok(())) { answer } else { Answer::Busy };
            registry.send_answer(asked, answer);
        }));
    }

    fn send_answer(&self, (to, id): Asked, answer: Answer) {
        if let Some(link) = &self.parts.link {
            link.send_unanswered(Call::Send { to, bytes: Post::Answer { id, answer }.write() });
        }
    }
}

fn subscribed_answer(subscribed: &Subscribed) -> Answer {
    Answer::Subscribed {
        channels: subscribed.channels.iter().map(|channel| channel.name.to_string()).collect(),
        changed: subscribed.changed.iter().map(ToString::to_string).collect(),
    }
}
