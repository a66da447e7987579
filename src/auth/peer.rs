//! Whom a request comes from: the socket's peer, and the client behind trusted proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::AllowedPeers;

/// An IPv4 address that came in through an IPv6 socket counts as IPv4.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The other address of `localhost`: which of the two a program on this machine uses, its resolver chooses.
fn twin(address: IpAddr) -> Option<IpAddr> {
    const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let [one, other] = LOCALHOST;
    LOCALHOST.contains(&address).then(|| if address == one { other } else { one })
}

/// Whether this peer may call the signed API. Concerns the socket's peer; forwarded headers never open it.
pub fn may_post(peer: Option<IpAddr>, allowed: &AllowedPeers) -> bool {
    match (allowed, peer.map(canonical)) {
        (AllowedPeers::Any, _) => true,
        (AllowedPeers::Only(list), Some(peer)) => {
            let mut list = list.iter().map(|one| canonical(*one));
            list.any(|one| one == peer || Some(one) == twin(peer))
        }
        (AllowedPeers::Only(_), None) => false,
    }
}

/// Whether the peer is one of our own proxies, whose forwarded headers count.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = canonical(peer);
    let twin = twin(peer);
    trusted.iter().any(|network| network.contains(&peer) || twin.is_some_and(|twin| network.contains(&twin)))
}

/// The client's address: the peer, or, as far as trusted proxies reach, the rightmost address in `X-Forwarded-For`
/// that is none of them. What stands further left could have been written by anybody.
///
/// `forwarded_for` yields the header's lines in their order. They are bytes: a client may begin a line with what is no
/// text, and the proxy appends its address to that line all the same. No other header names the address: a proxy passes
/// those that it does not know, so its clients could choose their address by one of them.
pub fn client<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = canonical(peer);
    let mut named = forwarded_for.flat_map(|line| line.split(|byte| *byte == b',')).rev();
    while is_trusted(client, trusted) {
        match named.next().and_then(address) {
            Some(next) => client = next,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: plain, with a port, in brackets, in quotes.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_matches('"');
    let plain = text.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain.or_else(with_port).or_else(bracketed).map(canonical)
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
    fn both_addresses_of_localhost_count_alike() {
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
        // Other loopback addresses can be told apart: a proxy may bind to one of them on purpose.
        assert!(!may_post(Some(ip("127.0.0.2")), &AllowedPeers::Only(vec![ip("127.0.0.1"), ip("::1")])));
        assert!(!may_post(Some(ip("::1")), &AllowedPeers::Only(vec![ip("127.0.0.2"), ip("::")])));
        assert!(!is_trusted(ip("127.0.0.2"), &[ip("::1").into()]));
        assert!(!is_trusted(ip("::2"), &["127.0.0.0/8".parse().unwrap()]));
    }

    #[test]
    fn a_stranger_cannot_name_its_address() {
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
    fn what_cannot_be_read_ends_the_search() {
        assert_eq!(seen("127.0.0.1", &["198.51.100.7, unknown, 10.1.2.3"]), ip("10.1.2.3"));
        assert_eq!(seen("127.0.0.1", &["10.0.0.1"]), ip("10.0.0.1"));
    }

    #[test]
    fn bytes_in_front_of_what_the_proxy_appends_hide_nothing() {
        let trusted = ["127.0.0.1/32".parse().unwrap()];
        let seen = |line: &[u8]| client(ip("127.0.0.1"), [line].into_iter(), &trusted);
        assert_eq!(seen(b"\xff, 198.51.100.7"), ip("198.51.100.7"));
        assert_eq!(seen(b"\xff,198.51.100.7, 127.0.0.1"), ip("198.51.100.7"));
        assert_eq!(seen(b"198.51.100.7, \xff"), ip("127.0.0.1"));
    }

    #[test]
    fn without_the_header_it_is_the_proxy() {
        assert_eq!(seen("127.0.0.1", &[]), ip("127.0.0.1"));
    }
}
