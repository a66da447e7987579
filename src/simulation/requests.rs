//! Requests of applications. The registry answers immediately; the resulting messages to other stations are queued.

use super::World;
use crate::broker::channel::state::ChannelState;
use crate::broker::receipts::{ReceiptSlot, Receipts};
use crate::broker::registry::state::Effect;
use crate::broker::requests::{Connect, Subscribe, Unsubscribe};
use crate::config::Replay;
use crate::fixtures::{ENCODER, time};
use crate::protocol::ids::{ConnKey, Epoch};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::state::StateEntry;
use crate::protocol::value::StateValue;
use crate::protocol::websocket::close::CloseReason;
use std::collections::VecDeque;
use uuid::Uuid;

impl World {
    pub fn connect(&mut self, conn_id: Uuid, username: String, channels: Vec<String>) {
        let known = self.registry.connection(conn_id).is_some();
        let settings = |name: &String| (name.clone(), self.rules.settings(name).clone().into());
        let request = Connect {
            username,
            conn_id: Some(conn_id),
            channel_configs: channels.iter().map(settings).collect(),
            channels,
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
        };
        let is_blocked = self.admission.is_blocked(&request.username, self.now);
        match self.registry.connect(request, self.now, &mut self.effects) {
            Ok(_) => assert!(!is_blocked, "a blocked user connects"),
            Err(refused) => return assert!(is_blocked, "{refused:?}"),
        }
        let key = self.note_connected(conn_id, known);
        self.admission.vouch(key);
        self.apply();
    }

    /// Records that a request has connected a connection, which may be `known` from before.
    pub fn note_connected(&mut self, conn_id: Uuid, known: bool) -> ConnKey {
        let (key, connection) = self.registry.connection(conn_id).unwrap();
        self.users_of.insert(key, connection.user);
        if self.pages.contains_key(&conn_id) {
            self.returning.insert(key, conn_id);
        }
        assert_eq!(self.keys.insert(key), !known, "a key is never reused");
        for (state, _) in self.channels.iter().filter(|_| !known) {
            self.log.create(key, &state.identity().name, state.position().offset);
        }
        key
    }

    pub fn subscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        let settings = |name: &String| (name.clone(), self.rules.settings(name).clone().into());
        let channel_configs = channels.iter().map(settings).collect();
        let request = Subscribe { conn_id, channels, channel_configs };
        // An unknown connection is a valid case.
        let _ = self.registry.subscribe(request, &mut self.effects);
        self.apply();
    }

    pub fn unsubscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        let key = self.registry.connection(conn_id).map(|(key, _)| key);
        let left = self.registry.unsubscribe(Unsubscribe { conn_id, channels }, &mut self.effects);
        let left = left.map_or_else(Vec::new, |changed| changed.changed);
        for id in left {
            let (state, _) = &self.channels[id.0 as usize];
            let (name, at) = (&state.identity().name, (state.position().offset, self.stamps.latest()));
            self.log.unsubscribe(key.unwrap(), conn_id, name, at);
        }
        self.apply();
    }

    pub fn disconnect(&mut self, conn_id: Uuid) {
        self.registry.disconnect(conn_id, &CloseReason::Ended.into(), self.now, &mut self.effects);
        self.apply();
    }

    pub fn set_state(&mut self, user: &str) {
        let value = StateValue::Number(self.next_number().to_string().into());
        let state = vec![StateEntry { key: "k".into(), value }];
        let keys = Some(vec!["k".to_owned()]);
        // Refused if the user is not known yet.
        let _ = self.registry.set_user_state(user, state, keys, self.now, &mut self.effects);
        self.apply();
    }

    pub fn publish(&mut self, message: Message) {
        self.sent.push((message.uuid.as_u128(), message.delivery.clone()));
        let slot = self.slot();
        self.registry.post(message, slot, &mut self.effects);
        self.apply();
    }

    pub fn edit(&mut self, edit: Edit) {
        let slot = self.slot();
        self.registry.edit(edit, slot, &mut self.effects);
        self.apply();
    }

    pub fn delete(&mut self, delete: Delete) {
        let slot = self.slot();
        self.registry.delete(delete, slot, &mut self.effects);
        self.apply();
    }

    /// A slot for the receipt of every second item.
    fn slot(&mut self) -> Option<ReceiptSlot> {
        self.published += 1;
        if self.published.is_multiple_of(2) {
            return None;
        }
        let (receipts, mut slots) = Receipts::new(1);
        self.receipts.push(receipts);
        slots.pop()
    }

    /// Queues the registry's messages to other stations.
    pub fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Create(identity, settings, rules, _) => {
                    if rules.replay == Replay::Members {
                        self.log.open(&identity.name);
                    }
                    let (retention, epoch) = (self.rules.retention, Epoch::new(self.epochs.next()));
                    let stamps = self.stamps.clone();
                    let mut state =
                        ChannelState::new(identity, settings, ENCODER, retention, time(0), epoch, stamps)
                            .with_rules(rules);
                    state.set_recording(!self.pages.is_empty());
                    self.channels.push((state, VecDeque::new()));
                    self.hubs.iter_mut().for_each(|hub| hub.inputs.push(VecDeque::new()));
                }
                Effect::Channel(id, message) => self.channels[id.0 as usize].1.push_back(message),
                Effect::PrivateMessages(message) => self.private_messages.1.push_back(message),
                Effect::Hub(id, message) => {
                    self.check_release(id, &message);
                    self.hubs[usize::from(id.0)].inputs[0].push_back(message);
                }
                Effect::Record(..) => {}
            }
        }
        self.registry.check(self.now);
    }
}
