//! POST /unsubscribe: unsubscribe a connection from channels.

use super::ConnIdQuery;
use super::answer;
use super::info::InfoOptions;
use super::invalid::Invalid;
use super::limits::RequestLimits;
use super::subscribe::{SubscribeRequest, changed};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Requester, UnknownConnection, Unsubscribe};
use crate::http_error::Refusal;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeRequest {
    pub conn_id: Uuid,
    /// Channels to leave, in this order.
    pub channels: Vec<String>,
    /// Data about the channels to include in the answer.
    pub info: InfoOptions,
}

impl UnsubscribeRequest {
    /// Reads a body, which is that of /subscribe: `channel_configs` must be valid, although they have no effect here.
    pub fn parse(body: &[u8], query_conn_id: Option<&str>, limits: &RequestLimits) -> Result<Self, Invalid> {
        let SubscribeRequest { conn_id, channels, info, .. } =
            SubscribeRequest::parse(body, query_conn_id, limits)?;
        Ok(Self { conn_id, channels, info })
    }
}

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
    leave(&broker, request, Requester::Application).await
}

/// Unsubscribes, and writes the answer.
///
/// # Errors
/// As [`unsubscribe`].
pub async fn leave(
    broker: &BrokerHandle,
    request: UnsubscribeRequest,
    by: Requester,
) -> Result<HttpResponse, Refusal> {
    broker.admit_response()?;
    let UnsubscribeRequest { conn_id, channels, info } = request;
    let left = broker.unsubscribe(Unsubscribe { conn_id, channels }, by).await?;
    let left = left.map_err(|UnknownConnection| answer::unknown_connection())?;
    changed(left, &info, "unsubscribed_from").await
}
