//! The admin's sign-in: a signed cookie, and the extractors that ask for it.
//!
//! The cookie opens the admin's pages and never the API. Browsers send it along whoever made them ask, so commands need
//! a token as well, which only our own pages know.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use sha1::{Digest, Sha1};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use crate::error::{Refusal, escape_html};
use crate::gate::guard::{Standing, now_unix, standing_of};
use crate::gate::proxy::BaseUrl;
use crate::gate::{Gate, text};

/// Name of the cookie, as in the original.
pub const COOKIE: &str = "auth_tkt";
/// How long an admin stays signed in, in seconds: 30 days.
pub const MAX_AGE_S: u64 = 2_592_000;
/// The header of a command's token.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Where the form is.
pub const SIGN_IN_PATH: &str = "/admin/sign_in";

pub use crate::gate::page::is_foreign;

/// A request with a good signature or a signed-in admin's cookie; others are sent to the form.
#[derive(Clone, Copy, Debug)]
pub struct AdminOrSigned(());

impl FromRequest for AdminOrSigned {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match is_admitted(req) {
            Ok(true) => Ok(Self(())),
            Ok(false) => Err(to_sign_in(req)),
            Err(refusal) => Err(refusal.into()),
        })
    }
}

/// The same for programs, which have no use for a form: others are refused with 403.
#[derive(Clone, Copy, Debug)]
pub struct AdminOrRefused(());

impl FromRequest for AdminOrRefused {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = is_admitted(req);
        ready(admitted.and_then(|admitted| admitted.then_some(Self(())).ok_or(Refusal::SignatureMissing)))
    }
}

/// A command: signed, or of a signed-in admin and with the token of the sign-in in the header `x-csrf-token`.
#[derive(Clone, Copy, Debug)]
pub struct Operator(());

impl FromRequest for Operator {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(may_command(req).map(|()| Self(())))
    }
}

fn may_command(req: &HttpRequest) -> Result<(), Refusal> {
    if matches!(standing_of(req)?, Standing::Signed(_)) {
        return Ok(());
    }
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    check_token(gate, req.headers(), text(req.headers(), CSRF_HEADER).unwrap_or_default())
}

/// Whether the token is that of the sign-in whose cookie the request carries.
///
/// # Errors
/// No sign-in; another token.
pub fn check_token(gate: &Gate, headers: &HeaderMap, given: &str) -> Result<(), Refusal> {
    let cookie = good_cookie(gate, headers, now_unix()).ok_or(Refusal::SignatureMissing)?;
    if same(given, &csrf_token(gate, cookie)) { Ok(()) } else { Err(Refusal::CsrfToken) }
}

/// The token of a sign-in: only who can read our pages learns it.
fn csrf_token(gate: &Gate, cookie: &str) -> String {
    // Signed for the year 1970, so that it is never taken for a cookie.
    let signed = gate.secrets().cookie_keys.sign(&format!("csrf {cookie}"), 0);
    signed.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The token for the pages of whoever sends this request; empty without a sign-in.
pub fn csrf_token_for(gate: &Gate, headers: &HeaderMap) -> String {
    good_cookie(gate, headers, now_unix()).map(|cookie| csrf_token(gate, cookie)).unwrap_or_default()
}

fn is_admitted(req: &HttpRequest) -> Result<bool, Refusal> {
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    Ok(matches!(standing_of(req)?, Standing::Signed(_)) || is_signed_in(gate, req.headers(), now_unix()))
}

fn to_sign_in(req: &HttpRequest) -> Error {
    match req.app_data::<web::Data<Gate>>() {
        Some(gate) => {
            let answer = redirect(&gate.base_url(req.head()).url(SIGN_IN_PATH));
            InternalError::from_response("not signed in", answer).into()
        }
        None => Refusal::Internal.into(),
    }
}

/// 302 with a small page for those who do not follow.
pub fn redirect(url: &str) -> HttpResponse {
    let link = escape_html(url);
    let page = format!(
        "<html><head><title>302 Found</title></head><body><a href=\"{link}\">{link}</a></body></html>"
    );
    HttpResponse::Found()
        .insert_header((header::LOCATION, url))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=UTF-8")
        .body(page)
}

/// Whether the request carries a good cookie.
pub fn is_signed_in(gate: &Gate, headers: &HeaderMap, now_unix: u64) -> bool {
    good_cookie(gate, headers, now_unix).is_some()
}

fn good_cookie<'a>(gate: &Gate, headers: &'a HeaderMap, now_unix: u64) -> Option<&'a str> {
    // Read by hand: one malformed cookie of another program on the host must not hide ours.
    headers
        .get_all(header::COOKIE)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, token)| token)
        .find(|token| gate.secrets().cookie_keys.verify(token, now_unix, Some(MAX_AGE_S)).is_ok())
}

/// The cookie, for the API's description.
pub fn security_scheme() -> SecurityScheme {
    let about = "What signing in at `/admin/sign_in` gives. Opens what is for operators, never the API.";
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(COOKIE, about)))
}

/// The token of a command, for the API's description.
pub fn csrf_scheme() -> SecurityScheme {
    let about = "The token of the sign-in, for commands: it is in the `meta` element `csrf-token` of the page `/admin`, so \
        that no other site's page can command with the admin's cookie.";
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(CSRF_HEADER, about)))
}

/// The cookie of an admin who has just signed in.
pub fn issue(gate: &Gate, base: &BaseUrl, now_unix: u64) -> Cookie<'static> {
    let token = gate.secrets().cookie_keys.sign("admin", now_unix);
    cookie(token, Duration::seconds(MAX_AGE_S as i64), base)
}

/// The cookie that deletes the former.
pub fn clear(base: &BaseUrl) -> Cookie<'static> {
    cookie(String::new(), Duration::ZERO, base)
}

fn cookie(value: String, max_age: Duration, base: &BaseUrl) -> Cookie<'static> {
    Cookie::build(COOKIE, value)
        .path("/")
        .max_age(max_age)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(base.is_https())
        .finish()
}

/// Whether name and password are the admin's. Takes the same time whatever is wrong with them.
pub fn is_admin(gate: &Gate, name: &str, password: &str) -> bool {
    let secrets = gate.secrets();
    same(name, &secrets.admin_user) & same(password, secrets.admin_secret.expose())
}

/// Compares in constant time. The digests are compared, so that not even the length shows.
fn same(given: &str, wanted: &str) -> bool {
    let (given, wanted) = (Sha1::digest(given), Sha1::digest(wanted));
    let difference = given.iter().zip(wanted.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::forwarded::Forwarded;
    use crate::settings::{Secret, Settings};
    use actix_web::http::header::HeaderValue;
    use std::sync::Arc;

    const NOW: u64 = 1_700_000_000;

    fn signed_in(gate: &Gate, cookies: &str, now: u64) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookies).unwrap());
        is_signed_in(gate, &headers, now)
    }

    fn base(scheme: &str) -> BaseUrl {
        BaseUrl::read(None, Forwarded::default(), Some(scheme), "h")
    }

    #[test]
    fn a_cookie_opens_for_thirty_days() {
        let gate = Gate::new(Arc::default());
        let cookie = format!("auth_tkt={}", issue(&gate, &base("http"), NOW).value());
        assert!(signed_in(&gate, &cookie, NOW + MAX_AGE_S));
        assert!(!signed_in(&gate, &cookie, NOW + MAX_AGE_S + 1));
        assert!(signed_in(&gate, &format!("broken; x=%%; {cookie}; auth_tkt=old"), NOW));
        assert!(!signed_in(&gate, "auth_tkt=garbage", NOW));
        assert!(!signed_in(&Gate::new(Arc::default()), &cookie, NOW));
    }

    #[test]
    fn a_token_belongs_to_one_sign_in_and_is_no_cookie() {
        let gate = Gate::new(Arc::default());
        let (cookie, later) = (
            gate.secrets().cookie_keys.sign("admin", NOW),
            gate.secrets().cookie_keys.sign("admin", NOW + 1),
        );
        let token = csrf_token(&gate, &cookie);
        assert_eq!((token.len(), token == csrf_token(&gate, &cookie)), (27, true));
        assert_ne!(token, csrf_token(&gate, &later));
        assert_ne!(token, csrf_token(&Gate::new(Arc::default()), &cookie));
        let forged = format!("auth_tkt={}", gate.secrets().cookie_keys.sign(&format!("csrf {cookie}"), 0));
        assert!(!signed_in(&gate, &forged, NOW));
    }

    #[test]
    fn an_api_signature_is_no_cookie() {
        let cookie_secret = Secret::new("secret");
        let gate = Gate::new(Arc::new(Settings { cookie_secret, ..Settings::default() }));
        assert!(!signed_in(&gate, &format!("auth_tkt={}", gate.secrets().keys.sign("admin", NOW)), NOW));
    }

    #[test]
    fn a_new_password_signs_everybody_out() {
        let with_password = |password| {
            let (cookie_secret, admin_secret) = (Secret::new("fixed"), Secret::new(password));
            Gate::new(Arc::new(Settings { cookie_secret, admin_secret, ..Settings::default() }))
        };
        let cookie = format!("auth_tkt={}", issue(&with_password("a"), &base("http"), NOW).value());
        assert!(signed_in(&with_password("a"), &cookie, NOW));
        assert!(!signed_in(&with_password("b"), &cookie, NOW));
    }

    #[test]
    fn cookies_are_secure_where_the_outside_is() {
        let gate = Gate::new(Arc::default());
        let plain = issue(&gate, &base("http"), NOW).to_string();
        assert!(
            plain.contains("HttpOnly; SameSite=Lax") && plain.contains("Path=/; Max-Age=2592000"),
            "{plain}"
        );
        assert!(!plain.contains("Secure"));
        assert!(issue(&gate, &base("https"), NOW).to_string().contains("Secure"));
        assert!(clear(&base("http")).to_string().contains("Max-Age=0"));
    }

    #[test]
    fn only_the_admin_is_the_admin() {
        let gate = Gate::new(Arc::default());
        assert!(is_admin(&gate, "admin", "admin_secret"));
        for (name, password) in [("admin", ""), ("", "admin_secret"), ("Admin", "admin_secret"), ("", "")] {
            assert!(!is_admin(&gate, name, password));
        }
    }
}
