//! GET /admin/connection.json: one connection.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Console, connections, walk};
use crate::admin::answers::Built;
use crate::admin::query::Query;
use crate::admin::session::AdminOrRefused;
use crate::api::conn_id;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::registry::messages::DescribeConnection;

/// GET /admin/connection.json?conn_id=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn connection(
    _: AdminOrRefused,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let id = requested(&req)?;
    console.answers.serve(&req, describe(&backend, &console, id)).await
}

/// The id that a query names.
///
/// # Errors
/// `Invalid`.
pub fn requested(req: &HttpRequest) -> Result<Uuid, Refusal> {
    let mut query = Query::of(req);
    let text = query.required("conn_id");
    let id = conn_id::parse(&text);
    if id.is_none() && !text.is_empty() {
        query.fault("conn_id", "Not a valid UUID.");
    }
    Ok(query.checked(id.unwrap_or_default())?)
}

async fn describe(backend: &Backend, console: &Console, id: Uuid) -> Result<Built, Refusal> {
    let found = backend.ask(DescribeConnection(id)).await?;
    let details = found.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    let session = walk::sessions(console, std::slice::from_ref(&details.row), true).await.pop().flatten();
    let shown = connections::shown(&details.row, session.as_ref());
    let mut answer = serde_json::to_value(shown).map_err(|_| Refusal::Internal)?;
    if let Value::Object(members) = &mut answer {
        let names: Vec<&str> = details.channels.iter().map(|name| &**name).collect();
        members.insert("channel_names".into(), json!(names));
    }
    Built::of(&answer, 0)
}
