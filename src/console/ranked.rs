//! A page of a sorted list, from rows that come by in any order and are too many to be kept.

use std::cmp::Ordering;

use super::query::Listing;

/// The first rows of an order. Holds about twice as many as it is asked for, however many come by.
pub struct Ranked<T, O> {
    rows: Vec<T>,
    keep: usize,
    order: O,
    matching: usize,
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct RankedPage<T> {
    /// All rows that came by.
    pub matching: usize,
    /// Those of the page.
    pub rows: Vec<T>,
}

impl<T, O: Fn(&T, &T) -> Ordering> Ranked<T, O> {
    /// Keeps what the page needs. `order` must not change its mind: it is given values, not things that live on.
    pub fn new(listing: &Listing, order: O) -> Self {
        Self { rows: Vec::new(), keep: listing.skip() + listing.per_page, order, matching: 0 }
    }

    /// A row comes by.
    pub fn push(&mut self, row: T) {
        self.matching += 1;
        self.rows.push(row);
        if self.rows.len() >= 2 * self.keep.max(32) {
            self.rows.select_nth_unstable_by(self.keep, &self.order);
            self.rows.truncate(self.keep);
        }
    }

    /// The page.
    pub fn page(mut self, listing: &Listing) -> RankedPage<T> {
        self.rows.sort_unstable_by(&self.order);
        let rows = self.rows.into_iter().skip(listing.skip()).take(listing.per_page).collect();
        RankedPage { matching: self.matching, rows }
    }
}

/// An order by a key, in the listing's direction; equals stand by name whichever way.
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
        fn it_is_the_page_of_the_whole_list_sorted(
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
