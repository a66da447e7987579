//! /disconnect: end a connection.

use super::answer;
use super::body;
use super::conn_id::ConnIdQuery;
use super::fields::{Fields, NULL, fault, uuid, uuid_text};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::registry::messages::Disconnect;
use actix_web::{HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

/// Which connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectRequest {
    /// The connection; an unknown one is no error.
    pub conn_id: Uuid,
}

impl DisconnectRequest {
    /// Reads the body of a POST, where the query does not count.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Invalid> {
        body::object(body, limits, &["conn_id"], read)
    }

    /// Reads the query's `conn_id`, of any other method.
    pub fn from_query(conn_id: Option<&str>) -> Result<Self, Invalid> {
        let conn_id = conn_id.map_or_else(|| Err(fault(NULL)), uuid_text);
        conn_id.map(|conn_id| Self { conn_id }).map_err(|fault| Invalid::from(json!({ "conn_id": fault })))
    }
}

fn read(fields: &mut Fields<'_>) -> Option<DisconnectRequest> {
    if !fields.has("conn_id") {
        fields.fault("conn_id", fault(NULL));
    }
    fields.given("conn_id", uuid).map(|conn_id| DisconnectRequest { conn_id })
}

/// POST /disconnect: the id stands in the body alone.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect_by_body(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &Limits::from(&*backend.settings))?;
    end(&backend, request).await
}

/// /disconnect with any other method: the id stands in the query alone.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn disconnect_by_query(
    backend: web::Data<Backend>,
    query: web::Query<ConnIdQuery>,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::from_query(query.conn_id.as_deref())?;
    end(&backend, request).await
}

async fn end(backend: &Backend, request: DisconnectRequest) -> Result<HttpResponse, Refusal> {
    let known = backend.ask(Disconnect(request.conn_id)).await?;
    Ok(answer::json(if known { b"true".to_vec() } else { b"false".to_vec() }))
}
