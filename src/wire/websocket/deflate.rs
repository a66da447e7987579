//! permessage-deflate (RFC 7692), without context takeover either way.
//!
//! Every message is then a block of its own: a broadcast is compressed once and shared by all who asked for it, and
//! no connection holds a window.

use super::close::CloseReason;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

/// What is answered to every offer that is accepted.
pub const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The end of a flushed block, which messages leave out (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Level 1: 396 bytes become 218 in 6 µs, and a better level gains little on messages of this size.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
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

/// A message's payload, decompressed.
///
/// # Errors
/// `TooBig` beyond `max` bytes, however small the message was; `InvalidText` (1007, invalid payload data) if it is
/// no deflate stream.
pub fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, CloseReason> {
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        let mut out = Vec::new();
        for part in [payload, &TAIL] {
            let mut rest = part;
            loop {
                out.reserve(rest.len().saturating_mul(2).clamp(64, 64 << 10).min(max + 1));
                let before = decompress.total_in();
                let status = decompress.decompress_vec(rest, &mut out, FlushDecompress::Sync);
                rest = &rest[(decompress.total_in() - before) as usize..];
                if out.len() > max {
                    return Err(CloseReason::TooBig);
                }
                match status {
                    Err(_) => return Err(CloseReason::InvalidText),
                    // The peer closed its stream within the message, which it may.
                    Ok(Status::StreamEnd) => return Ok(out),
                    Ok(_) if rest.is_empty() && out.len() < out.capacity() => break,
                    Ok(_) => {}
                }
            }
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(payload in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut out = b"before".to_vec();
            prop_assert!(deflate(&payload, &mut out));
            prop_assert_eq!(&out[..6], b"before");
            prop_assert_eq!(inflate(&out[6..], payload.len()), Ok(payload));
        }

        #[test]
        fn nothing_panics(payload in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = inflate(&payload, 10_000);
        }
    }
}
