//! What a server states about itself in its answer to `INFO`, and whether a node can use it. Pure.

use std::collections::HashMap;

/// The fields of an answer.
#[derive(Debug)]
pub struct ServerInfo(HashMap<String, String>);

impl ServerInfo {
    pub fn read(answer: &str) -> Self {
        let pairs = answer.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field. Empty if the server does not state it.
    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    /// The name of the server with its version.
    pub fn version(&self) -> String {
        let (name, version, _) = self.versions();
        format!("{name} {version}")
    }

    /// Why a node cannot use the server.
    pub fn problem(&self) -> Option<String> {
        let (name, version, (major, minor)) = self.versions();
        if version.is_empty() {
            return Some("it does not state its version".into());
        }
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor) {
            return Some(format!("{name} {version} is too old; {major}.{minor} or newer is required"));
        }
        let is_divided = ["redis_mode", "server_mode"].map(|field| self.get(field)).contains(&"cluster");
        is_divided.then(|| "it is a Redis Cluster, which is not supported".into())
    }

    /// Name, version, and the least version that a node can use.
    fn versions(&self) -> (&'static str, &str, (u32, u32)) {
        match self.get("valkey_version") {
            "" => ("Redis", self.get("redis_version"), (7, 0)),
            version => ("Valkey", version, (7, 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> ServerInfo {
        ServerInfo::read(&["# Server", &lines.join("\r\n"), ""].join("\r\n"))
    }

    #[test]
    fn a_server_is_usable_if_it_is_new_enough_and_not_divided() {
        let problems = [
            (&["redis_version:7.0.15", "redis_mode:standalone"][..], None),
            (&["redis_version:7.2.4", "valkey_version:8.0.1", "server_mode:standalone"], None),
            (&["redis_version:6.2.14"], Some("Redis 6.2.14 is too old; 7.0 or newer is required")),
            (&["valkey_version:7.1.9"], Some("Valkey 7.1.9 is too old; 7.2 or newer is required")),
            (&["role:master"], Some("it does not state its version")),
            (
                &["redis_version:7.0.15", "redis_mode:cluster"],
                Some("it is a Redis Cluster, which is not supported"),
            ),
            (
                &["valkey_version:8.1.0", "server_mode:cluster"],
                Some("it is a Redis Cluster, which is not supported"),
            ),
        ];
        for (lines, problem) in problems {
            assert_eq!(info(lines).problem().as_deref(), problem, "{lines:?}");
        }
        assert_eq!(info(&["redis_version:7.2.4", "valkey_version:8.0.1"]).version(), "Valkey 8.0.1");
    }
}
