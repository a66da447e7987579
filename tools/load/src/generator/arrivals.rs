//! The messages of several connections that have arrived. They may overtake those of other connections, but not each
//! other. All go to at most one subscriber.

/// See the description of the module.
#[derive(Debug)]
pub struct Arrivals {
    /// The connection of each sent message, and whether it has arrived.
    sent: Vec<(usize, bool)>,
    /// One more than the latest number that arrived from each connection.
    next: Vec<u32>,
    /// Messages that arrived.
    pub count: u64,
    repeated: u64,
    late: u64,
    unknown: u64,
}

impl Arrivals {
    /// The state for this many connections.
    pub fn new(connections: usize) -> Self {
        Self { sent: Vec::new(), next: vec![0; connections], count: 0, repeated: 0, late: 0, unknown: 0 }
    }

    /// The next number goes out on this connection.
    pub fn expect(&mut self, connection: usize) {
        self.sent.push((connection, false));
    }

    /// Records that a message arrived.
    pub fn note(&mut self, number: u32) {
        self.count += 1;
        let Some((connection, seen)) = self.sent.get_mut(number as usize) else {
            self.unknown += 1;
            return;
        };
        if std::mem::replace(seen, true) {
            self.repeated += 1;
            return;
        }
        let next = &mut self.next[*connection];
        self.late += u64::from(number < *next);
        *next = (*next).max(number + 1);
    }

    /// The faults, if this many should have arrived.
    pub fn faults(&self, expected: u64) -> Vec<String> {
        let received = self.count - self.repeated - self.unknown;
        let counts = [
            (expected.saturating_sub(received), "lost"),
            (self.repeated, "repeated"),
            (self.late, "out of order"),
            (self.unknown, "never sent"),
        ];
        let faults = counts.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{count} {what}")).collect()
    }
}
