//! `/demo/echo` sends each message back unchanged.
//!
//! It uses the websocket code of `/ws` (decoder, frames, compression, close), so that a test of the echo also tests
//! that code.

use super::connection::{MessageHandler, check_push};
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::{Opcode, deflated, frame};
use crate::send_queue::SendQueue;
use bytes::Bytes;

/// Maximum size of a message in bytes; a larger one is answered with 1009.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Longer messages are returned uncompressed, because compressing them would block this thread for too long.
const MAX_DEFLATED: usize = 1 << 20;

pub struct Echo {
    /// Minimum length for compression; `None` if it was not negotiated.
    pub deflate_from: Option<usize>,
}

impl Echo {
    fn framed(&self, opcode: Opcode, payload: &[u8]) -> Bytes {
        let worth_it = self.deflate_from.is_some_and(|from| (from..=MAX_DEFLATED).contains(&payload.len()));
        let short = if worth_it { deflated(opcode, payload) } else { None };
        short.unwrap_or_else(|| frame(opcode, payload))
    }
}

impl MessageHandler for Echo {
    /// Handles one message at a time. The next one is read after the peer has read the response.
    fn is_ready(&self, send_queue: &SendQueue) -> bool {
        send_queue.is_empty()
    }

    fn handle_message(
        &mut self,
        opcode: Opcode,
        payload: Bytes,
        send_queue: &SendQueue,
    ) -> Result<(), CloseReason> {
        check_push(send_queue.push_control(&self.framed(opcode, &payload)))
    }
}
