//! The websocket protocol (RFC 6455) without I/O: writes headers and reads messages.

pub mod decoder;
pub mod close;
pub(crate) mod deflate;

use bytes::Bytes;

/// The space to reserve before a payload for [`write_text_header_before`].
pub const HEADER_ROOM: usize = 10;

/// The frame of an empty list, which old clients expect as a heartbeat.
pub static HEARTBEAT: Bytes = Bytes::from_static(b"\x81\x02[]");

/// The frame of a ping without payload.
pub static PING: Bytes = Bytes::from_static(b"\x89\x00");

/// Opcodes of RFC 6455, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A later fragment of a message.
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

fn header(opcode: Opcode, length: usize) -> ([u8; HEADER_ROOM], usize) {
    let mut out = [0; HEADER_ROOM];
    out[0] = 0x80 | opcode.bits();
    let used = match length {
        0..=125 => {
            out[1] = length as u8;
            2
        }
        126..=0xffff => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    (out, used)
}

/// Writes the header of an unfragmented text message into the [`HEADER_ROOM`] bytes at the front of `buffer`, directly
/// before the payload. Returns the number of unused bytes before the header.
///
/// A buffer shorter than [`HEADER_ROOM`] is not changed.
pub fn write_text_header_before(buffer: &mut [u8]) -> usize {
    write_header_before(Opcode::Text, buffer)
}

fn write_header_before(opcode: Opcode, buffer: &mut [u8]) -> usize {
    let Some(length) = buffer.len().checked_sub(HEADER_ROOM) else { return 0 };
    let (bytes, used) = header(opcode, length);
    let shift = HEADER_ROOM - used;
    buffer[shift..HEADER_ROOM].copy_from_slice(&bytes[..used]);
    shift
}

/// The length of the header of an unmasked frame.
pub fn payload_start(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    }
}

/// A complete text frame with this payload compressed. `None` if compression does not make it shorter.
pub fn deflated_text(payload: &[u8]) -> Option<Bytes> {
    deflated(Opcode::Text, payload)
}

/// A complete frame with this payload compressed. `None` if compression does not make it shorter.
pub fn deflated(opcode: Opcode, payload: &[u8]) -> Option<Bytes> {
    let mut out = vec![0; HEADER_ROOM];
    if !deflate::deflate(payload, &mut out) || out.len() - HEADER_ROOM >= payload.len() {
        return None;
    }
    let shift = write_header_before(opcode, &mut out);
    // RSV1 of the first frame marks the message as compressed (RFC 7692, section 6).
    out[shift] |= 0x40;
    out.shrink_to_fit();
    Some(Bytes::from(out).slice(shift..))
}

/// A complete frame, unmasked, as servers send them.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let (bytes, used) = header(opcode, payload.len());
    let mut out = Vec::with_capacity(used + payload.len());
    out.extend_from_slice(&bytes[..used]);
    out.extend_from_slice(payload);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_depends_on_the_length() {
        assert_eq!(&frame(Opcode::Text, b"[]")[..], &HEARTBEAT[..]);
        assert_eq!(&frame(Opcode::Ping, b"")[..], &PING[..]);
        assert_eq!(&frame(Opcode::Binary, &[0; 126])[..4], [0x82, 126, 0, 126]);
        assert_eq!(&frame(Opcode::Text, &[0; 65_536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn the_header_is_written_directly_before_the_payload() {
        let mut buffer = [0; HEADER_ROOM].to_vec();
        buffer.extend_from_slice(b"[]");
        let shift = write_text_header_before(&mut buffer);
        assert_eq!(&buffer[shift..], &HEARTBEAT[..]);
    }
}
