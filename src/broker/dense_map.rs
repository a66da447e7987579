//! Tables of many small records. The records are stored densely and contain their own keys; an index of five bytes per
//! bucket finds them. A hash map would store each key beside its record, in buckets of which up to half are empty.
//!
//! A table that has become much smaller releases memory, so that the server's memory shrinks after a load peak.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use slab::Slab;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};

/// Tables with a smaller capacity are never shrunk.
const SMALL: usize = 64;

/// A record that contains its own key.
pub trait Keyed {
    /// The type of the key.
    type Key: Hash + Eq;

    /// The record's key. It never changes.
    fn key(&self) -> &Self::Key;
}

/// Finds numbers (positions in a table, ids) by keys that are stored elsewhere.
///
/// `key_of` returns the key of a number in the index. Keys that clients choose need a hasher that resists collision
/// attacks: [`std::hash::RandomState`].
#[derive(Debug, Default)]
pub struct KeyIndex<S = BuildHasherDefault<FxHasher>> {
    numbers: HashTable<u32>,
    hasher: S,
}

impl<S: BuildHasher> KeyIndex<S> {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the number with this key.
    pub fn find<'k, K>(&self, key: &K, key_of: impl Fn(u32) -> &'k K) -> Option<u32>
    where
        K: Hash + Eq + ?Sized + 'k,
    {
        self.numbers.find(self.hasher.hash_one(key), |number| key_of(*number) == key).copied()
    }

    /// Adds a number. Its key must not be in the index yet.
    pub fn insert<'k, K>(&mut self, number: u32, key_of: impl Fn(u32) -> &'k K)
    where
        K: Hash + ?Sized + 'k,
    {
        let hash = |number: u32| self.hasher.hash_one(key_of(number));
        self.numbers.insert_unique(hash(number), number, |number| hash(*number));
    }

    /// Removes a number. `key_of` must still return its key.
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

    /// Replaces the number that has this key.
    fn renumber<K: Hash + ?Sized>(&mut self, key: &K, from: u32, to: u32) {
        if let Some(number) = self.numbers.find_mut(self.hasher.hash_one(key), |number| *number == from) {
            *number = to;
        }
    }
}

/// Records in no particular order, found by their keys.
#[derive(Debug)]
pub struct DenseMap<R> {
    records: Vec<R>,
    index: KeyIndex,
}

impl<R> Default for DenseMap<R> {
    fn default() -> Self {
        Self { records: Vec::new(), index: KeyIndex::default() }
    }
}

impl<R: Keyed> DenseMap<R> {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// All records, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.records.iter()
    }

    fn position(&self, key: &R::Key) -> Option<u32> {
        self.index.find(key, |position| self.records[position as usize].key())
    }

    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.records.get(self.position(key)? as usize)
    }

    pub fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        let position = self.position(key)?;
        self.records.get_mut(position as usize)
    }

    /// Adds a record. Its key must not be in the table yet.
    pub fn insert(&mut self, record: R) {
        let position = self.records.len() as u32;
        self.records.push(record);
        self.index.insert(position, |position| self.records[position as usize].key());
    }

    pub fn remove(&mut self, key: &R::Key) -> Option<R> {
        let position = self.position(key)?;
        let records = &mut self.records;
        self.index.remove(position, |position| records[position as usize].key());
        // The last record moves into the gap.
        let last = records.len() as u32 - 1;
        if position < last {
            self.index.renumber(records[last as usize].key(), last, position);
        }
        let record = records.swap_remove(position as usize);
        shrink(records);
        Some(record)
    }
}

/// Releases a list's memory once it has become much shorter.
pub fn shrink<T>(list: &mut Vec<T>) {
    if is_wasteful(list.len(), list.capacity()) {
        list.shrink_to(list.len() * 2);
    }
}

fn is_wasteful(len: usize, capacity: usize) -> bool {
    capacity >= SMALL && len < capacity / 4
}

/// Decides when a slab releases memory. Its records cannot move, so shrinking a much emptier slab may release nothing.
/// It is therefore only tried once for each halving.
#[derive(Debug, Default)]
pub struct ShrinkHint {
    /// The number of records at which shrinking is tried next.
    at: usize,
}

impl ShrinkHint {
    /// Called after a record was added.
    pub fn grown<T>(&mut self, slab: &Slab<T>) {
        self.at = self.at.max(slab.len() / 4);
    }

    /// Called after a record was removed.
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
        fn it_behaves_like_a_map(steps in proptest::collection::vec((0u8..4, 0u32..40, any::<u64>()), 0..400)) {
            let mut records: DenseMap<Pair> = DenseMap::default();
            let mut model = BTreeMap::new();
            for (action, key, value) in steps {
                match action {
                    0 | 1 if !model.contains_key(&key) => {
                        records.insert(Pair(key, value));
                        model.insert(key, value);
                    }
                    2 => prop_assert_eq!(records.remove(&key).map(|pair| pair.1), model.remove(&key)),
                    3 => {
                        if let Some(pair) = records.get_mut(&key) {
                            pair.1 = value;
                        }
                        model.entry(key).and_modify(|old| *old = value);
                    }
                    _ => {}
                }
                prop_assert_eq!(records.len(), model.len());
                prop_assert!((0..40).all(|key| records.get(&key).map(|pair| pair.1) == model.get(&key).copied()));
                let all: BTreeMap<_, _> = records.iter().map(|pair| (pair.0, pair.1)).collect();
                prop_assert_eq!(&all, &model);
            }
        }
    }

    #[test]
    fn removing_most_records_releases_memory() {
        let mut records: DenseMap<Pair> = DenseMap::default();
        (0..10_000).for_each(|key| records.insert(Pair(key, 0)));
        (0..9_990).for_each(|key| assert!(records.remove(&key).is_some()));
        assert!(records.records.capacity() < SMALL * 2 && records.index.numbers.capacity() < SMALL * 2);
        assert!((9_990..10_000).all(|key| records.get(&key).is_some()));
    }

    #[test]
    fn a_slab_shrinks_to_its_last_record() {
        let (mut slab, mut hint) = (Slab::new(), ShrinkHint::default());
        for number in 0..10_000 {
            slab.insert(number);
            hint.grown(&slab);
        }
        // All records but the first two and one in the middle.
        for key in (2..10_000).rev().filter(|key| *key != 3_000) {
            slab.remove(key);
            hint.shrunk(&mut slab);
        }
        assert_eq!(slab.len(), 3);
        assert!(slab.capacity() <= 3_001, "{}", slab.capacity());
        slab.remove(3_000);
        slab.remove(1);
        hint.shrunk(&mut slab);
        assert!(slab.capacity() < SMALL, "{}", slab.capacity());
        assert_eq!(slab.get(0), Some(&0));
    }
}
