//! The time limit of each step of an HTTP connection: receiving the head of a request, receiving its body, sending the
//! answer.
//!
//! The limit applies to a whole step and not to the pause between two bytes. Otherwise a client that sends single bytes
//! could occupy a connection forever.

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

/// How long a client that has received its answer may take to close the connection, in ms.
const LINGER_MS: u64 = 1_000;

/// The current step of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestStep {
    /// The client sends the head of a request.
    Head,
    /// The client sends the body of a request.
    Body,
    /// The request is complete, and the server handles it.
    Handling,
    /// The client receives an answer.
    Responding,
    /// The client receives an answer without an end, at its own pace.
    Streaming,
    /// The client has received its answer and has not sent another request.
    Idle,
    /// The client has received all that was written, but the answer or the request's body is not complete.
    Unfinished,
    /// The client has received its answer, and the server has closed its sending half.
    Lingering,
    /// The same, while the client still sends the rest of a body.
    LingeringWithBody,
}

/// The consequence for a connection whose step takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The connection has exceeded a limit.
    Over(Limit),
    /// The connection is closed, which every client expects.
    Close,
}

/// The limits, in ms; `u64::MAX` means none.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    head: u64,
    body: u64,
    answer: u64,
    idle: u64,
    unfinished: u64,
}

impl Timeouts {
    fn of(settings: &Settings) -> Self {
        let time = |ms: u64| if ms == 0 { u64::MAX } else { ms };
        Self {
            head: time(settings.header_timeout_ms),
            body: time(settings.body_timeout_ms),
            answer: time(settings.answer_timeout_ms),
            idle: settings.keep_alive_ms,
            unfinished: time(settings.body_timeout_ms).saturating_add(settings.keep_alive_ms),
        }
    }
}

/// The shared state of the connections of a thread.
#[derive(Debug)]
pub(crate) struct TrackerShared {
    times: Timeouts,
    rules: HeadRules,
    pub(crate) settings: Arc<Settings>,
    pub(crate) counters: Arc<Counters>,
    /// The time on a clock that stops while the process is paused.
    pub(crate) now_ms: Cell<u64>,
}

impl TrackerShared {
    pub(crate) fn new(settings: Arc<Settings>, counters: Arc<Counters>, rules: HeadRules) -> Self {
        Self { times: Timeouts::of(&settings), rules, settings, counters, now_ms: Cell::new(0) }
    }
}

/// The current step of one connection, and its deadline.
pub struct ConnectionDeadline {
    /// The progress of its request and response.
    pub exchange: Exchange,
    pub(crate) turn: ConnectionTurn,
    shared: Rc<TrackerShared>,
    pub(crate) step: Cell<RequestStep>,
    until_ms: Cell<u64>,
    idle_until_ms: Cell<u64>,
    max_silence_ms: Cell<u64>,
    task: Cell<Option<Waker>>,
    /// The bytes to write in place of an answer before the connection is closed.
    final_answer: Cell<Option<Bytes>>,
}

impl ConnectionDeadline {
    pub(crate) fn new(shared: Rc<TrackerShared>) -> Self {
        let until = || Cell::new(u64::MAX);
        let deadline = Self {
            exchange: Exchange::default(),
            turn: ConnectionTurn::default(),
            shared,
            step: Cell::new(RequestStep::Head),
            until_ms: until(),
            idle_until_ms: until(),
            max_silence_ms: Cell::default(),
            task: Cell::default(),
            final_answer: Cell::default(),
        };
        deadline.start_step(RequestStep::Head);
        deadline
    }

    pub(crate) fn start_step(&self, step: RequestStep) {
        self.step.set(step);
        let Timeouts { head, body, answer, .. } = self.shared.times;
        let time = match step {
            RequestStep::Head => head,
            RequestStep::Body | RequestStep::LingeringWithBody => body,
            RequestStep::Responding => answer,
            RequestStep::Lingering => LINGER_MS,
            RequestStep::Handling | RequestStep::Streaming | RequestStep::Idle | RequestStep::Unfinished => {
                u64::MAX
            }
        };
        self.until_ms.set(self.after(time));
    }

    fn after(&self, ms: u64) -> u64 {
        self.shared.now_ms.get().saturating_add(ms)
    }

    /// The rules for reading the requests of the connection.
    pub(crate) fn rules(&self) -> &HeadRules {
        &self.shared.rules
    }

    /// Stores the waker of the task that serves the connection.
    pub(crate) fn set_task(&self, context: &Context<'_>) {
        let task = self.task.take().unwrap_or_else(|| context.waker().clone());
        self.task.set(Some(task));
    }

    /// To be called when bytes of a head have arrived.
    pub(crate) fn head_arrived(&self) {
        if matches!(self.step.get(), RequestStep::Responding | RequestStep::Idle | RequestStep::Unfinished) {
            self.start_step(RequestStep::Head);
        }
    }

    /// To be called when the request has been read to its end.
    pub(crate) fn request_complete(&self) {
        self.exchange.set_complete();
        match self.step.get() {
            RequestStep::Body => self.start_step(RequestStep::Handling),
            RequestStep::Unfinished if !self.exchange.is_answering() => self.start_idle(),
            _ => {}
        }
    }

    fn start_idle(&self) {
        self.step.set(RequestStep::Idle);
        self.idle_until_ms.set(self.after(self.shared.times.idle));
    }

    /// To be called before bytes of a response are written. Further bytes do not extend the deadline.
    pub(crate) fn before_write(&self) {
        self.exchange.set_writing();
        if matches!(self.step.get(), RequestStep::Idle | RequestStep::Unfinished) {
            self.step.set(RequestStep::Responding);
        }
    }

    /// To be called when the kernel has all written bytes. If the answer has more bytes, its deadline is unchanged.
    pub(crate) fn flushed(&self) {
        if self.exchange.set_flushed() {
            self.turn.set_more();
        }
        if self.step.get() != RequestStep::Responding {
            return;
        }
        if self.exchange.is_complete() && !self.exchange.is_answering() {
            return self.start_idle();
        }
        self.step.set(RequestStep::Unfinished);
        self.idle_until_ms.set(self.after(self.shared.times.unfinished));
    }

    /// To be called when the HTTP stack has read a head.
    pub fn start_request(&self) {
        self.start_step(if self.exchange.is_complete() { RequestStep::Handling } else { RequestStep::Body });
    }

    /// To be called when the HTTP stack receives an answer.
    pub fn start_response(&self) {
        self.start_step(RequestStep::Responding);
    }

    /// To be called when a response without an end begins. Its peer must acknowledge data within `max_silence_ms`; 0 means no
    /// limit.
    pub fn start_stream(&self, max_silence_ms: u64) {
        self.start_step(RequestStep::Streaming);
        self.max_silence_ms.set(max_silence_ms);
    }

    /// The limit of [`ConnectionDeadline::start_stream`], which the socket must apply; 0 for none. Returned once.
    pub(crate) fn take_max_silence_ms(&self) -> u64 {
        self.max_silence_ms.take()
    }

    /// To be called when the server has finished sending and waits for the client to do the same.
    pub(crate) fn start_lingering(&self, has_body: bool) {
        self.start_step(if has_body { RequestStep::LingeringWithBody } else { RequestStep::Lingering });
    }

    /// Counts a malformed request, and returns the bytes of its answer.
    pub(crate) fn refuse(&self, malformed: MalformedRequest) -> Bytes {
        self.start_response();
        let TrackerShared { settings, counters, .. } = &*self.shared;
        reject::answer(&match malformed {
            MalformedRequest::HeadTooLarge => {
                counters.limits.count(Limit::Head);
                OverLimit::of(Limit::Head, settings.max_head_bytes).into()
            }
            MalformedRequest::Reason(reason) => {
                counters.refused_malformed.add(1);
                Refusal::Malformed(reason)
            }
        })
    }

    /// The bytes to write in place of an answer. Returned once.
    pub(crate) fn take_final_answer(&self) -> Option<Bytes> {
        self.final_answer.take()
    }

    /// The consequence if the deadline has passed at this time.
    pub(crate) fn verdict(&self, now_ms: u64) -> Option<Verdict> {
        let step = self.step.get();
        let until_ms = if matches!(step, RequestStep::Idle | RequestStep::Unfinished) {
            &self.idle_until_ms
        } else {
            &self.until_ms
        };
        if now_ms < until_ms.get() {
            return None;
        }
        match step {
            RequestStep::Head => Some(Verdict::Over(Limit::HeaderTime)),
            RequestStep::Body | RequestStep::Unfinished | RequestStep::LingeringWithBody => {
                Some(Verdict::Over(Limit::BodyTime))
            }
            RequestStep::Responding => Some(Verdict::Over(Limit::AnswerTime)),
            RequestStep::Idle | RequestStep::Lingering => Some(Verdict::Close),
            RequestStep::Handling | RequestStep::Streaming => None,
        }
    }

    /// Ends the connection with this answer. Returns false if its task has not run yet and cannot write it.
    pub(crate) fn end_with(&self, answer: Bytes) -> bool {
        let Some(task) = self.task.take() else { return false };
        self.final_answer.set(Some(answer));
        self.start_lingering(false);
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
        HeadRules { max_head_bytes: 1 << 10, is_websocket_path: |_| false, is_valid_target: |_| false };

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

    /// The deadline of a connection with default settings.
    pub(crate) fn deadline() -> Rc<ConnectionDeadline> {
        Rc::new(ConnectionDeadline::new(shared(Settings::default())))
    }

    fn over(limit: Limit) -> Option<Verdict> {
        Some(Verdict::Over(limit))
    }

    #[test]
    fn every_step_has_a_deadline() {
        let shared = timed();
        let deadline = Rc::new(ConnectionDeadline::new(shared.clone()));
        assert_eq!((deadline.verdict(9), deadline.verdict(10)), (None, over(Limit::HeaderTime)));
        shared.now_ms.set(9);
        deadline.head_arrived();
        assert_eq!(
            deadline.verdict(10),
            over(Limit::HeaderTime),
            "further bytes of a head do not extend the deadline"
        );
        deadline.exchange.start(false);
        deadline.start_request();
        assert_eq!((deadline.verdict(108), deadline.verdict(109)), (None, over(Limit::BodyTime)));
        deadline.head_arrived();
        assert_eq!(
            deadline.verdict(109),
            over(Limit::BodyTime),
            "further bytes of a body do not extend the deadline"
        );
        deadline.request_complete();
        assert_eq!(deadline.verdict(u64::MAX - 1), None, "a poll has no deadline here");
        deadline.start_response();
        assert_eq!((deadline.verdict(1_008), deadline.verdict(1_009)), (None, over(Limit::AnswerTime)));
        deadline.flushed();
        assert_eq!(
            (deadline.verdict(113), deadline.verdict(114)),
            (None, over(Limit::BodyTime)),
            "the rest of the answer is missing"
        );
        shared.now_ms.set(500);
        deadline.before_write();
        assert_eq!(
            deadline.verdict(1_009),
            over(Limit::AnswerTime),
            "the rest of the answer does not extend the deadline"
        );
        drop(ResponseBody::new(BoxBody::new(()), Some(deadline.clone())));
        deadline.flushed();
        assert_eq!(
            (deadline.verdict(504), deadline.verdict(505)),
            (None, Some(Verdict::Close)),
            "between two requests"
        );
        shared.now_ms.set(9);
        deadline.head_arrived();
        assert_eq!(deadline.verdict(19), over(Limit::HeaderTime), "the head of the next request");
    }

    #[test]
    fn the_rest_of_a_body_has_a_deadline() {
        let deadline = Rc::new(ConnectionDeadline::new(timed()));
        deadline.exchange.start(false);
        deadline.start_request();
        deadline.start_response();
        drop(ResponseBody::new(BoxBody::new(()), Some(deadline.clone())));
        deadline.flushed();
        assert_eq!((deadline.verdict(104), deadline.verdict(105)), (None, over(Limit::BodyTime)));
        deadline.request_complete();
        assert_eq!(
            (deadline.verdict(4), deadline.verdict(5)),
            (None, Some(Verdict::Close)),
            "the rest has arrived"
        );
        deadline.start_lingering(true);
        assert_eq!((deadline.verdict(99), deadline.verdict(100)), (None, over(Limit::BodyTime)));
        deadline.start_lingering(false);
        assert_eq!(
            (deadline.verdict(LINGER_MS - 1), deadline.verdict(LINGER_MS)),
            (None, Some(Verdict::Close))
        );
    }

    #[test]
    fn zero_means_no_limit() {
        let deadline = ConnectionDeadline::new(shared(Settings {
            header_timeout_ms: 0,
            body_timeout_ms: 0,
            answer_timeout_ms: 0,
            ..Settings::default()
        }));
        assert_eq!(deadline.verdict(u64::MAX - 1), None);
        deadline.start_request();
        assert_eq!(deadline.verdict(u64::MAX - 1), None);
        deadline.start_response();
        assert_eq!(deadline.verdict(u64::MAX - 1), None);
    }
}
