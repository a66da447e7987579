//! The channel board: channels that anybody makes and deletes over HTTP, and sockets that hear of it.
//!
//! A server-sent `new` and `del` go to all sockets, `msg` to those that have subscribed to its channel.
//! The protocol is told in `docs/board.md`.

pub mod routes;
pub mod socket;
mod state;

use super::subscribers::{DemoMessage, Enter, Leave, ListenerId, Subscribers};
use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use serde::Serialize;
use serde_json::Value;
use state::{BoardState, NotCreated};

/// Under which its paths lie.
pub const PREFIX: &str = "/demo/board/";

/// The board.
///
/// Owns: the channels, their subscriptions, and the list of sockets.
/// Started by: [`super::Demo::start`].
/// Ends: with its thread.
/// Mailbox: no more than one message of each socket and one of each request, for all of them wait for the answer;
/// requests are counted and refused with 503 when there are too many.
/// Talks to: the sockets, as far as they keep up (see [`Subscribers`]).
#[derive(Default)]
pub struct Board {
    state: BoardState<ListenerId>,
    audience: Subscribers,
}

impl Actor for Board {
    type Context = Context<Self>;
}

/// What sockets are told.
#[derive(Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
enum Event<'a> {
    New { id: &'a str },
    Del { id: &'a str },
    Msg { id: &'a str, msg: &'a Value },
}

impl Event<'_> {
    fn said(&self) -> DemoMessage {
        // Texts and JSON values can always be written.
        DemoMessage::Text(serde_json::to_string(self).unwrap_or_default().into())
    }
}

impl Board {
    /// Tells everybody, and lets the sockets of this thread have their turn before more is said.
    fn announce(&mut self, event: &Event<'_>, context: &mut Context<Self>) {
        self.audience.tell_all(&event.said());
        context.wait(tokio::task::yield_now().into_actor(self));
    }
}

/// A new socket hears of all channels there are.
impl Handler<Enter> for Board {
    type Result = ();

    fn handle(&mut self, enter: Enter, _: &mut Self::Context) {
        let id = enter.id;
        self.audience.enter(enter);
        for name in self.state.names() {
            self.audience.tell(id, &Event::New { id: name }.said());
        }
    }
}

impl Handler<Leave> for Board {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Self::Context) {
        self.audience.leave(id);
        self.state.leave(id);
    }
}

/// Makes a channel and tells everybody.
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

/// Deletes a channel and tells everybody. False if there is none of this name.
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

/// Tells the subscribers of a channel something. False if there is none of this name.
#[derive(Message)]
#[rtype(result = "bool")]
struct Push(String, Value);

impl Handler<Push> for Board {
    type Result = bool;

    fn handle(&mut self, Push(name, msg): Push, context: &mut Self::Context) -> bool {
        let Some(subscribers) = self.state.subscribers(&name) else { return false };
        let said = Event::Msg { id: &name, msg: &msg }.said();
        subscribers.for_each(|id| self.audience.tell(id, &said));
        context.wait(tokio::task::yield_now().into_actor(self));
        true
    }
}

/// A socket subscribes to a channel or ends its subscription.
#[derive(Message)]
#[rtype(result = "()")]
enum Ask {
    Subscribe(ListenerId, String),
    Unsubscribe(ListenerId, String),
}

impl Handler<Ask> for Board {
    type Result = ();

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) {
        match ask {
            Ask::Subscribe(id, name) => self.state.subscribe(id, &name),
            Ask::Unsubscribe(id, name) => self.state.unsubscribe(id, &name),
        }
    }
}
