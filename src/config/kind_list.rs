//! Settings that are lists. Files of ours give lists; texts hold items between commas or newlines.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::kind::{Given, ValueKind, quoted};
use super::kind_text::{check_trimmed, trimmed};
use super::origin::{AllowedOrigins, OriginPattern};
use super::values::{AllowedPeers, Secret};

fn items(given: Given<'_>) -> Result<Vec<String>, String> {
    let list = match given {
        Given::Typed(toml::Value::Array(items)) => items.iter().map(item).collect::<Result<Vec<_>, _>>()?,
        _ => vec![given.text().ok_or("a list of texts is expected")?.to_owned()],
    };
    let split = list.iter().flat_map(|text| text.split([',', '\n']));
    Ok(split.map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

fn item(value: &toml::Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "a list of texts is expected".into())
}

/// Reads each item; in an INI file what cannot be read is left out, since it never matched anything there.
fn parse_items<T: FromStr>(given: Given<'_>, what: &str, notes: &mut Vec<String>) -> Result<Vec<T>, String> {
    let mut parsed = Vec::new();
    for item in items(given)? {
        match (item.parse(), given) {
            (Ok(value), _) => parsed.push(value),
            (_, Given::Ini(_)) => notes.push(format!("{} is not {what} and is left out", quoted(&item))),
            _ => return Err(format!("{} is not {what}", quoted(&item))),
        }
    }
    Ok(parsed)
}

fn texts<T: ToString>(items: &[T]) -> toml::Value {
    items.iter().map(|item| toml::Value::from(item.to_string())).collect::<Vec<_>>().into()
}

/// Addresses of peers.
pub(super) struct Peers;

impl ValueKind<AllowedPeers> for Peers {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<AllowedPeers, String> {
        let peers = parse_items::<IpAddr>(given, "an IP address", notes)?;
        Ok(match peers.contains(&IpAddr::from([0, 0, 0, 0])) {
            true => AllowedPeers::Any,
            false => AllowedPeers::Only(peers.iter().map(IpAddr::to_canonical).collect()),
        })
    }

    fn show(&self, value: &AllowedPeers) -> toml::Value {
        match value {
            AllowedPeers::Any => texts(&["0.0.0.0"]),
            AllowedPeers::Only(peers) => texts(peers),
        }
    }

    fn expects(&self) -> String {
        "list of IP addresses".into()
    }

    fn takes_blank(&self) -> bool {
        true
    }
}

/// Any words.
pub(super) struct Words;

impl ValueKind<Vec<String>> for Words {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<Vec<String>, String> {
        items(given)
    }

    fn show(&self, value: &Vec<String>) -> toml::Value {
        texts(value)
    }

    fn expects(&self) -> String {
        "list of texts".into()
    }

    fn takes_blank(&self) -> bool {
        true
    }
}

/// Networks in CIDR notation; an address alone is a network of one.
pub(super) struct Networks;

struct Network(IpNet);

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| ())
    }
}

impl ValueKind<Vec<IpNet>> for Networks {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<Vec<IpNet>, String> {
        let networks = parse_items::<Network>(given, "a network such as 10.0.0.0/8", notes)?;
        Ok(networks.into_iter().map(|network| network.0.trunc()).collect())
    }

    fn show(&self, value: &Vec<IpNet>) -> toml::Value {
        texts(value)
    }

    fn expects(&self) -> String {
        "list of networks or IP addresses".into()
    }

    fn takes_blank(&self) -> bool {
        true
    }
}

/// Origins of pages, and patterns for them.
pub(super) struct Origins;

impl ValueKind<AllowedOrigins> for Origins {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<AllowedOrigins, String> {
        // Also in an INI file none is left out: a list that became empty would let everybody in.
        let origin = |item: String| {
            item.parse::<OriginPattern>().map_err(|()| {
                format!(
                    "{} is not an origin such as https://app.example.com or https://*.example.com",
                    quoted(&item)
                )
            })
        };
        items(given)?.into_iter().map(origin).collect::<Result<_, _>>().map(AllowedOrigins)
    }

    fn show(&self, value: &AllowedOrigins) -> toml::Value {
        texts(&value.0)
    }

    fn expects(&self) -> String {
        "list of origins".into()
    }

    fn takes_blank(&self) -> bool {
        true
    }
}

/// Several secrets, in a list, in JSON or one on each line.
pub(super) struct SecretList;

impl SecretList {
    fn lines(text: &str) -> Result<Vec<String>, String> {
        // The parser's own message would repeat a piece of the secret.
        match text.trim_start().starts_with('[') {
            true => serde_json::from_str(text).map_err(|_| "it is not a JSON list of texts".into()),
            false => Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()),
        }
    }
}

impl ValueKind<Vec<Secret>> for SecretList {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<Vec<Secret>, String> {
        let texts = match given {
            Given::Typed(toml::Value::Array(items)) => {
                items.iter().map(item).collect::<Result<Vec<_>, _>>()?
            }
            Given::Typed(_) => return Err("a list of texts is expected".into()),
            Given::Text(text) | Given::Ini(text) => Self::lines(text)?,
        };
        let secrets: Vec<_> = texts.iter().map(|text| Secret::new(trimmed(text, notes))).collect();
        notes.dedup();
        self.check(&secrets).map(|()| secrets)
    }

    fn check(&self, value: &Vec<Secret>) -> Result<(), String> {
        match (value.is_empty(), value.iter().any(|secret| secret.expose().is_empty())) {
            (true, _) => Err("at least one secret is needed".into()),
            (_, true) => Err("a secret must not be empty".into()),
            _ => value.iter().try_for_each(|secret| check_trimmed(secret.expose())),
        }
    }

    fn show(&self, value: &Vec<Secret>) -> toml::Value {
        texts(&value.iter().map(Secret::expose).collect::<Vec<_>>())
    }

    fn expects(&self) -> String {
        "list of texts".into()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: impl ValueKind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    fn only(peers: &[&str]) -> AllowedPeers {
        AllowedPeers::Only(peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    #[test]
    fn peers_stand_between_commas_or_newlines() {
        assert_eq!(read(Peers, "127.0.0.1, ::1\n10.0.0.1,\n"), Ok(only(&["127.0.0.1", "::1", "10.0.0.1"])));
        assert_eq!(read(Peers, "10.0.0.1,0.0.0.0"), Ok(AllowedPeers::Any));
        assert_eq!(read(Peers, ""), Ok(only(&[])));
        assert_eq!(read(Peers, "nobody"), Err("\"nobody\" is not an IP address".into()));
        let list = toml::Value::from(vec!["127.0.0.1", "::1"]);
        assert_eq!(Peers.read(Given::Typed(&list), &mut Vec::new()), Ok(only(&["127.0.0.1", "::1"])));
        assert!(Peers.read(Given::Typed(&1.into()), &mut Vec::new()).is_err());
    }

    #[test]
    fn an_ini_leaves_out_what_never_matched() {
        let mut notes = Vec::new();
        assert_eq!(Peers.read(Given::Ini("localhost, 127.0.0.1"), &mut notes), Ok(only(&["127.0.0.1"])));
        assert_eq!(notes, ["\"localhost\" is not an IP address and is left out"]);
    }

    #[test]
    fn networks_may_be_single_addresses() {
        let networks = read(Networks, "10.1.2.3/8 , 192.168.1.1\n::1").unwrap();
        assert_eq!(Networks.show(&networks), texts(&["10.0.0.0/8", "192.168.1.1/32", "::1/128"]));
        assert!(read(Networks, "10.0.0.0/33").is_err());
    }

    #[test]
    fn no_origin_is_left_out() {
        let origins = read(Origins, "https://A.example, http://localhost:*\nnull").unwrap();
        assert_eq!(Origins.show(&origins), texts(&["https://a.example", "http://localhost:*", "null"]));
        assert_eq!(read(Origins, ""), Ok(AllowedOrigins::default()));
        let refused = Origins.read(Given::Ini("*, https://a.example"), &mut Vec::new()).unwrap_err();
        assert!(refused.starts_with("\"*\" is not an origin such as "), "{refused}");
    }

    #[test]
    fn secrets_are_lines_or_json() {
        let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>();
        assert_eq!(read(SecretList, "one, two\n three \n"), Ok(secrets(&["one, two", "three"])));
        assert_eq!(read(SecretList, r#"["a\nb", " c "]"#), Ok(secrets(&["a\nb", "c"])));
        assert_eq!(read(SecretList, "one\r\n\r\ntwo\r"), Ok(secrets(&["one", "two"])));
        assert!(read(SecretList, r#"[" "]"#).is_err() && SecretList.check(&secrets(&["a", "b "])).is_err());
        let mut notes = Vec::new();
        let list = toml::Value::from(vec![" a", "b "]);
        assert_eq!(SecretList.read(Given::Typed(&list), &mut notes), Ok(secrets(&["a", "b"])));
        assert_eq!(notes.len(), 1);
        assert_eq!(read(SecretList, r#"["hush"#), Err("it is not a JSON list of texts".into()));
        assert!(read(SecretList, "[]").is_err() && read(SecretList, r#"[""]"#).is_err());
        assert!(SecretList.check(&Vec::new()).is_err());
    }
}
