//! The scheduler: which station runs next, and what it does.

use super::{HUBS, ToRegistry, World};
use crate::broker::hub::messages::ToHub;
use crate::broker::registry::state::NextSession;
use crate::protocol::ids::{HubId, SlotKey, Stamp};
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
            turn if turn <= channels => self.step_channel(turn - 1, budget.is_multiple_of(2)),
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
                        (self.sessions[number].owner, self.sessions[number].attached) =
                            (owner, Some(self.now));
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
            ToHub::Drain | ToHub::OrderedClose(..) | ToHub::Mark(_) => return true,
            // This server decides by itself.
            ToHub::BeginLife(_) | ToHub::Renew(..) | ToHub::RenewPrivate(..) => return true,
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

    pub fn forward(&mut self, sender: usize, effects: Vec<(HubId, ToHub)>) {
        for (hub, message) in effects {
            self.hubs[usize::from(hub.0)].inputs[sender].push_back(message);
        }
    }
}

/// The stamp of a frame.
fn stamp_of(message: &ToHub) -> Option<Stamp> {
    match message {
        ToHub::Deliver(_, stamped) | ToHub::DeliverTo(_, _, stamped) => Some(stamped.stamp),
        ToHub::DeliverPrivate(_, stamp, _) => Some(*stamp),
        _ => None,
    }
}
