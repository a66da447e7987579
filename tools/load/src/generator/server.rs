//! A server in its own process.

use super::failure;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The secret of the servers. It is not the well-known one, which servers accept from their own machine only.
pub const SECRET: &str = "of-the-load-generator";
/// The secret that signs tokens, where a server accepts them.
pub const TOKEN_SECRET: &str = "for-tokens-of-the-load-generator";

/// A running server. A drop kills it.
pub struct Server {
    child: Child,
    /// The address of its listener.
    pub address: SocketAddr,
}

impl Server {
    /// Starts channelstream with one worker, on a port of the system's choice, and with these settings.
    pub fn channelstream(program: &str, settings: &[&str], core: Option<usize>) -> io::Result<Self> {
        Self::with_workers(program, settings, 1, core.as_slice())
    }

    /// The same with several workers, on these cores, or on any if the list is empty.
    pub fn with_workers(
        program: &str,
        settings: &[&str],
        workers: usize,
        cores: &[usize],
    ) -> io::Result<Self> {
        Self::start(channelstream(program, settings, workers), cores)
    }

    /// Starts channelstream with one worker, with this text of a settings file and these settings.
    pub fn with_file(program: &str, file: &str, settings: &[&str], core: Option<usize>) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("channelstream-load-{}.toml", std::process::id()));
        fs::write(&path, file)?;
        let mut command = channelstream(program, settings, 1);
        command.arg("--config").arg(&path);
        let started = Self::start(command, core.as_slice());
        // The server has read it.
        fs::remove_file(&path)?;
        started
    }

    /// Starts this program with one argument.
    pub fn own(argument: &str, core: Option<usize>) -> io::Result<Self> {
        let mut command = command(&std::env::current_exe()?);
        command.arg(argument);
        Self::start(command, core.as_slice())
    }

    fn start(mut command: Command, cores: &[usize]) -> io::Result<Self> {
        let mut child = on_cores(cores, || command.stderr(Stdio::piped()).spawn())?;
        let log = child.stderr.take().ok_or_else(|| failure("the server has no log"))?;
        let mut lines = BufReader::new(log).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| address(&line));
        // Reads the log to its end, because a full pipe would block the server.
        std::thread::spawn(move || {
            let is_problem = |line: &String| !line.contains(" INFO ");
            lines.map_while(Result::ok).filter(is_problem).for_each(|line| eprintln!("{line}"));
        });
        let Some(address) = address else {
            child.kill()?;
            child.wait()?;
            return Err(failure("the server did not start"));
        };
        Ok(Self { child, address })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn channelstream(program: &str, settings: &[&str], workers: usize) -> Command {
    let mut command = command(Path::new(program));
    let workers = workers.to_string();
    command.args(["--host", "127.0.0.1", "--port", "0", "--workers", &workers, "--demo=off"]);
    command.args(["--set", &format!("secrets={SECRET}")]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// The environment of this process must not change the measurement.
fn command(program: &Path) -> Command {
    let mut command = Command::new(AsRef::<OsStr>::as_ref(program));
    command.env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split('/').next()?.parse().ok()
}

/// Pins this thread to a core.
pub fn pin(core: usize) -> io::Result<()> {
    pin_to(&[core])
}

fn pin_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Calls a function while this thread is pinned to some cores, which a child inherits.
pub(super) fn on_cores<T>(cores: &[usize], call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if cores.is_empty() {
        return call();
    }
    let before = sched_getaffinity(Pid::from_raw(0))?;
    if let Err(error) = pin_to(cores) {
        // A container may have other cores.
        eprintln!("the server runs on any core, not on {cores:?}: {error}");
        return call();
    }
    let result = call();
    sched_setaffinity(Pid::from_raw(0), &before)?;
    result
}
