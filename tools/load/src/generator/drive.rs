//! The order and the times of publishes.

use super::crowd::Crowd;
use super::failure;
use super::ledger::Ledger;
use super::publisher::Publisher;
use std::io;
use std::time::{Duration, Instant};

/// After this long without an event, a message counts as lost.
const STALL: Duration = Duration::from_secs(20);

/// How many messages are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// This many single messages.
    Window(u32),
    /// One request with a list of this many.
    List(u32),
}

impl Plan {
    /// How many messages are sent together.
    pub fn burst(self) -> u32 {
        match self {
            Plan::Window(count) | Plan::List(count) => count,
        }
    }
}

/// Publishes until all subscribers have the messages before `upto`. The next message starts when all have received one.
pub fn closed_loop(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    ledger: &mut Ledger,
    upto: u32,
    plan: Plan,
) -> io::Result<()> {
    let publishers = std::slice::from_mut(publisher);
    let mut sent = ledger.completed();
    while ledger.completed() < upto {
        let completed = ledger.completed();
        match plan {
            Plan::Window(window) => {
                let next = upto.min(completed + window);
                (sent..next).try_for_each(|number| publishers[0].queue(number, 1))?;
                sent = sent.max(next);
            }
            Plan::List(length) if sent == completed => {
                publishers[0].queue(sent, length)?;
                sent += length;
            }
            Plan::List(_) => {}
        }
        publishers[0].flush()?;
        let had_event =
            crowd.turn(STALL, publishers, |subscriber, number| ledger.note(subscriber, number))?;
        if !had_event {
            return Err(failure(format!("stalled after {completed} messages, {sent} sent")));
        }
    }
    Ok(())
}

/// Publishes in rounds, one message to each of several channels, until all subscribers have the rounds before `upto`.
/// `window` messages are in flight. All channels have the same number of subscribers, in alternating order.
pub fn rounds(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    ledger: &mut Ledger,
    channels: u32,
    window: u64,
    upto: u32,
) -> io::Result<()> {
    let publishers = std::slice::from_mut(publisher);
    let (channels, members) = (u64::from(channels), crowd.size() as u64 / u64::from(channels));
    let mut sent = u64::from(ledger.completed()) * channels;
    let total = u64::from(upto) * channels;
    while ledger.completed() < upto {
        while sent < total && sent * members < ledger.deliveries + window * members {
            publishers[0].queue_to((sent % channels) as u32, (sent / channels) as u32, 1)?;
            sent += 1;
        }
        publishers[0].flush()?;
        let had_event =
            crowd.turn(STALL, publishers, |subscriber, number| ledger.note(subscriber, number))?;
        if !had_event {
            return Err(failure(format!("stalled after {} deliveries, {sent} sent", ledger.deliveries)));
        }
    }
    Ok(())
}

/// Publishes `count` messages at a fixed rate, whether or not the earlier ones have arrived, each when the one before
/// it is answered. Returns the latency of each delivery, in µs, from the moment its message was due.
pub fn paced(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    ledger: &mut Ledger,
    count: u32,
    interval: Duration,
) -> io::Result<Vec<u32>> {
    let publishers = std::slice::from_mut(publisher);
    let first = ledger.completed();
    let begin = Instant::now();
    let due = |index: u32| begin + interval * index;
    let mut sent = 0;
    let mut latencies = Vec::with_capacity(count as usize * crowd.size());
    while ledger.completed() < first + count {
        let may_send = sent < count && publishers[0].unanswered == 0;
        let wait = if may_send { due(sent).saturating_duration_since(Instant::now()) } else { STALL };
        if wait.is_zero() {
            publishers[0].queue(first + sent, 1)?;
            publishers[0].flush()?;
            sent += 1;
            continue;
        }
        // One reading of the clock for all deliveries of a turn.
        let mut arrived = None;
        let had_event = crowd.turn(wait, publishers, |subscriber, number| {
            let arrived = *arrived.get_or_insert_with(Instant::now);
            let late = arrived.saturating_duration_since(due(number.wrapping_sub(first)));
            latencies.push(late.as_micros() as u32);
            ledger.note(subscriber, number);
        })?;
        if !had_event && !may_send {
            return Err(failure(format!("stalled after {} messages", ledger.completed())));
        }
    }
    Ok(latencies)
}
