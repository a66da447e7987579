//! How long each step of an HTTP connection may take: its request's head, the body, the taking of the answer.
//!
//! Whoever drips bytes holds a connection's memory for as long as it likes, unless the whole step is timed and not the
//! pause between two bytes. A thread looks at all its connections a few times a second; a connection pays for this with
//! a few stores into its own cells and no timer.

use super::turn_away;
use crate::error::OverLimit;
use crate::observe::Counters;
use crate::observe::limits::Limit;
use crate::settings::Settings;
use actix_rt::task::JoinHandle;
use bytes::Bytes;
use nix::sys::socket::{MsgFlags, send};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often connections are looked at: by so much a limit may be passed.
const EVERY: Duration = Duration::from_millis(100);

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It sends the head of a request.
    Head,
    /// It sends the body of a request.
    Body,
    /// Its request is complete, or it is no HTTP any more.
    Served,
    /// It takes an answer.
    Answered,
    /// It has what was written of an answer, and thinks of another request unless more is written.
    Idle,
}

/// The limits, in ms; `u64::MAX` for none.
#[derive(Clone, Copy, Debug)]
struct Times {
    head: u64,
    body: u64,
    answer: u64,
    idle: u64,
}

impl Times {
    fn of(settings: &Settings) -> Self {
        let time = |ms: u64| if ms == 0 { u64::MAX } else { ms };
        Self {
            head: time(settings.header_timeout_ms),
            body: time(settings.body_timeout_ms),
            answer: time(settings.answer_timeout_ms),
            // The HTTP stack ends a connection that idles, but waits for the rest of a body that was refused unread.
            idle: time(settings.body_timeout_ms).saturating_add(settings.keep_alive_ms),
        }
    }
}

/// Time as the connections of a thread see it.
#[derive(Debug)]
struct Clock {
    times: Times,
    now_ms: Cell<u64>,
}

/// One connection's step, and until when it is to be done.
#[derive(Debug)]
pub struct Watch {
    clock: Rc<Clock>,
    step: Cell<Step>,
    until_ms: Cell<u64>,
    idle_until_ms: Cell<u64>,
}

impl Watch {
    fn new(clock: Rc<Clock>) -> Self {
        let until = || Cell::new(u64::MAX);
        let watch = Self { clock, step: Cell::new(Step::Head), until_ms: until(), idle_until_ms: until() };
        watch.turn_to(Step::Head);
        watch
    }

    fn turn_to(&self, step: Step) {
        let Times { head, body, answer, .. } = self.clock.times;
        let time = match step {
            Step::Head => head,
            Step::Body => body,
            Step::Served => u64::MAX,
            Step::Answered | Step::Idle => answer,
        };
        self.step.set(step);
        self.until_ms.set(self.clock.now_ms.get().saturating_add(time));
    }

    /// Bytes came: behind an answer they begin a new head.
    pub fn heard(&self) {
        if matches!(self.step.get(), Step::Answered | Step::Idle) {
            self.turn_to(Step::Head);
        }
    }

    /// Something is to be written: more of an answer has no more time than the beginning.
    pub fn writes(&self) {
        if self.step.get() == Step::Idle {
            self.step.set(Step::Answered);
        }
    }

    /// All that was written is taken. The time for the rest of the answer, if there is one, is kept.
    pub fn is_taken(&self) {
        if self.step.get() == Step::Answered {
            self.step.set(Step::Idle);
            self.idle_until_ms.set(self.clock.now_ms.get().saturating_add(self.clock.times.idle));
        }
    }

    /// A head is complete.
    pub fn begin(&self, has_body: bool) {
        self.turn_to(if has_body { Step::Body } else { Step::Served });
    }

    /// An answer was given to the HTTP stack.
    pub fn answered(&self) {
        self.turn_to(Step::Answered);
    }

    /// The limit that is passed at this time, if one is.
    fn passed(&self, now_ms: u64) -> Option<Limit> {
        let step = self.step.get();
        let until_ms = if step == Step::Idle { &self.idle_until_ms } else { &self.until_ms };
        if now_ms < until_ms.get() {
            return None;
        }
        match step {
            Step::Head => Some(Limit::HeaderTime),
            Step::Body | Step::Idle => Some(Limit::BodyTime),
            Step::Answered => Some(Limit::AnswerTime),
            Step::Served => None,
        }
    }
}

/// A connection that is watched.
struct Watched {
    watch: Rc<Watch>,
    socket: RawFd,
    served: Option<JoinHandle<()>>,
}

/// The connections of a thread.
pub struct Watches {
    clock: Rc<Clock>,
    connections: RefCell<Slab<Watched>>,
    counters: Arc<Counters>,
    settings: Arc<Settings>,
}

/// Stands for a connection that is watched; dropped, it no longer is. Not to be kept longer than the socket.
pub struct Guard {
    watches: Rc<Watches>,
    key: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watches.connections.borrow_mut().try_remove(self.key);
    }
}

impl Watches {
    /// No connection yet. Must be called where tasks can be started: from here on the thread's connections are looked
    /// at, as long as this exists.
    pub fn start(settings: Arc<Settings>, counters: Arc<Counters>) -> Rc<Self> {
        let clock = Rc::new(Clock { times: Times::of(&settings), now_ms: Cell::new(0) });
        let watches = Rc::new(Self { clock, connections: RefCell::default(), counters, settings });
        let (weak, started) = (Rc::downgrade(&watches), Instant::now());
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(EVERY);
            while let Some(watches) = weak.upgrade() {
                watches.look(started.elapsed().as_millis() as u64);
                drop(watches);
                ticks.tick().await;
            }
        });
        watches
    }

    /// What tells how far a connection is.
    pub fn watch(&self) -> Rc<Watch> {
        Rc::new(Watch::new(self.clock.clone()))
    }

    /// Watches the connection of this socket until the guard is dropped.
    pub fn add(self: &Rc<Self>, watch: Rc<Watch>, socket: RawFd) -> Guard {
        let key = self.connections.borrow_mut().insert(Watched { watch, socket, served: None });
        Guard { watches: self.clone(), key }
    }

    /// The task that serves a connection: it is ended when a limit is passed.
    pub fn set_task(&self, key: usize, served: JoinHandle<()>) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.served = Some(served);
        }
    }

    fn look(&self, now_ms: u64) {
        self.clock.now_ms.set(now_ms);
        for (_, connection) in self.connections.borrow().iter() {
            if let Some(limit) = connection.watch.passed(now_ms) {
                self.counters.limits.count(limit);
                self.cut(connection, limit);
            }
        }
    }

    /// Ends a connection. Its task is dropped, and the guard with it, when this look at all of them is over.
    fn cut(&self, connection: &Watched, limit: Limit) {
        // Who has an answer already gets no other one.
        let waits_for_answer = matches!(connection.watch.step.get(), Step::Head | Step::Body);
        connection.watch.turn_to(Step::Served);
        if waits_for_answer {
            // What the kernel does not take of this the client need not know.
            let _ = send(
                connection.socket,
                &self.goodbye(limit),
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            );
        }
        if let Some(served) = &connection.served {
            served.abort();
        }
    }

    fn goodbye(&self, limit: Limit) -> Bytes {
        let ms = match limit {
            Limit::HeaderTime => self.settings.header_timeout_ms,
            _ => self.settings.body_timeout_ms,
        };
        turn_away::answer(&OverLimit::of(limit, ms as usize).into())
    }
}

impl Guard {
    /// Its place among the connections.
    pub fn key(&self) -> usize {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Rc<Clock> {
        let settings = Settings {
            header_timeout_ms: 10,
            body_timeout_ms: 100,
            answer_timeout_ms: 1_000,
            keep_alive_ms: 5,
            ..Settings::default()
        };
        Rc::new(Clock { times: Times::of(&settings), now_ms: Cell::new(0) })
    }

    #[test]
    fn every_step_has_its_time() {
        let clock = clock();
        let watch = Watch::new(clock.clone());
        assert_eq!((watch.passed(9), watch.passed(10)), (None, Some(Limit::HeaderTime)));
        clock.now_ms.set(9);
        watch.heard();
        assert_eq!(watch.passed(10), Some(Limit::HeaderTime), "more of a head gives it no more time");
        watch.begin(true);
        assert_eq!((watch.passed(108), watch.passed(109)), (None, Some(Limit::BodyTime)));
        watch.heard();
        assert_eq!(watch.passed(109), Some(Limit::BodyTime), "more of a body gives it no more time");
        watch.begin(false);
        assert_eq!(watch.passed(u64::MAX - 1), None, "polls wait as long as they like");
        watch.answered();
        assert_eq!((watch.passed(1_008), watch.passed(1_009)), (None, Some(Limit::AnswerTime)));
        watch.is_taken();
        assert_eq!(
            (watch.passed(113), watch.passed(114)),
            (None, Some(Limit::BodyTime)),
            "the rest of a body"
        );
        clock.now_ms.set(500);
        watch.writes();
        assert_eq!(watch.passed(1_009), Some(Limit::AnswerTime), "the rest gives it no more time");
        watch.is_taken();
        clock.now_ms.set(9);
        watch.heard();
        assert_eq!(watch.passed(19), Some(Limit::HeaderTime), "the head of the next request");
    }

    #[test]
    fn zero_is_no_limit() {
        let settings = Settings {
            header_timeout_ms: 0,
            body_timeout_ms: 0,
            answer_timeout_ms: 0,
            ..Settings::default()
        };
        let clock = Rc::new(Clock { times: Times::of(&settings), now_ms: Cell::new(7) });
        let watch = Watch::new(clock);
        assert_eq!(watch.passed(u64::MAX - 1), None);
        watch.begin(true);
        assert_eq!(watch.passed(u64::MAX - 1), None);
        watch.answered();
        assert_eq!(watch.passed(u64::MAX - 1), None);
    }
}
