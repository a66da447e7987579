//! Sessions that come to their connections, and go.

use super::Registry;
use super::state::Effect;
use crate::broker::hub::messages::{Attach, Detached, ToHub};
use crate::protocol::websocket::close::CloseReason;
use actix::Handler;

impl Handler<Attach> for Registry {
    type Result = ();

    fn handle(&mut self, request: Attach, context: &mut Self::Context) {
        let Attach { conn_id, place, transport, answer } = request;
        let attached = self.parts.state.attach(conn_id, (place, transport), &mut self.effects);
        match answer {
            // A session that is gone already has said so behind its question.
            Some(answer) => _ = answer.send(attached),
            // As the original does: accepted, and closed at once.
            None if attached.is_err() => {
                let release = ToHub::Release(place.slot, CloseReason::Ended);
                self.effects.push(Effect::Hub(place.hub, release));
            }
            None => {}
        }
        self.apply_in_turns(context);
    }
}

impl Handler<Detached> for Registry {
    type Result = ();

    fn handle(&mut self, gone: Detached, context: &mut Self::Context) {
        let now = self.now_ms();
        self.parts.state.detached(gone, now, &mut self.effects);
        self.apply_in_turns(context);
    }
}
