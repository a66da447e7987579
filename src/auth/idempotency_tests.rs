//! Keys of idempotent requests, with a clock of the tests.

use super::*;
use proptest::prelude::*;

const WINDOW_MS: u64 = 1_000;

fn table(max: usize) -> IdempotencyKeys {
    IdempotencyKeys::new(max, WINDOW_MS)
}

fn time(n: u64) -> Timestamp {
    Timestamp::from_unix_micros(n as i64)
}

impl Claim<'_> {
    fn published_to(&mut self, receipts: &Arc<Receipts>, streams: usize) {
        self.begin(streams);
        self.published(receipts);
    }
}

impl IdempotencyKeys {
    fn try_claim(&self, key: u128, now_ms: u64) -> Result<Claimed<'_>, Refusal> {
        self.claim_at(key, 7, time(now_ms), now_ms)
    }

    fn claimed(&self, key: u128, now_ms: u64) -> Claim<'_> {
        match self.try_claim(key, now_ms) {
            Ok(Claimed::New(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    /// A request that publishes one item and is answered.
    fn publish(&self, key: u128, now_ms: u64) -> Arc<Receipts> {
        let receipts = Receipts::new(0).0;
        self.claimed(key, now_ms).published_to(&receipts, 1);
        receipts
    }

    fn num_stored(&self) -> (usize, usize) {
        let keys = self.shards.iter().map(|shard| locked(shard).keys.len()).sum();
        (keys, self.stored.get())
    }
}

#[test]
fn a_repeated_request_receives_the_first_time_and_receipts() {
    let keys = table(10);
    let receipts = keys.publish(1, 5);
    for now_ms in [5, 900, 1_004] {
        let Ok(Claimed::Known { first, receipts: known }) = keys.try_claim(1, now_ms) else { panic!() };
        assert!(first == time(5) && Arc::ptr_eq(&known, &receipts));
    }
    assert!(matches!(keys.try_claim(2, 900), Ok(Claimed::New(_))));
    assert_eq!(keys.claim_at(1, 8, time(6), 900).unwrap_err(), Refusal::IdempotencyKeyReused);
}

#[test]
fn a_key_ends_with_its_window_and_not_before() {
    let keys = table(10);
    keys.publish(1, 5);
    assert!(matches!(keys.try_claim(1, 1_004), Ok(Claimed::Known { .. })));
    assert!(matches!(keys.try_claim(1, 1_005), Ok(Claimed::New(_))));
    assert_eq!(keys.num_stored(), (0, 0), "the claim was dropped");
}

#[test]
fn a_key_in_progress_is_refused_until_the_answer() {
    let keys = table(10);
    let mut claim = keys.claimed(1, 0);
    assert_eq!(keys.try_claim(1, 0).unwrap_err(), Refusal::IdempotencyInProgress);
    claim.published_to(&Receipts::new(1).0, 1);
    assert_eq!(keys.try_claim(1, 0).unwrap_err(), Refusal::IdempotencyInProgress);
    assert_eq!(keys.claim_at(1, 8, time(0), 0).unwrap_err(), Refusal::IdempotencyKeyReused);
    // Answered, or its client has disconnected.
    drop(claim);
    assert!(matches!(keys.try_claim(1, 0), Ok(Claimed::Known { .. })));
}

#[test]
fn an_uncertain_request_is_published_again_with_its_first_time() {
    let keys = table(1);
    // The client of the first request disconnects before the engine answers; the second is refused.
    keys.claimed(1, 5).begin(1);
    assert_eq!(keys.claim_at(1, 8, time(6), 6).unwrap_err(), Refusal::IdempotencyKeyReused);
    let mut again = keys.claimed(1, 900);
    assert_eq!(again.request().time, time(5));
    assert_eq!(keys.try_claim(1, 900).unwrap_err(), Refusal::IdempotencyInProgress);
    again.begin(1);
    again.refused();
    drop(again);
    // The refusal of the second says nothing about the first. The window begins with the latest.
    keys.sweep_at(1_899);
    let mut last = keys.claimed(1, 1_899);
    assert_eq!((last.request().time, keys.num_stored()), (time(5), (1, 1)));
    last.published_to(&Receipts::new(1).0, 1);
    drop(last);
    assert!(matches!(keys.try_claim(1, 2_898), Ok(Claimed::Known { first, .. }) if first == time(5)));
    keys.sweep_at(2_899);
    assert_eq!(keys.num_stored(), (0, 0));
}

#[test]
fn a_refused_request_frees_its_key() {
    let keys = table(1);
    drop(keys.claimed(1, 0));
    assert_eq!(keys.num_stored(), (0, 0));
    // By the engine as well.
    let mut claim = keys.claimed(1, 0);
    claim.begin(1);
    claim.refused();
    drop(claim);
    assert_eq!(keys.num_stored(), (0, 0));
    // Also for another request.
    assert!(matches!(keys.claim_at(1, 8, time(0), 0), Ok(Claimed::New(_))));
}

#[test]
fn a_full_table_keeps_its_keys_and_states_when_one_ends() {
    let keys = table(2);
    keys.publish(1, 0);
    keys.publish(2, 400);
    let Refusal::OverLimit(over) = keys.try_claim(3, 500).unwrap_err() else { panic!() };
    assert_eq!((over.limit, over.bound, over.retry_after_s), (Limit::IdempotencyKeys, 2, Some(1)));
    assert!(matches!(keys.try_claim(1, 999), Ok(Claimed::Known { .. })), "known keys are still answered");
    assert_eq!(keys.num_stored(), (2, 2));
    // Keys in other parts of the table make room as well.
    keys.publish(3, 1_000);
    assert_eq!(keys.num_stored(), (2, 2));
}

#[test]
fn every_item_counts_and_no_request_is_too_large_forever() {
    let keys = table(2);
    keys.claimed(1, 0).published_to(&Receipts::new(50).0, 50);
    assert_eq!(keys.num_stored(), (1, 50));
    assert!(matches!(keys.try_claim(2, 0), Err(Refusal::OverLimit(_))));
    keys.sweep_at(WINDOW_MS);
    assert_eq!(keys.num_stored(), (0, 0));
    keys.claimed(3, WINDOW_MS).published_to(&Receipts::new(0).0, 0);
    assert_eq!(keys.num_stored(), (1, 1), "a request without items has a key as well");
}

#[test]
fn a_claim_that_outlives_its_window_does_not_touch_the_next_one() {
    let keys = table(10);
    let mut slow = keys.claimed(1, 0);
    slow.published_to(&Receipts::new(1).0, 1);
    let next = keys.claimed(1, WINDOW_MS);
    drop(slow);
    assert_eq!(keys.try_claim(1, WINDOW_MS).unwrap_err(), Refusal::IdempotencyInProgress);
    drop(next);
    assert_eq!(keys.num_stored(), (0, 0));
}

#[test]
fn of_several_threads_one_publishes() {
    let keys = table(1_000);
    for key in 0..100 {
        let published: usize = std::thread::scope(|scope| {
            let request = || match keys.try_claim(key, 0) {
                Ok(Claimed::New(mut claim)) => {
                    claim.published_to(&Receipts::new(1).0, 1);
                    1
                }
                Ok(Claimed::Known { .. }) | Err(Refusal::IdempotencyInProgress) => 0,
                Err(other) => panic!("{other}"),
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(request)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(published, 1);
    }
}

#[test]
fn a_fingerprint_covers_method_and_body() {
    let of = |method: Method, body: &str| fingerprint(&method, body.as_bytes());
    let all = [of(Method::POST, "[]"), of(Method::PATCH, "[]"), of(Method::POST, "[ ]")];
    assert!(all[0] != all[1] && all[0] != all[2] && all[0] == of(Method::POST, "[]"));
}

/// What becomes of a request after its claim.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Refused,
    RefusedByEngine,
    Uncertain,
    Published,
}

#[derive(Clone, Debug)]
enum Step {
    /// A request with a key and a body. Some are refused after their claim, some are answered later.
    Request {
        key: u128,
        body: u128,
        fate: Fate,
        slow: bool,
    },
    /// The oldest slow request is answered, or its client disconnects.
    Answer,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        1 => Just(Fate::Refused),
        1 => Just(Fate::RefusedByEngine),
        1 => Just(Fate::Uncertain),
        6 => Just(Fate::Published),
    ];
    let request = (0u128..40, 0u128..2, fate, prop::bool::weighted(0.3));
    let request = request.prop_map(|(key, body, fate, slow)| Step::Request { key, body, fate, slow });
    prop_oneof![6 => request, 2 => Just(Step::Answer), 1 => (0u64..700).prop_map(Step::Pass)]
}

/// What the model stores of a key.
struct Known {
    body: u128,
    first_ms: u64,
    end_ms: u64,
    answered: bool,
    /// Whether the engine may have the items or not.
    uncertain: bool,
}

proptest! {
    /// One key, one effect: within its window a key publishes once, whatever is repeated, refused or disconnected.
    #[test]
    fn each_key_publishes_once_within_its_window(steps in prop::collection::vec(step(), 1..200), max in 1usize..30) {
        let keys = table(max);
        let mut model: HashMap<u128, Known> = HashMap::new();
        let (mut slow_requests, mut now_ms) = (VecDeque::new(), 0);
        for step in steps {
            match step {
                Step::Pass(ms) => now_ms += ms,
                Step::Answer => {
                    if let Some((key, claimed_ms, claim)) = slow_requests.pop_front() {
                        drop::<Claim<'_>>(claim);
                        let own = |known: &&mut Known| known.end_ms == claimed_ms + WINDOW_MS;
                        if let Some(known) = model.get_mut(&key).filter(own) {
                            known.answered = true;
                        }
                    }
                }
                Step::Request { key, body, fate, slow } => {
                    model.retain(|_, known| known.end_ms > now_ms);
                    let end_ms = now_ms + WINDOW_MS;
                    match (keys.claim_at(key, body, time(now_ms), now_ms), model.get_mut(&key)) {
                        (Ok(Claimed::New(mut claim)), known) => {
                            let first_ms = known.as_ref().map_or(now_ms, |known| known.first_ms);
                            prop_assert!(known.as_ref().is_none_or(|known| known.uncertain && known.body == body));
                            prop_assert_eq!(claim.request().time, time(first_ms));
                            if fate != Fate::Refused {
                                // Equal bodies have equal numbers of streams.
                                claim.begin((key + body) as usize % 4);
                            }
                            if matches!(fate, Fate::Refused | Fate::RefusedByEngine) {
                                if fate == Fate::RefusedByEngine {
                                    claim.refused();
                                }
                                known.into_iter().for_each(|known| known.end_ms = end_ms);
                                continue;
                            }
                            let uncertain = fate == Fate::Uncertain;
                            let answered = !slow || uncertain;
                            model.insert(key, Known { body, first_ms, end_ms, answered, uncertain });
                            if !uncertain {
                                claim.published(&Receipts::new(1).0);
                                if slow {
                                    slow_requests.push_back((key, now_ms, claim));
                                }
                            }
                        }
                        (Ok(Claimed::Known { first, .. }), Some(known)) => {
                            prop_assert!(known.body == body && known.answered && !known.uncertain);
                            prop_assert_eq!(first, time(known.first_ms));
                        }
                        (Err(Refusal::IdempotencyKeyReused), Some(known)) => prop_assert!(known.body != body),
                        (Err(Refusal::IdempotencyInProgress), Some(known)) => {
                            prop_assert!(known.body == body && !known.answered);
                        }
                        (Err(Refusal::OverLimit(_)), None) => prop_assert!(keys.stored.get() >= max),
                        (claimed, known) => prop_assert!(false, "{claimed:?}, known: {}", known.is_some()),
                    }
                }
            }
            let counts = |shard: &Mutex<Shard>| locked(shard).keys.values().map(|known| known.count).sum::<usize>();
            prop_assert_eq!(keys.shards.iter().map(counts).sum::<usize>(), keys.stored.get());
            prop_assert!(keys.stored.get() < max + 4);
        }
        drop(slow_requests);
        keys.sweep_at(now_ms + WINDOW_MS);
        prop_assert_eq!(keys.num_stored(), (0, 0));
    }
}
