//! The settings of the engine: where the state of channels and users is, and how a node reaches Redis.

use std::fmt;
use std::str::FromStr;

use redis::{IntoConnectionInfo, parse_redis_url};

use super::kind::{Given, Kind, quoted};
use super::kind_list::items;
use super::kind_text::Secret;
use super::table::Settings;
use super::{SettingsError, read_named_file};

/// Where the state of channels and users is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineSetting {
    /// In this process, which is the whole server.
    Embedded,
    /// In Redis: the process is one of several nodes that act as one server.
    Redis,
}

/// The default of `max_frame_bytes` with Redis: every node that needs a frame receives it, and Redis runs nothing else while
/// it copies one.
pub(super) const FRAME_BYTES_WITH_REDIS: usize = 256 << 10;

const ENGINES: &str = "embedded, redis";

pub(super) const ENGINE: Kind<EngineSetting> = Kind::new(ENGINES, read_engine, |engine| match engine {
    EngineSetting::Embedded => "embedded".into(),
    EngineSetting::Redis => "redis".into(),
});

fn read_engine(given: Given<'_>, _: &mut Vec<String>) -> Result<EngineSetting, String> {
    let text = given.expect_text()?;
    match text.trim().to_ascii_lowercase().as_str() {
        "embedded" => Ok(EngineSetting::Embedded),
        "redis" => Ok(EngineSetting::Redis),
        _ => Err(format!("{} is not one of {ENGINES}", quoted(text))),
    }
}

/// An address of Redis. It may contain a password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineUrl(String);

const URL_FORMS: &str = "redis://HOST:PORT or redis+unix:///PATH";
const MASK: &str = "********";

impl EngineUrl {
    /// The whole address, for connecting; it must not be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn has_password(&self) -> bool {
        let info = self.0.as_str().into_connection_info();
        info.is_ok_and(|info| info.redis_settings().password().is_some())
    }
}

impl FromStr for EngineUrl {
    type Err = String;

    /// The error does not repeat the text, which may contain a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("redis" | "redis+unix") => {}
            Some(scheme @ ("rediss" | "redis+sentinel")) => {
                return Err(format!("{scheme}:// is not supported; {URL_FORMS} is expected"));
            }
            _ => return Err(format!("an address must have the form {URL_FORMS}")),
        }
        match text.into_connection_info() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(format!("an address is malformed; {URL_FORMS} is expected")),
        }
    }
}

/// The address with a masked password.
impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_password() {
            return f.write_str(&self.0);
        }
        // One with a password was parsed before.
        let Some(mut url) = parse_redis_url(&self.0) else { return f.write_str(MASK) };
        if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
            return f.write_str(MASK);
        }
        if url.query_pairs().any(|(name, _)| name == "pass") {
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            let masked = |(name, value): (String, String)| {
                let value = if name == "pass" { MASK.into() } else { value };
                (name, value)
            };
            url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(masked));
        }
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineUrl({self})")
    }
}

pub(super) const ENGINE_URLS: Kind<Vec<EngineUrl>> = Kind {
    expects: "list of addresses",
    read: |given, _| items(given)?.iter().map(|item| item.parse()).collect(),
    show: |urls| urls.iter().map(EngineUrl::expose).collect::<Vec<_>>().into(),
    for_people: Some(|urls| urls.iter().map(EngineUrl::to_string).collect::<Vec<_>>().into()),
    is_secret: false,
    takes_blank: true,
};

const MAX_CHARS: usize = 64;

/// The start of the names of keys. Braces would end the hash tag that follows it.
pub(super) const ENGINE_PREFIX: Kind<String> = Kind::new(
    "1-64 visible ASCII characters without braces",
    |given, _| {
        let text = given.expect_text()?.trim();
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
        match (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "{} has not 1 to {MAX_CHARS} visible ASCII characters without braces",
                quoted(text)
            )),
        }
    },
    |prefix| prefix.as_str().into(),
);

pub(super) const NODE_NAME: Kind<Option<String>> = Kind::new(
    "at most 64 characters, may be empty",
    |given, _| {
        let text = given.expect_text()?.trim();
        match text.chars().count() <= MAX_CHARS && !text.contains(char::is_control) {
            true => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
            false => {
                Err(format!("{} has more than {MAX_CHARS} characters, or control characters", quoted(text)))
            }
        }
    },
    |name| name.as_deref().unwrap_or_default().into(),
);

impl Settings {
    /// The name of this node: the setting, or else the machine's host name.
    pub fn node_name(&self) -> String {
        let host = || nix::unistd::gethostname().ok()?.into_string().ok();
        self.node_name.clone().or_else(host).unwrap_or_else(|| "unnamed".into())
    }

    /// The password in `engine_password_file`, without the blanks at its ends.
    ///
    /// # Errors
    /// The file cannot be read, or has no password.
    pub fn engine_password(&self) -> Result<Option<Secret>, SettingsError> {
        let Some(name) = &self.engine_password_file else { return Ok(None) };
        match read_named_file(name)?.trim() {
            "" => Err(SettingsError::new(format!("engine_password_file: {name} is empty"))),
            password => Ok(Some(Secret::new(password))),
        }
    }

    /// Why a server with Redis may not start with these settings.
    pub(super) fn engine_problems(&self) -> Vec<String> {
        if self.engine == EngineSetting::Embedded {
            return Vec::new();
        }
        let mut problems = Vec::new();
        if self.engine_url.is_empty() {
            problems.push("engine: redis needs engine_url, the address of Redis".into());
        }
        if self.engine_password_file.is_some() && self.engine_url.iter().any(EngineUrl::has_password) {
            problems
                .push("engine_password_file: engine_url contains a password too; give one of the two".into());
        }
        let (beat, dead) = (self.engine_beat_ms, self.engine_dead_ms);
        if dead < 3 * beat {
            problems.push(format!("engine_dead_ms: {dead} is less than three times engine_beat_ms ({beat})"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> EngineUrl {
        text.parse().unwrap()
    }

    fn read<T>(kind: Kind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    fn with_redis(addresses: &[&str]) -> Settings {
        let engine_url = addresses.iter().map(|text| url(text)).collect();
        Settings { engine: EngineSetting::Redis, engine_url, ..Settings::default() }
    }

    #[test]
    fn addresses_are_those_that_the_server_can_connect_to() {
        for text in
            ["redis://localhost", "redis://[::1]:6380/2", "redis+unix:///run/redis.sock?db=1", "REDIS://h"]
        {
            assert_eq!(url(text).to_string(), text);
        }
        for (text, reason) in [
            ("rediss://h:6379", "rediss:// is not supported"),
            ("redis+sentinel://h/main", "redis+sentinel:// is not supported"),
            ("127.0.0.1:6379", "must have the form redis://"),
            ("http://h", "must have the form redis://"),
            ("redis://h/x", "malformed"),
            ("redis://0.0.0.0:6379", "malformed"),
        ] {
            let refused = text.parse::<EngineUrl>().unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        let both = [url("redis://a"), url("redis://b:1")];
        assert_eq!(read(ENGINE_URLS, "redis://a, redis://b:1"), Ok(both.to_vec()));
        assert_eq!(read(ENGINE_URLS, ""), Ok(Vec::new()));
    }

    #[test]
    fn a_password_in_an_address_is_never_printed() {
        for (text, shown) in [
            ("redis://:hush@h:6379", "redis://:********@h:6379"),
            ("redis://ann:hu%40sh@h/1", "redis://ann:********@h/1"),
            ("redis+unix:///r.sock?db=1&pass=hush", "redis+unix:///r.sock?db=1&pass=********"),
        ] {
            let settings = with_redis(&[text]);
            assert_eq!(settings.engine_url[0].to_string(), shown);
            assert_eq!(ENGINE_URLS.for_people(&settings.engine_url), format!("[\"{shown}\"]"));
            assert!(!format!("{settings:?}").contains("sh@"), "{settings:?}");
            assert!(!format!("{:?}", settings.engine_url).contains("hush"));
        }
        for wrong in ["redis://:hush@h:x", "rediss://:hush@h", "//:hush@h"] {
            assert!(!read(ENGINE_URLS, wrong).unwrap_err().contains("hush"), "{wrong}");
        }
    }

    #[test]
    fn redis_needs_an_address_one_password_and_three_beats() {
        let problems =
            |settings: Settings| settings.validate().err().map_or(Vec::new(), |error| error.problems);
        let none = problems(with_redis(&[]));
        assert_eq!(none, ["engine: redis needs engine_url, the address of Redis"]);
        assert_eq!(problems(with_redis(&["redis://h"])), Vec::<String>::new());
        let file = |text| Settings { engine_password_file: Some("file".into()), ..with_redis(&[text]) };
        assert_eq!(problems(file("redis://ann@h")), Vec::<String>::new());
        let twice = problems(file("redis://:x@h"));
        assert!(
            twice[0].starts_with("engine_password_file: engine_url contains a password too"),
            "{twice:?}"
        );
        let hasty = Settings { engine_dead_ms: 2_999, ..with_redis(&["redis://h"]) };
        assert_eq!(
            problems(hasty.clone()),
            ["engine_dead_ms: 2999 is less than three times engine_beat_ms (1000)"]
        );
        assert_eq!(problems(Settings { engine: EngineSetting::Embedded, ..hasty }), Vec::<String>::new());
    }

    #[test]
    fn engines_prefixes_and_names_have_their_form() {
        assert_eq!(read(ENGINE, "Redis"), Ok(EngineSetting::Redis));
        assert!(read(ENGINE, "valkey").unwrap_err().contains("embedded, redis"));
        assert_eq!(read(ENGINE_PREFIX, " app:cs: "), Ok("app:cs:".into()));
        for wrong in ["", "a b", "{a}", "é", &"x".repeat(65)] {
            assert!(read(ENGINE_PREFIX, wrong).is_err(), "{wrong}");
        }
        assert_eq!(read(NODE_NAME, "node é 1"), Ok(Some("node é 1".into())));
        assert_eq!(read(NODE_NAME, ""), Ok(None));
        assert!(read(NODE_NAME, "a\nb").is_err() && read(NODE_NAME, &"é".repeat(65)).is_err());
        let named = Settings { node_name: Some("n".into()), ..Settings::default() };
        assert!(named.node_name() == "n" && !Settings::default().node_name().is_empty());
    }

    #[test]
    fn the_password_is_the_text_of_its_file() {
        let folder = std::env::temp_dir().join(format!("channelstream-password-{}", std::process::id()));
        let name = folder.display().to_string();
        let settings = Settings { engine_password_file: Some(name.clone()), ..Settings::default() };
        std::fs::write(&folder, " hush\n").unwrap();
        assert_eq!(settings.engine_password(), Ok(Some(Secret::new("hush"))));
        std::fs::write(&folder, "\n").unwrap();
        assert!(settings.engine_password().unwrap_err().problems[0].contains("is empty"));
        std::fs::remove_file(&folder).unwrap();
        assert!(settings.engine_password().unwrap_err().problems[0].starts_with(&name));
        assert_eq!(Settings::default().engine_password(), Ok(None));
    }
}
