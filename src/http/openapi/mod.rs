//! The API description: GET /openapi-3.1.json, and GET /openapi.json in the format of the original.

pub(crate) mod document;
mod swagger2;

pub use document::document as description;

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::path::HttpMethod;

use super::polled;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, response};
use crate::auth::Gate;
use crate::console::session::AdminOrRefused;
use crate::http_error::Refusal;
use crate::protocol::schema;

/// The path of the OpenAPI 3.1 description.
pub const PATH: &str = "/openapi-3.1.json";

/// Sends the OpenAPI 3.1 description. Behind a proxy it contains the prefix, so that tools call the right paths.
///
/// # Errors
/// `Internal` if it cannot be serialized; `Busy`.
pub async fn document(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    polled::admit(&req)?;
    let base = gate.base_url(req.head());
    let text = description(&gate.settings, base.prefix()).to_json().map_err(|_| Refusal::Internal)?;
    Ok(json(text))
}

/// Sends the Swagger 2.0 description, also with the prefix.
///
/// # Errors
/// `Internal` if it cannot be serialized; `Busy`.
pub async fn swagger2_document(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    polled::admit(&req)?;
    let base = gate.base_url(req.head());
    let description = serde_json::to_value(description(&gate.settings, "")).map_err(|_| Refusal::Internal)?;
    Ok(json(swagger2::convert(&description, base.prefix()).to_string()))
}

fn json(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text)
}

/// Describes GET /openapi-3.1.json.
pub fn openapi(_: &mut ApiDescription<'_>) -> Operation {
    let about = "OpenAPI 3.1, with the limits from this server's settings.";
    operation(PATH, "description", "This document", about)
}

/// Describes GET /openapi.json.
pub fn openapi_swagger2(_: &mut ApiDescription<'_>) -> Operation {
    let about = "Swagger 2.0 with the paths and definitions of the original, for programs that read that description.";
    operation("/openapi.json", "outline", "The API in Swagger 2.0, for old programs", about)
}

fn operation(path: &'static str, id: &str, summary: &str, about: &str) -> Operation {
    Operation::new(HttpMethod::Get, path, id, ApiGroup::Operators, Access::SignedOrAdmin)
        .about(summary, about)
        .responds(200, response("The description.", "application/json", schema::any_object()))
        .refuses([Refusal::SignatureMissing, Refusal::Busy])
}
