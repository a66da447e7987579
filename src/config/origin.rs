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
        let origin = Origin::parse(origin);
        origin.is_some_and(|origin| self.0.iter().any(|pattern| pattern.matches(&origin)))
    }
}

/// One or more origins: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Pages without an origin of their own, such as files and sandboxed frames.
    Null,
    /// Pages that were loaded from a host.
    From {
        /// In lower case.
        scheme: String,
        /// In lower case; an IPv6 address in brackets.
        host: String,
        /// Whether the pattern matches all hosts below this one instead of the host itself.
        below: bool,
        /// The ports that match.
        port: PortPattern,
    },
}

/// The ports that a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortPattern {
    /// Any port.
    Any,
    /// This port; none means the scheme's default port.
    Only(Option<u16>),
}

enum Origin<'a> {
    Null,
    From { scheme: &'a str, host: &'a str, port: Option<u16> },
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest);
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().ok()?),
        };
        Some(Self::From { scheme, host, port: without_default(scheme, port) })
    }
}

impl OriginPattern {
    fn matches(&self, origin: &Origin<'_>) -> bool {
        match (self, origin) {
            (Self::Null, Origin::Null) => true,
            (Self::From { scheme, host, below, port }, Origin::From { scheme: s, host: h, port: p }) => {
                s.eq_ignore_ascii_case(scheme)
                    && (*port == PortPattern::Any || *port == PortPattern::Only(*p))
                    && if *below { is_below(h, host) } else { h.eq_ignore_ascii_case(host) }
            }
            _ => false,
        }
    }
}

/// Whether the name consists of a subdomain, a dot and the host.
fn is_below(name: &str, host: &str) -> bool {
    let Some(at) = name.len().checked_sub(host.len()).filter(|at| *at > 1) else { return false };
    let (front, end) = (name.as_bytes()[..at].last(), name.get(at..));
    front == Some(&b'.') && end.is_some_and(|end| end.eq_ignore_ascii_case(host))
}

/// Host and port; colons within brackets belong to the host.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rfind(':').filter(|colon| text.rfind(']').is_none_or(|end| end < *colon)) {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    }
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
        if text == "null" {
            return Ok(Self::Null);
        }
        let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).ok_or(())?;
        let (host, port) = split_port(rest);
        let port = match port {
            None => PortPattern::Only(None),
            Some("*") => PortPattern::Any,
            Some(port) => PortPattern::Only(without_default(scheme, Some(port.parse().map_err(|_| ())?))),
        };
        let (below, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        if !is_host(host) {
            return Err(());
        }
        Ok(Self::From { scheme: scheme.to_owned(), host: host.to_owned(), below, port })
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
        let Self::From { scheme, host, below, port } = self else { return f.write_str("null") };
        write!(f, "{scheme}://{}{host}", if *below { "*." } else { "" })?;
        match port {
            PortPattern::Any => f.write_str(":*"),
            PortPattern::Only(Some(port)) => write!(f, ":{port}"),
            PortPattern::Only(None) => Ok(()),
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
