//! Private messages: one actor holds the streams of all users.

pub(crate) mod decisions;
pub(crate) mod state;

use super::channel::HubSenders;
use super::channel::messages::OrderedClose;
use super::hub::messages::Attaching;
use super::marking::MarkPassage;
use super::receipts::{PrivateReceiptSlot, Receipt, ReceiptSlot, StreamReceipt};
use crate::broker::registry::cluster::departure::Departure;
use crate::broker::registry::cluster::peers::MovedPlace;
use crate::protocol::ids::{ConnKey, ConnectionSlot, Offset, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::time::Timestamp;
use crate::telemetry::in_flight::InFlight;
use actix::{Actor, Context, Handler};
use decisions::{PrivateCopy, PrivateEntry};
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
    /// A private message, with a slot if a request waits for its receipt.
    Post(Message, Vec<Recipient>, Option<Box<PrivateReceiptSlot>>),
    /// An edit of a private message.
    Edit(Edit, Vec<Recipient>, Option<Box<PrivateReceiptSlot>>),
    /// A deletion of a private message.
    Delete(Delete, Vec<Recipient>, Option<Box<PrivateReceiptSlot>>),
    /// A request needs to know whether an item is still kept. Contains the receipts of its users.
    Recheck(Vec<(Option<UserId>, StreamReceipt)>, ReceiptSlot),
    /// The connection of this user moves to another node, which needs its place.
    Depart(UserId, ConnKey, Arc<Departure>),
    /// The connection of this user has come from another node, where it had this place.
    Adopt(UserId, ConnKey, MovedPlace),
    /// Redis has decided about the stream of this user.
    Apply(Box<PrivateEntry>, Recipient),
    /// What Redis stores of the stream of this user.
    Load(Box<PrivateCopy>, Recipient),
    /// This node no longer follows the stream of this user.
    Forget(UserId),
    /// Sessions must close after everything posted so far. The actor only drops the value.
    OrderedClose(Arc<OrderedClose>),
    /// A delivery mark passes. The actor only drops the value.
    Mark(Arc<MarkPassage>),
}

impl ToPrivateMessages {
    /// Whether this belongs to a request that the API may refuse, and therefore counts as in flight.
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            ToPrivateMessages::Post(..)
                | ToPrivateMessages::Edit(..)
                | ToPrivateMessages::Delete(..)
                | ToPrivateMessages::Recheck(..)
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

/// Fills the slot of an item that was just sent.
pub fn fill(slot: Option<Box<PrivateReceiptSlot>>, state: &PrivateMessagesState) {
    if let Some(slot) = slot {
        slot.fill(|user, online| StreamReceipt { online, ..state.receipt(user) });
    }
}

impl Handler<ToPrivateMessages> for PrivateMessages {
    type Result = ();

    fn handle(&mut self, message: ToPrivateMessages, _: &mut Self::Context) {
        if message.is_counted() {
            self.in_flight.channels.sub(1);
        }
        let (state, effects) = (&mut self.state, &mut self.effects);
        match message {
            ToPrivateMessages::OrderedClose(ordered_close) => drop(ordered_close),
            ToPrivateMessages::Mark(passage) => drop(passage),
            ToPrivateMessages::Open(user, conn) => state.open(user, conn),
            ToPrivateMessages::Close(user, conn, last) => state.close(user, conn, last),
            ToPrivateMessages::Attach(user, conn, location, attaching) => {
                state.attach(user, conn, location, attaching, effects)
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Post(message, recipients, slot) => {
                state.post(message, &recipients, &Timestamp::now(), effects);
                fill(slot, state);
            }
            ToPrivateMessages::Edit(edit, recipients, slot) => {
                state.edit(&edit, &recipients, &Timestamp::now(), effects);
                fill(slot, state);
            }
            ToPrivateMessages::Delete(delete, recipients, slot) => {
                state.delete(&delete, &recipients, &Timestamp::now(), effects);
                fill(slot, state);
            }
            ToPrivateMessages::Depart(user, conn, departure) => {
                departure.note_private(state.depart(user, conn));
            }
            ToPrivateMessages::Adopt(user, conn, place) => state.adopt(user, conn, place),
            ToPrivateMessages::Apply(entry, recipient) => state.apply(*entry, &recipient, effects),
            ToPrivateMessages::Load(copy, recipient) => state.load(*copy, &recipient, effects),
            ToPrivateMessages::Forget(user) => state.forget(user),
            ToPrivateMessages::Recheck(streams, slot) => {
                let now = streams.into_iter().map(|(user, stream)| state.recheck(user, stream));
                slot.fill(Receipt::Users(now.collect()));
            }
        }
        self.hubs.apply(self.effects.drain(..), &self.in_flight);
    }
}
