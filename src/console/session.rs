//! The admin's sign-in: a signed cookie, and the extractors that require it.
//!
//! The cookie gives access to the admin's pages, but never to the API. Browsers send it with every request, whichever
//! page caused it, so commands also require a token that only the server's own pages contain.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use sha1::{Digest, Sha1};

use super::endpoints::Console;
use crate::auth::guard::{Caller, caller_of, now_unix};
use crate::auth::proxy::BaseUrl;
use crate::auth::{Gate, text};
use crate::broker::handle::BrokerHandle;
use crate::http_error::{Refusal, escape_html};

/// Name of the cookie, as in the original.
pub const COOKIE: &str = "auth_tkt";
/// How long a sign-in lasts without use, in seconds: half a day.
pub const MAX_AGE_S: u64 = 12 * 3_600;
/// A cookie of this age is replaced when it is used.
const RENEW_AFTER_S: u64 = MAX_AGE_S / 24;
/// Name of the cookie that identifies a browser with which an admin has signed in.
pub const BROWSER_COOKIE: &str = "auth_browser";
/// How long a browser stays known, in seconds: one year.
const BROWSER_MAX_AGE_S: u64 = 365 * 86_400;
/// The prefix of the signed value in the two cookies, so that one cannot be used as the other.
const SIGN_IN: &str = "admin";
const BROWSER: &str = "browser";
/// The header of a command's token.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// The path of the form.
pub const SIGN_IN_PATH: &str = "/admin/sign_in";

pub use crate::auth::allowed_origins::is_foreign;

/// A request with a valid signature or the cookie of a signed-in admin. Other requests are redirected to the form.
#[derive(Clone, Copy, Debug)]
pub struct AdminOrSigned(());

impl FromRequest for AdminOrSigned {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match has_access(req) {
            Ok(true) => Ok(Self(())),
            Ok(false) => Err(to_sign_in(req)),
            Err(refusal) => Err(refusal.into()),
        })
    }
}

/// The same for programs, which do not use a form: other requests get 403.
#[derive(Clone, Copy, Debug)]
pub struct AdminOrRefused(());

impl FromRequest for AdminOrRefused {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = has_access(req);
        ready(admitted.and_then(|admitted| admitted.then_some(Self(())).ok_or(Refusal::SignatureMissing)))
    }
}

/// A command: signed, or from a signed-in admin with the token of the sign-in in the header `x-csrf-token`.
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

/// Checks that the token belongs to the sign-in whose cookie the request carries.
///
/// # Errors
/// There is no sign-in, or the token belongs to another one.
pub fn check_token(req: &HttpRequest, given: &str) -> Result<(), Refusal> {
    let (gate, console) = parts(req)?;
    let sign_in =
        valid_sign_ins(gate, console, req.headers(), now_unix()).next().ok_or(Refusal::SignatureMissing)?;
    if equal(given, &csrf_token(gate, sign_in.id)) { Ok(()) } else { Err(Refusal::CsrfToken) }
}

/// The token of a sign-in. Only readers of the server's own pages can obtain it.
fn csrf_token(gate: &Gate, id: u128) -> String {
    // Signed for the year 1970, so that it cannot be used as a cookie.
    let signed = gate.secrets().cookie_keys.sign(&format!("csrf {id:032x}"), 0);
    signed.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The token for the pages of this request's client; empty without a sign-in.
pub fn csrf_token_for(req: &HttpRequest) -> String {
    let token = parts(req).ok().and_then(|(gate, console)| {
        let sign_in = valid_sign_ins(gate, console, req.headers(), now_unix()).next()?;
        Some(csrf_token(gate, sign_in.id))
    });
    token.unwrap_or_default()
}

fn has_access(req: &HttpRequest) -> Result<bool, Refusal> {
    Ok(matches!(caller_of(req)?, Caller::Signed(_)) || is_signed_in(req)?)
}

/// Whether the request carries the cookie of a sign-in. An old cookie is renewed with the response.
fn is_signed_in(req: &HttpRequest) -> Result<bool, Refusal> {
    let (gate, console) = parts(req)?;
    let now_unix = now_unix();
    let Some(sign_in) = valid_sign_ins(gate, console, req.headers(), now_unix).next() else {
        return Ok(false);
    };
    gate.admit_password(req.head())?;
    if now_unix.saturating_sub(sign_in.issued_unix) >= RENEW_AFTER_S {
        let renewed = issue(gate, &gate.base_url(req.head()), sign_in.id, now_unix);
        req.extensions_mut().insert(RenewedCookie(renewed));
    }
    Ok(true)
}

struct RenewedCookie(Cookie<'static>);

/// Adds the new cookie of a sign-in to the response to a request that used it.
pub fn renew<B>(answer: &mut ServiceResponse<B>) {
    let renewed = answer.request().extensions_mut().remove::<RenewedCookie>();
    // A cookie set by the handler overrides it: the request may have been a sign-out.
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
/// Only if a part of the server is missing.
pub fn end(req: &HttpRequest) -> Result<(), Refusal> {
    let (gate, console) = parts(req)?;
    let now_unix = now_unix();
    let sign_ins: Vec<SignIn> = valid_sign_ins(gate, console, req.headers(), now_unix).collect();
    let broker = req.app_data::<web::Data<BrokerHandle>>();
    let has_other_nodes = broker.is_some_and(|broker| broker.is_clustered());
    let mut ended = console.ended();
    for sign_in in sign_ins {
        ended.add(sign_in.id, now_unix, MAX_AGE_S);
        if has_other_nodes {
            ended.state_later([sign_in.id]);
        }
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

/// A 302 response with a small page for clients that do not follow redirects.
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

/// A sign-in from a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SignIn {
    id: u128,
    /// When the cookie was issued. After a renewal this is later than the sign-in.
    issued_unix: u64,
}

/// The sign-ins whose cookies the request carries, without those that have ended.
fn valid_sign_ins<'a>(
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

/// The values of the cookies with this name. They are parsed by hand, because a malformed cookie of another program on
/// the host must not hide this one.
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

pub fn issue(gate: &Gate, base: &BaseUrl, id: u128, now_unix: u64) -> Cookie<'static> {
    let token = gate.secrets().cookie_keys.sign(&format!("{SIGN_IN}-{id:032x}"), now_unix);
    cookie(COOKIE, token, MAX_AGE_S, base)
}

/// The cookie that deletes the sign-in cookie.
pub fn clear(base: &BaseUrl) -> Cookie<'static> {
    cookie(COOKIE, String::new(), 0, base)
}

/// The cookie that identifies a browser with which an admin has signed in. It gives no access.
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

/// Whether name and password are the admin's. The duration does not depend on which part is wrong.
pub fn is_admin(gate: &Gate, name: &str, password: &str) -> bool {
    let secrets = gate.secrets();
    equal(name, &secrets.admin_user) & equal(password, secrets.admin_secret.expose())
}

/// Compares digests in constant time, so that not even the length is revealed.
fn equal(given: &str, expected: &str) -> bool {
    let (given, expected) = (Sha1::digest(given), Sha1::digest(expected));
    let difference = given.iter().zip(expected.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
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
        let console = Console::new(Recorder::default());
        valid_sign_ins(gate, &console, &with(cookies), now).next().is_some()
    }

    fn base(scheme: &str) -> BaseUrl {
        BaseUrl::read(None, Forwarded::default(), Some(scheme), "h")
    }

    #[test]
    fn a_cookie_is_valid_for_half_a_day() {
        let gate = Gate::new(Arc::default());
        let cookie = format!("auth_tkt={}", issue(&gate, &base("http"), 7, NOW).value());
        assert!(signed_in(&gate, &cookie, NOW + MAX_AGE_S));
        assert!(!signed_in(&gate, &cookie, NOW + MAX_AGE_S + 1));
        assert!(signed_in(&gate, &format!("broken; x=%%; {cookie}; auth_tkt=old"), NOW));
        assert!(!signed_in(&gate, "auth_tkt=garbage", NOW));
        assert!(!signed_in(&Gate::new(Arc::default()), &cookie, NOW));
    }

    #[test]
    fn a_token_belongs_to_one_sign_in_and_is_not_a_cookie() {
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
    fn no_cookie_of_an_ended_sign_in_gives_access() {
        let (gate, console) = (Gate::new(Arc::default()), Console::new(Recorder::default()));
        let cookie = |id, at| with(&format!("auth_tkt={}", issue(&gate, &base("http"), id, at).value()));
        let is_in = |headers: &HeaderMap, now| valid_sign_ins(&gate, &console, headers, now).next().is_some();
        let (first, renewed, other) = (cookie(1, NOW), cookie(1, NOW + 60), cookie(2, NOW));
        assert!(is_in(&first, NOW + 60) && is_in(&renewed, NOW + 60) && is_in(&other, NOW + 60));
        console.ended().add(1, NOW + 60, MAX_AGE_S);
        assert!(!is_in(&first, NOW + 60) && !is_in(&renewed, NOW + 60) && is_in(&other, NOW + 60));
    }

    #[test]
    fn a_browser_is_known_for_a_year_and_has_no_access() {
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
    fn an_api_signature_is_not_a_cookie() {
        let cookie_secret = Secret::new("secret");
        let gate = Gate::new(Arc::new(Settings { cookie_secret, ..Settings::default() }));
        assert!(!signed_in(&gate, &format!("auth_tkt={}", gate.secrets().keys.sign("admin", NOW)), NOW));
    }

    #[test]
    fn a_new_password_ends_all_sign_ins() {
        let with_password = |password| {
            let (cookie_secret, admin_secret) = (Secret::new("fixed"), Secret::new(password));
            Gate::new(Arc::new(Settings { cookie_secret, admin_secret, ..Settings::default() }))
        };
        let cookie = format!("auth_tkt={}", issue(&with_password("a"), &base("http"), 7, NOW).value());
        assert!(signed_in(&with_password("a"), &cookie, NOW));
        assert!(!signed_in(&with_password("b"), &cookie, NOW));
    }

    #[test]
    fn cookies_are_secure_if_the_public_address_is() {
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
    fn only_the_admins_name_and_password_are_accepted() {
        let gate = Gate::new(Arc::default());
        assert!(is_admin(&gate, "admin", "admin_secret"));
        for (name, password) in [("admin", ""), ("", "admin_secret"), ("Admin", "admin_secret"), ("", "")] {
            assert!(!is_admin(&gate, name, password));
        }
    }
}
