//! Origins of pages, as browsers send them in `Origin`, and patterns for them.

use std::fmt;
use std::str::FromStr;

/// The origins whose pages may use the server; an empty list allows all origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(pub Vec<OriginPattern>);

impl AllowedOrigins {
    /// Whether all origins are allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether pages of this origin may use the server. The text is the one that a browser sent.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.is_empty() || std::str::from_utf8(origin).is_ok_and(|origin| self.matches(origin))
    }

    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, host, port)) = split(origin) else { return false };
        let Ok(port) = port.map(str::parse).transpose() else { return false };
        let port = without_default(scheme, port);
        self.0.iter().any(|pattern| pattern.matches(scheme, host, port))
    }
}

/// One or more origins: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`. `null` stands for pages
/// without an origin of their own, such as files and sandboxed frames; it has no scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// In lower case, like the host.
    scheme: String,
    /// An IPv6 address has brackets.
    host: String,
    /// Whether the pattern matches all hosts below this one instead of the host itself.
    below: bool,
    any_port: bool,
    /// None means the scheme's default port.
    port: Option<u16>,
}

impl OriginPattern {
    fn matches(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        scheme.eq_ignore_ascii_case(&self.scheme)
            && (self.any_port || self.port == port)
            && if self.below { is_below(host, &self.host) } else { host.eq_ignore_ascii_case(&self.host) }
    }
}

/// Scheme, host and port. `null` is a host alone.
fn split(origin: &str) -> Option<(&str, &str, Option<&str>)> {
    if origin == "null" {
        return Some(("", origin, None));
    }
    let (scheme, rest) = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty())?;
    // Colons within brackets belong to the host.
    let colon = rest.rfind(':').filter(|colon| rest.rfind(']').is_none_or(|end| end < *colon));
    let (host, port) = colon.map_or((rest, None), |colon| (&rest[..colon], Some(&rest[colon + 1..])));
    Some((scheme, host, port))
}

/// Whether the name consists of a subdomain, a dot and the host.
fn is_below(name: &str, host: &str) -> bool {
    let Some(at) = name.len().checked_sub(host.len()).filter(|at| *at > 1) else { return false };
    let (front, end) = (name.as_bytes()[..at].last(), name.get(at..));
    front == Some(&b'.') && end.is_some_and(|end| end.eq_ignore_ascii_case(host))
}

/// Browsers omit the scheme's default port.
fn without_default(scheme: &str, port: Option<u16>) -> Option<u16> {
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    port.filter(|port| Some(*port) != default)
}

impl FromStr for OriginPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_ascii_lowercase();
        let (scheme, host, port) = split(&text).ok_or(())?;
        let any_port = port == Some("*");
        let port = port.filter(|_| !any_port).map(str::parse).transpose().map_err(|_| ())?;
        let (below, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        let is_valid = text == "null" || is_scheme(scheme) && is_host(host);
        let (port, scheme) = (without_default(scheme, port), scheme.to_owned());
        is_valid.then(|| Self { scheme, host: host.to_owned(), below, any_port, port }).ok_or(())
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_host(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('.')
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, below, any_port, port } = self;
        let separator = if scheme.is_empty() { "" } else { "://" };
        write!(f, "{scheme}{separator}{}{host}", if *below { "*." } else { "" })?;
        match port {
            _ if *any_port => f.write_str(":*"),
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str]) -> AllowedOrigins {
        AllowedOrigins(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
    }

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let allowed = allowed(&[pattern]);
        for origin in yes {
            assert!(allowed.allows(origin.as_bytes()), "{pattern} and {origin}");
        }
        for origin in no {
            assert!(!allowed.allows(origin.as_bytes()), "{pattern} but {origin}");
        }
    }

    #[test]
    fn an_origin_is_exact() {
        let near = "http://app.example.com https://app.example.com:8443 https://example.com https://x.app.example.com \
                    https://app.example.com.evil.example https://app.example.comx https://app.example.com/ \
                    https://user@app.example.com app.example.com null";
        let near = near.split(' ').chain([""]).collect::<Vec<_>>();
        check("https://app.example.com", &["https://app.example.com", "https://app.example.com:443"], &near);
        check("https://app.example.com:443", &["https://app.example.com"], &near);
        check("http://[::1]:3000", &["http://[::1]:3000"], &["http://[::1]", "http://[::2]:3000"]);
        check("HTTPS://App.Example.Com", &["https://app.example.com"], &[]);
        check("capacitor://localhost", &["capacitor://localhost"], &["http://localhost"]);
    }

    #[test]
    fn patterns_match_hosts_below_and_any_port() {
        check(
            "https://*.example.com",
            &["https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com"],
            &[
                "https://example.com",
                "https://.example.com",
                "https://evilexample.com",
                "https://a.example.com.evil",
                "https://a.example.com:8443",
                "http://a.example.com",
                "https://é.example.co",
            ],
        );
        check("http://localhost:*", &["http://localhost", "http://localhost:3000"], &["http://localhost:x"]);
        check("null", &["null"], &["https://null", ""]);
    }

    #[test]
    fn an_empty_list_allows_all() {
        assert!(allowed(&[]).allows(b"https://anywhere.example") && allowed(&[]).allows(b"\xff"));
        assert!(!allowed(&["null"]).allows(b"\xff"));
    }

    #[test]
    fn a_text_that_is_not_an_origin_is_not_a_pattern() {
        let wrong = "* example.com *.example.com https:// https://* https://*. https://a*.example.com https://a.*.com \
                     https://a.example/ https://a.example/path https://a.example:x https://a.example:70000 https://[x] \
                     https://ä.example ://a.example";
        for text in wrong.split(' ').chain([""]) {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
        for text in ["https://*.a.example:8443", "http://localhost:*", "https://a.example", "null"] {
            assert_eq!(text.parse::<OriginPattern>().unwrap().to_string(), text);
        }
    }
}
