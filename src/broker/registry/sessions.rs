//! Attach requests and reports of ended sessions.

use super::Registry;
use super::state::Effect;
use crate::broker::hub::messages::{Attach, Detached, ToHub};
use crate::protocol::websocket::close::CloseReason;
use actix::Handler;

impl Handler<Attach> for Registry {
    type Result = ();

    fn handle(&mut self, request: Attach, context: &mut Self::Context) {
        let Attach { conn_id, location, transport, answer } = request;
        let attached = self.parts.state.attach(conn_id, (location, transport), &mut self.effects);
        match answer {
            // If the session has already ended, its `Detached` follows this request.
            Some(answer) => _ = answer.send(attached),
            // Like the original: accepted and closed immediately.
            None if attached.is_err() => {
                let release = ToHub::Release(location.slot, CloseReason::Ended);
                self.effects.push(Effect::Hub(location.hub, release));
            }
            None => {}
        }
        self.apply_in_turns(context);
    }
}

impl Handler<Detached> for Registry {
    type Result = ();

    fn handle(&mut self, detached: Detached, context: &mut Self::Context) {
        let now = self.now_ms();
        self.parts.state.detached(detached, now, &mut self.effects);
        self.apply_in_turns(context);
    }
}
