//! Giving memory back before it runs out: when all queues together hold too much, those with the longest go. Pure.

use crate::protocol::ids::SlotKey;
use std::cmp::Reverse;

/// How much may wait on this thread, when all threads together hold `all` and may hold `max`: its part of it, and an
/// eighth less, so that the next frame does not begin it again.
pub fn target(here: usize, all: usize, max: usize) -> usize {
    let part = here as u128 * max as u128 / all.max(1) as u128;
    usize::try_from(part - part / 8).unwrap_or(usize::MAX)
}

/// Chooses whom to close: the longest queues first, until what is left of them all is down to `target` bytes.
pub fn longest_queues(mut queues: Vec<(usize, SlotKey)>, target: usize) -> Vec<SlotKey> {
    let mut left: usize = queues.iter().map(|(bytes, _)| bytes).sum();
    queues.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
    let mut chosen = Vec::new();
    for (bytes, key) in queues {
        if left <= target || bytes == 0 {
            break;
        }
        left -= bytes;
        chosen.push(key);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_gives_its_part() {
        assert_eq!([target(1_000, 1_000, 800), target(250, 1_000, 800), target(0, 0, 800)], [700, 175, 0]);
    }

    #[test]
    fn the_longest_go_first_and_the_idle_never() {
        let chosen = |target| {
            let queues = [(0, 0), (10, 1), (50, 2), (90, 3)];
            let key = |index| SlotKey { index, generation: 1 };
            let queues = queues.map(|(bytes, index)| (bytes, key(index)));
            let chosen = longest_queues(queues.into(), target).into_iter();
            chosen.map(|key| key.index).collect::<Vec<_>>()
        };
        assert_eq!(chosen(150), Vec::<u32>::new());
        assert_eq!(chosen(149), [3]);
        assert_eq!(chosen(59), [3, 2]);
        assert_eq!(chosen(0), [3, 2, 1]);
    }
}
