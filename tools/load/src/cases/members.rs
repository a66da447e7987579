//! The cost of calls in a channel of few and of many members. No member listens: other cases measure broadcasts.

use super::{CHANNEL, FORGETFUL, QUIET, channelstream};
use crate::generator::backend::{Backend, request};
use crate::generator::memory::Idle;
use crate::generator::process::{cpu_ns, memory};
use crate::report::{MEMORY, Memories, Spread, Table, cells, verdict};
use clap::Args;
use std::io;

/// Members that are added together.
const BATCH: usize = 100;
/// No client attaches to a connection, and the server must not drop them for that.
const PATIENT: &str = "unattached_timeout=3600000";
const NO_INFO: &str = r#","info":{"include_users":false,"include_history":false}"#;

#[derive(Args)]
pub struct Options {
    /// Members of the channel, each a user of its own, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    members: Vec<usize>,
    /// Calls of each kind, one after the other
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

struct Kind {
    name: &'static str,
    /// Settings of the channel, as JSON.
    settings: &'static str,
    /// Whether each call adds a member.
    joins: bool,
    /// The call of this number, by a member beyond this index or among them.
    call: fn(usize) -> Vec<u8>,
}

const KINDS: [Kind; 6] = [
    Kind { name: "/connect", settings: "{}", joins: true, call: |index| connect(index, NO_INFO) },
    Kind {
        name: "/connect, presence",
        settings: r#"{"notify_presence":true}"#,
        joins: true,
        call: |index| connect(index, NO_INFO),
    },
    Kind {
        name: "/connect, presence with lists of users",
        settings: r#"{"notify_presence":true,"broadcast_presence_with_user_lists":true}"#,
        joins: true,
        call: |index| connect(index, NO_INFO),
    },
    Kind {
        name: "/connect, answer with all users",
        settings: "{}",
        joins: true,
        call: |index| connect(index, ""),
    },
    Kind { name: "/info with all users", settings: "{}", joins: false, call: |_| info() },
    Kind { name: "/user_state, with event", settings: r#"{"notify_state":true}"#, joins: false, call: state },
];

fn conn_id(index: usize) -> String {
    format!("c0ffee00-0000-4000-8000-{index:012x}")
}

fn connect(index: usize, info: &str) -> Vec<u8> {
    let id = conn_id(index);
    let body = format!(r#"{{"username":"u{index}","conn_id":"{id}","channels":["{CHANNEL}"]{info}}}"#);
    request("POST", "/connect", &body)
}

fn disconnect(index: usize) -> Vec<u8> {
    request("POST", "/disconnect", &format!(r#"{{"conn_id":"{}"}}"#, conn_id(index)))
}

fn info() -> Vec<u8> {
    request("POST", "/info", &format!(r#"{{"info":{{"channels":["{CHANNEL}"]}}}}"#))
}

fn state(index: usize) -> Vec<u8> {
    let body = format!(r#"{{"user":"u0","user_state":{{"n":{index}}},"state_public_keys":["n"]}}"#);
    request("POST", "/user_state", &body)
}

/// The results of the runs with this many members.
#[derive(Default)]
struct Line {
    each: [Spread; KINDS.len()],
    grown_kib: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("CPU of the server in µs per call: median (min-max) of {} runs", options.runs);
    let mut own = vec![("members", 0)];
    own.extend(KINDS.iter().map(|kind| (kind.name, 24)));
    own.push(("KiB more after the events with lists", 0));
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut lines: Vec<Line> = options.members.iter().map(|_| Line::default()).collect();
    for _ in 0..options.runs {
        for (members, line) in options.members.iter().zip(&mut lines) {
            line.measure(*members, options.calls)?;
        }
    }
    for (members, line) in options.members.iter().zip(&lines) {
        let mut own = cells![members];
        own.extend(line.each.iter().map(|spread| format!("{spread:.1}")));
        own.push(format!("{:.0}", line.grown_kib));
        table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    fn measure(&mut self, members: usize, calls: usize) -> io::Result<()> {
        let server = channelstream(&[QUIET, FORGETFUL, &[PATIENT]].concat())?;
        let mut backend = Backend::new(server.address)?;
        // The first one allocates what all share, and stays.
        backend.call(&[connect(0, NO_INFO)])?;
        let idle = Idle::of(server.pid())?;
        in_batches(&mut backend, 1..members, |index| connect(index, NO_INFO))?;
        let mut newcomers = members..;
        let mut present = members;
        for (kind, spread) in KINDS.iter().zip(&mut self.each) {
            let config = format!(r#"{{"{CHANNEL}":{}}}"#, kind.settings);
            backend.call(&[request("POST", "/channel_config", &config)])?;
            let requests: Vec<_> = newcomers.by_ref().take(calls + 1).map(kind.call).collect();
            present = if kind.joins { newcomers.start } else { present };
            let before = memory(server.pid())?;
            backend.call(&requests[..1])?;
            let cpu = cpu_ns(server.pid())?;
            for request in &requests[1..] {
                backend.call(std::slice::from_ref(request))?;
            }
            spread.add((cpu_ns(server.pid())? - cpu) as f64 / 1000.0 / calls as f64);
            if kind.settings.contains("user_lists") {
                let after = memory(server.pid())?;
                self.grown_kib.add(after.anonymous.saturating_sub(before.anonymous) as f64 / 1024.0);
            }
        }
        let counted = backend.counter("connections")?;
        if counted != present as u64 {
            self.faults.push(format!("{counted} connections are present, {present} should be"));
        }
        in_batches(&mut backend, 1..present, disconnect)?;
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        Ok(())
    }
}

fn in_batches(
    backend: &mut Backend,
    indexes: std::ops::Range<usize>,
    call: impl Fn(usize) -> Vec<u8>,
) -> io::Result<()> {
    let requests: Vec<_> = indexes.map(call).collect();
    requests.chunks(BATCH).try_for_each(|batch| backend.call(batch).map(drop))
}
