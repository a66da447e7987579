//! Thousands of lives, each from its seed.

use super::Rules;
use super::World;
use super::actions::{Action, act, draw, everybody};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// Seeds of lives that once went wrong, each with its reason. They are lived again in every run.
const REGRESSIONS: &str = include_str!("../../tests/data/simulation_seeds.txt");
/// Lives of a run, unless `CHANNELSTREAM_SEEDS` asks for another number.
const SEEDS: u64 = 3_000;
/// Attempts to cut a failing life down to what matters.
const CUTS: usize = 1_500;

fn live(rules: &Rules, actions: &[Action]) {
    let mut world = World::new(rules.clone());
    for action in actions {
        act(&mut world, action);
        world.check();
    }
    world.reunite(&everybody());
    world.die_out();
}

/// What went wrong in a life.
fn failure(rules: &Rules, actions: &[Action]) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| live(rules, actions))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).or(Some("a panic".into()))
}

/// The least of a failing life that still fails: leaves out ever smaller parts of it.
fn cut_down(rules: &Rules, mut actions: Vec<Action>) -> Vec<Action> {
    let (mut size, mut cuts) = (actions.len() / 2, 0);
    while size > 0 {
        let mut start = 0;
        while start < actions.len() && cuts < CUTS {
            let mut fewer = actions.clone();
            fewer.drain(start..(start + size).min(actions.len()));
            cuts += 1;
            match failure(rules, &fewer) {
                Some(_) => actions = fewer,
                None => start += size,
            }
        }
        size /= 2;
    }
    actions
}

fn report(seed: u64) -> String {
    let (rules, actions) = draw(seed);
    let actions = cut_down(&rules, actions);
    let reason = failure(&rules, &actions).unwrap_or_default();
    format!(
        "seed {seed} fails: {reason}\n{rules:?}\n{actions:#?}\nthis life alone: CHANNELSTREAM_SEED={seed} cargo test \
         --lib simulation\nonce it is mended, add the seed and its reason to tests/data/simulation_seeds.txt"
    )
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn kept_seeds() -> Vec<u64> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Lives them all, on all processors, and tells which failed first in the order given.
fn first_failing(seeds: &[u64]) -> Option<u64> {
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

#[test]
fn every_subscriber_gets_every_message_once_and_in_order() {
    let seeds: Vec<u64> = match number_from("CHANNELSTREAM_SEED") {
        Some(seed) => vec![seed],
        None => {
            let fresh = number_from("CHANNELSTREAM_SEEDS").unwrap_or(SEEDS);
            kept_seeds().into_iter().chain(0..fresh).collect()
        }
    };
    // Only the failure that is reported shall be heard of.
    let failed = quietly(|| first_failing(&seeds).map(report));
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

#[test]
fn a_life_is_the_same_each_time() {
    let lives = |_| {
        let (rules, actions) = draw(11);
        format!("{rules:?} {actions:?}")
    };
    let [first, second] = [0, 1].map(lives);
    assert_eq!(first, second);
}

/// Without the messages of panics on the threads it starts.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = act();
    std::panic::set_hook(before);
    done
}
