//! GET and POST /admin/sign_in: the form, and the cookie for a successful sign-in. GET and POST /admin/sign_out: ends the
//! sign-in, so that copies of its cookie become invalid, and deletes the cookie.

use super::endpoints::Console;
use super::session;
use super::sign_in_records::SignInClient;
use crate::auth::body::{Body, BodySender, FORM_BYTES};
use crate::auth::guard::now_unix;
use crate::auth::proxy::BaseUrl;
use crate::auth::{Gate, peer};
use crate::broker::handle::BrokerHandle;
use crate::http_error::{CODE_HEADER, Refusal};
use crate::telemetry::log_sums::{FAILED_SIGN_INS, escaped};
use crate::web::pages;
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use serde_json::json;
use std::future::ready;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Delay of the response to a wrong password, to slow down guessing.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(500);

/// The fields of a form. A request without a body has none, regardless of its content type.
pub struct SignInFields(Vec<(String, String)>);

impl SignInFields {
    /// The last value of a field; a missing field is empty.
    pub fn last(&self, name: &str) -> &str {
        self.0.iter().rev().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl FromRequest for SignInFields {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let length = req.headers().get(header::CONTENT_LENGTH);
        let is_chunked = req.headers().contains_key(header::TRANSFER_ENCODING);
        if !is_chunked && length.is_none_or(|length| length.as_bytes() == b"0") {
            return Box::pin(ready(Ok(Self(Vec::new()))));
        }
        let content_type = req.headers().get(header::CONTENT_TYPE);
        if content_type.is_none_or(|named| named.as_bytes().trim_ascii().is_empty()) {
            return Box::pin(Self::untyped(req.clone(), payload.take()));
        }
        let form = web::Form::<Vec<(String, String)>>::from_request(req, payload);
        Box::pin(async { Ok(Self(form.await?.into_inner())) })
    }
}

impl SignInFields {
    /// The fields of a body without a content type, which 0.7.1 reads as a form.
    async fn untyped(req: HttpRequest, payload: Payload) -> Result<Self, Error> {
        let broker = req.app_data::<web::Data<BrokerHandle>>().ok_or(Refusal::Internal)?;
        let body = Body::receive(req.head(), payload, broker, BodySender::Public(FORM_BYTES)).await?;
        let fields = serde_urlencoded::from_bytes(&body);
        Ok(Self(fields.map_err(|error| Refusal::Invalid(json!({ "_schema": [error.to_string()] })))?))
    }
}

pub async fn form(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    pages::SIGN_IN.serve(&gate.base_url(req.head()), &[("error", "")])
}

/// Signs in, or shows the form again: with 200, as the original does, and with 429 after too many attempts.
///
/// # Errors
/// Another site's page sent the form, or the well-known password came from another machine.
pub async fn submit(
    gate: web::Data<Gate>,
    console: web::Data<Console>,
    req: HttpRequest,
    sent: SignInFields,
) -> Result<HttpResponse, Refusal> {
    if session::is_foreign(req.headers()) {
        return Err(Refusal::CsrfToken);
    }
    let base = gate.base_url(req.head());
    if sent.0.is_empty() {
        return Ok(pages::SIGN_IN.serve(&base, &[("error", "")]));
    }
    // Checked before the attempt counts: clients behind a proxy appear with the address of this machine, and must not
    // use up its attempts.
    gate.admit_password(req.head())?;
    let browser = session::known_browser(&gate, req.headers(), now_unix());
    let address = gate.client_address(req.head()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client = browser.map_or(SignInClient::Address(address), SignInClient::Browser);
    if let Err(wait) = console.failed_sign_ins().admit(client, console.started.elapsed()) {
        let note = untrusted_note(&gate, &req);
        FAILED_SIGN_INS
            .log(Some(address), format_args!("too many wrong passwords for the admin pages{note}"));
        return Ok(refused(pages::SIGN_IN.serve(&base, &[("error", &too_many(wait))]), wait));
    }
    if session::is_admin(&gate, sent.last("username").trim(), sent.last("password").trim()) {
        console.failed_sign_ins().was_right(client);
        return Ok(signed_in(&gate, &base, browser));
    }
    let note = untrusted_note(&gate, &req);
    FAILED_SIGN_INS.log(Some(address), format_args!("wrong name or password for the admin pages{note}"));
    actix_web::rt::time::sleep(WRONG_PASSWORD_PAUSE).await;
    Ok(pages::SIGN_IN.serve(&base, &[("error", "Wrong name or password.")]))
}

/// Redirects to the console, with the cookies of a new sign-in and of its browser.
fn signed_in(gate: &Gate, base: &BaseUrl, browser: Option<u128>) -> HttpResponse {
    let (now, browser) = (now_unix(), browser.unwrap_or_else(rand::random));
    let mut answer = session::redirect(&base.url("/admin"));
    let cookies = [
        session::issue(gate, base, rand::random(), now),
        session::remember_browser(gate, base, browser, now),
    ];
    for cookie in cookies {
        if let Err(error) = answer.add_cookie(&cookie) {
            return HttpResponse::from_error(error);
        }
    }
    answer
}

/// If the peer is a proxy that is not in `trusted_proxies`, its header may contain the client's address. Any client can
/// forge it.
fn untrusted_note(gate: &Gate, req: &HttpRequest) -> String {
    let is_trusted =
        req.peer_addr().is_some_and(|peer| peer::is_trusted(peer.ip(), &gate.settings.trusted_proxies));
    match req.headers().get("x-forwarded-for").filter(|_| !is_trusted) {
        Some(value) => {
            let value = String::from_utf8_lossy(value.as_bytes());
            format!(" through an untrusted proxy with X-Forwarded-For: {}", escaped(&value))
        }
        None => String::new(),
    }
}

fn too_many(wait: Duration) -> String {
    match wait.as_secs() + 1 {
        seconds @ 0..=90 => format!("Too many wrong passwords. Try again in {seconds} seconds."),
        seconds => format!("Too many wrong passwords. Try again in {} minutes.", seconds.div_ceil(60)),
    }
}

/// Turns the form into a 429 response.
fn refused(mut form: HttpResponse, wait: Duration) -> HttpResponse {
    let refusal = Refusal::TooManyTries(wait.as_secs() + 1);
    *form.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let seconds = header::HeaderValue::from(wait.as_secs() + 1);
    form.headers_mut().insert(header::RETRY_AFTER, seconds);
    let code = header::HeaderValue::from_static(refusal.code());
    form.headers_mut().insert(header::HeaderName::from_static(CODE_HEADER), code);
    form
}

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
pub async fn submit_sign_out(
    gate: web::Data<Gate>,
    req: HttpRequest,
    sent: SignInFields,
) -> Result<HttpResponse, Refusal> {
    match session::check_token(&req, sent.last("csrf")) {
        Err(Refusal::CsrfToken) => Err(Refusal::CsrfToken),
        _ => sign_out(gate, req).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use std::sync::Arc;

    #[test]
    fn the_log_contains_the_address_from_an_untrusted_proxy() {
        let note = |settings, forwarded: &str| {
            let request = TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap());
            let request = request.insert_header(("x-forwarded-for", forwarded)).to_http_request();
            untrusted_note(&Gate::new(Arc::new(settings)), &request)
        };
        let line = note(Settings::default(), "203.0.113.9");
        assert_eq!(line, " through an untrusted proxy with X-Forwarded-For: 203.0.113.9");
        assert!(
            note(Settings::default(), &"\u{e9}\t".repeat(9_000)).len() < 1_000,
            "the length of a log line is limited"
        );
        assert!(!note(Settings::default(), "a\tb").contains('\t'));
        let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        assert_eq!(note(Settings { trusted_proxies, ..Settings::default() }, "203.0.113.9"), "");
    }
}
