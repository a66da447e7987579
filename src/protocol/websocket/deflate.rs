//! permessage-deflate (RFC 7692), without context takeover in either direction.
//!
//! Each message is therefore compressed independently: a broadcast is compressed once and shared by all clients that
//! negotiated compression, and no connection holds a window.

use super::close::CloseReason;
use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The response to every accepted offer.
pub const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The end of a flushed block, which messages omit (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Level 1: 396 bytes become 218 in 6 µs, and a higher level gains little on messages of this size.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    /// 40 KiB per thread, not per connection. A message that needs more than one turn keeps it until it is complete.
    static DECOMPRESS: Cell<Option<Decompress>> = const { Cell::new(None) };
    /// The output buffer of a decompression step.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; STEP_WRITTEN]);
}

/// Whether one of the offers of a `Sec-WebSocket-Extensions` header can be accepted with [`ANSWER`].
pub fn accepts(header: &str) -> bool {
    header.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        parts.next() == Some("permessage-deflate") && parts.all(is_acceptable)
    })
}

/// A server window smaller than the maximum cannot be guaranteed. All other parameters either equal [`ANSWER`] or leave
/// the choice to the server.
fn is_acceptable(parameter: &str) -> bool {
    let (name, value) = match parameter.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (parameter, None),
    };
    let bits = value.and_then(|value| value.parse::<u8>().ok());
    match name {
        "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
        "client_max_window_bits" => value.is_none() || bits.is_some_and(|bits| (8..=15).contains(&bits)),
        "server_max_window_bits" => bits == Some(15),
        _ => false,
    }
}

/// Appends a message's payload, compressed. False if that failed; `out` is then unchanged.
pub fn deflate(payload: &[u8], out: &mut Vec<u8>) -> bool {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let start = out.len();
        let mut taken = 0;
        loop {
            // An incompressible block grows by five bytes per 64 KiB.
            out.reserve((payload.len() - taken) / 2 + 64);
            let before = compress.total_in();
            let status = compress.compress_vec(&payload[taken..], out, FlushCompress::Sync);
            taken += (compress.total_in() - before) as usize;
            match status {
                Ok(Status::Ok | Status::BufError) if taken < payload.len() || out.len() == out.capacity() => {
                }
                Ok(_) => break,
                Err(_) => {
                    out.truncate(start);
                    return false;
                }
            }
        }
        if out[start..].ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        true
    })
}

/// The most compressed bytes per step: each byte may cost as much as the tables of a whole block.
const STEP_READ: usize = 4 << 10;
/// The most decompressed bytes per step.
const STEP_WRITTEN: usize = 16 << 10;

/// A message's payload that is being decompressed, a limited part per turn.
pub struct Inflation {
    /// The decompressor of the thread, until the message is complete.
    decompress: Decompress,
    payload: BytesMut,
    read: usize,
    out: Vec<u8>,
    max: usize,
}

impl Inflation {
    /// Begins the decompression of a message, to at most `max` bytes.
    pub fn new(mut payload: BytesMut, max: usize) -> Self {
        payload.extend_from_slice(&TAIL);
        let idle = DECOMPRESS.take();
        let mut decompress = idle.unwrap_or_else(|| Decompress::new(false));
        decompress.reset(false);
        Self { decompress, payload, read: 0, out: Vec::new(), max }
    }

    /// Continues until the message is complete (true) or this many bytes have been read or written.
    ///
    /// # Errors
    /// `TooBig` beyond `max` bytes, however small the message was; `InvalidText` (1007, invalid payload data) if it is
    /// not a deflate stream.
    pub fn advance(&mut self, bytes: &mut usize) -> Result<bool, CloseReason> {
        while *bytes > 0 {
            let (read, written, ended) = SCRATCH.with_borrow_mut(|scratch| self.step(scratch))?;
            *bytes = bytes.saturating_sub(read.max(written).max(1));
            if self.out.len() > self.max {
                return Err(CloseReason::TooBig);
            }
            // The client may end its deflate stream within the message.
            if ended || self.read == self.payload.len() && written < STEP_WRITTEN {
                return Ok(true);
            }
            if read == 0 && written == 0 {
                return Err(CloseReason::InvalidText);
            }
        }
        Ok(false)
    }

    /// Returns the bytes read, the bytes written, and whether the stream has ended.
    fn step(&mut self, scratch: &mut [u8]) -> Result<(usize, usize, bool), CloseReason> {
        let rest = &self.payload[self.read..];
        let (read, written) = (self.decompress.total_in(), self.decompress.total_out());
        let status =
            self.decompress.decompress(&rest[..rest.len().min(STEP_READ)], scratch, FlushDecompress::Sync);
        let read = (self.decompress.total_in() - read) as usize;
        let written = (self.decompress.total_out() - written) as usize;
        self.read += read;
        self.out.extend_from_slice(&scratch[..written]);
        match status {
            Ok(status) => Ok((read, written, status == Status::StreamEnd)),
            Err(_) => Err(CloseReason::InvalidText),
        }
    }

    /// The number of bytes in memory.
    pub fn held_bytes(&self) -> usize {
        self.payload.len() + self.out.len()
    }

    /// The bytes decompressed so far.
    pub fn inflated(&self) -> &[u8] {
        &self.out
    }

    /// The decompressed message.
    pub fn finish(mut self) -> Vec<u8> {
        DECOMPRESS.set(Some(self.decompress));
        std::mem::take(&mut self.out)
    }
}

impl fmt::Debug for Inflation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Inflation({} of {} bytes)", self.read, self.payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decompresses in turns of this many bytes.
    fn inflate_in(turn: usize, payload: &[u8], max: usize) -> Result<Vec<u8>, CloseReason> {
        let mut inflation = Inflation::new(payload.into(), max);
        loop {
            let (mut bytes, before) = (turn, inflation.read + inflation.out.len());
            let done = inflation.advance(&mut bytes)?;
            let spent = inflation.read + inflation.out.len() - before;
            assert!(spent <= turn + STEP_READ + STEP_WRITTEN, "{spent} bytes in a turn of {turn}");
            if done {
                return Ok(inflation.finish());
            }
        }
    }

    fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, CloseReason> {
        inflate_in(usize::MAX >> 1, payload, max)
    }

    #[test]
    fn only_supported_offers_are_accepted() {
        for good in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=12; server_no_context_takeover",
            "x-other, permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; unknown",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        assert!(deflate(b"Hello", &mut out));
        assert_eq!(inflate(&out, 100), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 100), Ok(b"Hello".to_vec()));
        // A block with its final bit set, which some clients send.
        assert_eq!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], 100), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        let mut bomb = Vec::new();
        assert!(deflate(&vec![b'a'; 10 << 20], &mut bomb));
        assert!(bomb.len() < 100 << 10);
        assert_eq!(inflate(&bomb, 64 << 10), Err(CloseReason::TooBig));
        let whole = inflate_in(64 << 10, &bomb, 10 << 20).unwrap();
        assert!(whole.len() == 10 << 20 && whole.iter().all(|byte| *byte == b'a'));
    }

    /// Empty blocks cost time although they yield no bytes.
    #[test]
    fn empty_blocks_are_read_in_several_turns() {
        let empty = [0, 0, 0, 0xff, 0xff].repeat(20_000);
        let mut inflation = Inflation::new(empty.as_slice().into(), 100);
        let mut turns = 1;
        while !inflation.advance(&mut 16_384).unwrap() {
            turns += 1;
        }
        assert!(turns >= 6, "{turns} turns for 100,000 bytes");
        assert!(inflation.finish().is_empty());
    }

    proptest! {
        #[test]
        fn decompression_restores_the_payload(payload in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut out = b"before".to_vec();
            prop_assert!(deflate(&payload, &mut out));
            prop_assert_eq!(&out[..6], b"before");
            prop_assert_eq!(inflate(&out[6..], payload.len()), Ok(payload.clone()));
            prop_assert_eq!(inflate_in(1, &out[6..], payload.len()), Ok(payload));
        }

        #[test]
        fn nothing_panics(payload in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = inflate(&payload, 10_000);
        }
    }
}
