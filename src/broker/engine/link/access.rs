//! Where Redis is: addresses, credentials and certificates, and the Sentinels that know the master.

use super::LinkSettings;
use super::problems::describe;
use crate::config::{EngineUrl, Secret, Settings, SettingsError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates, cmd,
};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long an attempt waits for a server to accept the connection, and for the answer of a Sentinel.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The interval in which a connected node asks the Sentinels for the master.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// How a node reaches Redis.
#[derive(Clone, Debug)]
pub struct Access {
    /// Of Redis, or of Sentinels that know the same master.
    urls: Vec<EngineUrl>,
    /// Beside those in the addresses.
    password: Option<Secret>,
    certificates: TlsCertificates,
}

/// The master, as a Sentinel knows it. The greatest one is the newest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Master {
    /// Grows with each failover.
    config_epoch: u64,
    host: String,
    port: u16,
}

/// What Sentinels have answered.
#[derive(Debug)]
pub struct Election {
    /// Each address with its answer; only of those that were waited for.
    pub answers: Vec<(EngineUrl, Result<Master, String>)>,
    /// Whether more than half of the Sentinels have named a master.
    has_majority: bool,
}

/// The server of an attempt.
pub struct Candidate {
    pub server: ConnectionInfo,
    /// Set if Sentinels have named it.
    pub master: Option<Master>,
}

impl Access {
    /// # Errors
    /// A file of the settings cannot be read, or does not have what its setting requires.
    pub fn of(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            urls: settings.engine_url.clone(),
            password: settings.engine_password()?,
            certificates: settings.engine_certificates()?,
        })
    }

    /// Addresses of Redis; none if the settings name Sentinels.
    pub fn servers(&self) -> impl Iterator<Item = &EngineUrl> {
        self.urls.iter().filter(|url| url.master().is_none())
    }

    /// The server at an address, with its credentials.
    pub fn server(&self, url: &EngineUrl) -> ConnectionInfo {
        let info = url.server().clone();
        let mut login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        info.set_redis_settings(login).set_tcp_settings(tcp)
    }

    /// The server for an attempt of this number: the master that the Sentinels name, else one of the addresses in turn.
    ///
    /// # Errors
    /// No Sentinel names a master. The text contains no secret.
    pub async fn candidate(&self, attempt: u32) -> Result<Candidate, String> {
        let at = attempt as usize % self.urls.len().max(1);
        let url = self.urls.get(at).ok_or("no address of Redis is set")?;
        if url.master().is_none() {
            return Ok(Candidate { server: self.server(url), master: None });
        }
        let election = self.ask_sentinels(false).await;
        let (server, master) = election.winner().ok_or_else(|| election.problems())?;
        Ok(Candidate { server: self.master_at(server, master), master: Some(master.clone()) })
    }

    /// A master that the Sentinel at an address has named. It has the credentials and the kind of connection of the Sentinel.
    pub fn master_at(&self, sentinel: &EngineUrl, master: &Master) -> ConnectionInfo {
        let (host, port) = (master.host.clone(), master.port);
        let address = match sentinel.uses_tls() {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        self.server(sentinel).set_addr(address)
    }

    /// Asks all Sentinels at the same time. Unless `asks_all`, it waits only until more than half have named a master,
    /// because each that does not answer would delay a node that must connect again.
    pub async fn ask_sentinels(&self, asks_all: bool) -> Election {
        let mut asked: FuturesUnordered<_> =
            self.urls.iter().map(async |url| (url.clone(), self.ask_sentinel(url).await)).collect();
        let mut election = Election { answers: Vec::new(), has_majority: false };
        while let Some(answer) = asked.next().await {
            election.answers.push(answer);
            let named = election.answers.iter().filter(|(_, answer)| answer.is_ok()).count();
            election.has_majority = 2 * named > self.urls.len();
            if election.has_majority && !asks_all {
                break;
            }
        }
        election
    }

    async fn ask_sentinel(&self, url: &EngineUrl) -> Result<Master, String> {
        let (name, _) = url.master().ok_or("it is not the address of a Sentinel")?;
        let with_login = self.server(url);
        // A Sentinel has no databases.
        let login = with_login.redis_settings().clone().set_db(0);
        let with_login = with_login.set_redis_settings(login);
        let answer = timeout(CONNECT_LIMIT, async {
            match self.ask_for_master(with_login.clone(), name).await {
                // Sentinels may have the credentials of Redis or none.
                Err(error) if error.code() == Some("WRONGPASS") => {
                    let login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
                    self.ask_for_master(with_login.set_redis_settings(login), name).await
                }
                answer => answer,
            }
        });
        let fields = answer.await.map_err(|_| "no answer")?.map_err(|error| describe(&error))?;
        Master::read(&fields).ok_or_else(|| "it does not describe the master as Sentinels do".into())
    }

    async fn ask_for_master(
        &self,
        sentinel: ConnectionInfo,
        name: &str,
    ) -> RedisResult<HashMap<String, String>> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connection = self.connect(sentinel, &config).await?;
        cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut connection).await
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// See [`super::problems::describe`].
    pub async fn connect(
        &self,
        server: ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = match server.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(server, self.certificates.clone())?,
            _ => Client::open(server)?,
        };
        let config = config.clone().set_connection_timeout(Some(CONNECT_LIMIT));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Waits until the Sentinels name another master than this one. A Sentinel that is cut off from the others may name a
    /// former one, so that more than half must have answered.
    pub async fn until_moved(settings: Arc<LinkSettings>, master: Master) {
        loop {
            sleep(ASK_INTERVAL).await;
            let election = settings.access.ask_sentinels(false).await;
            let is_other = |(_, newest): (&EngineUrl, &Master)| !newest.is_at(&master);
            if election.has_majority && election.winner().is_some_and(is_other) {
                return;
            }
        }
    }
}

impl Election {
    /// The newest master, with the Sentinel that named it.
    pub fn winner(&self) -> Option<(&EngineUrl, &Master)> {
        let named = self.answers.iter().filter_map(|(url, answer)| Some((url, answer.as_ref().ok()?)));
        named.max_by_key(|(_, master)| *master)
    }

    fn problems(&self) -> String {
        let problem = |(url, answer): &(EngineUrl, Result<Master, String>)| {
            Some(format!("{}: {}", url.server().addr(), answer.as_ref().err()?))
        };
        let mut problems: Vec<_> = self.answers.iter().filter_map(problem).collect();
        // So that the log repeats nothing only because the answers came in another order.
        problems.sort_unstable();
        format!("no Sentinel names the master: {}", problems.join("; "))
    }
}

impl Master {
    /// Reads what a Sentinel answers. `None` if it is malformed.
    fn read(fields: &HashMap<String, String>) -> Option<Self> {
        Some(Self {
            config_epoch: fields.get("config-epoch")?.parse().ok()?,
            host: fields.get("ip")?.clone(),
            port: fields.get("port")?.parse().ok()?,
        })
    }

    fn is_at(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
impl Access {
    /// The way to a server without a password.
    pub fn to(url: &str) -> Self {
        let certificates = TlsCertificates { client_tls: None, root_cert: None };
        Self { urls: vec![url.parse().unwrap()], password: None, certificates }
    }

    pub fn with_password(self, password: &str) -> Self {
        Self { password: Some(Secret::new(password)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(config_epoch: u64, port: u16) -> Master {
        Master { config_epoch, host: "h".into(), port }
    }

    #[test]
    fn the_newest_master_wins() {
        let url: EngineUrl = "redis+sentinel://h/main".parse().unwrap();
        let answers = [Ok(master(3, 1)), Err("no answer".into()), Ok(master(10, 2)), Ok(master(3, 3))];
        let answers = answers.into_iter().map(|answer| (url.clone(), answer)).collect();
        let mut election = Election { answers, has_majority: true };
        assert_eq!(election.winner().unwrap().1, &master(10, 2));
        election.answers.retain(|(_, answer)| answer.is_err());
        assert!(election.winner().is_none());
        assert_eq!(election.problems(), "no Sentinel names the master: h:26379: no answer");
    }

    #[test]
    fn a_password_is_never_printed() {
        let access = Access::to("redis://:hush@h").with_password("hush");
        assert!(!format!("{access:?} {:?}", access.server(&access.urls[0])).contains("hush"));
    }
}
