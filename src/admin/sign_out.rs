//! GET and POST /admin/sign_out: takes the cookie back.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::session;
use crate::error::Refusal;
use crate::gate::Gate;

/// What the console's button sends.
#[derive(Deserialize)]
pub struct Token {
    #[serde(default)]
    csrf: String,
}

/// GET, as the original has it: clears the cookie and shows the form. A link on another site's page only shows the form.
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

/// POST, with the token of the sign-in. Who is not signed in need not be signed out.
///
/// # Errors
/// Another token.
pub async fn submit(
    gate: web::Data<Gate>,
    req: HttpRequest,
    sent: web::Form<Token>,
) -> Result<HttpResponse, Refusal> {
    match session::check_token(&gate, req.headers(), &sent.csrf) {
        Err(Refusal::CsrfToken) => Err(Refusal::CsrfToken),
        _ => Ok(sign_out(gate, req).await),
    }
}
