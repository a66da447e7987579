//! GET and POST /admin/sign_out: takes the cookie back.

use actix_web::{HttpRequest, HttpResponse, web};

use super::session;
use crate::gate::Gate;

/// Clears the cookie and shows the form. A link on another site's page only shows the form.
pub async fn sign_out(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let base = gate.base_url(req.headers());
    let mut answer = session::redirect(&base.url(session::SIGN_IN_PATH));
    if session::is_foreign(req.headers()) {
        return answer;
    }
    match answer.add_cookie(&session::clear(&base)) {
        Ok(()) => answer,
        Err(error) => HttpResponse::from_error(error),
    }
}
