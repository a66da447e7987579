//! POST /admin/disconnect and /admin/disconnect_user: ends a connection, or all of a user.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::admin::answers::done;
use crate::admin::session::Operator;
use crate::api::disconnect::DisconnectRequest;
use crate::api::invalid::Invalid;
use crate::api::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::registry::messages::{Disconnect, DisconnectUser};

/// Connections ended in one turn of the registry.
const AT_ONCE: usize = 500;

/// POST /admin/disconnect: `{"conn_id": …}`. Answers how many were ended: one, or none.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn connection(
    _: Operator,
    backend: web::Data<Backend>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = DisconnectRequest::parse(&body, &Limits::from(&*backend.settings))?;
    let known = backend.ask(Disconnect(request.conn_id)).await?;
    log::info!("connection {} disconnected by an admin", request.conn_id);
    Ok(done(&json!({ "ended": u32::from(known) })))
}

#[derive(Deserialize)]
struct UserRequest {
    user: String,
}

/// POST /admin/disconnect_user: `{"user": …}`. Answers how many connections were ended.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn user(_: Operator, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let request: UserRequest =
        serde_json::from_slice(&body).map_err(|error| Invalid::field("user", error.to_string()))?;
    let mut ended = 0;
    loop {
        let step = backend.ask(DisconnectUser { user: request.user.clone(), at_most: AT_ONCE }).await?;
        let step = step.ok_or_else(|| Refusal::from(Invalid::field("user", "Unknown user")))?;
        ended += step.ended;
        // None ended with some left cannot be, but must not turn for ever.
        if step.left == 0 || step.ended == 0 {
            log::info!("user {:?} disconnected by an admin: {ended} connections", request.user);
            return Ok(done(&json!({ "ended": ended })));
        }
    }
}
