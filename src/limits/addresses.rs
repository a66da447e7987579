//! How many sockets each client address has open, and how fast it opens new ones.
//!
//! IPv6 addresses count by their /64 network: who has one address of it has them all.

use crate::telemetry::limits::Limit;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses without an open socket that are remembered for their rate at most. When as many came within a second or
/// so, newer ones are not held to the rate until the table has been swept.
const REMEMBERED: usize = 65_536;
const SECOND_US: u64 = 1_000_000;

/// What is known of one address.
#[derive(Clone, Copy, Debug, Default)]
struct AddressEntry {
    open: usize,
    /// When its bucket of new sockets will be full again, in µs.
    full_at_us: u64,
}

/// The addresses, without a clock. Holds no more entries than there are sockets, and [`REMEMBERED`] others.
#[derive(Debug)]
struct AddressTable {
    max_open: usize,
    per_second: u64,
    entries: HashMap<IpAddr, AddressEntry>,
    /// Entries without a socket.
    idle: usize,
}

/// What a new socket of an address is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It is new.
    New,
    /// It has been let in before and counts already: it only becomes something else.
    Again,
    /// It is a request on a connection that is somebody else's.
    Through,
}

impl AddressTable {
    fn new(max_open: usize, per_second: usize) -> Self {
        Self { max_open, per_second: per_second as u64, entries: HashMap::new(), idle: 0 }
    }

    fn enter(&mut self, address: IpAddr, comes: Charge, now_us: u64) -> Result<(), Limit> {
        if self.idle >= REMEMBERED && !self.entries.contains_key(&address) {
            self.sweep(now_us);
        }
        let entry = self.entries.entry(address).or_insert_with(|| {
            self.idle += 1;
            AddressEntry::default()
        });
        if comes == Charge::New && self.per_second > 0 {
            if entry.full_at_us.saturating_sub(now_us) >= SECOND_US {
                return Err(Limit::ConnectRate);
            }
            entry.full_at_us = entry.full_at_us.max(now_us) + SECOND_US / self.per_second;
        }
        let spare = usize::from(comes == Charge::Again);
        if self.max_open > 0 && entry.open >= self.max_open + spare {
            return Err(Limit::SocketsPerAddress);
        }
        self.idle -= usize::from(entry.open == 0);
        entry.open += 1;
        Ok(())
    }

    fn leave(&mut self, address: IpAddr, now_us: u64) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.open = entry.open.saturating_sub(1);
        if entry.open > 0 {
            return;
        }
        if entry.full_at_us > now_us && self.idle < REMEMBERED {
            self.idle += 1;
        } else {
            self.entries.remove(&address);
        }
    }

    /// Forgets addresses that have no socket and all of their rate again; all without a socket if there is no such one.
    fn sweep(&mut self, now_us: u64) {
        self.entries.retain(|_, entry| entry.open > 0 || entry.full_at_us > now_us);
        let count_idle =
            |entries: &HashMap<IpAddr, AddressEntry>| entries.values().filter(|e| e.open == 0).count();
        if count_idle(&self.entries) >= REMEMBERED {
            self.entries.retain(|_, entry| entry.open > 0);
        }
        self.idle = count_idle(&self.entries);
        self.entries.shrink_to(self.entries.len() * 2);
    }
}

/// The addresses of the server's clients. One for all threads; none where neither limit is set.
#[derive(Debug)]
pub struct Addresses {
    table: Mutex<AddressTable>,
    started: Instant,
}

impl Addresses {
    /// Nobody yet; so many sockets of one address at a time, and so many new ones in a second. `None` where both are 0.
    pub fn new(max_open: usize, per_second: usize) -> Option<Arc<Self>> {
        let table = Mutex::new(AddressTable::new(max_open, per_second));
        (max_open > 0 || per_second > 0).then(|| Arc::new(Self { table, started: Instant::now() }))
    }

    /// Takes a seat for a socket.
    ///
    /// # Errors
    /// The address has too many, or opened too many in the last second.
    pub fn enter(self: &Arc<Self>, address: IpAddr, comes: Charge) -> Result<Box<AddressSlot>, Limit> {
        let address = network(address);
        self.table().enter(address, comes, self.now_us())?;
        Ok(Box::new(AddressSlot { addresses: self.clone(), address }))
    }

    fn table(&self) -> MutexGuard<'_, AddressTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A socket's seat among those of its address; given back when dropped.
#[derive(Debug)]
pub struct AddressSlot {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let now_us = self.addresses.now_us();
        self.addresses.table().leave(self.address, now_us);
    }
}

/// What an address counts as.
fn network(address: IpAddr) -> IpAddr {
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
    fn so_many_are_open_at_a_time() {
        let mut table = AddressTable::new(2, 0);
        assert_eq!([1, 1, 2].map(|n| table.enter(ip(n), Charge::New, 0)), [Ok(()); 3]);
        assert_eq!(table.enter(ip(1), Charge::New, 0), Err(Limit::SocketsPerAddress));
        assert_eq!(
            table.enter(ip(1), Charge::Again, 0),
            Ok(()),
            "a websocket is let in while its handshake counts"
        );
        table.leave(ip(1), 0);
        assert_eq!(table.enter(ip(1), Charge::Through, 0), Err(Limit::SocketsPerAddress));
        table.leave(ip(1), 0);
        assert_eq!(table.enter(ip(1), Charge::Through, 0), Ok(()));
    }

    #[test]
    fn a_second_of_new_sockets_comes_at_once_and_then_the_rate() {
        let mut table = AddressTable::new(0, 10);
        let mut taken = |now_us| {
            (0..100)
                .take_while(|_| {
                    let entered = table.enter(ip(1), Charge::New, now_us);
                    entered.inspect(|()| table.leave(ip(1), now_us)).is_ok()
                })
                .count()
        };
        // Whoever has a part of the next one left may come.
        assert_eq!([taken(0), taken(1), taken(100_000), taken(100_001), taken(500_001)], [10, 1, 0, 1, 4]);
        assert_eq!(taken(90 * SECOND_US), 10);
        assert_eq!(table.enter(ip(1), Charge::Through, 90 * SECOND_US), Ok(()), "no new socket");
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
    fn a_flood_of_addresses_is_forgotten() {
        let mut table = AddressTable::new(0, 1);
        for n in 0..3 * REMEMBERED as u32 {
            assert_eq!(table.enter(ip(n), Charge::New, u64::from(n)), Ok(()));
            table.leave(ip(n), u64::from(n));
            assert!(table.entries.len() <= REMEMBERED + 1);
        }
    }

    proptest! {
        #[test]
        fn whoever_leaves_is_forgotten(steps in prop::collection::vec((0u32..4, 0u64..400_000, any::<bool>()), 0..60)) {
            let mut table = AddressTable::new(3, 5);
            let (mut now, mut open) = (0, Vec::new());
            for (who, pause, leaves) in steps {
                now += pause;
                if leaves {
                    if let Some(who) = open.pop() {
                        table.leave(ip(who), now);
                    }
                } else if table.enter(ip(who), Charge::New, now).is_ok() {
                    open.push(who);
                }
                let idle = table.entries.values().filter(|entry| entry.open == 0).count();
                prop_assert_eq!(table.idle, idle);
                let sum: usize = table.entries.values().map(|entry| entry.open).sum();
                prop_assert_eq!(sum, open.len());
            }
            open.into_iter().for_each(|who| table.leave(ip(who), now));
            table.sweep(now + 10 * SECOND_US);
            prop_assert_eq!((table.entries.len(), table.idle), (0, 0));
        }
    }
}
