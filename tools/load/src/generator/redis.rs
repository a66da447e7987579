//! A Redis of its own for a measurement, which keeps nothing when it ends.

use super::failure;
use super::server::on_cores;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The program, which Valkey installs under this name as well.
const PROGRAM: &str = "redis-server";
/// The longest wait for its start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis. A drop kills it.
pub struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    /// Starts it on a free port of 127.0.0.1, on these cores.
    pub fn start(cores: &[usize]) -> io::Result<Self> {
        // The port is free again when the listener is dropped.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(PROGRAM);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = on_cores(cores, || command.spawn()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => failure(format!(
                "{PROGRAM} is not on the PATH: this case needs Redis 7.0 or Valkey 7.2, or later"
            )),
            _ => error,
        })?;
        let mut redis = Self { child, address };
        redis.wait_until_ready()?;
        Ok(redis)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while self.info("server").is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(failure(format!("{PROGRAM} ended: {status}")));
            }
            if begin.elapsed() > PATIENCE {
                return Err(failure(format!("{PROGRAM} does not listen")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its address for `engine_url`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Name and version.
    pub fn version(&self) -> io::Result<String> {
        let info = self.info("server")?;
        let valkey = field(&info, "valkey_version").map(|version| format!("Valkey {version}"));
        let redis = || field(&info, "redis_version").map(|version| format!("Redis {version}"));
        valkey.or_else(redis).ok_or_else(|| failure("the server does not state its version"))
    }

    /// The bytes that it has allocated.
    pub fn used_memory(&self) -> io::Result<u64> {
        let info = self.info("memory")?;
        let bytes = field(&info, "used_memory").and_then(|bytes| bytes.parse().ok());
        bytes.ok_or_else(|| failure("the server does not state its memory"))
    }

    /// A section of INFO.
    fn info(&self, section: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("INFO {section}\r\n").as_bytes())?;
        let (mut reader, mut head) = (BufReader::new(stream), String::new());
        reader.read_line(&mut head)?;
        let length = head.trim().strip_prefix('$').and_then(|length| length.parse::<u64>().ok());
        let length = length.ok_or_else(|| failure(format!("INFO answered {head}")))?;
        let mut info = String::new();
        reader.take(length).read_to_string(&mut info)?;
        Ok(info)
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
