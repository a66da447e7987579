//! A clock that counts only the time in which its thread runs, and the end of a task's turn.
//!
//! A process can be paused: SIGSTOP, a frozen container, a snapshot of the machine. Its clients go on sending
//! meanwhile, and the kernel keeps what they send. When the process continues, its timers are overdue before it has
//! read anything. On this clock a pause takes no longer than two ticks, so no deadline passes during a pause.

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

/// What a tick allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The tick came too early: the timer makes up for ticks that it missed. Nothing is to be done.
    Repeated,
    /// The tick came late. What clients sent meanwhile may not be read yet, so nothing is to be judged by this clock
    /// before the next tick.
    Late,
    /// Deadlines that have passed may be judged.
    OnTime,
}

impl Clock {
    /// Starts at 0; ticks are to come at this interval.
    pub fn start(interval: Duration) -> Self {
        let interval_ms = interval.as_millis() as u64;
        let rule = TickRule { interval_ms, now_ms: 0, was_late: false };
        Self { rule: Cell::new(rule), ticked: Cell::new(Instant::now()) }
    }

    /// Moves the clock on.
    pub fn tick(&self) -> Tick {
        self.tick_after(elapsed_ms(self.ticked.get()))
    }

    /// Moves the clock on as a tick does that comes so many ms after the one before it.
    pub fn tick_after(&self, elapsed_ms: u64) -> Tick {
        let mut rule = self.rule.get();
        let tick = rule.tick(elapsed_ms);
        if tick != Tick::Repeated {
            self.ticked.set(Instant::now());
            self.rule.set(rule);
        }
        tick
    }

    /// The time of the last tick, in ms: costs nothing.
    pub fn ticked_ms(&self) -> u64 {
        self.rule.get().now_ms
    }

    /// The time now, in ms.
    pub fn now_ms(&self) -> u64 {
        let rule = self.rule.get();
        rule.now_ms + rule.counted(elapsed_ms(self.ticked.get()))
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

/// The rules of the clock, without a time of their own.
#[derive(Clone, Copy, Debug)]
struct TickRule {
    interval_ms: u64,
    now_ms: u64,
    was_late: bool,
}

impl TickRule {
    /// How much of the time since the last tick counts.
    fn counted(&self, elapsed_ms: u64) -> u64 {
        elapsed_ms.min(2 * self.interval_ms)
    }

    fn tick(&mut self, elapsed_ms: u64) -> Tick {
        if elapsed_ms < self.interval_ms / 2 {
            return Tick::Repeated;
        }
        self.now_ms += self.counted(elapsed_ms);
        // On a thread that is always late, every second tick judges all the same.
        self.was_late = elapsed_ms > 2 * self.interval_ms && !self.was_late;
        if self.was_late { Tick::Late } else { Tick::OnTime }
    }
}

/// Has the current task polled again after the runtime has polled the I/O driver and the other ready tasks.
///
/// A task that wakes itself is polled again before the driver: the sockets of all other clients wait for it.
pub fn yield_now(context: &mut Context<'_>) {
    // The first poll of this future hands the waker to the runtime, which keeps it until the driver has been polled.
    let _ = pin!(tokio::task::yield_now()).poll(context);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> TickRule {
        TickRule { interval_ms: 100, now_ms: 0, was_late: false }
    }

    #[test]
    fn it_counts_the_time_between_its_ticks() {
        let mut rule = rule();
        for elapsed in [100, 105, 95, 200, 60] {
            assert_eq!(rule.tick(elapsed), Tick::OnTime);
        }
        assert_eq!(rule.now_ms, 560);
        assert_eq!(rule.counted(70), 70);
    }

    #[test]
    fn a_pause_counts_as_two_ticks_and_is_judged_a_turn_later() {
        let mut rule = rule();
        rule.tick(100);
        assert_eq!(rule.tick(3_000), Tick::Late);
        assert_eq!(rule.now_ms, 300);
        // The timer makes up for the ticks that it missed, without a turn in between.
        for _ in 0..28 {
            assert_eq!(rule.tick(0), Tick::Repeated);
        }
        assert_eq!(rule.tick(49), Tick::Repeated);
        assert_eq!((rule.now_ms, rule.tick(100)), (300, Tick::OnTime));
        assert_eq!(rule.now_ms, 400);
    }

    #[test]
    fn a_thread_that_is_always_late_judges_every_second_time() {
        let mut rule = rule();
        let ticks = [500; 4].map(|elapsed| rule.tick(elapsed));
        assert_eq!(ticks, [Tick::Late, Tick::OnTime, Tick::Late, Tick::OnTime]);
    }
}
