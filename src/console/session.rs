//! The admin's sign-in: a signed cookie, and the extractors that ask for it.
//!
//! The cookie opens the admin's pages and never the API. Browsers send it along whoever made them ask, so commands need
//! a token as well, which only our own pages know.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use sha1::{Digest, Sha1};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use super::endpoints::Console;
use crate::auth::guard::{Caller, caller_of, now_unix};
use crate::auth::proxy::BaseUrl;
use crate::auth::{Gate, text};
use crate::http_error::{Refusal, escape_html};

/// Name of the cookie, as in the original.
pub const COOKIE: &str = "auth_tkt";
/// How long a sign-in lasts without use, in seconds: a working day.
pub const MAX_AGE_S: u64 = 12 * 3_600;
/// A cookie of this age is replaced when it is used.
const RENEW_AFTER_S: u64 = MAX_AGE_S / 24;
/// Name of the cookie by which a browser is known that an admin has signed in with.
pub const BROWSER_COOKIE: &str = "auth_browser";
/// How long a browser stays known, in seconds: a year.
const BROWSER_MAX_AGE_S: u64 = 365 * 86_400;
/// What the two cookies sign before the id, so that neither is taken for the other.
const SIGN_IN: &str = "admin";
const BROWSER: &str = "browser";
/// The header of a command's token.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Where the form is.
pub const SIGN_IN_PATH: &str = "/admin/sign_in";

pub use crate::auth::page::is_foreign;

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
    if matches!(caller_of(req)?, Caller::Signed(_)) {
        return Ok(());
    }
    if !is_signed_in(req)? {
        return Err(Refusal::SignatureMissing);
    }
    check_token(req, text(req.headers(), CSRF_HEADER).unwrap_or_default())
}

/// Whether the token is that of the sign-in whose cookie the request carries.
///
/// # Errors
/// No sign-in; another token.
pub fn check_token(req: &HttpRequest, given: &str) -> Result<(), Refusal> {
    let (gate, console) = parts(req)?;
    let sign_in =
        carried(gate, console, req.headers(), now_unix()).next().ok_or(Refusal::SignatureMissing)?;
    if same(given, &csrf_token(gate, sign_in.id)) { Ok(()) } else { Err(Refusal::CsrfToken) }
}

/// The token of a sign-in: only who can read our pages learns it.
fn csrf_token(gate: &Gate, id: u128) -> String {
    // Signed for the year 1970, so that it is never taken for a cookie.
    let signed = gate.secrets().cookie_keys.sign(&format!("csrf {id:032x}"), 0);
    signed.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The token for the pages of the sender of this request; empty without a sign-in.
pub fn csrf_token_for(req: &HttpRequest) -> String {
    let token = parts(req).ok().and_then(|(gate, console)| {
        let sign_in = carried(gate, console, req.headers(), now_unix()).next()?;
        Some(csrf_token(gate, sign_in.id))
    });
    token.unwrap_or_default()
}

fn is_admitted(req: &HttpRequest) -> Result<bool, Refusal> {
    Ok(matches!(caller_of(req)?, Caller::Signed(_)) || is_signed_in(req)?)
}

/// Whether the request carries the cookie of a sign-in. A cookie of some age is renewed with the answer.
fn is_signed_in(req: &HttpRequest) -> Result<bool, Refusal> {
    let (gate, console) = parts(req)?;
    let now_unix = now_unix();
    let Some(sign_in) = carried(gate, console, req.headers(), now_unix).next() else { return Ok(false) };
    gate.admit_password(req.head())?;
    if now_unix.saturating_sub(sign_in.issued_unix) >= RENEW_AFTER_S {
        let renewed = issue(gate, &gate.base_url(req.head()), sign_in.id, now_unix);
        req.extensions_mut().insert(RenewedCookie(renewed));
    }
    Ok(true)
}

/// The new cookie of a sign-in that is in use.
struct RenewedCookie(Cookie<'static>);

/// Sends the new cookie of a sign-in along with the answer to a request that used it.
pub fn renew<B>(answer: &mut ServiceResponse<B>) {
    let renewed = answer.request().extensions_mut().remove::<RenewedCookie>();
    // A cookie that the handler sets overrides it: the request may have been a sign-out.
    let is_set = answer.headers().contains_key(header::SET_COOKIE);
    if let Some(RenewedCookie(cookie)) = renewed.filter(|_| !is_set)
        && let Ok(value) = header::HeaderValue::from_str(&cookie.to_string())
    {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Ends the sign-in whose cookie the request carries.
///
/// # Errors
/// Only where the server lacks a part.
pub fn end(req: &HttpRequest) -> Result<(), Refusal> {
    let (gate, console) = parts(req)?;
    let now_unix = now_unix();
    let carried: Vec<SignIn> = carried(gate, console, req.headers(), now_unix).collect();
    for sign_in in carried {
        console.ended().add(sign_in.id, now_unix, MAX_AGE_S);
    }
    Ok(())
}

fn parts(req: &HttpRequest) -> Result<(&Gate, &Console), Refusal> {
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    let console = req.app_data::<web::Data<Console>>().ok_or(Refusal::Internal)?;
    Ok((gate, console))
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

/// A sign-in, as a cookie names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SignIn {
    id: u128,
    /// When the cookie was issued, which is later than the sign-in where it was renewed.
    issued_unix: u64,
}

/// The sign-ins whose cookies the request carries, as far as they have not ended.
fn carried<'a>(
    gate: &'a Gate,
    console: &'a Console,
    headers: &'a HeaderMap,
    now_unix: u64,
) -> impl Iterator<Item = SignIn> + 'a {
    cookies(headers, COOKIE)
        .filter_map(move |token| read(gate, SIGN_IN, token, MAX_AGE_S, now_unix))
        .filter(|sign_in| !console.ended().has(sign_in.id, sign_in.issued_unix))
}

/// The id of the browser that sends this request, if an admin has signed in with it before.
pub fn known_browser(gate: &Gate, headers: &HeaderMap, now_unix: u64) -> Option<u128> {
    let mut tokens = cookies(headers, BROWSER_COOKIE);
    tokens.find_map(|token| read(gate, BROWSER, token, BROWSER_MAX_AGE_S, now_unix)).map(|browser| browser.id)
}

/// The values of the cookies of this name. Read by hand: one malformed cookie of another program on the host must not
/// hide ours.
fn cookies<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> + 'a {
    let lines = headers.get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, token)| token)
}

/// Reads `kind-id.time.mac`.
fn read(gate: &Gate, kind: &str, token: &str, max_age_s: u64, now_unix: u64) -> Option<SignIn> {
    let verified = gate.secrets().cookie_keys.verify(token, now_unix, Some(max_age_s)).ok()?;
    let value = token.rsplitn(3, '.').nth(2)?;
    let id = value.strip_prefix(kind)?.strip_prefix('-')?;
    let id = u128::from_str_radix(id, 16).ok()?;
    Some(SignIn { id, issued_unix: now_unix.saturating_add_signed(verified.age_s.saturating_neg()) })
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

/// The cookie of the sign-in with this id.
pub fn issue(gate: &Gate, base: &BaseUrl, id: u128, now_unix: u64) -> Cookie<'static> {
    let token = gate.secrets().cookie_keys.sign(&format!("{SIGN_IN}-{id:032x}"), now_unix);
    cookie(COOKIE, token, MAX_AGE_S, base)
}

/// The cookie that deletes the former.
pub fn clear(base: &BaseUrl) -> Cookie<'static> {
    cookie(COOKIE, String::new(), 0, base)
}

/// The cookie by which a browser is known that an admin has signed in with. It opens nothing.
pub fn remember_browser(gate: &Gate, base: &BaseUrl, id: u128, now_unix: u64) -> Cookie<'static> {
    let token = gate.secrets().cookie_keys.sign(&format!("{BROWSER}-{id:032x}"), now_unix);
    cookie(BROWSER_COOKIE, token, BROWSER_MAX_AGE_S, base)
}

fn cookie(name: &'static str, value: String, max_age_s: u64, base: &BaseUrl) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .max_age(Duration::seconds(max_age_s as i64))
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
    use crate::auth::forwarded::Forwarded;
    use crate::config::Secret;
    use crate::config::Settings;
    use crate::telemetry::recorder::Recorder;
    use actix_web::http::header::HeaderValue;
    use std::sync::Arc;

    const NOW: u64 = 1_700_000_000;

    fn with(cookies: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookies).unwrap());
        headers
    }

    fn signed_in(gate: &Gate, cookies: &str, now: u64) -> bool {
        let console = Console::new(Arc::default(), Recorder::default());
        carried(gate, &console, &with(cookies), now).next().is_some()
    }

    fn base(scheme: &str) -> BaseUrl {
        BaseUrl::read(None, Forwarded::default(), Some(scheme), "h")
    }

    #[test]
    fn a_cookie_opens_for_a_working_day() {
        let gate = Gate::new(Arc::default());
        let cookie = format!("auth_tkt={}", issue(&gate, &base("http"), 7, NOW).value());
        assert!(signed_in(&gate, &cookie, NOW + MAX_AGE_S));
        assert!(!signed_in(&gate, &cookie, NOW + MAX_AGE_S + 1));
        assert!(signed_in(&gate, &format!("broken; x=%%; {cookie}; auth_tkt=old"), NOW));
        assert!(!signed_in(&gate, "auth_tkt=garbage", NOW));
        assert!(!signed_in(&Gate::new(Arc::default()), &cookie, NOW));
    }

    #[test]
    fn a_token_belongs_to_one_sign_in_and_is_no_cookie() {
        let gate = Gate::new(Arc::default());
        let token = csrf_token(&gate, 7);
        assert_eq!((token.len(), token == csrf_token(&gate, 7)), (27, true));
        assert_ne!(token, csrf_token(&gate, 8));
        assert_ne!(token, csrf_token(&Gate::new(Arc::default()), 7));
        for forged in ["csrf 7", "admin", "admin-", "admin-x", "browser-7"] {
            let forged = format!("auth_tkt={}", gate.secrets().cookie_keys.sign(forged, NOW));
            assert!(!signed_in(&gate, &forged, NOW), "{forged}");
        }
    }

    #[test]
    fn an_ended_sign_in_opens_nothing_whatever_cookie_it_has() {
        let (gate, console) = (Gate::new(Arc::default()), Console::new(Arc::default(), Recorder::default()));
        let cookie = |id, at| with(&format!("auth_tkt={}", issue(&gate, &base("http"), id, at).value()));
        let is_in = |headers: &HeaderMap, now| carried(&gate, &console, headers, now).next().is_some();
        let (first, renewed, other) = (cookie(1, NOW), cookie(1, NOW + 60), cookie(2, NOW));
        assert!(is_in(&first, NOW + 60) && is_in(&renewed, NOW + 60) && is_in(&other, NOW + 60));
        console.ended().add(1, NOW + 60, MAX_AGE_S);
        assert!(!is_in(&first, NOW + 60) && !is_in(&renewed, NOW + 60) && is_in(&other, NOW + 60));
    }

    #[test]
    fn a_known_browser_is_known_for_a_year_and_opens_nothing() {
        let gate = Gate::new(Arc::default());
        let value = remember_browser(&gate, &base("http"), 9, NOW).value().to_owned();
        let headers = with(&format!("auth_browser={value}"));
        assert_eq!(known_browser(&gate, &headers, NOW + BROWSER_MAX_AGE_S), Some(9));
        assert_eq!(known_browser(&gate, &headers, NOW + BROWSER_MAX_AGE_S + 1), None);
        assert_eq!(known_browser(&Gate::new(Arc::default()), &headers, NOW), None);
        assert!(!signed_in(&gate, &format!("auth_tkt={value}"), NOW));
        let sign_in = issue(&gate, &base("http"), 9, NOW).value().to_owned();
        assert_eq!(known_browser(&gate, &with(&format!("auth_browser={sign_in}")), NOW), None);
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
        let cookie = format!("auth_tkt={}", issue(&with_password("a"), &base("http"), 7, NOW).value());
        assert!(signed_in(&with_password("a"), &cookie, NOW));
        assert!(!signed_in(&with_password("b"), &cookie, NOW));
    }

    #[test]
    fn cookies_are_secure_where_the_outside_is() {
        let gate = Gate::new(Arc::default());
        let plain = issue(&gate, &base("http"), 7, NOW).to_string();
        assert!(
            plain.contains("HttpOnly; SameSite=Lax") && plain.contains("Path=/; Max-Age=43200"),
            "{plain}"
        );
        assert!(!plain.contains("Secure"));
        assert!(issue(&gate, &base("https"), 7, NOW).to_string().contains("Secure"));
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
