//! Signs of life: a socket is pinged now and then, and one whose peer has vanished is noticed.

use crate::config::Settings;
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
pub struct SocketHeartbeat {
    times: HeartbeatTimes,
    timer: Pin<Box<Sleep>>,
}

impl SocketHeartbeat {
    /// Begins now, with the settings `ping_interval_ms` and `pong_timeout`.
    pub fn new(settings: &Settings) -> Self {
        let times = HeartbeatTimes::new(settings, Instant::now());
        let timer = Box::pin(tokio::time::sleep_until(times.next()));
        Self { times, timer }
    }

    /// The peer was heard, or has taken something.
    pub fn hear(&mut self) {
        self.times.hear(Instant::now());
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

/// How long after the limit a silent peer is given up. The process may have been paused: what its peer has sent
/// meanwhile is read in this time.
const MOMENT: Duration = Duration::from_millis(100);

/// The rules, which are told the time.
#[derive(Clone, Copy, Debug)]
struct HeartbeatTimes {
    ping: Option<Duration>,
    idle: Option<Duration>,
    pinged: Instant,
    heard: Instant,
    /// When it was first noticed that the peer is silent for too long.
    silent: Option<Instant>,
}

impl HeartbeatTimes {
    fn new(settings: &Settings, now: Instant) -> Self {
        let unless_off = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        let (ping, idle) = (unless_off(settings.ping_interval_ms), unless_off(settings.pong_timeout));
        Self { ping, idle, pinged: now, heard: now, silent: None }
    }

    /// When something may be due; what was heard meanwhile may have moved it.
    fn next(&self) -> Instant {
        const NEVER: Duration = Duration::from_secs(366 * 24 * 3_600);
        let ping = self.pinged + self.ping.unwrap_or(NEVER);
        let idle = match self.silent {
            Some(since) => since + MOMENT,
            None => self.heard + self.idle.unwrap_or(NEVER),
        };
        ping.min(idle)
    }

    fn hear(&mut self, now: Instant) {
        (self.heard, self.silent) = (now, None);
    }

    fn due(&mut self, now: Instant) -> Option<Beat> {
        if self.idle.is_some_and(|idle| now >= self.heard + idle)
            && now >= *self.silent.get_or_insert(now) + MOMENT
        {
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

    fn times(ping_interval_ms: u64, pong_timeout: u64) -> (HeartbeatTimes, impl Fn(u64) -> Instant) {
        let settings = Settings { ping_interval_ms, pong_timeout, ..Settings::default() };
        let begun = Instant::now();
        (HeartbeatTimes::new(&settings, begun), move |ms| begun + Duration::from_millis(ms))
    }

    #[test]
    fn pings_until_the_peer_is_silent_for_too_long() {
        let (mut times, at) = times(25, 60);
        assert_eq!((times.next(), times.due(at(24))), (at(25), None));
        assert_eq!((times.due(at(25)), times.next()), (Some(Beat::Ping), at(50)));
        assert_eq!((times.due(at(50)), times.next()), (Some(Beat::Ping), at(60)));
        assert_eq!((times.due(at(60)), times.next()), (None, at(75)));
        assert_eq!((times.due(at(75)), times.due(at(100))), (Some(Beat::Ping), Some(Beat::Ping)));
        assert_eq!(times.next(), at(125));
        assert_eq!((times.due(at(159)), times.due(at(160))), (Some(Beat::Ping), Some(Beat::Silent)));
    }

    /// The process stands still, its peer does not: what it has sent is read after the timer, in the next turn.
    #[test]
    fn a_pause_is_not_the_silence_of_the_peer() {
        let (mut times, at) = times(0, 60);
        assert_eq!((times.due(at(3_000)), times.next()), (None, at(3_100)));
        times.hear(at(3_001));
        assert_eq!((times.due(at(3_060)), times.next()), (None, at(3_061)));
        assert_eq!((times.due(at(3_061)), times.next()), (None, at(3_161)));
        assert_eq!(times.due(at(3_161)), Some(Beat::Silent));
    }

    #[test]
    fn whoever_is_heard_stays() {
        let (mut times, at) = times(25, 60);
        for turn in 1..100 {
            assert_eq!(times.due(at(25 * turn)), Some(Beat::Ping));
            times.hear(at(25 * turn));
        }
    }

    #[test]
    fn both_can_be_off() {
        let (mut times, at) = times(0, 0);
        assert_eq!(times.due(at(1_000_000)), None);
        assert!(times.next() > at(1_000_000));
    }
}
