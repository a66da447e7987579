//! What the task of the link does in a turn.

use super::super::batch::Answered;
use super::super::connection::{
    Arrivals, Landed, Request, answer, command, is_loaded, load_command, wait_command,
};
use super::super::handle::{Owner, ToLink};
use super::super::join::{JoinError, Joined, Joining};
use super::super::liveness::{Beaten, Chore};
use super::super::pushes::End;
use super::super::unit::Unit;
use super::super::verdict::{Loss, Need};
use super::super::{FromEngine, Outcome};
use super::{Leaving, Link, News, REPLICAS_LIMIT, State, UNANSWERED_LIMIT};
use crate::broker::engine::call::{Call, Sender};
use crate::broker::engine::error::EngineError;
use crate::clock::since_boot;
use crate::protocol::ids::Epoch;
use crate::telemetry::log_sums::{FAILED_CALLS, escaped};
use log::{info, warn};
use std::ops::Range;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Without a connection for so long, new calls fail at once.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The delay after a loss. It doubles with each failed attempt.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(1);
/// The delays of nodes differ by these factors.
const SPREAD: Range<f64> = 0.5..1.5;
/// No delay is longer than this part of the time after which other nodes, which may have joined earlier, count this one as
/// dead.
const PART_OF_DEAD_TIME: f64 = 4.0;

impl Link {
    pub(super) fn handle(&mut self, news: News, deliver: &impl Fn(FromEngine)) {
        let now = Instant::now();
        self.take_arrivals(news.arrivals, now, deliver);
        match news.joined {
            Some(Ok(joined)) => self.joined(joined, now, deliver),
            Some(Err(error)) => self.failed(error, now),
            None => {}
        }
        for message in news.messages {
            self.take_message(message, now, deliver);
        }
        self.advance(now, deliver);
    }

    fn take_arrivals(&mut self, arrivals: Arrivals, now: Instant, deliver: &impl Fn(FromEngine)) {
        let bytes: usize = arrivals.mail.iter().map(Vec::len).sum();
        self.shared.counters.push_bytes.set(bytes as u64);
        arrivals.mail.into_iter().for_each(|mail| deliver(FromEngine::Mail(mail)));
        let mut loss = arrivals.end.map(|end| match end {
            End::Closed => Loss::Closed,
            End::Overrun => Loss::Overrun,
            End::Unsubscribed => Loss::Unsubscribed,
            End::Moved => Loss::Moved,
        });
        for landed in arrivals.landed {
            let Answered { outcomes, needs } = self.take_landed(landed, now);
            self.finish(outcomes, deliver);
            match (needs, &mut self.state) {
                (Some(Need::Connection(cause)), _) => loss = loss.max(Some(cause)),
                (Some(Need::Scripts), State::Connected(connection)) => {
                    connection.send(Request::Scripts, vec![load_command()], now);
                }
                _ => {}
            }
        }
        if let Some(loss) = loss {
            self.lose(loss, now, deliver);
        }
    }

    fn take_landed(&mut self, landed: Landed, now: Instant) -> Answered<Owner> {
        let nothing = |needs| Answered { outcomes: Vec::new(), needs };
        let Ok(values) = landed.values else {
            return nothing(Some(Need::Connection(Loss::Closed)));
        };
        let mut answers = values.into_iter().map(answer);
        match landed.request {
            Request::Pipeline => self.batch.answered(answers.collect(), landed.roundtrip, now),
            Request::Urgent => match answers.next() {
                Some(answer) => self.batch.urgent_answered(answer, landed.roundtrip),
                None => nothing(Some(Need::Connection(Loss::Disordered))),
            },
            Request::Scripts => {
                let is_failed = !answers.all(|answer| is_loaded(&answer));
                nothing(is_failed.then_some(Need::Connection(Loss::NotReady)))
            }
        }
    }

    /// Gives the replies to their requesters.
    pub(super) fn finish(&mut self, outcomes: Vec<Outcome<Owner>>, deliver: &impl Fn(FromEngine)) {
        for (owner, result) in outcomes {
            match owner {
                Owner::Ticket(ticket) => deliver(FromEngine::Reply(ticket, result)),
                Owner::None => {}
                // An error means that the requester no longer waits.
                Owner::Waiter(waiter) => _ = waiter.send(result),
                Owner::Health => {
                    if result.is_ok_and(|reply| reply.is_ok()) {
                        self.shared.health.joined();
                    }
                }
                Owner::Link(chore) => {
                    let beaten = self.liveness.done(chore, result.as_ref().ok(), Instant::now());
                    if let Some(Beaten { stamp, store }) = beaten {
                        self.shared.seen.raise(stamp);
                        let dead = Duration::from_millis(self.settings.constants.dead_ms);
                        self.shared.lease.extend(self.beat_sent.saturating_add(dead));
                        deliver(FromEngine::Stamp { stamp, store });
                    }
                    if let Err(EngineError::Refused(text)) = result {
                        FAILED_CALLS.log(None, format_args!("Redis refused {chore:?}: {}", escaped(&text)));
                    }
                }
            }
        }
    }

    fn joined(&mut self, joined: Joined, now: Instant, deliver: &impl Fn(FromEngine)) {
        let is_same_node = self.liveness.joined(&joined.attempt, &joined.adopted, now);
        let (node, term) = (self.liveness.node(), joined.adopted.term);
        info!("connected to {} as node {node} in term {term}", joined.server);
        if !is_same_node {
            self.shared.lease.doubt(node);
        }
        self.former = Some(joined.former);
        (self.disconnected_at, self.attempts) = (None, 0);
        self.last_error.clear();
        self.shared.counters.up.set(1);
        self.shared.health.connected();
        self.shared.counters.term.set(term);
        self.shared.counters.node.set(node);
        self.batch.connected();
        self.state = State::Connected(joined.connection);
        let (store, base) = (joined.adopted.store, joined.adopted.base);
        deliver(FromEngine::Joined { node, store, term, base, is_same_node });
    }

    fn failed(&mut self, error: JoinError, now: Instant) {
        if error.text != self.last_error {
            warn!("cannot use Redis: {}", escaped(&error.text));
        }
        self.last_error = error.text;
        if let Some(attempt) = error.enlisted {
            self.liveness.may_be_enlisted(&attempt);
        }
        self.attempts += 1;
        self.state = State::Waiting { until: now + self.delay() };
    }

    /// The delay before an attempt to join: doubled with each failure, and different on each node.
    fn delay(&self) -> Duration {
        let dead = Duration::from_millis(self.settings.constants.dead_ms);
        longest_delay(self.attempts, dead).mul_f64(rand::random_range(SPREAD) / SPREAD.end)
    }

    /// Gives up the connection.
    fn lose(&mut self, loss: Loss, now: Instant, deliver: &impl Fn(FromEngine)) {
        if !matches!(self.state, State::Connected(_)) {
            return;
        }
        let counters = &self.shared.counters;
        counters.up.set(0);
        self.shared.health.lost(now);
        counters.reconnects.add(1);
        counters.overruns.add(u64::from(loss == Loss::Overrun));
        counters.fenced.add(u64::from(loss == Loss::Fenced));
        warn!("connection to Redis lost: {}", describe(loss));
        self.state = State::Waiting { until: now + self.delay() };
        (self.disconnected_at, self.is_info_sent) = (Some(now), false);
        self.liveness.lost(loss == Loss::Fenced);
        let outcomes = self.batch.lost();
        self.finish(outcomes, deliver);
        deliver(FromEngine::Lost);
    }

    fn take_message(&mut self, message: ToLink, now: Instant, deliver: &impl Fn(FromEngine)) {
        match message {
            ToLink::Call(call, owner, charge) => {
                if self.leaving.is_some() || self.disconnected_at.is_some_and(|at| now >= at + PATIENCE) {
                    self.finish(vec![(owner, Err(EngineError::Unavailable))], deliver);
                } else {
                    self.batch.push(call, owner, Some(charge), now);
                }
            }
            ToLink::Refused(owner) => self.finish(vec![(owner, Err(EngineError::Unavailable))], deliver),
            ToLink::Restated(node) => {
                self.liveness.restated(node);
                if !self.shared.health.has_joined() {
                    // It states nothing, and is answered behind all that the registry has stated.
                    self.batch.push_own(Call::Set { is_quiet: false, counts: Vec::new() }, Owner::Health);
                }
            }
            ToLink::Info(info) => (self.info, self.is_info_sent) = (info, false),
            ToLink::Leave(done) => {
                let until = now + Duration::from_millis(self.settings.timeout_ms);
                let leaving = Leaving { done: Vec::new(), until, is_last_call: false };
                self.leaving.get_or_insert(leaving).done.push(done);
            }
        }
    }

    /// Does everything that is due, and sends what may be sent.
    fn advance(&mut self, now: Instant, deliver: &impl Fn(FromEngine)) {
        let expired = self.batch.expire(now);
        self.finish(expired, deliver);
        match &self.state {
            State::Waiting { until } if *until <= now && self.leaving.is_none() => self.begin_attempt(),
            State::Connected(connection) => {
                let oldest = connection.oldest_unanswered();
                if oldest.is_some_and(|sent| sent + UNANSWERED_LIMIT <= now) {
                    self.lose(Loss::Silent, now, deliver);
                }
            }
            _ => {}
        }
        self.do_chores(now);
        self.send(now);
    }

    fn begin_attempt(&mut self) {
        let joining = Joining {
            settings: self.settings.clone(),
            shared: self.shared.clone(),
            attempt: self.liveness.attempt(rand::random()),
            former: self.former.clone(),
            boot: self.boot,
            info: self.info.clone(),
            count: self.attempts,
        };
        self.state = State::Joining(Box::pin(joining.join()));
    }

    fn do_chores(&mut self, now: Instant) {
        if let Some(leaving) = &mut self.leaving
            && !leaving.is_last_call
            && self.batch.is_idle()
        {
            leaving.is_last_call = true;
            self.liveness.leave(self.settings.restart_grace_ms);
        }
        for chore in self.liveness.due(now) {
            let info = (chore == Chore::Beat && !std::mem::replace(&mut self.is_info_sent, true))
                .then(|| self.info.clone());
            let call = self.liveness.call(chore, info);
            if chore == Chore::Beat {
                self.beat_sent = since_boot();
            }
            self.shared.counters.swept.add(u64::from(matches!(call, Call::Sweep { .. })));
            if chore.is_urgent() {
                self.batch.push_urgent(call, Owner::Link(chore));
            } else {
                self.batch.push_own(call, Owner::Link(chore));
            }
        }
    }

    fn send(&mut self, now: Instant) {
        let State::Connected(connection) = &mut self.state else {
            return;
        };
        let partition = self.settings.partition();
        let (node, boot, settings) = (self.liveness.node(), self.boot, self.settings.constants);
        let command = |unit: &Unit<Owner>| {
            let (epoch, seed) = (Epoch::new(rand::random()), Uuid::new_v4());
            let sender = Sender { node, boot, number: unit.number, epoch, seed, settings };
            command(&partition, &unit.call, &sender)
        };
        while let Some(unit) = self.batch.next_urgent() {
            connection.send(Request::Urgent, vec![command(unit)], now);
        }
        let mut pipeline: Vec<_> = self.batch.next_pipeline(now).iter().map(command).collect();
        // A beat may be behind it.
        let longest = REPLICAS_LIMIT.min(Duration::from_millis(settings.beat_ms));
        let waiting = self.batch.replicas_to_wait_for(longest, now).filter(|_| !pipeline.is_empty());
        pipeline.extend(waiting.map(|(replicas, limit)| wait_command(replicas, limit)));
        if !pipeline.is_empty() {
            connection.send(Request::Pipeline, pipeline, now);
        }
    }
}

/// The longest delay before the next attempt, after this number of failures. Nodes count as dead after `dead`.
fn longest_delay(failures: u32, dead: Duration) -> Duration {
    let delay = FIRST_DELAY.saturating_mul(1 << failures.min(8)).min(LAST_DELAY).mul_f64(SPREAD.end);
    delay.min(dead.div_f64(PART_OF_DEAD_TIME))
}

fn describe(loss: Loss) -> &'static str {
    match loss {
        Loss::Closed => "it was closed",
        Loss::Silent => "a call was not answered",
        Loss::Overrun => "mail arrives faster than this node handles it",
        Loss::Unsubscribed => "the mailbox was unsubscribed",
        Loss::Moved => "Sentinels name another master",
        Loss::NotReady => "the server is not a master that accepts calls",
        Loss::Fenced => "other nodes have declared this one dead, or the server has lost its data",
        Loss::Unsettled => "changes wait for too long until all nodes have reported what they have seen",
        Loss::Disordered => "the server ran calls in another order, or replied with something unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tries_to_join_several_times_before_it_counts_as_dead() {
        let longest = |failures, dead_ms| longest_delay(failures, Duration::from_millis(dead_ms)).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 99].map(|failures| longest(failures, 60_000)),
            [75, 150, 300, 600, 1_200, 1_500]
        );
        assert_eq!([0, 3, 4, 99].map(|failures| longest(failures, 3_000)), [75, 600, 750, 750]);
        assert_eq!([0, 99].map(|failures| longest(failures, 300)), [75, 75]);
    }
}
