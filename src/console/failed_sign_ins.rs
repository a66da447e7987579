//! Who has tried to sign in with wrong passwords, and how long they must wait. Pure; time is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Tries before the first wait.
const FREE_TRIES: u32 = 5;
/// The first wait; each further try doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A client that has tried nothing for so long begins anew.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// Clients remembered at most. Beyond, the one longest quiet is forgotten.
const MAX_CLIENTS: usize = 10_000;

/// Whose wrong passwords are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignInClient {
    /// All unknown browsers of an address.
    Address(IpAddr),
    /// A browser that an admin has signed in with before, by its id: those who share its address cannot lock it out.
    Browser(u128),
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    /// Since the start of the clock.
    last: Duration,
}

/// Tries that were not (yet) right, by client.
#[derive(Debug, Default)]
pub struct FailedSignIns {
    clients: HashMap<SignInClient, Tries>,
}

impl FailedSignIns {
    /// Somebody wants to try a password. Counts it as wrong until [`FailedSignIns::was_right`]: tries that run side by side
    /// are no way around.
    ///
    /// # Errors
    /// How long they must wait. The try does not count then.
    pub fn admit(&mut self, client: SignInClient, now: Duration) -> Result<(), Duration> {
        let client = network(client);
        let tries = self.clients.get(&client).filter(|tries| now.saturating_sub(tries.last) < FORGET);
        let count = match tries {
            None => 0,
            Some(tries) => {
                let left = wait_after(tries.count).saturating_sub(now.saturating_sub(tries.last));
                if !left.is_zero() {
                    return Err(left);
                }
                tries.count
            }
        };
        if !self.clients.contains_key(&client) {
            self.make_room(now);
        }
        self.clients.insert(client, Tries { count: count + 1, last: now });
        Ok(())
    }

    /// The password was right: the client begins anew.
    pub fn was_right(&mut self, client: SignInClient) {
        self.clients.remove(&network(client));
    }

    fn make_room(&mut self, now: Duration) {
        if self.clients.len() < MAX_CLIENTS {
            return;
        }
        self.clients.retain(|_, tries| now.saturating_sub(tries.last) < FORGET);
        if self.clients.len() >= MAX_CLIENTS
            && let Some(oldest) =
                self.clients.iter().min_by_key(|(_, tries)| tries.last).map(|(client, _)| *client)
        {
            self.clients.remove(&oldest);
        }
    }
}

fn wait_after(tries: u32) -> Duration {
    match tries.checked_sub(FREE_TRIES) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT.saturating_mul(1 << more.min(10)).min(LONGEST_WAIT),
    }
}

/// Who has one IPv6 address has the 2^64 of its network.
fn network(client: SignInClient) -> SignInClient {
    let SignInClient::Address(address) = client else { return client };
    SignInClient::Address(match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    })
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
    fn waits_grow_and_end() {
        let (mut guesses, client) = (FailedSignIns::default(), ip("192.0.2.1"));
        for second in 0..5 {
            assert_eq!(guesses.admit(client, at(second)), Ok(()));
        }
        assert_eq!(guesses.admit(client, at(5)), Err(at(29)));
        assert_eq!(guesses.admit(ip("192.0.2.2"), at(5)), Ok(()), "others do not wait");
        assert_eq!(guesses.admit(client, at(34)), Ok(()));
        assert_eq!(guesses.admit(client, at(35)), Err(at(59)));
        let mut now = at(94);
        for _ in 0..20 {
            assert_eq!(guesses.admit(client, now), Ok(()));
            now += LONGEST_WAIT;
        }
        now += FORGET;
        for _ in 0..5 {
            assert_eq!(guesses.admit(client, now), Ok(()));
        }
        assert!(guesses.admit(client, now).is_err());
    }

    #[test]
    fn the_right_password_clears_the_slate() {
        let (mut guesses, client) = (FailedSignIns::default(), ip("192.0.2.1"));
        for _ in 0..20 {
            assert_eq!(guesses.admit(client, at(0)), Ok(()));
            guesses.was_right(client);
        }
    }

    #[test]
    fn a_known_browser_has_a_count_of_its_own() {
        let (mut guesses, address, browser) =
            (FailedSignIns::default(), ip("192.0.2.1"), SignInClient::Browser(7));
        while guesses.admit(address, at(0)).is_ok() {}
        for _ in 0..5 {
            assert_eq!(guesses.admit(browser, at(0)), Ok(()));
        }
        assert_eq!(guesses.admit(browser, at(0)), Err(at(30)));
        assert_eq!(guesses.admit(SignInClient::Browser(8), at(0)), Ok(()));
        guesses.was_right(browser);
        assert!(guesses.admit(browser, at(0)).is_ok() && guesses.admit(address, at(0)).is_err());
    }

    #[test]
    fn neighbours_in_ipv6_are_one() {
        let mut guesses = FailedSignIns::default();
        for host in 0..5 {
            assert_eq!(guesses.admit(ip(&format!("2001:db8::{host}")), at(0)), Ok(()));
        }
        assert!(guesses.admit(ip("2001:db8::9999"), at(0)).is_err());
        assert_eq!(guesses.admit(ip("2001:db8:0:1::1"), at(0)), Ok(()));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let (mut guesses, busy) = (FailedSignIns::default(), ip("192.0.2.1"));
        for n in 0..30_000_u32 {
            let _ = guesses.admit(busy, at(u64::from(n)));
            let _ = guesses.admit(SignInClient::Address(n.to_be_bytes().into()), at(u64::from(n)));
        }
        assert!(guesses.clients.len() <= MAX_CLIENTS);
        assert!(guesses.admit(busy, at(30_000)).is_err());
    }

    proptest! {
        #[test]
        fn nobody_guesses_often(gaps in proptest::collection::vec(0_u64..40, 1..400)) {
            let (mut guesses, mut now, mut admitted) = (FailedSignIns::default(), 0, 0);
            for gap in gaps {
                now += gap;
                admitted += u64::from(guesses.admit(ip("192.0.2.1"), at(now)).is_ok());
            }
            // Five at once, five while the waits grow to their longest, and then one in fifteen minutes.
            prop_assert!(admitted <= 10 + now / LONGEST_WAIT.as_secs());
        }
    }
}
