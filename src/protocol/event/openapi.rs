//! Events as the API's description tells them, in the order in which [`super::Encoder`] writes their keys.

use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use crate::protocol::state::{change_shape, state_shape};

/// What `/listen` answers and each websocket frame holds: a list of events.
pub fn events(book: &mut SchemaRegistry) -> ValueSchema {
    schema::list(event(book))
}

/// One event.
pub fn event(book: &mut SchemaRegistry) -> ValueSchema {
    let shapes = [
        ("message", message as fn(&mut SchemaRegistry) -> ValueSchema),
        ("message:edit", edit),
        ("message:delete", deletion),
        ("presence", presence),
        ("user_state_change", state_change),
    ];
    book.named("Event", |book| {
        let shapes = shapes.map(|(kind, shape)| (kind, shape(book)));
        schema::about(
            schema::told_apart("type", shapes),
            "What clients are told. `type` tells the kinds apart.",
        )
    })
}

/// A user with a state: an element of what [`super::push_users`] writes.
pub fn user(book: &mut SchemaRegistry) -> ValueSchema {
    let state = state_shape(book);
    book.named("User", |_| {
        ObjectSchema::new().key("user", schema::text(), "The name.").key("state", state, "The state.").shape()
    })
}

/// What [`super::push_history_entry`] writes.
pub fn history_entry(book: &mut SchemaRegistry) -> ValueSchema {
    book.named("HistoryEntry", |_| {
        let names = || schema::list(schema::text());
        ObjectSchema::new()
            .key("pm_users", names(), "Users it was for; empty for all.")
            .key("exclude_users", names(), "Users it was not for.")
            .key("channel", schema::or_null(schema::text()), "The channel.")
            .key("no_history", schema::flag(), "Always false: others are not kept.")
            .key("uuid", schema::uuid(), "Its id.")
            .key("timestamp", schema::time(), "When it was said.")
            .key("user", schema::text(), "Who said it.")
            .may("message", schema::any_object(), "What was said, if anything was given.")
            .key("edited", schema::or_null(schema::time()), "When it was edited last.")
            .key("catchup", schema::one_value_of([false]), "Always false.")
            .key("type", schema::one_value_of(["message"]), "Always `message`.")
            .shape()
    })
}

const CATCHUP: &str = "Whether it comes late, to who was away.";
const DATE: &str = "The same as `timestamp`; left out where `date_in_frames` is off.";

fn kind(keys: ObjectSchema, name: &str) -> ObjectSchema {
    keys.key("type", schema::one_value_of([name]), "The kind of event.")
}

fn message(book: &mut SchemaRegistry) -> ValueSchema {
    book.named("MessageEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel; null when it is private.")
            .key("uuid", schema::uuid(), "Its id.")
            .key("timestamp", schema::time(), "When it was said.")
            .may("date", schema::time(), DATE)
            .key("user", schema::text(), "Who said it.")
            .may("message", schema::any_object(), "What was said, if anything was given.")
            .key("edited", schema::or_null(schema::time()), "When it was edited, if it was.");
        kind(keys, "message").key("catchup", schema::flag(), CATCHUP).shape()
    })
}

fn edit(book: &mut SchemaRegistry) -> ValueSchema {
    book.named("EditEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel that the edit names.")
            .key("uuid", schema::uuid(), "The message that changed.")
            .may("timestamp", schema::time(), "When it was said, if the edit gave it.")
            .may("date", schema::time(), DATE)
            .may("user", schema::text(), "Who says it, if the edit gave it.")
            .may("message", schema::any_object(), "What is said, if the edit gave it.")
            .key("edited", schema::time(), "When it was edited.");
        kind(keys, "message:edit")
            .may("catchup", schema::one_value_of([true]), "Only there when it comes late.")
            .shape()
    })
}

fn deletion(book: &mut SchemaRegistry) -> ValueSchema {
    book.named("DeleteEvent", |_| {
        let keys = ObjectSchema::new()
            .key("channel", schema::or_null(schema::text()), "The channel that the deletion names.")
            .key("uuid", schema::uuid(), "The message that is gone.");
        kind(keys, "message:delete")
            .may("catchup", schema::one_value_of([true]), "Only there when it comes late.")
            .shape()
    })
}

fn presence(book: &mut SchemaRegistry) -> ValueSchema {
    let (users, state) = (schema::list(user(book)), schema::or_null(state_shape(book)));
    book.named("PresenceEvent", |_| {
        let action = schema::one_value_of(["joined", "parted"]);
        let action =
            ObjectSchema::new().key("action", action, "With the first connection, or the last.").shape();
        let keys = kind(ObjectSchema::new().key("uuid", schema::uuid(), "Its id."), "presence");
        keys.key("user", schema::text(), "Who came or went.")
            .key(
                "users",
                users,
                "Who is there now, with public states; empty unless the channel is set to tell.",
            )
            .key("timestamp", schema::time(), "When.")
            .may("date", schema::time(), DATE)
            .key("channel", schema::text(), "The channel.")
            .key("message", action, "What happened.")
            .key("state", state, "The user's public state; null for who went.")
            .key("catchup", schema::flag(), CATCHUP)
            .shape()
    })
}

fn state_change(book: &mut SchemaRegistry) -> ValueSchema {
    let (state, changes) = (state_shape(book), schema::list(change_shape(book)));
    book.named("StateChangeEvent", |_| {
        let message = ObjectSchema::new()
            .key("state", state, "The whole public state.")
            .key("changed", changes, "The public keys that changed; empty when only private ones did.")
            .shape();
        let keys = kind(ObjectSchema::new().key("uuid", schema::uuid(), "Its id."), "user_state_change");
        keys.key("user", schema::text(), "Whose state it is.")
            .key("timestamp", schema::time(), "When.")
            .may("date", schema::time(), DATE)
            .key("channel", schema::text(), "The channel.")
            .key("message", message, "The state.")
            .key("catchup", schema::flag(), CATCHUP)
            .shape()
    })
}
