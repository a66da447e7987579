//! The settings of the engine: where the state of channels and users is, and how a node reaches Redis.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::engine_url::EngineUrl;
use super::kind::{Given, Kind, quoted};
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

    /// The certificates for TLS: those of the authorities that may have signed the server's, and this node's own. Without
    /// the former the authorities of the system count.
    ///
    /// # Errors
    /// A file cannot be read, or does not have what its setting requires.
    pub fn engine_certificates(&self) -> Result<TlsCertificates, SettingsError> {
        let root_cert = match &self.engine_ca_file {
            Some(name) => Some(read_authorities(name)?.into_bytes()),
            None => None,
        };
        let client_tls = match (&self.engine_cert_file, &self.engine_key_file) {
            (Some(cert), Some(key)) => Some(read_identity(cert, key)?),
            _ => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
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
        if self.engine_url.iter().any(|url| url.master() != self.engine_url[0].master()) {
            problems.push(
                "engine_url: either no address has the form redis+sentinel://, or all name the same master and database"
                    .into(),
            );
        }
        if self.engine_cert_file.is_some() != self.engine_key_file.is_some() {
            problems.push("engine_cert_file: it needs engine_key_file, and engine_key_file needs it".into());
        }
        let files = [("engine_ca_file", &self.engine_ca_file), ("engine_cert_file", &self.engine_cert_file)];
        if let Some((key, _)) = files.iter().find(|(_, name)| name.is_some())
            && !self.engine_url.iter().any(EngineUrl::uses_tls)
        {
            problems.push(format!("{key}: no address in engine_url begins with rediss, so TLS is not used"));
        }
        let (beat, dead) = (self.engine_beat_ms, self.engine_dead_ms);
        if dead < 3 * beat {
            problems.push(format!("engine_dead_ms: {dead} is less than three times engine_beat_ms ({beat})"));
        }
        problems
    }
}

/// The text of a file with certificates of authorities.
fn read_authorities(name: &str) -> Result<String, SettingsError> {
    let problem = |text: String| SettingsError::new(format!("engine_ca_file: {name} {text}"));
    let text = read_named_file(name)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| store.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| problem(format!("has a malformed certificate: {error}")))?;
    }
    if store.is_empty() { Err(problem("contains no certificate".into())) } else { Ok(text) }
}

/// The certificate of this node with its key.
fn read_identity(cert: &str, key: &str) -> Result<ClientTlsConfig, SettingsError> {
    let (client_cert, client_key) = (read_named_file(cert)?.into_bytes(), read_named_file(key)?.into_bytes());
    let problem =
        |setting, name, text: String| SettingsError::new(format!("{setting}: {name} has no usable {text}"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&client_cert).collect();
    let chain = chain.map_err(|error| problem("engine_cert_file", cert, format!("certificate: {error}")))?;
    if chain.is_empty() {
        return Err(problem("engine_cert_file", cert, "certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&client_key)
        .map_err(|error| problem("engine_key_file", key, format!("private key: {error}")))?;
    // Also reports a key that does not belong to the certificate.
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, private)
        .map_err(|error| problem("engine_key_file", key, format!("key for engine_cert_file: {error}")));
    config.map(|_| ClientTlsConfig { client_cert, client_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: Kind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    fn with_redis(addresses: &[&str]) -> Settings {
        let engine_url = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Settings { engine: EngineSetting::Redis, engine_url, ..Settings::default() }
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
        let with_files = |text, ca: Option<&str>, cert: Option<&str>, key: Option<&str>| {
            let [ca, cert, key] = [ca, cert, key].map(|name| name.map(str::to_owned));
            problems(Settings {
                engine_ca_file: ca,
                engine_cert_file: cert,
                engine_key_file: key,
                ..with_redis(&[text])
            })
        };
        assert!(with_files("rediss://h", Some("ca"), Some("cert"), Some("key")).is_empty());
        assert!(with_files("rediss://h", None, Some("cert"), None)[0].starts_with("engine_cert_file: "));
        assert!(with_files("rediss://h", None, None, Some("key"))[0].starts_with("engine_cert_file: "));
        assert!(with_files("redis://h", Some("ca"), None, None)[0].starts_with("engine_ca_file: no address"));
        let sentinels = ["redis+sentinel://a/main/1", "redis+sentinel://b/main/1"];
        assert!(problems(with_redis(&sentinels)).is_empty());
        for other in ["redis://b", "redis+sentinel://b/other/1", "redis+sentinel://b/main"] {
            let mixed = problems(with_redis(&[sentinels[0], other]));
            assert!(mixed[0].starts_with("engine_url: either no address"), "{mixed:?}");
        }
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
