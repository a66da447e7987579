//! The scheduler: which station runs next, and what it does.

use super::account::to;
use super::{HUBS, ToRegistry, World};
use crate::broker::channel::messages::{Publication, ToChannel};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::ToPrivateMessages;
use crate::fixtures::time;
use crate::protocol::ids::{ChannelId, HubId, Offset, SlotKey, Stream};
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
                let next = (session.location(), session.send_queue.transport());
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
        let (mut effects, now) = (Vec::new(), time(self.now as i64));
        match message {
            ToChannel::Join { conn, user, location } => {
                self.account.ledger.begin(conn, user.id, stream);
                state.join(conn, user, location, &now, &mut effects);
            }
            ToChannel::Leave(conn) => {
                self.account.ledger.end(conn, stream, false);
                state.leave(conn, &now, &mut effects);
            }
            ToChannel::Attach { conn, user, location, part } => {
                state.attach(conn, user, location, part, &now, &mut effects);
                // Of the events before it returned, it receives those that the channel still stores. Its own `joined`
                // event may have displaced one.
                let stored = self.rules.settings(&state.identity().name).store_frames;
                let kept = if stored { self.rules.retention.frames as Offset } else { 0 };
                self.account.excuse_displaced(conn, id, state.position().offset, kept);
            }
            ToChannel::OrderedClose(_) => {}
            ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
            ToChannel::Part(conn) => state.part(conn, &now, &mut effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, &mut effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, &mut effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Publish(publication) => {
                let number = self.account.publish(stream, &publication);
                state.publish(publication, None, &now, &mut effects);
                self.account.pass_through(id, state.position().offset, number);
            }
            ToChannel::PublishTo(publication, locations) => {
                let number = self.account.publish(stream, &publication);
                state.publish(*publication, Some(locations), &now, &mut effects);
                self.account.pass_through(id, state.position().offset, number);
            }
        }
        // The registry's data about a channel's size may be from any earlier moment.
        if let Some(record) = self.registry.channel(id) {
            record.summary.update(state);
        }
        self.account.advance((stream, None), state.position());
        self.forward(2 + index, effects);
        true
    }

    fn step_private_messages(&mut self) -> bool {
        let (state, queue) = &mut self.private_messages;
        let Some(message) = queue.pop_front() else { return false };
        let (account, mut effects) = (&mut self.account, Vec::new());
        match message {
            ToPrivateMessages::Open(user, conn) => {
                account.ledger.begin(conn, user, Stream::Private);
                state.open(user, conn);
            }
            ToPrivateMessages::Close(user, conn, last) => {
                account.ledger.end(conn, Stream::Private, false);
                if last {
                    account.forget_private(user);
                }
                state.close(user, conn, last);
            }
            ToPrivateMessages::OrderedClose(_) => {}
            ToPrivateMessages::Attach(user, conn, location, part) => {
                account.excuse_private(conn, user, self.rules.retention.frames);
                state.attach(user, conn, location, part, &mut effects);
            }
            ToPrivateMessages::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToPrivateMessages::Post(message, recipients) => {
                account.publish_private(&Publication::Post(message.clone(), to(&recipients)), &recipients);
                state.post(message, &recipients, &mut effects);
            }
            ToPrivateMessages::Edit(edit, recipients) => {
                account.publish_private(&Publication::Edit(edit.clone(), to(&recipients)), &recipients);
                state.edit(&edit, &recipients, &mut effects);
            }
            ToPrivateMessages::Delete(delete, recipients) => {
                account.publish_private(&Publication::Delete(delete.clone(), to(&recipients)), &recipients);
                state.delete(&delete, &recipients, &mut effects);
            }
        }
        for (user, position) in state.positions() {
            account.advance((Stream::Private, Some(user)), position);
        }
        self.forward(1, effects);
        true
    }

    fn step_hub(&mut self, index: usize, input: usize) -> bool {
        let hub = &mut self.hubs[index];
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
            ToHub::DeliverPrivate(slots, frame) => {
                hub.bytes.0 += frame.live().len();
                hub.fanout.push_private(slots, frame);
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
