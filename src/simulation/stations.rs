//! The scheduler: which station runs next, and what it does.

use super::{HUBS, Hub, ToRegistry, World};
use crate::broker::hub::fanout::Fanout;
use crate::broker::hub::messages::ToHub;
use crate::broker::hub::table::SessionTable;
use crate::broker::registry::state::NextSession;
use crate::protocol::ids::{HubId, ServerEpoch, SlotKey, Stamp};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::PushResult;
use std::collections::VecDeque;

/// What remains to be done when a hub has handled a message.
pub enum Taken {
    Quietly,
    /// A session's send queue got something, or refused it.
    Pushed(SlotKey, PushResult),
    /// A session must close.
    Release(SlotKey, CloseReason),
}

impl Hub {
    pub fn new(id: u16, server: ServerEpoch) -> Self {
        Self {
            table: SessionTable::new(HubId(id), server),
            fanout: Fanout::default(),
            inputs: vec![VecDeque::new(), VecDeque::new()],
            output: VecDeque::new(),
            bytes: (0, 0),
            pending_marks: VecDeque::new(),
        }
    }

    /// Handles a message, as the actor does.
    pub fn take(&mut self, message: ToHub) -> Taken {
        match message {
            ToHub::Deliver(channel, stamped) => {
                self.bytes.0 += stamped.frame.live().len();
                self.fanout.push(channel, stamped);
                Taken::Quietly
            }
            ToHub::DeliverTo(channel, slots, stamped) => {
                self.bytes.0 += stamped.frame.live().len();
                self.fanout.push_to(channel, slots, stamped);
                Taken::Quietly
            }
            ToHub::DeliverPrivate(slots, stamp, frame) => {
                self.bytes.0 += frame.live().len();
                self.fanout.push_private(slots, stamp, frame);
                Taken::Quietly
            }
            ToHub::Join(channel, key, listen) => Taken::Pushed(key, self.table.join(channel, key, listen)),
            ToHub::JoinPrivate(key, listen) => Taken::Pushed(key, self.table.join_private(key, listen)),
            ToHub::Leave(channel, key) => {
                let pending = self.fanout.pending_in(channel);
                Taken::Pushed(key, self.table.leave(channel, key, pending))
            }
            ToHub::Release(key, why) => Taken::Release(key, why.reason),
            ToHub::Renew(channel, position) => {
                self.table.renew(channel, position);
                Taken::Quietly
            }
            ToHub::RenewPrivate(key, epoch) => match self.table.renew_private(key, epoch) {
                true => Taken::Release(key, CloseReason::Restarting(0)),
                false => Taken::Quietly,
            },
            ToHub::BeginLife(server) => {
                self.table.begin_life(server);
                Taken::Quietly
            }
            ToHub::Mark(marking) => {
                self.pending_marks.push_back((self.fanout.next_round(), marking));
                Taken::Quietly
            }
            ToHub::Drain | ToHub::OrderedClose(..) => Taken::Quietly,
        }
    }
}

impl Hub {
    /// Whether a delivery mark has reached the sessions.
    pub fn has_reached_mark(&self) -> bool {
        self.pending_marks.front().is_some_and(|(round, _)| self.fanout.is_past(*round))
    }

    /// Adds the laggards to such marks.
    pub fn report_laggards(&mut self) {
        while self.has_reached_mark() {
            let reached = self.pending_marks.pop_front();
            reached.iter().for_each(|(_, marking)| marking.collect(|found| self.table.add_laggards(found)));
        }
    }
}

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
        match hub.take(message) {
            Taken::Quietly => {}
            Taken::Pushed(key, pushed) => self.apply_result(index, key, pushed),
            Taken::Release(key, reason) => self.close_by_hub(index, key, reason),
        }
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
