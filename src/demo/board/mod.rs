//! The channel board: any client can create and delete channels over HTTP, and sockets receive these changes.
//!
//! The events `new` and `del` go to all sockets, `msg` goes to those that have subscribed to its channel.
//! `docs/board.md` describes the protocol.

pub mod routes;
pub mod state;

use super::actor_adapter::ActorAdapter;
use super::subscribers::{ClientQueue, DemoMessage, Enter, Leave, ListenerId, Subscribers};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use actix_web_actors::ws::{self, ProtocolError, WebsocketContext};
use serde::Serialize;
use serde_json::Value;
use state::{BoardState, NotCreated};
use std::sync::Arc;

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

/// The actor of one socket.
struct BoardSocket {
    id: ListenerId,
    board: Addr<Board>,
    queue: Arc<ClientQueue>,
}

/// Starts the actor of a socket of `/demo/board/socket`.
pub fn open(board: Addr<Board>, queue: ClientQueue) -> ActorAdapter {
    let queue = Arc::new(queue);
    ActorAdapter::new(BoardSocket { id: ListenerId::fresh(), board, queue: queue.clone() }, queue)
}

impl BoardSocket {
    /// `subX` or `popX`; other texts are ignored.
    fn read(&self, text: &str) -> Option<SocketRequest> {
        let (verb, name) = text.split_at_checked(3)?;
        match verb {
            "sub" => Some(SocketRequest::Subscribe(self.id, name.to_owned())),
            "pop" => Some(SocketRequest::Unsubscribe(self.id, name.to_owned())),
            _ => None,
        }
    }
}

impl Actor for BoardSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let actor = context.address().recipient();
        self.board.do_send(Enter { id: self.id, actor, queue: self.queue.clone() });
    }

    /// Runs regardless of how the socket ended. Its subscriptions end with it.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.board.do_send(Leave(self.id));
    }
}

/// Requests from the peer. Binary messages are ignored, as are texts that are not requests.
impl StreamHandler<Result<ws::Message, ProtocolError>> for BoardSocket {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, context: &mut Self::Context) {
        let Ok(ws::Message::Text(text)) = message else { return };
        if let Some(request) = self.read(&text) {
            // The next request is read only after this one is done, so that no socket can fill the board's mailbox.
            context.wait(self.board.send(request).into_actor(self).map(|_, _, _| ()));
        }
    }
}

/// Events from the board.
impl Handler<DemoMessage> for BoardSocket {
    type Result = ();

    fn handle(&mut self, message: DemoMessage, context: &mut Self::Context) {
        self.queue.record_received(&message);
        if let DemoMessage::Text(text) = message {
            context.text(text);
        }
    }
}
