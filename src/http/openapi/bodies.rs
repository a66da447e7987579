//! The request bodies: their schemas are those of the fields that the readers use.

use crate::api::answer::Invalid;
use crate::api::body::RequestLimits;
use crate::api::fields::{FieldTable, object_schema};
use crate::api::{
    block, channel_config, connect, disconnect, end, info, message_delete, message_patch, message_post,
    subscribe, token, user_state,
};
use crate::console::endpoints::{commands, record};
use crate::http_error::Refusal;
use crate::protocol::time::Timestamp;
use serde_json::Value;

/// The objects in bodies, by the name of their schema.
const OBJECTS: [(&str, FieldTable); 16] = [
    ("ConnectBody", connect::FIELDS),
    ("SubscribeBody", subscribe::FIELDS),
    ("UnsubscribeBody", subscribe::FIELDS),
    ("UserStateBody", user_state::FIELDS),
    ("MessageBody", message_post::FIELDS),
    ("MessageEditBody", message_patch::FIELDS),
    ("MessagesDeleteBody", message_delete::FIELDS),
    ("ChannelConfigBody", channel_config::FIELDS),
    ("ChannelInfoBody", info::FIELDS),
    ("InfoResolution", info::OPTION_FIELDS),
    ("DisconnectBody", disconnect::FIELDS),
    ("DisconnectUserBody", commands::FIELDS),
    ("EndBody", end::FIELDS),
    ("BlockBody", block::FIELDS),
    ("UnblockBody", block::USER_FIELDS),
    ("TokenBody", token::FIELDS),
];

/// The schemas of all objects in bodies.
pub(super) fn schemas(limits: &RequestLimits) -> impl Iterator<Item = (String, Value)> {
    OBJECTS.into_iter().map(|(name, fields)| (name.to_owned(), object_schema(fields, limits)))
}

/// The refusal of a wrong body, from the reader of such bodies.
pub(super) fn refusal(reader: &str, body: &[u8], limits: &RequestLimits) -> Option<Refusal> {
    fn error<T>(read: Result<T, Invalid>) -> Option<Invalid> {
        read.err()
    }
    let invalid = match reader {
        "ConnectBody" => error(connect::ConnectRequest::parse(body, limits)),
        "SubscribeBody" | "UnsubscribeBody" => error(subscribe::SubscribeRequest::parse(body, None, limits)),
        "UserStateBody" => error(user_state::parse_user_state(body, limits)),
        "MessageBody" => error(message_post::parse_messages(body, limits, Timestamp::now())),
        "MessageEditBody" => error(message_patch::parse_edits(body, limits, Timestamp::now())),
        "MessagesDeleteBody" => error(message_delete::parse_deletes(body, limits)),
        "ChannelConfigBody" => error(channel_config::ChannelConfigRequest::parse(body, limits)),
        "ChannelInfoBody" => error(info::InfoRequest::parse(body, limits)),
        "DisconnectBody" => error(disconnect::DisconnectRequest::parse(body, limits)),
        "DisconnectUserBody" => error(commands::DisconnectUserRequest::parse(body, limits)),
        "EndBody" => error(end::EndRequest::parse(body, limits)),
        "BlockBody" => error(block::parse_block(body, limits)),
        "UnblockBody" => error(block::parse_unblock(body, limits)),
        "TokenBody" => error(token::parse_refresh(body, limits)),
        "RecordBody" => error(record::RecordRequest::parse(body, limits)),
        _ => None,
    };
    invalid.map(Refusal::from)
}
