//! The address that a request comes from: the socket's peer, and the client behind trusted proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::AllowedPeers;

/// The other address of `localhost`. The resolver decides which of the two a program on this machine uses.
fn other_localhost(address: IpAddr) -> Option<IpAddr> {
    const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let [v4, v6] = LOCALHOST;
    LOCALHOST.contains(&address).then(|| if address == v4 { v6 } else { v4 })
}

/// Whether this peer may call the signed API. This is the socket's peer; forwarded headers do not matter.
pub fn may_post(peer: Option<IpAddr>, allowed: &AllowedPeers) -> bool {
    match (allowed, peer.as_ref().map(IpAddr::to_canonical)) {
        (AllowedPeers::Any, _) => true,
        (AllowedPeers::Only(list), Some(peer)) => {
            let mut list = list.iter().map(IpAddr::to_canonical);
            list.any(|address| address == peer || Some(address) == other_localhost(peer))
        }
        (AllowedPeers::Only(_), None) => false,
    }
}

/// Whether the peer is one of the operator's proxies, whose forwarded headers count.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    let other = other_localhost(peer);
    trusted
        .iter()
        .any(|network| network.contains(&peer) || other.is_some_and(|other| network.contains(&other)))
}

/// The client's address: the peer, or behind trusted proxies the rightmost address in `X-Forwarded-For` that is not a
/// trusted proxy. Any client could have written the entries further left.
///
/// `forwarded_for` yields the header's lines in their order. They are bytes: a client may start a line with bytes that
/// are not text, and the proxy still appends its address to that line. No other header is read: a proxy passes headers
/// that it does not know, so a client could choose its address by one of them.
pub fn client<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut entries = forwarded_for.flat_map(|line| line.split(|byte| *byte == b',')).rev();
    while is_trusted(client, trusted) {
        match entries.next().and_then(address) {
            Some(next) => client = next,
            None => break,
        }
    }
    client
}

/// Parses an address as proxies write it: plain, with a port, in brackets, in quotes.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_matches('"');
    let plain = text.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen(peer: &str, forwarded_for: &[&str]) -> IpAddr {
        let trusted = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        client(ip(peer), forwarded_for.iter().map(|line| line.as_bytes()), &trusted)
    }

    #[test]
    fn only_listed_peers_may_post() {
        let only = AllowedPeers::Only(vec![ip("127.0.0.1"), ip("::1")]);
        assert!(may_post(Some(ip("127.0.0.1")), &only));
        assert!(may_post(Some(ip("::ffff:127.0.0.1")), &only));
        assert!(may_post(Some(ip("::1")), &only));
        assert!(!may_post(Some(ip("127.0.0.2")), &only));
        assert!(!may_post(None, &only));
        assert!(!may_post(Some(ip("127.0.0.1")), &AllowedPeers::Only(vec![])));
        assert!(may_post(None, &AllowedPeers::Any));
    }

    #[test]
    fn both_addresses_of_localhost_are_equivalent() {
        for (listed, peers) in [
            ("127.0.0.1", ["127.0.0.1", "::1", "::ffff:127.0.0.1"]),
            ("::1", ["::1", "127.0.0.1", "::ffff:127.0.0.1"]),
        ] {
            for peer in peers {
                assert!(
                    may_post(Some(ip(peer)), &AllowedPeers::Only(vec![ip(listed)])),
                    "{peer} for {listed}"
                );
                assert!(is_trusted(ip(peer), &[ip(listed).into()]), "{peer} for {listed}");
            }
        }
        // Other loopback addresses are distinguished: a proxy may bind to one of them on purpose.
        assert!(!may_post(Some(ip("127.0.0.2")), &AllowedPeers::Only(vec![ip("127.0.0.1"), ip("::1")])));
        assert!(!may_post(Some(ip("::1")), &AllowedPeers::Only(vec![ip("127.0.0.2"), ip("::")])));
        assert!(!is_trusted(ip("127.0.0.2"), &[ip("::1").into()]));
        assert!(!is_trusted(ip("::2"), &["127.0.0.0/8".parse().unwrap()]));
    }

    #[test]
    fn an_untrusted_peer_cannot_choose_its_address() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), ip("192.0.2.1"));
    }

    #[test]
    fn the_rightmost_untrusted_address_counts() {
        assert_eq!(seen("127.0.0.1", &["1.1.1.1, 198.51.100.7, 10.1.2.3"]), ip("198.51.100.7"));
        assert_eq!(seen("127.0.0.1", &["1.1.1.1", "198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(seen("::ffff:127.0.0.1", &["198.51.100.7:4711"]), ip("198.51.100.7"));
        assert_eq!(seen("127.0.0.1", &["\"[2001:db8::1]:80\""]), ip("2001:db8::1"));
    }

    #[test]
    fn an_unreadable_entry_ends_the_search() {
        assert_eq!(seen("127.0.0.1", &["198.51.100.7, unknown, 10.1.2.3"]), ip("10.1.2.3"));
        assert_eq!(seen("127.0.0.1", &["10.0.0.1"]), ip("10.0.0.1"));
    }

    #[test]
    fn bytes_before_the_entry_of_a_proxy_do_not_hide_it() {
        let trusted = ["127.0.0.1/32".parse().unwrap()];
        let seen = |line: &[u8]| client(ip("127.0.0.1"), [line].into_iter(), &trusted);
        assert_eq!(seen(b"\xff, 198.51.100.7"), ip("198.51.100.7"));
        assert_eq!(seen(b"\xff,198.51.100.7, 127.0.0.1"), ip("198.51.100.7"));
        assert_eq!(seen(b"198.51.100.7, \xff"), ip("127.0.0.1"));
    }

    #[test]
    fn without_the_header_the_proxy_is_the_client() {
        assert_eq!(seen("127.0.0.1", &[]), ip("127.0.0.1"));
    }
}
