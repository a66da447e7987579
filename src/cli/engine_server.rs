//! What `check-config` reports about one server.

use std::collections::HashMap;
use std::time::Duration;

use bytesize::ByteSize;
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisError, RedisResult, cmd};
use tokio::time::timeout;

use super::report::Report;
use crate::broker::engine::link::access::Access;
use crate::broker::engine::link::problems::tls_problem;
use crate::broker::engine::link::server_info::ServerInfo;
use crate::config::SettingsError;

/// Bytes of published messages that may wait for a node, as recommended: the hard and the soft limit.
const RECOMMENDED_BUFFER: (u64, u64) = (256 << 20, 64 << 20);

/// One server, as it describes itself.
pub(super) struct ServerState {
    /// The fields of `INFO`.
    info: ServerInfo,
    /// The answer to `CONFIG GET`; none where the server does not permit it.
    config: Option<HashMap<String, String>>,
}

/// Why a server has no state.
pub(super) enum AskError {
    /// There is no connection, which may change.
    Unreachable(String),
    Refused(String),
}

pub(super) fn problem(name: &str, reason: &str) -> SettingsError {
    SettingsError::new(format!("engine_url: {name}: {reason}"))
}

impl ServerState {
    pub async fn ask(access: &Access, server: ConnectionInfo, limit: Duration) -> Result<Self, AskError> {
        let failed = |error: RedisError| match tls_problem(&error) {
            Some(reason) => AskError::Refused(reason),
            None if error.is_io_error() || error.is_connection_dropped() => {
                AskError::Unreachable(format!("cannot be reached: {error}"))
            }
            None => AskError::Refused(format!("the server refuses the node: {error}")),
        };
        let asked = timeout(limit, async {
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let mut connection = access.connect(server, &config).await?;
            let info: String = cmd("INFO").query_async(&mut connection).await?;
            let mut keys = cmd("CONFIG");
            keys.arg("GET").arg("save").arg("client-output-buffer-limit");
            let config: RedisResult<HashMap<String, String>> = keys.query_async(&mut connection).await;
            Ok(Self { info: ServerInfo::read(&info), config: config.ok() })
        });
        let no_answer = || AskError::Unreachable(format!("no answer within {} ms", limit.as_millis()));
        asked.await.map_err(|_| no_answer())?.map_err(failed)
    }

    pub fn is_master(&self) -> bool {
        self.info.get("role") == "master"
    }

    /// Whether the server writes its data to a disk; none where it is not known.
    fn is_persistent(&self) -> Option<bool> {
        let has_log = self.info.get("aof_enabled") == "1";
        let has_snapshots =
            self.config.as_ref().map(|config| !config.get("save").is_none_or(String::is_empty));
        if has_log { Some(true) } else { has_snapshots }
    }

    /// The hard and the soft limit of published messages that wait for a node, in bytes; 0 means none.
    fn output_buffer(&self) -> Option<(u64, u64)> {
        let limits = self.config.as_ref()?.get("client-output-buffer-limit")?;
        let mut words = limits.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    }

    pub fn add_to(&self, mut report: Report, name: &str, wait_replicas: usize) -> Report {
        report.out.push_str(&format!("# {name}: {}\n", self.described()));
        if let Some(reason) = self.info.problem() {
            return report.with_errors(&problem(name, &reason));
        }
        let name = |text: String| format!("engine_url: {name}: {text}");
        let warnings = [self.eviction(), self.missing_replicas(wait_replicas)];
        let warnings: Vec<_> = warnings.into_iter().flatten().map(name).collect();
        let notes = [self.lost_at_restart(), self.small_buffer(), self.unknown()];
        let notes: Vec<_> = notes.into_iter().flatten().map(name).collect();
        report.with_warnings(&warnings).with_notes(&notes)
    }

    fn described(&self) -> String {
        let version = self.info.version();
        let persistence = match (self.info.get("aof_enabled"), self.is_persistent()) {
            ("1", _) => "append-only file",
            (_, Some(true)) => "snapshots",
            (_, Some(false)) => "nothing on disk",
            (_, None) => "no append-only file",
        };
        let role = if self.is_master() { "master" } else { "replica" };
        let policy = self.info.get("maxmemory_policy");
        let buffer = self.output_buffer().map(|(hard, soft)| {
            format!(", pub/sub output buffer {} hard, {} soft", limit(hard), limit(soft))
        });
        format!("{version}, {role}, maxmemory-policy {policy}, {persistence}{}", buffer.unwrap_or_default())
    }

    fn eviction(&self) -> Option<String> {
        let policy = self.info.get("maxmemory_policy");
        (policy != "noeviction").then(|| {
            format!("maxmemory-policy is {policy}, so Redis may delete channels and users when it is full; set noeviction")
        })
    }

    fn missing_replicas(&self, required: usize) -> Option<String> {
        let found: usize = self.info.get("connected_slaves").parse().unwrap_or(0);
        (self.is_master() && found < required).then(|| {
            format!(
                "it has {found} replicas and engine_wait_replicas is {required}, so all messages are answered 503"
            )
        })
    }

    fn lost_at_restart(&self) -> Option<String> {
        (self.is_persistent() == Some(false)).then(|| {
            "neither appendonly nor save is on, so a restart of Redis loses all histories and states".into()
        })
    }

    fn small_buffer(&self) -> Option<String> {
        let (hard, soft) = self.output_buffer()?;
        let (least_hard, least_soft) = RECOMMENDED_BUFFER;
        let is_less = |bytes, least| bytes != 0 && bytes < least;
        (is_less(hard, least_hard) || is_less(soft, least_soft)).then(|| {
            "client-output-buffer-limit for pubsub is low, so Redis may cut off a node at a burst of messages; \
             \"pubsub 256mb 64mb 60\" is recommended"
                .into()
        })
    }

    fn unknown(&self) -> Option<String> {
        let text =
            "the server does not permit CONFIG GET, so save and client-output-buffer-limit are not checked";
        self.config.is_none().then(|| text.into())
    }
}

fn limit(bytes: u64) -> String {
    if bytes == 0 { "none".into() } else { ByteSize(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n\
        aof_enabled:1\r\nredis_mode:standalone\r\n";
    const LARGE: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 268435456 67108864 60";

    fn state(info: &str, config: Option<[&str; 2]>) -> ServerState {
        let config = config.map(|[save, limits]| {
            let pairs = [("save", save), ("client-output-buffer-limit", limits)];
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        });
        ServerState { info: ServerInfo::read(info), config }
    }

    fn report(state: &ServerState) -> Report {
        state.add_to(Report::default(), "redis://:********@h", 0)
    }

    #[test]
    fn a_good_server_causes_one_line() {
        let report = report(&state(GOOD, Some(["", LARGE])));
        assert_eq!(
            report.out,
            "# redis://:********@h: Redis 7.0.15, master, maxmemory-policy noeviction, append-only file, pub/sub \
             output buffer 256.0 MiB hard, 64.0 MiB soft\n"
        );
        assert!(report.notes.is_empty() && report.exit_code == 0, "{report:?}");
    }

    #[test]
    fn what_may_lose_data_is_reported() {
        let evicting = GOOD.replace("noeviction", "allkeys-lru").replace("aof_enabled:1", "aof_enabled:0");
        let small = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let notes = report(&state(&evicting, Some(["", small]))).notes;
        let start = "engine_url: redis://:********@h: ";
        assert!(
            notes[0].starts_with(&format!("warning: {start}maxmemory-policy is allkeys-lru")),
            "{notes:?}"
        );
        assert!(notes[1].starts_with(&format!("note: {start}neither appendonly nor save")), "{notes:?}");
        assert!(notes[2].starts_with(&format!("note: {start}client-output-buffer-limit")), "{notes:?}");
        assert!(notes.len() == 3 && !format!("{notes:?}").contains("hush"), "{notes:?}");
        let snapshots =
            report(&state(&GOOD.replace("aof_enabled:1", "aof_enabled:0"), Some(["3600 1", LARGE])));
        assert!(snapshots.notes.is_empty() && snapshots.out.contains("snapshots"), "{snapshots:?}");
        let unlimited = report(&state(GOOD, Some(["", "pubsub 0 0 0"])));
        assert!(unlimited.notes.is_empty() && unlimited.out.contains("none hard"), "{unlimited:?}");
    }

    #[test]
    fn too_few_replicas_are_reported() {
        let checked = |replicas: &str, required| {
            state(&format!("{GOOD}connected_slaves:{replicas}\r\n"), Some(["", LARGE]))
                .add_to(Report::default(), "redis://h", required)
                .notes
        };
        assert!(checked("1", 2)[0].contains("has 1 replicas and engine_wait_replicas is 2"));
        assert!(checked("2", 2).is_empty() && checked("0", 0).is_empty());
    }

    #[test]
    fn a_server_without_config_is_checked_as_far_as_possible() {
        let notes = report(&state(&GOOD.replace("aof_enabled:1", "aof_enabled:0"), None)).notes;
        assert!(notes.len() == 1 && notes[0].contains("does not permit CONFIG GET"), "{notes:?}");
    }

    #[test]
    fn old_servers_and_clusters_are_refused() {
        let refused = |info: String| {
            let report = report(&state(&info, None));
            (report.exit_code, report.notes.concat())
        };
        for (info, reason) in [
            (GOOD.replace("7.0.15", "6.2.14"), "Redis 6.2.14 is too old; 7.0 or newer is required"),
            (GOOD.replace("# Server", "valkey_version:7.1.9"), "Valkey 7.1.9 is too old; 7.2 or newer"),
            (GOOD.replace("7.0.15", ""), "it does not state its version"),
            (GOOD.replace("standalone", "cluster"), "Redis Cluster, which is not supported"),
        ] {
            let (code, text) = refused(info);
            assert!(code == SettingsError::EXIT_CODE && text.contains(reason), "{text}");
        }
        let newer = state(&GOOD.replace("# Server", "valkey_version:8.1.0"), Some(["", LARGE]));
        assert!(newer.info.problem().is_none() && newer.described().starts_with("Valkey 8.1.0, master"));
    }
}
