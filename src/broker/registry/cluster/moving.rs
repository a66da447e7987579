//! Connections that come from other nodes, and those that go to them.

use super::Cluster;
use super::departure::Departure;
use super::errands::{Errand, Errands};
use super::peers::{Answer, MovedConnection, MovedPlace, Post};
use crate::broker::channel::messages::ToChannel;
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::link::LinkHandle;
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::registry::state::{Effect, Phase, RegistryState};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot, Stamp, UserId};
use crate::protocol::websocket::close::CloseReason;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use uuid::Uuid;

/// How long this node counts a connection that another node has taken, in ms, unless that node counts it earlier. So the
/// total never becomes zero, and no user parts.
const LENT_MS: u64 = 3_000;

/// The connections that are between two nodes.
#[derive(Debug, Default)]
pub struct Moving {
    /// Connections whose session must end before they go, and the question to answer then.
    going: FxHashMap<Uuid, (NodeNumber, u64)>,
    /// Connections that have gone, but still count here, and how many each user has.
    lent: FxHashMap<Uuid, Lent>,
    lent_of: FxHashMap<UserId, u32>,
    pub errands: Errands,
}

#[derive(Debug)]
struct Lent {
    user: UserId,
    /// Empty if the connection was absent.
    channels: Vec<ChannelId>,
    until: u64,
}

impl Moving {
    /// The number of a user's connections that have gone and still count in a channel, or at all.
    pub fn lent(&self, channel: Option<ChannelId>, user: UserId) -> u32 {
        // Usually there are none.
        if !self.lent_of.contains_key(&user) {
            return 0;
        }
        let lent = self.lent.values().filter(|lent| lent.user == user);
        lent.filter(|lent| channel.is_none_or(|channel| lent.channels.contains(&channel))).count() as u32
    }

    fn count_lent(&mut self, user: UserId, by: i32) {
        let count = self.lent_of.entry(user).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.lent_of.remove(&user);
        }
    }

    /// Whether a connection has just left this node, or is on its way to it.
    pub fn is_between(&self, conn_id: Uuid) -> bool {
        self.errands.is_running(Errand::Bring(conn_id)) || self.has_left(conn_id)
    }

    /// Whether this node has given a connection up, and still counts it.
    pub fn has_left(&self, conn_id: Uuid) -> bool {
        self.lent.contains_key(&conn_id)
    }
}

impl Cluster {
    /// A request has ended, and with it its errand. If it was about a connection that is not here, `give_up` runs in Redis.
    pub fn end_errand(
        &mut self,
        errand: Errand,
        request: Uuid,
        give_up: Option<Call>,
        state: &RegistryState,
    ) {
        self.moving.errands.end(errand, request);
        let is_here = match errand {
            Errand::Bring(conn_id) => state.connection(conn_id).is_some(),
            Errand::Watch(_) => false,
        };
        if let Some(call) = give_up.filter(|_| !is_here) {
            self.remove(call);
        }
    }

    /// Another node counts a connection that it got from this one.
    pub fn raised(&mut self, conn_id: Uuid) {
        if let Some(lent) = self.moving.lent.remove(&conn_id) {
            self.moving.count_lent(lent.user, -1);
            self.counts.mark((None, lent.user));
            lent.channels.into_iter().for_each(|channel| self.counts.mark((Some(channel), lent.user)));
        }
    }

    /// Stops counting connections whose new owner has not answered in time.
    pub fn end_lent(&mut self, now: u64) {
        let due = self.moving.lent.iter().filter(|(_, lent)| lent.until <= now);
        let due: Vec<_> = due.map(|(conn_id, _)| *conn_id).collect();
        due.into_iter().for_each(|conn_id| self.raised(conn_id));
    }

    /// Another node asks for a connection. It goes at once, or when its session has ended. False if this node does not own
    /// it.
    pub fn release_connection(
        &mut self,
        conn_id: Uuid,
        asked: (NodeNumber, u64),
        link: &LinkHandle,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if state.connection(conn_id).is_none() || self.moving.errands.is_running(Errand::Bring(conn_id)) {
            return false;
        }
        self.moving.going.insert(conn_id, asked);
        if !state.end_session_for_move(conn_id, effects) {
            self.depart(conn_id, link, state, now, effects);
        }
        true
    }

    /// A session has ended. If its connection is to go, it goes now.
    pub fn depart(
        &mut self,
        conn_id: Uuid,
        link: &LinkHandle,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        if !self.moving.going.contains_key(&conn_id) || state.has_session(conn_id) {
            return;
        }
        let Some(asked) = self.moving.going.remove(&conn_id) else { return };
        let Some((key, _)) = state.connection(conn_id) else {
            // It has ended meanwhile.
            let (to, id) = asked;
            let bytes = Post::Answer { id, answer: Answer::Unknown }.write();
            return link.send_unanswered(Call::Send { to, bytes });
        };
        let Some((moved, user, channels)) = state.moved(key, now) else { return };
        let generation = self.rows.depart(key).unwrap_or_default();
        let counted = if moved.is_present { channels.clone() } else { Vec::new() };
        self.moving.count_lent(user, 1);
        self.moving.lent.insert(conn_id, Lent { user, channels: counted, until: now + LENT_MS });
        let departure = Arc::new(Departure::new(moved, link.clone(), (self.node, generation), asked));
        for channel in channels {
            effects.push(Effect::Channel(channel, ToChannel::Depart(key, user, departure.clone())));
        }
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Depart(user, key, departure)));
        state.forget_moved(key);
    }

    /// A connection comes from another node. Its streams are current.
    pub fn adopt(
        &mut self,
        moved: &MovedConnection,
        generation: u64,
        state: &mut RegistryState,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        // It counts here again.
        self.raised(moved.conn_id);
        if self.reloading.is_none() {
            // What the client has received elsewhere is older than its generation: it must not take what is subscribed from
            // now on for something that it knows. All mail of before this stamp has arrived.
            state.stamps.follow(Stamp(generation));
        }
        let key = state.adopt(moved, now, effects);
        self.rows.own(key, moved.conn_id, generation, state.stamps.latest());
        self.check_claim(moved.conn_id, key);
        self.rows.place(key, None, moved.private.received);
        for (name, place) in &moved.channels {
            let Some(channel) = state.channel_id(name) else { continue };
            self.rows.place(key, Some(channel), place.received);
            if place.joined_stamp > moved.born {
                self.rows.added(key, channel, Stamp(place.joined_stamp));
            }
        }
        self.rows.mark(key);
    }
}

fn taken_over(location: ConnectionSlot) -> Effect {
    Effect::Hub(location.hub, ToHub::Release(location.slot, CloseReason::TakenOver.into()))
}

impl RegistryState {
    /// Closes the session of a connection that is to move. False if there is none.
    fn end_session_for_move(&mut self, conn_id: Uuid, effects: &mut Vec<Effect>) -> bool {
        let Some((key, connection)) = self.connection(conn_id) else { return false };
        match connection.phase.clone() {
            Phase::Attached(location, _) => {
                self.set_phase(key, Phase::releasing(location));
                effects.push(taken_over(location));
                true
            }
            Phase::Releasing(handover) => {
                self.set_phase(key, Phase::releasing(handover.from));
                effects.extend(handover.to.map(|next| taken_over(next.location)));
                true
            }
            Phase::Waiting | Phase::Lingering | Phase::Away => false,
        }
    }

    /// Ends a connection here that continues at another node.
    pub(super) fn give_up(&mut self, key: ConnKey, effects: &mut Vec<Effect>) {
        let Some(connection) = self.get_mut(key) else { return };
        let (conn_id, user, channels) = (connection.id, connection.user, connection.channels.clone());
        self.end_session_for_move(conn_id, effects);
        effects.extend(channels.into_iter().map(|id| Effect::Channel(id, ToChannel::Leave(key, user))));
        let is_last = self.user(user).is_none_or(|user| user.connections.len() == 1);
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Close(user, key, is_last)));
        self.forget_moved(key);
    }

    /// The name of the user of a connection.
    pub(super) fn user_of(&self, key: ConnKey) -> Option<&str> {
        Some(&self.user(self.connections.get(key.index as usize)?.user)?.view.name)
    }

    fn has_session(&self, conn_id: Uuid) -> bool {
        let phase = self.connection(conn_id).map(|(_, connection)| &connection.phase);
        matches!(phase, Some(Phase::Attached(..) | Phase::Releasing(_)))
    }

    /// A connection in the form in which it moves, without its places; its user and channels.
    fn moved(&self, key: ConnKey, now: u64) -> Option<(MovedConnection, UserId, Vec<ChannelId>)> {
        let connection = self.connections.get(key.index as usize)?;
        let moved = MovedConnection {
            conn_id: connection.id,
            user: self.user(connection.user)?.view.name.to_string(),
            channels: Default::default(),
            private: MovedPlace::default(),
            is_present: connection.is_present(),
            born: connection.born.0,
            token: self.expiries.remaining(key, now),
        };
        Some((moved, connection.user, connection.channels.to_vec()))
    }

    /// Forgets a connection that has moved. Its user stays a member where it still counts.
    fn forget_moved(&mut self, key: ConnKey) {
        self.set_deadline(key, None);
        let Some(connection) = self.remove_connection(key) else { return };
        if connection.is_present() {
            self.count_present(connection.user, -1);
        }
        if let Some(user) = self.users.get_mut(connection.user) {
            connection.channels.into_iter().for_each(|channel| user.connections.leave(channel));
            user.connections.remove(key);
        }
    }

    /// Takes a connection from another node. Without a session it is waiting, or absent as it was there.
    fn adopt(&mut self, moved: &MovedConnection, now: u64, effects: &mut Vec<Effect>) -> ConnKey {
        let user = self.intern(&moved.user);
        let key = self.insert_connection(moved.conn_id, user);
        let channels =
            moved.channels.iter().filter_map(|(name, place)| Some((self.channel_id(name)?, *place)));
        let channels: Vec<_> = channels.collect();
        if let Some(connection) = self.get_mut(key) {
            connection.born = Stamp(moved.born);
            connection.channels = channels.iter().map(|(channel, _)| *channel).collect();
            connection.phase = if moved.is_present { Phase::Waiting } else { Phase::Away };
        }
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Open(user, key)));
        effects.push(Effect::PrivateMessages(ToPrivateMessages::Adopt(user, key, moved.private)));
        if let Some(record) = self.users.get_mut(user) {
            channels.iter().for_each(|(channel, _)| record.connections.join(*channel));
            let (view, is_present) = (record.view.clone(), moved.is_present);
            effects.extend(channels.into_iter().map(|(channel, place)| {
                let adopt = ToChannel::Adopt { conn: key, user: view.clone(), place, is_present };
                Effect::Channel(channel, adopt)
            }));
        }
        if moved.is_present {
            self.count_present(user, 1);
        }
        if let Some((unix, left_ms)) = moved.token {
            self.expiries.set(key, unix, now + left_ms);
        }
        let wait = if moved.is_present { self.times.idle } else { self.times.grace };
        self.set_deadline(key, Some(now + wait));
        key
    }
}
