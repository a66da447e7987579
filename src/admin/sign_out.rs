//! GET and POST /admin/sign_out: takes the cookie back.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::session;
use crate::api::operation::{Access, Description, Operation, Public};
use crate::error::Refusal;
use crate::gate::Gate;
use crate::wire::schema::{self, Keys};
use serde_json::json;
use utoipa::openapi::path::HttpMethod;

/// What the API's description says of it.
pub fn described(_: &mut Description<'_>) -> Operation {
    Operation::new(HttpMethod::Get, "/admin/sign_out", "signOut", Public::Operators, Access::Open)
        .about("Sign out", "Takes the cookie back.")
        .redirects("To the sign-in.")
}

/// And of the console's button.
pub fn described_submit(_: &mut Description<'_>) -> Operation {
    let form = Keys::new().may("csrf", schema::text(), "The token of the sign-in.").shape();
    Operation::new(HttpMethod::Post, "/admin/sign_out", "signOutByButton", Public::Operators, Access::Open)
        .about(
            "Sign out by the console's button",
            "Takes the cookie back. Who is not signed in need not be signed out.",
        )
        .form(form)
        .redirects("To the sign-in.")
        .refuses([Refusal::CsrfToken, Refusal::Invalid(json!({ "_schema": ["Content type error."] }))])
}

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
