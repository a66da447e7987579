//! The schemas of events, with the keys in the order in which [`super::Encoder`] writes them.

use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use crate::protocol::state::{change_shape, state_shape};

/// The answer of `/listen` and the contents of a websocket frame: a list of events.
pub fn events(schemas: &mut SchemaRegistry) -> ValueSchema {
    schema::list(event(schemas))
}

pub fn event(schemas: &mut SchemaRegistry) -> ValueSchema {
    let kinds = [
        ("message", message as fn(&mut SchemaRegistry) -> ValueSchema),
        ("message:edit", edit),
        ("message:delete", deletion),
        ("presence", presence),
        ("user_state_change", state_change),
    ];
    schemas.named("Event", |schemas| {
        let kinds = kinds.map(|(kind, shape)| (kind, shape(schemas)));
        schema::about(
            schema::discriminated("type", kinds),
            "An event for clients. `type` is the kind of event.",
        )
    })
}

/// A user with a state: an element of a list of users.
pub fn user(schemas: &mut SchemaRegistry) -> ValueSchema {
    let state = state_shape(schemas);
    schemas.named("User", |_| {
        ObjectSchema::new().key("user", schema::text(), "The name.").key("state", state, "The state.").shape()
    })
}

/// The schema of [`super::push_history_entry`].
pub fn history_entry(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("HistoryEntry", |_| {
        let names = || schema::list(schema::text());
        ObjectSchema::new()
            .key("pm_users", names(), "The users that received it; empty for all.")
            .key("exclude_users", names(), "The users that did not receive it.")
            .key("channel", schema::or_null(schema::text()), "The channel.")
            .key("no_history", schema::flag(), "Always false: other messages are not stored.")
            .key("uuid", schema::uuid(), "The id of the message.")
            .key("timestamp", schema::time(), "The time of the message.")
            .key("user", schema::text(), "The sender of the message.")
            .may("message", schema::any_object(), "The payload, if one was given.")
            .key("edited", schema::or_null(schema::time()), "The time of the last edit; null without edits.")
            .key("catchup", schema::one_value_of([false]), "Always false.")
            .key("type", schema::one_value_of(["message"]), "Always `message`.")
            .shape()
    })
}

const CATCHUP: &str = "Whether the event is part of a catch-up, for a client that missed it.";
const DATE: &str = "The same as `timestamp`; omitted if `date_in_frames` is off.";

fn kind(keys: ObjectSchema, name: &str) -> ObjectSchema {
    keys.key("type", schema::one_value_of([name]), "The kind of event.")
}

fn message(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("MessageEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel; null for a private message.")
            .key("uuid", schema::uuid(), "The id of the message.")
            .key("timestamp", schema::time(), "The time of the message.")
            .may("date", schema::time(), DATE)
            .key("user", schema::text(), "The sender of the message.")
            .may("message", schema::any_object(), "The payload, if one was given.")
            .key("edited", schema::or_null(schema::time()), "The time of the last edit; null without edits.");
        kind(keys, "message").key("catchup", schema::flag(), CATCHUP).shape()
    })
}

fn edit(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("EditEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel that the edit names.")
            .key("uuid", schema::uuid(), "The id of the edited message.")
            .may("timestamp", schema::time(), "The new time of the message, if the edit contains it.")
            .may("date", schema::time(), DATE)
            .may("user", schema::text(), "The new sender, if the edit contains it.")
            .may("message", schema::any_object(), "The new payload, if the edit contains it.")
            .key("edited", schema::time(), "The time of the edit.");
        kind(keys, "message:edit")
            .may("catchup", schema::one_value_of([true]), "Only present in a catch-up.")
            .shape()
    })
}

fn deletion(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("DeleteEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel that the deletion names.")
            .key("uuid", schema::uuid(), "The id of the deleted message.");
        kind(keys, "message:delete")
            .may("catchup", schema::one_value_of([true]), "Only present in a catch-up.")
            .shape()
    })
}

fn presence(schemas: &mut SchemaRegistry) -> ValueSchema {
    let (users, state) = (schema::list(user(schemas)), schema::or_null(state_shape(schemas)));
    schemas.named("PresenceEvent", |_| {
        let action = schema::one_value_of(["joined", "parted"]);
        let action =
            ObjectSchema::new().key("action", action, "With the user's first or last connection.").shape();
        let keys = kind(ObjectSchema::new().key("uuid", schema::uuid(), "The id of the event."), "presence");
        keys.key("user", schema::text(), "The user that joined or left.")
            .key(
                "users",
                users,
                "The present users with public states; empty unless the channel's settings include them.",
            )
            .key("timestamp", schema::time(), "The time of the event.")
            .may("date", schema::time(), DATE)
            .key("channel", schema::text(), "The channel.")
            .key("message", action, "The action.")
            .key("state", state, "The user's public state; null if the user left.")
            .key("catchup", schema::flag(), CATCHUP)
            .shape()
    })
}

fn state_change(schemas: &mut SchemaRegistry) -> ValueSchema {
    let (state, changes) = (state_shape(schemas), schema::list(change_shape(schemas)));
    schemas.named("StateChangeEvent", |_| {
        let message = ObjectSchema::new()
            .key("state", state, "The whole public state.")
            .key("changed", changes, "The public keys that changed; empty if only private keys changed.")
            .shape();
        let keys = kind(
            ObjectSchema::new().key("uuid", schema::uuid(), "The id of the event."),
            "user_state_change",
        );
        keys.key("user", schema::text(), "The user whose state changed.")
            .key("timestamp", schema::time(), "The time of the event.")
            .may("date", schema::time(), DATE)
            .key("channel", schema::text(), "The channel.")
            .key("message", message, "The state and its changes.")
            .key("catchup", schema::flag(), CATCHUP)
            .shape()
    })
}
