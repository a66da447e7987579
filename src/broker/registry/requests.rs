//! The requests of applications, operators and sessions. Effects of changes go to channels, private messages and hubs.

use super::Registry;
use super::connect::Changed;
use super::messages::Publish;
use super::state::{Effect, NextSession};
use crate::broker::batched_mailbox::Batch;
use crate::broker::channel::messages::ChannelRef;
use crate::broker::hub::messages::{Attach, Detached, ToHub};
use crate::broker::receipts::ReceiptSlot;
use crate::broker::requests::{
    Block, BlockUser, Connect, ConnectRefused, Connected, EndedConnections, Ending, Requester, SetUserState,
    StateChanged, StateRefused, Subscribe, SubscribeRefused, Subscribed, TokenGrant, TokenGrantRefused,
    UnknownConnection, Unsubscribe,
};
use crate::http_error::OverLimit;
use crate::protocol::ids::ChannelId;
use crate::protocol::settings::ChannelConfig;
use crate::protocol::websocket::close::CloseReason;
use actix::{Context, Handler};
use uuid::Uuid;

impl Registry {
    fn subscribed(&self, Changed { channels, changed }: Changed) -> Subscribed {
        let name = |id: ChannelId| Some(self.parts.state.channel(id)?.identity.name.clone());
        Subscribed {
            changed: changed.into_iter().filter_map(name).collect(),
            channels: self.channel_refs(channels),
        }
    }

    /// Applies the effects of a change, and ends its turn.
    fn end_change(&mut self, context: &mut Context<Self>) {
        self.apply();
        self.end_turn(context);
    }

    /// Ends a change that may have created a connection. If Redis decides, this node owns it in this generation.
    fn end_creation(&mut self, owned: Option<(Uuid, u64)>, context: &mut Context<Self>) {
        self.apply();
        if let Some((conn_id, generation)) = owned {
            // Before the turn ends, so that the row is stored with the members.
            self.own_row(conn_id, generation);
        }
        self.end_turn(context);
    }

    /// Connects a connection: in a cluster one that this node owns, with its id and its generation.
    pub fn connect(
        &mut self,
        request: Connect,
        by: Requester,
        owned: Option<(Uuid, u64)>,
        context: &mut Context<Self>,
    ) -> Result<Connected, ConnectRefused> {
        let now = self.now_ms();
        let opened = self.parts.state.acting_for(by, |state| state.connect(request, now, &mut self.effects));
        self.end_creation(owned, context);
        opened.map(|opened| Connected {
            conn_id: opened.conn_id,
            user: opened.user,
            channels: self.channel_refs(opened.channels),
        })
    }

    pub fn subscribe(
        &mut self,
        request: Subscribe,
        by: Requester,
        context: &mut Context<Self>,
    ) -> Result<Subscribed, SubscribeRefused> {
        let changed = self.parts.state.acting_for(by, |state| state.subscribe(request, &mut self.effects));
        self.end_change(context);
        changed.map(|changed| self.subscribed(changed))
    }

    pub fn unsubscribe(
        &mut self,
        request: Unsubscribe,
        by: Requester,
        context: &mut Context<Self>,
    ) -> Result<Subscribed, UnknownConnection> {
        let changed = self.parts.state.acting_for(by, |state| state.unsubscribe(request, &mut self.effects));
        self.end_change(context);
        changed.ok_or(UnknownConnection).map(|changed| self.subscribed(changed))
    }

    pub fn set_user_state(
        &mut self,
        request: SetUserState,
        by: Requester,
        context: &mut Context<Self>,
    ) -> Result<StateChanged, StateRefused> {
        let now = self.now_ms();
        let SetUserState { user, user_state, state_public_keys } = request;
        let new = self.parts.state.acting_for(by, |state| {
            state.set_user_state(&user, user_state, state_public_keys, now, &mut self.effects)
        });
        self.end_change(context);
        new.map(|new| StateChanged { user: new.user, changed: new.changed, public_keys: new.public_keys })
    }

    pub fn configure(
        &mut self,
        configs: Vec<(String, ChannelConfig)>,
        context: &mut Context<Self>,
    ) -> Result<Vec<ChannelRef>, OverLimit> {
        let ids = self.parts.state.configure(configs, &mut self.effects);
        self.end_change(context);
        ids.map(|ids| self.channel_refs(ids))
    }

    pub fn disconnect(&mut self, conn_id: Uuid, why: &Ending, context: &mut Context<Self>) -> bool {
        let now = self.now_ms();
        let known = self.parts.state.disconnect(conn_id, why, now, &mut self.effects);
        self.apply_in_turns(context);
        known
    }

    pub fn disconnect_user(
        &mut self,
        user: &str,
        at_most: usize,
        why: &Ending,
        context: &mut Context<Self>,
    ) -> Option<EndedConnections> {
        let now = self.now_ms();
        let ended = self.parts.state.disconnect_user(user, at_most, why, now, &mut self.effects);
        self.apply_in_turns(context);
        ended
    }

    /// Grants a connection. `owned` as of [`Registry::connect`], if it is new.
    pub fn grant_token(
        &mut self,
        grant: TokenGrant,
        owned: Option<(Uuid, u64)>,
        context: &mut Context<Self>,
    ) -> Result<Uuid, TokenGrantRefused> {
        let now = self.now_ms();
        let granted = self.parts.state.grant(grant, now, &mut self.effects);
        self.end_creation(owned, context);
        granted
    }

    pub fn block(&mut self, request: BlockUser) -> Result<(), OverLimit> {
        let (now, state) = (self.now_ms(), &mut self.parts.state);
        state.blocks.set(request, now, state.limits.blocks)
    }

    pub fn unblock(&mut self, user: &str) -> bool {
        self.parts.state.blocks.remove(user)
    }

    pub fn list_blocks(&self) -> Vec<Block> {
        self.parts.state.blocks.list(self.now_ms())
    }

    /// The named channels without those in `exclude`; unknown names are ignored. `None` means all channels.
    pub fn list_channels(&self, names: Option<&[String]>, exclude: &[String]) -> Vec<ChannelRef> {
        self.channel_refs(self.parts.state.list(names, exclude))
    }

    pub fn browse_channels(&self, from: usize, count: usize) -> Vec<ChannelRef> {
        self.channel_refs(self.parts.state.browse_channels(from, count))
    }
}

/// The items, each with its slot if there are slots.
fn with_slots<T>(items: Vec<T>, slots: Vec<ReceiptSlot>) -> impl Iterator<Item = (T, Option<ReceiptSlot>)> {
    let mut slots = slots.into_iter();
    items.into_iter().map(move |item| (item, slots.next()))
}

impl Handler<Publish> for Registry {
    type Result = ();

    fn handle(&mut self, request: Publish, context: &mut Self::Context) {
        self.parts.in_flight.registry.sub(1);
        let (state, effects) = (&self.parts.state, &mut self.effects);
        match request {
            Publish::Post(messages, slots) => {
                let counters = &self.parts.counters;
                counters.messages.add(messages.len() as u64);
                let posted = with_slots(messages, slots);
                counters.queued.add(posted.map(|(message, slot)| state.post(message, slot, effects)).sum());
            }
            Publish::Edit(edits, slots) => {
                with_slots(edits, slots).for_each(|(edit, slot)| state.edit(edit, slot, effects));
            }
            Publish::Delete(deletes, slots) => {
                with_slots(deletes, slots).for_each(|(delete, slot)| state.delete(delete, slot, effects));
            }
            Publish::Recheck(items) => {
                items.into_iter().for_each(|(item, slot)| state.recheck(item, slot, effects));
            }
        }
        self.apply();
        self.end_turn(context);
    }
}

impl Handler<Batch<Publish>> for Registry {
    type Result = ();

    fn handle(&mut self, batch: Batch<Publish>, context: &mut Self::Context) {
        batch.0.into_iter().for_each(|request| self.handle(request, context));
    }
}

impl Handler<Attach> for Registry {
    type Result = ();

    fn handle(&mut self, request: Attach, context: &mut Self::Context) {
        let Attach { conn_id, location, transport, since, answer } = request;
        let next = NextSession { location, transport, since };
        let attached = self.parts.state.attach(conn_id, next, &mut self.effects);
        match answer {
            // If the session has already ended, its `Detached` follows this request.
            Some(answer) => _ = answer.send(attached),
            // Like the original: accepted and closed immediately.
            None if attached.is_err() => {
                let release = ToHub::Release(location.slot, CloseReason::Ended.into());
                self.effects.push(Effect::Hub(location.hub, release));
            }
            None => {}
        }
        self.apply_in_turns(context);
    }
}

impl Handler<Detached> for Registry {
    type Result = ();

    fn handle(&mut self, detached: Detached, context: &mut Self::Context) {
        let (now, conn_id) = (self.now_ms(), detached.conn_id);
        self.parts.state.detached(detached, now, &mut self.effects);
        self.depart(conn_id);
        self.apply_in_turns(context);
    }
}
