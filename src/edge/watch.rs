//! How long each step of an HTTP connection may take: its request's head, the body, the taking of the answer.
//!
//! Whoever drips bytes holds a connection's memory for as long as it likes, unless the whole step is timed and not the
//! pause between two bytes. A thread looks at all its connections a few times a second; a connection pays for this with
//! a few stores into its own cells and no timer.

use super::exchange::Exchange;
use super::framing::{Malformed, Rules};
use super::turn::Turn;
use super::turn_away;
use crate::error::{OverLimit, Refusal};
use crate::gate::drain::{Drain, Stage};
use crate::observe::Counters;
use crate::observe::limits::Limit;
use crate::settings::Settings;
use actix_rt::task::JoinHandle;
use bytes::Bytes;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often connections are looked at: by so much a limit may be passed.
const EVERY: Duration = Duration::from_millis(100);
const EVERY_MS: u64 = EVERY.as_millis() as u64;
/// How long a client that has its answer may take to hang up, in ms.
const LINGER_MS: u64 = 1_000;

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
    /// It has its answer, and thinks of another request.
    Idle,
    /// It has what was written of an answer, and has not sent all of the request's body, or more will be written.
    Rest,
    /// It has its answer, and the server has finished sending.
    Lingering,
    /// The same, with the rest of a body under way.
    LingeringWithBody,
}

/// What becomes of a connection whose step takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has passed a limit.
    Over(Limit),
    /// It is closed, which every client expects.
    Close,
}

/// The limits, in ms; `u64::MAX` for none.
#[derive(Clone, Copy, Debug)]
struct Times {
    head: u64,
    body: u64,
    answer: u64,
    idle: u64,
    rest: u64,
}

impl Times {
    fn of(settings: &Settings) -> Self {
        let time = |ms: u64| if ms == 0 { u64::MAX } else { ms };
        Self {
            head: time(settings.header_timeout_ms),
            body: time(settings.body_timeout_ms),
            answer: time(settings.answer_timeout_ms),
            idle: settings.keep_alive_ms,
            rest: time(settings.body_timeout_ms).saturating_add(settings.keep_alive_ms),
        }
    }
}

/// What the connections of a thread have in common.
#[derive(Debug)]
struct Shared {
    times: Times,
    rules: Rules,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    /// Time as connections see it. It does not pass while the process is paused.
    now_ms: Cell<u64>,
}

/// One connection's step, and until when it is to be done.
pub struct Watch {
    /// The progress of its request and response.
    pub exchange: Exchange,
    pub(super) turn: Turn,
    shared: Rc<Shared>,
    step: Cell<Step>,
    until_ms: Cell<u64>,
    idle_until_ms: Cell<u64>,
    task: Cell<Option<Waker>>,
    /// What is to be written in place of an answer, before the connection is closed.
    last_words: Cell<Option<Bytes>>,
}

impl Watch {
    fn new(shared: Rc<Shared>) -> Self {
        let until = || Cell::new(u64::MAX);
        let watch = Self {
            exchange: Exchange::default(),
            turn: Turn::default(),
            shared,
            step: Cell::new(Step::Head),
            until_ms: until(),
            idle_until_ms: until(),
            task: Cell::default(),
            last_words: Cell::default(),
        };
        watch.turn_to(Step::Head);
        watch
    }

    fn turn_to(&self, step: Step) {
        self.step.set(step);
        let Times { head, body, answer, .. } = self.shared.times;
        let time = match step {
            Step::Head => head,
            Step::Body | Step::LingeringWithBody => body,
            Step::Answered => answer,
            Step::Lingering => LINGER_MS,
            Step::Served | Step::Idle | Step::Rest => u64::MAX,
        };
        self.until_ms.set(self.after(time));
    }

    fn after(&self, ms: u64) -> u64 {
        self.shared.now_ms.get().saturating_add(ms)
    }

    /// How the requests of the connection are read.
    pub(super) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The task that serves the connection runs.
    pub(super) fn runs_as(&self, context: &Context<'_>) {
        let task = self.task.take().unwrap_or_else(|| context.waker().clone());
        self.task.set(Some(task));
    }

    /// Bytes of a head came.
    pub(super) fn heard(&self) {
        if matches!(self.step.get(), Step::Answered | Step::Idle | Step::Rest) {
            self.turn_to(Step::Head);
        }
    }

    /// The request has been read to its end.
    pub(super) fn received(&self) {
        self.exchange.received();
        if self.step.get() == Step::Body {
            self.turn_to(Step::Served);
        }
    }

    /// Something is to be written: more of an answer has no more time than the beginning.
    pub(super) fn writes(&self) {
        self.exchange.writes();
        if matches!(self.step.get(), Step::Idle | Step::Rest) {
            self.step.set(Step::Answered);
        }
    }

    /// All that was written is taken. The time for the rest of the answer, if there is one, is kept.
    pub(super) fn is_taken(&self) {
        if self.step.get() == Step::Answered {
            let is_done = self.exchange.is_whole() && !self.exchange.is_answering();
            let Times { idle, rest, .. } = self.shared.times;
            self.step.set(if is_done { Step::Idle } else { Step::Rest });
            self.idle_until_ms.set(self.after(if is_done { idle } else { rest }));
        }
    }

    /// The stack has read a head.
    pub fn begin(&self) {
        self.turn_to(if self.exchange.is_whole() { Step::Served } else { Step::Body });
    }

    /// The connection is no HTTP any more.
    pub fn leaves_http(&self) {
        self.turn_to(Step::Served);
    }

    /// An answer was given to the HTTP stack.
    pub fn answered(&self) {
        self.turn_to(Step::Answered);
    }

    /// The server has finished sending, and waits until the client has.
    pub(super) fn lingers(&self, has_body: bool) {
        self.turn_to(if has_body { Step::LingeringWithBody } else { Step::Lingering });
    }

    /// The bytes of the answer to what cannot be served, which is counted.
    pub(super) fn refuse(&self, malformed: Malformed) -> Bytes {
        self.answered();
        let Shared { settings, counters, .. } = &*self.shared;
        turn_away::answer(&match malformed {
            Malformed::HeadTooLarge => {
                counters.limits.count(Limit::Head);
                OverLimit::of(Limit::Head, settings.max_head_bytes).into()
            }
            Malformed::Because(why) => {
                counters.refused_malformed.add(1);
                Refusal::Malformed(why)
            }
        })
    }

    /// What is to be written in place of an answer. True once.
    pub(super) fn last_words(&self) -> Option<Bytes> {
        self.last_words.take()
    }

    /// What is to happen at this time, if anything is.
    fn passed(&self, now_ms: u64) -> Option<Verdict> {
        let step = self.step.get();
        let until_ms =
            if matches!(step, Step::Idle | Step::Rest) { &self.idle_until_ms } else { &self.until_ms };
        if now_ms < until_ms.get() {
            return None;
        }
        match step {
            Step::Head => Some(Verdict::Over(Limit::HeaderTime)),
            Step::Body | Step::Rest | Step::LingeringWithBody => Some(Verdict::Over(Limit::BodyTime)),
            Step::Answered => Some(Verdict::Over(Limit::AnswerTime)),
            Step::Idle | Step::Lingering => Some(Verdict::Close),
            Step::Served => None,
        }
    }

    /// Ends the connection with these bytes, if its task has run and can write them.
    fn end_with(&self, words: Bytes) -> bool {
        let Some(task) = self.task.take() else { return false };
        self.last_words.set(Some(words));
        self.lingers(false);
        task.wake();
        true
    }
}

/// A connection that is watched.
struct Watched {
    watch: Rc<Watch>,
    served: Option<JoinHandle<()>>,
}

/// The connections of a thread.
pub struct Watches {
    shared: Rc<Shared>,
    drain: Arc<Drain>,
    connections: RefCell<Slab<Watched>>,
    looked_ms: Cell<u64>,
    was_late: Cell<bool>,
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
    pub fn start(
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        drain: Arc<Drain>,
        rules: Rules,
    ) -> Rc<Self> {
        let times = Times::of(&settings);
        let shared = Rc::new(Shared { times, rules, settings, counters, now_ms: Cell::new(0) });
        let watches = Rc::new(Self {
            shared,
            drain,
            connections: RefCell::default(),
            looked_ms: Cell::new(0),
            was_late: Cell::new(false),
        });
        let (weak, started) = (Rc::downgrade(&watches), Instant::now());
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(EVERY);
            // After a pause, what has come meanwhile is read before the next look.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        Rc::new(Watch::new(self.shared.clone()))
    }

    /// Watches this connection until the guard is dropped.
    pub fn add(self: &Rc<Self>, watch: Rc<Watch>) -> Guard {
        let key = self.connections.borrow_mut().insert(Watched { watch, served: None });
        Guard { watches: self.clone(), key }
    }

    /// The task that serves a connection: it is ended when a limit is passed.
    pub fn set_task(&self, key: usize, served: JoinHandle<()>) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.served = Some(served);
        }
    }

    fn look(&self, elapsed_ms: u64) {
        if self.is_on_time(elapsed_ms) {
            let now_ms = self.shared.now_ms.get();
            let is_ending = self.drain.stage() >= Stage::Ending;
            for (_, Watched { watch, served }) in self.connections.borrow().iter() {
                if is_ending && watch.step.get() == Step::LingeringWithBody {
                    watch.lingers(false);
                }
                if let Some(verdict) = watch.passed(now_ms) {
                    self.end(watch, served.as_ref(), verdict);
                }
            }
        }
    }

    /// Sets the clock, and tells whether connections may be judged. A process that was paused, or whose thread was
    /// blocked, has not read what came meanwhile: it is given until the next look, and the pause counts for no client.
    fn is_on_time(&self, elapsed_ms: u64) -> bool {
        let passed_ms = elapsed_ms.saturating_sub(self.looked_ms.replace(elapsed_ms));
        let now_ms = &self.shared.now_ms;
        now_ms.set(now_ms.get().saturating_add(passed_ms.min(2 * EVERY_MS)));
        let is_late = passed_ms > 2 * EVERY_MS;
        // A thread that is always late judges at every second look.
        let was_late = self.was_late.replace(is_late && !self.was_late.get());
        !is_late || was_late
    }

    /// Ends a connection, with an answer if it has none. Its task ends then, and the guard with it, after this look at
    /// all of them.
    fn end(&self, watch: &Watch, served: Option<&JoinHandle<()>>, verdict: Verdict) {
        let waits_for_answer = matches!(watch.step.get(), Step::Head | Step::Body);
        watch.turn_to(Step::Served);
        if let Verdict::Over(limit) = verdict {
            self.shared.counters.limits.count(limit);
            if waits_for_answer && watch.end_with(self.goodbye(limit)) {
                return;
            }
        }
        if let Some(served) = served {
            served.abort();
        }
    }

    fn goodbye(&self, limit: Limit) -> Bytes {
        let settings = &self.shared.settings;
        let ms = match limit {
            Limit::HeaderTime => settings.header_timeout_ms,
            _ => settings.body_timeout_ms,
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
    use crate::edge::exchange::Answer;
    use actix_web::body::BoxBody;

    const RULES: Rules = Rules { max_head_bytes: 1 << 10, is_socket: |_| false, is_target: |_| false };

    fn shared(settings: Settings) -> Rc<Shared> {
        Rc::new(Shared {
            times: Times::of(&settings),
            rules: RULES,
            settings: Arc::new(settings),
            counters: Arc::default(),
            now_ms: Cell::new(0),
        })
    }

    fn timed() -> Rc<Shared> {
        shared(Settings {
            header_timeout_ms: 10,
            body_timeout_ms: 100,
            answer_timeout_ms: 1_000,
            keep_alive_ms: 5,
            ..Settings::default()
        })
    }

    fn over(limit: Limit) -> Option<Verdict> {
        Some(Verdict::Over(limit))
    }

    #[test]
    fn every_step_has_its_time() {
        let shared = timed();
        let watch = Rc::new(Watch::new(shared.clone()));
        assert_eq!((watch.passed(9), watch.passed(10)), (None, over(Limit::HeaderTime)));
        shared.now_ms.set(9);
        watch.heard();
        assert_eq!(watch.passed(10), over(Limit::HeaderTime), "more of a head gives it no more time");
        watch.exchange.begin(false);
        watch.begin();
        assert_eq!((watch.passed(108), watch.passed(109)), (None, over(Limit::BodyTime)));
        watch.heard();
        assert_eq!(watch.passed(109), over(Limit::BodyTime), "more of a body gives it no more time");
        watch.received();
        assert_eq!(watch.passed(u64::MAX - 1), None, "polls wait as long as they like");
        watch.answered();
        assert_eq!((watch.passed(1_008), watch.passed(1_009)), (None, over(Limit::AnswerTime)));
        watch.is_taken();
        assert_eq!(
            (watch.passed(113), watch.passed(114)),
            (None, over(Limit::BodyTime)),
            "more of an answer"
        );
        shared.now_ms.set(500);
        watch.writes();
        assert_eq!(watch.passed(1_009), over(Limit::AnswerTime), "the rest gives it no more time");
        drop(Answer::new(BoxBody::new(()), Some(watch.clone())));
        watch.is_taken();
        assert_eq!(
            (watch.passed(504), watch.passed(505)),
            (None, Some(Verdict::Close)),
            "between two requests"
        );
        shared.now_ms.set(9);
        watch.heard();
        assert_eq!(watch.passed(19), over(Limit::HeaderTime), "the head of the next request");
    }

    #[test]
    fn the_rest_of_a_body_has_its_time() {
        let watch = Rc::new(Watch::new(timed()));
        watch.exchange.begin(false);
        watch.begin();
        watch.answered();
        drop(Answer::new(BoxBody::new(()), Some(watch.clone())));
        watch.is_taken();
        assert_eq!((watch.passed(104), watch.passed(105)), (None, over(Limit::BodyTime)));
        watch.lingers(true);
        assert_eq!((watch.passed(99), watch.passed(100)), (None, over(Limit::BodyTime)));
        watch.lingers(false);
        assert_eq!((watch.passed(LINGER_MS - 1), watch.passed(LINGER_MS)), (None, Some(Verdict::Close)));
    }

    /// The clock that judges a connection does not run on while the process is paused.
    #[actix_web::test]
    async fn a_pause_is_nobodys_fault() {
        let settings = Arc::new(Settings { header_timeout_ms: 1_000, ..Settings::default() });
        let watches = Watches::start(settings, Arc::default(), Arc::default(), RULES);
        let (first, hits) = (watches.watch(), || watches.shared.counters.limits.get(Limit::HeaderTime));
        let _first = watches.add(first.clone());
        (1..=5).for_each(|tick| watches.look(tick * EVERY_MS));
        assert!(!watches.is_on_time(60_900), "what came meanwhile is not read yet");
        assert!(watches.is_on_time(61_000));
        watches.look(61_000);
        assert_eq!(hits(), 0, "the pause is not the client's");
        (1..=10).for_each(|tick| watches.look(61_000 + tick * EVERY_MS));
        assert_eq!(hits(), 1, "its own time is");
        let second = watches.add(watches.watch());
        (1..=10).for_each(|tick| watches.look(62_000 + tick * 1_000));
        assert_eq!(hits(), 2, "a thread that is always late judges, too");
        drop(second);
    }

    #[test]
    fn zero_is_no_limit() {
        let watch = Watch::new(shared(Settings {
            header_timeout_ms: 0,
            body_timeout_ms: 0,
            answer_timeout_ms: 0,
            ..Settings::default()
        }));
        assert_eq!(watch.passed(u64::MAX - 1), None);
        watch.begin();
        assert_eq!(watch.passed(u64::MAX - 1), None);
        watch.answered();
        assert_eq!(watch.passed(u64::MAX - 1), None);
    }
}
