//! Many users join a channel within a second, beside members that listen: with one report of all changes in each
//! interval, and with an event for each user.

use super::{CHANNEL, FORGETFUL, QUIET};
use crate::SERVER_CORE;
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::handshake::{conn_id, send_connects};
use crate::generator::memory::Idle;
use crate::generator::meter::Meter;
use crate::generator::presence::PresenceLog;
use crate::generator::server::Server;
use crate::generator::socket::PATIENCE;
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

/// All joins are due within this time.
const SPAN: Duration = Duration::from_secs(1);
/// Calls that are sent together.
const BATCH: usize = 100;
/// The interval of diffs, in ms: the default.
const INTERVAL_MS: u64 = 500;
/// Each user that joins with an event for itself costs a delivery to every member, so fewer do.
const EVENTS_SHARE: usize = 10;
/// No client attaches to the connections that join, and the server must not drop them for that.
const PATIENT: &[&str] = &["unattached_timeout=3600000"];

#[derive(Args)]
pub struct Options {
    /// Websockets in the channel
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// Users that join; a tenth of them where each causes an event
    #[arg(long, default_value_t = 10_000)]
    joins: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs with one form of presence.
#[derive(Default)]
struct Line {
    /// The form, as in the settings.
    presence: &'static str,
    joins: usize,
    seconds: Spread,
    frames: Spread,
    per_second: Spread,
    us: Spread,
    x_events: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "users that join a channel with {} websockets: median (min-max) of {} runs",
        options.members, options.runs
    );
    let own = [
        ("presence", 0),
        ("joins", 5),
        ("s of joining", SPREAD),
        ("frames per member", 20),
        ("per s", SPREAD),
        ("µs per join", 26),
        ("x events", 24),
    ];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let forms = [("diffs", options.joins), ("events", options.joins.div_ceil(EVENTS_SHARE))];
    let mut lines = forms.map(|(presence, joins)| Line { presence, joins, ..Line::default() });
    for _ in 0..options.runs {
        let us = [lines[0].measure(options.members)?, lines[1].measure(options.members)?];
        lines.iter_mut().zip(us).for_each(|(line, own)| line.x_events.add(own / us[1]));
    }
    for line in &lines {
        let (frames, us) = (format!("{:.0}", line.frames), format!("{:.1}", line.us));
        let x_events = format!("{:.4}", line.x_events);
        let own = cells![line.presence, line.joins, line.seconds, frames, line.per_second, us, x_events];
        table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    /// Measures one run. Returns the server's CPU for each join, in µs.
    fn measure(&mut self, members: usize) -> io::Result<f64> {
        let server = self.start()?;
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, members)?;
        // Only now, so that the members themselves cause no events.
        let config = format!(r#"{{"{CHANNEL}":{{"notify_presence":true}}}}"#);
        Backend::new(server.address)?.call(&[request("POST", "/channel_config", &config)])?;
        crowd.presence = Some(PresenceLog::new(members));
        crowd.idle(Duration::from_millis(INTERVAL_MS))?;
        let all = members..members + self.joins;

        let idle = Idle::of(server.pid())?;
        let meter = Meter::start(server.pid())?;
        let span = read_while(&mut crowd, self.joins, || join(server.address, all.clone()))?;
        let us = meter.stop()?.server_ns as f64 / 1000.0 / self.joins as f64;
        self.us.add(us);
        self.seconds.add(span.as_secs_f64());
        self.note_frames(&crowd, span);
        self.check(&mut crowd, all.clone())?;

        read_while(&mut crowd, 0, || leave(server.address, all))?;
        self.check(&mut crowd, 0..0)?;
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(crowd.faults());
        Ok(us)
    }

    fn start(&self) -> io::Result<Server> {
        let presence = self.presence;
        let rule = format!(
            "[[channels]]\nmatch = \"{CHANNEL}\"\npresence = \"{presence}\"\npresence_ms = {INTERVAL_MS}\n"
        );
        let settings = [QUIET, FORGETFUL, PATIENT].concat();
        Server::with_file(crate::channelstream()?, &rule, &settings, Some(SERVER_CORE))
    }

    /// Compares the number of a member's frames with what this form of presence may need.
    fn note_frames(&mut self, crowd: &Crowd, span: Duration) {
        let frames = crowd.presence.as_ref().map_or(0, PresenceLog::frames);
        self.frames.add(f64::from(frames));
        self.per_second.add(f64::from(frames) / span.as_secs_f64());
        let is_expected = match self.presence {
            "events" => frames as usize == self.joins,
            // The first join begins an interval, and the last one waits for the end of its own.
            _ => u64::from(frames) <= span.as_millis() as u64 / INTERVAL_MS + 1,
        };
        if !is_expected {
            self.faults.push(format!("{frames} frames per member"));
        }
    }

    /// Checks that the members know these users, each reported once, when nothing is under way any more.
    fn check(&mut self, crowd: &mut Crowd, users: Range<usize>) -> io::Result<()> {
        crowd.idle(Duration::from_millis(INTERVAL_MS / 2))?;
        let names = users.map(|index| format!("u{index}"));
        if let Some(log) = &crowd.presence {
            self.faults.extend(log.faults(names, crowd.size()));
        }
        Ok(())
    }
}

/// Runs a function on a thread of its own, and reads until it has ended and all members know of this many present users,
/// beside themselves. Returns the time that the function took.
fn read_while(
    crowd: &mut Crowd,
    users: usize,
    work: impl FnOnce() -> io::Result<Duration> + Send,
) -> io::Result<Duration> {
    thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut ended = None;
        loop {
            let had_event = crowd.turn(Duration::from_millis(20), &mut [], |_, _| {})?;
            if ended.is_none() && working.is_finished() {
                ended = Some(Instant::now());
            }
            let Some(ended) = ended else { continue };
            if !had_event && crowd.presence.as_ref().is_some_and(|log| log.all_know(users)) {
                break;
            }
            if ended.elapsed() > PATIENCE {
                return Err(failure("members were not informed of all users"));
            }
        }
        working.join().map_err(|_| failure("the calling thread ended early"))?
    })
}

/// Lets users join evenly within [`SPAN`], or as fast as the server takes them. Returns the time that it took.
fn join(server: SocketAddr, indexes: Range<usize>) -> io::Result<Duration> {
    let (mut backend, begin) = (Backend::new(server)?, Instant::now());
    let share = SPAN.div_f64(indexes.len() as f64);
    let mut due = begin;
    for start in indexes.clone().step_by(BATCH) {
        let batch = start..indexes.end.min(start + BATCH);
        due += share * batch.len() as u32;
        send_connects(&mut backend, |_| CHANNEL.to_owned(), batch)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(begin.elapsed())
}

/// Lets these users leave. Returns the time that it took.
fn leave(server: SocketAddr, indexes: Range<usize>) -> io::Result<Duration> {
    let (mut backend, begin) = (Backend::new(server)?, Instant::now());
    let call = |index| request("POST", "/disconnect", &format!(r#"{{"conn_id":"{}"}}"#, conn_id(index)));
    let calls: Vec<_> = indexes.map(call).collect();
    calls.chunks(BATCH).try_for_each(|batch| backend.call(batch).map(drop))?;
    Ok(begin.elapsed())
}
