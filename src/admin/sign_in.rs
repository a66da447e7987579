//! GET and POST /admin/sign_in: the form, and the cookie for who fills it in right.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::{pages, session};
use crate::gate::Gate;
use crate::gate::guard::now_unix;

/// Pause before a wrong password is answered, against guessing.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(500);

/// What the form sends; blanks around are ignored.
#[derive(Deserialize)]
pub struct Credentials {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Shows the form.
pub async fn form(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    pages::SIGN_IN.serve(&gate.base_url(req.headers()), &[("error", "")])
}

/// Signs in, or shows the form again: with 200, as the original does.
pub async fn submit(gate: web::Data<Gate>, req: HttpRequest, sent: web::Form<Credentials>) -> HttpResponse {
    let base = gate.base_url(req.headers());
    if session::is_admin(&gate, sent.username.trim(), sent.password.trim()) {
        let mut answer = session::redirect(&base.url("/admin"));
        return match answer.add_cookie(&session::issue(&gate, &base, now_unix())) {
            Ok(()) => answer,
            Err(error) => HttpResponse::from_error(error),
        };
    }
    let client =
        gate.client_address(req.head()).map_or_else(|| "unknown".into(), |client| client.to_string());
    log::warn!("wrong name or password for the admin pages from {client}");
    actix_web::rt::time::sleep(WRONG_PASSWORD_PAUSE).await;
    pages::SIGN_IN.serve(&base, &[("error", "Wrong name or password.")])
}
