//! The commands of the console: they publish messages, change the settings of channels and close connections.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::api::answer::Invalid;
use crate::api::body::{self, RequestLimits};
use crate::api::disconnect::DisconnectRequest;
use crate::api::fields::{Field, FieldTable, Name, USER_NAME};
use crate::api::{channel_config, message_post};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::console::session::Operator;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::websocket::close::CloseReason;

const USER: Field<Name> = Field::required("user", USER_NAME, "The user whose connections are closed.");
pub(crate) const FIELDS: FieldTable = &[&USER];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectUserRequest {
    pub user: String,
}

impl DisconnectUserRequest {
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, |fields| fields.read(&USER).map(|user| Self { user }))
    }
}

fn unknown_user() -> Refusal {
    Invalid::field("user", "Unknown user").into()
}

/// POST /admin/message: the body and the effect of POST /message.
///
/// # Errors
/// As [`message_post::publish`].
pub async fn send(_: Operator, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    message_post::publish(None, &broker, &body).await
}

/// POST /admin/channel_config: the body and the effect of POST /channel_config.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn configure(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    channel_config::change(&broker, &body).await
}

/// POST /admin/disconnect: `{"conn_id": …}`. Returns the number of closed connections: one or none.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let known = broker.disconnect(request.conn_id, CloseReason::Ended.into()).await?;
    log::info!("connection {} disconnected by an admin", request.conn_id);
    Ok(done(&json!({ "ended": u32::from(known) })))
}

/// POST /admin/disconnect_user: `{"user": …}`. Returns the number of closed connections.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect_user(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectUserRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let ended = broker.disconnect_user(&request.user, CloseReason::Ended.into()).await?;
    let ended = ended.ok_or_else(unknown_user)?;
    log::info!("user {:?} disconnected by an admin: {ended} connections", request.user);
    Ok(done(&json!({ "ended": ended })))
}
