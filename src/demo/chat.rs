//! `/demo/chat`: everybody gets what anybody says.
//!
//! One actor is the room; each socket is an actor of actix-web-actors.

use super::actor_adapter::Bridge;
use super::subscribers::{Audience, Enter, Lane, Leave, ListenerId, Said};
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
/// Talks to: the sockets, as far as they keep up (see [`Audience`]).
#[derive(Default)]
pub struct Room {
    audience: Audience,
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
struct Say(Said);

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
    lane: Arc<Lane>,
}

/// Starts the actor of a socket.
pub fn join(room: Addr<Room>, lane: Lane) -> Bridge {
    let lane = Arc::new(lane);
    Bridge::new(ChatSocket { id: ListenerId::fresh(), room, lane: lane.clone() }, lane)
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
            Ok(ws::Message::Text(text)) => Said::Text(text),
            Ok(ws::Message::Binary(bytes)) => Said::Binary(bytes),
            _ => return,
        };
        // The next message is not read before this one is out: nobody can fill the room's mailbox.
        context.wait(self.room.send(Say(said)).into_actor(self).map(|_, _, _| ()));
    }
}

/// What the room says.
impl Handler<Said> for ChatSocket {
    type Result = ();

    fn handle(&mut self, said: Said, context: &mut Self::Context) {
        self.lane.arrived(&said);
        match said {
            Said::Text(text) => context.text(text),
            Said::Binary(bytes) => context.binary(bytes),
        }
    }
}
