//! A Redis of its own for a test, on a unix socket or on a port of this machine, without files that stay.

use super::certificates::{Authority, Identity};
use channelstream::config::{EngineSetting, Settings};
use redis::FromRedisValue;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A busy machine needs seconds to start a process.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Ports that the system does not choose for connections.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A running server. Dropping it kills the process and removes its folder.
pub struct Redis {
    process: Child,
    folder: PathBuf,
    /// 0 for a server without a port.
    port: u16,
}

impl Redis {
    /// Starts a server with further arguments, and waits until it listens on its unix socket.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = new_folder();
        let process = spawn(&folder, arguments).expect("Redis starts");
        Self { process, folder, port: 0 }
    }

    /// Starts a server that also listens on a port.
    pub fn on_port(arguments: &[&str]) -> Self {
        Self::on_port_of("--port", arguments)
    }

    /// Starts a server whose port is for TLS. It requires certificates of the authority from its clients, if `checks_clients`.
    pub fn with_tls(identity: &Identity, authority: &Authority, checks_clients: bool) -> Self {
        let (ca, clients) = (authority.file(), if checks_clients { "yes" } else { "no" });
        let arguments = [
            ["--tls-cert-file", &identity.cert],
            ["--tls-key-file", &identity.key],
            ["--tls-ca-cert-file", &ca],
            ["--tls-auth-clients", clients],
        ];
        Self::on_port_of("--tls-port", arguments.as_flattened())
    }

    fn on_port_of(option: &str, arguments: &[&str]) -> Self {
        loop {
            let port = free_port();
            let (folder, text) = (new_folder(), port.to_string());
            let all = [arguments, &["--bind", "127.0.0.1", option, &text]].concat();
            // Another test may have taken the port.
            if let Some(process) = spawn(&folder, &all) {
                return Self { process, folder, port };
            }
            let _ = std::fs::remove_dir_all(&folder);
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Its address for `engine_url`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Settings of a node on this Redis.
    pub fn settings(&self, given: Settings) -> Settings {
        at(&[&self.url()], given)
    }

    /// Runs a command on a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        ask(&self.url(), parts)
    }

    /// Makes it a replica of the server at a port, and waits until it has its data.
    pub fn follow(&self, port: u16) {
        let () = self.ask(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        wait_until("the replica has the data", || {
            self.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }

    /// Kills the process, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("our child");
    }

    /// Starts it again, with the files that it left, and waits until it listens.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.process = spawn(&self.folder, arguments).expect("Redis starts");
    }

    /// Sends a signal, as `-STOP`.
    pub fn signal(&self, name: &str) {
        super::process::signal(&self.process, name);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        end(&mut self.process, &self.folder);
    }
}

fn end(process: &mut Child, folder: &Path) {
    let _ = process.kill();
    let _ = process.wait();
    let _ = std::fs::remove_dir_all(folder);
}

fn spawn(folder: &Path, arguments: &[&str]) -> Option<Child> {
    let socket = folder.join("socket");
    // A server that was killed leaves its socket.
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
        .arg(folder)
        .args(arguments);
    command.args(["--repl-diskless-sync-delay", "0"]);
    run(command, || UnixStream::connect(&socket).is_ok())
}

/// Starts a process and waits until it is ready. `None` if it ends.
fn run(mut command: Command, is_ready: impl Fn() -> bool) -> Option<Child> {
    let process = command.stdout(Stdio::null()).spawn();
    let mut process = process.expect("redis-server must be installed (tests/run installs it)");
    let until = Instant::now() + START_LIMIT;
    while !is_ready() {
        if process.try_wait().expect("our child").is_some() {
            return None;
        }
        assert!(Instant::now() < until, "Redis does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(process)
}

fn new_folder() -> PathBuf {
    let name = uuid::Uuid::new_v4().as_simple().to_string();
    let folder = std::env::temp_dir().join(format!("channelstream-{name}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Settings of a node with these addresses.
pub fn at(urls: &[&str], given: Settings) -> Settings {
    let engine_url = urls.iter().map(|url| url.parse().expect("the address is valid")).collect();
    Settings { engine: EngineSetting::Redis, engine_url, ..given }
}

fn ask<T: FromRedisValue>(url: &str, parts: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    parts.iter().for_each(|part| _ = command.arg(*part));
    let mut connection =
        redis::Client::open(url).and_then(|client| client.get_connection()).expect("it runs");
    command.query(&mut connection).expect("the command is correct")
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + START_LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running Sentinel. Dropping it kills the process and removes its folder.
pub struct Sentinel {
    process: Child,
    folder: PathBuf,
    port: u16,
    scheme: &'static str,
}

impl Sentinel {
    /// The name of the master.
    pub const MASTER: &str = "main";

    /// Starts Sentinels for the master at a port, and waits until they know each other and its replicas. Two of them must
    /// agree that the master is gone.
    pub fn start(count: usize, master: u16, replicas: usize) -> Vec<Self> {
        let sentinels: Vec<_> = (0..count).map(|_| Self::start_one(master, 2.min(count), "")).collect();
        let knows_all = |sentinel: &Self| {
            let fields = sentinel.master();
            let [others, found] =
                ["num-other-sentinels", "num-slaves"].map(|name| fields[name].parse::<usize>());
            (others, found) == (Ok(count - 1), Ok(replicas))
        };
        wait_until("the Sentinels know each other", || sentinels.iter().all(knows_all));
        sentinels
    }

    /// Starts one with further lines in its file.
    pub fn start_one(master: u16, quorum: usize, lines: &str) -> Self {
        Self::start_at("port", master, quorum, lines)
    }

    /// Starts one that is reached over TLS, as its master.
    pub fn with_tls(master: u16, identity: &Identity, authority: &Authority) -> Self {
        let lines = format!(
            "port 0\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\ntls-replication yes",
            identity.cert,
            identity.key,
            authority.file()
        );
        Self::start_at("tls-port", master, 1, &lines)
    }

    fn start_at(option: &'static str, master: u16, quorum: usize, lines: &str) -> Self {
        let scheme = if option == "port" { "redis+sentinel" } else { "rediss+sentinel" };
        loop {
            let (port, folder, name) = (free_port(), new_folder(), Self::MASTER);
            let file = folder.join("sentinel.conf");
            let text = format!(
                "{option} {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n{lines}",
                folder.display()
            );
            std::fs::write(&file, text).expect("the folder exists");
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel");
            let is_ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            if let Some(process) = run(command, is_ready) {
                return Self { process, folder, port, scheme };
            }
            let _ = std::fs::remove_dir_all(&folder);
        }
    }

    /// Its address for `engine_url`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/{}", self.scheme, self.port, Self::MASTER)
    }

    /// What it knows of the master.
    pub fn master(&self) -> std::collections::HashMap<String, String> {
        self.ask(&["SENTINEL", "MASTER", Self::MASTER])
    }

    /// Runs a command on a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        ask(&format!("redis://127.0.0.1:{}", self.port), parts)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        end(&mut self.process, &self.folder);
    }
}
