//! POST /connect: create a connection for a user.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::channel_config::CHANNEL_CONFIGS;
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{
    CHANNEL_NAME, Field, FieldTable, Fields, Id, ListField, ListLimit, Mapping, Name, STATE_KEY, State,
    USER_NAME,
};
use super::info::{INFO, InfoOptions};
use super::user_state::{USER_STATE, entries};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Connect, ConnectRefused, Requester};
use crate::http_error::Refusal;
use crate::protocol::json;
use actix_web::{HttpResponse, web};

const USERNAME: Field<Name> = Field::required("username", USER_NAME, "Name of the user who connects.");
const CONN_ID: Field<Id> = Field::optional(
    "conn_id",
    Id,
    "The connection's id; random when left out. If the same user already uses the id, that connection is reused.",
);
const CHANNELS: Field<ListField<Name>> =
    Field::optional("channels", ListField::of(CHANNEL_NAME, ListLimit::Channels), "Channels to join.")
        .default("[]");
const FRESH_USER_STATE: Field<Mapping<State>> = Field::optional(
    "fresh_user_state",
    Mapping::to(State, ListLimit::Items),
    "Initial state, used only if the user is new to the server.",
)
.default("{}");
const STATE_PUBLIC_KEYS: Field<ListField<Name>> = Field::optional(
    "state_public_keys",
    ListField::of(STATE_KEY, ListLimit::Items),
    "Keys of the state that other users may see. Every connect replaces them.",
)
.default("[]");
pub(crate) const FIELDS: FieldTable = &[
    &USERNAME,
    &CONN_ID,
    &CHANNELS,
    &CHANNEL_CONFIGS,
    &FRESH_USER_STATE,
    &USER_STATE,
    &STATE_PUBLIC_KEYS,
    &INFO,
];

#[derive(Debug)]
pub struct ConnectRequest {
    /// The channels are as given, including duplicates. Public keys that are left out are cleared, as in the original.
    pub command: Connect,
    /// Data about the channels to include in the answer.
    pub info: InfoOptions,
}

impl ConnectRequest {
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, read)
    }
}

fn read(fields: &mut Fields<'_>) -> Option<ConnectRequest> {
    let username = fields.read(&USERNAME);
    let info = fields.read(&INFO).unwrap_or_default();
    let command = Connect {
        conn_id: fields.read(&CONN_ID),
        channels: fields.read(&CHANNELS).unwrap_or_default(),
        fresh_user_state: entries(fields, &FRESH_USER_STATE),
        user_state: entries(fields, &USER_STATE),
        state_public_keys: Some(fields.read(&STATE_PUBLIC_KEYS).unwrap_or_default()),
        channel_configs: fields.read(&CHANNEL_CONFIGS).unwrap_or_default(),
        // Checked after all other fields have been read, because errors are reported together.
        username: username?,
    };
    Some(ConnectRequest { command, info })
}

/// POST /connect.
///
/// # Errors
/// `Invalid`, also for a conn_id that belongs to another user; `Blocked`, `Busy`.
pub async fn connect(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = ConnectRequest::parse(&body, &RequestLimits::from(&*broker.settings));
    let request = answer::admitted(&broker, request).await?;
    Ok(answer::json(open(&broker, request, Requester::Application).await?))
}

/// Connects, and writes the answer.
///
/// # Errors
/// As [`connect`].
pub async fn open(broker: &BrokerHandle, request: ConnectRequest, by: Requester) -> Result<Vec<u8>, Refusal> {
    broker.admit_response()?;
    let mut names = request.command.channels.clone();
    // Duplicates are returned, as in the original.
    names.sort();
    let connected = broker.connect(request.command, by).await?.map_err(|refused| match refused {
        ConnectRefused::BelongsToAnother => {
            Invalid::field("conn_id", "Connection belongs to another user").into()
        }
        ConnectRefused::Blocked => Refusal::Blocked,
        ConnectRefused::DemoIsFull => answer::demo_is_full(),
        ConnectRefused::OverLimit(over) => Refusal::from(over),
    })?;
    let user = connected.user;
    let info = ChannelsInfo::gather(connected.channels, &request.info, Freshness::AfterChange).await?;
    let mut out = Vec::with_capacity(answer::INITIAL_CAPACITY);
    out.extend_from_slice(b"{\"conn_id\":");
    json::write_uuid(connected.conn_id, &mut out);
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(user.state().as_bytes());
    out.extend_from_slice(b",\"username\":");
    json::write_string(&user.name, &mut out);
    out.extend_from_slice(b",\"public_state\":");
    out.extend_from_slice(user.public_state().as_bytes());
    out.extend_from_slice(b",\"channels\":");
    json::write_strings(&names, &mut out);
    out.extend_from_slice(b",\"channels_info\":");
    info.write(&mut out);
    out.push(b'}');
    Ok(out)
}
