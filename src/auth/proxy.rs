//! What a proxy in front changes about a request's address: a prefix that the proxy serves us under, the scheme its
//! clients use, and doubled slashes from configurations that join two paths carelessly. And the one reading of a path
//! that the rules and the router share.
//!
//! Pure functions on a path and the headers that count, for the routes and for the upgrade service alike.

use super::forwarded::Forwarded;
use std::borrow::Cow;
use std::fmt;

/// Headers that name the prefix, in order of weight.
const PREFIX_HEADERS: [&str; 2] = ["x-script-name", "x-forwarded-prefix"];
/// Headers that name the scheme, in order of weight.
const SCHEME_HEADERS: [&str; 3] = ["x-scheme", "x-url-scheme", "x-forwarded-proto"];
/// How the server's own paths begin, apart from those of demo mode.
const OWN_PATHS: [&str; 16] = [
    "admin",
    "api-explorer",
    "channel_config",
    "connect",
    "disconnect",
    "docs",
    "health",
    "info",
    "listen",
    "message",
    "openapi",
    "static",
    "subscribe",
    "unsubscribe",
    "user_state",
    "ws",
];

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

/// Longest prefix taken, in bytes: pages name it many times.
const MAX_PREFIX: usize = 256;
/// Longest host: a name of 253 bytes, a colon and a port.
const MAX_HOST: usize = 259;

impl BaseUrl {
    /// Reads the base from `Host` and from the headers that count. `forced_scheme` is the setting `http_scheme`;
    /// `fallback_host` stands in for a `Host` that is missing or holds characters no host has.
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

/// The path as the sender means it for the API, in the sender's spelling: doubled slashes made one, the proxy's prefix cut
/// off the front if it is there. Bound signatures are made over it.
pub fn path_as_sent<'p>(path: &'p str, forwarded: Forwarded<'_>) -> Cow<'p, str> {
    let path = single_slashes(path);
    match prefix(forwarded).and_then(|prefix| without_prefix(&path, &prefix)) {
        Some("") => "/".into(),
        Some(rest) => rest.to_owned().into(),
        None => path,
    }
}

fn without_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    // No spelling of a segment has a slash more or less.
    let slashes = prefix.matches('/').count();
    let end = path.match_indices('/').nth(slashes).map_or(path.len(), |(at, _)| at);
    (normal(&path[..end]) == prefix).then_some(&path[end..])
}

/// One spelling for all spellings of a path (RFC 3986, section 6.2.2): escapes of letters, digits and `-._~` become the
/// characters themselves, other escapes have upper-case digits, and a percent sign without two digits is escaped.
///
/// The router decodes a path once more. It then finds no escape of a character that one of our paths has: a path that
/// is equal to one of ours for the router is equal to it here, and the reverse.
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

/// The byte that two hexadecimal digits stand for.
fn escaped(digits: &str) -> Option<u8> {
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The prefix a proxy names, beginning with a slash and ending without; none when it holds odd characters.
fn prefix(forwarded: Forwarded<'_>) -> Option<String> {
    let named =
        PREFIX_HEADERS.iter().find_map(|name| forwarded.get(name).filter(|value| !value.is_empty()))?;
    // The last entry of a list is the nearest proxy's own.
    let named = named.rsplit(',').next().unwrap_or_default().trim();
    if named.len() > MAX_PREFIX
        || !named.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%$+=:@!".contains(&b))
    {
        return None;
    }
    // Collapsing the slashes also keeps `//elsewhere.example` from becoming another host in a Location.
    let named = format!("/{named}");
    let prefix = normal(&single_slashes(&named)).trim_end_matches('/').to_owned();
    let counts = !prefix.is_empty() && (forwarded.is_trusted() || !can_lead_past_a_proxy(&prefix));
    counts.then_some(prefix)
}

/// Whether a proxy that passes some of our own paths can take a path with this prefix for one of them, such as `/ws/connect`
/// or `/a/../ws/connect`. It then passes the path, which is another one when the prefix is cut off.
fn can_lead_past_a_proxy(prefix: &str) -> bool {
    let name = prefix[1..].to_ascii_lowercase();
    let begins_like_our_own = OWN_PATHS.iter().any(|own| name.starts_with(own));
    // Proxies resolve dots and decode escapes, slashes too, before they compare.
    begins_like_our_own
        || prefix.contains('%')
        || prefix.split('/').any(|segment| matches!(segment, "." | ".."))
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
    (1..=MAX_HOST).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
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
#[path = "proxy_tests.rs"]
mod tests;
