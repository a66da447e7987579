//! Private messages: one actor holds the streams of all users.

pub(crate) mod state;

use super::channel::HubSenders;
use super::channel::messages::OrderedClose;
use super::hub::messages::Attaching;
use crate::protocol::ids::{ConnKey, ConnectionSlot, Offset, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::time::Timestamp;
use crate::telemetry::in_flight::InFlight;
use actix::{Actor, Context, Handler};
use state::{PrivateEffects, PrivateMessagesState, Recipient};
use std::sync::Arc;

/// Messages to the private message actor. One mailbox keeps them in one order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum ToPrivateMessages {
    /// A connection was created.
    Open(UserId, ConnKey),
    /// A connection ended; the flag says whether it was the user's last one.
    Close(UserId, ConnKey, bool),
    /// A session attaches to its connection.
    Attach(UserId, ConnKey, ConnectionSlot, Attaching),
    /// A session has ended; its client received the stream up to this offset.
    Detach(UserId, ConnKey, Option<Offset>),
    Post(Message, Vec<Recipient>),
    /// An edit of a private message.
    Edit(Edit, Vec<Recipient>),
    /// A deletion of a private message.
    Delete(Delete, Vec<Recipient>),
    /// Sessions must close after everything posted so far. The actor only drops the value.
    OrderedClose(Arc<OrderedClose>),
}

impl ToPrivateMessages {
    /// Whether this publishes something to users, and therefore counts as in flight.
    pub fn is_publication(&self) -> bool {
        matches!(
            self,
            ToPrivateMessages::Post(..) | ToPrivateMessages::Edit(..) | ToPrivateMessages::Delete(..)
        )
    }
}

/// The private message actor.
///
/// Owns: one [`PrivateMessagesState`].
/// Started by: `server`, on the registry's thread.
/// Ends: with the registry.
/// Mailbox: bounded by [`InFlight::channels`], like those of channels.
/// Talks to: the hubs that hold the users' sessions.
pub struct PrivateMessages {
    state: PrivateMessagesState,
    hubs: Arc<HubSenders>,
    in_flight: Arc<InFlight>,
    effects: PrivateEffects,
}

impl PrivateMessages {
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
            ToPrivateMessages::OrderedClose(ordered_close) => drop(ordered_close),
            ToPrivateMessages::Open(user, conn) => state.open(user, conn),
            ToPrivateMessages::Close(user, conn, last) => state.close(user, conn, last),
            ToPrivateMessages::Attach(user, conn, location, attaching) => {
                state.attach(user, conn, location, attaching, effects)
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Post(message, recipients) => {
                state.post(message, &recipients, &Timestamp::now(), effects)
            }
            ToPrivateMessages::Edit(edit, recipients) => {
                state.edit(&edit, &recipients, &Timestamp::now(), effects)
            }
            ToPrivateMessages::Delete(delete, recipients) => {
                state.delete(&delete, &recipients, &Timestamp::now(), effects)
            }
        }
        self.hubs.apply(self.effects.drain(..), &self.in_flight);
    }
}
