//! Private messages: one actor keeps every user's stream of them.

pub mod state;

use super::channel::HubSenders;
use super::channel::ordered_close::Farewell;
use super::hub::messages::Part;
use crate::limits::in_flight::Pressure;
use crate::protocol::ids::{ConnKey, Offset, Place, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use actix::{Actor, Context, Handler};
use state::{Effects, InboxState, Recipient};
use std::sync::Arc;

/// What the inboxes are told. One mailbox, one order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum ToInbox {
    /// A connection begins.
    Open(UserId, ConnKey),
    /// A connection ends; it was its user's last one, or not.
    Close(UserId, ConnKey, bool),
    /// A session attaches.
    Attach(UserId, ConnKey, Place, Part),
    /// A session is gone; its peer got this far.
    Detach(UserId, ConnKey, Option<Offset>),
    /// A private message.
    Post(Message, Vec<Recipient>),
    /// A change of one.
    Edit(Edit, Vec<Recipient>),
    /// The end of one.
    Delete(Delete, Vec<Recipient>),
    /// Sessions are to go behind everything posted so far; dropping it is all there is to do.
    Farewell(Arc<Farewell>),
}

impl ToInbox {
    /// Whether this passes something on to users, and so counts as one under way.
    pub fn is_publication(&self) -> bool {
        matches!(self, ToInbox::Post(..) | ToInbox::Edit(..) | ToInbox::Delete(..))
    }
}

/// The inbox actor.
///
/// Owns: one [`InboxState`].
/// Started by: `app`, on the registry's thread.
/// Ends: with the registry.
/// Mailbox: bounded by [`Pressure::channels`], as those of channels.
/// Talks to: the hubs of the users' sessions.
pub struct Inboxes {
    state: InboxState,
    hubs: Arc<HubSenders>,
    pressure: Arc<Pressure>,
    effects: Effects,
}

impl Inboxes {
    /// Inboxes with this state.
    pub fn new(state: InboxState, hubs: Arc<HubSenders>, pressure: Arc<Pressure>) -> Self {
        Self { state, hubs, pressure, effects: Vec::new() }
    }
}

impl Actor for Inboxes {
    type Context = Context<Self>;
}

impl Handler<ToInbox> for Inboxes {
    type Result = ();

    fn handle(&mut self, message: ToInbox, _: &mut Self::Context) {
        if message.is_publication() {
            self.pressure.channels.sub(1);
        }
        let (state, effects) = (&mut self.state, &mut self.effects);
        match message {
            ToInbox::Farewell(share) => drop(share),
            ToInbox::Open(user, conn) => state.open(user, conn),
            ToInbox::Close(user, conn, last) => state.close(user, conn, last),
            ToInbox::Attach(user, conn, place, part) => state.attach(user, conn, place, part, effects),
            ToInbox::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToInbox::Post(message, recipients) => state.post(message, &recipients, effects),
            ToInbox::Edit(edit, recipients) => state.edit(&edit, &recipients, effects),
            ToInbox::Delete(delete, recipients) => state.delete(&delete, &recipients, effects),
        }
        self.hubs.apply(self.effects.drain(..), &self.pressure);
    }
}
