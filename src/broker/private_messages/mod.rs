//! Private messages: one actor keeps every user's stream of them.

pub mod state;

use super::channel::HubSenders;
use super::channel::ordered_close::OrderedClose;
use super::hub::messages::CatchUpPart;
use crate::protocol::ids::{ConnKey, ConnectionSlot, Offset, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::telemetry::in_flight::InFlight;
use actix::{Actor, Context, Handler};
use state::{PrivateEffects, PrivateMessagesState, Recipient};
use std::sync::Arc;

/// What the private message streams are told. One mailbox, one order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum ToPrivateMessages {
    /// A connection begins.
    Open(UserId, ConnKey),
    /// A connection ends; it was its user's last one, or not.
    Close(UserId, ConnKey, bool),
    /// A session attaches.
    Attach(UserId, ConnKey, ConnectionSlot, CatchUpPart),
    /// A session is gone; its peer got this far.
    Detach(UserId, ConnKey, Option<Offset>),
    /// A private message.
    Post(Message, Vec<Recipient>),
    /// A change of one.
    Edit(Edit, Vec<Recipient>),
    /// The end of one.
    Delete(Delete, Vec<Recipient>),
    /// Sessions are to go behind everything posted so far; dropping it is all there is to do.
    OrderedClose(Arc<OrderedClose>),
}

impl ToPrivateMessages {
    /// Whether this passes something on to users, and so counts as one under way.
    pub fn is_publication(&self) -> bool {
        matches!(
            self,
            ToPrivateMessages::Post(..) | ToPrivateMessages::Edit(..) | ToPrivateMessages::Delete(..)
        )
    }
}

/// The inbox actor.
///
/// Owns: one [`PrivateMessagesState`].
/// Started by: `app`, on the registry's thread.
/// Ends: with the registry.
/// Mailbox: bounded by [`InFlight::channels`], as those of channels.
/// Talks to: the hubs of the users' sessions.
pub struct PrivateMessages {
    state: PrivateMessagesState,
    hubs: Arc<HubSenders>,
    in_flight: Arc<InFlight>,
    effects: PrivateEffects,
}

impl PrivateMessages {
    /// Inboxes with this state.
    pub fn new(state: PrivateMessagesState, hubs: Arc<HubSenders>, in_flight: Arc<InFlight>) -> Self {
        Self { state, hubs, in_flight, effects: Vec::new() }
    }
}

impl Actor for PrivateMessages {
    type Context = Context<Self>;
}

impl Handler<ToPrivateMessages> for PrivateMessages {
    type Result = ();

    fn handle(&mut self, message: ToPrivateMessages, _: &mut Self::Context) {
        if message.is_publication() {
            self.in_flight.channels.sub(1);
        }
        let (state, effects) = (&mut self.state, &mut self.effects);
        match message {
            ToPrivateMessages::OrderedClose(share) => drop(share),
            ToPrivateMessages::Open(user, conn) => state.open(user, conn),
            ToPrivateMessages::Close(user, conn, last) => state.close(user, conn, last),
            ToPrivateMessages::Attach(user, conn, place, part) => {
                state.attach(user, conn, place, part, effects)
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Post(message, recipients) => state.post(message, &recipients, effects),
            ToPrivateMessages::Edit(edit, recipients) => state.edit(&edit, &recipients, effects),
            ToPrivateMessages::Delete(delete, recipients) => state.delete(&delete, &recipients, effects),
        }
        self.hubs.apply(self.effects.drain(..), &self.in_flight);
    }
}
