//! The sites whose pages may use the server (the setting `allowed_origins`), and requests that a page of another site made a
//! browser send.
//!
//! A browser reports the origin of the page that caused a request, and no page can change this report. A program can
//! send any origin. These checks do not stop programs; on the other hand, a program has no user whose browser it could
//! misuse.

use crate::config::AllowedOrigins;
use crate::http_error::Refusal;
use actix_http::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

/// Whether the page of a websocket handshake is allowed. Browsers send the origin with every handshake. For a handshake
/// without an origin, the other headers by which a browser describes the page decide.
pub fn allows_handshake(allowed: &AllowedOrigins, head: &RequestHead) -> bool {
    check(allowed, head, || false)
}

/// Checks a poll or a disconnect. Browsers send no origin with images, scripts and links, which pages of every site may
/// contain: a request from a page of another site must have a `Referer` that is allowed. A script request (JSONP) must
/// have one as well, also if a program sends it. Other requests without an origin come from pages of the server's own
/// host, or from programs.
///
/// # Errors
/// `OriginNotAllowed`.
pub fn admit(allowed: &AllowedOrigins, head: &RequestHead) -> Result<(), Refusal> {
    if check(allowed, head, || is_script(head)) { Ok(()) } else { Err(Refusal::OriginNotAllowed) }
}

fn check(allowed: &AllowedOrigins, head: &RequestHead, is_script: impl Fn() -> bool) -> bool {
    if allowed.is_empty() {
        return true;
    }
    let by_referer =
        || head.headers.get(header::REFERER).is_some_and(|page| allowed.allows(origin_of(page.as_bytes())));
    match origin_is_allowed(allowed, head) {
        Some(is_allowed) => is_allowed,
        None => !(is_foreign(&head.headers) || is_script()) || by_referer(),
    }
}

/// Whether the origin is allowed; `None` without one. If there are several, which no browser sends, each must be allowed.
fn origin_is_allowed(allowed: &AllowedOrigins, head: &RequestHead) -> Option<bool> {
    let mut origins = head.headers.get_all(header::ORIGIN).peekable();
    origins.peek()?;
    Some(origins.all(|origin| allowed.allows(origin.as_bytes())))
}

/// Whether the answer is a script (JSONP), which pages of every site can load.
fn is_script(head: &RequestHead) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(query);
    // The handler ignores an empty or unreadable callback as well.
    pairs.is_ok_and(|pairs| pairs.iter().any(|(name, callback)| name == "callback" && !callback.is_empty()))
}

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a browser reports that a page of another site made it send this request (W3C Fetch Metadata). Old browsers,
/// and all browsers over plain HTTP, do not send `Sec-Fetch-Site`. For them `Origin` decides, or else `Referer`: it must
/// name the host that the request is for. A program sends none of the three.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(&FETCH_SITE).peekable();
    if sites.peek().is_some() {
        return sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    let is_own = |page: &[u8]| host.is_some_and(|host| host_of(page).eq_ignore_ascii_case(host));
    match headers.get_all(header::ORIGIN).next() {
        Some(_) => !headers.get_all(header::ORIGIN).all(|origin| is_own(origin.as_bytes())),
        None => !headers.get_all(header::REFERER).all(|page| is_own(page.as_bytes())),
    }
}

/// The origin of a URL.
pub fn origin_of(url: &[u8]) -> &[u8] {
    let after = after_scheme(url);
    let end = url[after..].iter().position(|byte| b"/?#".contains(byte));
    &url[..end.map_or(url.len(), |end| after + end)]
}

/// Host and port of a URL.
fn host_of(url: &[u8]) -> &[u8] {
    &origin_of(url)[after_scheme(url)..]
}

fn after_scheme(url: &[u8]) -> usize {
    url.windows(3).position(|window| window == b"://").map_or(0, |at| at + 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn head(headers: &[(&'static str, &'static str)]) -> RequestHead {
        head_for("/listen?conn_id=x", headers)
    }

    fn head_for(uri: &str, headers: &[(&'static str, &'static str)]) -> RequestHead {
        let request =
            headers.iter().fold(TestRequest::with_uri(uri), |request, header| request.append_header(*header));
        let mut head = RequestHead::default();
        let made = request.to_http_request();
        (head.headers, head.uri) = (made.headers().clone(), made.uri().clone());
        head
    }

    fn allowed() -> AllowedOrigins {
        AllowedOrigins(vec!["https://app.example".parse().unwrap()])
    }

    #[test]
    fn handshakes_are_checked_by_their_origin() {
        let admitted = |headers: &[_]| allows_handshake(&allowed(), &head(headers));
        assert!(admitted(&[("origin", "https://app.example")]) && admitted(&[]));
        assert!(!admitted(&[("origin", "https://evil.example")]) && !admitted(&[("origin", "null")]));
        assert!(!admitted(&[("origin", "https://app.example"), ("origin", "https://evil.example")]));
        assert!(allows_handshake(&AllowedOrigins::default(), &head(&[("origin", "x")])));
        let (ours, evil) = (("referer", "https://app.example/page"), ("referer", "https://evil.example/"));
        assert!(!admitted(&[("sec-fetch-site", "cross-site")]) && !admitted(&[evil]));
        assert!(
            admitted(&[("sec-fetch-site", "cross-site"), ours]) && admitted(&[("sec-fetch-site", "none")])
        );
    }

    #[test]
    fn scripts_need_a_referer() {
        let script =
            |headers: &[_]| admit(&allowed(), &head_for("/listen?conn_id=x&callb%61ck=f", headers)).is_ok();
        assert!(
            script(&[("referer", "https://app.example/page?x#y")])
                && script(&[("referer", "https://app.example")])
        );
        assert!(!script(&[]) && !script(&[("referer", "https://evil.example/https://app.example")]));
        assert!(!script(&[("referer", "https://app.example@evil.example/")]));
        assert!(!script(&[("origin", "https://evil.example"), ("referer", "https://app.example/")]));
    }

    #[test]
    fn an_empty_callback_makes_no_script() {
        assert!(admit(&allowed(), &head_for("/listen?conn_id=x&callback=", &[])).is_ok());
        assert!(admit(&allowed(), &head_for("/listen?callback=&conn_id=x&callback=f", &[])).is_err());
    }

    #[test]
    fn requests_without_an_origin_are_checked_by_their_page() {
        let admitted = |headers: &[_]| admit(&allowed(), &head(headers)).is_ok();
        assert!(admitted(&[]) && admitted(&[("origin", "https://app.example")]));
        assert!(!admitted(&[("origin", "https://evil.example")]));
        let (ours, evil) = (("referer", "https://app.example/page"), ("referer", "https://evil.example/"));
        assert!(admitted(&[ours]) && !admitted(&[evil]));
        for site in ["cross-site", "same-site"] {
            let site = ("sec-fetch-site", site);
            assert!(admitted(&[site, ours]) && !admitted(&[site, evil]) && !admitted(&[site]));
        }
        for site in ["same-origin", "none"] {
            assert!(admitted(&[("sec-fetch-site", site)]), "{site}");
        }
        let own = [("host", "push.example"), ("referer", "https://push.example/page")];
        assert!(admitted(&own));
    }

    fn foreign(headers: &[(&'static str, &'static str)]) -> bool {
        let request = TestRequest::default().insert_header(("host", "push.example:81"));
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        is_foreign(request.to_http_request().headers())
    }

    #[test]
    fn fetch_metadata_override_origin_and_referer() {
        let own = ("referer", "http://push.example:81/admin");
        for site in ["cross-site", "same-site", "", "something-new"] {
            assert!(foreign(&[("sec-fetch-site", site), own]), "{site}");
        }
        for site in ["same-origin", "none"] {
            let site = ("sec-fetch-site", site);
            assert!(!foreign(&[site]) && !foreign(&[site, ("origin", "https://outside.example")]));
            assert!(foreign(&[site, ("sec-fetch-site", "cross-site")]));
        }
    }

    #[test]
    fn origin_and_referer_must_name_the_host() {
        assert!(!foreign(&[]));
        assert!(!foreign(&[("origin", "https://PUSH.example:81")]));
        assert!(!foreign(&[("referer", "http://push.example:81/a?b#c")]));
        for page in [
            "http://push.example",
            "https://evil.example",
            "null",
            "",
            "http://evil.example/://push.example:81",
        ] {
            assert!(foreign(&[("origin", page)]), "{page}");
            assert!(foreign(&[("referer", page)]), "{page}");
        }
        assert!(foreign(&[("origin", "null"), ("referer", "http://push.example:81/")]));
    }

    #[test]
    fn origins_are_extracted_from_urls() {
        assert_eq!(origin_of(b"https://a.example:1/b?c#d"), b"https://a.example:1");
        assert_eq!(origin_of(b"https://a.example?b://c"), b"https://a.example");
        assert_eq!(host_of(b"https://a.example:1/b"), b"a.example:1");
        assert_eq!((host_of(b""), host_of(b"://"), host_of(b"x/y")), (&b""[..], &b""[..], &b"x"[..]));
    }
}
