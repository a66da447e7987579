//! POST /admin/disconnect and /admin/disconnect_user: closes one connection, or all connections of a user.

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
use crate::console::session::Operator;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

/// Number of connections closed in one turn of the registry.
const BATCH_SIZE: usize = 500;

const USER: Field<Name> = Field::required("user", USER_NAME, "The user whose connections are closed.");
const FIELDS: FieldTable = &[&USER];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectUserRequest {
    pub user: String,
}

impl DisconnectUserRequest {
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, |fields| fields.read(&USER).map(|user| Self { user }))
    }
}

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let body = disconnect::body_shape(api);
    let answer = answer_schema(&mut api.schemas);
    Operation::new(HttpMethod::Post, "/admin/disconnect", "endConnection", ApiGroup::Console, Access::Command)
        .about("Close a connection", "Closes its socket with 1000.")
        .body(body, Required::True, disconnect::EXAMPLE, api.settings)
        .answer("Number of closed connections: one or none.", answer, r#"{"ended": 1}"#)
        .refuses_body(DisconnectRequest::parse(b"{}", &api.limits))
        .asks_registry()
}

/// Describes POST /admin/disconnect_user.
pub fn openapi_user(api: &mut ApiDescription<'_>) -> Operation {
    let body = object_shape("DisconnectUserBody", FIELDS, &api.limits, &mut api.schemas);
    let answer = answer_schema(&mut api.schemas);
    let path = "/admin/disconnect_user";
    Operation::new(HttpMethod::Post, path, "endConnectionsOfUser", ApiGroup::Console, Access::Command)
        .about("Close all connections of a user", "Includes connections that are away.")
        .body(body, Required::True, r#"{"user": "ada"}"#, api.settings)
        .answer("Number of closed connections.", answer, r#"{"ended": 2}"#)
        .refuses_body(DisconnectUserRequest::parse(b"{}", &api.limits))
        .refuses([unknown_user()])
        .asks_registry()
}

fn answer_schema(schemas: &mut SchemaRegistry) -> ValueSchema {
    schemas.named("Ended", |_| {
        ObjectSchema::new().key("ended", schema::count(), "Number of closed connections.").shape()
    })
}

fn unknown_user() -> Refusal {
    Invalid::field("user", "Unknown user").into()
}

/// POST /admin/disconnect: `{"conn_id": …}`. Returns the number of closed connections: one or none.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn connection(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let known = broker.disconnect(request.conn_id).await?;
    log::info!("connection {} disconnected by an admin", request.conn_id);
    Ok(done(&json!({ "ended": u32::from(known) })))
}

/// POST /admin/disconnect_user: `{"user": …}`. Returns the number of closed connections.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn user(_: Operator, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = DisconnectUserRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    let mut ended = 0;
    loop {
        let step = broker.disconnect_user(request.user.clone(), BATCH_SIZE).await?;
        let step = step.ok_or_else(unknown_user)?;
        ended += step.ended;
        // The registry always closes some of the remaining connections. The check still guarantees that the loop ends.
        if step.left == 0 || step.ended == 0 {
            log::info!("user {:?} disconnected by an admin: {ended} connections", request.user);
            return Ok(done(&json!({ "ended": ended })));
        }
    }
}
