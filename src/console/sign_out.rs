//! GET and POST /admin/sign_out: ends the sign-in, so that copies of its cookie become invalid, and deletes the cookie.

use actix_web::{HttpRequest, HttpResponse, web};

use super::session;
use super::sign_in::SignInFields;
use crate::auth::Gate;
use crate::http_error::Refusal;

/// GET, as in the original: ends the sign-in and redirects to the form. From a link on another site's page it only
/// redirects.
///
/// # Errors
/// Only if a part of the server is missing.
pub async fn sign_out(gate: web::Data<Gate>, req: HttpRequest) -> Result<HttpResponse, Refusal> {
    let base = gate.base_url(req.head());
    let mut answer = session::redirect(&base.url(session::SIGN_IN_PATH));
    if session::is_foreign(req.headers()) {
        return Ok(answer);
    }
    session::end(&req)?;
    Ok(match answer.add_cookie(&session::clear(&base)) {
        Ok(()) => answer,
        Err(error) => HttpResponse::from_error(error),
    })
}

/// POST, with the token of the sign-in. It has no effect for a client that is not signed in.
///
/// # Errors
/// The token belongs to another sign-in.
pub async fn submit(
    gate: web::Data<Gate>,
    req: HttpRequest,
    sent: SignInFields,
) -> Result<HttpResponse, Refusal> {
    match session::check_token(&req, sent.last("csrf")) {
        Err(Refusal::CsrfToken) => Err(Refusal::CsrfToken),
        _ => sign_out(gate, req).await,
    }
}
