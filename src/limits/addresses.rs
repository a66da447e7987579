//! Limits how many sockets each client address has open, and how fast it opens new ones.
//!
//! IPv6 addresses count by their /64 network: a client that has one address of it usually has all of them.

use crate::telemetry::limits::Limit;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The most addresses without an open socket that are stored for their rate. If more of them arrive within about a
/// second, the rate of the newer ones is not limited until the table has been swept.
const MAX_IDLE: usize = 65_536;
const SECOND_US: u64 = 1_000_000;

/// The state of one address.
#[derive(Clone, Copy, Debug, Default)]
struct AddressEntry {
    open: usize,
    /// The time at which its bucket of new sockets is full again, in µs.
    full_at_us: u64,
}

/// The addresses, without a clock. It has at most one entry for each socket, and [`MAX_IDLE`] others.
#[derive(Debug)]
struct AddressTable {
    max_open: usize,
    per_second: u64,
    entries: HashMap<IpAddr, AddressEntry>,
    /// Entries without a socket.
    idle: usize,
}

/// Decides which limits apply to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// A new socket: both limits apply.
    New,
    /// An accepted connection that becomes a websocket: it is counted already, and is not new.
    Upgrade,
    /// A request on a proxy's connection: it is counted for its client, but opens no socket.
    Proxied,
}

impl AddressTable {
    fn new(max_open: usize, per_second: usize) -> Self {
        Self { max_open, per_second: per_second as u64, entries: HashMap::new(), idle: 0 }
    }

    fn acquire(&mut self, address: IpAddr, charge: Charge, now_us: u64) -> Result<(), Limit> {
        if self.idle >= MAX_IDLE && !self.entries.contains_key(&address) {
            self.sweep(now_us);
        }
        let entry = self.entries.entry(address).or_insert_with(|| {
            self.idle += 1;
            AddressEntry::default()
        });
        if charge == Charge::New && self.per_second > 0 {
            if entry.full_at_us.saturating_sub(now_us) >= SECOND_US {
                return Err(Limit::ConnectRate);
            }
            entry.full_at_us = entry.full_at_us.max(now_us) + SECOND_US / self.per_second;
        }
        let spare = usize::from(charge == Charge::Upgrade);
        if self.max_open > 0 && entry.open >= self.max_open + spare {
            return Err(Limit::SocketsPerAddress);
        }
        self.idle -= usize::from(entry.open == 0);
        entry.open += 1;
        Ok(())
    }

    fn release(&mut self, address: IpAddr, now_us: u64) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.open = entry.open.saturating_sub(1);
        if entry.open > 0 {
            return;
        }
        if entry.full_at_us > now_us && self.idle < MAX_IDLE {
            self.idle += 1;
        } else {
            self.entries.remove(&address);
        }
    }

    /// Removes the addresses that have no socket and a full bucket. If there are none, removes all without a socket.
    fn sweep(&mut self, now_us: u64) {
        self.entries.retain(|_, entry| entry.open > 0 || entry.full_at_us > now_us);
        let count_idle =
            |entries: &HashMap<IpAddr, AddressEntry>| entries.values().filter(|e| e.open == 0).count();
        if count_idle(&self.entries) >= MAX_IDLE {
            self.entries.retain(|_, entry| entry.open > 0);
        }
        self.idle = count_idle(&self.entries);
        self.entries.shrink_to(self.entries.len() * 2);
    }
}

/// The addresses of the server's clients. There is one for all threads, or none if neither limit is set.
#[derive(Debug)]
pub struct Addresses {
    table: Mutex<AddressTable>,
    started: Instant,
}

impl Addresses {
    /// Allows this many open sockets of one address, and this many new ones per second. `None` if both are 0.
    pub fn new(max_open: usize, per_second: usize) -> Option<Arc<Self>> {
        let table = Mutex::new(AddressTable::new(max_open, per_second));
        (max_open > 0 || per_second > 0).then(|| Arc::new(Self { table, started: Instant::now() }))
    }

    /// Acquires a slot for a socket.
    ///
    /// # Errors
    /// The address has too many open sockets, or opens them too fast.
    pub fn acquire(self: &Arc<Self>, address: IpAddr, charge: Charge) -> Result<Box<AddressSlot>, Limit> {
        let address = network(address);
        self.table().acquire(address, charge, self.now_us())?;
        Ok(Box::new(AddressSlot { addresses: self.clone(), address }))
    }

    fn table(&self) -> MutexGuard<'_, AddressTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A socket's slot among those of its address; released when it is dropped.
#[derive(Debug)]
pub struct AddressSlot {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let now_us = self.addresses.now_us();
        self.addresses.table().release(self.address, now_us);
    }
}

/// The address or network that an address is counted for: the owner of one IPv6 address has the 2^64 addresses of its
/// network.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(last: u32) -> IpAddr {
        IpAddr::V4(last.into())
    }

    #[test]
    fn the_number_of_open_sockets_is_limited() {
        let mut table = AddressTable::new(2, 0);
        assert_eq!([1, 1, 2].map(|n| table.acquire(ip(n), Charge::New, 0)), [Ok(()); 3]);
        assert_eq!(table.acquire(ip(1), Charge::New, 0), Err(Limit::SocketsPerAddress));
        assert_eq!(
            table.acquire(ip(1), Charge::Upgrade, 0),
            Ok(()),
            "a websocket is accepted while its handshake is counted"
        );
        table.release(ip(1), 0);
        assert_eq!(table.acquire(ip(1), Charge::Proxied, 0), Err(Limit::SocketsPerAddress));
        table.release(ip(1), 0);
        assert_eq!(table.acquire(ip(1), Charge::Proxied, 0), Ok(()));
    }

    #[test]
    fn a_burst_of_one_second_is_allowed_and_then_the_rate() {
        let mut table = AddressTable::new(0, 10);
        let mut taken = |now_us| {
            (0..100)
                .take_while(|_| {
                    let entered = table.acquire(ip(1), Charge::New, now_us);
                    entered.inspect(|()| table.release(ip(1), now_us)).is_ok()
                })
                .count()
        };
        // A part of a token is enough for another socket.
        assert_eq!([taken(0), taken(1), taken(100_000), taken(100_001), taken(500_001)], [10, 1, 0, 1, 4]);
        assert_eq!(taken(90 * SECOND_US), 10);
        assert_eq!(table.acquire(ip(1), Charge::Proxied, 90 * SECOND_US), Ok(()), "no new socket");
    }

    #[test]
    fn ipv6_counts_by_network_and_mapped_ipv4_as_ipv4() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table() {
        let mut table = AddressTable::new(0, 1);
        for n in 0..3 * MAX_IDLE as u32 {
            assert_eq!(table.acquire(ip(n), Charge::New, u64::from(n)), Ok(()));
            table.release(ip(n), u64::from(n));
            assert!(table.entries.len() <= MAX_IDLE + 1);
        }
    }

    proptest! {
        #[test]
        fn addresses_without_sockets_are_removed(steps in prop::collection::vec((0u32..4, 0u64..400_000, any::<bool>()), 0..60)) {
            let mut table = AddressTable::new(3, 5);
            let (mut now, mut open) = (0, Vec::new());
            for (address, pause, releases) in steps {
                now += pause;
                if releases {
                    if let Some(address) = open.pop() {
                        table.release(ip(address), now);
                    }
                } else if table.acquire(ip(address), Charge::New, now).is_ok() {
                    open.push(address);
                }
                let idle = table.entries.values().filter(|entry| entry.open == 0).count();
                prop_assert_eq!(table.idle, idle);
                let sum: usize = table.entries.values().map(|entry| entry.open).sum();
                prop_assert_eq!(sum, open.len());
            }
            open.into_iter().for_each(|address| table.release(ip(address), now));
            table.sweep(now + 10 * SECOND_US);
            prop_assert_eq!((table.entries.len(), table.idle), (0, 0));
        }
    }
}
