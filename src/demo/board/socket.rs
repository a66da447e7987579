//! `/demo/board/socket`: the actor of one socket of the board.

use super::{Board, SocketRequest};
use crate::demo::actor_adapter::ActorAdapter;
use crate::demo::subscribers::{ClientQueue, DemoMessage, Enter, Leave, ListenerId};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use std::sync::Arc;

struct BoardSocket {
    id: ListenerId,
    board: Addr<Board>,
    queue: Arc<ClientQueue>,
}

/// Starts the actor of a socket.
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
impl StreamHandler<Result<Message, ProtocolError>> for BoardSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, context: &mut Self::Context) {
        let Ok(Message::Text(text)) = message else { return };
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
