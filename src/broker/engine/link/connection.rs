//! A connection to Redis: requests in order, their replies, and the mail.

use super::super::call::{Call, Sender};
use super::super::reply::Reply;
use super::super::scripts::LIBRARY;
use super::pushes::{End, Pushes};
use super::verdict::Failure;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What a request contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Pipeline,
    Urgent,
    Scripts,
}

/// The reply to a request.
#[derive(Debug)]
pub struct Landed {
    pub request: Request,
    pub roundtrip: Duration,
    /// An error means that the connection is broken; errors of single commands are values.
    pub values: RedisResult<Vec<Value>>,
}

/// What a connection has received. All mail that preceded one of the replies is part of it.
#[derive(Debug, Default)]
pub struct Arrivals {
    pub landed: Vec<Landed>,
    pub mail: Vec<Vec<u8>>,
    pub end: Option<End>,
}

impl Arrivals {
    pub fn is_empty(&self) -> bool {
        self.landed.is_empty() && self.mail.is_empty() && self.end.is_none()
    }
}

/// A connection on which the node has joined. Dropping it closes it.
pub struct Connection {
    redis: MultiplexedConnection,
    pushes: Arc<Pushes>,
    /// In the order of sending, which is that of the replies.
    flights: FuturesOrdered<BoxFuture<'static, (Request, RedisResult<Vec<Value>>)>>,
    sent_at: VecDeque<Instant>,
    /// Ends when Sentinels name another master. `None` without Sentinels.
    moved: Option<BoxFuture<'static, ()>>,
}

impl Connection {
    pub fn new(
        redis: MultiplexedConnection,
        pushes: Arc<Pushes>,
        moved: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self { redis, pushes, flights: FuturesOrdered::new(), sent_at: VecDeque::new(), moved }
    }

    /// Sends commands behind all earlier ones. They leave at the next [`Connection::poll`].
    pub fn send(&mut self, request: Request, commands: Vec<Cmd>, now: Instant) {
        let mut redis = self.redis.clone();
        self.sent_at.push_back(now);
        self.flights.push_back(Box::pin(async move { (request, run(&mut redis, commands).await) }));
    }

    /// When the oldest unanswered request was sent.
    pub fn oldest_unanswered(&self) -> Option<Instant> {
        self.sent_at.front().copied()
    }

    /// Takes everything that has arrived, the replies before the mail: so no reply passes mail that preceded it.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Arrivals {
        let mut landed = Vec::new();
        while let Poll::Ready(Some((request, values))) = self.flights.poll_next_unpin(context) {
            let roundtrip = self.sent_at.pop_front().map_or(Duration::ZERO, |sent| sent.elapsed());
            landed.push(Landed { request, roundtrip, values });
        }
        self.pushes.register(context.waker());
        let (mail, mut end) = self.pushes.take();
        if self.moved.as_mut().is_some_and(|moved| moved.as_mut().poll(context).is_ready()) {
            (self.moved, end) = (None, end.or(Some(End::Moved)));
        }
        Arrivals { landed, mail, end }
    }
}

/// Runs commands as one pipeline.
pub async fn run(redis: &mut MultiplexedConnection, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
    let (mut pipeline, count) = (Pipeline::with_capacity(commands.len()), commands.len());
    commands.into_iter().for_each(|command| _ = pipeline.add_command(command));
    redis.send_packed_commands(&pipeline, 0, count).await
}

/// The command that runs a script.
pub fn command(partition: &str, call: &Call, sender: &Sender) -> Cmd {
    // The name says which version of the code the node needs.
    let mut command = redis::cmd("FCALL");
    command.arg(call.script().function()).arg(1).arg(partition);
    call.arguments(sender).0.iter().for_each(|argument| _ = command.arg(argument.as_slice()));
    command
}

/// The command that waits until this many replicas have all earlier changes of the connection, and returns how many do.
pub fn wait_command(replicas: u64, limit: Duration) -> Cmd {
    let mut command = redis::cmd("WAIT");
    // Zero would mean no limit.
    command.arg(replicas).arg(limit.as_millis().max(1) as u64);
    command
}

/// The command that loads the library of scripts.
pub fn load_command() -> Cmd {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg(&LIBRARY.source);
    command
}

/// Whether the library is loaded, according to the answer to [`load_command`]. Another node may have been earlier.
pub fn is_loaded(answer: &Result<Reply, Failure>) -> bool {
    answer.as_ref().map_or_else(|failure| failure.text.contains("already exists"), |_| true)
}

/// What Redis answered to a command.
pub fn answer(value: Value) -> Result<Reply, Failure> {
    match value {
        Value::ServerError(error) => {
            let code = error.code().to_owned();
            Err(Failure { text: format!("{code} {}", error.details().unwrap_or_default()), code })
        }
        value => Reply::read(value).ok_or_else(|| {
            let text = "a value that no script returns".to_owned();
            Failure { code: String::new(), text }
        }),
    }
}
