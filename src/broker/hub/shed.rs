//! Load shedding before memory runs out: selects the longest queues while all queues together exceed the limit. Pure.

use crate::protocol::ids::SlotKey;
use std::cmp::Reverse;

/// The bytes to which this thread's queues are reduced, when those of all threads hold `all` and may hold `max`: the
/// thread's share, less an eighth, so that the next frame does not exceed the limit again.
pub fn target(here: usize, all: usize, max: usize) -> usize {
    let part = here as u128 * max as u128 / all.max(1) as u128;
    usize::try_from(part - part / 8).unwrap_or(usize::MAX)
}

/// Selects the sessions to close: the longest queues first, until the rest hold at most `target` bytes.
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
    fn each_thread_reduces_its_share() {
        assert_eq!([target(1_000, 1_000, 800), target(250, 1_000, 800), target(0, 0, 800)], [700, 175, 0]);
    }

    #[test]
    fn the_longest_queues_are_closed_first_and_empty_ones_never() {
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
