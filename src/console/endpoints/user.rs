//! GET /admin/user.json: one user with state and connections.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use serde_json::value::RawValue;

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;

/// GET /admin/user.json?name=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn user(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let name = Query::name_of(&req)?;
    console.answers.serve(&req, describe(&broker, name)).await
}

async fn describe(broker: &BrokerHandle, name: String) -> Result<Built, Refusal> {
    let found = broker.describe_user(name.clone()).await?;
    let user = found.ok_or_else(|| Refusal::NotFound(format!("user {name}")))?;
    let state: Option<&RawValue> = serde_json::from_str(user.view.state()).ok();
    let answer = json!({
        "name": &*user.view.name,
        "uuid": user.uuid,
        "present": user.present,
        "total": user.total,
        "state": state,
        "public_keys": user.public_keys,
        "connections": user.connections,
    });
    Built::of(&answer, 0)
}
