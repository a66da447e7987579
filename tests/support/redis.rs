//! A Redis of its own for a test, without a port and without files that stay.

use channelstream::config::{EngineSetting, Settings};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A busy machine needs seconds to start a process.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server. Dropping it kills the process and removes its folder.
pub struct Redis {
    process: Child,
    folder: PathBuf,
}

impl Redis {
    /// Starts a server with further arguments, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        let name = uuid::Uuid::new_v4().as_simple().to_string();
        let folder = std::env::temp_dir().join(format!("channelstream-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let process = Self::spawn(&folder, arguments);
        Self { process, folder }
    }

    fn spawn(folder: &Path, arguments: &[&str]) -> Child {
        let socket = folder.join("socket");
        // A server that was killed leaves its socket.
        let _ = std::fs::remove_file(&socket);
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
            .arg(folder)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed (tests/run installs it)");
        let until = Instant::now() + START_LIMIT;
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "Redis does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        process
    }

    /// Its address for `engine_url`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}/socket", self.folder.display())
    }

    /// Settings of a node on this Redis.
    pub fn settings(&self, given: Settings) -> Settings {
        let url = self.url().parse().expect("the address is valid");
        Settings { engine: EngineSetting::Redis, engine_url: vec![url], ..given }
    }

    /// Runs a command whose reply is a number.
    pub fn number(&self, command: &str) -> i64 {
        let mut socket = UnixStream::connect(self.folder.join("socket")).expect("it listens");
        socket.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let mut reply = String::new();
        BufReader::new(socket).read_line(&mut reply).expect("it replies");
        let number = reply.strip_prefix(':').and_then(|number| number.trim().parse().ok());
        number.unwrap_or_else(|| panic!("{command}: {reply}"))
    }

    /// Kills the process, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("our child");
    }

    /// Starts it again, with the files that it left, and waits until it listens.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.process = Self::spawn(&self.folder, arguments);
    }

    /// Sends a signal, as `-STOP`.
    pub fn signal(&self, name: &str) {
        super::process::signal(&self.process, name);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
