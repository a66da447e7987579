//! Receipts of published items: the streams report the positions of an item's frames to the request that published it.
//!
//! The request keeps the [`Receipts`]; a [`ReceiptSlot`] for each item travels with the item. A slot that is dropped
//! without a receipt, because an actor has stopped, also ends the wait. A request that has ended leaves nothing behind: the
//! last slot frees the memory.

use crate::protocol::ids::{Position, UserId};
use crate::protocol::message::Delivery;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use uuid::Uuid;

/// The receipt of an item in one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamReceipt {
    /// The position of the frame; `None` if there is no such stream.
    pub position: Option<Position>,
    /// The sessions that were subscribed to the stream, whatever the audience of the item.
    pub online: u32,
    /// Whether the stream keeps the item, so that a client that returns can get it.
    pub is_kept: bool,
}

/// The receipt of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Of an item for a channel, or of one without recipients.
    Channel(StreamReceipt),
    /// Of a private item: one for each of the item's [`Delivery::users`].
    ///
    /// [`Delivery::users`]: crate::protocol::message::Delivery::users
    Users(Box<[StreamReceipt]>),
}

impl Receipt {
    /// The receipt of an item that went to no stream.
    pub fn nowhere() -> Self {
        Self::Channel(StreamReceipt::default())
    }
}

/// An item that was published earlier. Its streams report whether they still keep it.
#[derive(Debug)]
pub struct PublishedItem {
    pub delivery: Delivery,
    /// The message that a history contains if it contains the item. `None` for a deletion.
    pub message: Option<Uuid>,
    pub receipt: Receipt,
}

/// The receipts of the items of one request, in their order.
#[derive(Debug)]
pub struct Receipts {
    receipts: Mutex<Vec<Option<Receipt>>>,
    /// The slots that still exist.
    missing: AtomicUsize,
    complete: Notify,
}

impl Receipts {
    /// Receipts for this many items, and the slots through which they arrive.
    pub fn new(count: usize) -> (Arc<Self>, Vec<ReceiptSlot>) {
        let receipts = Arc::new(Self {
            receipts: Mutex::new(vec![None; count]),
            missing: AtomicUsize::new(count),
            complete: Notify::new(),
        });
        let slots = (0..count).map(|index| ReceiptSlot { receipts: receipts.clone(), index });
        let slots = slots.collect();
        (receipts, slots)
    }

    /// Waits until each slot is filled or dropped. Several requests may wait.
    pub async fn complete(&self) {
        let mut complete = pin!(self.complete.notified());
        complete.as_mut().enable();
        if self.missing.load(Ordering::Acquire) > 0 {
            complete.await;
        }
    }

    /// The receipts so far. `None` for an item whose receipt has not arrived.
    pub fn so_far(&self) -> Vec<Option<Receipt>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The place for the receipt of one item.
#[derive(Debug)]
pub struct ReceiptSlot {
    receipts: Arc<Receipts>,
    index: usize,
}

impl ReceiptSlot {
    pub fn fill(self, receipt: Receipt) {
        let mut receipts = self.receipts.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = receipts.get_mut(self.index) {
            *place = Some(receipt);
        }
    }
}

impl Drop for ReceiptSlot {
    fn drop(&mut self) {
        if self.receipts.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.receipts.complete.notify_waiters();
        }
    }
}

/// The place for the receipt of a private item. Contains the item's users in order: those that have a stream, with the
/// number of their sessions.
#[derive(Debug)]
pub struct PrivateReceiptSlot {
    pub slot: ReceiptSlot,
    pub users: Vec<Option<(UserId, u32)>>,
}

impl PrivateReceiptSlot {
    /// Fills the slot. `of` returns the receipt of a user with this number of sessions.
    pub fn fill(self, of: impl Fn(UserId, u32) -> StreamReceipt) {
        let receipt = |user: Option<(UserId, u32)>| user.map(|(user, online)| of(user, online));
        let receipts = self.users.into_iter().map(|user| receipt(user).unwrap_or_default());
        self.slot.fill(Receipt::Users(receipts.collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::Epoch;
    use futures_util::FutureExt;
    use std::thread;

    fn receipt(offset: u64) -> StreamReceipt {
        StreamReceipt { position: Some(Position { epoch: Epoch::new(7), offset }), online: 2, is_kept: true }
    }

    #[test]
    fn receipts_are_complete_when_no_slot_is_left() {
        let (receipts, mut slots) = Receipts::new(3);
        let mut first = Box::pin(receipts.complete());
        assert!(first.as_mut().now_or_never().is_none());
        slots.pop().unwrap().fill(Receipt::Channel(receipt(4)));
        slots.pop().unwrap().fill(Receipt::nowhere());
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(receipts.so_far(), [None, Some(Receipt::nowhere()), Some(Receipt::Channel(receipt(4)))]);
        drop(slots);
        assert!(first.now_or_never().is_some(), "the actor of the item has stopped");
        assert!(receipts.complete().now_or_never().is_some());
    }

    #[test]
    fn a_request_without_items_does_not_wait() {
        let (receipts, slots) = Receipts::new(0);
        assert!(slots.is_empty() && receipts.complete().now_or_never().is_some());
    }

    /// docs/limits.md states these bytes for each stored item and user.
    #[test]
    fn a_receipt_takes_little_memory() {
        assert!(size_of::<Option<Receipt>>() <= 40 && size_of::<StreamReceipt>() <= 40);
    }

    #[test]
    fn nothing_remains_of_a_request_that_has_ended() {
        let (receipts, slots) = Receipts::new(2);
        let memory = Arc::downgrade(&receipts);
        drop(receipts);
        for slot in slots {
            assert!(memory.upgrade().is_some());
            slot.fill(Receipt::nowhere());
        }
        assert!(memory.upgrade().is_none());
    }

    #[actix_web::test]
    async fn no_wake_up_is_lost_between_threads() {
        for _ in 0..1_000 {
            let (receipts, slots) = Receipts::new(2);
            let filling =
                thread::spawn(move || slots.into_iter().for_each(|slot| slot.fill(Receipt::nowhere())));
            let complete = tokio::time::timeout(std::time::Duration::from_secs(20), receipts.complete());
            complete.await.unwrap();
            assert!(receipts.so_far().iter().all(Option::is_some));
            filling.join().unwrap();
        }
    }

    #[test]
    fn a_private_receipt_has_one_part_for_each_user() {
        let (receipts, mut slots) = Receipts::new(1);
        let users = vec![Some((UserId(3), 1)), None, Some((UserId(9), 0))];
        PrivateReceiptSlot { slot: slots.remove(0), users }
            .fill(|user, online| StreamReceipt { online, ..receipt(user.0.into()) });
        let expected = [
            StreamReceipt { online: 1, ..receipt(3) },
            StreamReceipt::default(),
            StreamReceipt { online: 0, ..receipt(9) },
        ];
        assert_eq!(receipts.so_far(), [Some(Receipt::Users(expected.into()))]);
    }
}
