//! What this node has seen of the streams: after a failover it shows which entries the new master lacks. Pure.

use crate::protocol::ids::{Offset, Stamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A failover loses at most the entries of this time, in µs before the newest stamp.
const KEPT_MICROS: u64 = 60_000_000;
/// Old streams are removed when there are at least this many.
const PRUNE_FROM: usize = 1_024;

/// The newest stamps that this node has received or been answered. The registry notes entries, the link notes answers.
#[derive(Debug, Default)]
pub struct Seen {
    greatest: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// The stamp and the offset of the last entry of each stream.
    streams: HashMap<String, (u64, Offset)>,
    /// The number of streams at which old ones are removed.
    prune_at: usize,
}

impl Seen {
    /// Notes an entry of a stream.
    pub fn note(&self, stream: &str, stamp: Stamp, offset: Offset) {
        self.raise(stamp);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.streams.get_mut(stream) {
            Some(newest) => *newest = (stamp.0, offset).max(*newest),
            None => {
                recent.prune(self.greatest().0);
                recent.streams.insert(stream.to_owned(), (stamp.0, offset));
            }
        }
    }

    /// Notes that Redis has given this stamp to something.
    pub fn raise(&self, stamp: Stamp) {
        self.greatest.fetch_max(stamp.0, Ordering::Relaxed);
    }

    pub fn greatest(&self) -> Stamp {
        Stamp(self.greatest.load(Ordering::Relaxed))
    }

    /// The streams of which this node has seen an entry after this stamp, and the offset of the last one.
    pub fn streams_after(&self, base: Stamp) -> Vec<(String, Offset)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = recent.streams.iter().filter(|(_, (stamp, _))| *stamp > base.0);
        newer.map(|(stream, (_, offset))| (stream.clone(), *offset)).collect()
    }
}

impl Recent {
    /// Removes streams without a recent entry, so rarely that each entry pays for a constant number of them.
    fn prune(&mut self, greatest: u64) {
        if self.streams.len() >= self.prune_at.max(PRUNE_FROM) {
            self.streams.retain(|_, (stamp, _)| stamp.saturating_add(KEPT_MICROS) >= greatest);
            self.prune_at = 2 * self.streams.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_with_later_entries_are_found() {
        let seen = Seen::default();
        seen.note("ca", Stamp(5), 2);
        seen.note("cb", Stamp(9), 1);
        seen.note("ca", Stamp(3), 1);
        assert_eq!(seen.streams_after(Stamp(4)).len(), 2);
        assert_eq!(seen.streams_after(Stamp(5)), [("cb".to_owned(), 1)]);
        assert_eq!(seen.greatest(), Stamp(9));
        seen.raise(Stamp(20));
        assert_eq!((seen.greatest(), seen.streams_after(Stamp(9)).len()), (Stamp(20), 0));
    }

    #[test]
    fn old_streams_are_forgotten() {
        let seen = Seen::default();
        for i in 0..20_000_u64 {
            seen.note(&format!("c{i}"), Stamp(i * 1_000_000), i);
        }
        let kept = seen.streams_after(Stamp(0));
        assert!(kept.len() <= PRUNE_FROM + 61, "{}", kept.len());
        assert!(kept.contains(&("c19940".into(), 19_940)));
    }
}
