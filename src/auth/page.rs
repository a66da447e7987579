//! Detects requests that a page of another site made a browser send. Pages cannot change the headers that report it.

use actix_web::http::header::{self, HeaderMap, HeaderName};

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
