//! What a client that asks for positions remembers over all its sessions, and with which part of it the client returns.

use super::log::Log;
use super::replica::Replica;
use crate::protocol::ids::{Offset, Position};
use crate::protocol::position::{Cursor, KnownCursor, Since};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a client has read.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub cursor: Option<Cursor>,
    /// What it has of each stream.
    pub known: BTreeMap<String, Replica>,
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
    earlier: Vec<Memory>,
    /// The session that it reads.
    pub session: Option<usize>,
    /// How far this session is in each stream, and up to where losses were reported.
    pub progress: BTreeMap<String, (Position, Offset)>,
}

/// The earlier memories that a client may return with.
const EARLIER: usize = 4;

impl Page {
    /// The client stores its memory.
    pub fn store(&mut self) {
        if self.earlier.len() == EARLIER {
            self.earlier.remove(0);
        }
        self.earlier.push(self.memory.clone());
    }

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
            let repeats = known
                .map(|(name, Replica { at, .. })| (name.clone(), (Position { offset: 0, ..*at }, at.offset)));
            self.progress = repeats.collect();
        }
        let positions = match returns {
            Returns::CursorOnly => BTreeMap::new(),
            _ => self.memory.known.iter().map(|(name, of)| (name.as_str().into(), of.at)).collect(),
        };
        Arc::new(Since { cursor: self.memory.cursor.map(KnownCursor::Own), positions })
    }
}
