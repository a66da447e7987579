//! POST /subscribe: subscribe a connection to channels.

use super::ConnIdQuery;
use super::answer;
use super::body;
use super::channel_config::{CHANNEL_CONFIGS, ChannelConfigs};
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{CHANNEL_NAME, Field, FieldTable, Fields, Id, ListField, ListLimit, Name, uuid_text};
use super::info::{INFO, InfoOptions};
use super::invalid::Invalid;
use super::limits::RequestLimits;
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Requester, Subscribe, SubscribeRefused, Subscribed};
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    pub conn_id: Uuid,
    /// Channels to join, in this order.
    pub channels: Vec<String>,
    /// Settings of the channels that this call creates.
    pub channel_configs: ChannelConfigs,
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
    Some(SubscribeRequest { conn_id: conn_id?, channels: channels?, channel_configs, info })
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
    let limits = RequestLimits::from(&*broker.settings);
    let request = match SubscribeRequest::parse(&body, query.conn_id.as_deref(), &limits) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&broker, invalid).await?),
    };
    broker.admit()?;
    join(&broker, request, Requester::Application).await
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
    let SubscribeRequest { conn_id, channels, channel_configs, info } = request;
    let subscribed = broker.subscribe(Subscribe { conn_id, channels, channel_configs }, by).await?;
    let subscribed = subscribed.map_err(|refused| match refused {
        SubscribeRefused::UnknownConnection => answer::unknown_connection(),
        SubscribeRefused::DemoIsFull => answer::demo_is_full(),
        SubscribeRefused::OverLimit(over) => over.into(),
    })?;
    changed(subscribed, &info, "subscribed_to").await
}

/// The answer of /subscribe and /unsubscribe; `key` names the list of channels that were joined or left.
///
/// # Errors
/// As [`ChannelsInfo::gather`].
pub async fn changed(subscribed: Subscribed, info: &InfoOptions, key: &str) -> Result<HttpResponse, Refusal> {
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
