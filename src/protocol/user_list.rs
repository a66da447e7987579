//! The users of a channel in order of their names, with their JSON, in pieces that are encoded once and shared.
//!
//! Presence events and infos contain the complete list, as the original defines. When many users join, each would cause
//! the whole list to be sorted and encoded. With pieces, a new user costs one piece, and a copy of the list costs a
//! pointer.

use super::event::UserView;
use super::ids::UserId;
use super::json;
use rustc_hash::FxHashSet;
use std::sync::{Arc, OnceLock};

/// The most users per piece. Smaller pieces make changes cheaper, larger pieces make copies of the list cheaper.
const MAX: usize = 64;
/// Users per piece in a new list, which leaves space for more.
const FILL: usize = 48;
/// The number of users that can be iterated at the cost of one lookup by name.
const LOOKUP_COST: usize = 32;

/// Users sorted by name, each name once. A clone is nearly free, and does not change when the list changes later.
#[derive(Clone, Debug, Default)]
pub struct UserList {
    /// No piece is empty, and two neighbours together exceed half of [`MAX`].
    pieces: Arc<Vec<Arc<UserListPiece>>>,
    len: usize,
}

#[derive(Debug, Default)]
struct UserListPiece {
    users: Vec<Arc<UserView>>,
    /// Elements of JSON lists, joined by commas. Created on first use.
    names: OnceLock<Box<[u8]>>,
    states: OnceLock<Box<[u8]>>,
    public_states: OnceLock<Box<[u8]>>,
}

/// A copy that will be changed, so it does not include the encoded elements.
impl Clone for UserListPiece {
    fn clone(&self) -> Self {
        Self::of(self.users.clone())
    }
}

impl UserListPiece {
    fn of(users: Vec<Arc<UserView>>) -> Self {
        Self { users, ..Self::default() }
    }

    fn change(piece: &mut Arc<Self>) -> &mut Vec<Arc<UserView>> {
        let piece = Arc::make_mut(piece);
        (piece.names, piece.states, piece.public_states) = Default::default();
        &mut piece.users
    }

    fn names(&self) -> &[u8] {
        self.names.get_or_init(|| self.joined(|user, out| json::write_string(&user.name, out)))
    }

    fn states(&self, public: bool) -> &[u8] {
        let written = if public { &self.public_states } else { &self.states };
        written.get_or_init(|| self.joined(|user, out| write_user(user, out, public)))
    }

    fn joined(&self, write: impl Fn(&UserView, &mut Vec<u8>)) -> Box<[u8]> {
        let mut out = Vec::new();
        for (index, user) in self.users.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(user, &mut out);
        }
        out.into()
    }
}

impl UserList {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All users, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<UserView>> {
        self.pieces.iter().flat_map(|piece| &piece.users)
    }

    pub fn contains(&self, name: &str) -> bool {
        let piece = self.pieces.get(self.piece_of(name));
        piece.is_some_and(|piece| find(&piece.users, name).is_ok())
    }

    /// The first piece that ends with this name or a later one; otherwise the last piece.
    fn piece_of(&self, name: &str) -> usize {
        let ends_before =
            |piece: &Arc<UserListPiece>| piece.users.last().is_some_and(|last| *last.name < *name);
        self.pieces.partition_point(ends_before).min(self.pieces.len().saturating_sub(1))
    }

    /// Adds a user, or replaces its view.
    pub fn insert(&mut self, view: Arc<UserView>) {
        let at = self.piece_of(&view.name);
        let pieces = Arc::make_mut(&mut self.pieces);
        let Some(piece) = pieces.get_mut(at) else {
            pieces.push(Arc::new(UserListPiece::of(vec![view])));
            self.len = 1;
            return;
        };
        match find(&piece.users, &view.name) {
            Ok(position) => UserListPiece::change(piece)[position] = view,
            Err(position) => {
                let users = UserListPiece::change(piece);
                users.insert(position, view);
                self.len += 1;
                if users.len() > MAX {
                    let right = users.split_off(users.len() / 2);
                    pieces.insert(at + 1, Arc::new(UserListPiece::of(right)));
                }
            }
        }
    }

    /// Removes a user, if it is listed.
    pub fn remove(&mut self, name: &str) {
        let at = self.piece_of(name);
        let Some(Ok(position)) = self.pieces.get(at).map(|piece| find(&piece.users, name)) else { return };
        let pieces = Arc::make_mut(&mut self.pieces);
        UserListPiece::change(&mut pieces[at]).remove(position);
        self.len -= 1;
        if pieces[at].users.is_empty() {
            pieces.remove(at);
        }
        // Joins the changed piece with its neighbours. If it is empty, they are neighbours now.
        join(pieces, at);
        join(pieces, at.saturating_sub(1));
    }

    /// Appends `["name", …]`.
    pub fn write_names(&self, out: &mut Vec<u8>) {
        self.write_pieces(out, UserListPiece::names);
    }

    /// Appends `[{"user", "state"}, …]`, with the whole states or with their public parts.
    pub fn write(&self, out: &mut Vec<u8>, public: bool) {
        self.write_pieces(out, |piece| piece.states(public));
    }

    /// Appends `[{"user", "state"}, …]` with the users of all these lists, each once: first those of the longest list,
    /// then all others.
    pub fn write_union<'a>(lists: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<u8>, public: bool) {
        let Some((position, longest)) = lists.clone().enumerate().max_by_key(|(_, list)| list.len) else {
            return out.extend_from_slice(b"[]");
        };
        let others = || lists.clone().enumerate().filter(|(at, _)| *at != position).map(|(_, list)| list);
        // A few users are looked up by name in the longest list; for many it is cheaper to iterate over that list once.
        let few = others().map(Self::len).sum::<usize>() < longest.len / LOOKUP_COST;
        let mut seen: FxHashSet<UserId> = FxHashSet::default();
        if !few && others().next().is_some() {
            seen.extend(longest.iter().map(|user| user.id));
        }
        longest.write(out, public);
        let mut empty = longest.is_empty();
        out.pop();
        for user in others().flat_map(Self::iter).filter(|user| seen.insert(user.id)) {
            if few && longest.contains(&user.name) {
                continue;
            }
            if !std::mem::take(&mut empty) {
                out.push(b',');
            }
            write_user(user, out, public);
        }
        out.push(b']');
    }

    /// The number of bytes that [`UserList::write`] appends, or one more.
    pub fn written_len(&self, public: bool) -> usize {
        self.pieces_len(|piece| piece.states(public))
    }

    fn pieces_len(&self, form: impl Fn(&UserListPiece) -> &[u8]) -> usize {
        2 + self.pieces.iter().map(|piece| form(piece).len() + 1).sum::<usize>()
    }

    fn write_pieces(&self, out: &mut Vec<u8>, form: impl Fn(&UserListPiece) -> &[u8]) {
        out.reserve(self.pieces_len(&form));
        json::write_list(&*self.pieces, out, |piece, out| out.extend_from_slice(form(piece)));
    }
}

/// Appends `{"user", "state"}`, with the whole state or with its public part.
pub(super) fn write_user(user: &UserView, out: &mut Vec<u8>, public: bool) {
    out.extend_from_slice(b"{\"user\":");
    json::write_string(&user.name, out);
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(if public { user.public_state() } else { user.state() }.as_bytes());
    out.push(b'}');
}

fn find(users: &[Arc<UserView>], name: &str) -> Result<usize, usize> {
    users.binary_search_by(|user| (*user.name).cmp(name))
}

/// Joins two neighbours that together are at most half of [`MAX`].
fn join(pieces: &mut Vec<Arc<UserListPiece>>, at: usize) {
    if let Some([one, two]) = pieces.get(at..at + 2)
        && one.users.len() + two.users.len() <= MAX / 2
    {
        let two = pieces.remove(at + 1);
        UserListPiece::change(&mut pieces[at]).extend(two.users.iter().cloned());
    }
}

/// Accepts any order. Of several views with the same name, one stays.
impl FromIterator<Arc<UserView>> for UserList {
    fn from_iter<I: IntoIterator<Item = Arc<UserView>>>(users: I) -> Self {
        let mut users: Vec<_> = users.into_iter().collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        users.dedup_by(|a, b| a.name == b.name);
        let pieces = users.chunks(FILL).map(|users| Arc::new(UserListPiece::of(users.to_vec()))).collect();
        Self { pieces: Arc::new(pieces), len: users.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    type Model = BTreeMap<String, u32>;

    /// Contains a quote, and digits that sort as text: "…\"2" comes after "…\"10".
    fn name(number: u32) -> String {
        format!("ž\"{number}")
    }

    fn view(number: u32, version: u32) -> Arc<UserView> {
        let (state, public) = (format!("{{\"v\":{version},\"secret\":1}}"), format!("{{\"v\":{version}}}"));
        Arc::new(UserView::new(UserId(number), name(number).into(), &state, &public))
    }

    fn written(write: impl Fn(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn check(list: &UserList, model: &Model) {
        assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        assert!(list.iter().map(|user| user.name.to_string()).eq(model.keys().cloned()));
        assert_eq!(written(|out| list.write_names(out)), json!(model.keys().collect::<Vec<_>>()));
        for public in [false, true] {
            let mut out = Vec::new();
            list.write(&mut out, public);
            assert!((out.len()..=out.len() + 1).contains(&list.written_len(public)));
            let state = |v| if public { json!({"v": v}) } else { json!({"v": v, "secret": 1}) };
            let users = model.iter().map(|(name, v)| json!({"user": name, "state": state(v)}));
            assert_eq!(written(|out| list.write(out, public)), Value::from_iter(users));
        }
        let sizes: Vec<usize> = list.pieces.iter().map(|piece| piece.users.len()).collect();
        assert!(sizes.iter().all(|size| (1..=MAX).contains(size)), "{sizes:?}");
        assert!(sizes.windows(2).all(|pair| pair[0] + pair[1] > MAX / 2), "{sizes:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn it_follows_a_simple_model(
            first in proptest::collection::vec(0_u32..400, 0..400),
            steps in proptest::collection::vec((0_u8..8, 0_u32..400), 0..600),
            removals in 1_u8..8,
        ) {
            let mut list: UserList = first.iter().map(|number| view(*number, 0)).collect();
            let mut model: Model = first.iter().map(|number| (name(*number), 0)).collect();
            check(&list, &model);
            let mut earlier = Vec::new();
            for (version, (action, number)) in (1..).zip(steps) {
                prop_assert_eq!(list.contains(&name(number)), model.contains_key(&name(number)));
                if action < removals {
                    list.remove(&name(number));
                    model.remove(&name(number));
                } else {
                    list.insert(view(number, version));
                    model.insert(name(number), version);
                }
                if version % 120 == 0 {
                    check(&list, &model);
                    earlier.push((list.clone(), model.clone()));
                }
            }
            earlier.push((list, model));
            earlier.iter().for_each(|(list, model)| check(list, model));
        }
    }

    proptest! {
        #[test]
        fn a_union_contains_each_user_once(
            lists in proptest::collection::vec(proptest::collection::btree_set(0_u32..300, 0..200), 0..5),
            small in proptest::collection::btree_set(0_u32..300, 0..4),
        ) {
            let model: Model = lists.iter().flatten().chain(&small).map(|number| (name(*number), 0)).collect();
            let lists = lists.iter().chain([&small]).map(|list| list.iter().map(|number| view(*number, 0)));
            let lists: Vec<UserList> = lists.map(UserList::from_iter).collect();
            let union = written(|out| UserList::write_union(lists.iter(), out, true));
            let pairs = union.as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap().to_owned());
            let mut names: Vec<String> = pairs.collect();
            names.sort();
            prop_assert!(names.iter().eq(model.keys()), "{names:?}");
        }
    }

    #[test]
    fn a_change_leaves_all_other_pieces_encoded() {
        let mut list: UserList = (0..1_000).map(|number| view(number, 0)).collect();
        check(&list, &(0..1_000).map(|number| (name(number), 0)).collect());
        let before = list.clone();
        list.insert(view(1_000, 0));
        list.remove(&name(7));
        let shared =
            |piece: &&Arc<UserListPiece>| before.pieces.iter().any(|other| Arc::ptr_eq(piece, other));
        assert!(list.pieces.iter().filter(shared).count() >= before.pieces.len() - 2);
    }

    #[test]
    fn empty_lists_are_valid() {
        check(&UserList::default(), &Model::new());
        let mut list = UserList::from_iter([view(1, 0)]);
        list.remove(&name(2));
        list.remove(&name(1));
        list.remove(&name(1));
        check(&list, &Model::new());
    }
}
