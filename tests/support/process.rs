//! The server as a process of its own: what signals, limits and a panic do shows only there.

use super::within;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running server. Dropped, it is killed.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    log: Log,
}

/// The lines of its log, each with the time when it was read.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Log {
    /// When a line with this text was first read.
    pub fn at(&self, text: &str) -> Option<Instant> {
        let lines = self.0.lock().expect("nobody panics with it");
        lines.iter().find(|(_, line)| line.contains(text)).map(|(at, _)| *at)
    }

    /// All lines, for messages.
    pub fn text(&self) -> String {
        let lines = self.0.lock().expect("nobody panics with it");
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

/// A command that runs the server behind some words of shell.
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

impl Process {
    /// Two workers on a port of the system's choice.
    pub fn start() -> Self {
        Self::run(command("", &["--port", "0", "--set", "workers=2"]))
    }

    /// On a socket that stays open when the process ends, as a service manager hands it over.
    pub fn on(listener: &TcpListener, args: &[&str]) -> Self {
        let setup = "exec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$";
        let mut command = command(setup, args);
        let socket: OwnedFd = listener.try_clone().expect("a second descriptor").into();
        command.stdin(socket);
        Self::run(command)
    }

    pub fn run(mut command: Command) -> Self {
        let mut child = command.spawn().expect("a shell");
        let mut lines =
            BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let log = Log::default();
        let heard = log.clone();
        let note =
            move |line: String| heard.0.lock().expect("nobody panics with it").push((Instant::now(), line));
        let line = lines.find(|line| {
            note(line.clone());
            line.contains("listening on")
        });
        let line = line.unwrap_or_else(|| panic!("it does not say where it listens: {}", log.text()));
        let (_, rest) = line.split_once("http://").expect("an address");
        let address = rest.split('/').next().and_then(|text| text.parse().ok()).expect("an address");
        // Read to the end, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(note));
        Self { child, address, log }
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// The exit code, once there is one; after a signal 128 and its number, as shells say it.
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
