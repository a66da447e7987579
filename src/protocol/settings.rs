//! What a channel does with what passes through it.

use super::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use serde::Serialize;
use std::io::Write;

/// Settings of a channel, as `channel_configs` and `/channel_config` give them and channel infos show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSettings {
    /// Tell members when users come and go.
    pub notify_presence: bool,
    /// Keep messages for `history`.
    pub store_history: bool,
    /// Messages kept; 0 never cuts (behaviour of the original).
    pub history_size: u64,
    /// Presence events carry the list of users.
    pub broadcast_presence_with_user_lists: bool,
    /// Tell members when a user's state changes.
    pub notify_state: bool,
    /// Keep frames for clients that come back.
    pub store_frames: bool,
}

impl ChannelSettings {
    /// The shape of settings as they are written.
    pub fn shape(book: &mut SchemaRegistry) -> ValueSchema {
        book.named("ChannelSettings", |_| {
            ObjectSchema::new()
                .key("notify_presence", schema::flag(), "Members are told who joins and who leaves.")
                .key("store_history", schema::flag(), "Messages are kept for `history`.")
                .key("history_size", schema::count(), "How many; 0 means as many as `max_history_size`.")
                .key(
                    "broadcast_presence_with_user_lists",
                    schema::flag(),
                    "Presence events carry the list of users.",
                )
                .key("notify_state", schema::flag(), "Members are told of changes of a member's state.")
                .key("store_frames", schema::flag(), "Events are kept for who comes back.")
                .shape()
        })
    }
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            notify_presence: false,
            store_history: false,
            history_size: 10,
            broadcast_presence_with_user_lists: false,
            notify_state: false,
            store_frames: true,
        }
    }
}

impl ChannelSettings {
    /// Appends the settings as a JSON object. Every answer of /connect and /subscribe holds some: this costs a tenth of
    /// what a serializer does.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let flag = |out: &mut Vec<u8>, name: &[u8], value: bool| {
            out.extend_from_slice(name);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        };
        flag(out, b"{\"notify_presence\":", self.notify_presence);
        flag(out, b",\"store_history\":", self.store_history);
        // Writing to a Vec cannot fail.
        let _ = write!(out, ",\"history_size\":{}", self.history_size);
        let lists = self.broadcast_presence_with_user_lists;
        flag(out, b",\"broadcast_presence_with_user_lists\":", lists);
        flag(out, b",\"notify_state\":", self.notify_state);
        flag(out, b",\"store_frames\":", self.store_frames);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_written_as_a_serializer_writes_it(flags in any::<[bool; 5]>(), history_size in any::<u64>()) {
            let [notify_presence, store_history, broadcast_presence_with_user_lists, notify_state, store_frames] =
                flags;
            let settings = ChannelSettings {
                notify_presence,
                store_history,
                history_size,
                broadcast_presence_with_user_lists,
                notify_state,
                store_frames,
            };
            let mut out = Vec::new();
            settings.write_json(&mut out);
            prop_assert_eq!(out, serde_json::to_vec(&settings).unwrap());
        }
    }
}
