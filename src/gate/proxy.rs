//! What a proxy in front changes about a request's address: a prefix that the proxy serves us under, the scheme its
//! clients use, and doubled slashes from configurations that join two paths carelessly.
//!
//! Pure functions on a path and a look-up of headers, for the routes and for the upgrade service alike.

use std::borrow::Cow;
use std::fmt;

/// Headers that name the prefix, in order of weight.
const PREFIX_HEADERS: [&str; 2] = ["x-script-name", "x-forwarded-prefix"];
/// Headers that name the scheme, in order of weight.
const SCHEME_HEADERS: [&str; 3] = ["x-scheme", "x-url-scheme", "x-forwarded-proto"];

/// The address under which the outside sees the server's root: put in front of generated URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `http` or `https`.
    scheme: &'static str,
    /// Host and port. Letters, digits and `.-_:[]` only, so that it is safe wherever it is inserted.
    host: String,
    /// Empty, or `/` and a path without a slash at its end, with as few kinds of characters.
    prefix: String,
}

impl BaseUrl {
    /// Reads the base from the headers. `forced_scheme` is the setting `http_scheme`; `fallback_host` stands in for
    /// a `Host` that is missing or holds characters no host has.
    pub fn read<'a>(
        header: impl Fn(&str) -> Option<&'a str>,
        forced_scheme: Option<&str>,
        fallback_host: &str,
    ) -> Self {
        let host = header("host").filter(|host| is_host(host)).unwrap_or(fallback_host);
        let named = SCHEME_HEADERS.iter().find_map(|name| scheme(first_of_list(header(name)?)));
        let scheme = forced_scheme.and_then(scheme).or(named).unwrap_or("http");
        Self { scheme, host: host.to_owned(), prefix: prefix(header).unwrap_or_default() }
    }

    /// The absolute URL of a path of ours; the path begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// Whether the outside uses TLS, as far as anybody says.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The prefix: empty, or beginning with a slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.prefix)
    }
}

/// The path as our routes know it: doubled slashes made one, the proxy's prefix cut off the front if it is there.
pub fn inner_path<'p, 'h>(path: &'p str, header: impl Fn(&str) -> Option<&'h str>) -> Cow<'p, str> {
    let path = single_slashes(path);
    let Some(prefix) = prefix(header) else { return path };
    match path.strip_prefix(prefix.as_str()) {
        Some("") => "/".into(),
        Some(rest) if rest.starts_with('/') => rest.to_owned().into(),
        _ => path,
    }
}

/// The prefix a proxy names, beginning with a slash and ending without; none when it holds odd characters.
fn prefix<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let named = PREFIX_HEADERS.iter().find_map(|name| header(name).filter(|value| !value.is_empty()))?;
    let named = first_of_list(named);
    if !named.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%$+=:@!".contains(&b)) {
        return None;
    }
    // Collapsing the slashes also keeps `//elsewhere.example` from becoming another host in a Location.
    let prefix = single_slashes(&format!("/{named}")).trim_end_matches('/').to_owned();
    (!prefix.is_empty()).then_some(prefix)
}

/// Proxies that append make lists; the first entry is what the client saw.
fn first_of_list(value: &str) -> &str {
    value.split(',').next().unwrap_or_default().trim()
}

fn scheme(name: &str) -> Option<&'static str> {
    match name.trim() {
        name if name.eq_ignore_ascii_case("https") => Some("https"),
        name if name.eq_ignore_ascii_case("http") => Some("http"),
        _ => None,
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

/// The path with each row of slashes made one.
pub fn single_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut single = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !single.ends_with('/') {
            single.push(c);
        }
    }
    single.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<'a>(list: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> {
        move |name| list.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn base(list: &[(&str, &str)]) -> String {
        BaseUrl::read(headers(list), None, "localhost:8000").to_string()
    }

    #[test]
    fn the_prefix_is_cut_off_where_it_is() {
        let from = |path, prefix| inner_path(path, headers(&[("x-script-name", prefix)])).into_owned();
        assert_eq!(from("/p/connect", "/p"), "/connect");
        assert_eq!(from("/connect", "/p"), "/connect");
        assert_eq!(from("/p", "/p"), "/");
        assert_eq!(from("/pages", "/p"), "/pages");
        assert_eq!(from("/p/q/ws", "p/q/"), "/ws");
        assert_eq!(from("//p//connect", "/p"), "/connect");
        assert_eq!(inner_path("/f/ws", headers(&[("x-forwarded-prefix", "/f")])), "/ws");
        let both = [("x-script-name", "/s"), ("x-forwarded-prefix", "/f")];
        assert_eq!(inner_path("/s/ws", headers(&both)), "/ws");
    }

    #[test]
    fn doubled_slashes_become_one() {
        let none = headers(&[]);
        assert_eq!(inner_path("//connect", &none), "/connect");
        assert_eq!(inner_path("/a///b/", &none), "/a/b/");
        assert!(matches!(inner_path("/connect", &none), Cow::Borrowed("/connect")));
    }

    #[test]
    fn schemes_in_order_of_weight() {
        assert_eq!(base(&[("host", "h:81")]), "http://h:81");
        assert_eq!(base(&[("host", "h"), ("x-scheme", "https"), ("x-forwarded-proto", "http")]), "https://h");
        assert_eq!(base(&[("host", "h"), ("x-url-scheme", "HTTPS")]), "https://h");
        assert_eq!(base(&[("host", "h"), ("x-forwarded-proto", "https, http")]), "https://h");
        assert_eq!(
            base(&[("host", "h"), ("x-scheme", "javascript"), ("x-url-scheme", "https")]),
            "https://h"
        );
        let forced = BaseUrl::read(headers(&[("x-scheme", "http")]), Some("https"), "h");
        assert!(forced.is_https());
        assert_eq!(forced.url("/admin"), "https://h/admin");
    }

    #[test]
    fn nothing_dangerous_gets_into_a_base() {
        for host in ["a'b", "<script>", "", "a b", "a/b", "u@h", "h\u{e9}"] {
            assert_eq!(base(&[("host", host)]), "http://localhost:8000", "{host}");
        }
        assert_eq!(base(&[("host", "h"), ("x-script-name", "/a'b")]), "http://h");
        assert_eq!(
            base(&[("host", "h"), ("x-script-name", "//elsewhere.example/")]),
            "http://h/elsewhere.example"
        );
        assert_eq!(base(&[("host", "h"), ("x-script-name", "/")]), "http://h");
    }
}
