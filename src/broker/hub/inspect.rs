//! The console's requests to a hub about its sessions.

use super::Hub;
use super::slot::SessionSlot;
use crate::protocol::ids::SlotKey;
use actix::{Context, Handler, Message, MessageResult};
use std::net::IpAddr;

/// Requests the figures of these sessions.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<SessionFigures>>")]
pub struct InspectSessions {
    /// The slots of the sessions.
    pub slots: Vec<SlotKey>,
    /// Whether to include the clients' addresses: each costs a system call.
    pub addresses: bool,
}

/// The figures of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFigures {
    /// When the session was opened, in Unix ms.
    pub since_ms: u64,
    /// When the client last sent something, in Unix ms.
    pub last_received_ms: u64,
    /// Bytes in the send queue.
    pub queued_bytes: usize,
    /// Whether the client accepts compressed messages.
    pub compressed: bool,
    /// The client's address, if requested and known.
    pub address: Option<IpAddr>,
}

/// Starts to record an existing session, if its connection is to be recorded.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordSession(pub SlotKey);

impl Handler<RecordSession> for Hub {
    type Result = ();

    fn handle(&mut self, request: RecordSession, _: &mut Context<Self>) {
        self.shared.table.borrow_mut().begin_recording(request.0);
    }
}

impl Handler<InspectSessions> for Hub {
    type Result = MessageResult<InspectSessions>;

    fn handle(&mut self, request: InspectSessions, _: &mut Context<Self>) -> Self::Result {
        let (table, epoch_ms) = (&mut self.shared.table.borrow_mut(), self.shared.epoch_ms());
        let figures = |key: &SlotKey| table.slot(*key).map(|slot| figures(slot, epoch_ms, request.addresses));
        MessageResult(request.slots.iter().map(figures).collect())
    }
}

fn figures(slot: &SessionSlot, epoch_ms: u64, with_address: bool) -> SessionFigures {
    SessionFigures {
        since_ms: epoch_ms + u64::from(slot.opened_s) * 1_000,
        last_received_ms: epoch_ms + slot.send_queue.last_received_ms(),
        queued_bytes: slot.send_queue.queued_bytes(),
        compressed: slot.send_queue.is_compressing(),
        address: with_address.then(|| slot.address()).flatten(),
    }
}
