//! `/demo/echo`: what a peer says comes back as it was said.
//!
//! It runs on the websocket code of `/ws` (decoder, frames, compression, goodbyes), so that a test of the echo is one
//! of that code.

use super::connection::{MessageHandler, sent};
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::{Opcode, deflated, frame};
use crate::send_queue::SendQueue;
use bytes::Bytes;

/// Largest message that comes back, in bytes; a larger one is answered with 1009.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Longer messages come back uncompressed: compressing them would hold up everybody on this thread.
const MAX_DEFLATED: usize = 1 << 20;

/// One socket's echo.
pub struct Echo {
    /// Compressed messages were agreed on; from this length on they are sent so.
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
    /// One message at a time: who does not take the answer is not listened to meanwhile.
    fn is_ready(&self, send_queue: &SendQueue) -> bool {
        send_queue.is_empty()
    }

    fn hear(&mut self, opcode: Opcode, payload: Bytes, send_queue: &SendQueue) -> Result<(), CloseReason> {
        sent(send_queue.push_control(&self.framed(opcode, &payload)))
    }
}
