//! /disconnect: close a connection.

use super::ConnIdQuery;
use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::fields::{Field, FieldTable, Fields, Id, NULL, fault, uuid_text};
use crate::auth::body::{CONN_ID_BYTES, OpenBody};
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::protocol::websocket::close::CloseReason;
use actix_web::{HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

const CONN_ID: Field<Id> = Field::filled("conn_id", Id, "The connection to close.");
pub(crate) const FIELDS: FieldTable = &[&CONN_ID];

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
    let known = broker.disconnect(request.conn_id, CloseReason::Ended.into()).await?;
    Ok(answer::json(if known { b"true".to_vec() } else { b"false".to_vec() }))
}
