//! Rows of connections, marks and blocks of the model.

use super::{Mark, Model, NodeState, Reply, Row, bytes, field, number, status};
use crate::broker::engine::call::{Laggard, NodeNumber};
use crate::broker::engine::record::Record;

impl Model {
    /// The sender becomes the owner. Returns the new generation.
    fn own_row(&mut self, conn: &str) -> u64 {
        let (node, generation) = (self.sender.node, self.next_stamp());
        let row = self.rows.get_mut(conn).unwrap();
        let before = std::mem::replace(&mut row.owner, node);
        row.generation = generation;
        if let Some(own) = self.own.get_mut(&before) {
            own.rows.remove(conn);
        }
        self.own.entry(node).or_default().rows.insert(conn.into());
        self.expiry.remove(&format!("k{conn}"));
        generation
    }

    pub(super) fn claim(&mut self, conn: &str, user: &str, data: &[u8], most: u32) -> Reply {
        let node = self.sender.node;
        let rows = self.rows.values().filter(|row| row.user == user).count();
        if most > 0 && rows >= most as usize && !self.rows.contains_key(conn) {
            return Reply::List(vec![bytes("FULL")]);
        }
        let Some(row) = self.rows.get_mut(conn) else {
            let (user, data) = (user.to_owned(), data.to_vec());
            self.rows.insert(conn.into(), Row { owner: 0, generation: 0, user, data, last_owner: None });
            return Reply::List(vec![bytes("NEW"), number(self.own_row(conn))]);
        };
        if row.user != user {
            return Reply::List(vec![bytes("FOREIGN")]);
        }
        if row.owner == node {
            let data = bytes(&row.data);
            return Reply::List(vec![bytes("OWN"), number(self.own_row(conn)), data]);
        }
        let row = row.clone();
        if self.is_known(row.owner) {
            let (owner, generation) = (number(row.owner), number(row.generation));
            return Reply::List(vec![bytes("OTHER"), owner, generation, bytes(row.data)]);
        }
        let last_owner = if row.owner == 0 { row.last_owner } else { Some(row.owner) };
        let marks = last_owner.and_then(|owner| self.marks.get(&owner));
        let mark = marks.and_then(|marks| marks.before.as_ref());
        let mark = mark.map_or(Reply::Nil, |mark| {
            let received = mark.laggards.get(conn).cloned().unwrap_or_default();
            Reply::List(vec![number(mark.delivered), bytes(received)])
        });
        Reply::List(vec![bytes("TAKEN"), number(self.own_row(conn)), bytes(row.data), mark])
    }

    pub(super) fn find(&self, conn: &str) -> Reply {
        self.rows.get(conn).map_or(Reply::Nil, |row| {
            Reply::List(vec![
                number(row.owner),
                number(row.generation),
                bytes(&row.user),
                bytes(&row.data),
                number(self.is_known(row.owner)),
            ])
        })
    }

    fn own_rows(&self, conn: &str, generation: u64) -> bool {
        self.rows.get(conn).is_some_and(|row| (row.owner, row.generation) == (self.sender.node, generation))
    }

    pub(super) fn store(&mut self, conn: &str, generation: u64, data: &[u8]) -> bool {
        let is_own = self.own_rows(conn, generation);
        if is_own {
            self.rows.get_mut(conn).unwrap().data = data.to_vec();
        }
        is_own
    }

    pub(super) fn end(&mut self, conn: &str, generation: u64) -> bool {
        let is_own = self.own_rows(conn, generation);
        if is_own {
            self.rows.remove(conn);
            self.own.entry(self.sender.node).or_default().rows.remove(conn);
        }
        is_own
    }

    pub(super) fn release(&mut self, conn: &str, generation: Option<u64>, data: &[u8]) -> bool {
        let node = self.sender.node;
        let is_own = self.rows.get(conn).is_some_and(|row| {
            row.owner == node && generation.is_none_or(|generation| row.generation == generation)
        });
        if is_own {
            self.own.entry(node).or_default().rows.remove(conn);
            self.free_row(None, conn);
        }
        if is_own && !data.is_empty() {
            self.rows.get_mut(conn).unwrap().data = data.to_vec();
        }
        is_own
    }

    /// The mark of the last owner counts, if there is one.
    pub(super) fn free_row(&mut self, last_owner: Option<NodeNumber>, conn: &str) {
        let due = self.clock + self.sender.settings.grace_ms * 1000;
        let row = self.rows.get_mut(conn).unwrap();
        (row.owner, row.last_owner) = (0, last_owner);
        self.expiry.insert(format!("k{conn}"), due);
    }

    pub(super) fn mark(&mut self, delivered: u64, laggards: &[Laggard]) -> Reply {
        let laggards = laggards.iter().map(|laggard| (laggard.conn.clone(), laggard.received.clone()));
        let mark = Mark { delivered, laggards: laggards.collect() };
        let marks = self.marks.entry(self.sender.node).or_default();
        marks.before = marks.last.replace(mark).or(marks.before.take());
        status("OK")
    }

    pub(super) fn set_block(&mut self, user: &str, record: &[u8], until_ms: u64) -> Reply {
        let max = self.sender.settings.max_blocks as usize;
        if !self.blocks.contains_key(user) && self.blocks.len() >= max {
            return status("FULL");
        }
        self.blocks.insert(user.into(), record.to_vec());
        match until_ms {
            0 => drop(self.expiry.remove(&format!("b{user}"))),
            _ => drop(self.expiry.insert(format!("b{user}"), until_ms * 1000)),
        }
        self.announce_block(user, record);
        status("OK")
    }

    /// Returns whether there was a block.
    pub(super) fn remove_block(&mut self, user: &str) -> bool {
        self.expiry.remove(&format!("b{user}"));
        let is_removed = self.blocks.remove(user).is_some();
        if is_removed {
            self.announce_block(user, &[]);
        }
        is_removed
    }

    fn announce_block(&mut self, user: &str, record: &[u8]) {
        let note = Record::Block { user: user.into(), record: record.to_vec() }.encode();
        let item = field(&[&[1, 1], &field(b"b")[..], b"00000000", &[0; 32], &note].concat());
        let alive = self.nodes.iter().filter(|(_, state)| matches!(state, NodeState::Reported(_)));
        for (node, _) in alive {
            self.mail.entry(*node).or_default().extend_from_slice(&item);
        }
    }
}
