//! The actor of one websocket. It owns the socket; the hub writes to it through the shared outbox.

use super::driver::Driver;
use crate::hub::handle::HubHandle;
use crate::hub::messages::{AttachRefused, Transport};
use crate::ids::SlotKey;
use crate::observe::pressure::Counted;
use crate::outbox::Outbox;
use crate::wire::websocket::close::CloseReason;
use crate::wire::websocket::decoder::{Decoder, Incoming};
use crate::wire::websocket::{Opcode, frame};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Running, WrapFuture};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use uuid::Uuid;

/// How long a peer may take to answer our goodbye before the socket is dropped.
const GOODBYE: Duration = Duration::from_secs(2);

/// The websocket session.
///
/// Owns: the socket (in its outbox) and the decoder of what the peer sends.
/// Started by: the upgrade service, after the handshake, on the connection's thread.
/// Ends: when the socket is closed; then it is gone from its hub as well.
/// Mailbox: none of its own; it is woken by its socket and by its outbox.
/// Talks to: its hub (attach, detach).
pub struct WebsocketSession {
    conn_id: Uuid,
    slot: SlotKey,
    hub: HubHandle,
    outbox: Rc<Outbox>,
    decoder: Decoder,
    leaving: bool,
    _counted: Counted,
}

impl WebsocketSession {
    /// Starts a session on a socket whose handshake is done. `rest` is what came right behind the handshake.
    pub fn start(conn_id: Uuid, socket: TcpStream, rest: &[u8], hub: HubHandle) {
        let settings = hub.settings().clone();
        let outbox = Rc::new(Outbox::socket(socket, settings.max_queued_bytes, hub.now_ms()));
        let slot = hub.open(conn_id, Transport::Websocket, outbox.clone());
        let mut decoder = Decoder::new(settings.max_client_message_bytes);
        decoder.feed(rest);
        let _counted = hub.count_session();
        Actor::start(Self { conn_id, slot, hub, outbox, decoder, leaving: false, _counted });
    }

    pub(super) fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    /// Takes what the socket gave, and answers what wants an answer.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.outbox.hear(self.hub.now_ms());
        self.decoder.feed(bytes);
        self.read_messages();
    }

    fn read_messages(&mut self) {
        loop {
            match self.decoder.decode() {
                Ok(Some(Incoming::Ping(payload))) => {
                    // A full queue decides about this peer at the next frame; a lost pong does not.
                    let _ = self.outbox.push_control(&frame(Opcode::Pong, &payload));
                }
                Ok(Some(Incoming::Close(code))) => return self.leave(CloseReason::ByPeer(code)),
                // Input of any kind only shows that the peer lives (behaviour of the original).
                Ok(Some(Incoming::Text(_) | Incoming::Binary(_) | Incoming::Pong)) => {}
                Ok(None) => return,
                Err(reason) => return self.leave(reason),
            }
        }
    }

    /// Gone from the hub at once; the peer is told.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        self.hub.detach(self.slot);
        self.outbox.close(reason);
    }

    /// The goodbye has been queued: give the peer a moment to answer it.
    pub(super) fn begin_leaving(&mut self, context: &mut Context<Self>) {
        if !self.leaving {
            self.leaving = true;
            context.run_later(GOODBYE, |_, context| context.stop());
        }
    }

    fn attach(&self, context: &mut Context<Self>) {
        let asked = self.hub.attach(self.conn_id, self.slot, Transport::Websocket);
        context.spawn(asked.into_actor(self).map(|answer, session, _| match answer {
            Ok(Ok(())) => {}
            // As the original does: accepted, and closed at once.
            Ok(Err(AttachRefused::UnknownConnection)) => session.leave(CloseReason::Ended),
            Err(_) => session.leave(CloseReason::GoingAway),
        }));
    }
}

impl Actor for WebsocketSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.attach(context);
        self.read_messages();
        context.spawn(Driver);
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.hub.detach(self.slot);
        Running::Stop
    }
}
