//! Thousands of simulated runs, each from its seed.

use super::Rules;
use super::World;
use super::actions::{Action, act, all_conn_ids};
use super::draws::{draw, draw_returning, draw_ruled};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// Seeds that once failed, each with its reason. Every test run repeats them.
const REGRESSIONS: &str = include_str!("../../tests/data/simulation_seeds.txt");
/// Number of random seeds, unless `CHANNELSTREAM_SEEDS` sets another.
const SEEDS: u64 = 3_000;
/// Maximum number of attempts to shorten a failing run.
const MAX_SHRINK_STEPS: usize = 1_500;

fn run(rules: &Rules, actions: &[Action]) {
    let mut world = World::new(rules.clone());
    for action in actions {
        act(&mut world, action);
        world.check();
    }
    world.reconnect_all(&all_conn_ids());
    world.expire_all();
}

/// The failure of a run.
fn failure(rules: &Rules, actions: &[Action]) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| run(rules, actions))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).or(Some("a panic".into()))
}

/// Shortens a failing run: leaves out smaller and smaller parts while it still fails.
fn shrink(rules: &Rules, mut actions: Vec<Action>) -> Vec<Action> {
    let (mut size, mut steps) = (actions.len() / 2, 0);
    while size > 0 {
        let mut start = 0;
        while start < actions.len() && steps < MAX_SHRINK_STEPS {
            let mut fewer = actions.clone();
            fewer.drain(start..(start + size).min(actions.len()));
            steps += 1;
            match failure(rules, &fewer) {
                Some(_) => actions = fewer,
                None => start += size,
            }
        }
        size /= 2;
    }
    actions
}

/// Converts a seed to a run.
type Draw = fn(u64) -> (Rules, Vec<Action>);

fn report(seed: u64, draw: Draw) -> String {
    let (rules, actions) = draw(seed);
    let actions = shrink(&rules, actions);
    let reason = failure(&rules, &actions).unwrap_or_default();
    format!(
        "seed {seed} fails: {reason}\n{rules:?}\n{actions:#?}\nto repeat this run: CHANNELSTREAM_SEED={seed} cargo test \
         --lib simulation\nonce it is mended, add the seed and its reason to tests/data/simulation_seeds.txt"
    )
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn regression_seeds() -> Vec<u64> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Runs all seeds on all processors, and returns the first failing one in the given order.
fn first_failing(seeds: &[u64], draw: Draw) -> Option<u64> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Relaxed) as usize) {
            let (rules, actions) = draw(*seed);
            if failure(&rules, &actions).is_some() {
                failed.lock().unwrap().get_or_insert(*seed);
                next.store(u64::MAX / 2, Relaxed);
            }
        }
    };
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| (0..processors).for_each(|_| _ = scope.spawn(work)));
    failed.into_inner().unwrap()
}

fn assert_all_pass(draw: Draw) {
    let seeds: Vec<u64> = match number_from("CHANNELSTREAM_SEED") {
        Some(seed) => vec![seed],
        None => {
            let fresh = number_from("CHANNELSTREAM_SEEDS").unwrap_or(SEEDS);
            regression_seeds().into_iter().chain(0..fresh).collect()
        }
    };
    // Only the reported failure must be printed.
    let failed = without_panic_messages(|| first_failing(&seeds, draw).map(|seed| report(seed, draw)));
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

#[test]
fn every_subscriber_gets_every_message_once_and_in_order() {
    assert_all_pass(draw);
}

#[test]
fn clients_that_return_with_positions_know_whether_they_missed_anything() {
    assert_all_pass(draw_returning);
}

#[test]
fn rules_tokens_and_blocks_apply_and_everything_else_stays_true() {
    assert_all_pass(draw_ruled);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    let runs = |_| {
        let (rules, actions) = draw(11);
        format!("{rules:?} {actions:?}")
    };
    let [first, second] = [0, 1].map(runs);
    assert_eq!(first, second);
}

/// Suppresses the messages of panics on the threads that it starts.
fn without_panic_messages<T>(act: impl FnOnce() -> T) -> T {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = act();
    std::panic::set_hook(before);
    done
}
