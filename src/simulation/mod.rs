//! The whole house without actors: the real states of registry, channels, inboxes, hubs and outboxes, joined by
//! queues, with a scheduler that is free to let any of them go on. Time and chance follow from a seed, so every run can
//! be repeated: `CHANNELSTREAM_SEED=7 cargo test --lib simulation` is the life of seed 7 again.
//!
//! Between each two stations messages keep their order, as mailboxes do; between different ones anything goes. Sockets
//! take as few bytes as their peers like, clocks move when the seed says so.

mod actions;
mod chance;
mod invariants;
mod peers;
mod tests;

use crate::channel::messages::{Publication, ToChannel};
use crate::channel::state::{ChannelState, Keeping};
use crate::fixtures::ledger::Ledger;
use crate::fixtures::{ENCODER, PLENTY, time};
use crate::hub::fanout::Fanout;
use crate::hub::messages::{Detached, ToHub};
use crate::hub::table::Table;
use crate::ids::{ChannelId, ConnKey, HubId, Offset, SlotKey, Stream, UserId};
use crate::inbox::ToInbox;
use crate::inbox::state::{InboxState, Recipient};
use crate::outbox::Pushed;
use crate::registry::messages::{Connect, Subscribe, Unsubscribe};
use crate::registry::state::{Effect, RegistryState, Times};
use crate::wire::frame::Audience;
use crate::wire::message::{Delete, Delivery, Edit, Message};
use crate::wire::settings::ChannelSettings;
use crate::wire::state::StateEntry;
use crate::wire::value::StateValue;
use crate::wire::websocket::close::CloseReason;
use chance::Chance;
use peers::Session;
use std::collections::{HashMap, HashSet, VecDeque};
use uuid::Uuid;

const HUBS: u16 = 2;
/// How long a poll's successor waits for the receipt of its answer.
const ANSWER_MS: u64 = 1_000;
/// How long a poll waits for something to be answered with.
const WAIT_MS: u64 = 800;
const TIMES: Times = Times { idle: 1_000, part: 100, grace: 2_000, user_idle: 10_000 };

/// How a world is set up.
#[derive(Clone, Debug)]
pub struct Rules {
    keeping: Keeping,
    /// Of channel 0, 1 and so on.
    settings: Vec<ChannelSettings>,
}

impl Rules {
    /// Channels differ, and in every second world they keep little.
    pub fn draw(chance: &mut Chance) -> Self {
        let few = Keeping { frames: 3 + chance.below(12) as usize, history: 1 + chance.below(8) as usize };
        let keeping = if chance.once_in(2) { few } else { PLENTY };
        let settings = (0..3).map(|_| ChannelSettings {
            notify_presence: !chance.once_in(3),
            broadcast_presence_with_user_lists: !chance.once_in(3),
            notify_state: chance.once_in(2),
            store_history: chance.once_in(2),
            history_size: chance.below(6),
            store_frames: !chance.once_in(6),
        });
        Self { keeping, settings: settings.collect() }
    }

    fn settings(&self, channel: &str) -> &ChannelSettings {
        let index: usize = channel[1..].parse().unwrap();
        &self.settings[index]
    }
}

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
    /// Bytes of frames that came, and of those that were finished with.
    bytes: (usize, usize),
}

pub struct World {
    now: u64,
    rules: Rules,
    /// Messages so far that nobody deleted.
    pub sent: Vec<(u128, Delivery)>,
    last_number: u128,
    /// Messages and the edits they have seen.
    edits: HashMap<u128, Vec<u128>>,
    /// What went through every channel at which position.
    positions: HashMap<ChannelId, Vec<(Offset, u128)>>,
    /// What went into each user's inbox since it began.
    private: HashMap<UserId, Vec<u128>>,
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
    pub fn new(rules: Rules) -> Self {
        let hub = |id| Hub {
            table: Table::new(HubId(id)),
            fanout: Fanout::default(),
            inputs: vec![VecDeque::new(), VecDeque::new()],
            output: VecDeque::new(),
            bytes: (0, 0),
        };
        Self {
            now: 0,
            sent: Vec::new(),
            last_number: 0,
            edits: HashMap::new(),
            positions: HashMap::new(),
            private: HashMap::new(),
            registry: RegistryState::new(TIMES),
            channels: Vec::new(),
            inboxes: (InboxState::new(ENCODER, rules.keeping.frames), VecDeque::new()),
            hubs: (0..HUBS).map(hub).collect(),
            sessions: Vec::new(),
            ledger: Ledger::new(),
            keys: HashSet::new(),
            effects: Vec::new(),
            rules,
        }
    }

    /// A number for something new.
    pub fn next_number(&mut self) -> u128 {
        self.last_number += 1;
        self.last_number
    }

    pub fn connect(&mut self, conn_id: Uuid, username: String, channels: Vec<String>) {
        let known = self.registry.connection(conn_id).is_some();
        let settings = |name: &String| (name.clone(), self.rules.settings(name).clone());
        let request = Connect {
            username,
            conn_id: Some(conn_id),
            channel_configs: channels.iter().map(settings).collect(),
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
        let settings = |name: &String| (name.clone(), self.rules.settings(name).clone());
        let channel_configs = channels.iter().map(settings).collect();
        let request = Subscribe { conn_id, channels, channel_configs };
        // An unknown connection is one of the things that happen.
        let _ = self.registry.subscribe(request, &mut self.effects);
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

    pub fn set_state(&mut self, user: &str) {
        let value = StateValue::Number(self.next_number().to_string().into());
        let state = vec![StateEntry { key: "k".into(), value }];
        let keys = Some(vec!["k".to_owned()]);
        // Refused for a user who is not known yet.
        let _ = self.registry.set_user_state(user, state, keys, self.now, &mut self.effects);
        self.apply();
    }

    pub fn publish(&mut self, message: Message) {
        self.sent.push((message.uuid.as_u128(), message.delivery.clone()));
        self.registry.post(message, &mut self.effects);
        self.apply();
    }

    pub fn edit(&mut self, edit: Edit) {
        self.registry.edit(edit, &mut self.effects);
        self.apply();
    }

    pub fn delete(&mut self, delete: Delete) {
        self.registry.delete(delete, &mut self.effects);
        self.apply();
    }

    /// Time passes, for everybody who has a clock.
    pub fn pass(&mut self, ms: u64) {
        let before = self.now;
        self.now += ms;
        self.registry.tick(self.now, &mut self.effects);
        self.registry.forget_users(self.now);
        self.apply();
        self.pass_for_sessions(before);
    }

    fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Create(identity, settings, _) => {
                    let state = ChannelState::new(identity, settings, ENCODER, self.rules.keeping, time(0));
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
                    Err(_) => self.say_goodbye(number, CloseReason::Ended),
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
                // Of what went through before it came back, it gets what the channel still keeps: its own
                // coming may have pushed something out.
                let kept = if self.rules.settings(&state.identity().name).store_frames {
                    self.rules.keeping.frames as Offset
                } else {
                    0
                };
                for (offset, number) in self.positions.get(&ChannelId(index as u32)).into_iter().flatten() {
                    if offset + kept <= state.offset() {
                        self.ledger.excuse(conn, stream, *number);
                    }
                }
            }
            ToChannel::Farewell(_) => {}
            ToChannel::Detach(conn, cursor) => state.detach(conn, cursor),
            ToChannel::Part(conn) => state.part(conn, &now, &mut effects),
            ToChannel::Return(conn, user) => state.return_present(conn, user, &now, &mut effects),
            ToChannel::UserChanged(view, changed) => {
                state.user_changed(view, changed.as_deref(), &now, &mut effects);
            }
            ToChannel::Configure(settings) => state.configure(settings),
            ToChannel::Publish(publication) => {
                let number = note_published(&mut self.ledger, &mut self.edits, stream, &publication);
                state.publish(publication, None, &now, &mut effects);
                self.positions.entry(ChannelId(index as u32)).or_default().push((state.offset(), number));
            }
            ToChannel::PublishTo(publication, places) => {
                let number = note_published(&mut self.ledger, &mut self.edits, stream, &publication);
                state.publish(*publication, Some(places), &now, &mut effects);
                self.positions.entry(ChannelId(index as u32)).or_default().push((state.offset(), number));
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
                if last {
                    self.private.remove(&user);
                }
                state.close(user, conn, last);
            }
            ToInbox::Farewell(_) => {}
            ToInbox::Attach(user, conn, place, part) => {
                let sent = self.private.get(&user).map_or(&[][..], Vec::as_slice);
                let gone = sent.len().saturating_sub(self.rules.keeping.frames);
                sent[..gone].iter().for_each(|number| self.ledger.excuse(conn, Stream::Inbox, *number));
                state.attach(user, conn, place, part, &mut effects);
            }
            ToInbox::Detach(user, conn, cursor) => state.detach(user, conn, cursor),
            ToInbox::Post(message, recipients) => {
                let publication = Publication::Post(message.clone(), to(&recipients));
                let number = note_published(&mut self.ledger, &mut self.edits, Stream::Inbox, &publication);
                note_private(&mut self.private, &recipients, number);
                state.post(message, &recipients, &mut effects);
            }
            ToInbox::Edit(edit, recipients) => {
                let publication = Publication::Edit(edit.clone(), to(&recipients));
                let number = note_published(&mut self.ledger, &mut self.edits, Stream::Inbox, &publication);
                note_private(&mut self.private, &recipients, number);
                state.edit(&edit, &recipients, &mut effects);
            }
            ToInbox::Delete(delete, recipients) => {
                let publication = Publication::Delete(delete.clone(), to(&recipients));
                let number = note_published(&mut self.ledger, &mut self.edits, Stream::Inbox, &publication);
                note_private(&mut self.private, &recipients, number);
                state.delete(&delete, &recipients, &mut effects);
            }
        }
        self.forward(1, effects);
        true
    }

    fn step_hub(&mut self, index: usize, input: usize) -> bool {
        let hub = &mut self.hubs[index];
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
            ToHub::DeliverPrivate(slots, frame) => {
                hub.bytes.0 += frame.live().len();
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
            ToHub::Drain | ToHub::Farewell(..) => return true,
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
        hub.bytes.1 += slice.bytes;
        for (key, pushed) in slice.casualties {
            self.settle(index, key, pushed);
        }
        true
    }

    fn settle(&mut self, hub: usize, key: SlotKey, pushed: Pushed) {
        match pushed {
            Pushed::Accepted | Pushed::Sealed => {}
            Pushed::Overflow => self.dismiss(hub, key, CloseReason::TooSlow),
            Pushed::Broken => self.dismiss(hub, key, CloseReason::ByPeer(None)),
        }
    }
}

fn to(recipients: &[Recipient]) -> Audience {
    let users: Vec<UserId> = recipients.iter().map(|recipient| recipient.user).collect();
    Audience { only: Some(users.into()), ..Audience::default() }
}

fn note_private(private: &mut HashMap<UserId, Vec<u128>>, recipients: &[Recipient], number: u128) {
    for recipient in recipients {
        private.entry(recipient.user).or_default().push(number);
    }
}

/// The number under which an edit or a deletion is known to the ledger: messages have their own.
fn number_of_edit(serial: u128) -> u128 {
    1 << 64 | serial
}

fn number_of_delete(message: u128) -> u128 {
    2 << 64 | message
}

fn note_published(
    ledger: &mut Ledger<ConnKey>,
    edits: &mut HashMap<u128, Vec<u128>>,
    stream: Stream,
    publication: &Publication,
) -> u128 {
    let (number, audience) = match publication {
        Publication::Post(message, audience) => (message.uuid.as_u128(), audience),
        Publication::Edit(edit, audience) => {
            let text = edit.message.as_ref().unwrap();
            let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).unwrap();
            let serial = u128::from(json["edit"].as_u64().unwrap());
            edits.entry(edit.uuid.as_u128()).or_default().push(serial);
            (number_of_edit(serial), audience)
        }
        Publication::Delete(delete, audience) => {
            // Whoever has not got it by now never will.
            ledger.excuse_all(delete.uuid.as_u128());
            (number_of_delete(delete.uuid.as_u128()), audience)
        }
    };
    ledger.publish(stream, number, audience.clone());
    number
}
