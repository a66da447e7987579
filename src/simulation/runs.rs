//! Runs of worlds from seeds: on all processors, with the first failing one shortened and reported.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// Maximum number of attempts to shorten a failing run.
const MAX_SHRINK_STEPS: usize = 1_500;

/// A kind of runs.
pub struct Runs<R, A> {
    /// Converts a seed to a configuration and actions.
    pub draw: fn(u64) -> (R, Vec<A>),
    pub run: fn(&R, &[A]),
    /// Seeds that once failed, each with its reason. Every test run repeats them.
    pub regressions: &'static str,
    /// The file of the regressions, and the name of the test, for the report.
    pub file: &'static str,
    pub test: &'static str,
    /// The number of random seeds, unless `CHANNELSTREAM_SEEDS` sets another.
    pub seeds: u64,
}

impl<R: Debug, A: Clone + Debug> Runs<R, A> {
    /// The failure of a run.
    fn failure(&self, rules: &R, actions: &[A]) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(|| (self.run)(rules, actions))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or(Some("a panic".into()))
    }

    /// Shortens a failing run: leaves out smaller and smaller parts while it still fails in the same way.
    fn shrink(&self, rules: &R, mut actions: Vec<A>) -> Vec<A> {
        let way =
            |reason: String| reason.chars().filter(|c| !c.is_ascii_digit()).take(24).collect::<String>();
        let expected = self.failure(rules, &actions).map(way);
        let (mut size, mut steps) = (actions.len() / 2, 0);
        while size > 0 {
            let mut start = 0;
            while start < actions.len() && steps < MAX_SHRINK_STEPS {
                let mut fewer = actions.clone();
                fewer.drain(start..(start + size).min(actions.len()));
                steps += 1;
                match self.failure(rules, &fewer).map(way) == expected {
                    true => actions = fewer,
                    false => start += size,
                }
            }
            size /= 2;
        }
        actions
    }

    fn report(&self, seed: u64) -> String {
        let (rules, actions) = (self.draw)(seed);
        let actions = self.shrink(&rules, actions);
        let (reason, Self { test, file, .. }) = (self.failure(&rules, &actions).unwrap_or_default(), self);
        format!(
            "seed {seed} fails: {reason}\n{rules:?}\n{actions:#?}\nto repeat this run: CHANNELSTREAM_SEED={seed} cargo \
             test --lib {test}\nonce it is mended, add the seed and its reason to {file}"
        )
    }

    /// Runs all seeds on all processors, and returns the first failing one in the given order.
    fn first_failing(&self, seeds: &[u64]) -> Option<u64> {
        let (next, failed) = (AtomicU64::new(0), Mutex::new(None));
        let work = || {
            while let Some(seed) = seeds.get(next.fetch_add(1, Relaxed) as usize) {
                let (rules, actions) = (self.draw)(*seed);
                if self.failure(&rules, &actions).is_some() {
                    failed.lock().unwrap().get_or_insert(*seed);
                    next.store(u64::MAX / 2, Relaxed);
                }
            }
        };
        let processors = thread::available_parallelism().map_or(1, |count| count.get());
        thread::scope(|scope| (0..processors).for_each(|_| _ = scope.spawn(work)));
        failed.into_inner().unwrap()
    }

    /// Panics with a report if a run fails.
    pub fn assert_all_pass(&self) {
        let seeds: Vec<u64> = match number_from("CHANNELSTREAM_SEED") {
            Some(seed) => vec![seed],
            None => {
                let fresh = number_from("CHANNELSTREAM_SEEDS").unwrap_or(self.seeds);
                regression_seeds(self.regressions).into_iter().chain(0..fresh).collect()
            }
        };
        // Only the reported failure must be printed.
        let failed = without_panic_messages(|| self.first_failing(&seeds).map(|seed| self.report(seed)));
        assert!(failed.is_none(), "{}", failed.unwrap_or_default());
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn regression_seeds(text: &str) -> Vec<u64> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Suppresses the messages of panics on the threads that it starts.
fn without_panic_messages<T>(act: impl FnOnce() -> T) -> T {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = act();
    std::panic::set_hook(before);
    done
}
