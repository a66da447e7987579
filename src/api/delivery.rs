//! The fields that messages, edits and deletions have in common: their recipients.

use super::batch::BatchItem;
use super::body::RequestLimits;
use super::fields::{CHANNEL_NAME, Field, Fields, FlagField, ListField, ListLimit, Name, USER_NAME};
use crate::protocol::json;
use crate::protocol::message::Delivery;
use uuid::Uuid;

const USERS: ListField<Name> = ListField::of(USER_NAME, ListLimit::Items);

pub(super) const CHANNEL: Field<Name> =
    Field::nullable("channel", CHANNEL_NAME, "The channel that delivers it; null for none.").default("null");
pub(super) const PM_USERS: Field<ListField<Name>> = Field::optional(
    "pm_users",
    USERS,
    "With a channel: only to these of its members. Without a channel: to all connections of these users.",
)
.default("[]");
pub(super) const EXCLUDE_USERS: Field<ListField<Name>> =
    Field::optional("exclude_users", USERS, "Members of the channel that do not receive it.").default("[]");
pub(super) const NO_HISTORY: Field<FlagField> =
    Field::optional("no_history", FlagField, "Do not store it in the channel's history.").default("false");

/// Reads the delivery fields of an item, and records an error for each wrong one.
pub(super) fn read(fields: &mut Fields<'_>) -> Delivery {
    Delivery {
        pm_users: fields.read(&PM_USERS).unwrap_or_default(),
        exclude_users: fields.read(&EXCLUDE_USERS).unwrap_or_default(),
        channel: fields.read(&CHANNEL),
        no_history: fields.read(&NO_HISTORY).unwrap_or_default(),
    }
}

/// Takes the delivery fields out of a well-typed item. Returns `None` when a length is out of range.
pub(super) fn take(item: &mut BatchItem<'_>, limits: &RequestLimits) -> Option<Delivery> {
    let delivery = Delivery {
        channel: item.channel.take(),
        pm_users: std::mem::take(&mut item.pm_users),
        exclude_users: std::mem::take(&mut item.exclude_users),
        no_history: item.no_history,
    };
    let channel_fits = delivery.channel.iter().all(|name| CHANNEL_NAME.fits(name, limits));
    let users_fit = users_fit(&delivery.pm_users, limits) && users_fit(&delivery.exclude_users, limits);
    (channel_fits && users_fit).then_some(delivery)
}

fn users_fit(users: &[String], limits: &RequestLimits) -> bool {
    users.len() <= limits.max_list_items && users.iter().all(|name| USER_NAME.fits(name, limits))
}

/// Appends the first keys of an item of the answer, from the opening brace to the id.
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
    out.extend_from_slice(b",\"uuid\":");
    json::write_uuid(*uuid, out);
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
pub(super) fn write_payload(payload: Option<&crate::protocol::value::Payload>, out: &mut Vec<u8>) {
    if let Some(payload) = payload {
        out.extend_from_slice(b",\"message\":");
        out.extend_from_slice(payload.as_bytes());
    }
}
