//! Heartbeats: pings a socket at intervals, and detects peers that have disappeared.

use crate::config::Settings;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatEvent {
    /// A ping must be sent.
    Ping,
    /// Nothing was received for too long.
    Silent,
}

pub struct SocketHeartbeat {
    times: HeartbeatTimes,
    timer: Pin<Box<Sleep>>,
}

impl SocketHeartbeat {
    /// Starts with the settings `ping_interval_ms` and `pong_timeout`.
    pub fn new(settings: &Settings) -> Self {
        let times = HeartbeatTimes::new(settings, Instant::now());
        let timer = Box::pin(tokio::time::sleep_until(times.next()));
        Self { times, timer }
    }

    /// Records that the peer has sent or read something.
    pub fn record_activity(&mut self) {
        self.times.record_activity(Instant::now());
    }

    /// Waits for the next event.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<HeartbeatEvent> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let due = self.times.due(Instant::now());
            self.timer.as_mut().reset(self.times.next());
            if let Some(event) = due {
                return Poll::Ready(event);
            }
        }
    }
}

/// Additional time before a silent peer is closed. If the process was paused, data that the peer sent during the pause
/// is read in this time.
const GRACE: Duration = Duration::from_millis(100);

/// The rules; the time is passed in.
#[derive(Clone, Copy, Debug)]
struct HeartbeatTimes {
    ping: Option<Duration>,
    idle: Option<Duration>,
    last_ping: Instant,
    last_activity: Instant,
    /// When the silence of the peer first exceeded the limit.
    silent_since: Option<Instant>,
}

impl HeartbeatTimes {
    fn new(settings: &Settings, now: Instant) -> Self {
        let unless_off = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        let (ping, idle) = (unless_off(settings.ping_interval_ms), unless_off(settings.pong_timeout));
        Self { ping, idle, last_ping: now, last_activity: now, silent_since: None }
    }

    /// When an event may be due. Later activity postpones it.
    fn next(&self) -> Instant {
        const NEVER: Duration = Duration::from_secs(366 * 24 * 3_600);
        let ping = self.last_ping + self.ping.unwrap_or(NEVER);
        let idle = match self.silent_since {
            Some(since) => since + GRACE,
            None => self.last_activity + self.idle.unwrap_or(NEVER),
        };
        ping.min(idle)
    }

    fn record_activity(&mut self, now: Instant) {
        (self.last_activity, self.silent_since) = (now, None);
    }

    fn due(&mut self, now: Instant) -> Option<HeartbeatEvent> {
        if self.idle.is_some_and(|idle| now >= self.last_activity + idle)
            && now >= *self.silent_since.get_or_insert(now) + GRACE
        {
            return Some(HeartbeatEvent::Silent);
        }
        if self.ping.is_some_and(|ping| now >= self.last_ping + ping) {
            self.last_ping = now;
            return Some(HeartbeatEvent::Ping);
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
    fn a_peer_is_pinged_until_it_is_silent_for_too_long() {
        let (mut times, at) = times(25, 60);
        assert_eq!((times.next(), times.due(at(24))), (at(25), None));
        assert_eq!((times.due(at(25)), times.next()), (Some(HeartbeatEvent::Ping), at(50)));
        assert_eq!((times.due(at(50)), times.next()), (Some(HeartbeatEvent::Ping), at(60)));
        assert_eq!((times.due(at(60)), times.next()), (None, at(75)));
        assert_eq!(
            (times.due(at(75)), times.due(at(100))),
            (Some(HeartbeatEvent::Ping), Some(HeartbeatEvent::Ping))
        );
        assert_eq!(times.next(), at(125));
        assert_eq!(
            (times.due(at(159)), times.due(at(160))),
            (Some(HeartbeatEvent::Ping), Some(HeartbeatEvent::Silent))
        );
    }

    /// The process is paused, but its peer is not: data from the peer is read after the timer, in the next turn.
    #[test]
    fn a_pause_of_the_process_does_not_count_as_silence() {
        let (mut times, at) = times(0, 60);
        assert_eq!((times.due(at(3_000)), times.next()), (None, at(3_100)));
        times.record_activity(at(3_001));
        assert_eq!((times.due(at(3_060)), times.next()), (None, at(3_061)));
        assert_eq!((times.due(at(3_061)), times.next()), (None, at(3_161)));
        assert_eq!(times.due(at(3_161)), Some(HeartbeatEvent::Silent));
    }

    #[test]
    fn an_active_peer_is_not_closed() {
        let (mut times, at) = times(25, 60);
        for turn in 1..100 {
            assert_eq!(times.due(at(25 * turn)), Some(HeartbeatEvent::Ping));
            times.record_activity(at(25 * turn));
        }
    }

    #[test]
    fn pings_and_timeout_can_be_disabled() {
        let (mut times, at) = times(0, 0);
        assert_eq!(times.due(at(1_000_000)), None);
        assert!(times.next() > at(1_000_000));
    }
}
