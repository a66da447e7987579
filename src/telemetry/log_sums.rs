//! Log lines that clients cause. At most ten lines per second are logged for each cause; further ones are added up and
//! logged as a sum, so that clients do not determine the size of the log.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;

/// Maximum number of lines for one cause in a window; further ones are summed.
const LINES: u32 = 10;
/// The length of a window.
const WINDOW: Duration = Duration::from_secs(1);
/// Maximum number of addresses counted for one sum.
const ADDRESSES: usize = 16;
/// Maximum number of characters of a client's text in a line.
const MAX_CHARS: usize = 120;

/// A log event that clients can cause at any rate.
#[derive(Debug)]
pub struct Cause {
    /// The counted events, as a plural.
    name: &'static str,
    target: &'static str,
    level: Level,
    state: Mutex<CauseState>,
}

/// Signatures that are wrong, too old or already used.
pub static REFUSED_SIGNATURES: Cause =
    Cause::new("signatures were refused", "channelstream::auth", Level::Info);
/// Requests from another machine that authenticate with a well-known secret or password.
pub static WELL_KNOWN_SECRETS: Cause =
    Cause::new("requests with a well-known secret were refused", "channelstream::auth", Level::Warn);
/// Failed attempts to sign in to the admin pages.
pub static FAILED_SIGN_INS: Cause =
    Cause::new("attempts to sign in failed", "channelstream::console", Level::Warn);
/// Connections that the operating system ended before the server accepted them.
pub static LOST_CONNECTIONS: Cause =
    Cause::new("new connections were lost", "channelstream::server", Level::Warn);
/// Requests that failed because of an error in the server.
pub static FAILED_REQUESTS: Cause = Cause::new("requests failed", "channelstream::http", Level::Error);
/// Calls that Redis refused for a reason that the server does not expect.
pub static FAILED_CALLS: Cause =
    Cause::new("calls of Redis failed", "channelstream::broker::engine", Level::Error);

/// What nodes of another version have sent or stored.
pub static UNREADABLE: Cause = Cause::new(
    "pieces of data from other nodes or from Redis cannot be read",
    "channelstream::broker::engine",
    Level::Warn,
);

const CAUSES: [&Cause; 7] = [
    &REFUSED_SIGNATURES,
    &WELL_KNOWN_SECRETS,
    &FAILED_SIGN_INS,
    &LOST_CONNECTIONS,
    &FAILED_REQUESTS,
    &FAILED_CALLS,
    &UNREADABLE,
];

#[derive(Debug)]
struct CauseState {
    /// When the window began; `None` before the first line.
    begun: Option<Instant>,
    lines: u32,
    /// The events that were summed instead of logged.
    summed: u64,
    clients: Clients,
}

/// The sum of one window.
#[derive(Debug, PartialEq)]
struct Sum {
    count: u64,
    span: Duration,
    /// The client that caused most of the events, and a lower bound of their number; `None` if no client stands out.
    most: Option<(IpAddr, u64)>,
}

impl Cause {
    const fn new(name: &'static str, target: &'static str, level: Level) -> Self {
        let clients = Clients { counts: [None; ADDRESSES] };
        Self {
            name,
            target,
            level,
            state: Mutex::new(CauseState { begun: None, lines: 0, summed: 0, clients }),
        }
    }

    /// Logs a line with the client's address, or adds it to the sum. A client's text must be [`escaped`].
    pub fn log(&self, client: Option<IpAddr>, line: fmt::Arguments<'_>) {
        if !log::log_enabled!(target: self.target, self.level) {
            return;
        }
        let (sum, shows) = self.lock(|state| state.count(client, Instant::now()));
        self.log_sum(sum);
        if shows {
            match client {
                Some(client) => log::log!(target: self.target, self.level, "{line} (client {client})"),
                None => log::log!(target: self.target, self.level, "{line}"),
            }
        }
    }

    fn log_sum(&self, sum: Option<Sum>) {
        let Some(Sum { count, span, most }) = sum else { return };
        let (name, seconds) = (self.name, span.as_secs_f32());
        match most {
            Some((client, least)) => log::log!(
                target: self.target,
                self.level,
                "{count} more {name} within {seconds:.1} s, at least {least} of client {client}"
            ),
            None => {
                log::log!(target: self.target, self.level, "{count} more {name} within {seconds:.1} s");
            }
        }
    }

    fn lock<T>(&self, work: impl FnOnce(&mut CauseState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Logs the sums of windows that have ended. It must be called about once a second.
pub fn log_sums() {
    let now = Instant::now();
    for cause in CAUSES {
        cause.log_sum(cause.lock(|state| state.end_window(now, WINDOW)));
    }
}

/// Logs all sums at the end of the process.
pub fn log_last_sums() {
    let now = Instant::now();
    for cause in CAUSES {
        cause.log_sum(cause.lock(|state| state.end_window(now, Duration::ZERO)));
    }
}

impl CauseState {
    /// Counts one event. Returns the sum of the previous window, if one has ended, and whether this event is logged.
    fn count(&mut self, client: Option<IpAddr>, now: Instant) -> (Option<Sum>, bool) {
        let sum = self.end_window(now, WINDOW);
        self.begun.get_or_insert(now);
        if self.lines < LINES {
            self.lines += 1;
            return (sum, true);
        }
        self.summed += 1;
        if let Some(client) = client {
            self.clients.count(client);
        }
        (sum, false)
    }

    /// Ends a window of at least this age. Returns its sum, if there is one.
    fn end_window(&mut self, now: Instant, age: Duration) -> Option<Sum> {
        let span = now.saturating_duration_since(self.begun?);
        if span < age {
            return None;
        }
        let sum = Sum { count: self.summed, span, most: self.clients.most() };
        (self.begun, self.lines, self.summed) = (None, 0, 0);
        self.clients.counts = [None; ADDRESSES];
        (sum.count > 0).then_some(sum)
    }
}

/// Counts the most frequent clients with the algorithm of Misra and Gries: a client with more than a seventeenth of all
/// events is included, and its count is never too high.
#[derive(Debug)]
struct Clients {
    counts: [Option<(IpAddr, u64)>; ADDRESSES],
}

impl Clients {
    fn count(&mut self, client: IpAddr) {
        if let Some((_, count)) = self.counts.iter_mut().flatten().find(|(known, _)| *known == client) {
            *count += 1;
        } else if let Some(free) = self.counts.iter_mut().find(|place| place.is_none()) {
            *free = Some((client, 1));
        } else {
            for place in &mut self.counts {
                *place = place.map(|(known, count)| (known, count - 1)).filter(|(_, count)| *count > 0);
            }
        }
    }

    fn most(&self) -> Option<(IpAddr, u64)> {
        self.counts.iter().flatten().copied().max_by_key(|(_, count)| *count)
    }
}

/// A client's text for a log line, without control characters and truncated.
pub fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(MAX_CHARS) {
            write!(f, "{}", char.escape_debug())?;
        }
        match chars.as_str() {
            "" => Ok(()),
            rest => write!(f, "… and {} more bytes", rest.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn state() -> CauseState {
        CauseState { begun: None, lines: 0, summed: 0, clients: Clients { counts: [None; ADDRESSES] } }
    }

    #[test]
    fn ten_lines_per_second_are_logged_and_the_rest_is_summed() {
        let (mut state, begun) = (state(), Instant::now());
        let shown =
            (0..1_000).filter(|n| state.count(Some(ip(u8::from(n % 10 == 0))), begun).1).collect::<Vec<_>>();
        assert_eq!(shown, (0..10).collect::<Vec<_>>());
        assert_eq!(state.end_window(begun + WINDOW / 2, WINDOW), None);
        let sum = Sum { count: 990, span: WINDOW, most: Some((ip(0), 891)) };
        assert_eq!(state.count(Some(ip(0)), begun + WINDOW), (Some(sum), true));
        assert_eq!(state.end_window(begun + 3 * WINDOW, WINDOW), None, "nothing was summed");
    }

    #[test]
    fn sums_are_logged_at_the_end_of_the_process() {
        let (mut state, begun) = (state(), Instant::now());
        (0..12).for_each(|_| _ = state.count(None, begun));
        let sum = Sum { count: 2, span: Duration::ZERO, most: None };
        assert_eq!(state.end_window(begun, Duration::ZERO), Some(sum));
    }

    #[test]
    fn the_most_frequent_of_many_clients_is_found() {
        let mut clients = Clients { counts: [None; ADDRESSES] };
        for n in 0..100_000_u32 {
            clients.count(IpAddr::from(n.to_be_bytes()));
            if n % 4 == 0 {
                clients.count(ip(7));
            }
        }
        let (client, least) = clients.most().unwrap();
        assert_eq!(client, ip(7));
        assert!((10_000..=25_000).contains(&least), "{least}");
    }

    #[test]
    fn text_of_clients_is_escaped_and_truncated() {
        let text = "/a\r\n[2026] ERROR \u{1b}[31m\u{9b}\u{202e}é";
        let shown = escaped(text).to_string();
        assert_eq!(shown, "/a\\r\\n[2026] ERROR \\u{1b}[31m\\u{9b}\\u{202e}é");
        let long = escaped(&"x".repeat(100_000)).to_string();
        assert_eq!(long, format!("{}… and 99880 more bytes", "x".repeat(MAX_CHARS)));
        assert!(escaped(&"\u{1b}".repeat(100_000)).to_string().len() < 1_000);
    }
}
