//! CORS: decides which answers pages of other origins may read. The headers are those of the original, on successes and
//! preflights only.

use crate::config::Settings;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// Headers that a page of another origin may send.
const ALLOWED_HEADERS: &str = "Content-Type, Depth, User-Agent, X-File-Size, X-Requested-With, If-Modified-Since, \
    X-File-Name, Cache-Control, Pragma, Origin, Connection, Referer, Cookie";

/// Sent with every answer that other origins may read.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (HeaderName::from_static("xdomainrequestallowed"), HeaderValue::from_static("1")),
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS, PUT, DELETE, PATCH"),
    ),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS)),
    (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
];

/// Adds the headers. An `Origin` is allowed if it contains an entry of `allow_cors` and matches one of `allowed_origins`;
/// an empty list allows all.
pub fn add(headers: &mut HeaderMap, settings: &Settings, origin: Option<&str>) {
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if depends_on_origin(settings) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if allows(settings, origin.unwrap_or_default()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
}

/// Whether the answer depends on the origin of the request.
pub fn depends_on_origin(settings: &Settings) -> bool {
    !settings.allow_cors.is_empty() || !settings.allowed_origins.is_empty()
}

fn allows(settings: &Settings, origin: &str) -> bool {
    let parts = &settings.allow_cors;
    let is_listed = parts.is_empty() || parts.iter().any(|part| origin.contains(part.as_str()));
    is_listed && settings.allowed_origins.allows(origin.as_bytes())
}

/// Whether other origins may read successes of this path. The admin's pages, the demo and the files are only for the
/// server's own pages.
pub fn is_shared(path: &str) -> bool {
    let own =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path == "/admin/sign_in"
        || !["/admin", "/api-explorer", "/demo", "/openapi.json", "/openapi-3.1.json", "/static"]
            .into_iter()
            .any(own)
}

/// Whether pages of other origins call this path themselves. They must be able to read refusals as well: without these
/// headers a refused poll with an unknown id looks like a network error, and the client cannot detect that it must connect
/// again.
pub fn is_for_browsers(path: &str) -> bool {
    matches!(path, "/listen" | "/disconnect" | "/token")
}

/// Whether this is a preflight. OPTIONS has the same answer on every path, also on unknown ones.
pub fn is_preflight(method: &Method) -> bool {
    method == Method::OPTIONS
}

/// The answer to OPTIONS, without the headers that [`add`] adds.
pub fn preflight() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/plain; charset=UTF-8");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AllowedOrigins;

    fn allow_origin(allowed: &[&str], origin: Option<&str>) -> Option<String> {
        let allow_cors = allowed.iter().map(|part| part.to_string()).collect();
        answered(&Settings { allow_cors, ..Settings::default() }, origin)
    }

    fn answered(settings: &Settings, origin: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        add(&mut headers, settings, origin);
        assert_eq!(headers.contains_key("vary"), depends_on_origin(settings));
        assert_eq!(headers.get("access-control-max-age").unwrap(), "86400");
        assert_eq!(headers.get("xdomainrequestallowed").unwrap(), "1");
        let value = headers.get("access-control-allow-origin")?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn all_origins_are_allowed_unless_some_are_listed() {
        assert_eq!(allow_origin(&[], None).as_deref(), Some("*"));
        assert_eq!(allow_origin(&[], Some("http://a.example")).as_deref(), Some("*"));
        assert_eq!(
            allow_origin(&["a.example", "b.example"], Some("https://b.example:81")).as_deref(),
            Some("*")
        );
        assert_eq!(allow_origin(&["a.example"], Some("http://c.example")), None);
        assert_eq!(allow_origin(&["a.example"], None), None);
    }

    #[test]
    fn both_lists_must_allow_an_origin() {
        let listed = |allow_cors: &[&str]| Settings {
            allow_cors: allow_cors.iter().map(|part| part.to_string()).collect(),
            allowed_origins: AllowedOrigins(vec!["https://*.a.example".parse().unwrap()]),
            ..Settings::default()
        };
        let answered = |allow_cors: &[&str], origin| answered(&listed(allow_cors), origin);
        assert_eq!(answered(&[], Some("https://x.a.example")).as_deref(), Some("*"));
        assert_eq!(answered(&["x.a"], Some("https://x.a.example")).as_deref(), Some("*"));
        assert_eq!(answered(&["y.a"], Some("https://x.a.example")), None);
        assert_eq!(answered(&["b.example"], Some("https://b.example")), None);
        assert_eq!(answered(&[], None), None);
    }

    #[test]
    fn the_servers_own_pages_are_not_shared() {
        for path in ["/connect", "/listen", "/info", "/disconnect", "/admin/sign_in", "/administrators"] {
            assert!(is_shared(path), "{path}");
        }
        for path in
            ["/admin", "/admin/admin.json", "/api-explorer", "/demo/connect", "/openapi.json", "/static/a.js"]
        {
            assert!(!is_shared(path), "{path}");
        }
    }
}
