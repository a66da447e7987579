//! `/demo/chat`: everybody gets what anybody says.
//!
//! One actor is the room; each socket is an actor of actix-web-actors.

use super::actor_adapter::ActorAdapter;
use super::subscribers::{ClientQueue, DemoMessage, Enter, Leave, ListenerId, Subscribers};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use actix_web_actors::ws::{self, ProtocolError, WebsocketContext};
use std::sync::Arc;

/// The room.
///
/// Owns: the list of who is there.
/// Started by: [`super::Demo::start`].
/// Ends: with its thread.
/// Mailbox: no more than one message of each socket, for a socket waits until its message has been passed on.
/// Talks to: the sockets, as far as they keep up (see [`Subscribers`]).
#[derive(Default)]
pub struct Room {
    audience: Subscribers,
}

impl Actor for Room {
    type Context = Context<Self>;
}

impl Handler<Enter> for Room {
    type Result = ();

    fn handle(&mut self, enter: Enter, _: &mut Self::Context) {
        self.audience.enter(enter);
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Self::Context) {
        self.audience.leave(id);
    }
}

/// Somebody says something to all.
#[derive(Message)]
#[rtype(result = "()")]
struct Say(DemoMessage);

impl Handler<Say> for Room {
    type Result = ();

    fn handle(&mut self, Say(said): Say, context: &mut Self::Context) {
        self.audience.tell_all(&said);
        // The sockets of this thread get their turn, so that a burst reaches them message by message.
        context.wait(tokio::task::yield_now().into_actor(self));
    }
}

/// One socket of the room.
struct ChatSocket {
    id: ListenerId,
    room: Addr<Room>,
    lane: Arc<ClientQueue>,
}

/// Starts the actor of a socket.
pub fn join(room: Addr<Room>, lane: ClientQueue) -> ActorAdapter {
    let lane = Arc::new(lane);
    ActorAdapter::new(ChatSocket { id: ListenerId::fresh(), room, lane: lane.clone() }, lane)
}

impl Actor for ChatSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let actor = context.address().recipient();
        self.room.do_send(Enter { id: self.id, actor, lane: self.lane.clone() });
    }

    /// Runs however the socket ended: closed, broken, silent for too long, or too slow.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.room.do_send(Leave(self.id));
    }
}

/// What the peer says.
impl StreamHandler<Result<ws::Message, ProtocolError>> for ChatSocket {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, context: &mut Self::Context) {
        let said = match message {
            Ok(ws::Message::Text(text)) => DemoMessage::Text(text),
            Ok(ws::Message::Binary(bytes)) => DemoMessage::Binary(bytes),
            _ => return,
        };
        // The next message is not read before this one is out: nobody can fill the room's mailbox.
        context.wait(self.room.send(Say(said)).into_actor(self).map(|_, _, _| ()));
    }
}

/// What the room says.
impl Handler<DemoMessage> for ChatSocket {
    type Result = ();

    fn handle(&mut self, said: DemoMessage, context: &mut Self::Context) {
        self.lane.arrived(&said);
        match said {
            DemoMessage::Text(text) => context.text(text),
            DemoMessage::Binary(bytes) => context.binary(bytes),
        }
    }
}
