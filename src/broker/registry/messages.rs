//! The messages to the registry, apart from those of hubs.

use super::Registry;
use crate::broker::receipts::{PublishedItem, ReceiptSlot};
use crate::protocol::message::{Delete, Edit, Message as Posted};
use actix::{Context, Handler, Message, MessageResult};

/// A request: the registry runs this function between two other messages, and the caller receives its result.
pub struct Ask<F>(pub F);

impl<F, R> Message for Ask<F>
where
    F: FnOnce(&mut Registry, &mut Context<Registry>) -> R,
    R: 'static,
{
    type Result = R;
}

impl<F, R> Handler<Ask<F>> for Registry
where
    F: FnOnce(&mut Registry, &mut Context<Registry>) -> R,
    R: 'static,
{
    type Result = MessageResult<Ask<F>>;

    fn handle(&mut self, Ask(request): Ask<F>, context: &mut Self::Context) -> Self::Result {
        MessageResult(request(self, context))
    }
}

/// Messages, edits or deletions to be routed, in order. Each has a slot for its receipt, or none has.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Publish {
    /// POST /message.
    Post(Vec<Posted>, Vec<ReceiptSlot>),
    /// PATCH /message.
    Edit(Vec<Edit>, Vec<ReceiptSlot>),
    /// DELETE /message.
    Delete(Vec<Delete>, Vec<ReceiptSlot>),
    /// Items that were published earlier, for receipts that are true now.
    Recheck(Vec<(PublishedItem, ReceiptSlot)>),
}

impl Publish {
    /// The number of items to route.
    pub fn len(&self) -> usize {
        match self {
            Publish::Post(list, _) => list.len(),
            Publish::Edit(list, _) => list.len(),
            Publish::Delete(list, _) => list.len(),
            Publish::Recheck(list) => list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Closes all sessions because the server shuts down.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StartDrain {
    /// The period over which sessions are closed, in ms. 0 closes all immediately.
    pub spread_ms: u64,
}
