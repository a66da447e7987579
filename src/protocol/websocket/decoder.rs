//! Decodes the frames of a client: fragments, masks, UTF-8. Enforces the limits of RFC 6455 and a maximum message size.

use super::Opcode;
use super::close::{CloseReason, may_be_sent};
use super::deflate::Inflation;
use bytes::{Buf, Bytes, BytesMut};

/// A message or control frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A complete text message, valid UTF-8.
    Text(Bytes),
    /// A complete binary message.
    Binary(Bytes),
    /// A ping with its payload, which the pong must return.
    Ping(Bytes),
    Pong,
    /// A close frame, with the client's code if it has one.
    Close(Option<u16>),
}

/// The most frames that a socket's task decodes in one turn.
pub const TURN_FRAMES: usize = 64;
/// The most bytes that it reads or writes for decompression in one turn, plus or minus one step.
pub const TURN_BYTES: usize = 64 << 10;

/// The work that a task may still do before it yields to other tasks. Limited because a few bytes of a client can cause
/// much work.
#[derive(Debug)]
pub struct DecodeTurn {
    frames: usize,
    bytes: usize,
}

impl Default for DecodeTurn {
    fn default() -> Self {
        Self { frames: TURN_FRAMES, bytes: TURN_BYTES }
    }
}

impl DecodeTurn {
    fn is_over(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    size: usize,
    length: usize,
}

/// The decoder of one socket. Holds memory only while a frame or message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    input: BytesMut,
    /// The partly received data frame.
    frame: Option<OpenFrame>,
    message: Option<Box<PartialMessage>>,
    inflating: Option<Box<Inflating>>,
    max_message: usize,
    /// Whether compressed messages were negotiated.
    may_be_compressed: bool,
    is_behind: bool,
}

/// A data frame whose payload is partly received.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    fin: bool,
    mask: [u8; 4],
    taken: usize,
    length: usize,
}

#[derive(Debug)]
struct PartialMessage {
    text: bool,
    compressed: bool,
    bytes: BytesMut,
    /// The number of bytes at the front that are valid UTF-8.
    checked: usize,
}

/// A complete message that is being decompressed.
#[derive(Debug)]
struct Inflating {
    text: bool,
    inflation: Inflation,
    /// The number of bytes at the front that are valid UTF-8.
    checked: usize,
}

impl Decoder {
    /// Creates a decoder that accepts messages of up to `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self {
            input: BytesMut::new(),
            frame: None,
            message: None,
            inflating: None,
            max_message,
            may_be_compressed: false,
            is_behind: false,
        }
    }

    /// Sets whether compressed messages were negotiated.
    pub fn inflating(mut self, inflating: bool) -> Self {
        self.may_be_compressed = inflating;
        self
    }

    /// The number of received bytes of messages that are incomplete or not decoded yet.
    pub fn held_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.len());
        let inflating = self.inflating.as_ref().map_or(0, |message| message.inflation.held_bytes());
        self.input.len() + message + inflating
    }

    /// Whether no part of a message is held, so that a new decoder could replace this one.
    pub fn is_idle(&self) -> bool {
        self.input.is_empty() && self.message.is_none() && self.inflating.is_none()
    }

    /// Whether the last call of [`Decoder::decode`] stopped because the turn was over. The caller must continue in the
    /// next turn before it reads more.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Adds bytes from the socket.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next message or control frame. `None` if more bytes are needed or the turn is over.
    ///
    /// # Errors
    /// The reason to close the socket: `Protocol`, `InvalidText` or `TooBig`. No later bytes can be decoded.
    pub fn decode(&mut self, turn: &mut DecodeTurn) -> Result<Option<Incoming>, CloseReason> {
        loop {
            self.is_behind = turn.is_over() && !self.is_idle();
            if self.is_behind {
                return Ok(None);
            }
            let incoming = if self.inflating.is_some() {
                self.inflate(turn)?
            } else if let Some(frame) = self.frame {
                if self.input.is_empty() {
                    self.release_input();
                    return Ok(None);
                }
                self.payload(frame)?
            } else {
                let Some(header) = self.header()? else {
                    self.release_input();
                    return Ok(None);
                };
                if header.opcode.is_control() && self.input.len() < header.size + header.length {
                    return Ok(None);
                }
                turn.frames = turn.frames.saturating_sub(1);
                self.input.advance(header.size);
                self.begin(&header)?
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
    }

    /// Releases the input buffer, so that an idle socket holds none.
    fn release_input(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
    }

    /// Begins a frame after its header. A control frame is complete.
    fn begin(&mut self, header: &Header) -> Result<Option<Incoming>, CloseReason> {
        let Header { fin, compressed, opcode, mask, length, .. } = *header;
        if !opcode.is_control() {
            let text = opcode == Opcode::Text;
            self.message.get_or_insert_with(|| {
                Box::new(PartialMessage { text, compressed, bytes: BytesMut::new(), checked: 0 })
            });
            return self.payload(OpenFrame { fin, mask, taken: 0, length });
        }
        let mut payload = self.input.split_to(length);
        unmask(&mut payload, mask, 0);
        Ok(Some(match opcode {
            Opcode::Ping => Incoming::Ping(payload.freeze()),
            Opcode::Close => Incoming::Close(close_code(&payload)?),
            _ => Incoming::Pong,
        }))
    }

    fn header(&self) -> Result<Option<Header>, CloseReason> {
        let bytes = &self.input[..];
        let [first, second, ..] = *bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(CloseReason::Protocol)?;
        let fin = first & 0x80 != 0;
        // RSV1 marks the first frame of a compressed message; the other reserved bits are unused.
        let compressed = first & 0x40 != 0;
        let may_be_compressed = self.may_be_compressed && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || compressed && !may_be_compressed || second & 0x80 == 0 {
            return Err(CloseReason::Protocol);
        }
        let (extended, length) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(b) => (2, u64::from(u16::from_be_bytes([b[0], b[1]]))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
                Some(b) => (8, u64::from_be_bytes(b)),
                None => return Ok(None),
            },
            short => (0, u64::from(short)),
        };
        if opcode.is_control() && (!fin || length > 125) {
            return Err(CloseReason::Protocol);
        }
        self.check_sequence(opcode)?;
        let length = self.check_size(opcode, length)?;
        let size = 2 + extended + 4;
        let Some(mask) = bytes.get(2 + extended..size).and_then(|b| b.try_into().ok()) else {
            return Ok(None);
        };
        Ok(Some(Header { fin, compressed, opcode, mask, size, length }))
    }

    fn check_sequence(&self, opcode: Opcode) -> Result<(), CloseReason> {
        let is_fragmented = self.message.is_some();
        match opcode {
            Opcode::Continuation if !is_fragmented => Err(CloseReason::Protocol),
            Opcode::Text | Opcode::Binary if is_fragmented => Err(CloseReason::Protocol),
            _ => Ok(()),
        }
    }

    fn check_size(&self, opcode: Opcode, length: u64) -> Result<usize, CloseReason> {
        let length = usize::try_from(length).map_err(|_| CloseReason::TooBig)?;
        let before = match opcode {
            Opcode::Continuation => self.message.as_ref().map_or(0, |m| m.bytes.len()),
            _ => 0,
        };
        if !opcode.is_control() && before.saturating_add(length) > self.max_message {
            return Err(CloseReason::TooBig);
        }
        Ok(length)
    }

    /// Reads the received part of a data frame. Text that can no longer become valid UTF-8 is refused immediately.
    fn payload(&mut self, frame: OpenFrame) -> Result<Option<Incoming>, CloseReason> {
        let Some(partial) = &mut self.message else { return Ok(None) };
        let count = self.input.len().min(frame.length - frame.taken);
        let start = partial.bytes.len();
        partial.bytes.extend_from_slice(&self.input[..count]);
        self.input.advance(count);
        unmask(&mut partial.bytes[start..], frame.mask, frame.taken);
        if partial.text && !partial.compressed {
            partial.checked += utf8_prefix(&partial.bytes[partial.checked..])?;
        }
        let taken = frame.taken + count;
        self.frame = (taken < frame.length).then_some(OpenFrame { taken, ..frame });
        match self.message.take_if(|_| frame.fin && taken == frame.length) {
            Some(partial) => self.finish_message(*partial),
            None => Ok(None),
        }
    }

    fn finish_message(&mut self, partial: PartialMessage) -> Result<Option<Incoming>, CloseReason> {
        let PartialMessage { text, compressed, bytes, checked } = partial;
        if compressed {
            let inflation = Inflation::new(bytes, self.max_message);
            self.inflating = Some(Box::new(Inflating { text, inflation, checked: 0 }));
            return Ok(None);
        }
        complete_message(text, bytes.freeze(), checked).map(Some)
    }

    fn inflate(&mut self, turn: &mut DecodeTurn) -> Result<Option<Incoming>, CloseReason> {
        let Some(inflating) = &mut self.inflating else { return Ok(None) };
        let is_complete = inflating.inflation.advance(&mut turn.bytes)?;
        if inflating.text {
            inflating.checked += utf8_prefix(&inflating.inflation.inflated()[inflating.checked..])?;
        }
        match self.inflating.take_if(|_| is_complete) {
            Some(message) => {
                let Inflating { text, inflation, checked } = *message;
                complete_message(text, inflation.finish().into(), checked).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// Creates a complete message. Text must be valid UTF-8 to its end.
fn complete_message(text: bool, bytes: Bytes, checked: usize) -> Result<Incoming, CloseReason> {
    match text {
        false => Ok(Incoming::Binary(bytes)),
        true if checked < bytes.len() => Err(CloseReason::InvalidText),
        true => Ok(Incoming::Text(bytes)),
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], start: usize) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(start + index) & 3];
    }
}

/// The length of the part that is valid UTF-8. The rest may be the beginning of a character.
fn utf8_prefix(bytes: &[u8]) -> Result<usize, CloseReason> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(CloseReason::InvalidText),
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseReason> {
    match payload {
        [] => Ok(None),
        [_] => Err(CloseReason::Protocol),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(CloseReason::Protocol);
            }
            std::str::from_utf8(text).map_err(|_| CloseReason::InvalidText)?;
            Ok(Some(code))
        }
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
