//! What a client that asks for positions remembers over all its sessions, and with which part of it the client returns.

use super::log::Log;
use crate::protocol::ids::{Offset, Position};
use crate::protocol::position::{Cursor, KnownCursor, Since};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a client has read.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub cursor: Option<Cursor>,
    /// Up to which offset it has everything.
    pub known: BTreeMap<String, Position>,
}

/// The part of its memory with which a client returns.
#[derive(Clone, Copy, Debug)]
pub enum Returns {
    All,
    /// With what it had this many cursors before.
    Earlier(usize),
    CursorOnly,
    PositionsOnly,
    /// As a new page.
    Nothing,
}

/// A client over all its sessions.
#[derive(Default)]
pub struct Page {
    pub memory: Memory,
    pub earlier: Vec<Memory>,
    /// The session that it reads.
    pub session: Option<usize>,
    /// How far this session is in each stream, and up to where losses were reported.
    pub progress: BTreeMap<String, (Position, Offset)>,
}

impl Page {
    /// Begins a session, and returns what the client sends.
    pub fn begin(
        &mut self,
        log: &Log,
        conn_id: Uuid,
        session: usize,
        polls: bool,
        returns: Returns,
    ) -> Arc<Since> {
        self.session = Some(session);
        self.progress.clear();
        if let Some(Cursor { stamp, .. }) = self.memory.cursor {
            // It has seen that it is no longer subscribed.
            self.memory.known.retain(|name, _| !log.has_left(conn_id, name, stamp));
        }
        match returns {
            Returns::All => {}
            Returns::Earlier(back) => {
                let at = self.earlier.len().saturating_sub(1 + back);
                self.memory = self.earlier.get(at).cloned().unwrap_or_default();
            }
            // What it does not send, it does not have: the server's own cursor cannot replace it.
            Returns::CursorOnly => {
                let cursor = self.memory.cursor;
                self.memory.known.retain(|_, _| cursor.is_some());
            }
            Returns::PositionsOnly => self.memory.cursor = None,
            Returns::Nothing => self.memory = Memory::default(),
        }
        if polls && self.memory.cursor.is_some() {
            // Without an answer about a stream, everything follows that it does not have. Some may be repeated.
            let known = self.memory.known.iter();
            let repeats = known.map(|(name, at)| (name.clone(), (Position { offset: 0, ..*at }, at.offset)));
            self.progress = repeats.collect();
        }
        let positions = match returns {
            Returns::CursorOnly => BTreeMap::new(),
            _ => self.memory.known.iter().map(|(name, position)| (name.as_str().into(), *position)).collect(),
        };
        Arc::new(Since { cursor: self.memory.cursor.map(KnownCursor::Own), positions })
    }
}
