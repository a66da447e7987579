//! Every delivery of every subscriber, checked for loss, repetition and order.

use std::collections::VecDeque;

/// The deliveries of one run, whose messages are numbered from 0.
#[derive(Debug)]
pub struct Ledger {
    /// The next number that each subscriber should receive.
    next: Vec<u32>,
    /// How many subscribers have each message from `completed` on.
    counts: VecDeque<u32>,
    completed: u32,
    /// Messages that arrived.
    pub deliveries: u64,
    /// Numbers that were skipped.
    pub skipped: u64,
    /// Messages that arrived after a later one, or a second time.
    pub late: u64,
}

impl Ledger {
    /// The ledger of this many subscribers.
    pub fn new(subscribers: usize) -> Self {
        let next = vec![0; subscribers];
        Self { next, counts: VecDeque::new(), completed: 0, deliveries: 0, skipped: 0, late: 0 }
    }

    /// Records that a subscriber received a message.
    #[inline]
    pub fn note(&mut self, subscriber: usize, number: u32) {
        self.deliveries += 1;
        let next = &mut self.next[subscriber];
        if number < *next {
            self.late += 1;
            return;
        }
        self.skipped += u64::from(number - *next);
        *next = number + 1;
        let index = (number - self.completed) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        while self.counts.front().is_some_and(|count| *count as usize == self.next.len()) {
            self.counts.pop_front();
            self.completed += 1;
        }
    }

    /// The number of messages that all subscribers have.
    pub fn completed(&self) -> u32 {
        self.completed
    }

    /// Whether all subscribers have these `total` messages, each once and in order, and nothing else.
    pub fn is_clean(&self, total: u32) -> bool {
        let expected = u64::from(total) * self.next.len() as u64;
        self.skipped == 0 && self.late == 0 && self.completed == total && self.deliveries == expected
    }

    /// The faults, as a text.
    pub fn describe(&self, total: u32) -> String {
        if self.is_clean(total) {
            return "clean".to_owned();
        }
        let behind = self.next.iter().filter(|next| **next != total).count();
        let (deliveries, skipped, late) = (self.deliveries, self.skipped, self.late);
        format!(
            "NOT CLEAN: {deliveries} deliveries, {skipped} lost, {late} repeated or out of order, \
             {behind} subscribers without the end"
        )
    }
}
