//! /info: what is known of channels.

use super::answer;
use super::body;
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{
    CHANNEL_NAME, Field, FieldKind, FieldTable, Fields, FlagField, ListField, ListLimit, Name, ObjectField,
};
use super::invalid::Invalid;
use super::limits::RequestLimits;
use super::operation::{Access, Description, Operation, Public, response};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::messages::ListChannels;
use crate::http_error::Refusal;
use actix_web::{HttpResponse, web};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

const NAMES: ListField<Name> = ListField::of(CHANNEL_NAME, ListLimit::Channels);

const CHANNELS: Field<ListField<Name>> = Field::optional(
    "channels",
    NAMES,
    "Only these; unknown ones are left out. All when left out. Counts for /info only.",
);
const EXCLUDE_CHANNELS: Field<ListField<Name>> =
    Field::optional("exclude_channels", NAMES, "Not these.").default("[]");
const INCLUDE_HISTORY: Field<FlagField> =
    Field::optional("include_history", FlagField, "Tell the history.").default("true");
const INCLUDE_USERS: Field<FlagField> =
    Field::optional("include_users", FlagField, "Tell the users; without, `total_users` is 0.")
        .default("true");
const RETURN_PUBLIC_STATE: Field<FlagField> =
    Field::optional("return_public_state", FlagField, "Of states tell the public part only.")
        .default("false");
const INCLUDE_CONNECTIONS: Field<FlagField> =
    Field::optional("include_connections", FlagField, "Read, without effect.").default("false");

const OPTIONS: ObjectField<InfoOptions> =
    ObjectField { name: "InfoResolution", fields: OPTION_FIELDS, read: options };
const OPTION_FIELDS: FieldTable = &[
    &CHANNELS,
    &EXCLUDE_CHANNELS,
    &INCLUDE_HISTORY,
    &INCLUDE_USERS,
    &RETURN_PUBLIC_STATE,
    &INCLUDE_CONNECTIONS,
];

/// The `info` of /connect, /subscribe and /unsubscribe, which may be left out.
pub(super) const INFO: Field<ObjectField<InfoOptions>> =
    Field::optional("info", OPTIONS, "What to answer about the channels.").default("{}");

/// The same where it must be there.
const INFO_OF_CHANNELS: Field<ObjectField<InfoOptions>> = Field::required("info", OPTIONS, "What to answer.");

const BODY: ObjectField<InfoOptions> = ObjectField {
    name: "ChannelInfoBody",
    fields: &[&INFO_OF_CHANNELS],
    read: |fields| fields.read(&INFO_OF_CHANNELS),
};

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
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let root = body::root(body, limits)?;
        if !root.get().starts_with('{') {
            return Err(Invalid::schema("Invalid type."));
        }
        Ok(Self { info: BODY.read(root, limits)? })
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

/// What the API's description says of POST /info.
pub fn described(to: &mut Description<'_>) -> Operation {
    let body = BODY.shape(&to.limits, &mut to.book);
    let answer = ChannelsInfo::shape(&mut to.book);
    asked(HttpMethod::Post, "info")
        .body(body, Required::False, EXAMPLE, to.settings)
        .answer("The channels and their users.", answer, ANSWER)
        .refuses_body(InfoRequest::parse(br#"{"info": {"channels": "lobby"}}"#, &to.limits))
}

/// And of GET /info, which stands for all other methods.
pub fn described_without_body(to: &mut Description<'_>) -> Operation {
    let answer = ChannelsInfo::shape(&mut to.book);
    asked(HttpMethod::Get, "infoOfAll")
        .responds(200, response("All channels and their users.", "application/json", answer))
}

fn asked(method: HttpMethod, id: &str) -> Operation {
    Operation::new(method, "/info", id, Public::Backends, Access::Signed)
        .about(
            "Ask about channels",
            "Tells about channels: without a body about all of them with users and history, else as `info` says. Any \
             method does the same.",
        )
        .asks_registry()
}

const EXAMPLE: &str = r#"{"info": {"channels": ["lobby"], "return_public_state": true}}"#;

const ANSWER: &str = r#"{"channels": {"lobby": {
    "uuid": "44444444-4444-4444-8444-444444444444", "name": "lobby", "long_name": null,
    "settings": {"notify_presence": true, "store_history": true, "history_size": 10,
        "broadcast_presence_with_user_lists": false, "notify_state": false, "store_frames": true},
    "history": [{"pm_users": [], "exclude_users": [], "channel": "lobby", "no_history": false,
        "uuid": "22222222-2222-4222-8222-222222222222", "timestamp": "2020-02-22T10:11:12.123456", "user": "bob",
        "message": {"text": "hi!"}, "edited": "2020-02-22T10:11:13.123456", "catchup": false, "type": "message"}],
    "last_active": "2020-02-22T10:11:13.123456", "total_connections": 1, "total_users": 1, "users": ["ada"]}},
    "users": [{"user": "ada", "state": {"mood": "better"}}]}"#;

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
    let (names, exclude) = (request.info.channels.clone(), request.info.exclude_channels.clone());
    let named = names.is_some();
    let channels = broker.ask(ListChannels { names, exclude }).await?;
    // Channels that are named are asked, so that what was published before shows; all of them would be too many.
    let freshness = if named { Freshness::AfterChange } else { Freshness::Summary };
    let info = ChannelsInfo::gather(channels, &request.info, freshness).await?;
    // Others have been answered meanwhile.
    broker.admit_response()?;
    let mut out = Vec::new();
    info.write(&mut out);
    Ok(answer::json(out))
}
