//! Sets of users that are asked about every member of a channel.

use super::ids::UserId;

/// Up to this many users, comparing with each of them is quickest.
const FEW: usize = 4;
/// Bits of the filter for each user, at least: of those who are not in the set, one in sixteen at most is looked for.
const BITS_PER_USER: usize = 16;
/// Bits of the filter, at most: the places of 32 bits.
const MAX_BITS: usize = 1 << 31;

/// A set of users, made once and then asked about many. Needs no memory of its own for one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSet(Users);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Users {
    #[default]
    None,
    One(UserId),
    Many(Box<Many>),
}

/// A sorted list with a filter in front: a bit is set at a place made from each user's id. Nearly everybody who is not
/// in the list is told so by one bit that is not set; only the others are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Many {
    users: Box<[UserId]>,
    /// Empty for a list of few.
    filter: Box<[u64]>,
}

impl Many {
    fn contains(&self, user: UserId) -> bool {
        if self.filter.is_empty() {
            return self.users.contains(&user);
        }
        let (word, bit) = place(user, self.filter.len());
        self.filter.get(word).is_some_and(|word| word & bit != 0) && self.users.binary_search(&user).is_ok()
    }
}

impl UserSet {
    /// All of them, in the order of their ids.
    pub fn as_slice(&self) -> &[UserId] {
        match &self.0 {
            Users::None => &[],
            Users::One(user) => std::slice::from_ref(user),
            Users::Many(many) => &many.users,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Users::None)
    }

    /// Whether this user is one of them.
    pub fn contains(&self, user: UserId) -> bool {
        match &self.0 {
            Users::None => false,
            Users::One(one) => *one == user,
            Users::Many(many) => many.contains(user),
        }
    }
}

impl From<Vec<UserId>> for UserSet {
    fn from(mut users: Vec<UserId>) -> Self {
        users.sort_unstable();
        users.dedup();
        Self(match users[..] {
            [] => Users::None,
            [one] => Users::One(one),
            _ => {
                let filter = if users.len() > FEW { filter(&users) } else { Box::default() };
                Users::Many(Box::new(Many { users: users.into_boxed_slice(), filter }))
            }
        })
    }
}

impl From<UserId> for UserSet {
    fn from(user: UserId) -> Self {
        Self(Users::One(user))
    }
}

impl From<&[UserId]> for UserSet {
    fn from(users: &[UserId]) -> Self {
        users.to_vec().into()
    }
}

impl FromIterator<UserId> for UserSet {
    fn from_iter<I: IntoIterator<Item = UserId>>(users: I) -> Self {
        users.into_iter().collect::<Vec<_>>().into()
    }
}

fn filter(users: &[UserId]) -> Box<[u64]> {
    let bits = (users.len() * BITS_PER_USER).next_power_of_two().clamp(64, MAX_BITS);
    let mut filter = vec![0; bits / 64].into_boxed_slice();
    for user in users {
        let (word, bit) = place(*user, filter.len());
        if let Some(word) = filter.get_mut(word) {
            *word |= bit;
        }
    }
    filter
}

/// Word and bit of a user in a filter of so many words, which are a power of two. Ids are given one after the other, and
/// lists may name every tenth: multiplying spreads both evenly (Fibonacci hashing).
fn place(user: UserId, words: usize) -> (usize, u64) {
    let bits = 6 + words.trailing_zeros();
    let place = user.0.wrapping_mul(0x9e37_79b1) >> 32_u32.saturating_sub(bits);
    (place as usize / 64, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(
            users in proptest::collection::vec(0_u32..2_000, 0..300),
            strange in proptest::collection::vec(any::<u32>(), 0..20),
            few in 0_usize..12,
            take_few in any::<bool>(),
        ) {
            let all = users.iter().chain(&strange).copied().map(UserId);
            let list: Vec<UserId> = all.take(if take_few { few } else { usize::MAX }).collect();
            let model: BTreeSet<UserId> = list.iter().copied().collect();
            let set = UserSet::from(list);
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(set.as_slice().iter().eq(&model));
            for user in (0..2_000).chain(strange).map(UserId) {
                prop_assert_eq!(set.contains(user), model.contains(&user));
            }
        }
    }

    #[test]
    fn few_of_those_who_are_not_in_it_are_looked_for() {
        for (size, step) in [(5, 1), (100, 1), (100, 97), (100, 1_024), (1_000, 10), (10_000, 3)] {
            let users: Vec<UserId> = (0..size).map(|index| UserId(index * step)).collect();
            let filter = filter(&users);
            let passes = |user: UserId| {
                let (word, bit) = place(user, filter.len());
                filter[word] & bit != 0
            };
            assert!(users.iter().all(|user| passes(*user)));
            let others = (0..100_000).map(UserId).filter(|user| users.binary_search(user).is_err());
            let passed = others.filter(|user| passes(*user)).count();
            assert!(passed < 100_000 / 8, "{passed} for {size} users in steps of {step}");
            let bytes = filter.len() * 8;
            assert!(bytes <= users.len() * 4 + 8, "{bytes} bytes for {size} users");
        }
    }
}
