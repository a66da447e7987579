//! Random lives of a [`Batch`] with a Redis that recognizes numbers, refuses calls, and breaks connections.

use super::Batch;
use super::call_tests::{
    TIMEOUT, TRIP, answer_of, append, batch, change, ids_of, no_function, read, set, status,
};
use crate::broker::engine::call::Call;
use crate::broker::engine::entry::{Answer, Published, read_answers};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::Outcome;
use crate::broker::engine::link::unit::{Pending, Unit};
use crate::broker::engine::link::verdict::Need;
use crate::broker::engine::reply::Reply;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PENDING_LIMIT: usize = 1 << 20;

/// What happens to a batch.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Change,
    Set,
    Read,
    /// Time passes, in ms.
    Wait(u16),
    /// What may be sent is sent.
    Send,
    /// Redis runs this number of calls; the connection breaks before the replies.
    Break(u8),
    /// Redis runs the calls from the one with this index on, which is the first for 0.
    Answer(Refusal, u8),
    AnswerUrgent,
    Connect,
}

#[derive(Clone, Copy, Debug)]
enum Refusal {
    None,
    Settling,
    NoScript,
    Fenced,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let refusal = prop_oneof![
        6 => Just(Refusal::None), 1 => Just(Refusal::Settling), 1 => Just(Refusal::NoScript), 1 => Just(Refusal::Fenced)
    ];
    let step = prop_oneof![
        8 => (1_u8..40).prop_map(Step::Append),
        3 => Just(Step::Change),
        2 => Just(Step::Set),
        2 => Just(Step::Read),
        3 => (0_u16..900).prop_map(Step::Wait),
        8 => Just(Step::Send),
        2 => any::<u8>().prop_map(Step::Break),
        6 => (refusal, any::<u8>()).prop_map(|(refusal, at)| Step::Answer(refusal, at)),
        2 => Just(Step::AnswerUrgent),
        3 => Just(Step::Connect),
    ];
    prop::collection::vec(step, 1..120)
}

/// A batch with its requesters, and Redis.
struct World {
    batch: Batch<u64>,
    now: Instant,
    pending: Arc<Pending>,
    is_connected: bool,
    /// The calls that were sent: number and ids.
    pipeline: Vec<(u64, Vec<u64>)>,
    urgent: usize,
    last_id: u64,
    /// The ids of each requester that waits, and its deadline.
    waiting: BTreeMap<u64, (Vec<u64>, Instant)>,
    /// Ids of calls that have certainly not run.
    excluded: BTreeSet<u64>,
    /// Redis: the ids in the order in which they took effect, and the numbers that it knows.
    log: Vec<u64>,
    known: HashMap<u64, Vec<u64>>,
}

impl World {
    fn new() -> Self {
        Self {
            batch: batch().0,
            now: Instant::now(),
            pending: Arc::default(),
            is_connected: true,
            pipeline: Vec::new(),
            urgent: 0,
            last_id: 0,
            waiting: BTreeMap::new(),
            excluded: BTreeSet::new(),
            log: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// A requester is known by its first id.
    fn request(&mut self, count: u64, call: impl FnOnce(u64) -> Call) {
        let first = self.last_id + 1;
        self.last_id += count;
        let call = call(first);
        let charge = self.pending.charge(&call, PENDING_LIMIT);
        self.waiting.insert(first, (ids_of(&call), self.now + TIMEOUT));
        self.batch.push(call, first, charge, self.now);
    }

    fn run(&mut self, number: u64, ids: &[u64]) {
        if number == 0 {
            return;
        }
        if let Some(before) = self.known.get(&number) {
            assert_eq!(before, ids, "a number belongs to one call");
            return;
        }
        self.known.insert(number, ids.to_vec());
        self.log.extend(ids);
    }

    fn finish(&mut self, outcomes: Vec<Outcome<u64>>) {
        for (owner, result) in outcomes {
            let (ids, _) = self.waiting.remove(&owner).expect("each requester has one outcome");
            match result {
                Ok(Reply::Bytes(bytes)) => {
                    let offset = |answer: Answer| match answer.published {
                        Published::At(item) => item.position.offset,
                        other => panic!("{other:?}"),
                    };
                    let answers: Vec<_> = read_answers(&bytes).unwrap().into_iter().map(offset).collect();
                    assert_eq!(answers, ids, "the answers are those of its items");
                }
                Ok(_) => assert!(ids.is_empty()),
                Err(EngineError::Timeout { was_sent: false }) => self.excluded.extend(ids),
                Err(EngineError::Timeout { was_sent: true }) => {}
                Err(EngineError::Unavailable) => assert!(ids.is_empty(), "messages stay queued"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn lose(&mut self) {
        self.is_connected = false;
        self.pipeline.clear();
        self.urgent = 0;
        let outcomes = self.batch.lost();
        self.finish(outcomes);
    }

    fn answer(&mut self, refusal: Refusal, at: u8) {
        let pipeline = std::mem::take(&mut self.pipeline);
        if pipeline.is_empty() {
            return;
        }
        // From which call on Redis refuses.
        let from = usize::from(at) % pipeline.len();
        let mut answers = Vec::new();
        for (index, (number, ids)) in pipeline.iter().enumerate() {
            let refused = match refusal {
                // It refuses all, because settling never begins after it has accepted a change.
                Refusal::Settling if pipeline.len() == 1 => Some(status("SETTLING")),
                Refusal::NoScript if index >= from => Some(no_function()),
                Refusal::Fenced if index >= from => Some(status("FENCED")),
                _ => None,
            };
            answers.push(refused.unwrap_or_else(|| {
                self.run(*number, ids);
                let bytes: Vec<u8> = ids.iter().copied().flat_map(answer_of).collect();
                Ok(if bytes.is_empty() { Reply::Status("OK".into()) } else { Reply::Bytes(bytes) })
            }));
        }
        let answered = self.batch.answered(answers, TRIP, self.now);
        self.finish(answered.outcomes);
        if matches!(answered.needs, Some(Need::Connection(_))) {
            self.lose();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                let count = u64::from(count);
                self.request(count, |first| append(first..first + count));
            }
            Step::Change => self.request(1, change),
            Step::Set => self.request(1, |_| set()),
            Step::Read => self.request(1, |_| read()),
            Step::Wait(ms) => self.now += Duration::from_millis(ms.into()),
            Step::Send => self.send(),
            Step::Break(run) => {
                let run = usize::from(run) % (self.pipeline.len() + 1);
                for (number, ids) in self.pipeline.clone().into_iter().take(run) {
                    self.run(number, &ids);
                }
                self.lose();
            }
            Step::Answer(refusal, at) => self.answer(refusal, at),
            Step::AnswerUrgent if self.urgent > 0 => {
                self.urgent -= 1;
                let outcomes = self.batch.urgent_answered(Ok(Reply::Nil), TRIP).outcomes;
                self.finish(outcomes);
            }
            Step::AnswerUrgent => {}
            Step::Connect => {
                self.batch.connected();
                self.is_connected = true;
            }
        }
        let expired = self.batch.expire(self.now);
        self.finish(expired);
        assert!(self.waiting.values().all(|(_, deadline)| *deadline > self.now), "no deadline is missed");
    }

    fn send(&mut self) {
        while self.batch.next_urgent().is_some() {
            self.urgent += 1;
        }
        let next = self.batch.next_pipeline(self.now);
        assert!(next.len() <= 256);
        let sent: Vec<_> = next.iter().map(|unit: &Unit<u64>| (unit.number, ids_of(&unit.call))).collect();
        assert!(sent.iter().all(|(_, ids)| ids.len() <= 64));
        assert!(sent.is_empty() || self.is_connected && self.pipeline.is_empty());
        if !sent.is_empty() {
            self.pipeline = sent;
        }
    }

    /// Lets the rest run, and checks what holds at the end.
    fn end(mut self) {
        self.step(Step::Connect);
        while !self.batch.is_idle() {
            self.step(Step::Wait(60));
            self.step(Step::Send);
            self.answer(Refusal::None, 0);
            while self.urgent > 0 {
                self.step(Step::AnswerUrgent);
            }
        }
        assert!(self.waiting.is_empty(), "each requester has an outcome");
        assert_eq!(self.pending.bytes(), 0);
        assert!(self.log.is_sorted_by(|a, b| a < b), "in order and once: {:?}", self.log);
        assert!(self.log.iter().all(|id| !self.excluded.contains(id)), "not sent means not done");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_take_effect_in_order_and_at_most_once(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.end();
    }
}
