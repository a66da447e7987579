//! Requests of applications. The registry answers immediately; the resulting messages to other stations are queued.

use super::World;
use crate::broker::channel::state::ChannelState;
use crate::broker::registry::state::Effect;
use crate::broker::requests::{Connect, Subscribe, Unsubscribe};
use crate::fixtures::{ENCODER, time};
use crate::protocol::ids::Epoch;
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::state::StateEntry;
use crate::protocol::value::StateValue;
use crate::protocol::websocket::close::CloseReason;
use std::collections::VecDeque;
use uuid::Uuid;

impl World {
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
        assert_eq!(self.keys.insert(key), !known, "a key is never reused");
        self.apply();
    }

    pub fn subscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        let settings = |name: &String| (name.clone(), self.rules.settings(name).clone());
        let channel_configs = channels.iter().map(settings).collect();
        let request = Subscribe { conn_id, channels, channel_configs };
        // An unknown connection is a valid case.
        let _ = self.registry.subscribe(request, &mut self.effects);
        self.apply();
    }

    pub fn unsubscribe(&mut self, conn_id: Uuid, channels: Vec<String>) {
        self.registry.unsubscribe(Unsubscribe { conn_id, channels }, &mut self.effects);
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

    /// Queues the registry's messages to other stations.
    pub fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Create(identity, settings, _) => {
                    let (retention, epoch) = (self.rules.retention, Epoch::new(self.epochs.next()));
                    let state = ChannelState::new(identity, settings, ENCODER, retention, time(0), epoch);
                    self.channels.push((state, VecDeque::new()));
                    self.hubs.iter_mut().for_each(|hub| hub.inputs.push(VecDeque::new()));
                }
                Effect::Channel(id, message) => self.channels[id.0 as usize].1.push_back(message),
                Effect::PrivateMessages(message) => self.private_messages.1.push_back(message),
                Effect::Hub(id, message) => self.hubs[usize::from(id.0)].inputs[0].push_back(message),
            }
        }
        self.registry.check(self.now);
    }
}
