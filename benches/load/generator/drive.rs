//! When to publish what.

use super::crowd::Crowd;
use super::failure;
use super::ledger::Ledger;
use super::publisher::Publisher;
use std::io;
use std::time::{Duration, Instant};

/// Nothing happens for this long: something is lost.
const STALL: Duration = Duration::from_secs(20);

/// How many messages are under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// So many single messages.
    Window(u32),
    /// One request with a list of so many.
    List(u32),
}

/// Publishes until everybody has the messages before `upto`; a next one starts when one has reached everybody.
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
        let came = crowd.turn(STALL, publishers, |subscriber, number| ledger.note(subscriber, number))?;
        if !came {
            return Err(failure(format!("stalled after {completed} messages, {sent} sent")));
        }
    }
    Ok(())
}

/// Publishes `count` messages at a fixed rate, whether or not the earlier ones have arrived; returns how long each
/// delivery took, in µs.
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
    let mut sent: Vec<Instant> = Vec::with_capacity(count as usize);
    let mut latencies = Vec::with_capacity(count as usize * crowd.len());
    let mut last_progress = begin;
    while ledger.completed() < first + count {
        let due = begin + interval * sent.len() as u32;
        let now = Instant::now();
        if (sent.len() as u32) < count && now >= due {
            publishers[0].queue(first + sent.len() as u32, 1)?;
            publishers[0].flush()?;
            sent.push(now);
            last_progress = now;
            continue;
        }
        let wait = if (sent.len() as u32) < count { due - now } else { STALL };
        // One look at the clock for all that one turn brings.
        let mut arrived = None;
        let came = crowd.turn(wait, publishers, |subscriber, number| {
            let arrived = *arrived.get_or_insert_with(Instant::now);
            if let Some(sent) = sent.get(number.wrapping_sub(first) as usize) {
                latencies.push((arrived - *sent).as_micros() as u32);
            }
            ledger.note(subscriber, number);
        })?;
        if came {
            last_progress = Instant::now();
        } else if last_progress.elapsed() > STALL {
            return Err(failure(format!("stalled after {} messages", ledger.completed())));
        }
    }
    Ok(latencies)
}
