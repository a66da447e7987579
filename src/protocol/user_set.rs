//! Sets of users with a fast lookup, because a fan-out looks up every member of a channel.

use super::ids::UserId;

/// Up to this many users, a linear search is fastest.
const FEW: usize = 4;
/// The minimum number of filter bits per user: at most one in sixteen users outside the set passes the filter.
const BITS_PER_USER: usize = 16;
/// The maximum number of filter bits, limited by 32-bit positions.
const MAX_BITS: usize = 1 << 31;

/// A set of users, built once and looked up often. Allocates no memory for a single user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSet(Users);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Users {
    #[default]
    None,
    One(UserId),
    Many(Box<Many>),
}

/// A sorted list with a filter: for each user, one bit at a position derived from its id is set. Nearly all users
/// outside the list hit an unset bit; only the others need a search.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Many {
    users: Box<[UserId]>,
    /// Empty for a short list.
    filter: Box<[u64]>,
}

impl Many {
    fn contains(&self, user: UserId) -> bool {
        if self.filter.is_empty() {
            return self.users.contains(&user);
        }
        let (word, bit) = position(user, self.filter.len());
        self.filter.get(word).is_some_and(|word| word & bit != 0) && self.users.binary_search(&user).is_ok()
    }
}

impl UserSet {
    /// All users, in order of their ids.
    pub fn as_slice(&self) -> &[UserId] {
        match &self.0 {
            Users::None => &[],
            Users::One(user) => std::slice::from_ref(user),
            Users::Many(many) => &many.users,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.0, Users::None)
    }

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
        let (word, bit) = position(*user, filter.len());
        if let Some(word) = filter.get_mut(word) {
            *word |= bit;
        }
    }
    filter
}

/// The word and bit of a user in a filter whose number of words is a power of two. Ids are consecutive, and lists may
/// contain every tenth: multiplication distributes both evenly (Fibonacci hashing).
fn position(user: UserId, words: usize) -> (usize, u64) {
    let bits = 6 + words.trailing_zeros();
    let position = user.0.wrapping_mul(0x9e37_79b1) >> 32_u32.saturating_sub(bits);
    (position as usize / 64, 1 << (position % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_behaves_like_a_set(
            users in proptest::collection::vec(0_u32..2_000, 0..300),
            other_users in proptest::collection::vec(any::<u32>(), 0..20),
            few in 0_usize..12,
            take_few in any::<bool>(),
        ) {
            let all = users.iter().chain(&other_users).copied().map(UserId);
            let list: Vec<UserId> = all.take(if take_few { few } else { usize::MAX }).collect();
            let model: BTreeSet<UserId> = list.iter().copied().collect();
            let set = UserSet::from(list);
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(set.as_slice().iter().eq(&model));
            for user in (0..2_000).chain(other_users).map(UserId) {
                prop_assert_eq!(set.contains(user), model.contains(&user));
            }
        }
    }

    #[test]
    fn few_users_outside_the_set_pass_the_filter() {
        for (size, step) in [(5, 1), (100, 1), (100, 97), (100, 1_024), (1_000, 10), (10_000, 3)] {
            let users: Vec<UserId> = (0..size).map(|index| UserId(index * step)).collect();
            let filter = filter(&users);
            let passes = |user: UserId| {
                let (word, bit) = position(user, filter.len());
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
