//! GET and POST /admin/sign_in: the form, and the cookie for who fills it in right.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::console::Console;
use super::{pages, session};
use crate::api::operation::{Access, Description, Operation, Public, response};
use crate::error::{CODE_HEADER, Refusal};
use crate::gate::Gate;
use crate::gate::guard::now_unix;
use crate::observe::log_sums::FAILED_SIGN_INS;
use crate::wire::schema::{self, Keys};
use serde_json::json;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{HeaderBuilder, Response};

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

/// What the API's description says of the form.
pub fn described(_: &mut Description<'_>) -> Operation {
    Operation::new(HttpMethod::Get, session::SIGN_IN_PATH, "signInForm", Public::Operators, Access::Open)
        .about("The form to sign in with", "Open to all; a good address for health checks.")
        .text("The form.", "text/html")
}

/// And of signing in.
pub fn described_submit(to: &mut Description<'_>) -> Operation {
    let form = Keys::new()
        .may("username", schema::text(), "The admin's name; blanks around it are ignored.")
        .may("password", schema::text(), "The admin's password, likewise.")
        .shape();
    Operation::new(HttpMethod::Post, session::SIGN_IN_PATH, "signIn", Public::Operators, Access::Open)
        .about("Sign in", "Sets the admin's cookie. A wrong password is answered half a second later.")
        .form(form, to.settings)
        .text("The form again: name or password was wrong.", "text/html")
        .redirects("Signed in: to the dashboard, with the cookie.")
        .responds(429, too_many_described())
        .refuses([Refusal::CsrfToken])
        .refuses([Refusal::Invalid(json!({ "_schema": ["Content type error."] }))])
}

fn too_many_described() -> Response {
    let mut form =
        response("Too many wrong passwords came from this address: the form.", "text/html", schema::text());
    let code = schema::one_value_of([Refusal::TooManyTries(0).code()]);
    let headers = [
        (CODE_HEADER, code, "The stable code of the refusal."),
        ("retry-after", schema::count(), "Seconds to wait before the next attempt."),
    ];
    for (name, shape, about) in headers {
        let header = HeaderBuilder::new().schema(Some(shape)).description(Some(about)).build();
        form.headers.insert(name.into(), header.into());
    }
    form
}

/// Shows the form.
pub async fn form(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    pages::SIGN_IN.serve(&gate.base_url(req.headers()), &[("error", "")])
}

/// Signs in, or shows the form again: with 200, as the original does, and with 429 to who guesses.
///
/// # Errors
/// Another site's page sent the form.
pub async fn submit(
    gate: web::Data<Gate>,
    console: web::Data<Console>,
    req: HttpRequest,
    sent: web::Form<Credentials>,
) -> Result<HttpResponse, Refusal> {
    if session::is_foreign(req.headers()) {
        return Err(Refusal::CsrfToken);
    }
    let base = gate.base_url(req.headers());
    let client = gate.client_address(req.head()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if let Err(wait) = console.guesses().admit(client, console.started.elapsed()) {
        FAILED_SIGN_INS.log(Some(client), format_args!("too many wrong passwords for the admin pages"));
        return Ok(refused(pages::SIGN_IN.serve(&base, &[("error", &too_many(wait))]), wait));
    }
    if session::is_admin(&gate, sent.username.trim(), sent.password.trim()) {
        console.guesses().was_right(client);
        let mut answer = session::redirect(&base.url("/admin"));
        return Ok(match answer.add_cookie(&session::issue(&gate, &base, now_unix())) {
            Ok(()) => answer,
            Err(error) => HttpResponse::from_error(error),
        });
    }
    FAILED_SIGN_INS.log(Some(client), format_args!("wrong name or password for the admin pages"));
    actix_web::rt::time::sleep(WRONG_PASSWORD_PAUSE).await;
    Ok(pages::SIGN_IN.serve(&base, &[("error", "Wrong name or password.")]))
}

fn too_many(wait: Duration) -> String {
    match wait.as_secs() + 1 {
        seconds @ 0..=90 => format!("Too many wrong passwords. Try again in {seconds} seconds."),
        seconds => format!("Too many wrong passwords. Try again in {} minutes.", seconds.div_ceil(60)),
    }
}

/// The form, as the refusal that it is.
fn refused(mut form: HttpResponse, wait: Duration) -> HttpResponse {
    let refusal = Refusal::TooManyTries(wait.as_secs() + 1);
    *form.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let seconds = header::HeaderValue::from(wait.as_secs() + 1);
    form.headers_mut().insert(header::RETRY_AFTER, seconds);
    let code = header::HeaderValue::from_static(refusal.code());
    form.headers_mut().insert(header::HeaderName::from_static(CODE_HEADER), code);
    form
}
