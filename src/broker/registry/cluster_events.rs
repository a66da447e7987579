//! The registry and the link to Redis: what arrives from it, and what goes to it.

use super::Registry;
use super::cluster::user_record::UserRecord;
use super::cluster::{ToLink, Waiter};
use crate::broker::channel::HubSenders;
use crate::broker::channel::messages::{ChannelRef, ToChannel};
use crate::broker::engine::call::ChannelToOpen;
use crate::broker::engine::link::FromEngine;
use crate::broker::marking::{MarkRoute, Marked, Marking};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::requests::{
    Connect, ConnectRefused, Requester, StateRefused, Subscribe, SubscribeRefused, TokenGrantRefused,
};
use crate::protocol::ids::{ChannelId, ServerEpoch, Stamp};
use crate::protocol::settings::ChannelConfig;
use crate::protocol::state::StateMap;
use actix::{AsyncContext, Context, Handler, Recipient};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use uuid::Uuid;

impl Registry {
    /// Sends to the link what a turn has changed.
    pub(super) fn flush_to_link(&mut self) {
        let (Some(cluster), Some(link)) = (&mut self.cluster, &self.parts.link) else { return };
        cluster.note_presence(std::mem::take(&mut self.parts.state.changed_presence));
        cluster.flush(&self.parts.state, self.clock.now_ms());
        for to_link in cluster.take_outbox() {
            match to_link {
                ToLink::Call(call, Some(ticket)) => link.send(call, ticket),
                ToLink::Call(call, None) => link.send_unanswered(call),
                ToLink::Restated(node) => link.restated(node),
            }
        }
    }

    /// Stamps belong to this store from now on.
    fn begin_life(&mut self, store: &str) {
        let life = life_of(store);
        let before = self.life.replace(life);
        if before != Some(life) {
            if let Some(link) = self.parts.link.as_ref().filter(|_| before.is_some()) {
                link.counters().retired_all.add(1);
            }
            self.parts.hubs.begin_life(life);
        }
    }

    /// Sends a delivery mark behind everything that the streams have received.
    fn pass_mark(&self, stamp: Stamp, channels: Vec<ChannelId>, context: &Context<Self>) {
        let (registry, hubs) = (context.address().recipient(), self.parts.hubs.clone());
        let passage = Marking::begin(stamp, Arc::new(ActorRoute { registry, hubs }));
        for channel in channels {
            self.send_to_channel(channel, ToChannel::Mark(passage.clone()));
        }
        self.send_to_private_messages(ToPrivateMessages::Mark(passage));
    }

    /// Stores everything about the connections, because the node stops.
    pub fn store_rows(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.store_all_rows(&self.parts.state);
            self.flush_to_link();
        }
    }

    pub(super) fn forget_idle_streams(&mut self, now: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.forget_idle(&mut self.parts.state, now, &mut self.effects);
            self.apply();
            self.flush_to_link();
        }
    }

    /// A request needs these streams until it releases them; the waiter learns when they are current.
    pub fn hold_streams(&mut self, keys: &[Arc<str>], waiter: Waiter) {
        if let Some(cluster) = &mut self.cluster {
            cluster.hold(keys, waiter);
            self.flush_to_link();
        }
    }

    pub fn release_streams(&mut self, keys: &[Arc<str>]) {
        let now = self.now_ms();
        if let Some(cluster) = &mut self.cluster {
            cluster.release(keys, now);
        }
    }

    /// The waiter learns when Redis knows the members that this node has now.
    pub fn settle(&mut self, waiter: Waiter) {
        if let Some(cluster) = &mut self.cluster {
            cluster.settle(waiter);
        }
    }
}

/// What requests ask before anything is changed in Redis, and what they store afterwards.
impl Registry {
    /// Checks whether a user may connect that has this record then.
    pub fn may_connect(
        &mut self,
        request: &Connect,
        record: &UserRecord,
        by: Requester,
    ) -> Result<(), ConnectRefused> {
        // The record contains what the request sets.
        let request = Connect { fresh_user_state: Vec::new(), user_state: Vec::new(), ..request.clone() };
        let now = self.now_ms();
        self.parts.state.acting_for(by, |state| {
            state.may_connect(&request, now)?;
            state.room_for_whole_state(&record.state).map_err(ConnectRefused::OverLimit)
        })
    }

    /// Checks whether a user's token that was issued at this time, in Unix seconds, is still valid.
    pub fn may_grant(&self, user: &str, issued_unix: Option<u64>) -> Result<(), TokenGrantRefused> {
        self.parts.state.may_grant(user, issued_unix, self.now_ms())
    }

    /// Checks whether a connection may subscribe. Returns the name of its user.
    pub fn may_subscribe(&mut self, request: &Subscribe, by: Requester) -> Result<String, SubscribeRefused> {
        self.parts.state.acting_for(by, |state| {
            let (_, user) = state.may_subscribe(request)?;
            let user = state.user(user).ok_or(SubscribeRefused::UnknownConnection)?;
            Ok(user.view.name.to_string())
        })
    }

    /// Checks whether a user may have this state.
    pub fn may_change_state(
        &mut self,
        user: &str,
        state: &StateMap,
        by: Requester,
    ) -> Result<(), StateRefused> {
        self.parts.state.acting_for(by, |registry| {
            let is_foreign =
                by == Requester::Demo && !registry.user_id(user).is_some_and(|id| registry.may_access(id));
            match is_foreign {
                true => Err(StateRefused::UnknownUser),
                false => registry.room_for_whole_state(state).map_err(StateRefused::OverLimit),
            }
        })
    }

    /// Takes the record of a user from Redis.
    pub fn install_user(&mut self, name: &str, version: u64, record: UserRecord) {
        self.parts.state.install_user(name, version, record);
    }

    /// The channels that may be missing in Redis, with the settings that they begin with.
    pub fn channels_to_open(
        &mut self,
        names: &[String],
        configs: &[(String, ChannelConfig)],
    ) -> Vec<ChannelToOpen> {
        let Some(cluster) = &mut self.cluster else { return Vec::new() };
        let unknown = names.iter().filter(|name| !cluster.is_current(name));
        let config = |name: &String| {
            let given = configs.iter().rev().find(|(configured, _)| configured == name);
            given.map(|(_, config)| config.clone()).unwrap_or_default()
        };
        unknown.map(|name| self.parts.state.to_open(name, Uuid::new_v4(), &config(name))).collect()
    }

    /// The channels with these settings.
    pub fn channels_to_configure(&self, configs: &[(String, ChannelConfig)]) -> Vec<ChannelToOpen> {
        configs.iter().map(|(name, config)| self.parts.state.to_open(name, Uuid::new_v4(), config)).collect()
    }

    /// Those of the named channels that are current.
    pub fn current_channels(&mut self, names: &[String]) -> Vec<ChannelRef> {
        let Some(cluster) = &mut self.cluster else { return Vec::new() };
        let current: Vec<_> = names.iter().filter(|name| cluster.is_current(name)).cloned().collect();
        self.list_channels(Some(&current), &[])
    }
}

/// The life of the server that belongs to a store of stamps: the same on all nodes.
fn life_of(store: &str) -> ServerEpoch {
    let digest = Sha256::digest(store.as_bytes());
    let number = digest.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk));
    ServerEpoch::new(number)
}

/// The way of a delivery mark between actors.
#[derive(Debug)]
struct ActorRoute {
    registry: Recipient<Marked>,
    hubs: Arc<HubSenders>,
}

impl MarkRoute for ActorRoute {
    fn to_hubs(&self, marking: &Arc<Marking>) {
        self.hubs.mark(marking);
    }

    fn to_registry(&self, marked: Marked) {
        self.registry.do_send(marked);
    }
}

impl Handler<FromEngine> for Registry {
    type Result = ();

    fn handle(&mut self, event: FromEngine, context: &mut Context<Self>) {
        let now = self.now_ms();
        let (Some(cluster), state) = (&mut self.cluster, &mut self.parts.state) else { return };
        state.arrived_at = now;
        let mut mark = None;
        match event {
            FromEngine::Joined { node, store, term, is_same_node, .. } => {
                cluster.joined(node, term, is_same_node, state, now, &mut self.effects);
                self.begin_life(&store);
            }
            FromEngine::Mail(payload) => cluster.mail(&payload, state, now, &mut self.effects),
            FromEngine::Reply(ticket, reply) => cluster.replied(ticket, reply, state, now, &mut self.effects),
            FromEngine::Stamp { stamp, store } => {
                cluster.lag.beat(stamp, now);
                mark = cluster.begin_mark(stamp, state).map(|channels| (stamp, channels));
                self.begin_life(&store);
            }
            FromEngine::Lost => cluster.lost(),
        }
        self.handle_posts(context);
        self.apply();
        if let Some((stamp, channels)) = mark {
            self.pass_mark(stamp, channels, context);
        }
        self.end_turn(context);
    }
}

impl Handler<Marked> for Registry {
    type Result = ();

    fn handle(&mut self, Marked { stamp, laggards }: Marked, context: &mut Context<Self>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.marked(stamp, laggards, &self.parts.state);
        }
        self.end_turn(context);
    }
}
