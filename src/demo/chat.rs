//! `/demo/chat`: every client receives every message.
//!
//! One actor is the room. In addition, each socket has an actor of actix-web-actors.

use super::actor_adapter::ActorAdapter;
use super::subscribers::{ClientQueue, DemoMessage, Enter, Leave, ListenerId, Subscribers};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use actix_web_actors::ws::{self, ProtocolError, WebsocketContext};
use std::sync::Arc;

/// Owns: the list of its members.
/// Started by: [`super::Demo::start`].
/// Ends: with its thread.
/// Mailbox: at most one message of each socket, because a socket waits until its message has been passed on.
/// Talks to: the sockets that keep up (see [`Subscribers`]).
#[derive(Default)]
pub struct Room {
    subscribers: Subscribers,
}

impl Actor for Room {
    type Context = Context<Self>;
}

impl Handler<Enter> for Room {
    type Result = ();

    fn handle(&mut self, enter: Enter, _: &mut Self::Context) {
        self.subscribers.enter(enter);
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Self::Context) {
        self.subscribers.leave(id);
    }
}

/// A message for all members.
#[derive(Message)]
#[rtype(result = "()")]
struct Broadcast(DemoMessage);

impl Handler<Broadcast> for Room {
    type Result = ();

    fn handle(&mut self, Broadcast(message): Broadcast, context: &mut Self::Context) {
        self.subscribers.send_to_all(&message);
        // The sockets of this thread run first, so that a burst reaches them message by message.
        context.wait(tokio::task::yield_now().into_actor(self));
    }
}

struct ChatSocket {
    id: ListenerId,
    room: Addr<Room>,
    queue: Arc<ClientQueue>,
}

/// Starts the actor of a socket.
pub fn join(room: Addr<Room>, queue: ClientQueue) -> ActorAdapter {
    let queue = Arc::new(queue);
    ActorAdapter::new(ChatSocket { id: ListenerId::fresh(), room, queue: queue.clone() }, queue)
}

impl Actor for ChatSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let actor = context.address().recipient();
        self.room.do_send(Enter { id: self.id, actor, queue: self.queue.clone() });
    }

    /// Runs regardless of how the socket ended: closed, broken, silent for too long, or too slow.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.room.do_send(Leave(self.id));
    }
}

/// Messages from the peer.
impl StreamHandler<Result<ws::Message, ProtocolError>> for ChatSocket {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, context: &mut Self::Context) {
        let message = match message {
            Ok(ws::Message::Text(text)) => DemoMessage::Text(text),
            Ok(ws::Message::Binary(bytes)) => DemoMessage::Binary(bytes),
            _ => return,
        };
        // The next message is read only after this one is passed on, so that no socket can fill the room's mailbox.
        context.wait(self.room.send(Broadcast(message)).into_actor(self).map(|_, _, _| ()));
    }
}

/// Messages from the room.
impl Handler<DemoMessage> for ChatSocket {
    type Result = ();

    fn handle(&mut self, message: DemoMessage, context: &mut Self::Context) {
        self.queue.record_received(&message);
        match message {
            DemoMessage::Text(text) => context.text(text),
            DemoMessage::Binary(bytes) => context.binary(bytes),
        }
    }
}
