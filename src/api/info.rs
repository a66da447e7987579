//! /info: data about channels.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{
    CHANNEL_NAME, Field, FieldTable, Fields, FlagField, ListField, ListLimit, Name, ObjectField, nested,
};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use actix_web::{HttpResponse, web};

const NAMES: ListField<Name> = ListField::of(CHANNEL_NAME, ListLimit::Channels);

const CHANNELS: Field<ListField<Name>> = Field::optional(
    "channels",
    NAMES,
    "Only these channels; unknown names are ignored. All channels when left out. Used by /info only.",
);
const EXCLUDE_CHANNELS: Field<ListField<Name>> =
    Field::optional("exclude_channels", NAMES, "Channels to leave out.").default("[]");
const INCLUDE_HISTORY: Field<FlagField> =
    Field::optional("include_history", FlagField, "Include the history.").default("true");
const INCLUDE_USERS: Field<FlagField> =
    Field::optional("include_users", FlagField, "Include the users; otherwise `total_users` is 0.")
        .default("true");
const RETURN_PUBLIC_STATE: Field<FlagField> =
    Field::optional("return_public_state", FlagField, "Include only the public part of states.")
        .default("false");
const INCLUDE_CONNECTIONS: Field<FlagField> =
    Field::optional("include_connections", FlagField, "Accepted, but without effect.").default("false");

const OPTIONS: ObjectField<InfoOptions> =
    ObjectField { name: "InfoResolution", fields: OPTION_FIELDS, read: options };
pub(crate) const OPTION_FIELDS: FieldTable = &[
    &CHANNELS,
    &EXCLUDE_CHANNELS,
    &INCLUDE_HISTORY,
    &INCLUDE_USERS,
    &RETURN_PUBLIC_STATE,
    &INCLUDE_CONNECTIONS,
];

/// The `info` of /connect, /subscribe and /unsubscribe, which may be left out.
pub(super) const INFO: Field<ObjectField<InfoOptions>> =
    Field::optional("info", OPTIONS, "Data about the channels to include in the answer.").default("{}");

/// The same field where it is required.
const INFO_OF_CHANNELS: Field<ObjectField<InfoOptions>> =
    Field::required("info", OPTIONS, "Data to include in the answer.");

pub(crate) const FIELDS: FieldTable = &[&INFO_OF_CHANNELS];

/// Data about channels to include in an answer; part of several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoOptions {
    /// Include the channels' histories.
    pub include_history: bool,
    /// Include the channels' users and their states.
    pub include_users: bool,
    /// Only these channels; used by /info only.
    pub channels: Option<Vec<String>>,
    /// Channels to leave out.
    pub exclude_channels: Vec<String>,
    /// Accepted, but without effect, as in the original.
    pub include_connections: bool,
    /// Include only the public part of users' states.
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

/// A request for data about channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoRequest {
    /// Data to include in the answer.
    pub info: InfoOptions,
}

impl InfoRequest {
    /// Reads a body. An empty one requests everything.
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let root = body::root(body, limits)?;
        if !root.get().starts_with('{') {
            return Err(Invalid::schema("Invalid type."));
        }
        Ok(Self { info: nested(root, FIELDS, limits, |fields| fields.read(&INFO_OF_CHANNELS))? })
    }
}

fn options(fields: &mut Fields<'_>) -> Option<InfoOptions> {
    let default = InfoOptions::default();
    let mut flag = |field, default| fields.read(field).unwrap_or(default);
    Some(InfoOptions {
        include_history: flag(&INCLUDE_HISTORY, default.include_history),
        include_users: flag(&INCLUDE_USERS, default.include_users),
        include_connections: flag(&INCLUDE_CONNECTIONS, default.include_connections),
        return_public_state: flag(&RETURN_PUBLIC_STATE, default.return_public_state),
        channels: fields.read(&CHANNELS),
        exclude_channels: fields.read(&EXCLUDE_CHANNELS).unwrap_or_default(),
    })
}

async fn gather(broker: &BrokerHandle, options: &InfoOptions) -> Result<ChannelsInfo, Refusal> {
    let named = options.channels.is_some();
    if !named
        && let Some(all) = broker.names_in_cluster().await?
        && let Some(info) = ChannelsInfo::read(broker, all, options).await?
    {
        return Ok(info);
    }
    let channels = broker.channels(options.channels.clone(), options.exclude_channels.clone()).await?;
    // Channels that the request names are queried, so that earlier publishes are visible. Querying all channels would
    // be too expensive.
    let freshness = if named { Freshness::AfterChange } else { Freshness::Summary };
    ChannelsInfo::gather(channels, options, freshness).await
}

/// /info, with any method.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn info_of_channels(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = InfoRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    broker.admit_response()?;
    let info = gather(&broker, &request.info).await?;
    // Other requests may have used the limit in the meantime.
    broker.admit_response()?;
    let mut out = Vec::new();
    info.write(&mut out);
    Ok(answer::json(out))
}
