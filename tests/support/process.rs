//! Runs the server as its own process: only there can a test see the effect of signals, limits and a panic.

use super::within;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running server. Dropping it kills the process.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    log: Log,
}

/// The lines of its log, each with the time at which it was read.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Log {
    /// Returns when a line with this text was first read.
    pub fn at(&self, text: &str) -> Option<Instant> {
        let lines = self.0.lock().expect("no thread panics while it holds the lock");
        lines.iter().find(|(_, line)| line.contains(text)).map(|(at, _)| *at)
    }

    /// All lines, for assertion messages.
    pub fn text(&self) -> String {
        let lines = self.0.lock().expect("no thread panics while it holds the lock");
        lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Waits for a line with this text.
    pub async fn wait_for(&self, text: &str) -> Instant {
        within(async {
            loop {
                if let Some(at) = self.at(text) {
                    return at;
                }
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

/// A command that runs the server after some shell commands.
pub fn command(setup: &str, args: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(["-c", &format!("{setup}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_channelstream")])
        .args(["--set", "demo=off"])
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Sends a signal to a process, as `-TERM`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
}

impl Process {
    /// Starts the server with two workers, on a port that the system chooses.
    pub fn start() -> Self {
        Self::run(command("", &["--port", "0", "--set", "workers=2"]))
    }

    /// Starts the server on a socket that stays open when the process ends, as a service manager passes it.
    pub fn on(listener: &TcpListener, args: &[&str]) -> Self {
        let setup = "exec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$";
        let mut command = command(setup, args);
        let socket: OwnedFd = listener.try_clone().expect("a second descriptor").into();
        command.stdin(socket);
        Self::run(command)
    }

    pub fn run(command: Command) -> Self {
        Self::try_run(command).unwrap_or_else(|text| panic!("the log does not name the address: {text}"))
    }

    /// Like `run`, for a server that may fail to start; the error is its log.
    pub fn try_run(mut command: Command) -> Result<Self, String> {
        let mut child = command.spawn().expect("a shell");
        let mut lines =
            BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let log = Log::default();
        let lines_read = log.clone();
        let note = move |line: String| {
            lines_read
                .0
                .lock()
                .expect("no thread panics while it holds the lock")
                .push((Instant::now(), line))
        };
        let line = lines.find(|line| {
            note(line.clone());
            line.contains("listening on")
        });
        let Some(line) = line else {
            let _ = child.wait();
            return Err(log.text());
        };
        let (_, rest) = line.split_once("http://").expect("an address");
        let address = rest.split('/').next().and_then(|text| text.parse().ok()).expect("an address");
        // Read to the end, so that the server never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(note));
        Ok(Self { child, address, log })
    }

    /// Its anonymous resident memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux reports it");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// The exit code, once there is one; after a signal it is 128 plus the signal's number, as in shells.
    pub async fn ended(&mut self) -> Option<i32> {
        within(async {
            loop {
                if let Some(status) = self.child.try_wait().expect("our child") {
                    return status.code().or(status.signal().map(|signal| 128 + signal));
                }
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
