//! A Redis of its own for a test, on a unix socket in a folder of its own.

use redis::{Connection, FromRedisValue};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;

const START_LIMIT: Duration = Duration::from_secs(20);

pub struct LocalRedis {
    process: Child,
    folder: PathBuf,
    options: &'static [&'static str],
}

impl LocalRedis {
    /// Starts a server that forgets everything when it ends.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server that keeps everything that it has answered.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn with(options: &'static [&'static str]) -> Self {
        let folder = std::env::temp_dir().join(format!("channelstream-redis-{}", Uuid::new_v4().as_simple()));
        std::fs::create_dir(&folder).unwrap();
        Self { process: spawn(&folder, options), folder, options }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Waits until the server listens.
    pub fn connect(&self) -> Connection {
        let client = redis::Client::open(self.url()).unwrap();
        let until = Instant::now() + START_LIMIT;
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < until, "Redis does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a command on a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        parts.iter().for_each(|part| _ = command.arg(*part));
        command.query(&mut self.connect()).unwrap()
    }

    /// Ends the server without notice, and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, self.options);
        drop(self.connect());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // Else a client could find the socket of the dead server.
        let _ = std::fs::remove_file(self.socket());
    }
}

fn spawn(folder: &PathBuf, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
        .arg(folder)
        .args(options)
        .env("LC_ALL", "C")
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server must be installed (tests/run installs it)")
}

impl Drop for LocalRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
