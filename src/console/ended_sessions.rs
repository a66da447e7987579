//! Sign-ins that ended before their cookies expire. Pure; the time is passed in.

use std::collections::HashMap;

/// Maximum number of stored sign-ins. Each required the right password, so that only an admin can fill the list.
const MAX_ENDED: usize = 10_000;

/// The sign-ins that a sign-out has ended, by id.
#[derive(Debug, Default)]
pub struct EndedSessions {
    /// The expiry of the last cookie of each, in Unix seconds.
    until: HashMap<u128, u64>,
    /// Cookies issued up to this time count as ended.
    all_up_to: u64,
}

impl EndedSessions {
    /// Ends a sign-in whose last cookie expires after `max_age_s`. If the list is full, all sign-ins end.
    pub fn add(&mut self, id: u128, now_unix: u64, max_age_s: u64) {
        if self.until.len() >= MAX_ENDED {
            self.until.retain(|_, until| *until >= now_unix);
        }
        if self.until.len() >= MAX_ENDED {
            self.until.clear();
            self.all_up_to = now_unix;
        }
        self.until.insert(id, now_unix + max_age_s);
    }

    /// Whether the sign-in of a cookie issued at this time has ended.
    pub fn has(&self, id: u128, issued_unix: u64) -> bool {
        issued_unix <= self.all_up_to || self.until.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn ending_one_sign_in_does_not_end_others() {
        let mut ended = EndedSessions::default();
        ended.add(7, 1_000, DAY);
        assert!(ended.has(7, 1_000) && ended.has(7, 999) && !ended.has(8, 1_000));
    }

    #[test]
    fn the_list_is_limited_and_ended_sign_ins_stay_ended() {
        let mut ended = EndedSessions::default();
        for id in 0..MAX_ENDED as u128 {
            ended.add(id, 1_000, DAY);
        }
        ended.add(1 << 64, 1_000 + DAY + 1, DAY);
        assert_eq!(ended.until.len(), 1, "expired entries are removed");
        for id in 0..MAX_ENDED as u128 {
            ended.add(id, 100_000, DAY);
        }
        assert!(ended.until.len() <= MAX_ENDED);
        assert!((0..MAX_ENDED as u128).all(|id| ended.has(id, 99_999)) && ended.has(1 << 64, 1_000));
        assert!(!ended.has(1 << 65, 100_001), "later sign-ins are valid");
    }
}
