//! `/demo/board/socket`: the actor of one socket of the board.

use super::{Ask, Board};
use crate::demo::actor_adapter::ActorAdapter;
use crate::demo::subscribers::{ClientQueue, DemoMessage, Enter, Leave, ListenerId};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use std::sync::Arc;

struct BoardSocket {
    id: ListenerId,
    board: Addr<Board>,
    lane: Arc<ClientQueue>,
}

/// Starts the actor of a socket.
pub fn open(board: Addr<Board>, lane: ClientQueue) -> ActorAdapter {
    let lane = Arc::new(lane);
    ActorAdapter::new(BoardSocket { id: ListenerId::fresh(), board, lane: lane.clone() }, lane)
}

impl BoardSocket {
    /// `subX` or `popX`; anything else says nothing to us.
    fn read(&self, text: &str) -> Option<Ask> {
        let (verb, name) = text.split_at_checked(3)?;
        match verb {
            "sub" => Some(Ask::Subscribe(self.id, name.to_owned())),
            "pop" => Some(Ask::Unsubscribe(self.id, name.to_owned())),
            _ => None,
        }
    }
}

impl Actor for BoardSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let actor = context.address().recipient();
        self.board.do_send(Enter { id: self.id, actor, lane: self.lane.clone() });
    }

    /// Runs however the socket ended; its subscriptions end with it.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.board.do_send(Leave(self.id));
    }
}

/// What the peer asks for. Binary messages are ignored like any text that is no request.
impl StreamHandler<Result<Message, ProtocolError>> for BoardSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, context: &mut Self::Context) {
        let Ok(Message::Text(text)) = message else { return };
        if let Some(ask) = self.read(&text) {
            // The next request is not read before this one is done: nobody can fill the board's mailbox.
            context.wait(self.board.send(ask).into_actor(self).map(|_, _, _| ()));
        }
    }
}

/// What the board tells.
impl Handler<DemoMessage> for BoardSocket {
    type Result = ();

    fn handle(&mut self, said: DemoMessage, context: &mut Self::Context) {
        self.lane.arrived(&said);
        if let DemoMessage::Text(text) = said {
            context.text(text);
        }
    }
}
