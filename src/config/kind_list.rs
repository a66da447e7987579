//! Settings that are lists. TOML and JSON give lists; a text has commas or newlines between the items.

use std::net::IpAddr;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use super::kind::{Given, Kind, quoted};
use super::kind_text::{Secret, trimmed};
use super::origin::AllowedOrigins;

const NOT_A_LIST: &str = "a list of texts is expected";

/// A list whose items have a text form.
const fn list<T>(
    expects: &'static str,
    read: fn(Given<'_>, &mut Vec<String>) -> Result<T, String>,
    show: fn(&T) -> toml::Value,
) -> Kind<T> {
    Kind { expects, read, show, for_people: None, is_secret: false, takes_blank: true }
}

/// The texts of a typed list, or none for another value.
fn typed_list(given: Given<'_>) -> Option<Result<Vec<String>, String>> {
    let Given::Typed(toml::Value::Array(items)) = given else { return None };
    Some(items.iter().map(|item| Ok(item.as_str().ok_or(NOT_A_LIST)?.to_owned())).collect())
}

/// The texts of a list, or of a text with commas or newlines between them.
pub(super) fn items(given: Given<'_>) -> Result<Vec<String>, String> {
    let list = match typed_list(given) {
        Some(list) => list?,
        None => vec![given.text().ok_or(NOT_A_LIST)?.to_owned()],
    };
    let split = list.iter().flat_map(|text| text.split([',', '\n']));
    Ok(split.map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Reads each item. In an INI file an item that cannot be read is ignored, since it never matched anything there.
fn parse_items<T>(
    given: Given<'_>,
    what: &str,
    parse: fn(&str) -> Option<T>,
    notes: &mut Vec<String>,
) -> Result<Vec<T>, String> {
    let mut parsed = Vec::new();
    for item in items(given)? {
        match (parse(&item), given) {
            (Some(value), _) => parsed.push(value),
            (_, Given::Ini(_)) => notes.push(format!("{} is not {what} and is ignored", quoted(&item))),
            _ => return Err(format!("{} is not {what}", quoted(&item))),
        }
    }
    Ok(parsed)
}

fn texts<T: ToString>(items: &[T]) -> toml::Value {
    items.iter().map(|item| toml::Value::from(item.to_string())).collect::<Vec<_>>().into()
}

/// The clients that may call the signed API, by the address of the socket's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPeers {
    /// `0.0.0.0` is in the list: every client with a valid signature.
    Any,
    /// Exactly these addresses; an empty list allows none.
    Only(Vec<IpAddr>),
}

pub(super) const PEERS: Kind<AllowedPeers> = list("list of IP addresses", read_peers, |peers| match peers {
    AllowedPeers::Any => texts(&["0.0.0.0"]),
    AllowedPeers::Only(peers) => texts(peers),
});

fn read_peers(given: Given<'_>, notes: &mut Vec<String>) -> Result<AllowedPeers, String> {
    let peers = parse_items(given, "an IP address", |item| item.parse::<IpAddr>().ok(), notes)?;
    Ok(match peers.contains(&IpAddr::from([0, 0, 0, 0])) {
        true => AllowedPeers::Any,
        false => AllowedPeers::Only(peers.iter().map(IpAddr::to_canonical).collect()),
    })
}

pub(super) const WORDS: Kind<Vec<String>> =
    list("list of texts", |given, _| items(given), |words| texts(words));

/// Networks in CIDR notation. An address alone is a network with one address.
pub(super) const NETWORKS: Kind<Vec<IpNet>> =
    list("list of networks or IP addresses", read_networks, |networks| texts(networks));

fn read_networks(given: Given<'_>, notes: &mut Vec<String>) -> Result<Vec<IpNet>, String> {
    let network = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).ok();
    let networks = parse_items(given, "a network such as 10.0.0.0/8", network, notes)?;
    Ok(networks.iter().map(IpNet::trunc).collect())
}

pub(super) const ORIGINS: Kind<AllowedOrigins> =
    list("list of origins", read_origins, |origins| texts(&origins.0));

fn read_origins(given: Given<'_>, notes: &mut Vec<String>) -> Result<AllowedOrigins, String> {
    // An INI file must not lose an item either: a list that became empty would allow every origin.
    let strict = given.text().map_or(given, Given::Text);
    let what = "an origin such as https://app.example.com or https://*.example.com";
    parse_items(strict, what, |item| item.parse().ok(), notes).map(AllowedOrigins)
}

/// The algorithms of connection tokens that a server may accept.
const ALGORITHM_NAMES: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// The name of an algorithm in settings and in the headers of tokens.
pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    let known = ALGORITHM_NAMES.iter().find(|(_, known)| *known == algorithm);
    known.map_or("an unsupported algorithm", |(name, _)| name)
}

pub(super) const ALGORITHMS: Kind<Vec<Algorithm>> =
    list("list of HS256, RS256, ES256 and EdDSA", read_algorithms, |algorithms| {
        texts(&Vec::from_iter(algorithms.iter().map(|algorithm| algorithm_name(*algorithm))))
    });

fn read_algorithms(given: Given<'_>, notes: &mut Vec<String>) -> Result<Vec<Algorithm>, String> {
    // An INI file must not lose an item: the server would refuse its tokens without an explanation.
    let strict = given.text().map_or(given, Given::Text);
    let parse = |item: &str| Some(ALGORITHM_NAMES.iter().find(|(name, _)| *name == item)?.1);
    parse_items(strict, "one of HS256, RS256, ES256, EdDSA", parse, notes)
}

/// Several secrets: as a list, as JSON, or one on each line.
pub(super) const SECRETS: Kind<Vec<Secret>> = Kind {
    expects: "list of texts",
    read: read_secrets,
    show: |secrets| texts(&Vec::from_iter(secrets.iter().map(Secret::expose))),
    for_people: None,
    is_secret: true,
    takes_blank: false,
};

fn read_secrets(given: Given<'_>, notes: &mut Vec<String>) -> Result<Vec<Secret>, String> {
    let texts = match typed_list(given) {
        Some(list) => list?,
        None if matches!(given, Given::Typed(_)) => return Err(NOT_A_LIST.into()),
        None => secret_lines(given.text().unwrap_or_default())?,
    };
    let secrets = Vec::from_iter(texts.iter().map(|text| Secret::new(trimmed(text, notes))));
    notes.dedup();
    match secrets.iter().any(|secret| secret.expose().is_empty()) {
        _ if secrets.is_empty() => Err("at least one secret is needed".into()),
        true => Err("a secret must not be empty".into()),
        false => Ok(secrets),
    }
}

fn secret_lines(text: &str) -> Result<Vec<String>, String> {
    // The parser's own message would repeat a part of the secret.
    match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).map_err(|_| "it is not a JSON list of texts".into()),
        false => Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: Kind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    fn only(peers: &[&str]) -> AllowedPeers {
        AllowedPeers::Only(peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    #[test]
    fn peers_are_separated_by_commas_or_newlines() {
        assert_eq!(read(PEERS, "127.0.0.1, ::1\n10.0.0.1,\n"), Ok(only(&["127.0.0.1", "::1", "10.0.0.1"])));
        assert_eq!(read(PEERS, "10.0.0.1,0.0.0.0"), Ok(AllowedPeers::Any));
        assert_eq!(read(PEERS, ""), Ok(only(&[])));
        assert_eq!(read(PEERS, "nobody"), Err("\"nobody\" is not an IP address".into()));
        let list = toml::Value::from(vec!["127.0.0.1", "::1"]);
        assert_eq!(PEERS.read(Given::Typed(&list), &mut Vec::new()), Ok(only(&["127.0.0.1", "::1"])));
        assert!(PEERS.read(Given::Typed(&1.into()), &mut Vec::new()).is_err());
    }

    #[test]
    fn an_ini_file_may_hold_items_that_never_matched() {
        let mut notes = Vec::new();
        assert_eq!(PEERS.read(Given::Ini("localhost, 127.0.0.1"), &mut notes), Ok(only(&["127.0.0.1"])));
        assert_eq!(notes, ["\"localhost\" is not an IP address and is ignored"]);
    }

    #[test]
    fn networks_may_be_single_addresses() {
        let networks = read(NETWORKS, "10.1.2.3/8 , 192.168.1.1\n::1").unwrap();
        assert_eq!(NETWORKS.show(&networks), texts(&["10.0.0.0/8", "192.168.1.1/32", "::1/128"]));
        assert!(read(NETWORKS, "10.0.0.0/33").is_err());
    }

    #[test]
    fn no_origin_is_ignored() {
        let origins = read(ORIGINS, "https://A.example, http://localhost:*\nnull").unwrap();
        assert_eq!(ORIGINS.show(&origins), texts(&["https://a.example", "http://localhost:*", "null"]));
        assert_eq!(read(ORIGINS, ""), Ok(AllowedOrigins::default()));
        let refused = ORIGINS.read(Given::Ini("*, https://a.example"), &mut Vec::new()).unwrap_err();
        assert!(refused.starts_with("\"*\" is not an origin such as "), "{refused}");
    }

    #[test]
    fn algorithms_are_those_that_the_server_verifies() {
        let both = vec![Algorithm::HS256, Algorithm::EdDSA];
        assert_eq!(read(ALGORITHMS, "HS256, EdDSA"), Ok(both.clone()));
        assert_eq!(ALGORITHMS.show(&both), texts(&["HS256", "EdDSA"]));
        assert_eq!(read(ALGORITHMS, ""), Ok(Vec::new()));
        for wrong in ["none", "hs256", "HS512", "HS256,none"] {
            assert!(ALGORITHMS.read(Given::Ini(wrong), &mut Vec::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_lines_or_json() {
        let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>();
        assert_eq!(read(SECRETS, "one, two\n three \n"), Ok(secrets(&["one, two", "three"])));
        assert_eq!(read(SECRETS, r#"["a\nb", " c "]"#), Ok(secrets(&["a\nb", "c"])));
        assert_eq!(read(SECRETS, "one\r\n\r\ntwo\r"), Ok(secrets(&["one", "two"])));
        let mut notes = Vec::new();
        let list = toml::Value::from(vec![" a", "b "]);
        assert_eq!(SECRETS.read(Given::Typed(&list), &mut notes), Ok(secrets(&["a", "b"])));
        assert_eq!(notes.len(), 1);
        assert_eq!(read(SECRETS, r#"["hush"#), Err("it is not a JSON list of texts".into()));
        for wrong in ["[]", r#"[""]"#, r#"[" "]"#] {
            assert!(read(SECRETS, wrong).is_err(), "{wrong}");
        }
    }
}
