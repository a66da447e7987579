//! The API's description: GET /openapi-3.1.json, and GET /openapi.json in the outline of the original's.

pub mod document;
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

/// Where the description is.
pub const PATH: &str = "/openapi-3.1.json";

/// Serves the description; behind a proxy's prefix it says so, or tools would call the wrong paths.
///
/// # Errors
/// `Internal`, if it cannot be written; `Busy`.
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

/// Serves the outline; behind a proxy's prefix it says so as well.
///
/// # Errors
/// `Internal`, if it cannot be written; `Busy`.
pub async fn outline(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    polled::admit(&req)?;
    let base = gate.base_url(req.head());
    let description = serde_json::to_value(description(&gate.settings, "")).map_err(|_| Refusal::Internal)?;
    Ok(json(swagger2::outline(&description, base.prefix()).to_string()))
}

fn json(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text)
}

/// What the description says of itself.
pub fn openapi(_: &mut ApiDescription<'_>) -> Operation {
    let about = "OpenAPI 3.1, with the limits of this server's settings.";
    served(PATH, "description", "This document", about)
}

/// And of the outline.
pub fn openapi_outline(_: &mut ApiDescription<'_>) -> Operation {
    let about = "Swagger 2.0 in the outline of the original's, for who reads that one.";
    served("/openapi.json", "outline", "An outline of the API, for old readers", about)
}

fn served(path: &'static str, id: &str, summary: &str, about: &str) -> Operation {
    Operation::new(HttpMethod::Get, path, id, ApiGroup::Operators, Access::SignedOrAdmin)
        .about(summary, about)
        .responds(200, response("The description.", "application/json", schema::any_object()))
        .refuses([Refusal::SignatureMissing, Refusal::Busy])
}
