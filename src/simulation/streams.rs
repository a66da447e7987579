//! The stations of streams: channels and private messages, and what the expected deliveries record of their work.

use super::account::{ExpectedDeliveries, number_of, to};
use super::log::Joined;
use super::{Kept, World};
use crate::broker::channel::messages::{Publication, ReceiptedPublication, ToChannel};
use crate::broker::channel::state::{ChannelEffects, ChannelState};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::state::Recipient;
use crate::broker::private_messages::{self, ToPrivateMessages};
use crate::broker::receipts::{Receipt, StreamReceipt};
use crate::fixtures::{seen, time};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, Offset, Position, Stream};
use crate::protocol::time::Timestamp;

/// What a channel does in one turn.
struct Turn {
    /// The offset of the channel before.
    before: Offset,
    kept: Kept,
    /// A connection that joined.
    joined: Option<ConnKey>,
    /// The number of an event that was published, and its receipt.
    receipt: Option<(u128, StreamReceipt)>,
    effects: ChannelEffects,
}

impl World {
    /// A channel handles a message, or does what is due at this time, which may come first.
    pub fn step_channel(&mut self, index: usize, due_first: bool) -> bool {
        let id = ChannelId(index as u32);
        let (state, queue) = &mut self.channels[index];
        let is_due = state.next_due().is_some_and(|due| due <= self.now);
        let message = if is_due && due_first { None } else { queue.pop_front() };
        if message.is_none() && !is_due {
            return false;
        }
        state.set_clock(self.now);
        let (before, kept) = (state.position().offset, self.rules.kept(&state.identity().name, self.now));
        let mut turn = Turn { before, kept, joined: None, receipt: None, effects: Vec::new() };
        self.handle_in_channel(id, message, &mut turn);
        self.record_turn(id, &turn);
        self.forward(2 + index, turn.effects);
        true
    }

    /// A channel handles a message, or what is due without one.
    fn handle_in_channel(&mut self, id: ChannelId, message: Option<ToChannel>, turn: &mut Turn) {
        let (state, _) = &mut self.channels[id.0 as usize];
        let (stream, now) = (Stream::Channel(id), time(1_000 * self.now as i64));
        let is_open = self.log.is_open(&state.identity().name);
        let (effects, kept) = (&mut turn.effects, turn.kept);
        match message {
            None => state.tick(&now, effects),
            Some(ToChannel::Join { conn, user, location }) => {
                turn.joined = Some(conn);
                let ledger = &mut self.account.ledger;
                match is_open {
                    _ if self.returning.contains_key(&conn) => {}
                    true => ledger.begin_at_first(conn, user.id, stream),
                    false => ledger.begin(conn, user.id, stream),
                }
                self.account.seats.insert((id, conn), location.is_some());
                state.join(conn, user, location, &now, effects);
                if is_open {
                    self.account.excuse_displaced(conn, id, state.position().offset, kept);
                }
            }
            Some(ToChannel::Leave(conn, _)) => {
                self.account.ledger.end(conn, stream, false);
                self.account.seats.remove(&(id, conn));
                let (name, offset) = (state.identity().name.clone(), state.position().offset);
                self.log.leave(conn, &name, offset);
                state.leave(conn, &now, effects);
            }
            Some(ToChannel::Attach { conn, user, location, attaching }) => {
                self.account.seats.entry((id, conn)).and_modify(|has_session| *has_session = true);
                state.attach(conn, user, location, attaching, &now, effects);
                // Of the events before it returned, it receives those that the channel still stores. Its own `joined`
                // event may have displaced one.
                self.account.excuse_displaced(conn, id, state.position().offset, kept);
            }
            Some(ToChannel::OrderedClose(_) | ToChannel::Mark(_)) => {}
            Some(ToChannel::Detach(conn, cursor)) => {
                self.account.seats.entry((id, conn)).and_modify(|has_session| *has_session = false);
                state.detach(conn, cursor);
            }
            Some(ToChannel::Part(conn, _)) => state.part(conn, &now, effects),
            Some(ToChannel::Return(conn, user)) => state.return_present(conn, user, &now, effects),
            Some(ToChannel::UserChanged(view, changed)) => {
                state.user_changed(view, changed.as_deref(), &now, effects);
            }
            Some(ToChannel::Configure(settings)) => state.configure(settings),
            Some(ToChannel::Recheck(_)) => {}
            // This server decides by itself.
            Some(
                ToChannel::Apply(_) | ToChannel::Load(_) | ToChannel::Depart(..) | ToChannel::Adopt { .. },
            ) => {}
            Some(ToChannel::Publish(publication)) => {
                turn.receipt = Some(publish(&mut self.account, state, publication, None, effects, &now));
            }
            Some(ToChannel::PublishTo(publication, locations)) => {
                let locations = Some(locations);
                turn.receipt =
                    Some(publish(&mut self.account, state, *publication, locations, effects, &now));
            }
            Some(ToChannel::PublishWithReceipt(receipted)) => {
                let ReceiptedPublication { publication, locations, slot } = *receipted;
                let published = publish(&mut self.account, state, publication, locations, effects, &now);
                slot.fill(Receipt::Channel(published.1));
                turn.receipt = Some(published);
            }
        }
    }

    /// Records what a channel has published, and checks what it sends to a client that returns.
    fn record_turn(&mut self, id: ChannelId, turn: &Turn) {
        let (state, _) = &mut self.channels[id.0 as usize];
        // The registry's data about a channel's size may be from any earlier moment.
        if let Some(record) = self.registry.channel(id) {
            record.summary.update(state);
        }
        self.account.advance((Stream::Channel(id), None), state.position());
        let (name, position) = (state.identity().name.to_string(), state.position());
        let frames = state.take_recorded_frames();
        // All users that are gone at once part in one turn.
        let first = position.offset + 1 - frames.len() as Offset;
        for (offset, frame) in (first..).zip(frames) {
            let at = Position { offset, ..position };
            self.log.publish((name.clone(), None), at, self.stamps.latest(), &frame);
        }
        if let Some((number, receipt)) = turn.receipt {
            self.log.receipt((name.clone(), None), number, receipt.position.unwrap());
        }
        self.account.set_published(id, position.offset, self.now);
        let catchups = turn.effects.iter().filter_map(|(_, effect)| match effect {
            ToHub::Join(_, _, subscription) => Some(&subscription.catchup),
            _ => None,
        });
        self.account.check_ages(id, catchups.flatten(), turn.kept);
        if let Some((conn, conn_id)) = turn.joined.and_then(|conn| Some((conn, *self.returning.get(&conn)?)))
        {
            let record = self.registry.connection(conn_id).filter(|(key, _)| *key == conn);
            let is_subscribed = record.is_some_and(|(_, connection)| connection.channels.contains(&id));
            let kept_after = self.account.kept_after(id, position.offset, turn.kept);
            let joined = Joined { before: turn.before, after: position.offset, kept_after };
            self.log.join(conn, conn_id, &name, joined, is_subscribed);
        }
    }

    pub fn step_private_messages(&mut self) -> bool {
        let (state, queue) = &mut self.private_messages;
        let Some(message) = queue.pop_front() else { return false };
        let (account, mut effects) = (&mut self.account, Vec::new());
        let (now, mut published) = (time(1_000 * self.now as i64), Vec::new());
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
            ToPrivateMessages::OrderedClose(_)
            | ToPrivateMessages::Mark(_)
            | ToPrivateMessages::Recheck(..) => {}
            // This server decides by itself.
            ToPrivateMessages::Apply(..)
            | ToPrivateMessages::Load(..)
            | ToPrivateMessages::Forget(_)
            | ToPrivateMessages::Depart(..)
            | ToPrivateMessages::Adopt(..) => {}
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
                let stream = ("".to_owned(), Some(user));
                let event = seen(&frame.live_element());
                let number = number_of(&event.kind, event.number, &event.json["message"]).unwrap();
                self.log.receipt(stream.clone(), number, state.receipt(user).position.unwrap());
                self.log.publish(stream, position, self.stamps.latest(), &frame);
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

/// Publishes in a channel. Returns the number of the event, and its receipt. Panics unless the receipt states correctly whether the item is kept.
fn publish(
    account: &mut ExpectedDeliveries,
    state: &mut ChannelState,
    publication: Publication,
    locations: Option<Vec<ConnectionSlot>>,
    effects: &mut ChannelEffects,
    now: &Timestamp,
) -> (u128, StreamReceipt) {
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
    (number, receipt)
}
