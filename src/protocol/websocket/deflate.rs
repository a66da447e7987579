//! permessage-deflate (RFC 7692), without context takeover either way.
//!
//! Every message is then a block of its own: a broadcast is compressed once and shared by all who asked for it, and
//! no connection holds a window.

use super::close::CloseReason;
use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::{Cell, RefCell};
use std::fmt;

/// What is answered to every offer that is accepted.
pub const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The end of a flushed block, which messages leave out (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Level 1: 396 bytes become 218 in 6 µs, and a better level gains little on messages of this size.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    /// One of 40 KiB for the thread, not for each connection. A message that takes more than one turn keeps it that long.
    static DECOMPRESS: Cell<Option<Decompress>> = const { Cell::new(None) };
    /// Where a step of decompressing writes.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; STEP_WRITTEN]);
}

/// Whether one of the offers of a `Sec-WebSocket-Extensions` header can be accepted with [`ANSWER`].
pub fn accepts(header: &str) -> bool {
    header.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        parts.next() == Some("permessage-deflate") && parts.all(may_be_ignored)
    })
}

/// A window for us smaller than the largest cannot be promised; all else either is what we answer anyway, or leaves
/// the choice to us.
fn may_be_ignored(parameter: &str) -> bool {
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

/// Appends a message's payload, compressed. False if that failed, and then `out` is as it was.
pub fn deflate(payload: &[u8], out: &mut Vec<u8>) -> bool {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let start = out.len();
        let mut taken = 0;
        loop {
            // A block that does not shrink grows by five bytes for each 64 KiB.
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

/// Compressed bytes that are read in one step, at most: a byte of them may cost as much as the tables of a whole block.
const STEP_READ: usize = 4 << 10;
/// Bytes that one step yields, at most.
const STEP_WRITTEN: usize = 16 << 10;

/// A message's payload that is being decompressed, some of it in each turn.
pub struct Inflation {
    /// The thread's, while this is under way.
    decompress: Decompress,
    payload: BytesMut,
    read: usize,
    out: Vec<u8>,
    max: usize,
}

impl Inflation {
    /// Of a message that may have `max` bytes, decompressed.
    pub fn new(mut payload: BytesMut, max: usize) -> Self {
        payload.extend_from_slice(&TAIL);
        let idle = DECOMPRESS.take();
        let mut decompress = idle.unwrap_or_else(|| Decompress::new(false));
        decompress.reset(false);
        Self { decompress, payload, read: 0, out: Vec::new(), max }
    }

    /// Goes on until the message is complete (true) or so many bytes more have been read or written.
    ///
    /// # Errors
    /// `TooBig` beyond `max` bytes, however small the message was; `InvalidText` (1007, invalid payload data) if it is
    /// no deflate stream.
    pub fn go_on(&mut self, bytes: &mut usize) -> Result<bool, CloseReason> {
        while *bytes > 0 {
            let (read, written, ended) = SCRATCH.with_borrow_mut(|scratch| self.step(scratch))?;
            *bytes = bytes.saturating_sub(read.max(written).max(1));
            if self.out.len() > self.max {
                return Err(CloseReason::TooBig);
            }
            // The peer may close its stream within the message.
            if ended || self.read == self.payload.len() && written < STEP_WRITTEN {
                return Ok(true);
            }
            if read == 0 && written == 0 {
                return Err(CloseReason::InvalidText);
            }
        }
        Ok(false)
    }

    /// Bytes read, bytes written, and whether the stream has ended.
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

    /// Bytes it holds.
    pub fn held_bytes(&self) -> usize {
        self.payload.len() + self.out.len()
    }

    /// What has come out so far.
    pub fn inflated(&self) -> &[u8] {
        &self.out
    }

    /// What has come out.
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

    /// In turns of so many bytes.
    fn inflate_in(turn: usize, payload: &[u8], max: usize) -> Result<Vec<u8>, CloseReason> {
        let mut inflation = Inflation::new(payload.into(), max);
        loop {
            let (mut bytes, before) = (turn, inflation.read + inflation.out.len());
            let done = inflation.go_on(&mut bytes)?;
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
    fn offers() {
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
        // A block with its final bit set, as a careless peer sends it.
        assert_eq!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], 100), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn a_bomb_is_too_big() {
        let mut bomb = Vec::new();
        assert!(deflate(&vec![b'a'; 10 << 20], &mut bomb));
        assert!(bomb.len() < 100 << 10);
        assert_eq!(inflate(&bomb, 64 << 10), Err(CloseReason::TooBig));
        let whole = inflate_in(64 << 10, &bomb, 10 << 20).unwrap();
        assert!(whole.len() == 10 << 20 && whole.iter().all(|byte| *byte == b'a'));
    }

    /// Blocks that hold nothing: reading them costs time and yields no byte.
    #[test]
    fn empty_blocks_are_read_in_turns_too() {
        let empty = [0, 0, 0, 0xff, 0xff].repeat(20_000);
        let mut inflation = Inflation::new(empty.as_slice().into(), 100);
        let mut turns = 1;
        while !inflation.go_on(&mut 16_384).unwrap() {
            turns += 1;
        }
        assert!(turns >= 6, "{turns} turns for 100,000 bytes");
        assert!(inflation.finish().is_empty());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(payload in proptest::collection::vec(any::<u8>(), 0..5000)) {
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
