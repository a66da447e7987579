//! Tables of many small records. The records lie densely and hold their own keys; an index of five bytes a bucket finds
//! them. A map would keep each key beside its record, in buckets of which up to half are empty.
//!
//! What has become much smaller gives its memory back: a server is to be as small after a crowd as it was before.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use slab::Slab;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};

/// Tables smaller than this are left as they are.
const SMALL: usize = 64;

/// A record that holds its own key.
pub trait Keyed {
    /// What it is found by.
    type Key: Hash + Eq;

    /// Its key. It never changes.
    fn key(&self) -> &Self::Key;
}

/// Finds numbers (places in a table, ids) by keys that are kept elsewhere.
///
/// `key_of` tells the key of a number that is in the index. Keys from outside need a hasher that withstands floods:
/// [`std::hash::RandomState`].
#[derive(Debug, Default)]
pub struct KeyIndex<S = BuildHasherDefault<FxHasher>> {
    numbers: HashTable<u32>,
    hasher: S,
}

impl<S: BuildHasher> KeyIndex<S> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number with this key.
    pub fn find<'k, K>(&self, key: &K, key_of: impl Fn(u32) -> &'k K) -> Option<u32>
    where
        K: Hash + Eq + ?Sized + 'k,
    {
        self.numbers.find(self.hasher.hash_one(key), |number| key_of(*number) == key).copied()
    }

    /// Adds a number whose key is not in the index yet.
    pub fn insert<'k, K>(&mut self, number: u32, key_of: impl Fn(u32) -> &'k K)
    where
        K: Hash + ?Sized + 'k,
    {
        let hash = |number: u32| self.hasher.hash_one(key_of(number));
        self.numbers.insert_unique(hash(number), number, |number| hash(*number));
    }

    /// Takes a number out, which still has its key.
    pub fn remove<'k, K>(&mut self, number: u32, key_of: impl Fn(u32) -> &'k K)
    where
        K: Hash + ?Sized + 'k,
    {
        let hash = |number: u32| self.hasher.hash_one(key_of(number));
        if let Ok(entry) = self.numbers.find_entry(hash(number), |other| *other == number) {
            entry.remove();
        }
        let len = self.numbers.len();
        if is_wasteful(len, self.numbers.capacity()) {
            self.numbers.shrink_to(len * 2, |number| hash(*number));
        }
    }

    /// Another number takes the place of one, with its key.
    fn renumber<K: Hash + ?Sized>(&mut self, key: &K, from: u32, to: u32) {
        if let Some(number) = self.numbers.find_mut(self.hasher.hash_one(key), |number| *number == from) {
            *number = to;
        }
    }
}

/// Records in no order, found by their keys.
#[derive(Debug)]
pub struct DenseMap<R> {
    rows: Vec<R>,
    places: KeyIndex,
}

impl<R> Default for DenseMap<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: KeyIndex::default() }
    }
}

impl<R: Keyed> DenseMap<R> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.rows.iter()
    }

    fn place(&self, key: &R::Key) -> Option<u32> {
        self.places.find(key, |place| self.rows[place as usize].key())
    }

    /// The record with this key.
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(self.place(key)? as usize)
    }

    /// The record with this key.
    pub fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        let place = self.place(key)?;
        self.rows.get_mut(place as usize)
    }

    /// Adds a record whose key is not in the table yet.
    pub fn insert(&mut self, row: R) {
        let place = self.rows.len() as u32;
        self.rows.push(row);
        self.places.insert(place, |place| self.rows[place as usize].key());
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: &R::Key) -> Option<R> {
        let place = self.place(key)?;
        let rows = &mut self.rows;
        self.places.remove(place, |place| rows[place as usize].key());
        // The last one moves into the gap.
        let last = rows.len() as u32 - 1;
        if place < last {
            self.places.renumber(rows[last as usize].key(), last, place);
        }
        let row = rows.swap_remove(place as usize);
        shrink(rows);
        Some(row)
    }
}

/// Gives a list's memory back once it has become much shorter.
pub fn shrink<T>(list: &mut Vec<T>) {
    if is_wasteful(list.len(), list.capacity()) {
        list.shrink_to(list.len() * 2);
    }
}

fn is_wasteful(len: usize, capacity: usize) -> bool {
    capacity >= SMALL && len < capacity / 4
}

/// When a slab gives its memory back. Its records cannot move, so that there may be nothing to give when it has become
/// much emptier: it is only tried once for each halving.
#[derive(Debug, Default)]
pub struct ShrinkHint {
    /// The number of records at which it is tried next.
    at: usize,
}

impl ShrinkHint {
    /// A record came in.
    pub fn grown<T>(&mut self, slab: &Slab<T>) {
        self.at = self.at.max(slab.len() / 4);
    }

    /// A record was taken out.
    pub fn shrunk<T>(&mut self, slab: &mut Slab<T>) {
        if slab.len() <= self.at && slab.capacity() >= SMALL {
            slab.shrink_to_fit();
            self.at = slab.len() / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair(u32, u64);

    impl Keyed for Pair {
        type Key = u32;

        fn key(&self) -> &u32 {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0u8..4, 0u32..40, any::<u64>()), 0..400)) {
            let mut rows: DenseMap<Pair> = DenseMap::default();
            let mut model = BTreeMap::new();
            for (what, key, value) in steps {
                match what {
                    0 | 1 if !model.contains_key(&key) => {
                        rows.insert(Pair(key, value));
                        model.insert(key, value);
                    }
                    2 => prop_assert_eq!(rows.remove(&key).map(|pair| pair.1), model.remove(&key)),
                    3 => {
                        if let Some(pair) = rows.get_mut(&key) {
                            pair.1 = value;
                        }
                        model.entry(key).and_modify(|old| *old = value);
                    }
                    _ => {}
                }
                prop_assert_eq!(rows.len(), model.len());
                prop_assert!((0..40).all(|key| rows.get(&key).map(|pair| pair.1) == model.get(&key).copied()));
                let all: BTreeMap<_, _> = rows.iter().map(|pair| (pair.0, pair.1)).collect();
                prop_assert_eq!(&all, &model);
            }
        }
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_no_memory_behind() {
        let mut rows: DenseMap<Pair> = DenseMap::default();
        (0..10_000).for_each(|key| rows.insert(Pair(key, 0)));
        (0..9_990).for_each(|key| assert!(rows.remove(&key).is_some()));
        assert!(rows.rows.capacity() < SMALL * 2 && rows.places.numbers.capacity() < SMALL * 2);
        assert!((9_990..10_000).all(|key| rows.get(&key).is_some()));
    }

    #[test]
    fn a_slab_shrinks_as_far_as_its_last_record_lets_it() {
        let (mut slab, mut slack) = (Slab::new(), ShrinkHint::default());
        for number in 0..10_000 {
            slab.insert(number);
            slack.grown(&slab);
        }
        // All but the first two and one in the middle.
        for key in (2..10_000).rev().filter(|key| *key != 3_000) {
            slab.remove(key);
            slack.shrunk(&mut slab);
        }
        assert_eq!(slab.len(), 3);
        assert!(slab.capacity() <= 3_001, "{}", slab.capacity());
        slab.remove(3_000);
        slab.remove(1);
        slack.shrunk(&mut slab);
        assert!(slab.capacity() < SMALL, "{}", slab.capacity());
        assert_eq!(slab.get(0), Some(&0));
    }
}
