//! The number of closed websockets, by reason.

use super::Counter;
use crate::protocol::websocket::close::CloseReason;

/// The name of the counter for sockets that ended without a close frame from either side.
pub const GONE: &str = "gone";

#[derive(Debug)]
pub struct Closes {
    by_reason: [Counter; CloseReason::ALL.len()],
    gone: Counter,
}

impl Default for Closes {
    fn default() -> Self {
        Self { by_reason: std::array::from_fn(|_| Counter::default()), gone: Counter::default() }
    }
}

impl Closes {
    /// Counts a websocket that has ended, with the reason if it was closed.
    pub fn count(&self, reason: Option<CloseReason>) {
        let of = |reason: CloseReason| {
            CloseReason::ALL.iter().zip(&self.by_reason).find(|(known, _)| known.name() == reason.name())
        };
        reason.and_then(of).map_or(&self.gone, |(_, counter)| counter).add(1);
    }

    /// All reasons by name, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.reasons().map(|(reason, count)| (reason.map_or(GONE, CloseReason::name), count))
    }

    /// The same by the reasons themselves; `None` stands for sockets that ended without a close frame.
    pub fn reasons(&self) -> impl Iterator<Item = (Option<CloseReason>, u64)> {
        let by_reason = CloseReason::ALL.into_iter().map(Some).zip(&self.by_reason);
        by_reason.chain([(None, &self.gone)]).map(|(reason, counter)| (reason, counter.get()))
    }

    /// The number of all closed websockets.
    pub fn sum(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_separate_counter() {
        let closes = Closes::default();
        CloseReason::ALL.into_iter().for_each(|reason| closes.count(Some(reason)));
        closes.count(Some(CloseReason::ByPeer(Some(4_999))));
        closes.count(None);
        for (name, count) in closes.iter() {
            assert_eq!(count, if name == "by_peer" { 2 } else { 1 }, "{name}");
        }
        assert_eq!(closes.sum(), CloseReason::ALL.len() as u64 + 2);
    }
}
