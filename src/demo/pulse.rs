//! Signs of life: a socket is pinged now and then, and one whose peer has vanished is noticed.

use crate::settings::Settings;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// A ping is to be sent.
    Ping,
    /// Nothing was heard for too long.
    Silent,
}

/// The pulse of one socket.
pub struct Pulse {
    times: Times,
    timer: Pin<Box<Sleep>>,
}

impl Pulse {
    /// Begins now, with the settings `ping_interval_ms` and `socket_idle_timeout_ms`.
    pub fn new(settings: &Settings) -> Self {
        let times = Times::new(settings, Instant::now());
        let timer = Box::pin(tokio::time::sleep_until(times.next()));
        Self { times, timer }
    }

    /// The peer was heard, or has taken something.
    pub fn hear(&mut self) {
        self.times.heard = Instant::now();
    }

    /// Waits for what is due next.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Beat> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let due = self.times.due(Instant::now());
            self.timer.as_mut().reset(self.times.next());
            if let Some(beat) = due {
                return Poll::Ready(beat);
            }
        }
    }
}

/// The rules, which are told the time.
#[derive(Clone, Copy, Debug)]
struct Times {
    ping: Option<Duration>,
    idle: Option<Duration>,
    pinged: Instant,
    heard: Instant,
}

impl Times {
    fn new(settings: &Settings, now: Instant) -> Self {
        let unless_off = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        let (ping, idle) =
            (unless_off(settings.ping_interval_ms), unless_off(settings.socket_idle_timeout_ms));
        Self { ping, idle, pinged: now, heard: now }
    }

    /// When something may be due; what was heard meanwhile may have moved it.
    fn next(&self) -> Instant {
        const NEVER: Duration = Duration::from_secs(366 * 24 * 3_600);
        let ping = self.pinged + self.ping.unwrap_or(NEVER);
        let idle = self.heard + self.idle.unwrap_or(NEVER);
        ping.min(idle)
    }

    fn due(&mut self, now: Instant) -> Option<Beat> {
        if self.idle.is_some_and(|idle| now >= self.heard + idle) {
            return Some(Beat::Silent);
        }
        if self.ping.is_some_and(|ping| now >= self.pinged + ping) {
            self.pinged = now;
            return Some(Beat::Ping);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ping_interval_ms: u64, socket_idle_timeout_ms: u64) -> (Times, impl Fn(u64) -> Instant) {
        let settings = Settings { ping_interval_ms, socket_idle_timeout_ms, ..Settings::default() };
        let begun = Instant::now();
        (Times::new(&settings, begun), move |ms| begun + Duration::from_millis(ms))
    }

    #[test]
    fn pings_until_the_peer_is_silent_for_too_long() {
        let (mut times, at) = times(25, 60);
        assert_eq!((times.next(), times.due(at(24))), (at(25), None));
        assert_eq!((times.due(at(25)), times.next()), (Some(Beat::Ping), at(50)));
        assert_eq!((times.due(at(50)), times.next()), (Some(Beat::Ping), at(60)));
        assert_eq!(times.due(at(60)), Some(Beat::Silent));
    }

    #[test]
    fn whoever_is_heard_stays() {
        let (mut times, at) = times(25, 60);
        for turn in 1..100 {
            assert_eq!(times.due(at(25 * turn)), Some(Beat::Ping));
            times.heard = at(25 * turn);
        }
    }

    #[test]
    fn both_can_be_off() {
        let (mut times, at) = times(0, 0);
        assert_eq!(times.due(at(1_000_000)), None);
        assert!(times.next() > at(1_000_000));
    }
}
