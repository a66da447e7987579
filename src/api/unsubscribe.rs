//! POST /unsubscribe: let a connection leave channels.

use super::answer;
use super::conn_id::{self, ConnIdQuery};
use super::fields::object_shape;
use super::info::InfoOptions;
use super::invalid::Invalid;
use super::limits::RequestLimits;
use super::operation::{Access, Description, Operation, Public};
use super::subscribe::{self, SubscribeRequest, changed};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::Registry;
use crate::broker::registry::messages::{Subscribed, UnknownConnection, Unsubscribe};
use crate::http_error::Refusal;
use actix::{Handler, Message};
use actix_web::{HttpResponse, web};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;
use uuid::Uuid;

/// Which connection leaves which channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeRequest {
    /// The connection.
    pub conn_id: Uuid,
    /// Channels to leave, in this order.
    pub channels: Vec<String>,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl UnsubscribeRequest {
    /// Reads a body, which is that of /subscribe: `channel_configs` must be right although they mean nothing here.
    pub fn parse(body: &[u8], query_conn_id: Option<&str>, limits: &RequestLimits) -> Result<Self, Invalid> {
        let SubscribeRequest { conn_id, channels, info, .. } =
            SubscribeRequest::parse(body, query_conn_id, limits)?;
        Ok(Self { conn_id, channels, info })
    }
}

/// What the API's description says of it.
pub fn described(to: &mut Description<'_>) -> Operation {
    let operation = Operation::new(HttpMethod::Post, "/unsubscribe", "unsubscribe", Public::Backends, Access::Signed)
        .about(
            "Let a connection leave channels",
            "Channels that are not known or not joined are no error. `channel_configs` are read and mean nothing.",
        )
        .parameter(conn_id::stand_in());
    told(operation, to)
}

/// Body and answer, for this endpoint and for others that do the same.
pub fn told(operation: Operation, to: &mut Description<'_>) -> Operation {
    let body = object_shape("UnsubscribeBody", subscribe::FIELDS, &to.limits, &mut to.book);
    let written = |book: &mut _| subscribe::written(book, "unsubscribed_from", "Those it has really left.");
    let answer = to.book.named("Unsubscribed", written);
    operation
        .body(body, Required::True, EXAMPLE, to.settings)
        .answer("The channels that remain.", answer, ANSWER)
        .refuses_body(UnsubscribeRequest::parse(br#"{"conn_id": null}"#, None, &to.limits))
        .asks_registry()
}

const EXAMPLE: &str = r#"{"conn_id": "11111111-1111-4111-8111-111111111111", "channels": ["news", "unknown"],
    "info": {"exclude_channels": ["lobby"]}}"#;

const ANSWER: &str = r#"{"channels": ["lobby"], "channels_info": {"channels": {}, "users": []},
    "unsubscribed_from": ["news"]}"#;

/// POST /unsubscribe.
///
/// # Errors
/// `Invalid`, also for an unknown connection; `Busy`.
pub async fn unsubscribe(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    query: web::Query<ConnIdQuery>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let limits = RequestLimits::from(&*broker.settings);
    let request = match UnsubscribeRequest::parse(&body, query.conn_id.as_deref(), &limits) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&broker, invalid).await?),
    };
    broker.admit()?;
    leave(&broker, request, |unsubscribe| unsubscribe).await
}

/// Unsubscribes, and writes the answer. `wrap` makes the message to the registry.
///
/// # Errors
/// As [`unsubscribe`].
pub async fn leave<M>(
    broker: &BrokerHandle,
    request: UnsubscribeRequest,
    wrap: fn(Unsubscribe) -> M,
) -> Result<HttpResponse, Refusal>
where
    M: Message<Result = Result<Subscribed, UnknownConnection>> + Send + 'static,
    Registry: Handler<M>,
{
    broker.admit_response()?;
    let UnsubscribeRequest { conn_id, channels, info } = request;
    let left = broker.ask(wrap(Unsubscribe { conn_id, channels })).await?;
    let left = left.map_err(|UnknownConnection| answer::unknown_connection())?;
    changed(left, &info, "unsubscribed_from").await
}
