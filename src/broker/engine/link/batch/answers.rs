//! What answers of Redis do to the queue.

use super::super::unit::{Unit, is_reading, must_replicate};
use super::super::verdict::{Failure, Loss, Need, Verdict};
use super::{Answered, Batch};
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::Outcome;
use crate::broker::engine::link::seen::Seen;
use crate::broker::engine::reply::Reply;
use std::time::{Duration, Instant};

/// The time until a call is repeated that waits until all nodes have reported.
const SETTLING_DELAY: Duration = Duration::from_millis(50);

impl<O> Batch<O> {
    /// Redis has answered the pipeline, after this time. If it was to wait for replicas, their number is the last answer.
    pub fn answered(
        &mut self,
        answers: Vec<Result<Reply, Failure>>,
        roundtrip: Duration,
        now: Instant,
    ) -> Answered<O> {
        let (mut outcomes, mut needs, mut repeated) = (Vec::new(), None, Vec::new());
        let is_replicated = self.is_replicated(answers.get(self.sent.len()));
        let mut answers = answers.into_iter();
        for unit in std::mem::take(&mut self.sent) {
            let Some(answer) = answers.next() else {
                needs = Some(Need::Connection(Loss::Disordered));
                repeated.push(unit.into_uncertain());
                continue;
            };
            let need = match self.judge(&unit, answer, roundtrip) {
                Verdict::Done(result) => {
                    let is_accepted = result.is_ok() && is_gated(&unit.call);
                    if is_accepted {
                        self.settled(now);
                    }
                    match result {
                        Ok(reply) if !is_replicated && must_replicate(&unit.call) => {
                            self.counters.unreplicated.add(1);
                            unit.lacks_replicas(&reply, &self.seen, &mut outcomes);
                        }
                        result => finish(unit, result, &self.seen, &mut outcomes),
                    }
                    needs = needs.max(
                        (is_accepted && !repeated.is_empty()).then_some(Need::Connection(Loss::Disordered)),
                    );
                    continue;
                }
                Verdict::Settling(_) => self.hold(now),
                Verdict::NotLoaded => Some(Need::Scripts),
                Verdict::Lost(loss) => Some(Need::Connection(loss)),
            };
            needs = needs.max(need);
            if unit.is_uncertain { repeated.push(unit) } else { repeated.extend(unit.split()) }
        }
        repeated.into_iter().rev().for_each(|unit| self.queue.push_front(unit));
        Answered { outcomes, needs }
    }

    /// Whether as many replicas as required have the changes. Without an answer, none was required.
    fn is_replicated(&self, answer: Option<&Result<Reply, Failure>>) -> bool {
        answer.is_none_or(|answer| {
            let count = answer.as_ref().ok().and_then(Reply::number);
            count.is_some_and(|count| count >= self.wait_replicas)
        })
    }

    /// Redis has answered the oldest call outside of pipelines, after this time.
    pub fn urgent_answered(&mut self, answer: Result<Reply, Failure>, roundtrip: Duration) -> Answered<O> {
        let (mut outcomes, mut needs) = (Vec::new(), None);
        let Some(unit) = self.urgent_sent.pop_front() else {
            return Answered { outcomes, needs };
        };
        match self.judge(&unit, answer, roundtrip) {
            Verdict::Done(result) => finish(unit, result, &self.seen, &mut outcomes),
            // It does not wait for the queue; its requester repeats it later.
            Verdict::Settling(reply) => finish(unit, Ok(reply), &self.seen, &mut outcomes),
            Verdict::NotLoaded => {
                needs = Some(Need::Scripts);
                self.urgent.push_back(unit);
            }
            Verdict::Lost(loss) => {
                needs = Some(Need::Connection(loss));
                self.urgent.push_back(unit);
            }
        }
        Answered { outcomes, needs }
    }

    fn judge(&self, unit: &Unit<O>, answer: Result<Reply, Failure>, roundtrip: Duration) -> Verdict {
        let script = unit.call.script();
        self.counters.roundtrip(script, roundtrip);
        let (verdict, error) = Verdict::read(answer);
        if let Some(error) = error {
            self.counters.error(script, error);
        }
        verdict
    }

    /// Changes wait.
    fn hold(&mut self, now: Instant) -> Option<Need> {
        self.held_until = Some(now + SETTLING_DELAY);
        self.is_probing = true;
        let since = *self.settling_since.get_or_insert(now);
        (now >= since + self.settling_limit).then_some(Need::Connection(Loss::Unsettled))
    }

    /// Redis has accepted a change, so that it accepts all that follow.
    fn settled(&mut self, now: Instant) {
        self.is_probing = false;
        if let Some(since) = self.settling_since.take() {
            self.counters.settling.add(now.saturating_duration_since(since).as_micros() as u64);
        }
    }
}

/// Whether Redis refuses the call of a node that it does not know, and as long as nodes have not reported.
fn is_gated(call: &Call) -> bool {
    let is_passing = matches!(
        call,
        Call::Adopt { .. }
            | Call::Enlist { .. }
            | Call::Report { .. }
            | Call::Beat { .. }
            | Call::Sweep { .. }
            | Call::Send { .. }
            | Call::Tally { .. }
            | Call::UseOnce { .. }
            | Call::SignOuts { .. }
            | Call::CookieSecret { .. }
    );
    !is_passing && !is_reading(call)
}

fn finish<O>(unit: Unit<O>, result: Result<Reply, EngineError>, seen: &Seen, outcomes: &mut Vec<Outcome<O>>) {
    match result {
        Ok(reply) => unit.answer(reply, seen, outcomes),
        Err(error) => unit.fail(&error, outcomes),
    }
}
