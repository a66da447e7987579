//! What the console asks a hub about its sessions.

use super::Hub;
use super::slot::SessionSlot;
use crate::protocol::ids::SlotKey;
use actix::{Context, Handler, Message, MessageResult};
use std::net::IpAddr;

/// Asks for the figures of these sessions.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<SessionFigures>>")]
pub struct InspectSessions {
    /// Where they are.
    pub slots: Vec<SlotKey>,
    /// Whether the addresses of their peers are wanted: each costs a call of the system.
    pub addresses: bool,
}

/// How a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFigures {
    /// When it came, in Unix ms.
    pub since_ms: u64,
    /// When its peer was last heard, in Unix ms.
    pub heard_ms: u64,
    /// Bytes that wait for its peer.
    pub queued_bytes: usize,
    /// Whether its peer takes compressed messages.
    pub compressed: bool,
    /// Where its peer is, if asked for and known.
    pub address: Option<IpAddr>,
}

/// Asks to record a session that is there already, if its connection is to be recorded.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordSession(pub SlotKey);

impl Handler<RecordSession> for Hub {
    type Result = ();

    fn handle(&mut self, request: RecordSession, _: &mut Context<Self>) {
        self.shared.table.borrow_mut().begin_tape(request.0);
    }
}

impl Handler<InspectSessions> for Hub {
    type Result = MessageResult<InspectSessions>;

    fn handle(&mut self, question: InspectSessions, _: &mut Context<Self>) -> Self::Result {
        let (table, epoch_ms) = (&mut self.shared.table.borrow_mut(), self.shared.epoch_ms());
        let figures =
            |key: &SlotKey| table.slot(*key).map(|slot| figures(slot, epoch_ms, question.addresses));
        MessageResult(question.slots.iter().map(figures).collect())
    }
}

fn figures(slot: &SessionSlot, epoch_ms: u64, with_address: bool) -> SessionFigures {
    SessionFigures {
        since_ms: epoch_ms + u64::from(slot.opened_s) * 1_000,
        heard_ms: epoch_ms + slot.send_queue.heard_ms(),
        queued_bytes: slot.send_queue.queued_bytes(),
        compressed: slot.send_queue.is_compressing(),
        address: with_address.then(|| slot.address()).flatten(),
    }
}
