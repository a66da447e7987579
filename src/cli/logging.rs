//! The log: env_logger formats the lines, [`LOG_QUEUE`] keeps them, and the thread `cs-log` writes them to standard error.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::thread;
use std::time::Duration;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Target, WriteStyle};
use log::{LevelFilter, Record};
use nix::errno::Errno;

use crate::config::Settings;
use crate::server::threads;
use crate::telemetry::log_queue::{self, LOG_QUEUE, ToLogQueue};

/// Longest message, in bytes; the rest is cut off.
const MAX_BYTES: usize = 32 << 10;
/// How long the writing thread waits if standard error is in non-blocking mode and full.
const PAUSE: Duration = Duration::from_millis(10);
/// The HTTP stack logs the mistakes of clients as errors. The server counts them instead.
const HTTP_STACK: &str = "actix_http";

/// Starts the thread that writes the lines of the queue.
///
/// # Errors
/// The system refuses the thread.
pub(crate) fn start_writing() -> io::Result<()> {
    let spawn = || thread::Builder::new().name("cs-log".into()).spawn(|| LOG_QUEUE.write_out(write));
    match threads::has_room(1).and_then(|()| spawn()) {
        Ok(_) => {
            LOG_QUEUE.open();
            Ok(())
        }
        Err(error) => {
            let text = format!("cannot start the thread of the log (limits on tasks and memory): {error}");
            Err(io::Error::new(error.kind(), text))
        }
    }
}

/// Starts to log. RUST_LOG overrides the settings. An existing logger is kept.
pub(crate) fn start(settings: &Settings) {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let spec = Spec::read(&variable("RUST_LOG"));
    let _ = spec
        .builder(settings.log_filter())
        .write_style(style(&variable("RUST_LOG_STYLE")))
        .format(format)
        .target(Target::Pipe(Box::new(ToLogQueue)))
        .try_init();
    for part in spec.unreadable {
        log::warn!("RUST_LOG: {part:?} is not a directive, ignored");
    }
}

/// The directives of RUST_LOG. Those that env_logger cannot read are kept from it: it would write about them itself, and
/// block until the output is read.
#[derive(Debug, Default, PartialEq)]
struct Spec {
    readable: String,
    unreadable: Vec<String>,
}

impl Spec {
    fn read(text: &str) -> Self {
        let (directives, filter) = match text.split_once('/') {
            Some((_, filter)) if filter.contains('/') => {
                return Self { unreadable: vec![text.to_owned()], ..Self::default() };
            }
            Some((directives, filter)) => (directives, format!("/{filter}")),
            None => (text, String::new()),
        };
        let parts = directives.split(',').map(str::trim).filter(|part| !part.is_empty());
        let (readable, unreadable): (Vec<&str>, Vec<&str>) = parts.partition(|part| is_directive(part));
        Self {
            readable: readable.join(",") + &filter,
            unreadable: unreadable.into_iter().map(str::to_owned).collect(),
        }
    }

    /// A logger for the directives of RUST_LOG, else for this level, at which libraries log warnings at most.
    fn builder(&self, level: LevelFilter) -> Builder {
        let mut builder = Builder::new();
        match self.readable.is_empty() {
            true => builder
                .filter_level(level.min(LevelFilter::Warn))
                .filter_module(env!("CARGO_CRATE_NAME"), level),
            false => builder.parse_filters(&self.readable),
        };
        if !self.readable.contains(HTTP_STACK) {
            builder.filter_module(HTTP_STACK, LevelFilter::Off);
        }
        // Lines can only be dropped where lines are logged.
        builder.filter_module(log_queue::TARGET, LevelFilter::Warn);
        builder
    }
}

fn is_directive(text: &str) -> bool {
    match text.split_once('=') {
        None => true,
        Some((_, level)) => level.trim().is_empty() || level.trim().parse::<LevelFilter>().is_ok(),
    }
}

fn style(choice: &str) -> WriteStyle {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match choice {
        "always" => WriteStyle::Always,
        "never" => WriteStyle::Never,
        _ if io::stderr().is_terminal() && !is_dumb && !set("NO_COLOR") => WriteStyle::Always,
        _ => WriteStyle::Never,
    }
}

fn format(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut message = LogMessage::default();
    // It fails if the message is cut off.
    let _ = message.write_fmt(*record.args());
    let (time, level, style) = (out.timestamp(), record.level(), out.default_level_style(record.level()));
    writeln!(out, "[{time} {style}{level:<5}{style:#} {}] {}", record.target(), message.0)
}

/// A message without characters that control a terminal. Lines after the first are indented, so that none looks like the
/// beginning of another message.
#[derive(Default)]
struct LogMessage(String);

impl fmt::Write for LogMessage {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| self.write_char(char))
    }

    fn write_char(&mut self, char: char) -> fmt::Result {
        if self.0.len() >= MAX_BYTES {
            self.0.push('…');
            return Err(fmt::Error);
        }
        match char {
            '\n' => self.0.push_str("\n    "),
            '\t' => self.0.push('\t'),
            char if controls_terminal(char) => self.0.extend(char.escape_unicode()),
            char => self.0.push(char),
        }
        Ok(())
    }
}

/// Control characters, and those that change the direction or the lines of text.
pub(super) fn controls_terminal(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a line to standard error without the lock of `std::io::stderr`, which other threads may need.
fn write(mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match nix::unistd::write(io::stderr(), line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => line = line.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Metadata};

    fn logs(rust_log: &str, level: LevelFilter, target: &str, at: Level) -> bool {
        let logger = Spec::read(rust_log).builder(level).build();
        log::Log::enabled(&logger, &Metadata::builder().target(target).level(at).build())
    }

    #[test]
    fn libraries_do_not_log_at_our_level() {
        use LevelFilter as Filter;
        let ours = "channelstream::auth::guard";
        assert!(logs("", Filter::Debug, ours, Level::Debug) && !logs("", Filter::Info, ours, Level::Debug));
        assert!(logs("", Filter::Debug, "actix_web", Level::Warn));
        assert!(!logs("", Filter::Debug, "actix_web", Level::Info));
        assert!(!logs("", Filter::Error, "actix_web", Level::Warn));
        assert!(!logs("", Filter::Trace, "actix_http::h1::dispatcher", Level::Error));
        assert!(logs("", Filter::Error, log_queue::TARGET, Level::Warn), "lost lines are reported");
    }

    #[test]
    fn rust_log_overrides_the_settings() {
        let (ours, stack) = ("channelstream::auth", "actix_http::h1");
        for spec in ["debug", "info,channelstream=debug", "channelstream::auth", "nonsense=loud,debug"] {
            assert!(logs(spec, LevelFilter::Error, ours, Level::Debug), "{spec}");
            assert!(!logs(spec, LevelFilter::Trace, stack, Level::Error), "{spec}");
        }
        assert!(!logs("warn", LevelFilter::Trace, ours, Level::Info));
        assert!(logs("actix_http=debug", LevelFilter::Info, stack, Level::Debug));
    }

    #[test]
    fn directives_that_env_logger_cannot_read_are_separated() {
        let spec = |readable: &str, unreadable: &[&str]| Spec {
            readable: readable.into(),
            unreadable: unreadable.iter().map(|part| (*part).into()).collect(),
        };
        assert_eq!(Spec::read(""), spec("", &[]));
        assert_eq!(Spec::read("info, a=loud,b=debug=1,c="), spec("info,c=", &["a=loud", "b=debug=1"]));
        assert_eq!(Spec::read("debug/text"), spec("debug/text", &[]));
        assert_eq!(Spec::read("debug/a/b"), spec("", &["debug/a/b"]));
    }

    #[test]
    fn a_message_cannot_look_like_another_one() {
        let mut message = LogMessage::default();
        write!(message, "a\n[2026] ERROR\r\u{1b}[31m\u{9b}\u{202e}é\t{}", 1).unwrap();
        assert_eq!(message.0, "a\n    [2026] ERROR\\u{d}\\u{1b}[31m\\u{9b}\\u{202e}é\t1");
    }

    #[test]
    fn a_long_message_is_cut_off() {
        let mut message = LogMessage::default();
        assert!(write!(message, "{}", "x".repeat(1 << 20)).is_err());
        assert_eq!(message.0.len(), MAX_BYTES + '…'.len_utf8());
    }
}
