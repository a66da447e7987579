//! The API description: GET /openapi-3.1.json, and GET /openapi.json in the format of the original.

mod document;
mod operation;
mod draft;
mod responses;
mod bodies;
mod swagger2;

pub use document::document as description;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::polled;
use crate::auth::Gate;
use crate::console::session::AdminOrRefused;
use crate::http_error::Refusal;

/// The path of the OpenAPI 3.1 description.
pub const PATH: &str = "/openapi-3.1.json";

/// Sends the OpenAPI 3.1 description. Behind a proxy it contains the prefix, so that tools call the right paths.
///
/// # Errors
/// `Internal` if the description contains an unknown name; `Busy`.
pub async fn document(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    send(&gate, &req, |prefix| description(&gate.settings, prefix))
}

/// Sends the Swagger 2.0 description, also with the prefix.
///
/// # Errors
/// `Internal` if the description contains an unknown name; `Busy`.
pub async fn swagger2_document(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    send(&gate, &req, |prefix| Ok(swagger2::convert(&description(&gate.settings, "")?, prefix)))
}

fn send(
    gate: &Gate,
    req: &HttpRequest,
    describe: impl FnOnce(&str) -> Result<Value, String>,
) -> Result<HttpResponse, Refusal> {
    polled::admit(req)?;
    let base = gate.base_url(req.head());
    let description = describe(base.prefix()).map_err(|_| Refusal::Internal)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(description.to_string()))
}
