//! What the console keeps about sign-ins: the failed ones, with the time that a client must wait, and those that ended
//! before their cookies expire. Pure; the time is passed in.

use crate::limits::addresses::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Number of attempts before the first wait.
const FREE_ATTEMPTS: u32 = 5;
/// The first wait. Each further attempt doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(15 * 60);
/// The count of a client without attempts for this long is reset.
const RESET_AFTER: Duration = Duration::from_secs(60 * 60);
/// Maximum number of stored clients. Beyond it, the client with the oldest attempt is removed.
const MAX_CLIENTS: usize = 10_000;

/// The clients whose wrong passwords are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignInClient {
    /// All unknown browsers of an address.
    Address(IpAddr),
    /// A browser with which an admin has signed in before, by its id. Other clients of its address cannot lock it out.
    Browser(u128),
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    /// Time since the start of the clock.
    last: Duration,
}

/// Attempts that have not succeeded (yet), by client.
#[derive(Debug, Default)]
pub struct FailedSignIns {
    clients: HashMap<SignInClient, Attempts>,
}

impl FailedSignIns {
    /// Registers an attempt. It counts as wrong until [`FailedSignIns::was_right`] is called, so that concurrent
    /// attempts cannot bypass the limit.
    ///
    /// # Errors
    /// The time the client must wait. The attempt does not count then.
    pub fn admit(&mut self, client: SignInClient, now: Duration) -> Result<(), Duration> {
        let client = counted_as(client);
        let attempts =
            self.clients.get(&client).filter(|attempts| now.saturating_sub(attempts.last) < RESET_AFTER);
        let count = match attempts {
            None => 0,
            Some(attempts) => {
                let left = wait_after(attempts.count).saturating_sub(now.saturating_sub(attempts.last));
                if !left.is_zero() {
                    return Err(left);
                }
                attempts.count
            }
        };
        if !self.clients.contains_key(&client) {
            self.make_room(now);
        }
        self.clients.insert(client, Attempts { count: count + 1, last: now });
        Ok(())
    }

    /// The password was right: resets the client's count.
    pub fn was_right(&mut self, client: SignInClient) {
        self.clients.remove(&counted_as(client));
    }

    fn make_room(&mut self, now: Duration) {
        if self.clients.len() < MAX_CLIENTS {
            return;
        }
        self.clients.retain(|_, attempts| now.saturating_sub(attempts.last) < RESET_AFTER);
        if self.clients.len() >= MAX_CLIENTS
            && let Some(oldest) =
                self.clients.iter().min_by_key(|(_, attempts)| attempts.last).map(|(client, _)| *client)
        {
            self.clients.remove(&oldest);
        }
    }
}

fn wait_after(attempts: u32) -> Duration {
    match attempts.checked_sub(FREE_ATTEMPTS) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT.saturating_mul(1 << more.min(10)).min(MAX_WAIT),
    }
}

fn counted_as(client: SignInClient) -> SignInClient {
    match client {
        SignInClient::Address(address) => SignInClient::Address(network(address)),
        browser => browser,
    }
}

/// Maximum number of stored sign-ins. Each required the right password, so that only an admin can fill the list.
const MAX_ENDED: usize = 10_000;

/// The sign-ins that a sign-out has ended, by id.
#[derive(Debug, Default)]
pub struct EndedSessions {
    /// The expiry of the last cookie of each, in Unix seconds.
    until: HashMap<u128, u64>,
    /// Cookies issued up to this time count as ended.
    all_up_to: u64,
    /// Those that this node has not stated to the others.
    unstated: Vec<u128>,
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

    /// The next exchange states to the other nodes that these sign-ins have ended, as far as the list has room.
    pub fn state_later(&mut self, ids: impl IntoIterator<Item = u128>) {
        let room = MAX_ENDED.saturating_sub(self.unstated.len());
        self.unstated.extend(ids.into_iter().take(room));
    }

    /// Takes those to state.
    pub fn take_unstated(&mut self) -> Vec<u128> {
        std::mem::take(&mut self.unstated)
    }

    /// Ends sign-ins that have ended at another node.
    pub fn add_stated(&mut self, ids: impl IntoIterator<Item = u128>, now_unix: u64, max_age_s: u64) {
        for id in ids {
            if !self.until.contains_key(&id) {
                self.add(id, now_unix, max_age_s);
            }
        }
    }

    /// Whether the sign-in of a cookie issued at this time has ended.
    pub fn has(&self, id: u128, issued_unix: u64) -> bool {
        issued_unix <= self.all_up_to || self.until.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> SignInClient {
        SignInClient::Address(text.parse().unwrap())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_grow_to_a_maximum_and_end() {
        let (mut failed_sign_ins, client) = (FailedSignIns::default(), ip("192.0.2.1"));
        for second in 0..5 {
            assert_eq!(failed_sign_ins.admit(client, at(second)), Ok(()));
        }
        assert_eq!(failed_sign_ins.admit(client, at(5)), Err(at(29)));
        assert_eq!(failed_sign_ins.admit(ip("192.0.2.2"), at(5)), Ok(()), "other clients do not wait");
        assert_eq!(failed_sign_ins.admit(client, at(34)), Ok(()));
        assert_eq!(failed_sign_ins.admit(client, at(35)), Err(at(59)));
        let mut now = at(94);
        for _ in 0..20 {
            assert_eq!(failed_sign_ins.admit(client, now), Ok(()));
            now += MAX_WAIT;
        }
        now += RESET_AFTER;
        for _ in 0..5 {
            assert_eq!(failed_sign_ins.admit(client, now), Ok(()));
        }
        assert!(failed_sign_ins.admit(client, now).is_err());
    }

    #[test]
    fn the_right_password_resets_the_count() {
        let (mut failed_sign_ins, client) = (FailedSignIns::default(), ip("192.0.2.1"));
        for _ in 0..20 {
            assert_eq!(failed_sign_ins.admit(client, at(0)), Ok(()));
            failed_sign_ins.was_right(client);
        }
    }

    #[test]
    fn a_known_browser_has_a_separate_count() {
        let (mut failed_sign_ins, address, browser) =
            (FailedSignIns::default(), ip("192.0.2.1"), SignInClient::Browser(7));
        while failed_sign_ins.admit(address, at(0)).is_ok() {}
        for _ in 0..5 {
            assert_eq!(failed_sign_ins.admit(browser, at(0)), Ok(()));
        }
        assert_eq!(failed_sign_ins.admit(browser, at(0)), Err(at(30)));
        assert_eq!(failed_sign_ins.admit(SignInClient::Browser(8), at(0)), Ok(()));
        failed_sign_ins.was_right(browser);
        assert!(
            failed_sign_ins.admit(browser, at(0)).is_ok() && failed_sign_ins.admit(address, at(0)).is_err()
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_count() {
        let mut failed_sign_ins = FailedSignIns::default();
        for host in 0..5 {
            assert_eq!(failed_sign_ins.admit(ip(&format!("2001:db8::{host}")), at(0)), Ok(()));
        }
        assert!(failed_sign_ins.admit(ip("2001:db8::9999"), at(0)).is_err());
        assert_eq!(failed_sign_ins.admit(ip("2001:db8:0:1::1"), at(0)), Ok(()));
        assert_eq!(counted_as(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn memory_is_limited_and_active_clients_are_kept() {
        let (mut failed_sign_ins, busy) = (FailedSignIns::default(), ip("192.0.2.1"));
        for n in 0..30_000_u32 {
            let _ = failed_sign_ins.admit(busy, at(u64::from(n)));
            let _ = failed_sign_ins.admit(SignInClient::Address(n.to_be_bytes().into()), at(u64::from(n)));
        }
        assert!(failed_sign_ins.clients.len() <= MAX_CLIENTS);
        assert!(failed_sign_ins.admit(busy, at(30_000)).is_err());
    }

    proptest! {
        #[test]
        fn a_client_cannot_guess_often(gaps in proptest::collection::vec(0_u64..40, 1..400)) {
            let (mut failed_sign_ins, mut now, mut admitted) = (FailedSignIns::default(), 0, 0);
            for gap in gaps {
                now += gap;
                admitted += u64::from(failed_sign_ins.admit(ip("192.0.2.1"), at(now)).is_ok());
            }
            // Five immediately, five while the waits grow to their maximum, and then one every fifteen minutes.
            prop_assert!(admitted <= 10 + now / MAX_WAIT.as_secs());
        }
    }

    const DAY: u64 = 86_400;

    #[test]
    fn ending_one_sign_in_does_not_end_others() {
        let mut ended = EndedSessions::default();
        ended.add(7, 1_000, DAY);
        assert!(ended.has(7, 1_000) && ended.has(7, 999) && !ended.has(8, 1_000));
    }

    #[test]
    fn what_other_nodes_must_learn_is_taken_once() {
        let mut ended = EndedSessions::default();
        ended.state_later([7, 8]);
        assert_eq!((ended.take_unstated(), ended.take_unstated()), (vec![7, 8], vec![]));
        ended.state_later(0..=MAX_ENDED as u128);
        ended.state_later([7]);
        assert_eq!(ended.take_unstated().len(), MAX_ENDED);
    }

    #[test]
    fn what_other_nodes_state_again_fills_no_list() {
        let mut ended = EndedSessions::default();
        for now_unix in 1_000..1_003 {
            ended.add_stated(0..MAX_ENDED as u128, now_unix, DAY);
        }
        assert!(ended.has(7, 1_001) && !ended.has(1 << 64, 500), "one that goes on is still valid");
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
