//! The whole house without actors: the real states of registry, channels, inboxes and hubs, joined by queues, with
//! a scheduler that is free to let any of them go on. Time and chance come from outside, so every run can be
//! repeated.
//!
//! Between each two stations messages keep their order, as mailboxes do; between different ones anything goes.

mod peers;
mod tests;

use crate::channel::messages::{Publication, ToChannel};
use crate::channel::state::ChannelState;
use crate::fixtures::ledger::Ledger;
use crate::fixtures::{ENCODER, PLENTY, time};
use crate::hub::fanout::Fanout;
use crate::hub::messages::{Detached, ToHub};
use crate::hub::table::Table;
use crate::ids::{ChannelId, ConnKey, HubId, SlotKey, Stream, UserId};
use crate::inbox::ToInbox;
use crate::inbox::state::InboxState;
use crate::outbox::Pushed;
use crate::registry::messages::{Connect, Subscribe, Unsubscribe};
use crate::registry::state::{Effect, RegistryState, Times};
use crate::wire::frame::Audience;
use crate::wire::message::Message;
use crate::wire::settings::ChannelSettings;
use crate::wire::websocket::close::CloseReason;
use peers::Session;
use std::collections::{HashSet, VecDeque};
use uuid::Uuid;

const HUBS: u16 = 2;
const TIMES: Times = Times { idle: 1_000, part: 100, grace: 2_000, user_idle: 10_000 };

/// What hubs and their sessions tell the registry, in one order.
enum ToRegistry {
    /// The session of this number asks for its connection.
    Attach(usize),
    Detached(Detached),
}

struct Hub {
    table: Table,
    fanout: Fanout,
    /// From the registry, the inboxes, then each channel.
    inputs: Vec<VecDeque<ToHub>>,
    output: VecDeque<ToRegistry>,
}

pub struct World {
    pub now: u64,
    registry: RegistryState,
    channels: Vec<(ChannelState, VecDeque<ToChannel>)>,
    inboxes: (InboxState, VecDeque<ToInbox>),
    hubs: Vec<Hub>,
    sessions: Vec<Session>,
    ledger: Ledger<ConnKey>,
    keys: HashSet<ConnKey>,
    effects: Vec<Effect>,
}

impl World {
    pub fn new() -> Self {
        let hub = |id| Hub {
            table: Table::new(HubId(id)),
            fanout: Fanout::default(),
            inputs: vec![VecDeque::new(), VecDeque::new()],
            output: VecDeque::new(),
        };
        Self {
            now: 0,
            registry: RegistryState::new(TIMES),
            channels: Vec::new(),
            inboxes: (InboxState::new(ENCODER, PLENTY.frames), VecDeque::new()),
            hubs: (0..HUBS).map(hub).collect(),
            sessions: Vec::new(),
            ledger: Ledger::new(),
            keys: HashSet::new(),
            effects: Vec::new(),
        }
    }

    pub fn connect(&mut self, conn_id: Uuid, username: String, channels: Vec<String>) {
        let known = self.registry.connection(conn_id).is_some();
        let settings = ChannelSettings {
            notify_presence: true,
            broadcast_presence_with_user_lists: true,
            ..ChannelSettings::default()
        };
        let request = Connect {
            username,
            conn_id: Some(conn_id),
            channel_configs: channels.iter().map(|name| (name.clone(), settings.clone())).collect(),
            channels,
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Vec::new(),
        };
        self.registry.connect(request, self.now, &mut self.effects).unwrap();
        let (key, _) = self.registry.connection(conn_id).unwrap();
        assert_eq!(self.keys.insert(key), !known, "a key is never used again");
        self.apply();
    }

    pub fn subscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        let request = Subscribe { conn_id, channels, channel_configs: Vec::new() };
        self.registry.subscribe(request, &mut self.effects);
        self.apply();
    }

    pub fn unsubscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        self.registry.unsubscribe(Unsubscribe { conn_id, channels }, &mut self.effects);
        self.apply();
    }

    pub fn disconnect(&mut self, conn_id: Uuid) {
        self.registry.disconnect(conn_id, self.now, &mut self.effects);
        self.apply();
    }

    pub fn publish(&mut self, message: Message) {
        self.registry.post(message, &mut self.effects);
        self.apply();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.registry.tick(self.now, &mut self.effects);
        self.registry.forget_users(self.now);
        self.apply();
    }

    fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Create(identity, settings, _) => {
                    let state = ChannelState::new(identity, settings, ENCODER, PLENTY, time(0));
                    self.channels.push((state, VecDeque::new()));
                    self.hubs.iter_mut().for_each(|hub| hub.inputs.push(VecDeque::new()));
                }
                Effect::Channel(id, message) => self.channels[id.0 as usize].1.push_back(message),
                Effect::Inbox(message) => self.inboxes.1.push_back(message),
                Effect::Hub(id, message) => self.hubs[usize::from(id.0)].inputs[0].push_back(message),
            }
        }
        self.registry.check(self.now);
    }

    fn forward(&mut self, sender: usize, effects: Vec<(HubId, ToHub)>) {
        for (hub, message) in effects {
            self.hubs[usize::from(hub.0)].inputs[sender].push_back(message);
        }
    }

    /// Lets one station take one message, or one hub write to some of its members. False if it has nothing to do.
    pub fn step(&mut self, choice: usize, budget: usize) -> bool {
        let channels = self.channels.len();
        // Every pair of stations has its turn.
        let hubs = usize::from(HUBS);
        match choice % (1 + channels + hubs * (4 + channels)) {
            0 => self.step_inboxes(),
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
                let next = (session.place(), session.transport);
                match self.registry.attach(session.conn_id, next, &mut self.effects) {
                    Ok(()) => {
                        let owner = self.registry.connection(session.conn_id).map(|(key, _)| key);
                        self.sessions[number].owner = owner;
                    }
                    Err(_) => self.leave(number),
                }
            }
            Some(ToRegistry::Detached(gone)) => self.registry.detached(gone, self.now, &mut self.effects),
            None => return false,
        }
        self.apply();
        true
    }

    fn step_channel(&mut self, index: usize) -> bool {
        let (state, queue) = &mut self.channels[index];
        let Some(message) = queue.pop_front() else { return false };
        let stream = Stream::Channel(ChannelId(index as u32));
        let (mut effects, now) = (Vec::new(), time(self.now as i64));
        match message {
            ToChannel::Join { conn, user, place } => {
                self.ledger.begin(conn, user.id, stream);
                state.join(conn, user, place, &now, &mut effects);
            }
            ToChannel::Leave(conn) => {
                self.ledger.end(conn, stream, false);
                state.leave(conn, &now, &mut effects);
            }
            ToChannel::Attach { conn, user, place, part } => {
                state.attach(conn, user, place, part, &now, &mut effects);
            }
            ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
            ToChannel::Part(conn) => state.part(conn, &now, &mut effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, &mut effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, &mut effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Publish(publication) => {
                note_published(&mut self.ledger, stream, &publication);
                state.publish(publication, None, &now, &mut effects);
            }
            ToChannel::PublishTo(publication, places) => {
                note_published(&mut self.ledger, stream, &publication);
                state.publish(*publication, Some(places), &now, &mut effects);
            }
        }
        // What the registry knows of a channel's size is of any earlier moment.
        if let Some(record) = self.registry.channel(ChannelId(index as u32)) {
            record.summary.update(state);
        }
        self.forward(2 + index, effects);
        true
    }

    fn step_inboxes(&mut self) -> bool {
        let (state, queue) = &mut self.inboxes;
        let Some(message) = queue.pop_front() else { return false };
        let mut effects = Vec::new();
        match message {
            ToInbox::Open(user, conn) => {
                self.ledger.begin(conn, user, Stream::Inbox);
                state.open(user, conn);
            }
            ToInbox::Close(user, conn, last) => {
                self.ledger.end(conn, Stream::Inbox, false);
                state.close(user, conn, last);
            }
            ToInbox::Attach(user, conn, place, part) => state.attach(user, conn, place, part, &mut effects),
            ToInbox::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToInbox::Post(message, recipients) => {
                let users: Vec<UserId> = recipients.iter().map(|recipient| recipient.user).collect();
                let audience = Audience { only: Some(users.into()), ..Audience::default() };
                self.ledger.publish(Stream::Inbox, message.uuid.as_u128(), audience);
                state.post(message, &recipients, &mut effects);
            }
            ToInbox::Edit(edit, recipients) => state.edit(&edit, &recipients, &mut effects),
            ToInbox::Delete(delete, recipients) => state.delete(&delete, &recipients, &mut effects),
        }
        self.forward(1, effects);
        true
    }

    fn step_hub(&mut self, index: usize, input: usize) -> bool {
        let hub = &mut self.hubs[index];
        let Some(message) = hub.inputs[input].pop_front() else { return false };
        let (key, pushed) = match message {
            ToHub::Deliver(channel, stamped) => {
                hub.fanout.push(channel, stamped);
                return true;
            }
            ToHub::DeliverTo(channel, slots, stamped) => {
                hub.fanout.push_to(channel, slots, stamped);
                return true;
            }
            ToHub::DeliverPrivate(slots, frame) => {
                hub.fanout.push_private(slots, frame);
                return true;
            }
            ToHub::Join(channel, key, listen) => (key, hub.table.join(channel, key, listen)),
            ToHub::JoinInbox(key, listen) => (key, hub.table.join_inbox(key, listen)),
            ToHub::Leave(channel, key) => {
                let pending = hub.fanout.pending_in(channel);
                (key, hub.table.leave(channel, key, pending))
            }
            ToHub::Release(key, reason) => {
                self.dismiss(index, key, reason);
                return true;
            }
            ToHub::Drain => return true,
        };
        self.settle(index, key, pushed);
        true
    }

    fn step_fanout(&mut self, index: usize, budget: usize) -> bool {
        let hub = &mut self.hubs[index];
        if hub.fanout.is_idle() {
            return false;
        }
        let slice = hub.fanout.run(&mut hub.table, budget);
        for (key, pushed) in slice.casualties {
            self.settle(index, key, pushed);
        }
        true
    }

    fn settle(&mut self, hub: usize, key: SlotKey, pushed: Pushed) {
        match pushed {
            Pushed::Accepted | Pushed::Sealed => {}
            Pushed::Overflow | Pushed::Broken => self.dismiss(hub, key, CloseReason::TooSlow),
        }
    }

    fn dismiss(&mut self, hub: usize, key: SlotKey, reason: CloseReason) {
        let hub = &mut self.hubs[hub];
        let detached = hub.table.dismiss(key, reason);
        hub.output.extend(detached.map(ToRegistry::Detached));
    }
}

fn note_published(ledger: &mut Ledger<ConnKey>, stream: Stream, publication: &Publication) {
    if let Publication::Post(message, audience) = publication {
        ledger.publish(stream, message.uuid.as_u128(), audience.clone());
    }
}
