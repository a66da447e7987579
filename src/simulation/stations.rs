//! The scheduler: which station runs next, and what it does.

use super::account::{ExpectedDeliveries, to};
use super::{HUBS, ToRegistry, World};
use crate::broker::channel::messages::{Publication, ReceiptedPublication, ToChannel};
use crate::broker::channel::state::{ChannelEffects, ChannelState};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::state::Recipient;
use crate::broker::private_messages::{self, ToPrivateMessages};
use crate::broker::receipts::{Receipt, StreamReceipt};
use crate::broker::registry::state::NextSession;
use crate::fixtures::time;
use crate::protocol::ids::{ChannelId, ConnectionSlot, HubId, Offset, SlotKey, Stamp, Stream};
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::PushResult;

impl World {
    /// Lets one station process one message, or one hub write to some of its members. Returns false if it has nothing
    /// to do.
    pub fn step(&mut self, choice: usize, budget: usize) -> bool {
        let channels = self.channels.len();
        // Every pair of stations gets turns.
        let hubs = usize::from(HUBS);
        match choice % (1 + channels + hubs * (4 + channels)) {
            0 => self.step_private_messages(),
            turn if turn <= channels => self.step_channel(turn - 1),
            turn => {
                let turn = turn - 1 - channels;
                let (hub, input) = (turn % hubs, turn / hubs);
                match input {
                    0 => self.step_fanout(hub, budget),
                    1 => self.step_registry(hub),
                    input => self.step_hub(hub, input - 2),
                }
            }
        }
    }

    fn step_registry(&mut self, hub: usize) -> bool {
        match self.hubs[hub].output.pop_front() {
            Some(ToRegistry::Attach(number)) => {
                let session = &self.sessions[number];
                let (location, transport) = (session.location(), session.send_queue.transport());
                let next = NextSession { location, transport, since: session.since.clone() };
                match self.registry.attach(session.conn_id, next, &mut self.effects) {
                    Ok(()) => {
                        let owner = self.registry.connection(session.conn_id).map(|(key, _)| key);
                        self.sessions[number].owner = owner;
                    }
                    Err(_) => self.close_session(number, CloseReason::Ended),
                }
            }
            Some(ToRegistry::Detached(gone)) => self.registry.detached(gone, self.now, &mut self.effects),
            None => return false,
        }
        self.apply();
        true
    }

    fn step_channel(&mut self, index: usize) -> bool {
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

    fn step_private_messages(&mut self) -> bool {
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

    fn step_hub(&mut self, index: usize, input: usize) -> bool {
        let hub = &mut self.hubs[index];
        // One thread sends all frames, in the order of their stamps, to the one mailbox of a hub.
        let first = hub.inputs.iter().flatten().filter_map(stamp_of).min();
        let is_early = |message: &ToHub| stamp_of(message).is_some_and(|stamp| Some(stamp) != first);
        if hub.inputs[input].front().is_some_and(is_early) {
            return false;
        }
        let Some(message) = hub.inputs[input].pop_front() else { return false };
        let (key, pushed) = match message {
            ToHub::Deliver(channel, stamped) => {
                hub.bytes.0 += stamped.frame.live().len();
                hub.fanout.push(channel, stamped);
                return true;
            }
            ToHub::DeliverTo(channel, slots, stamped) => {
                hub.bytes.0 += stamped.frame.live().len();
                hub.fanout.push_to(channel, slots, stamped);
                return true;
            }
            ToHub::DeliverPrivate(slots, stamp, frame) => {
                hub.bytes.0 += frame.live().len();
                hub.fanout.push_private(slots, stamp, frame);
                return true;
            }
            ToHub::Join(channel, key, listen) => (key, hub.table.join(channel, key, listen)),
            ToHub::JoinPrivate(key, listen) => (key, hub.table.join_private(key, listen)),
            ToHub::Leave(channel, key) => {
                let pending = hub.fanout.pending_in(channel);
                (key, hub.table.leave(channel, key, pending))
            }
            ToHub::Release(key, why) => {
                self.close_by_hub(index, key, why.reason);
                return true;
            }
            ToHub::Drain | ToHub::OrderedClose(..) => return true,
        };
        self.apply_result(index, key, pushed);
        true
    }

    fn step_fanout(&mut self, index: usize, budget: usize) -> bool {
        let hub = &mut self.hubs[index];
        // Catch-ups stop at any point and continue in a later turn.
        hub.table.set_allowance(budget);
        if let Some(key) = hub.table.unfinished() {
            let pushed = hub.table.continue_catch_up(key);
            self.apply_result(index, key, pushed);
            return true;
        }
        if hub.fanout.is_idle() {
            return false;
        }
        let slice = hub.fanout.run(&mut hub.table, budget);
        hub.bytes.1 += slice.bytes;
        for (key, pushed) in slice.failed {
            self.apply_result(index, key, pushed);
        }
        true
    }

    /// Closes a session whose send queue accepts no more.
    pub fn apply_result(&mut self, hub: usize, key: SlotKey, pushed: PushResult) {
        match pushed {
            PushResult::Accepted | PushResult::Closed => {}
            PushResult::Overflow => self.close_by_hub(hub, key, CloseReason::TooSlow),
            PushResult::Broken => self.close_by_hub(hub, key, CloseReason::ByPeer(None)),
        }
    }

    fn forward(&mut self, sender: usize, effects: Vec<(HubId, ToHub)>) {
        for (hub, message) in effects {
            self.hubs[usize::from(hub.0)].inputs[sender].push_back(message);
        }
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

/// The stamp of a frame.
fn stamp_of(message: &ToHub) -> Option<Stamp> {
    match message {
        ToHub::Deliver(_, stamped) | ToHub::DeliverTo(_, _, stamped) => Some(stamped.stamp),
        ToHub::DeliverPrivate(_, stamp, _) => Some(*stamp),
        _ => None,
    }
}
