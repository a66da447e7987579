//! The part messages, edits and deletions have in common: whom they are for.

use super::batch::Item;
use super::fields::{CHANNEL_NAME, Fields, USER_NAME, boolean, length_fits, names, string};
use super::limits::Limits;
use crate::wire::json;
use crate::wire::message::Delivery;
use uuid::Uuid;

/// Reads the delivery fields of an item; wrong ones are noted.
pub(super) fn read(fields: &mut Fields<'_>, limits: &Limits) -> Delivery {
    let mut users =
        |name| fields.given(name, |raw| names(raw, &USER_NAME, limits.max_list_items)).unwrap_or_default();
    Delivery {
        pm_users: users("pm_users"),
        exclude_users: users("exclude_users"),
        channel: fields.nullable("channel", |raw| string(raw, &CHANNEL_NAME)),
        no_history: fields.given("no_history", boolean).unwrap_or_default(),
    }
}

/// Takes the delivery fields out of a well-typed item; `None` when a length is wrong.
pub(super) fn take(item: &mut Item<'_>, limits: &Limits) -> Option<Delivery> {
    let delivery = Delivery {
        channel: item.channel.take(),
        pm_users: std::mem::take(&mut item.pm_users),
        exclude_users: std::mem::take(&mut item.exclude_users),
        no_history: item.no_history,
    };
    let channel_fits = delivery.channel.iter().all(|name| length_fits(name, &CHANNEL_NAME));
    let users_fit = users_fit(&delivery.pm_users, limits) && users_fit(&delivery.exclude_users, limits);
    (channel_fits && users_fit).then_some(delivery)
}

fn users_fit(users: &[String], limits: &Limits) -> bool {
    users.len() <= limits.max_list_items && users.iter().all(|name| length_fits(name, &USER_NAME))
}

/// Appends the first keys of an answer's item, from the brace to the id.
pub(super) fn write(delivery: &Delivery, uuid: &Uuid, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"pm_users\":");
    json::write_strings(&delivery.pm_users, out);
    out.extend_from_slice(b",\"exclude_users\":");
    json::write_strings(&delivery.exclude_users, out);
    out.extend_from_slice(b",\"channel\":");
    match &delivery.channel {
        Some(channel) => json::write_string(channel, out),
        None => out.extend_from_slice(b"null"),
    }
    let no_history: &[u8] = if delivery.no_history { b"true" } else { b"false" };
    out.extend_from_slice(b",\"no_history\":");
    out.extend_from_slice(no_history);
    out.extend_from_slice(b",\"uuid\":\"");
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    out.push(b'"');
}

/// Appends `,"key":"text"` for a text that needs no escapes.
pub(super) fn write_plain(key: &str, text: &str, out: &mut Vec<u8>) {
    for part in [",\"", key, "\":\"", text, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends `,"user":…`.
pub(super) fn write_user(user: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"user\":");
    json::write_string(user, out);
}

/// Appends `,"message":…` with a payload, if there is one.
pub(super) fn write_payload(payload: Option<&crate::wire::value::Payload>, out: &mut Vec<u8>) {
    if let Some(payload) = payload {
        out.extend_from_slice(b",\"message\":");
        out.extend_from_slice(payload.as_bytes());
    }
}
