//! POST /subscribe and /unsubscribe: subscribe a connection to channels, or unsubscribe it. Both have the same body.

use super::ConnIdQuery;
use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::channel_config::CHANNEL_CONFIGS;
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{CHANNEL_NAME, Field, FieldTable, Fields, Id, ListField, ListLimit, Name, uuid_text};
use super::info::{INFO, InfoOptions};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{
    Requester, Subscribe, SubscribeRefused, Subscribed, UnknownConnection, Unsubscribe,
};
use crate::http_error::Refusal;
use crate::protocol::json;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const CONN_ID: Field<Id> =
    Field::or_in_query("conn_id", Id, "The connection; when left out, the one in the query.");
const CHANNELS: Field<ListField<Name>> = Field::required(
    "channels",
    ListField::some(CHANNEL_NAME, ListLimit::Channels),
    "Channels to join, in this order.",
);
pub(crate) const FIELDS: FieldTable = &[&CONN_ID, &CHANNELS, &CHANNEL_CONFIGS, &INFO];

/// The body of /subscribe and /unsubscribe. The latter ignores the settings of channels, but they must be valid.
#[derive(Debug)]
pub struct SubscribeRequest {
    pub command: Subscribe,
    /// Data about the channels to include in the answer.
    pub info: InfoOptions,
}

impl SubscribeRequest {
    /// Reads a body. If it does not name the connection, the query does.
    pub fn parse(body: &[u8], query_conn_id: Option<&str>, limits: &RequestLimits) -> Result<Self, Invalid> {
        let mut conn_id = None;
        body::object(body, limits, FIELDS, |fields| {
            conn_id = read_conn_id(fields, query_conn_id);
            read(fields, conn_id)
        })
        .map_err(|invalid| Invalid { conn_id, ..invalid })
    }
}

fn read_conn_id(fields: &mut Fields<'_>, query: Option<&str>) -> Option<Uuid> {
    match query.filter(|_| fields.raw(&CONN_ID).is_none()) {
        Some(text) => fields.keep(&CONN_ID, uuid_text(text)),
        None => fields.read(&CONN_ID),
    }
}

fn read(fields: &mut Fields<'_>, conn_id: Option<Uuid>) -> Option<SubscribeRequest> {
    let channels = fields.read(&CHANNELS);
    let info = fields.read(&INFO).unwrap_or_default();
    let channel_configs = fields.read(&CHANNEL_CONFIGS).unwrap_or_default();
    let command = Subscribe { conn_id: conn_id?, channels: channels?, channel_configs };
    Some(SubscribeRequest { command, info })
}

/// POST /subscribe.
///
/// # Errors
/// `Invalid`, also for an unknown connection; `Busy`.
pub async fn subscribe(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    query: web::Query<ConnIdQuery>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = admitted(&broker, &query, &body).await?;
    join(&broker, request, Requester::Application).await
}

/// POST /unsubscribe.
///
/// # Errors
/// As [`subscribe`].
pub async fn unsubscribe(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    query: web::Query<ConnIdQuery>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = admitted(&broker, &query, &body).await?;
    leave(&broker, request, Requester::Application).await
}

async fn admitted(
    broker: &BrokerHandle,
    query: &ConnIdQuery,
    body: &[u8],
) -> Result<SubscribeRequest, Refusal> {
    let limits = RequestLimits::from(&*broker.settings);
    answer::admitted(broker, SubscribeRequest::parse(body, query.conn_id.as_deref(), &limits)).await
}

/// Subscribes, and writes the answer.
///
/// # Errors
/// As [`subscribe`].
pub async fn join(
    broker: &BrokerHandle,
    request: SubscribeRequest,
    by: Requester,
) -> Result<HttpResponse, Refusal> {
    broker.admit_response()?;
    let subscribed = broker.subscribe(request.command, by).await?.map_err(|refused| match refused {
        SubscribeRefused::UnknownConnection => answer::unknown_connection(),
        SubscribeRefused::DemoIsFull => answer::demo_is_full(),
        SubscribeRefused::OverLimit(over) => over.into(),
    })?;
    changed(subscribed, &request.info, "subscribed_to").await
}

/// Unsubscribes, and writes the answer.
///
/// # Errors
/// As [`unsubscribe`].
pub async fn leave(
    broker: &BrokerHandle,
    request: SubscribeRequest,
    by: Requester,
) -> Result<HttpResponse, Refusal> {
    broker.admit_response()?;
    let Subscribe { conn_id, channels, .. } = request.command;
    let left = broker.unsubscribe(Unsubscribe { conn_id, channels }, by).await?;
    let left = left.map_err(|UnknownConnection| answer::unknown_connection())?;
    changed(left, &request.info, "unsubscribed_from").await
}

/// The answer of both; `key` names the list of channels that were joined or left.
///
/// # Errors
/// As [`ChannelsInfo::gather`].
async fn changed(subscribed: Subscribed, info: &InfoOptions, key: &str) -> Result<HttpResponse, Refusal> {
    let mut out = Vec::with_capacity(answer::INITIAL_CAPACITY);
    out.extend_from_slice(b"{\"channels\":");
    json::write_list(&subscribed.channels, &mut out, |channel, out| json::write_string(&channel.name, out));
    out.extend_from_slice(b",\"channels_info\":");
    let info = ChannelsInfo::gather(subscribed.channels, info, Freshness::AfterChange).await?;
    info.write(&mut out);
    out.extend_from_slice(format!(",\"{key}\":").as_bytes());
    json::write_list(&subscribed.changed, &mut out, |name, out| json::write_string(name, out));
    out.push(b'}');
    Ok(answer::json(out))
}
