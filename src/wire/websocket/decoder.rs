//! Reads what a client sends: frames, fragments, masks, UTF-8, with every limit of RFC 6455 and one of ours.

use super::Opcode;
use super::close::{CloseReason, may_be_sent};
use super::deflate;
use bytes::{Buf, Bytes, BytesMut};

/// Something a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message, valid UTF-8.
    Text(Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping with its payload, to be returned.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// Goodbye, with the peer's code if it gave one.
    Close(Option<u16>),
}

/// Unfinished frames longer than this wait for their end before their text is checked: checking again at every
/// read would make long frames cost the square of their length.
const EARLY_CHECK_BYTES: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    size: usize,
    length: usize,
}

/// Decoder of one socket. Holds memory only while a frame or message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    input: BytesMut,
    message: Option<Box<Partial>>,
    max_message: usize,
    /// Compressed messages were agreed on.
    inflating: bool,
}

#[derive(Debug)]
struct Partial {
    text: bool,
    compressed: bool,
    bytes: BytesMut,
    /// Bytes at the front that are known to be UTF-8.
    checked: usize,
}

impl Decoder {
    /// A decoder that accepts messages of up to `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self { input: BytesMut::new(), message: None, max_message, inflating: false }
    }

    /// The same; compressed messages are agreed on or not.
    pub fn inflating(mut self, inflating: bool) -> Self {
        self.inflating = inflating;
        self
    }

    /// Bytes held: what has come of messages that are not complete, or have not been asked for.
    pub fn held_bytes(&self) -> usize {
        self.input.len() + self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    /// Whether nothing has come of a message that is not complete: a new decoder would go on as well.
    pub fn is_idle(&self) -> bool {
        self.input.is_empty() && self.message.is_none()
    }

    /// Takes what the socket gave.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next thing said, `None` when more bytes are needed, or why the socket must be closed.
    ///
    /// # Errors
    /// `Protocol`, `InvalidText` or `TooBig`; nothing sensible can be read after that.
    pub fn decode(&mut self) -> Result<Option<Incoming>, CloseReason> {
        loop {
            let Some(header) = self.header()? else {
                // An idle socket shall hold no buffer.
                if self.input.is_empty() && self.input.capacity() > 0 {
                    self.input = BytesMut::new();
                }
                return Ok(None);
            };
            if self.input.len() < header.size + header.length {
                return self.early_text_check(&header).map(|()| None);
            }
            self.input.advance(header.size);
            let mut payload = self.input.split_to(header.length);
            unmask(&mut payload, header.mask, 0);
            let said = match header.opcode {
                Opcode::Ping => Some(Incoming::Ping(payload.freeze())),
                Opcode::Pong => Some(Incoming::Pong),
                Opcode::Close => Some(Incoming::Close(close_code(&payload)?)),
                _ => self.data(&header, payload)?,
            };
            if said.is_some() {
                return Ok(said);
            }
        }
    }

    fn header(&self) -> Result<Option<Header>, CloseReason> {
        let bytes = &self.input[..];
        let [first, second, ..] = *bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(CloseReason::Protocol)?;
        let fin = first & 0x80 != 0;
        // RSV1 marks the first frame of a compressed message; the other reserved bits belong to nobody.
        let compressed = first & 0x40 != 0;
        let may_be_compressed = self.inflating && matches!(opcode, Opcode::Text | Opcode::Binary);
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
        let begun = self.message.is_some();
        match opcode {
            Opcode::Continuation if !begun => Err(CloseReason::Protocol),
            Opcode::Text | Opcode::Binary if begun => Err(CloseReason::Protocol),
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

    /// Text that cannot become UTF-8 any more is refused before the rest of its frame has come.
    fn early_text_check(&mut self, header: &Header) -> Result<(), CloseReason> {
        let plain_text = |m: &Partial| m.text && !m.compressed;
        let text = header.opcode == Opcode::Text && !header.compressed
            || header.opcode == Opcode::Continuation && self.message.as_deref().is_some_and(plain_text);
        if !text || self.input.len() > EARLY_CHECK_BYTES {
            return Ok(());
        }
        let mut probe = match &self.message {
            Some(m) => BytesMut::from(&m.bytes[m.checked..]),
            None => BytesMut::new(),
        };
        let known = probe.len();
        probe.extend_from_slice(self.input.get(header.size..).unwrap_or_default());
        unmask(&mut probe[known..], header.mask, 0);
        utf8_prefix(&probe).map(|_| ())
    }

    fn data(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Incoming>, CloseReason> {
        let mut partial = match self.message.take() {
            Some(mut partial) => {
                partial.bytes.unsplit(payload);
                partial
            }
            None => {
                let (text, compressed) = (header.opcode == Opcode::Text, header.compressed);
                Box::new(Partial { text, compressed, bytes: payload, checked: 0 })
            }
        };
        if partial.text && !partial.compressed {
            partial.checked += utf8_prefix(&partial.bytes[partial.checked..])?;
        }
        if !header.fin {
            self.message = Some(partial);
            return Ok(None);
        }
        self.whole(*partial).map(Some)
    }

    fn whole(&self, partial: Partial) -> Result<Incoming, CloseReason> {
        let bytes = match partial.compressed {
            true => Bytes::from(deflate::inflate(&partial.bytes, self.max_message)?),
            false => partial.bytes.freeze(),
        };
        if !partial.text {
            return Ok(Incoming::Binary(bytes));
        }
        let checked = if partial.compressed { utf8_prefix(&bytes)? } else { partial.checked };
        if checked < bytes.len() {
            return Err(CloseReason::InvalidText);
        }
        Ok(Incoming::Text(bytes))
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], start: usize) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(start + index) & 3];
    }
}

/// Length of the part that is UTF-8 for certain; the rest may be the beginning of a character.
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
