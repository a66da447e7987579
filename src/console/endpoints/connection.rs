//! GET /admin/connection.json: one connection.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Console, connections};
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;

/// GET /admin/connection.json?conn_id=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn connection(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let id = requested(&req)?;
    console.answers.serve(&req, describe(&broker, id)).await
}

/// The id in a query.
///
/// # Errors
/// `Invalid`.
pub fn requested(req: &HttpRequest) -> Result<Uuid, Refusal> {
    let mut query = Query::of(req);
    let id = query.required_conn_id("conn_id");
    Ok(query.checked(id.unwrap_or_default())?)
}

async fn describe(broker: &BrokerHandle, id: Uuid) -> Result<Built, Refusal> {
    let found = broker.describe_connection(id).await?;
    let details = found.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    let session = broker.sessions(std::slice::from_ref(&details.row), true).await.pop().flatten();
    let shown = connections::shown(&details.row, session.as_ref());
    let mut answer = serde_json::to_value(shown).map_err(|_| Refusal::Internal)?;
    if let Value::Object(members) = &mut answer {
        let names: Vec<&str> = details.channels.iter().map(|name| &**name).collect();
        members.insert("channel_names".into(), json!(names));
    }
    Built::of(&answer, 0)
}
