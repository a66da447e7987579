//! The channel board: any client can create and delete channels over HTTP, and sockets receive these changes.
//!
//! The events `new` and `del` go to all sockets, `msg` goes to those that have subscribed to its channel.
//! `docs/board.md` describes the protocol.

pub mod routes;
pub mod socket;
mod state;

use super::subscribers::{DemoMessage, Enter, Leave, ListenerId, Subscribers};
use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use serde::Serialize;
use serde_json::Value;
use state::{BoardState, NotCreated};

/// The prefix of its paths.
pub const PREFIX: &str = "/demo/board/";

/// Owns: the channels, their subscriptions, and the list of sockets.
/// Started by: [`super::Demo::start`].
/// Ends: with its thread.
/// Mailbox: at most one message of each socket and one of each request, because all of them wait for the answer.
/// Requests are counted, and refused with 503 when there are too many.
/// Talks to: the sockets that keep up (see [`Subscribers`]).
#[derive(Default)]
pub struct Board {
    state: BoardState<ListenerId>,
    subscribers: Subscribers,
}

impl Actor for Board {
    type Context = Context<Self>;
}

/// The events that sockets receive.
#[derive(Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
enum Event<'a> {
    New { id: &'a str },
    Del { id: &'a str },
    Msg { id: &'a str, msg: &'a Value },
}

impl Event<'_> {
    fn to_message(&self) -> DemoMessage {
        // Strings and JSON values can always be serialized.
        DemoMessage::Text(serde_json::to_string(self).unwrap_or_default().into())
    }
}

impl Board {
    /// Sends an event to all sockets, then lets the sockets of this thread run before the next one.
    fn announce(&mut self, event: &Event<'_>, context: &mut Context<Self>) {
        self.subscribers.send_to_all(&event.to_message());
        context.wait(tokio::task::yield_now().into_actor(self));
    }
}

/// A new socket receives all existing channels.
impl Handler<Enter> for Board {
    type Result = ();

    fn handle(&mut self, enter: Enter, _: &mut Self::Context) {
        let id = enter.id;
        self.subscribers.enter(enter);
        for name in self.state.names() {
            self.subscribers.send(id, &Event::New { id: name }.to_message());
        }
    }
}

impl Handler<Leave> for Board {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Self::Context) {
        self.subscribers.leave(id);
        self.state.leave(id);
    }
}

/// Creates a channel and notifies all sockets.
#[derive(Message)]
#[rtype(result = "Result<(), NotCreated>")]
struct Create(String);

impl Handler<Create> for Board {
    type Result = Result<(), NotCreated>;

    fn handle(&mut self, Create(name): Create, context: &mut Self::Context) -> Self::Result {
        self.state.create(name.clone())?;
        self.announce(&Event::New { id: &name }, context);
        Ok(())
    }
}

/// Deletes a channel and notifies all sockets. Returns false if there is no channel of this name.
#[derive(Message)]
#[rtype(result = "bool")]
struct BoardDelete(String);

impl Handler<BoardDelete> for Board {
    type Result = bool;

    fn handle(&mut self, BoardDelete(name): BoardDelete, context: &mut Self::Context) -> bool {
        let deleted = self.state.delete(&name);
        if deleted {
            self.announce(&Event::Del { id: &name }, context);
        }
        deleted
    }
}

/// Whether there is a channel of this name.
#[derive(Message)]
#[rtype(result = "bool")]
struct Exists(String);

impl Handler<Exists> for Board {
    type Result = bool;

    fn handle(&mut self, Exists(name): Exists, _: &mut Self::Context) -> bool {
        self.state.subscribers(&name).is_some()
    }
}

/// Sends a value to the subscribers of a channel. Returns false if there is no channel of this name.
#[derive(Message)]
#[rtype(result = "bool")]
struct Push(String, Value);

impl Handler<Push> for Board {
    type Result = bool;

    fn handle(&mut self, Push(name, msg): Push, context: &mut Self::Context) -> bool {
        let Some(subscribers) = self.state.subscribers(&name) else { return false };
        let message = Event::Msg { id: &name, msg: &msg }.to_message();
        subscribers.for_each(|id| self.subscribers.send(id, &message));
        context.wait(tokio::task::yield_now().into_actor(self));
        true
    }
}

/// A socket subscribes to a channel or ends its subscription.
#[derive(Message)]
#[rtype(result = "()")]
enum SocketRequest {
    Subscribe(ListenerId, String),
    Unsubscribe(ListenerId, String),
}

impl Handler<SocketRequest> for Board {
    type Result = ();

    fn handle(&mut self, request: SocketRequest, _: &mut Self::Context) {
        match request {
            SocketRequest::Subscribe(id, name) => self.state.subscribe(id, &name),
            SocketRequest::Unsubscribe(id, name) => self.state.unsubscribe(id, &name),
        }
    }
}
