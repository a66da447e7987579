//! The stations of streams: channels and private messages, and what the expected deliveries record of their work.

use super::World;
use super::account::{ExpectedDeliveries, to};
use crate::broker::channel::messages::{Publication, ReceiptedPublication, ToChannel};
use crate::broker::channel::state::{ChannelEffects, ChannelState};
use crate::broker::private_messages::state::Recipient;
use crate::broker::private_messages::{self, ToPrivateMessages};
use crate::broker::receipts::{Receipt, StreamReceipt};
use crate::fixtures::time;
use crate::protocol::ids::{ChannelId, ConnectionSlot, Offset, Stream};
use crate::protocol::time::Timestamp;

impl World {
    pub fn step_channel(&mut self, index: usize) -> bool {
        let id = ChannelId(index as u32);
        let (state, queue) = &mut self.channels[index];
        let Some(message) = queue.pop_front() else { return false };
        let stream = Stream::Channel(id);
        let (mut effects, now, mut joined) = (Vec::new(), time(self.now as i64), None);
        let before = state.position().offset;
        match message {
            ToChannel::Join { conn, user, location } => {
                joined = Some(conn);
                if !self.returning.contains_key(&conn) {
                    self.account.ledger.begin(conn, user.id, stream);
                }
                self.account.seats.insert((id, conn), location.is_some());
                state.join(conn, user, location, &now, &mut effects);
            }
            ToChannel::Leave(conn) => {
                self.account.ledger.end(conn, stream, false);
                self.account.seats.remove(&(id, conn));
                let (name, offset) = (state.identity().name.clone(), state.position().offset);
                self.log.leave(conn, &name, offset);
                state.leave(conn, &now, &mut effects);
            }
            ToChannel::Attach { conn, user, location, attaching } => {
                self.account.seats.entry((id, conn)).and_modify(|has_session| *has_session = true);
                state.attach(conn, user, location, attaching, &now, &mut effects);
                // Of the events before it returned, it receives those that the channel still stores. Its own `joined`
                // event may have displaced one.
                let stored = self.rules.settings(&state.identity().name).store_frames;
                let kept = if stored { self.rules.retention.frames as Offset } else { 0 };
                self.account.excuse_displaced(conn, id, state.position().offset, kept);
            }
            ToChannel::OrderedClose(_) => {}
            ToChannel::Detach(conn, cursor) => {
                self.account.seats.entry((id, conn)).and_modify(|has_session| *has_session = false);
                state.detach(conn, cursor);
            }
            ToChannel::Part(conn) => state.part(conn, &now, &mut effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, &mut effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, &mut effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Recheck(_) => {}
            ToChannel::Publish(publication) => {
                publish(&mut self.account, state, publication, None, &mut effects, &now);
            }
            ToChannel::PublishTo(publication, locations) => {
                publish(&mut self.account, state, *publication, Some(locations), &mut effects, &now);
            }
            ToChannel::PublishWithReceipt(receipted) => {
                let ReceiptedPublication { publication, locations, slot } = *receipted;
                let receipt = publish(&mut self.account, state, publication, locations, &mut effects, &now);
                slot.fill(Receipt::Channel(receipt));
            }
        }
        // The registry's data about a channel's size may be from any earlier moment.
        if let Some(record) = self.registry.channel(id) {
            record.summary.update(state);
        }
        self.account.advance((stream, None), state.position());
        let (name, position) = (state.identity().name.to_string(), state.position());
        for frame in state.take_recorded_frames() {
            self.log.publish((name.clone(), None), position, self.stamps.latest(), &frame);
        }
        if let Some((conn, conn_id)) = joined.and_then(|conn| Some((conn, *self.returning.get(&conn)?))) {
            let record = self.registry.connection(conn_id).filter(|(key, _)| *key == conn);
            let is_subscribed = record.is_some_and(|(_, connection)| connection.channels.contains(&id));
            self.log.join(conn, conn_id, &name, (before, position.offset), is_subscribed);
        }
        self.forward(2 + index, effects);
        true
    }

    pub fn step_private_messages(&mut self) -> bool {
        let (state, queue) = &mut self.private_messages;
        let Some(message) = queue.pop_front() else { return false };
        let (account, mut effects) = (&mut self.account, Vec::new());
        let (now, mut published) = (time(self.now as i64), Vec::new());
        match message {
            ToPrivateMessages::Open(user, conn) => {
                if !self.returning.contains_key(&conn) {
                    account.ledger.begin(conn, user, Stream::Private);
                }
                state.open(user, conn);
            }
            ToPrivateMessages::Close(user, conn, last) => {
                account.ledger.end(conn, Stream::Private, false);
                if last {
                    account.forget_private(user);
                }
                state.close(user, conn, last);
            }
            ToPrivateMessages::OrderedClose(_) | ToPrivateMessages::Recheck(..) => {}
            ToPrivateMessages::Attach(user, conn, location, attaching) => {
                account.excuse_private(conn, user, self.rules.retention.frames);
                state.attach(user, conn, location, attaching, &mut effects);
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Post(message, recipients, slot) => {
                account.publish_private(&Publication::Post(message.clone(), to(&recipients)), &recipients);
                state.post(message, &recipients, &now, &mut effects);
                published = recipients;
                private_messages::fill(slot, state);
            }
            ToPrivateMessages::Edit(edit, recipients, slot) => {
                account.publish_private(&Publication::Edit(edit.clone(), to(&recipients)), &recipients);
                state.edit(&edit, &recipients, &now, &mut effects);
                published = recipients;
                private_messages::fill(slot, state);
            }
            ToPrivateMessages::Delete(delete, recipients, slot) => {
                account.publish_private(&Publication::Delete(delete.clone(), to(&recipients)), &recipients);
                state.delete(&delete, &recipients, &now, &mut effects);
                published = recipients;
                private_messages::fill(slot, state);
            }
        }
        for (user, position) in state.positions().collect::<Vec<_>>() {
            account.advance((Stream::Private, Some(user)), position);
            if published.iter().any(|recipient: &Recipient| recipient.user == user)
                && let Some(frame) = state.last_frame(user)
            {
                self.log.publish(("".into(), Some(user)), position, self.stamps.latest(), &frame);
            }
            let receipt = state.receipt(user);
            let rechecked = state.recheck(Some(user), StreamReceipt { is_kept: true, ..receipt });
            assert!(
                position.offset == 0 || rechecked == receipt,
                "the last frame of {user:?}: {rechecked:?}"
            );
        }
        self.forward(1, effects);
        true
    }
}

/// Publishes in a channel. Panics unless the receipt states correctly whether the item is kept.
fn publish(
    account: &mut ExpectedDeliveries,
    state: &mut ChannelState,
    publication: Publication,
    locations: Option<Vec<ConnectionSlot>>,
    effects: &mut ChannelEffects,
    now: &Timestamp,
) -> StreamReceipt {
    let message = match &publication {
        Publication::Post(message, _) => Some(message.uuid),
        Publication::Edit(edit, _) => Some(edit.uuid),
        Publication::Delete(..) => None,
    };
    let channel = state.identity().id;
    let number = account.publish(Stream::Channel(channel), &publication);
    let receipt = state.publish(publication, locations, now, effects);
    let rechecked = state.recheck(StreamReceipt { is_kept: true, ..receipt }, message);
    assert_eq!(rechecked, receipt, "event {number}");
    account.pass_through(channel, &receipt, number);
    receipt
}
