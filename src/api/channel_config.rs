//! POST /channel_config: create channels and change their settings.

use super::answer;
use super::body;
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{Fields, INPUT_TYPE, Members, Read, boolean, mapping, nested, not_null, size, too_long};
use super::info::InfoOptions;
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::Configure;
use crate::wire::settings::ChannelSettings;
use actix_web::{HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SETTINGS: &[&str] = &[
    "notify_presence",
    "store_history",
    "history_size",
    "broadcast_presence_with_user_lists",
    "notify_state",
    "store_frames",
];

/// Channels by name, each with all its settings.
pub type ChannelConfigs = Vec<(String, ChannelSettings)>;

/// What channels shall be like from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfigRequest {
    /// In the order given; names are not checked, as in the original.
    pub configs: ChannelConfigs,
}

impl ChannelConfigRequest {
    /// Reads a body `{name: settings}`. As in the original null settings are the default ones, and errors, those of the
    /// first wrong channel, do not name the channel.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Invalid> {
        let max = limits.max_channels_per_request;
        let members =
            Members::of(body::root(body, limits)?, max).ok_or_else(|| Invalid::schema(INPUT_TYPE))?;
        if members.len() > max {
            return Err(Invalid::from(json!({ "_schema": too_long(max) })));
        }
        if !members.unreadable().is_empty() {
            return Err(Invalid::schema("Not a valid string."));
        }
        let read = |(name, raw): (String, &RawValue)| match raw.get() {
            "null" => Ok((name, ChannelSettings::default())),
            _ => settings(raw).map(|settings| (name, settings)),
        };
        let configs = members.into_iter().map(read).collect::<Result<_, Value>>()?;
        Ok(Self { configs })
    }
}

/// Reads the settings of one channel; what is not given is the default.
fn settings(raw: &RawValue) -> Read<ChannelSettings> {
    nested(raw, SETTINGS, |fields| {
        let default = ChannelSettings::default();
        let mut flag = |name, default| fields.given(name, boolean).unwrap_or(default);
        Some(ChannelSettings {
            notify_presence: flag("notify_presence", default.notify_presence),
            store_history: flag("store_history", default.store_history),
            broadcast_presence_with_user_lists: flag(
                "broadcast_presence_with_user_lists",
                default.broadcast_presence_with_user_lists,
            ),
            notify_state: flag("notify_state", default.notify_state),
            store_frames: flag("store_frames", default.store_frames),
            history_size: fields.given("history_size", size).unwrap_or(default.history_size),
        })
    })
}

/// The `channel_configs` of /connect, /subscribe and /unsubscribe: here null is an error.
pub(super) fn channel_configs(fields: &mut Fields<'_>, limits: &Limits) -> ChannelConfigs {
    let read = |raw| mapping(raw, limits.max_channels_per_request, |raw| not_null(raw, settings));
    fields.given("channel_configs", read).unwrap_or_default()
}

/// POST /channel_config.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn channel_config(
    _: Signed,
    backend: web::Data<Backend>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    change(&backend, &body).await
}

/// Changes settings, and writes the answer.
///
/// # Errors
/// As [`channel_config`].
pub async fn change(backend: &Backend, body: &[u8]) -> Result<HttpResponse, Refusal> {
    let request = ChannelConfigRequest::parse(body, &Limits::from(&*backend.settings))?;
    backend.admit()?;
    let channels = backend.ask(Configure(request.configs)).await?;
    // The answer names settings, not people or messages, as in the original.
    let info = InfoOptions { include_history: false, include_users: false, ..InfoOptions::default() };
    let info = ChannelsInfo::gather(channels, &info, Freshness::AfterChange).await?;
    let mut out = Vec::new();
    info.write(&mut out);
    Ok(answer::json(out))
}
