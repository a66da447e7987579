//! The life of connections: sessions attach and detach, deadlines pass, connections end.

use super::state::{Effect, Handover, NextSession, Phase, RegistryState};
use crate::broker::channel::messages::ToChannel;
use crate::broker::hub::messages::{AttachRefused, Attaching, CatchUpPart, Detached, ToHub};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::recovery::Resume;
use crate::broker::requests::Ending;
use crate::protocol::ids::{ConnKey, ConnectionSlot, UserId};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{Transport, WithoutSession};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Demo users are removed this long after their last connection, because only few are allowed.
const DEMO_USER_IDLE_MS: u64 = 60_000;

impl RegistryState {
    pub(super) fn set_deadline(&mut self, key: ConnKey, at: Option<u64>) {
        let connection = self.connections.get_mut(key.index as usize);
        if let Some(connection) = connection.filter(|connection| connection.generation == key.generation) {
            self.deadlines.set(key, &mut connection.deadline, at);
        }
    }

    pub(super) fn count_present(&mut self, user: UserId, by: isize) {
        self.present = self.present.saturating_add_signed(by);
        if self.stamps.follows() {
            self.changed_presence.push(user);
        }
        if let Some(user) = self.users.get_mut(user) {
            let before = user.present;
            user.present = user.present.saturating_add_signed(by as i32);
            match (before, user.present) {
                (0, 1..) => self.active_users += 1,
                (1.., 0) => self.active_users -= 1,
                _ => {}
            }
        }
    }

    /// Attaches a session to its connection. An earlier session is released first, so that its cursors are known.
    ///
    /// # Errors
    /// The connection does not exist, or its token has expired.
    pub fn attach(
        &mut self,
        conn_id: Uuid,
        next: NextSession,
        effects: &mut Vec<Effect>,
    ) -> Result<(), AttachRefused> {
        let (key, _) = self.connection(conn_id).ok_or(AttachRefused::UnknownConnection)?;
        if self.expiries.is_expired(key) {
            return Err(AttachRefused::UnknownConnection);
        }
        let connection = self.get_mut(key).ok_or(AttachRefused::UnknownConnection)?;
        match &mut connection.phase {
            Phase::Attached(location, _) => {
                let location = *location;
                connection.phase = Phase::Releasing(Box::new(Handover { from: location, to: Some(next) }));
                release(location, &CloseReason::TakenOver.into(), effects);
            }
            Phase::Releasing(handover) => {
                if let Some(earlier) = handover.to.replace(next) {
                    release(earlier.location, &CloseReason::TakenOver.into(), effects);
                }
            }
            Phase::Waiting | Phase::Lingering | Phase::Away => self.attach_session(key, next, effects),
        }
        Ok(())
    }

    fn attach_session(&mut self, key: ConnKey, next: NextSession, effects: &mut Vec<Effect>) {
        let NextSession { location, transport, since } = next;
        let attached = self.stamps.latest();
        let Some(connection) = self.get_mut(key) else { return };
        let resume = since.map(|since| Arc::new(Resume { since, born: connection.born, attached }));
        let was_present = connection.is_present();
        connection.phase = Phase::Attached(location, transport);
        let user = connection.user;
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        if !was_present {
            self.count_present(user, 1);
        }
        self.set_deadline(key, None);
        self.sort_by_name(&mut channels);
        let Some(view) = self.user(user).map(|user| user.view.clone()) else { return };
        // Channels in order of their names, then private messages: the catch-up order of the original.
        let of = channels.len() as u32 + 1;
        for (index, channel) in (0..).zip(channels) {
            let part = CatchUpPart { index, of };
            let attaching = Attaching { part, resume: resume.clone() };
            let message = ToChannel::Attach { conn: key, user: view.clone(), location, attaching };
            effects.push(Effect::Channel(channel, message));
        }
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Attach(
            user,
            key,
            location,
            Attaching { part: CatchUpPart { index: of - 1, of }, resume },
        )));
    }

    /// Handles the end of a session. The report of a session that no longer belongs to the connection changes nothing.
    pub fn detached(&mut self, detached: Detached, now: u64, effects: &mut Vec<Effect>) {
        let Some((key, connection)) = self.connection(detached.conn_id) else { return };
        match &connection.phase {
            Phase::Attached(location, transport) if *location == detached.location => {
                let transport = *transport;
                self.detach_session(key, &detached, effects);
                self.set_unattached(key, transport, now);
            }
            Phase::Releasing(handover) if handover.from == detached.location => {
                let next = handover.to.clone();
                self.detach_session(key, &detached, effects);
                match next {
                    Some(next) => {
                        // The connection stays present: a take-over causes no presence event.
                        self.set_phase(key, Phase::Waiting);
                        self.attach_session(key, next, effects);
                    }
                    None => self.set_unattached(key, detached.transport, now),
                }
            }
            Phase::Releasing(handover)
                if handover.to.as_ref().is_some_and(|next| next.location == detached.location) =>
            {
                let from = handover.from;
                self.set_phase(key, Phase::Releasing(Box::new(Handover { from, to: None })));
            }
            _ => {}
        }
    }

    pub(super) fn set_phase(&mut self, key: ConnKey, phase: Phase) {
        if let Some(connection) = self.get_mut(key) {
            connection.phase = phase;
        }
    }

    /// Sends the cursors of the client to the channels and the private messages.
    fn detach_session(&mut self, key: ConnKey, detached: &Detached, effects: &mut Vec<Effect>) {
        let Some(connection) = self.get_mut(key) else { return };
        let cursors: FxHashMap<_, _> = detached.cursors.iter().copied().collect();
        for channel in &connection.channels {
            let message = ToChannel::Detach(key, cursors.get(channel).copied());
            effects.push(Effect::Channel(*channel, message));
        }
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Detach(
            connection.user,
            key,
            detached.private_cursor,
        )));
    }

    /// Starts the time that a connection may stay without a session.
    fn set_unattached(&mut self, key: ConnKey, transport: Transport, now: u64) {
        let (phase, at) = match transport.without_session() {
            WithoutSession::Waits => (Phase::Waiting, now + self.times.idle),
            WithoutSession::Lingers => (Phase::Lingering, now + self.times.part),
            WithoutSession::Returns => (Phase::Lingering, now + self.times.part + self.times.reconnect_delay),
        };
        self.set_phase(key, phase);
        self.set_deadline(key, Some(at));
    }

    /// A present connection without a session does not become absent before the idle time after `from`.
    pub fn keep_present(&mut self, conn_id: Uuid, from: u64) {
        let Some((key, connection)) = self.connection(conn_id) else { return };
        if matches!(connection.phase, Phase::Waiting | Phase::Lingering) {
            self.set_deadline(key, Some(from.saturating_add(self.times.idle)));
        }
    }

    /// Handles due deadlines. False if more are due, because one turn produces about `at_most` effects.
    pub fn tick(&mut self, now: u64, at_most: usize, effects: &mut Vec<Effect>) -> bool {
        let mut looked_at = self.blocks.expire(now, at_most);
        looked_at += self.close_expired(now, at_most - looked_at, effects);
        while effects.len() + looked_at < at_most {
            let Some(key) = self.deadlines.next_due(now) else { return true };
            looked_at += 1;
            let Some(connection) = self.get_mut(key) else { continue };
            connection.deadline = None;
            match connection.phase {
                Phase::Waiting | Phase::Lingering => self.become_absent(key, now, effects),
                Phase::Away => self.end_connection(key, now, effects),
                Phase::Attached(..) | Phase::Releasing(..) => {}
            }
        }
        false
    }

    fn become_absent(&mut self, key: ConnKey, now: u64, effects: &mut Vec<Effect>) {
        if self.times.grace == 0 {
            return self.end_connection(key, now, effects);
        }
        let at = now + self.times.grace;
        let Some(connection) = self.get_mut(key) else { return };
        connection.phase = Phase::Away;
        let user = connection.user;
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        self.sort_by_name(&mut channels);
        for channel in channels {
            effects.push(Effect::Channel(channel, ToChannel::Part(key, user)));
        }
        self.count_present(user, -1);
        self.set_deadline(key, Some(at));
    }

    /// Ends a connection at the request of its client or application. False if the connection does not exist.
    pub fn disconnect(&mut self, conn_id: Uuid, why: &Ending, now: u64, effects: &mut Vec<Effect>) -> bool {
        let Some((key, connection)) = self.connection(conn_id) else { return false };
        match &connection.phase {
            Phase::Attached(location, _) => release(*location, why, effects),
            Phase::Releasing(handover) => {
                release(handover.from, why, effects);
                if let Some(next) = &handover.to {
                    release(next.location, why, effects);
                }
            }
            _ => {}
        }
        self.end_connection(key, now, effects);
        true
    }

    fn end_connection(&mut self, key: ConnKey, now: u64, effects: &mut Vec<Effect>) {
        self.set_deadline(key, None);
        let Some(connection) = self.remove_connection(key) else { return };
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        self.sort_by_name(&mut channels);
        for channel in &channels {
            effects.push(Effect::Channel(*channel, ToChannel::Leave(key, connection.user)));
        }
        if connection.is_present() {
            self.count_present(connection.user, -1);
        }
        if let Some(user) = self.users.get_mut(connection.user) {
            channels.into_iter().for_each(|channel| user.connections.leave(channel));
            user.connections.remove(key);
            user.last_active = now;
            let last = user.connections.is_empty();
            effects.push(Effect::PrivateMessages(ToPrivateMessages::Close(connection.user, key, last)));
        }
    }

    /// Removes users without a connection whose idle time has passed.
    pub fn forget_users(&mut self, now: u64) {
        // Channels list users that are connected to other nodes, and keep frames that name them.
        let may_be_listed = self.stamps.follows();
        let idle = match may_be_listed {
            true => self.times.user_idle.max(self.times.longest_absence()),
            false => self.times.user_idle,
        };
        let after = |of_demo| if of_demo { idle.min(DEMO_USER_IDLE_MS) } else { idle };
        self.users.remove_if(|user| {
            let is_listed = may_be_listed && Arc::strong_count(&user.view) > 1;
            user.connections.is_empty()
                && !is_listed
                && now.saturating_sub(user.last_active) >= after(user.of_demo)
        });
    }
}

fn release(location: ConnectionSlot, why: &Ending, effects: &mut Vec<Effect>) {
    effects.push(Effect::Hub(location.hub, ToHub::Release(location.slot, why.clone())));
}
