//! The connections of a user: one, mostly; now and then as many as a crowd that shares a name.

use crate::ids::ConnKey;
use rustc_hash::FxHashSet;

/// A set of connections that needs no memory of its own for one.
#[derive(Debug, Default)]
pub enum ConnSet {
    /// None.
    #[default]
    Empty,
    /// One.
    One(ConnKey),
    /// More.
    Many(Box<FxHashSet<ConnKey>>),
}

impl ConnSet {
    /// Adds one.
    pub fn insert(&mut self, key: ConnKey) {
        match self {
            ConnSet::Empty => *self = ConnSet::One(key),
            ConnSet::One(first) => *self = ConnSet::Many(Box::new([*first, key].into_iter().collect())),
            ConnSet::Many(set) => _ = set.insert(key),
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, key: ConnKey) {
        match self {
            ConnSet::One(only) if *only == key => *self = ConnSet::Empty,
            ConnSet::Many(set) => {
                set.remove(&key);
                if set.is_empty() {
                    *self = ConnSet::Empty;
                }
            }
            ConnSet::Empty | ConnSet::One(_) => {}
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, ConnSet::Empty)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ConnKey> + '_ {
        let (one, many) = match self {
            ConnSet::Empty => (None, None),
            ConnSet::One(key) => (Some(*key), None),
            ConnSet::Many(set) => (None, Some(set)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|set| set.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..6), 0..60)) {
            let mut set = ConnSet::default();
            let mut model = std::collections::BTreeSet::new();
            for (insert, index) in steps {
                let key = ConnKey { index, generation: 1 };
                if insert {
                    set.insert(key);
                    model.insert(key);
                } else {
                    set.remove(key);
                    model.remove(&key);
                }
                let mut found: Vec<_> = set.iter().collect();
                found.sort();
                prop_assert_eq!(&found, &model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
        }
    }
}
