//! POST /admin/disconnect and /admin/disconnect_user: ends a connection, or all of a user.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::api::body;
use crate::api::disconnect::{self, DisconnectRequest};
use crate::api::fields::{Field, FieldTable, Name, USER_NAME, object_shape};
use crate::api::invalid::Invalid;
use crate::api::limits::RequestLimits;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::messages::{Disconnect, DisconnectUser};
use crate::console::session::Operator;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

/// Connections ended in one turn of the registry.
const AT_ONCE: usize = 500;

const USER: Field<Name> = Field::required("user", USER_NAME, "Whose connections end.");
const FIELDS: FieldTable = &[&USER];

/// Whose connections end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectUserRequest {
    /// The user.
    pub user: String,
}

impl DisconnectUserRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, |fields| fields.read(&USER).map(|user| Self { user }))
    }
}

/// What the API's description says of POST /admin/disconnect.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let body = disconnect::body_shape(api);
    let answer = answer(&mut api.schemas);
    Operation::new(HttpMethod::Post, "/admin/disconnect", "endConnection", ApiGroup::Console, Access::Command)
        .about("End a connection", "Its socket is closed with 1000.")
        .body(body, Required::True, disconnect::EXAMPLE, api.settings)
        .answer("How many were ended: one, or none.", answer, r#"{"ended": 1}"#)
        .refuses_body(DisconnectRequest::parse(b"{}", &api.limits))
        .asks_registry()
}

/// And of POST /admin/disconnect_user.
pub fn openapi_of_user(api: &mut ApiDescription<'_>) -> Operation {
    let body = object_shape("DisconnectUserBody", FIELDS, &api.limits, &mut api.schemas);
    let answer = answer(&mut api.schemas);
    let path = "/admin/disconnect_user";
    Operation::new(HttpMethod::Post, path, "endConnectionsOfUser", ApiGroup::Console, Access::Command)
        .about("End all connections of a user", "Also those that are away.")
        .body(body, Required::True, r#"{"user": "ada"}"#, api.settings)
        .answer("How many were ended.", answer, r#"{"ended": 2}"#)
        .refuses_body(DisconnectUserRequest::parse(b"{}", &api.limits))
        .refuses([unknown_user()])
        .asks_registry()
}

fn answer(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("Ended", |_| {
        ObjectSchema::new().key("ended", schema::count(), "How many connections were ended.").shape()
    })
}

fn unknown_user() -> Refusal {
    Invalid::field("user", "Unknown user").into()
}

/// POST /admin/disconnect: `{"conn_id": …}`. Answers how many were ended: one, or none.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn connection(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let known = broker.ask(Disconnect(request.conn_id)).await?;
    log::info!("connection {} disconnected by an admin", request.conn_id);
    Ok(done(&json!({ "ended": u32::from(known) })))
}

/// POST /admin/disconnect_user: `{"user": …}`. Answers how many connections were ended.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn user(_: Operator, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = DisconnectUserRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let mut ended = 0;
    loop {
        let step = broker.ask(DisconnectUser { user: request.user.clone(), at_most: AT_ONCE }).await?;
        let step = step.ok_or_else(unknown_user)?;
        ended += step.ended;
        // None ended with some left cannot be, but must not turn for ever.
        if step.left == 0 || step.ended == 0 {
            log::info!("user {:?} disconnected by an admin: {ended} connections", request.user);
            return Ok(done(&json!({ "ended": ended })));
        }
    }
}
