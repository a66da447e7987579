//! The changes that a proxy makes to a request's URL: the prefix that it serves the server under, the scheme that its
//! clients use, and doubled slashes from configurations that join two paths without care. This file also defines the
//! normal form of a path, which the rules and the router share.
//!
//! Pure functions on a path and the headers that count, for the routes and the upgrade service.

use super::forwarded::Forwarded;
use std::borrow::Cow;
use std::fmt;

/// Headers that name the prefix; the first one takes precedence.
const PREFIX_HEADERS: [&str; 2] = ["x-script-name", "x-forwarded-prefix"];
/// Headers that name the scheme; the first one takes precedence.
const SCHEME_HEADERS: [&str; 3] = ["x-scheme", "x-url-scheme", "x-forwarded-proto"];
/// The first segments of the server's paths, except those of demo mode.
const OWN_PATHS: [&str; 20] = [
    "admin",
    "api-explorer",
    "block",
    "channel_config",
    "connect",
    "disconnect",
    "docs",
    "end",
    "health",
    "info",
    "listen",
    "message",
    "openapi",
    "sse",
    "static",
    "subscribe",
    "token",
    "unsubscribe",
    "user_state",
    "ws",
];

/// The URL of the server's root as clients see it, used as the start of generated URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `http` or `https`.
    scheme: &'static str,
    /// Host and port: only letters, digits and `.-_:[]`, so that it can be inserted anywhere.
    host: String,
    /// Empty, or a path that begins with `/` and does not end with one. Its characters are restricted in the same way.
    prefix: String,
}

/// The longest accepted prefix, in bytes: pages repeat it many times.
const MAX_PREFIX: usize = 256;
/// The longest host: a name of 253 bytes, a colon and a port.
const MAX_HOST: usize = 259;

impl BaseUrl {
    /// Reads the base from `Host` and from the headers that count. `forced_scheme` is the setting `http_scheme`;
    /// `fallback_host` replaces a `Host` that is missing or contains invalid characters.
    pub fn read(
        host: Option<&str>,
        forwarded: Forwarded<'_>,
        forced_scheme: Option<&str>,
        fallback_host: &str,
    ) -> Self {
        let host = host.filter(|host| is_host(host)).unwrap_or(fallback_host);
        let named = SCHEME_HEADERS.iter().find_map(|name| scheme(first_of_list(forwarded.get(name)?)));
        let scheme = forced_scheme.and_then(scheme).or(named).unwrap_or("http");
        Self { scheme, host: host.to_owned(), prefix: prefix(forwarded).unwrap_or_default() }
    }

    /// The absolute URL of one of the server's paths, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// Whether clients use TLS, according to the settings or the headers.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

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

/// The path as the API names it, but not normalized: without doubled slashes and without the proxy's prefix, if it starts
/// with that. Bound signatures cover this form.
pub fn path_as_sent<'p>(path: &'p str, forwarded: Forwarded<'_>) -> Cow<'p, str> {
    let path = single_slashes(path);
    match prefix(forwarded).and_then(|prefix| without_prefix(&path, &prefix)) {
        Some("") => "/".into(),
        Some(rest) => rest.to_owned().into(),
        None => path,
    }
}

fn without_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    // Escapes do not change the number of slashes.
    let slashes = prefix.matches('/').count();
    let end = path.match_indices('/').nth(slashes).map_or(path.len(), |(at, _)| at);
    (normal(&path[..end]) == prefix).then_some(&path[end..])
}

/// The normal form of a path (RFC 3986, section 6.2.2): escapes of letters, digits and `-._~` become the characters
/// themselves, other escapes have upper-case digits, and a percent sign without two digits is escaped.
///
/// The router decodes a path once more. It then finds no escape of a character that occurs in the server's paths: a path
/// equals one of these for the router exactly if it equals it here.
pub fn normal(path: &str) -> Cow<'_, str> {
    let Some((before, _)) = path.split_once('%') else { return path.into() };
    let mut normal = String::with_capacity(path.len());
    normal.push_str(before);
    for after in path[before.len()..].split('%').skip(1) {
        match after.get(..2).and_then(escaped) {
            Some(byte) if is_unreserved(byte) => {
                normal.push(char::from(byte));
                normal.push_str(&after[2..]);
            }
            Some(_) => {
                normal.push('%');
                normal.push_str(&after[..2].to_ascii_uppercase());
                normal.push_str(&after[2..]);
            }
            None => {
                normal.push_str("%25");
                normal.push_str(after);
            }
        }
    }
    normal.into()
}

/// The byte that two hexadecimal digits encode.
fn escaped(digits: &str) -> Option<u8> {
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The prefix that a proxy names, which begins with a slash and does not end with one. `None` if it contains invalid
/// characters.
fn prefix(forwarded: Forwarded<'_>) -> Option<String> {
    let named =
        PREFIX_HEADERS.iter().find_map(|name| forwarded.get(name).filter(|value| !value.is_empty()))?;
    // The nearest proxy wrote the last entry of a list.
    let named = named.rsplit(',').next().unwrap_or_default().trim();
    if named.len() > MAX_PREFIX
        || !named.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%$+=:@!".contains(&b))
    {
        return None;
    }
    // Collapsing the slashes also prevents `//elsewhere.example` from becoming another host in a Location.
    let named = format!("/{named}");
    let prefix = normal(&single_slashes(&named)).trim_end_matches('/').to_owned();
    let counts = !prefix.is_empty() && (forwarded.is_trusted() || !can_bypass_a_proxy(&prefix));
    counts.then_some(prefix)
}

/// Whether a proxy that passes only some of the server's paths could take a path with this prefix for one of them, such as
/// `/ws/connect` or `/a/../ws/connect`. The proxy would pass it, and without the prefix it would be another path.
fn can_bypass_a_proxy(prefix: &str) -> bool {
    let name = prefix[1..].to_ascii_lowercase();
    let begins_like_own_path = OWN_PATHS.iter().any(|own| name.starts_with(own));
    // Before they compare paths, proxies resolve dots and decode escapes, including those of slashes.
    begins_like_own_path
        || prefix.contains('%')
        || prefix.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// The first entry of a list that proxies have appended to: it describes the client's own request.
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
    (1..=MAX_HOST).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

/// The path with each sequence of slashes replaced by one.
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
#[path = "proxy_tests.rs"]
mod tests;
