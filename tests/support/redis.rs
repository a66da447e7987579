//! A Redis of its own for a test, without a port and without files that stay.

use std::path::PathBuf;
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
    /// Starts a server with further arguments, and waits until it listens. `name` is unique among the tests.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("channelstream-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
            .arg(&folder)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed (tests/run installs it)");
        let server = Self { process, folder };
        let until = Instant::now() + START_LIMIT;
        while std::os::unix::net::UnixStream::connect(server.folder.join("socket")).is_err() {
            assert!(Instant::now() < until, "Redis does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Its address for `engine_url`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}/socket", self.folder.display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
