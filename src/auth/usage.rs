//! Records how often, when and from which addresses a secret was used, so that an operator knows when to remove an old one.

use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most addresses for each secret. If there are more, those with the oldest last use are removed.
pub const MAX_ADDRESSES: usize = 16;

/// The use of one secret. Every signed request writes it; for a known address without a lock.
#[derive(Debug, Default)]
pub struct Usage {
    sources: ArcSwap<Vec<Arc<Source>>>,
    /// Uses by addresses that were removed.
    earlier: AtomicU64,
    /// Locked while an address is added.
    adding: Mutex<()>,
}

#[derive(Debug)]
struct Source {
    address: IpAddr,
    uses: AtomicU64,
    last_unix: AtomicU64,
}

/// The use of a secret by one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromAddress {
    /// The socket's peer, as for `allow_posting_from`.
    pub address: IpAddr,
    pub uses: u64,
    /// The time of the last use, in Unix seconds.
    pub last_unix: u64,
}

/// A snapshot of the use of one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Uses from all addresses.
    pub uses: u64,
    /// The addresses, the most recent one first.
    pub from: Vec<FromAddress>,
}

impl Usage {
    /// Records a use of the secret.
    pub fn record(&self, peer: IpAddr, now_unix: u64) {
        let peer = peer.to_canonical();
        if !count(&self.sources.load(), peer, now_unix) {
            self.add(peer, now_unix);
        }
    }

    pub fn read(&self) -> Used {
        let earlier = self.earlier.load(Ordering::Relaxed);
        let mut from: Vec<_> = self.sources.load().iter().map(|source| source.read()).collect();
        from.sort_by_key(|source| std::cmp::Reverse(source.last_unix));
        Used { uses: from.iter().fold(earlier, |sum, source| sum + source.uses), from }
    }

    fn add(&self, address: IpAddr, now_unix: u64) {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.sources.load();
        // Another thread may have added the address in the meantime.
        if count(&known, address, now_unix) {
            return;
        }
        let mut sources = Vec::clone(&known);
        if sources.len() >= MAX_ADDRESSES
            && let Some((at, _)) =
                sources.iter().enumerate().min_by_key(|(_, source)| source.read().last_unix)
        {
            self.earlier.fetch_add(sources.swap_remove(at).read().uses, Ordering::Relaxed);
        }
        sources.push(Arc::new(Source { address, uses: 1.into(), last_unix: now_unix.into() }));
        self.sources.store(Arc::new(sources));
    }
}

impl Source {
    fn read(&self) -> FromAddress {
        FromAddress {
            address: self.address,
            uses: self.uses.load(Ordering::Relaxed),
            last_unix: self.last_unix.load(Ordering::Relaxed),
        }
    }
}

/// Counts a use from a known address. Returns false for an unknown one.
fn count(sources: &[Arc<Source>], address: IpAddr, now_unix: u64) -> bool {
    let Some(source) = sources.iter().find(|source| source.address == address) else { return false };
    source.uses.fetch_add(1, Ordering::Relaxed);
    source.last_unix.store(now_unix, Ordering::Relaxed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn uses_are_counted_by_address_with_their_last_time() {
        let usage = Usage::default();
        assert_eq!(usage.read(), Used::default());
        usage.record(ip(1), 10);
        usage.record("::ffff:192.0.2.1".parse().unwrap(), 11);
        usage.record(ip(2), 12);
        let from = |address, uses, last_unix| FromAddress { address, uses, last_unix };
        assert_eq!(usage.read(), Used { uses: 3, from: vec![from(ip(2), 1, 12), from(ip(1), 2, 11)] });
    }

    #[test]
    fn the_least_recently_used_address_is_removed_and_its_uses_stay_counted() {
        let usage = Usage::default();
        for (second, last) in (0..20).enumerate() {
            usage.record(ip(last), second as u64);
            usage.record(ip(0), second as u64);
        }
        let used = usage.read();
        assert_eq!((used.uses, used.from.len()), (40, MAX_ADDRESSES));
        assert!(used.from.iter().any(|source| source.address == ip(0) && source.uses == 21));
        assert!(!used.from.iter().any(|source| (1..5).any(|gone| source.address == ip(gone))));
    }

    #[test]
    fn uses_by_several_threads_are_all_counted() {
        let usage = Usage::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let usage = &usage;
                scope.spawn(move || {
                    (0..1_000).for_each(|n| usage.record(ip(thread + n as u8 % 4), u64::from(n as u8)))
                });
            }
        });
        assert_eq!(usage.read().uses, 4_000);
    }
}
