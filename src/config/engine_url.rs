//! Addresses in `engine_url`: of Redis, or of the Sentinels that know where Redis is.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, parse_redis_url};

use super::kind::Kind;
use super::kind_list::items;

const FORMS: &str =
    "redis://HOST:PORT, rediss://HOST:PORT, redis+unix:///PATH or redis+sentinel://HOST:PORT/MASTER";
const MASK: &str = "********";
const SENTINEL_PORT: u16 = 26379;

/// An address of Redis, or of a Sentinel. It may contain a password, which is never printed.
#[derive(Clone)]
pub struct EngineUrl {
    text: String,
    /// The text with a masked password.
    shown: String,
    server: ConnectionInfo,
    master: Option<String>,
}

impl EngineUrl {
    /// The whole address; it must not be printed.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// How to reach the server. Of a Sentinel: its own address, with credentials and database of the master.
    pub fn server(&self) -> &ConnectionInfo {
        &self.server
    }

    /// The master that the Sentinel at this address knows, and its database. `None` for an address of Redis itself.
    pub fn master(&self) -> Option<(&str, i64)> {
        self.master.as_deref().map(|name| (name, self.server.redis_settings().db()))
    }

    pub fn uses_tls(&self) -> bool {
        matches!(self.server.addr(), ConnectionAddr::TcpTls { .. })
    }

    pub(super) fn has_password(&self) -> bool {
        self.server.redis_settings().password().is_some()
    }
}

impl FromStr for EngineUrl {
    type Err = String;

    /// The error does not repeat the text, which may contain a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("an address must have the form {FORMS}");
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (scheme, has_master) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => ("redis", false),
            "rediss" => ("rediss", false),
            "redis+unix" => ("redis+unix", false),
            "redis+sentinel" => ("redis", true),
            "rediss+sentinel" => ("rediss", true),
            _ => return Err(form()),
        };
        let malformed = || format!("an address is malformed; {FORMS} is expected");
        let plain = format!("{scheme}://{rest}");
        let mut url = parse_redis_url(&plain).ok_or_else(malformed)?;
        if url.fragment().is_some() {
            return Err("an address contains #; certificates are always checked, see engine_ca_file".into());
        }
        let mut master = None;
        if has_master {
            let path = url.path().strip_prefix('/').unwrap_or_default().to_owned();
            let (name, db) = path.split_once('/').unwrap_or((&path, ""));
            let name = percent_decode_str(name).decode_utf8().map_err(|_| malformed())?;
            if name.is_empty() {
                return Err("the address of a Sentinel must end with /MASTER, the name of the master".into());
            }
            url.set_path(db);
            if url.port().is_none() {
                url.set_port(Some(SENTINEL_PORT)).map_err(|()| malformed())?;
            }
            master = Some(name.into_owned());
        }
        let has_secret = url.password().is_some() || url.query_pairs().any(|(name, _)| name == "pass");
        let server = url.into_connection_info().map_err(|_| malformed())?;
        let shown = if has_secret { masked(text, &plain) } else { text.into() };
        Ok(Self { text: text.into(), shown, server, master })
    }
}

/// An address without its password. `plain` is the address with a scheme that can be parsed.
fn masked(text: &str, plain: &str) -> String {
    let Some(mut url) = parse_redis_url(plain) else { return MASK.into() };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.into();
    }
    if url.query_pairs().any(|(name, _)| name == "pass") {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let masked = |(name, value): (String, String)| {
            let value = if name == "pass" { MASK.into() } else { value };
            (name, value)
        };
        url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(masked));
    }
    match (text.split_once("://"), url.as_str().split_once("://")) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => MASK.into(),
    }
}

/// The address with a masked password.
impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineUrl({self})")
    }
}

impl PartialEq for EngineUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for EngineUrl {}

pub(super) const ENGINE_URLS: Kind<Vec<EngineUrl>> = Kind {
    expects: "list of addresses",
    read: |given, _| items(given)?.iter().map(|item| item.parse()).collect(),
    show: |urls| urls.iter().map(EngineUrl::expose).collect::<Vec<_>>().into(),
    for_people: Some(|urls| urls.iter().map(EngineUrl::to_string).collect::<Vec<_>>().into()),
    is_secret: false,
    takes_blank: true,
};

#[cfg(test)]
mod tests {
    use super::super::kind::Given;
    use super::*;

    fn url(text: &str) -> EngineUrl {
        text.parse().unwrap()
    }

    fn read(text: &str) -> Result<Vec<EngineUrl>, String> {
        ENGINE_URLS.read(Given::Text(text), &mut Vec::new())
    }

    #[test]
    fn addresses_are_those_that_the_server_can_connect_to() {
        for text in [
            "redis://localhost",
            "redis://[::1]:6380/2",
            "redis+unix:///run/redis.sock?db=1",
            "REDIS://h",
            "rediss://h:6379",
            "redis+sentinel://h/main",
        ] {
            assert_eq!(url(text).to_string(), text);
        }
        for (text, reason) in [
            ("127.0.0.1:6379", "must have the form redis://"),
            ("http://h", "must have the form redis://"),
            ("redis://h/x", "malformed"),
            ("redis://0.0.0.0:6379", "malformed"),
            ("rediss://h#insecure", "certificates are always checked"),
            ("redis+sentinel://h", "must end with /MASTER"),
            ("redis+sentinel://h//1", "must end with /MASTER"),
            ("redis+sentinel://h/main/x", "malformed"),
            ("redis+sentinel:///main", "malformed"),
        ] {
            let refused = text.parse::<EngineUrl>().unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        let both = [url("redis://a"), url("redis://b:1")];
        assert_eq!(read("redis://a, redis://b:1"), Ok(both.to_vec()));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn the_address_of_a_sentinel_names_the_master() {
        let plain = url("redis+sentinel://ann:hush@h/main/2");
        assert_eq!(plain.server().addr(), &ConnectionAddr::Tcp("h".into(), 26379));
        assert_eq!((plain.master(), plain.uses_tls()), (Some(("main", 2)), false));
        assert_eq!(plain.server().redis_settings().username(), Some("ann"));
        let secure = url("rediss+sentinel://[::1]:5/my%20main");
        assert_eq!((secure.master(), secure.uses_tls()), (Some(("my main", 0)), true));
        assert_eq!(secure.server().addr().to_string(), "::1:5");
        assert_eq!(url("rediss://h/3").master(), None);
    }

    #[test]
    fn a_password_in_an_address_is_never_printed() {
        for (text, shown) in [
            ("redis://:hush@h:6379", "redis://:********@h:6379"),
            ("redis://ann:hu%40sh@h/1", "redis://ann:********@h/1"),
            ("redis+unix:///r.sock?db=1&pass=hush", "redis+unix:///r.sock?db=1&pass=********"),
            ("redis://h:6379/?pass=hush", "redis://h:6379/?pass=********"),
            ("rediss+sentinel://:hush@h/main/1", "rediss+sentinel://:********@h/main/1"),
        ] {
            let urls = vec![url(text)];
            assert_eq!(urls[0].to_string(), shown);
            assert_eq!(ENGINE_URLS.for_people(&urls), format!("[\"{shown}\"]"));
            assert!(!format!("{urls:?}").contains("sh"), "{urls:?}");
        }
        for wrong in ["redis://:hush@h:x", "rediss://:hush@h#", "//:hush@h", "redis+sentinel://:hush@h"] {
            assert!(!read(wrong).unwrap_err().contains("hush"), "{wrong}");
        }
    }
}
