//! GET /admin/user.json: one user, its state and its connections.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use serde_json::value::RawValue;

use super::Console;
use crate::admin::answers::Built;
use crate::admin::query::Query;
use crate::admin::session::AdminOrRefused;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::registry::messages::DescribeUser;

/// GET /admin/user.json?name=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn user(
    _: AdminOrRefused,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let name = query.required("name");
    let name = query.checked(name)?;
    console.answers.serve(&req, describe(&backend, name)).await
}

async fn describe(backend: &Backend, name: String) -> Result<Built, Refusal> {
    let found = backend.ask(DescribeUser(name.clone())).await?;
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
