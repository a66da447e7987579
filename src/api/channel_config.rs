//! POST /channel_config: create channels and change their settings.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{
    Field, FieldKind, FieldTable, Fields, FlagField, INPUT_TYPE, ListLimit, Mapping, ObjectField,
    ObjectMembers, Size, too_long,
};
use super::info::InfoOptions;
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::protocol::settings::ChannelConfig;
use actix_web::{HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const NOTIFY_PRESENCE: Field<FlagField> =
    Field::optional("notify_presence", FlagField, "Notify members when a user joins or leaves.");
const WITH_USER_LISTS: Field<FlagField> = Field::optional(
    "broadcast_presence_with_user_lists",
    FlagField,
    "Add the list of present users to these events.",
);
const NOTIFY_STATE: Field<FlagField> =
    Field::optional("notify_state", FlagField, "Notify members when a member's state changes.");
const STORE_HISTORY: Field<FlagField> =
    Field::optional("store_history", FlagField, "Keep messages for `channels_info`.");
const HISTORY_SIZE: Field<Size> =
    Field::optional("history_size", Size, "Number of messages kept; 0 means `max_history_size`.");
const STORE_FRAMES: Field<FlagField> =
    Field::optional("store_frames", FlagField, "Keep events for clients that reconnect.");

/// Settings of one channel. A setting that is left out has the channel's default.
const SETTINGS: ObjectField<ChannelConfig> =
    ObjectField { name: "ChannelConfigBody", fields: FIELDS, read: settings };
pub(crate) const FIELDS: FieldTable =
    &[&NOTIFY_PRESENCE, &WITH_USER_LISTS, &NOTIFY_STATE, &STORE_HISTORY, &HISTORY_SIZE, &STORE_FRAMES];

/// The `channel_configs` of /connect, /subscribe and /unsubscribe: here null is an error.
pub(super) const CHANNEL_CONFIGS: Field<Mapping<ObjectField<ChannelConfig>>> = Field::optional(
    "channel_configs",
    Mapping::to(SETTINGS, ListLimit::Channels),
    "Settings of channels that this call creates, by name.",
)
.default("{}");

pub type ChannelConfigs = Vec<(String, ChannelConfig)>;

/// The settings that channels have from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfigRequest {
    /// In the order given. Names are not checked, as in the original.
    pub configs: ChannelConfigs,
}

impl ChannelConfigRequest {
    /// Reads a body `{name: settings}`. As in the original, null stands for the default settings, and only the errors
    /// of the first wrong channel are reported, without its name.
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        let max = limits.max_channels_per_request;
        let members =
            ObjectMembers::of(body::root(body, limits)?, max).ok_or_else(|| Invalid::schema(INPUT_TYPE))?;
        if members.len() > max {
            return Err(Invalid::from(json!({ "_schema": too_long(max) })));
        }
        if !members.unreadable().is_empty() {
            return Err(Invalid::schema("Not a valid string."));
        }
        let read = |(name, raw): (String, &RawValue)| match raw.get() {
            "null" => Ok((name, ChannelConfig::default())),
            _ => SETTINGS.read(raw, limits).map(|settings| (name, settings)),
        };
        let configs = members.into_iter().map(read).collect::<Result<_, Value>>()?;
        Ok(Self { configs })
    }
}

fn settings(fields: &mut Fields<'_>) -> Option<ChannelConfig> {
    Some(ChannelConfig {
        notify_presence: fields.read(&NOTIFY_PRESENCE),
        store_history: fields.read(&STORE_HISTORY),
        broadcast_presence_with_user_lists: fields.read(&WITH_USER_LISTS),
        notify_state: fields.read(&NOTIFY_STATE),
        store_frames: fields.read(&STORE_FRAMES),
        history_size: fields.read(&HISTORY_SIZE),
    })
}

/// POST /channel_config.
///
/// # Errors
/// `Invalid`, `OverLimit`, `Busy`.
pub async fn channel_config(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    change(&broker, &body).await
}

/// Changes the settings and writes the answer.
///
/// # Errors
/// As [`channel_config`].
pub async fn change(broker: &BrokerHandle, body: &[u8]) -> Result<HttpResponse, Refusal> {
    let request = ChannelConfigRequest::parse(body, &RequestLimits::from(&*broker.settings))?;
    broker.admit()?;
    let channels = broker.configure_channels(request.configs).await??;
    // The answer contains settings but no users or messages, as in the original.
    let info = InfoOptions { include_history: false, include_users: false, ..InfoOptions::default() };
    let info = ChannelsInfo::gather(channels, &info, Freshness::AfterChange).await?;
    let mut out = Vec::new();
    info.write(&mut out);
    Ok(answer::json(out))
}
