//! Iterates over all channels and connections in slices, so that neither the registry nor this thread is blocked.

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::inspect::{InspectSessions, SessionFigures};
use crate::broker::registry::messages::{BrowseChannels, BrowseConnections, ChannelRef, ConnectionRow};
use crate::broker::registry::state::Phase;
use crate::http_error::Refusal;
use crate::protocol::ids::{HubId, SlotKey};
use std::collections::BTreeMap;

/// Number of rows in one request: about a tenth of a millisecond of the registry's time.
const SLICE: usize = 1_000;

/// Visits every channel, oldest first. Channels created in the meantime may be included or not.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn channels(broker: &BrokerHandle, mut each: impl FnMut(ChannelRef)) -> Result<usize, Refusal> {
    let mut from = 0;
    loop {
        let slice = broker.ask(BrowseChannels { from, count: SLICE }).await?;
        from += slice.len();
        let is_last = slice.len() < SLICE;
        slice.into_iter().for_each(&mut each);
        if is_last {
            return Ok(from);
        }
        tokio::task::yield_now().await;
    }
}

/// Visits every connection that `wanted` selects. Returns the number of records examined.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn connections(
    broker: &BrokerHandle,
    wanted: BrowseConnections,
    mut each: impl FnMut(ConnectionRow),
) -> Result<usize, Refusal> {
    walk(broker, wanted, async |rows| rows.into_iter().for_each(&mut each)).await
}

/// The same, with the hub's data about each session.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn connections_with_sessions(
    broker: &BrokerHandle,
    console: &Console,
    wanted: BrowseConnections,
    addresses: bool,
    mut each: impl FnMut(ConnectionRow, Option<SessionFigures>),
) -> Result<usize, Refusal> {
    walk(broker, wanted, async |rows| {
        let figures = sessions(console, &rows, addresses).await;
        rows.into_iter().zip(figures).for_each(|(row, figures)| each(row, figures));
    })
    .await
}

/// Returns approximately the number of records examined.
async fn walk(
    broker: &BrokerHandle,
    mut wanted: BrowseConnections,
    mut each: impl AsyncFnMut(Vec<ConnectionRow>),
) -> Result<usize, Refusal> {
    wanted.count = SLICE;
    loop {
        let slice = broker.ask(wanted.clone()).await?;
        let found = slice.rows.len();
        each(slice.rows).await;
        match slice.next {
            Some(next) => wanted.from = next,
            None => return Ok(wanted.from + found),
        }
        tokio::task::yield_now().await;
    }
}

/// The hubs' data about the sessions of these connections. A session that has ended in the meantime has no figures.
pub async fn sessions(
    console: &Console,
    rows: &[ConnectionRow],
    addresses: bool,
) -> Vec<Option<SessionFigures>> {
    let mut figures: Vec<Option<SessionFigures>> = rows.iter().map(|_| None).collect();
    let mut asked: BTreeMap<u16, Vec<(usize, SlotKey)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        if let Phase::Attached(place, _) = row.phase {
            asked.entry(place.hub.0).or_default().push((index, place.slot));
        }
    }
    for (hub, places) in asked {
        let Some(hub) = console.hubs.get(HubId(hub)) else { continue };
        let slots = places.iter().map(|(_, slot)| *slot).collect();
        // A hub that has stopped has no sessions.
        let Ok(answers) = hub.send(InspectSessions { slots, addresses }).await else { continue };
        for ((index, _), answer) in places.into_iter().zip(answers) {
            if let Some(place) = figures.get_mut(index) {
                *place = answer;
            }
        }
    }
    figures
}
