//! POST /unsubscribe: let a connection leave channels.

use super::answer;
use super::conn_id::ConnIdQuery;
use super::info::InfoOptions;
use super::invalid::Invalid;
use super::limits::Limits;
use super::subscribe::SubscribeRequest;
use super::subscribe::changed;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::{UnknownConnection, Unsubscribe};
use actix_web::{HttpResponse, web};
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
    pub fn parse(body: &[u8], query_conn_id: Option<&str>, limits: &Limits) -> Result<Self, Invalid> {
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
    backend: web::Data<Backend>,
    query: web::Query<ConnIdQuery>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let limits = Limits::from(&*backend.settings);
    let request = match UnsubscribeRequest::parse(&body, query.conn_id.as_deref(), &limits) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&backend, invalid).await?),
    };
    backend.admit()?;
    leave(&backend, request).await
}

/// Unsubscribes, and writes the answer.
///
/// # Errors
/// As [`unsubscribe`].
pub async fn leave(backend: &Backend, request: UnsubscribeRequest) -> Result<HttpResponse, Refusal> {
    let UnsubscribeRequest { conn_id, channels, info } = request;
    let left = backend.ask(Unsubscribe { conn_id, channels }).await?;
    let left = left.map_err(|UnknownConnection| answer::unknown_connection())?;
    changed(left, &info, "unsubscribed_from").await
}
