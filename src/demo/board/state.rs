//! The channels and their subscribers, without actor or socket.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Maximum number of channels.
pub const MAX_CHANNELS: usize = 256;
/// Maximum length of a channel name, in characters.
pub const MAX_NAME: usize = 256;

/// The reason why a channel is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCreated {
    /// A channel of this name exists.
    Exists,
    TooLong,
    /// There are too many channels.
    TooMany,
}

impl fmt::Display for NotCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("A channel of this name exists already."),
            Self::TooLong => write!(f, "Longer than maximum length {MAX_NAME}."),
            Self::TooMany => write!(f, "There are {MAX_CHANNELS} channels; delete one first."),
        }
    }
}

/// The channels of the board. `L` identifies a listener.
#[derive(Debug)]
pub struct BoardState<L> {
    channels: BTreeMap<String, HashSet<L>>,
}

impl<L> Default for BoardState<L> {
    fn default() -> Self {
        Self { channels: BTreeMap::new() }
    }
}

impl<L: Copy + Eq + std::hash::Hash> BoardState<L> {
    /// Creates a channel without subscribers.
    ///
    /// # Errors
    /// The reason why it is not created.
    pub fn create(&mut self, name: String) -> Result<(), NotCreated> {
        if self.channels.contains_key(&name) {
            return Err(NotCreated::Exists);
        }
        if name.chars().nth(MAX_NAME).is_some() {
            return Err(NotCreated::TooLong);
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(NotCreated::TooMany);
        }
        self.channels.insert(name, HashSet::new());
        Ok(())
    }

    /// Removes a channel and all subscriptions to it. Returns false if there is no channel of this name.
    pub fn delete(&mut self, name: &str) -> bool {
        self.channels.remove(name).is_some()
    }

    /// The names of all channels, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.channels.keys().map(String::as_str)
    }

    /// The subscribers of a channel; `None` if there is no such channel.
    pub fn subscribers(&self, name: &str) -> Option<impl Iterator<Item = L>> {
        Some(self.channels.get(name)?.iter().copied())
    }

    /// Subscribes a listener. A repeated call has no effect, nor has one for a channel that does not exist.
    pub fn subscribe(&mut self, listener: L, name: &str) {
        if let Some(listeners) = self.channels.get_mut(name) {
            listeners.insert(listener);
        }
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, listener: L, name: &str) {
        if let Some(listeners) = self.channels.get_mut(name) {
            listeners.remove(&listener);
        }
    }

    /// Ends all subscriptions of a listener.
    pub fn leave(&mut self, listener: L) {
        for listeners in self.channels.values_mut() {
            listeners.remove(&listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(board: &BoardState<u8>, name: &str) -> Option<Vec<u8>> {
        let mut listeners: Vec<u8> = board.subscribers(name)?.collect();
        listeners.sort();
        Some(listeners)
    }

    #[test]
    fn a_channel_is_created_once_and_deleted_once() {
        let mut board = BoardState::<u8>::default();
        for name in ["b", "", "ž/a"] {
            assert_eq!(board.create(name.into()), Ok(()));
            assert_eq!(board.create(name.into()), Err(NotCreated::Exists));
        }
        assert_eq!(board.names().collect::<Vec<_>>(), ["", "b", "ž/a"]);
        assert!(board.delete("b") && !board.delete("b"));
        assert_eq!(listeners(&board, "b"), None);
    }

    #[test]
    fn subscriptions_end_by_pop_by_deletion_and_by_leaving() {
        let mut board = BoardState::default();
        board.subscribe(1, "a");
        board.create("a".into()).unwrap();
        assert_eq!(listeners(&board, "a"), Some(vec![]), "there was no channel to subscribe to");
        for listener in [1, 1, 2, 3] {
            board.subscribe(listener, "a");
        }
        board.unsubscribe(2, "a");
        board.unsubscribe(2, "nowhere");
        assert_eq!(listeners(&board, "a"), Some(vec![1, 3]));
        board.leave(3);
        assert_eq!(listeners(&board, "a"), Some(vec![1]));
        board.delete("a");
        board.create("a".into()).unwrap();
        assert_eq!(listeners(&board, "a"), Some(vec![]));
    }

    #[test]
    fn names_and_the_number_of_channels_are_limited() {
        let mut board = BoardState::<u8>::default();
        assert_eq!(board.create("ž".repeat(MAX_NAME)), Ok(()));
        assert_eq!(board.create("x".repeat(MAX_NAME + 1)), Err(NotCreated::TooLong));
        for number in 1..MAX_CHANNELS {
            assert_eq!(board.create(number.to_string()), Ok(()));
        }
        assert_eq!(board.create("one more".into()), Err(NotCreated::TooMany));
        assert_eq!(board.create("1".into()), Err(NotCreated::Exists));
        board.delete("1");
        assert_eq!(board.create("one more".into()), Ok(()));
    }
}
