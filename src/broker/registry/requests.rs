//! Requests of applications that change the registry. Their effects go to channels, private messages and hubs.

use super::Registry;
use super::connect::Changed;
use super::messages::{
    Configure, Connect, Connected, Disconnect, DisconnectUser, OfDemo, Publish, SetUserState, StateChanged,
    Subscribe, Subscribed, UnknownConnection, Unsubscribe,
};
use crate::broker::batched_mailbox::Batch;
use crate::protocol::ids::ChannelId;
use actix::{Handler, MessageResult};

impl Registry {
    fn subscribed(&self, Changed { channels, changed }: Changed) -> Subscribed {
        let name = |id: ChannelId| Some(self.parts.state.channel(id)?.identity.name.clone());
        Subscribed {
            changed: changed.into_iter().filter_map(name).collect(),
            channels: self.channel_refs(channels),
        }
    }
}

macro_rules! of_demo {
    ($($request:ty),+) => {$(
        impl Handler<OfDemo<$request>> for Registry {
            type Result = MessageResult<OfDemo<$request>>;

            fn handle(&mut self, request: OfDemo<$request>, context: &mut Self::Context) -> Self::Result {
                self.parts.state.begin_demo();
                let MessageResult(answer) = Handler::<$request>::handle(self, request.0, context);
                self.parts.state.end_demo();
                MessageResult(answer)
            }
        }
    )+};
}

of_demo!(Connect, Subscribe, Unsubscribe, SetUserState);

impl Handler<Connect> for Registry {
    type Result = MessageResult<Connect>;

    fn handle(&mut self, request: Connect, context: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let opened = self.parts.state.connect(request, now, &mut self.effects);
        self.apply();
        self.end_turn(context);
        MessageResult(opened.map(|opened| Connected {
            conn_id: opened.conn_id,
            user: opened.user,
            channels: self.channel_refs(opened.channels),
        }))
    }
}

impl Handler<Subscribe> for Registry {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, request: Subscribe, context: &mut Self::Context) -> Self::Result {
        let changed = self.parts.state.subscribe(request, &mut self.effects);
        self.apply();
        self.end_turn(context);
        MessageResult(changed.map(|changed| self.subscribed(changed)))
    }
}

impl Handler<Unsubscribe> for Registry {
    type Result = MessageResult<Unsubscribe>;

    fn handle(&mut self, request: Unsubscribe, context: &mut Self::Context) -> Self::Result {
        let changed = self.parts.state.unsubscribe(request, &mut self.effects);
        self.apply();
        self.end_turn(context);
        MessageResult(changed.ok_or(UnknownConnection).map(|changed| self.subscribed(changed)))
    }
}

impl Handler<SetUserState> for Registry {
    type Result = MessageResult<SetUserState>;

    fn handle(&mut self, request: SetUserState, context: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let SetUserState { user, user_state, state_public_keys } = request;
        let state = &mut self.parts.state;
        let new = state.set_user_state(&user, user_state, state_public_keys, now, &mut self.effects);
        self.apply();
        self.end_turn(context);
        MessageResult(new.map(|new| StateChanged {
            user: new.user,
            changed: new.changed,
            public_keys: new.public_keys,
        }))
    }
}

impl Handler<Publish> for Registry {
    type Result = ();

    fn handle(&mut self, request: Publish, context: &mut Self::Context) {
        self.parts.in_flight.registry.sub(1);
        let (state, effects) = (&self.parts.state, &mut self.effects);
        match request {
            Publish::Post(messages) => {
                let counters = &self.parts.counters;
                counters.messages.add(messages.len() as u64);
                counters.queued.add(messages.into_iter().map(|message| state.post(message, effects)).sum());
            }
            Publish::Edit(edits) => edits.into_iter().for_each(|edit| state.edit(edit, effects)),
            Publish::Delete(deletes) => deletes.into_iter().for_each(|delete| state.delete(delete, effects)),
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

impl Handler<Configure> for Registry {
    type Result = MessageResult<Configure>;

    fn handle(&mut self, request: Configure, context: &mut Self::Context) -> Self::Result {
        let ids = self.parts.state.configure(request.0, &mut self.effects);
        self.apply();
        self.end_turn(context);
        MessageResult(ids.map(|ids| self.channel_refs(ids)))
    }
}

impl Handler<Disconnect> for Registry {
    type Result = bool;

    fn handle(&mut self, Disconnect(conn_id): Disconnect, context: &mut Self::Context) -> bool {
        let now = self.now_ms();
        let known = self.parts.state.disconnect(conn_id, now, &mut self.effects);
        self.apply_in_turns(context);
        known
    }
}

impl Handler<DisconnectUser> for Registry {
    type Result = MessageResult<DisconnectUser>;

    fn handle(&mut self, request: DisconnectUser, context: &mut Self::Context) -> Self::Result {
        let now = self.now_ms();
        let state = &mut self.parts.state;
        let ended = state.disconnect_user(&request.user, request.at_most, now, &mut self.effects);
        self.apply_in_turns(context);
        MessageResult(ended)
    }
}
