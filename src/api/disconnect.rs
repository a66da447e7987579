//! /disconnect: close a connection.

use super::answer;
use super::body;
use super::conn_id::{self, ConnIdQuery};
use super::fields::{Field, FieldTable, Fields, Id, NULL, fault, object_shape, uuid_text};
use super::invalid::Invalid;
use super::limits::RequestLimits;
use super::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::{CONN_ID_BYTES, OpenBody};
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ValueSchema};
use actix_web::{HttpResponse, web};
use serde_json::json;
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;
use uuid::Uuid;

const CONN_ID: Field<Id> = Field::filled("conn_id", Id, "The connection to close.");
const FIELDS: FieldTable = &[&CONN_ID];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectRequest {
    /// The connection. An unknown one is not an error.
    pub conn_id: Uuid,
}

impl DisconnectRequest {
    /// Reads the body of a POST request. The query is ignored.
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, read)
    }

    /// Reads the query's `conn_id`, for all other methods.
    pub fn from_query(conn_id: Option<&str>) -> Result<Self, Invalid> {
        let conn_id = conn_id.map_or_else(|| Err(fault(NULL)), uuid_text);
        conn_id.map(|conn_id| Self { conn_id }).map_err(|fault| Invalid::from(json!({ "conn_id": fault })))
    }
}

fn read(fields: &mut Fields<'_>) -> Option<DisconnectRequest> {
    fields.read(&CONN_ID).map(|conn_id| DisconnectRequest { conn_id })
}

pub fn openapi_by_body(api: &mut ApiDescription<'_>) -> Operation {
    let body = body_shape(api);
    operation(HttpMethod::Post, "disconnect")
        .body(body, Required::True, EXAMPLE, api.settings)
        .open_to(CONN_ID_BYTES)
        .refuses_body(DisconnectRequest::parse(b"{}", &api.limits))
}

pub fn body_shape(api: &mut ApiDescription<'_>) -> ValueSchema {
    object_shape("DisconnectBody", FIELDS, &api.limits, &mut api.schemas)
}

/// Describes GET /disconnect, which stands for all other methods.
pub fn openapi_by_query(_: &mut ApiDescription<'_>) -> Operation {
    operation(HttpMethod::Get, "disconnectByQuery")
        .parameter(conn_id::parameter("The connection to close."))
        .refuses_body(DisconnectRequest::from_query(None))
}

fn operation(method: HttpMethod, id: &str) -> Operation {
    Operation::new(method, "/disconnect", id, ApiGroup::Browsers, Access::Open)
        .about(
            "Close a connection permanently",
            "Removes the connection from its channels and closes its socket. POST takes `conn_id` from the body, \
             every other method takes it from the query.",
        )
        .answer("Whether the connection was known.", schema::flag(), "true")
        .refuses([Refusal::OriginNotAllowed])
        .asks_registry()
}

/// An example of a body.
pub const EXAMPLE: &str = r#"{"conn_id": "11111111-1111-4111-8111-111111111111"}"#;

/// POST /disconnect: reads the id only from the body.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect_by_body(
    broker: web::Data<BrokerHandle>,
    body: OpenBody<CONN_ID_BYTES>,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    end(&broker, request).await
}

/// /disconnect with any other method: reads the id only from the query.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect_by_query(
    broker: web::Data<BrokerHandle>,
    query: web::Query<ConnIdQuery>,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::from_query(query.conn_id.as_deref())?;
    end(&broker, request).await
}

async fn end(broker: &BrokerHandle, request: DisconnectRequest) -> Result<HttpResponse, Refusal> {
    let known = broker.disconnect(request.conn_id).await?;
    Ok(answer::json(if known { b"true".to_vec() } else { b"false".to_vec() }))
}
