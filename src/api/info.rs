//! /info: what is known of channels.

use super::answer;
use super::body;
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{CHANNEL_NAME, Fields, Read, boolean, names, nested};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::ListChannels;
use actix_web::{HttpResponse, web};
use serde_json::value::RawValue;

const OPTIONS: &[&str] = &[
    "include_history",
    "include_users",
    "channels",
    "exclude_channels",
    "include_connections",
    "return_public_state",
];

/// What to tell about channels; part of several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoOptions {
    /// Tell the channels' histories.
    pub include_history: bool,
    /// Tell the channels' users and their states.
    pub include_users: bool,
    /// Only these channels; counts for /info alone.
    pub channels: Option<Vec<String>>,
    /// Not these channels.
    pub exclude_channels: Vec<String>,
    /// Read and without effect, as in the original.
    pub include_connections: bool,
    /// Tell the public part of users' states only.
    pub return_public_state: bool,
}

impl Default for InfoOptions {
    fn default() -> Self {
        Self {
            include_history: true,
            include_users: true,
            channels: None,
            exclude_channels: Vec::new(),
            include_connections: false,
            return_public_state: false,
        }
    }
}

/// A question about channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoRequest {
    /// What to tell.
    pub info: InfoOptions,
}

impl InfoRequest {
    /// Reads a body; an empty one asks for everything.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Invalid> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let root = body::root(body, limits)?;
        if !root.get().starts_with('{') {
            return Err(Invalid::schema("Invalid type."));
        }
        let read = |fields: &mut Fields<'_>| fields.required("info", |raw| options(raw, limits));
        Ok(Self { info: nested(root, &["info"], read)? })
    }
}

fn options(raw: &RawValue, limits: &Limits) -> Read<InfoOptions> {
    nested(raw, OPTIONS, |fields| {
        let max = limits.max_channels_per_request;
        let default = InfoOptions::default();
        let channels = fields.given("channels", |raw| names(raw, &CHANNEL_NAME, max));
        let exclude_channels = fields.given("exclude_channels", |raw| names(raw, &CHANNEL_NAME, max));
        let mut flag = |name, default| fields.given(name, boolean).unwrap_or(default);
        Some(InfoOptions {
            include_history: flag("include_history", default.include_history),
            include_users: flag("include_users", default.include_users),
            include_connections: flag("include_connections", default.include_connections),
            return_public_state: flag("return_public_state", default.return_public_state),
            channels,
            exclude_channels: exclude_channels.unwrap_or_default(),
        })
    })
}

/// The `info` of /connect, /subscribe and /unsubscribe, which may be left out.
pub(super) fn info(fields: &mut Fields<'_>, limits: &Limits) -> InfoOptions {
    fields.given("info", |raw| options(raw, limits)).unwrap_or_default()
}

/// /info, with any method.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn info_of_channels(
    _: Signed,
    backend: web::Data<Backend>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = InfoRequest::parse(&body, &Limits::from(&*backend.settings))?;
    let (names, exclude) = (request.info.channels.clone(), request.info.exclude_channels.clone());
    let named = names.is_some();
    let channels = backend.ask(ListChannels { names, exclude }).await?;
    // Channels that are named are asked, so that what was published before shows; all of them would be too many.
    let freshness = if named { Freshness::AfterChange } else { Freshness::Summary };
    let info = ChannelsInfo::gather(channels, &request.info, freshness).await?;
    let mut out = Vec::new();
    info.write(&mut out);
    Ok(answer::json(out))
}
