//! A clock that counts only the time in which its thread runs, and a function that ends a task's turn.
//!
//! A process can be paused by SIGSTOP, a frozen container or a snapshot of the machine. Its clients continue to send
//! during the pause, and the kernel stores the bytes. When the process continues, its timers are overdue before it has
//! read anything. On this clock a pause takes no longer than two ticks, so no deadline passes during a pause.

use nix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::Context;
use std::time::{Duration, Instant};

/// The clock of one thread. Its owner calls [`Clock::tick`] at a fixed interval.
#[derive(Debug)]
pub struct Clock {
    rule: Cell<TickRule>,
    ticked: Cell<Instant>,
}

/// What the owner may do after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The tick came too early, because the timer repeats missed ticks. The owner must ignore it.
    Repeated,
    /// The tick came late. Bytes that clients have sent may not be read yet, so the owner must not check deadlines before
    /// the next tick.
    Late,
    /// The owner may check deadlines.
    OnTime,
}

impl Clock {
    /// Starts at 0. The owner must tick at this interval.
    pub fn start(interval: Duration) -> Self {
        let interval_ms = interval.as_millis() as u64;
        let rule = TickRule { interval_ms, now_ms: 0, was_late: false };
        Self { rule: Cell::new(rule), ticked: Cell::new(Instant::now()) }
    }

    /// Advances the clock.
    pub fn tick(&self) -> Tick {
        self.tick_after(elapsed_ms(self.ticked.get()))
    }

    /// Advances the clock like a tick that comes this many ms after the previous one.
    pub fn tick_after(&self, elapsed_ms: u64) -> Tick {
        let mut rule = self.rule.get();
        let tick = rule.tick(elapsed_ms);
        if tick != Tick::Repeated {
            self.ticked.set(Instant::now());
            self.rule.set(rule);
        }
        tick
    }

    /// The time of the last tick, in ms. Does not read the system's clock.
    pub fn ticked_ms(&self) -> u64 {
        self.rule.get().now_ms
    }

    /// The current time, in ms.
    pub fn now_ms(&self) -> u64 {
        let rule = self.rule.get();
        rule.now_ms + rule.counted(elapsed_ms(self.ticked.get()))
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

/// The rules of the clock. Pure: the caller passes the elapsed time.
#[derive(Clone, Copy, Debug)]
struct TickRule {
    interval_ms: u64,
    now_ms: u64,
    was_late: bool,
}

impl TickRule {
    /// The part of the time since the last tick that counts.
    fn counted(&self, elapsed_ms: u64) -> u64 {
        elapsed_ms.min(2 * self.interval_ms)
    }

    fn tick(&mut self, elapsed_ms: u64) -> Tick {
        if elapsed_ms < self.interval_ms / 2 {
            return Tick::Repeated;
        }
        self.now_ms += self.counted(elapsed_ms);
        // On a thread that is always late, deadlines are still checked at every second tick.
        self.was_late = elapsed_ms > 2 * self.interval_ms && !self.was_late;
        if self.was_late { Tick::Late } else { Tick::OnTime }
    }
}

/// The time since the machine has started. It also passes while the process is stopped and, on Linux, while the machine sleeps.
pub fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::CLOCK_MONOTONIC;
    // Every kernel that the server runs on has the clock; without it, everything that has a time limit is over.
    clock_gettime(clock).map_or(Duration::MAX, Duration::from)
}

/// Causes the current task to be polled again after the runtime has polled the I/O driver and the other ready tasks.
///
/// A task that wakes itself would be polled again before the driver, and the sockets of all other clients would wait.
pub fn yield_now(context: &mut Context<'_>) {
    // The first poll of this future passes the waker to the runtime, which stores it until the driver has been polled.
    let _ = pin!(tokio::task::yield_now()).poll(context);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> TickRule {
        TickRule { interval_ms: 100, now_ms: 0, was_late: false }
    }

    #[test]
    fn the_clock_counts_the_time_between_ticks() {
        let mut rule = rule();
        for elapsed in [100, 105, 95, 200, 60] {
            assert_eq!(rule.tick(elapsed), Tick::OnTime);
        }
        assert_eq!(rule.now_ms, 560);
        assert_eq!(rule.counted(70), 70);
    }

    #[test]
    fn a_pause_counts_as_two_ticks_and_delays_checks_by_one_tick() {
        let mut rule = rule();
        rule.tick(100);
        assert_eq!(rule.tick(3_000), Tick::Late);
        assert_eq!(rule.now_ms, 300);
        // The timer repeats the missed ticks without a pause in between.
        for _ in 0..28 {
            assert_eq!(rule.tick(0), Tick::Repeated);
        }
        assert_eq!(rule.tick(49), Tick::Repeated);
        assert_eq!((rule.now_ms, rule.tick(100)), (300, Tick::OnTime));
        assert_eq!(rule.now_ms, 400);
    }

    #[test]
    fn a_thread_that_is_always_late_checks_at_every_second_tick() {
        let mut rule = rule();
        let ticks = [500; 4].map(|elapsed| rule.tick(elapsed));
        assert_eq!(ticks, [Tick::Late, Tick::OnTime, Tick::Late, Tick::OnTime]);
    }
}
