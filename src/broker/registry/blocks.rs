//! The blocks of users and the revocation of their tokens. Pure; the caller passes the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::broker::requests::{Block, BlockUser};
use crate::http_error::OverLimit;
use crate::telemetry::limits::Limit;

/// The latest end of a block in Unix seconds: the largest integer that JavaScript represents exactly.
const LATEST_UNIX: u64 = (1 << 53) - 1;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Blocks {
    by_user: BTreeMap<Arc<str>, Entry>,
    /// The ends of the blocks that have one, in ms of the registry's clock.
    ends: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The end of the block: in ms of the registry's clock, and in Unix seconds.
    until: Option<(u64, u64)>,
    tokens_before: Option<u64>,
    reason: Arc<str>,
}

impl Blocks {
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    /// Blocks a user or revokes tokens. What the request leaves out stays as it is.
    ///
    /// # Errors
    /// `bound` users have an entry already. Nothing is changed.
    pub fn set(&mut self, request: BlockUser, now: u64, bound: usize) -> Result<(), OverLimit> {
        let user: Arc<str> = request.user.into();
        if !self.by_user.contains_key(&user) && self.by_user.len() >= bound {
            return Err(OverLimit::of(Limit::Blocks, bound));
        }
        let entry = self.by_user.entry(user.clone()).or_default();
        if let Some(seconds) = request.seconds {
            if let Some((end, _)) = entry.until {
                self.ends.remove(&(end, user.clone()));
            }
            let end = now.saturating_add(seconds.saturating_mul(1_000));
            entry.until = Some((end, request.now_unix.saturating_add(seconds).min(LATEST_UNIX)));
            self.ends.insert((end, user));
        }
        entry.tokens_before = request.tokens_before.or(entry.tokens_before);
        if let Some(reason) = request.reason {
            entry.reason = reason.into();
        }
        Ok(())
    }

    /// What the entry of a user would be after a request.
    pub fn after(&self, request: BlockUser) -> Block {
        let entry = self.by_user.get(&*request.user);
        let until = request.seconds.map(|seconds| request.now_unix.saturating_add(seconds).min(LATEST_UNIX));
        let reason = request.reason.map(Arc::from).or_else(|| entry.map(|entry| entry.reason.clone()));
        Block {
            user: request.user.into(),
            until_unix: until.or_else(|| entry?.until.map(|(_, unix)| unix)),
            tokens_before: request.tokens_before.or_else(|| entry?.tokens_before),
            reason: reason.unwrap_or_default(),
        }
    }

    /// Replaces the entry of a user. `now` is the time of the registry's clock in ms, `unix_ms` the same moment.
    pub fn install(&mut self, block: Block, now: u64, unix_ms: u64) {
        self.remove(&block.user);
        let until = block.until_unix.map(|unix| {
            let left = unix.saturating_mul(1_000).saturating_sub(unix_ms);
            (now.saturating_add(left), unix)
        });
        if let Some((end, _)) = until {
            self.ends.insert((end, block.user.clone()));
        }
        let Block { user, tokens_before, reason, .. } = block;
        self.by_user.insert(user, Entry { until, tokens_before, reason });
    }

    /// Removes the entry of a user. False if there was none.
    pub fn remove(&mut self, user: &str) -> bool {
        let Some(entry) = self.by_user.remove(user) else { return false };
        if let Some((end, _)) = entry.until {
            self.ends.remove(&(end, user.into()));
        }
        true
    }

    /// Removes the entries of all users but these.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.by_user.retain(|user, _| keeps(user));
        self.ends.retain(|(_, user)| keeps(user));
    }

    /// Removes blocks that have ended, at most this many. Returns their number. Revoked tokens stay revoked.
    pub fn expire(&mut self, now: u64, at_most: usize) -> usize {
        for expired in 0..at_most {
            let next = self.ends.first().filter(|(end, _)| *end <= now).cloned();
            let Some(ended) = next else { return expired };
            self.ends.remove(&ended);
            match self.by_user.get_mut(&ended.1) {
                Some(entry) if entry.tokens_before.is_some() => entry.until = None,
                _ => drop(self.by_user.remove(&ended.1)),
            }
        }
        at_most
    }

    /// Whether a user may not connect.
    pub fn is_blocked(&self, user: &str, now: u64) -> bool {
        let until = self.by_user.get(user).and_then(|entry| entry.until);
        until.is_some_and(|(end, _)| end > now)
    }

    /// Whether a user's token is revoked that was issued at this time, in Unix seconds. One whose time is unknown counts as
    /// issued before all others.
    pub fn revokes(&self, user: &str, issued_unix: Option<u64>) -> bool {
        let before = self.by_user.get(user).and_then(|entry| entry.tokens_before);
        before.is_some_and(|before| issued_unix.is_none_or(|issued| issued < before))
    }

    /// All entries, in the order of the users' names.
    pub fn list(&self, now: u64) -> Vec<Block> {
        let block = |(user, entry): (&Arc<str>, &Entry)| Block {
            user: user.clone(),
            until_unix: entry.until.filter(|(end, _)| *end > now).map(|(_, unix)| unix),
            tokens_before: entry.tokens_before,
            reason: entry.reason.clone(),
        };
        let is_over = |block: &Block| block.until_unix.is_none() && block.tokens_before.is_none();
        self.by_user.iter().map(block).filter(|block| !is_over(block)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIX: u64 = 1_700_000_000;

    fn request(user: &str, seconds: Option<u64>, tokens_before: Option<u64>) -> BlockUser {
        BlockUser { user: user.into(), seconds, tokens_before, reason: None, now_unix: UNIX }
    }

    #[test]
    fn a_block_ends_by_itself_and_revoked_tokens_stay_revoked() {
        let mut blocks = Blocks::default();
        blocks.set(request("ann", Some(60), None), 1_000, 9).unwrap();
        blocks.set(request("ann", None, Some(UNIX)), 1_000, 9).unwrap();
        blocks.set(request("bob", Some(60), None), 1_000, 9).unwrap();
        assert!(blocks.is_blocked("ann", 60_999) && !blocks.is_blocked("ann", 61_000));
        assert_eq!(blocks.list(1_000)[0].until_unix, Some(UNIX + 60));
        assert_eq!(blocks.expire(61_000, 9), 2);
        assert_eq!((blocks.len(), blocks.ends.len()), (1, 0));
        assert!(blocks.revokes("ann", Some(UNIX - 1)) && !blocks.revokes("ann", Some(UNIX)));
        assert!(blocks.revokes("ann", None) && !blocks.revokes("bob", None));
    }

    #[test]
    fn an_installed_entry_equals_the_one_that_was_set() {
        let (mut set, mut installed) = (Blocks::default(), Blocks::default());
        let requests =
            [request("ann", Some(60), None), request("ann", None, Some(UNIX)), request("ann", Some(5), None)];
        for again in requests {
            let copy = BlockUser { user: again.user.clone(), reason: again.reason.clone(), ..again };
            installed.install(installed.after(copy), 1_000, UNIX * 1_000);
            set.set(again, 1_000, 9).unwrap();
            assert_eq!((installed.list(1_000), installed.ends.len()), (set.list(1_000), set.ends.len()));
            assert_eq!(installed.ends, set.ends);
        }
    }

    #[test]
    fn entries_that_are_not_retained_leave_nothing() {
        let mut blocks = Blocks::default();
        for user in ["ann", "bob"] {
            blocks.set(request(user, Some(60), None), 0, 9).unwrap();
        }
        blocks.retain(|user| user == "bob");
        assert_eq!((blocks.is_blocked("ann", 0), blocks.is_blocked("bob", 0)), (false, true));
        assert_eq!((blocks.len(), blocks.ends.len()), (1, 1));
    }

    #[test]
    fn the_number_of_blocks_is_bounded() {
        let mut blocks = Blocks::default();
        blocks.set(request("ann", Some(60), None), 0, 1).unwrap();
        assert_eq!(blocks.set(request("bob", Some(60), None), 0, 1), Err(OverLimit::of(Limit::Blocks, 1)));
        blocks.set(request("ann", Some(u64::MAX), None), 0, 1).unwrap();
        assert_eq!(blocks.list(0)[0].until_unix, Some(LATEST_UNIX));
        assert_eq!((blocks.remove("ann"), blocks.remove("ann"), blocks.ends.len()), (true, false, 0));
    }

    proptest! {
        /// Each user's block agrees with a model that knows only the last request, and nothing remains at the end.
        #[test]
        fn blocks_agree_with_a_model(steps in prop::collection::vec((0..4_u8, 0..3_usize, 0..50_u64), 0..60)) {
            let (mut blocks, mut now) = (Blocks::default(), 0);
            let mut model: BTreeMap<&str, u64> = BTreeMap::new();
            for (action, user, number) in steps {
                let user = ["ann", "bob", "zoë"][user];
                match action {
                    0 => {
                        blocks.set(request(user, Some(number), None), now, 9).unwrap();
                        model.insert(user, now + number * 1_000);
                    }
                    1 => prop_assert!(blocks.remove(user) || model.get(user).is_none_or(|end| *end <= now)),
                    2 => now += number * 500,
                    _ => _ = blocks.expire(now, 9),
                }
                if action == 1 {
                    model.remove(user);
                }
                for user in ["ann", "bob", "zoë"] {
                    let expected = model.get(user).is_some_and(|end| *end > now);
                    prop_assert_eq!(blocks.is_blocked(user, now), expected);
                }
                prop_assert_eq!(blocks.list(now).len(), model.values().filter(|end| **end > now).count());
            }
            blocks.expire(u64::MAX, 9);
            prop_assert_eq!((blocks.len(), blocks.ends.len()), (0, 0));
        }
    }
}
