//! The slashes at the end of the demo's addresses.

use crate::gate::Gate;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

/// Leads to the same address without the slash at its end.
pub async fn without_slash(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    lead_to(&gate, &req, req.path().trim_end_matches('/'))
}

fn lead_to(gate: &Gate, req: &HttpRequest, path: &str) -> HttpResponse {
    let base = gate.base_url(req.headers());
    let query = req.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, format!("{}{path}{query}", base.prefix())))
        .finish()
}
