//! How connections come and go: sessions attach and detach, time passes, somebody says goodbye.

use super::state::{Effect, Handover, Phase, RegistryState};
use crate::broker::channel::messages::ToChannel;
use crate::broker::hub::messages::{AttachRefused, CatchUpPart, Detached, ToHub, Transport};
use crate::broker::private_messages::ToPrivateMessages;
use crate::protocol::ids::{ConnKey, ConnectionSlot, UserId};
use crate::protocol::websocket::close::CloseReason;
use rustc_hash::FxHashMap;
use uuid::Uuid;

/// Users of demo mode are forgotten this long after their last connection: there is room for few.
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

    /// A session asks for its connection. An earlier session goes first, so that its cursors are known.
    ///
    /// # Errors
    /// No such connection.
    pub fn attach(
        &mut self,
        conn_id: Uuid,
        next: (ConnectionSlot, Transport),
        effects: &mut Vec<Effect>,
    ) -> Result<(), AttachRefused> {
        let (key, _) = self.connection(conn_id).ok_or(AttachRefused::UnknownConnection)?;
        let connection = self.get_mut(key).ok_or(AttachRefused::UnknownConnection)?;
        match &mut connection.phase {
            Phase::Attached(place, _) => {
                let place = *place;
                connection.phase = Phase::Releasing(Box::new(Handover { from: place, to: Some(next) }));
                release(place, CloseReason::TakenOver, effects);
            }
            Phase::Releasing(handover) => {
                if let Some((place, _)) = handover.to.replace(next) {
                    release(place, CloseReason::TakenOver, effects);
                }
            }
            Phase::Waiting | Phase::Lingering | Phase::Away => self.seat(key, next, effects),
        }
        Ok(())
    }

    fn seat(
        &mut self,
        key: ConnKey,
        (place, transport): (ConnectionSlot, Transport),
        effects: &mut Vec<Effect>,
    ) {
        let Some(connection) = self.get_mut(key) else { return };
        let was_present = connection.is_present();
        connection.phase = Phase::Attached(place, transport);
        let user = connection.user;
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        if !was_present {
            self.count_present(user, 1);
        }
        self.set_deadline(key, None);
        self.sort_by_name(&mut channels);
        let Some(view) = self.user(user).map(|user| user.view.clone()) else { return };
        // Channels by name, then what is private: the order in which the original catches up.
        let of = channels.len() as u32 + 1;
        for (index, channel) in (0..).zip(channels) {
            let part = CatchUpPart { index, of };
            let message = ToChannel::Attach { conn: key, user: view.clone(), place, part };
            effects.push(Effect::Channel(channel, message));
        }
        effects.push(Effect::Inbox(ToPrivateMessages::Attach(
            user,
            key,
            place,
            CatchUpPart { index: of - 1, of },
        )));
    }

    /// A session is gone. A goodbye of a session that is not the connection's any more changes nothing.
    pub fn detached(&mut self, gone: Detached, now: u64, effects: &mut Vec<Effect>) {
        let Some((key, connection)) = self.connection(gone.conn_id) else { return };
        match &connection.phase {
            Phase::Attached(place, transport) if *place == gone.place => {
                let transport = *transport;
                self.unseat(key, &gone, effects);
                self.rest(key, transport, now);
            }
            Phase::Releasing(handover) if handover.from == gone.place => {
                let next = handover.to;
                self.unseat(key, &gone, effects);
                match next {
                    Some(next) => {
                        // Present all along: a take-over is nobody's coming or going.
                        self.set_phase(key, Phase::Waiting);
                        self.seat(key, next, effects);
                    }
                    None => self.rest(key, gone.transport, now),
                }
            }
            Phase::Releasing(handover) if handover.to.is_some_and(|(next, _)| next == gone.place) => {
                let from = handover.from;
                self.set_phase(key, Phase::Releasing(Box::new(Handover { from, to: None })));
            }
            _ => {}
        }
    }

    fn set_phase(&mut self, key: ConnKey, phase: Phase) {
        if let Some(connection) = self.get_mut(key) {
            connection.phase = phase;
        }
    }

    /// Channels and inbox learn how far the peer got.
    fn unseat(&mut self, key: ConnKey, gone: &Detached, effects: &mut Vec<Effect>) {
        let Some(connection) = self.get_mut(key) else { return };
        let cursors: FxHashMap<_, _> = gone.cursors.iter().copied().collect();
        for channel in &connection.channels {
            let message = ToChannel::Detach(key, cursors.get(channel).copied());
            effects.push(Effect::Channel(*channel, message));
        }
        effects.push(Effect::Inbox(ToPrivateMessages::Detach(connection.user, key, gone.inbox)));
    }

    /// Without a session: a poll's connection waits for the next, a websocket's is soon absent.
    fn rest(&mut self, key: ConnKey, transport: Transport, now: u64) {
        let (phase, at) = match transport {
            Transport::LongPoll => (Phase::Waiting, now + self.times.idle),
            Transport::Websocket => (Phase::Lingering, now + self.times.part),
        };
        self.set_phase(key, phase);
        self.set_deadline(key, Some(at));
    }

    /// Time has passed. False if there is more to do, because so many effects are enough for one turn.
    pub fn tick(&mut self, now: u64, at_most: usize, effects: &mut Vec<Effect>) -> bool {
        let mut looked_at = 0;
        while effects.len() + looked_at < at_most {
            let Some(key) = self.deadlines.next_due(now) else { return true };
            looked_at += 1;
            let Some(connection) = self.get_mut(key) else { continue };
            connection.deadline = None;
            match connection.phase {
                Phase::Waiting | Phase::Lingering => self.leave_presence(key, now, effects),
                Phase::Away => self.end(key, now, effects),
                Phase::Attached(..) | Phase::Releasing(..) => {}
            }
        }
        false
    }

    fn leave_presence(&mut self, key: ConnKey, now: u64, effects: &mut Vec<Effect>) {
        if self.times.grace == 0 {
            return self.end(key, now, effects);
        }
        let at = now + self.times.grace;
        let Some(connection) = self.get_mut(key) else { return };
        connection.phase = Phase::Away;
        let user = connection.user;
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        self.sort_by_name(&mut channels);
        for channel in channels {
            effects.push(Effect::Channel(channel, ToChannel::Part(key)));
        }
        self.count_present(user, -1);
        self.set_deadline(key, Some(at));
    }

    /// A connection ends by its peer's or backend's wish. False: no such connection.
    pub fn disconnect(&mut self, conn_id: Uuid, now: u64, effects: &mut Vec<Effect>) -> bool {
        let Some((key, connection)) = self.connection(conn_id) else { return false };
        match &connection.phase {
            Phase::Attached(place, _) => release(*place, CloseReason::Ended, effects),
            Phase::Releasing(handover) => {
                release(handover.from, CloseReason::Ended, effects);
                if let Some((place, _)) = handover.to {
                    release(place, CloseReason::Ended, effects);
                }
            }
            _ => {}
        }
        self.end(key, now, effects);
        true
    }

    fn end(&mut self, key: ConnKey, now: u64, effects: &mut Vec<Effect>) {
        self.set_deadline(key, None);
        let Some(connection) = self.remove_connection(key) else { return };
        let mut channels: Vec<_> = connection.channels.iter().copied().collect();
        self.sort_by_name(&mut channels);
        for channel in &channels {
            effects.push(Effect::Channel(*channel, ToChannel::Leave(key)));
        }
        if connection.is_present() {
            self.count_present(connection.user, -1);
        }
        if let Some(user) = self.users.get_mut(connection.user) {
            channels.into_iter().for_each(|channel| user.connections.leave(channel));
            user.connections.remove(key);
            user.last_active = now;
            let last = user.connections.is_empty();
            effects.push(Effect::Inbox(ToPrivateMessages::Close(connection.user, key, last)));
        }
    }

    /// Forgets users who have had no connection for long.
    pub fn forget_users(&mut self, now: u64) {
        let idle = self.times.user_idle;
        let after = |of_demo| if of_demo { idle.min(DEMO_USER_IDLE_MS) } else { idle };
        self.users.forget(|user| {
            user.connections.is_empty() && now.saturating_sub(user.last_active) >= after(user.of_demo)
        });
    }
}

fn release(place: ConnectionSlot, reason: CloseReason, effects: &mut Vec<Effect>) {
    effects.push(Effect::Hub(place.hub, ToHub::Release(place.slot, reason)));
}
