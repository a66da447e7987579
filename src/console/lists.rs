//! The lists of the console: walks over all channels and connections in slices, so that neither the registry nor this thread
//! is blocked, and one page of a sorted list, selected from rows that arrive in any order and are too many to store.

use super::query::Listing;
use crate::broker::handle::BrokerHandle;
use crate::broker::handle::cluster::listing::Walked;
use crate::broker::requests::{BrowseConnections, ChannelFigures, ConnectionRow, SessionFigures};
use crate::http_error::Refusal;
use crate::protocol::time::Timestamp;
use serde::Serialize;
use std::cmp::Ordering;

/// Number of rows in one request: about a tenth of a millisecond of the registry's time.
const SLICE: usize = 1_000;

/// Visits every channel. Channels created in the meantime may be included or not.
///
/// # Errors
/// `Busy`, `Draining`; those of the engine.
pub async fn channels(
    broker: &BrokerHandle,
    mut each: impl FnMut(ChannelFigures),
) -> Result<Walked, Refusal> {
    // While Redis does not answer, those are listed that this node has.
    let is_partial = broker.is_engine_silent();
    if !is_partial && let Some(found) = broker.channels_in_cluster(&mut each).await? {
        return Ok(Walked { found, is_partial });
    }
    let (mut from, now) = (0, Timestamp::now());
    loop {
        let slice = broker.browse_channels(from, SLICE).await?;
        from += slice.len();
        let is_last = slice.len() < SLICE;
        slice.into_iter().map(|channel| channel.figures(&now)).for_each(&mut each);
        if is_last {
            return Ok(Walked { found: from, is_partial });
        }
        tokio::task::yield_now().await;
    }
}

/// Visits every connection that `filter` selects, of all nodes.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn connections(
    broker: &BrokerHandle,
    filter: BrowseConnections,
    mut each: impl FnMut(ConnectionRow),
) -> Result<Walked, Refusal> {
    let here = walk(broker, filter.clone(), async |rows| rows.into_iter().for_each(&mut each)).await?;
    let there = broker.connections_elsewhere(&filter, &mut |row, _| each(row)).await?;
    Ok(Walked { found: here + there.found, ..there })
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
) -> Result<Walked, Refusal> {
    let here = walk(broker, filter.clone(), async |rows| {
        let figures = broker.sessions(&rows, addresses).await;
        rows.into_iter().zip(figures).for_each(|(row, figures)| each(row, figures));
    })
    .await?;
    let there = broker.connections_elsewhere(&filter, &mut each).await?;
    Ok(Walked { found: here + there.found, ..there })
}

/// Visits the connections of this process. Returns approximately the number of records examined.
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

/// The first rows of an order. It stores at most about twice the requested number of rows.
pub struct Ranked<T, O> {
    rows: Vec<T>,
    keep: usize,
    order: O,
    matching: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RankedPage<T> {
    /// Number of all rows.
    pub matching: usize,
    /// Rows of the page.
    pub rows: Vec<T>,
}

impl<T, O: Fn(&T, &T) -> Ordering> Ranked<T, O> {
    /// Stores the rows that the page needs. `order` must stay consistent, so rows are values that do not change.
    pub fn new(listing: &Listing, order: O) -> Self {
        Self { rows: Vec::new(), keep: listing.skip() + listing.per_page, order, matching: 0 }
    }

    pub fn push(&mut self, row: T) {
        self.matching += 1;
        self.rows.push(row);
        if self.rows.len() >= 2 * self.keep.max(32) {
            self.rows.select_nth_unstable_by(self.keep, &self.order);
            self.rows.truncate(self.keep);
        }
    }

    pub fn page(mut self, listing: &Listing) -> RankedPage<T> {
        self.rows.sort_unstable_by(&self.order);
        let rows = self.rows.into_iter().skip(listing.skip()).take(listing.per_page).collect();
        RankedPage { matching: self.matching, rows }
    }
}

/// The response of a list: one page, with the numbers of rows.
#[derive(Serialize)]
pub struct ListPage<R> {
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    remembered: Option<usize>,
    matching: usize,
    page: usize,
    per_page: usize,
    rows: Vec<R>,
    /// A node did not answer, so what it has is missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl<R> ListPage<R> {
    pub fn new(listing: &Listing, total: usize, matching: usize, rows: Vec<R>) -> Self {
        let &Listing { page, per_page, .. } = listing;
        Self { total, remembered: None, matching, page, per_page, rows, partial: false }
    }

    /// Adds the number of users that the server stores, for a list of users.
    #[must_use]
    pub fn with_remembered(self, users: usize) -> Self {
        Self { remembered: Some(users), ..self }
    }

    /// Adds whether what some nodes have is missing.
    #[must_use]
    pub fn with_missing(self, partial: bool) -> Self {
        Self { partial, ..self }
    }
}

/// Compares by a key in the direction of the listing. Equal keys are compared by name in either direction.
pub fn by<K: Ord>(descending: bool, a: (K, &str), b: (K, &str)) -> Ordering {
    let order = a.0.cmp(&b.0);
    if descending { order.reverse() } else { order }.then_with(|| a.1.cmp(b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_page_equals_that_of_the_sorted_list(
            rows in proptest::collection::vec((0_u8..20, 0_u16..1_000), 0..400),
            page in 1_usize..12,
            per_page in 1_usize..40,
            descending in any::<bool>(),
        ) {
            let listing = Listing { page, per_page, search: String::new(), sort: "", descending };
            let rows: Vec<(u8, String)> = rows.into_iter().map(|(key, name)| (key, name.to_string())).collect();
            let order = |a: &(u8, String), b: &(u8, String)| by(descending, (a.0, &a.1), (b.0, &b.1));
            let mut ranked = Ranked::new(&listing, order);
            let mut all = rows.clone();
            rows.into_iter().for_each(|row| ranked.push(row));
            prop_assert!(ranked.rows.len() <= 2 * ranked.keep.max(32));
            all.sort_by(order);
            let expected: Vec<_> = all.iter().skip((page - 1) * per_page).take(per_page).cloned().collect();
            prop_assert_eq!(ranked.page(&listing), RankedPage { matching: all.len(), rows: expected });
        }
    }
}
