//! The registry as a node of a cluster: it follows the streams of its members, and states in Redis which members it has.
//! Pure; calls go into an outbox, and their replies come back with the same ticket.
//!
//! A request first makes current what it needs, then runs as in a single server, then waits until its members are stated.

mod applying;
mod claims;
pub mod copies;
mod counts;
pub mod departure;
pub mod errands;
mod followed;
mod lag;
pub mod listing;
mod loading;
mod marks;
mod moving;
pub mod peers;
mod removals;
pub mod rows;
pub mod shared_blocks;
mod trust;
pub mod user_record;

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::ToChannel;
use crate::broker::engine::call::{Call, Count, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::counters::EngineCounters;
use crate::broker::engine::link::seen::Seen;
use crate::broker::engine::record::MemberView;
use crate::broker::private_messages::ToPrivateMessages;
use crate::protocol::ids::{ChannelId, ConnKey, Offset, UserId};
use crate::protocol::message::Delivery;
pub use counts::Waiter;
use counts::{CountedPair, Counts};
use followed::FollowedStreams;
use lag::DeliveryLag;
use loading::Reloading;
use marks::Marks;
use moving::Moving;
use peers::Questions;
use rows::Rows;
use rustc_hash::FxHashMap;
use shared_blocks::LoadingBlocks;
use std::sync::Arc;
use trust::Trust;
use uuid::Uuid;

/// How long nothing is stated after a call that failed, in ms. What a full Redis refuses must not be repeated at once.
const RETRY_MS: u64 = 100;

pub use crate::broker::engine::link::Ticket;

/// What the registry does when a call is answered.
#[derive(Debug)]
enum Awaited {
    /// The contents of a stream that requests need.
    Load(Arc<str>),
    /// The contents of a stream after the connection to Redis broke.
    Reload(Arc<str>),
    Set,
    /// The record of a user.
    User(String),
    /// A part of the blocks of users.
    Blocks,
    /// Rows were stored.
    Rows(Vec<ConnKey>),
    /// The row of a connection, under another number of this node.
    Claim(ConnKey, Uuid),
    /// Something that this node no longer has.
    Removal(Call),
}

/// What the registry sends to the link, in order.
#[derive(Debug)]
pub enum ToLink {
    Call(Call, Option<Ticket>),
    /// Everything is stated that this node has.
    Restated(NodeNumber),
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Cluster {
    streams: FollowedStreams,
    counts: Counts,
    rows: Rows,
    pub moving: Moving,
    pub questions: Questions,
    /// What other nodes have sent.
    posts: Vec<Vec<u8>>,
    awaited: FxHashMap<Ticket, Awaited>,
    /// Calls that may not have run, because the connection to Redis broke.
    lost_removals: Vec<Call>,
    /// Nothing is stated before this time, because a call has failed.
    retry_at: u64,
    last_ticket: Ticket,
    is_joined: bool,
    /// The node stops, and has stored its rows.
    is_leaving: bool,
    reloading: Option<Reloading>,
    /// How many pairs must be answered until everything is stated again after the connection to Redis broke.
    restating: Option<u64>,
    node: NodeNumber,
    loading_blocks: Option<LoadingBlocks>,
    /// When the blocks are loaded again, because they did not arrive.
    block_retry_at: Option<u64>,
    pub marks: Marks,
    pub(super) lag: DeliveryLag,
    counters: Arc<EngineCounters>,
    outbox: Vec<ToLink>,
    trust: Trust,
    /// What this node has seen of the streams, for the case that Redis loses it.
    seen: Arc<Seen>,
    term: u64,
    /// Members that are stated again cause no events: Redis has lost them.
    is_quiet: bool,
}

/// The key of a channel's stream in Redis.
pub fn channel_key(name: &str) -> Arc<str> {
    format!("c{name}").into()
}

/// The key of a user's private stream in Redis.
pub fn user_key(name: &str) -> Arc<str> {
    format!("u{name}").into()
}

/// The keys of the streams to which an item goes.
pub fn stream_keys(delivery: &Delivery) -> Vec<String> {
    match &delivery.channel {
        Some(channel) => vec![channel_key(channel).to_string()],
        None => delivery.users().into_iter().map(|user| user_key(user).to_string()).collect(),
    }
}

impl Cluster {
    pub fn new(seen: Arc<Seen>) -> Self {
        Self { seen, ..Self::default() }
    }

    /// Counts what happens in these counters.
    #[must_use]
    pub fn with_counters(self, counters: Arc<EngineCounters>) -> Self {
        Self { counters, ..self }
    }

    /// Takes what the link must do now.
    pub fn take_outbox(&mut self) -> Vec<ToLink> {
        std::mem::take(&mut self.outbox)
    }

    /// Observes an effect of a request before it is applied: members come and go, and what this node counts changes.
    pub fn observe(&mut self, effect: &Effect, state: &RegistryState, now: u64) {
        self.observe_row(effect, state);
        if let Effect::Channel(id, _) = effect {
            self.marks.touched(*id);
        }
        let (stream, user, members) = match effect {
            Effect::Channel(id, ToChannel::Join { user, .. }) => (Some(*id), user.id, 1),
            Effect::Channel(id, ToChannel::Leave(_, user)) => (Some(*id), *user, -1),
            Effect::Channel(id, ToChannel::Part(_, user)) => (Some(*id), *user, 0),
            Effect::Channel(id, ToChannel::Return(_, user) | ToChannel::Attach { user, .. }) => {
                (Some(*id), user.id, 0)
            }
            Effect::PrivateMessages(ToPrivateMessages::Open(user, _)) => (None, *user, 1),
            Effect::PrivateMessages(ToPrivateMessages::Close(user, ..)) => (None, *user, -1),
            Effect::Channel(id, ToChannel::Depart(_, user, _)) => (Some(*id), *user, -1),
            Effect::PrivateMessages(ToPrivateMessages::Depart(user, ..)) => (None, *user, -1),
            Effect::Channel(id, ToChannel::Adopt { user, .. }) => (Some(*id), user.id, 1),
            _ => return,
        };
        if members != 0
            && let Some(key) = state.stream_key(stream, user)
        {
            self.streams.count_members(&key, members, now);
        }
        self.counts.mark((stream, user));
    }

    fn observe_row(&mut self, effect: &Effect, state: &RegistryState) {
        match effect {
            Effect::Channel(id, ToChannel::Join { conn, .. }) => {
                self.rows.added(*conn, *id, state.stamps.latest());
            }
            Effect::Channel(id, ToChannel::Leave(conn, _)) => self.rows.left(*conn, *id),
            Effect::PrivateMessages(ToPrivateMessages::Attach(_, conn, ..)) => {
                self.rows.attached(*conn, state.stamps.latest());
            }
            Effect::Channel(id, ToChannel::Detach(conn, cursor)) => {
                let key = state.channel(*id).map(|record| channel_key(&record.identity.name));
                self.note_received(*conn, Some(*id), key, *cursor);
            }
            Effect::PrivateMessages(ToPrivateMessages::Detach(user, conn, cursor)) => {
                let key = state.user(*user).map(|record| user_key(&record.view.name));
                self.note_received(*conn, None, key, *cursor);
                self.rows.detached(*conn, state.stamps.latest());
            }
            Effect::PrivateMessages(ToPrivateMessages::Close(_, conn, _)) => self.rows.end(*conn),
            _ => {}
        }
    }

    /// The session of a connection ends, and its client has received a stream up to `cursor`.
    fn note_received(
        &mut self,
        conn: ConnKey,
        channel: Option<ChannelId>,
        key: Option<Arc<str>>,
        cursor: Option<Offset>,
    ) {
        let followed = key.and_then(|key| self.streams.get_mut(&key));
        let offset = followed.map_or(0, |followed| followed.offset());
        if cursor.is_none_or(|cursor| cursor < offset) {
            self.rows.note_behind(conn, channel, cursor);
        }
    }

    /// The number of this node.
    pub fn node(&self) -> NodeNumber {
        self.node
    }

    /// Whether the node stops, so that other nodes find its connections by their rows.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Takes what other nodes have sent.
    pub fn take_posts(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.posts)
    }

    /// The generation in which this node owns a connection.
    pub fn generation(&self, key: ConnKey) -> Option<u64> {
        self.rows.generation(key)
    }

    /// This node owns a connection in this generation.
    pub fn own_row(&mut self, conn_id: Uuid, generation: u64, state: &RegistryState) {
        if let Some((key, _)) = state.connection(conn_id) {
            if self.rows.generation(key) != Some(generation) {
                self.rows.own(key, conn_id, generation, state.stamps.latest());
                self.check_claim(conn_id, key);
            }
            self.rows.mark(key);
        }
    }

    /// Users whose presence has changed.
    pub fn note_presence(&mut self, users: Vec<UserId>) {
        users.into_iter().for_each(|user| self.counts.mark((None, user)));
    }

    /// States what has changed, unless a call is on its way or has just failed.
    pub fn flush(&mut self, state: &RegistryState, now: u64) {
        self.counts.tick(now);
        self.end_lent(now);
        if !self.is_joined || now < self.retry_at {
            return;
        }
        self.load_again();
        self.load_blocks_again(now);
        self.remove_again(state);
        self.claim_rows(state);
        let pairs = self.counts.take();
        // Requests wait until counts are stated, and with them their rows. Others are collected while a call is on its way:
        // thousands of connections may come at once.
        if !pairs.is_empty() || !self.marks.are_rows_on_their_way() {
            self.store_rows(state);
        }
        if pairs.is_empty() {
            self.end_restating();
            return self.end_doubt();
        }
        let counts = pairs.into_iter().filter_map(|pair| self.count(pair, state, now)).collect();
        let call = Call::Set { is_quiet: self.is_quiet, counts };
        self.call(call, Awaited::Set);
    }

    fn end_restating(&mut self) {
        if self.restating.take_if(|needed| *needed <= self.counts.answered()).is_some() {
            self.is_quiet = false;
            self.outbox.push(ToLink::Restated(self.node));
        }
    }

    fn count(&mut self, pair: CountedPair, state: &RegistryState, now: u64) -> Option<Count> {
        let (channel, user) = pair;
        let record = state.user(user)?;
        let here = match channel {
            Some(channel) => state.present_connections(user, channel),
            None => record.connections.len() as u32,
        };
        let connections = here + self.moving.lent(channel, user);
        let flap_ms = channel.and_then(|id| state.channel(id)).map_or(0, |record| record.rules.flap_ms);
        if !self.counts.may_state(pair, connections, flap_ms, now) {
            return None;
        }
        Some(Count {
            stream: state.stream_key(channel, user)?.to_string(),
            user: record.view.name.to_string(),
            connections,
            present: if channel.is_none() { record.present } else { 0 },
            view: MemberView::of(&record.view).encode(),
        })
    }

    /// The waiter learns when everything that has changed so far is stated.
    pub fn settle(&mut self, waiter: Waiter) {
        match self.is_joined {
            true => self.counts.wait(waiter),
            false => _ = waiter.send(Err(EngineError::Unavailable)),
        }
    }

    fn call(&mut self, call: Call, awaited: Awaited) {
        self.last_ticket += 1;
        self.awaited.insert(self.last_ticket, awaited);
        self.outbox.push(ToLink::Call(call, Some(self.last_ticket)));
    }

    /// Stores the rows that must be stored now.
    fn store_rows(&mut self, state: &RegistryState) {
        if let Some(call) = self.rows.take_ended() {
            self.remove(call);
        }
        for (keys, call) in self.rows.take_updates(state) {
            self.call(call, Awaited::Rows(keys));
            self.marks.rows_sent(self.last_ticket);
        }
    }

    /// Everything about the connections must be stored, because the node stops.
    pub fn store_all_rows(&mut self, state: &RegistryState) {
        self.is_leaving = true;
        self.rows.mark_all_changed();
        if self.is_joined {
            self.store_rows(state);
        }
    }
}

impl RegistryState {
    /// The key of a channel's stream, or of a user's.
    fn stream_key(&self, channel: Option<ChannelId>, user: UserId) -> Option<Arc<str>> {
        match channel {
            Some(id) => self.channel(id).map(|record| channel_key(&record.identity.name)),
            None => self.user(user).map(|user| user_key(&user.view.name)),
        }
    }
}

#[cfg(test)]
mod marks_tests;
#[cfg(test)]
mod nodes_tests;
#[cfg(test)]
mod retry_tests;
