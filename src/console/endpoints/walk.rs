//! Iterates over all channels and connections in slices, so that neither the registry nor this thread is blocked.

use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{BrowseConnections, ChannelRef, ConnectionRow, SessionFigures};
use crate::http_error::Refusal;

/// Number of rows in one request: about a tenth of a millisecond of the registry's time.
const SLICE: usize = 1_000;

/// Visits every channel, oldest first. Channels created in the meantime may be included or not.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn channels(broker: &BrokerHandle, mut each: impl FnMut(ChannelRef)) -> Result<usize, Refusal> {
    let mut from = 0;
    loop {
        let slice = broker.browse_channels(from, SLICE).await?;
        from += slice.len();
        let is_last = slice.len() < SLICE;
        slice.into_iter().for_each(&mut each);
        if is_last {
            return Ok(from);
        }
        tokio::task::yield_now().await;
    }
}

/// Visits every connection that `filter` selects. Returns the number of records examined.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn connections(
    broker: &BrokerHandle,
    filter: BrowseConnections,
    mut each: impl FnMut(ConnectionRow),
) -> Result<usize, Refusal> {
    walk(broker, filter, async |rows| rows.into_iter().for_each(&mut each)).await
}

/// The same, with the hub's data about each session.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn connections_with_sessions(
    broker: &BrokerHandle,
    filter: BrowseConnections,
    addresses: bool,
    mut each: impl FnMut(ConnectionRow, Option<SessionFigures>),
) -> Result<usize, Refusal> {
    walk(broker, filter, async |rows| {
        let figures = broker.sessions(&rows, addresses).await;
        rows.into_iter().zip(figures).for_each(|(row, figures)| each(row, figures));
    })
    .await
}

/// Returns approximately the number of records examined.
async fn walk(
    broker: &BrokerHandle,
    mut filter: BrowseConnections,
    mut each: impl AsyncFnMut(Vec<ConnectionRow>),
) -> Result<usize, Refusal> {
    filter.count = SLICE;
    loop {
        let slice = broker.browse_connections(filter.clone()).await?;
        let found = slice.rows.len();
        each(slice.rows).await;
        match slice.next {
            Some(next) => filter.from = next,
            None => return Ok(filter.from + found),
        }
        tokio::task::yield_now().await;
    }
}
