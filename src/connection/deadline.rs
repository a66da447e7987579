//! How long each step of an HTTP connection may take: its request's head, the body, the taking of the answer.
//!
//! A client that drips bytes holds a connection's memory for as long as it likes, unless the whole step is timed and not
//! the pause between two bytes.

use super::exchange::Exchange;
use super::framing::{HeadRules, MalformedRequest};
use super::reject;
use super::turn::ConnectionTurn;
use crate::config::Settings;
use crate::http_error::{OverLimit, Refusal};
use crate::telemetry::Counters;
use crate::telemetry::limits::Limit;
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

/// How long a client that has its answer may take to hang up, in ms.
const LINGER_MS: u64 = 1_000;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestStep {
    /// It sends the head of a request.
    Head,
    /// It sends the body of a request.
    Body,
    /// Its request is complete.
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
pub(crate) enum Verdict {
    /// It has passed a limit.
    Over(Limit),
    /// It is closed, which every client expects.
    Close,
}

/// The limits, in ms; `u64::MAX` for none.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    head: u64,
    body: u64,
    answer: u64,
    idle: u64,
    rest: u64,
}

impl Timeouts {
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
pub(crate) struct TrackerShared {
    times: Timeouts,
    rules: HeadRules,
    pub(crate) settings: Arc<Settings>,
    pub(crate) counters: Arc<Counters>,
    /// Time as connections see it. It does not pass while the process is paused.
    pub(crate) now_ms: Cell<u64>,
}

impl TrackerShared {
    pub(crate) fn new(settings: Arc<Settings>, counters: Arc<Counters>, rules: HeadRules) -> Self {
        Self { times: Timeouts::of(&settings), rules, settings, counters, now_ms: Cell::new(0) }
    }
}

/// One connection's step, and until when it is to be done.
pub struct ConnectionDeadline {
    /// The progress of its request and response.
    pub exchange: Exchange,
    pub(crate) turn: ConnectionTurn,
    shared: Rc<TrackerShared>,
    pub(crate) step: Cell<RequestStep>,
    until_ms: Cell<u64>,
    idle_until_ms: Cell<u64>,
    task: Cell<Option<Waker>>,
    /// What is to be written in place of an answer, before the connection is closed.
    last_words: Cell<Option<Bytes>>,
}

impl ConnectionDeadline {
    pub(crate) fn new(shared: Rc<TrackerShared>) -> Self {
        let until = || Cell::new(u64::MAX);
        let watch = Self {
            exchange: Exchange::default(),
            turn: ConnectionTurn::default(),
            shared,
            step: Cell::new(RequestStep::Head),
            until_ms: until(),
            idle_until_ms: until(),
            task: Cell::default(),
            last_words: Cell::default(),
        };
        watch.turn_to(RequestStep::Head);
        watch
    }

    pub(crate) fn turn_to(&self, step: RequestStep) {
        self.step.set(step);
        let Timeouts { head, body, answer, .. } = self.shared.times;
        let time = match step {
            RequestStep::Head => head,
            RequestStep::Body | RequestStep::LingeringWithBody => body,
            RequestStep::Answered => answer,
            RequestStep::Lingering => LINGER_MS,
            RequestStep::Served | RequestStep::Idle | RequestStep::Rest => u64::MAX,
        };
        self.until_ms.set(self.after(time));
    }

    fn after(&self, ms: u64) -> u64 {
        self.shared.now_ms.get().saturating_add(ms)
    }

    /// How the requests of the connection are read.
    pub(crate) fn rules(&self) -> &HeadRules {
        &self.shared.rules
    }

    /// The task that serves the connection runs.
    pub(crate) fn runs_as(&self, context: &Context<'_>) {
        let task = self.task.take().unwrap_or_else(|| context.waker().clone());
        self.task.set(Some(task));
    }

    /// Bytes of a head came.
    pub(crate) fn heard(&self) {
        if matches!(self.step.get(), RequestStep::Answered | RequestStep::Idle | RequestStep::Rest) {
            self.turn_to(RequestStep::Head);
        }
    }

    /// The request has been read to its end.
    pub(crate) fn received(&self) {
        self.exchange.received();
        match self.step.get() {
            RequestStep::Body => self.turn_to(RequestStep::Served),
            RequestStep::Rest if !self.exchange.is_answering() => self.idles(),
            _ => {}
        }
    }

    fn idles(&self) {
        self.step.set(RequestStep::Idle);
        self.idle_until_ms.set(self.after(self.shared.times.idle));
    }

    /// Something is to be written: more of an answer has no more time than the beginning.
    pub(crate) fn writes(&self) {
        self.exchange.writes();
        if matches!(self.step.get(), RequestStep::Idle | RequestStep::Rest) {
            self.step.set(RequestStep::Answered);
        }
    }

    /// All that was written is taken. The time for the rest of the answer, if there is one, is kept.
    pub(crate) fn is_taken(&self) {
        if self.exchange.set_flushed() {
            self.turn.go_on();
        }
        if self.step.get() != RequestStep::Answered {
            return;
        }
        if self.exchange.is_whole() && !self.exchange.is_answering() {
            return self.idles();
        }
        self.step.set(RequestStep::Rest);
        self.idle_until_ms.set(self.after(self.shared.times.rest));
    }

    /// The stack has read a head.
    pub fn begin(&self) {
        self.turn_to(if self.exchange.is_whole() { RequestStep::Served } else { RequestStep::Body });
    }

    /// An answer was given to the HTTP stack.
    pub fn answered(&self) {
        self.turn_to(RequestStep::Answered);
    }

    /// The server has finished sending, and waits until the client has.
    pub(crate) fn lingers(&self, has_body: bool) {
        self.turn_to(if has_body { RequestStep::LingeringWithBody } else { RequestStep::Lingering });
    }

    /// The bytes of the answer to what cannot be served, which is counted.
    pub(crate) fn refuse(&self, malformed: MalformedRequest) -> Bytes {
        self.answered();
        let TrackerShared { settings, counters, .. } = &*self.shared;
        reject::answer(&match malformed {
            MalformedRequest::HeadTooLarge => {
                counters.limits.count(Limit::Head);
                OverLimit::of(Limit::Head, settings.max_head_bytes).into()
            }
            MalformedRequest::Because(why) => {
                counters.refused_malformed.add(1);
                Refusal::Malformed(why)
            }
        })
    }

    /// What is to be written in place of an answer. True once.
    pub(crate) fn last_words(&self) -> Option<Bytes> {
        self.last_words.take()
    }

    /// What is to happen at this time, if anything is.
    pub(crate) fn passed(&self, now_ms: u64) -> Option<Verdict> {
        let step = self.step.get();
        let until_ms = if matches!(step, RequestStep::Idle | RequestStep::Rest) {
            &self.idle_until_ms
        } else {
            &self.until_ms
        };
        if now_ms < until_ms.get() {
            return None;
        }
        match step {
            RequestStep::Head => Some(Verdict::Over(Limit::HeaderTime)),
            RequestStep::Body | RequestStep::Rest | RequestStep::LingeringWithBody => {
                Some(Verdict::Over(Limit::BodyTime))
            }
            RequestStep::Answered => Some(Verdict::Over(Limit::AnswerTime)),
            RequestStep::Idle | RequestStep::Lingering => Some(Verdict::Close),
            RequestStep::Served => None,
        }
    }

    /// Ends the connection with these bytes, if its task has run and can write them.
    pub(crate) fn end_with(&self, words: Bytes) -> bool {
        let Some(task) = self.task.take() else { return false };
        self.last_words.set(Some(words));
        self.lingers(false);
        task.wake();
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::connection::exchange::ResponseBody;
    use actix_web::body::BoxBody;

    pub(crate) const RULES: HeadRules =
        HeadRules { max_head_bytes: 1 << 10, is_socket: |_| false, is_target: |_| false };

    fn shared(settings: Settings) -> Rc<TrackerShared> {
        Rc::new(TrackerShared::new(Arc::new(settings), Arc::default(), RULES))
    }

    fn timed() -> Rc<TrackerShared> {
        shared(Settings {
            header_timeout_ms: 10,
            body_timeout_ms: 100,
            answer_timeout_ms: 1_000,
            keep_alive_ms: 5,
            ..Settings::default()
        })
    }

    /// The watch of a connection that has all the time that settings give it.
    pub(crate) fn watch() -> Rc<ConnectionDeadline> {
        Rc::new(ConnectionDeadline::new(shared(Settings::default())))
    }

    fn over(limit: Limit) -> Option<Verdict> {
        Some(Verdict::Over(limit))
    }

    #[test]
    fn every_step_has_its_time() {
        let shared = timed();
        let watch = Rc::new(ConnectionDeadline::new(shared.clone()));
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
        drop(ResponseBody::new(BoxBody::new(()), Some(watch.clone())));
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
        let watch = Rc::new(ConnectionDeadline::new(timed()));
        watch.exchange.begin(false);
        watch.begin();
        watch.answered();
        drop(ResponseBody::new(BoxBody::new(()), Some(watch.clone())));
        watch.is_taken();
        assert_eq!((watch.passed(104), watch.passed(105)), (None, over(Limit::BodyTime)));
        watch.received();
        assert_eq!((watch.passed(4), watch.passed(5)), (None, Some(Verdict::Close)), "the rest has come");
        watch.lingers(true);
        assert_eq!((watch.passed(99), watch.passed(100)), (None, over(Limit::BodyTime)));
        watch.lingers(false);
        assert_eq!((watch.passed(LINGER_MS - 1), watch.passed(LINGER_MS)), (None, Some(Verdict::Close)));
    }

    #[test]
    fn zero_is_no_limit() {
        let watch = ConnectionDeadline::new(shared(Settings {
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
