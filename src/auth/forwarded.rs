//! What the proxies in front report about a request: the prefix that they serve the server under, the scheme that their
//! clients use, the addresses that the request came through.
//!
//! Any client can send these headers, so one function decides which of them count: [`Gate::forwarded`].

use super::{Gate, peer};
use actix_http::RequestHead;
use actix_web::http::header::HeaderMap;

/// The headers that 0.7.1 reads.
const ORIGINAL: [&str; 3] = ["x-script-name", "x-scheme", "x-url-scheme"];

/// The headers of a trusted proxy, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarded<'a> {
    /// `None` if no header counts.
    headers: Option<&'a HeaderMap>,
    /// Whether the peer is a trusted proxy. From other peers, only the headers that 0.7.1 reads can count.
    is_trusted: bool,
}

impl Gate {
    /// The headers of a trusted proxy, or none. A server that was started from an INI file of 0.7.1 and has no trusted
    /// proxy accepts the headers that 0.7.1 reads from every peer.
    pub fn forwarded<'a>(&self, head: &'a RequestHead) -> Forwarded<'a> {
        let trusted = &self.settings.trusted_proxies;
        let is_trusted = head.peer_addr.is_some_and(|peer| peer::is_trusted(peer.ip(), trusted));
        let as_original = trusted.is_empty() && self.settings.ini.is_some();
        Forwarded { headers: (is_trusted || as_original).then_some(&head.headers), is_trusted }
    }
}

impl<'a> Forwarded<'a> {
    /// The value of a header, if it counts and is text. If there are several lines, it is the last one, which the nearest
    /// proxy wrote.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let counts = self.is_trusted || ORIGINAL.contains(&name);
        self.headers.filter(|_| counts)?.get_all(name).last()?.to_str().ok()
    }

    /// Whether the peer is a trusted proxy, so that no client has chosen the values.
    pub fn is_trusted(self) -> bool {
        self.is_trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use actix_web::test::TestRequest;
    use std::sync::Arc;

    const HEADERS: [&str; 6] = [
        "x-script-name",
        "x-scheme",
        "x-url-scheme",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-for",
    ];

    /// The number of headers from 127.0.0.1 that count, in their order.
    fn count_accepted(trusted: &[&str], from_ini: bool) -> usize {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let ini = from_ini.then(|| "x.ini".into());
        let gate = Gate::new(Arc::new(Settings { trusted_proxies, ini, ..Settings::default() }));
        let request = TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap());
        let request = HEADERS.iter().fold(request, |request, name| request.append_header((*name, "x")));
        let request = request.to_http_request();
        let forwarded = gate.forwarded(request.head());
        let known = HEADERS.iter().take_while(|name| forwarded.get(name).is_some()).count();
        assert!(HEADERS[known..].iter().all(|name| forwarded.get(name).is_none()));
        known
    }

    #[test]
    fn headers_count_from_trusted_proxies() {
        assert_eq!(count_accepted(&["127.0.0.1/32"], false), 6);
        assert_eq!(count_accepted(&["127.0.0.1/32"], true), 6);
        assert_eq!(count_accepted(&["192.0.2.0/24"], false), 0);
        assert_eq!(count_accepted(&["192.0.2.0/24"], true), 0);
        assert_eq!(count_accepted(&[], false), 0);
    }

    #[test]
    fn an_ini_file_without_proxies_accepts_the_headers_that_the_original_reads() {
        assert_eq!(count_accepted(&[], true), 3);
    }

    #[test]
    fn a_line_that_a_proxy_adds_overrides_its_client() {
        let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let gate = Gate::new(Arc::new(Settings { trusted_proxies, ..Settings::default() }));
        let request = TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap());
        let request = request.append_header(("x-script-name", "/client"));
        let request = request.append_header(("x-script-name", "/proxy")).to_http_request();
        assert_eq!(gate.forwarded(request.head()).get("x-script-name"), Some("/proxy"));
    }
}
