//! The body of a poll's response: `[`, an event, `,`, an event, `]`, made of the bytes that all sessions share. Nothing
//! is copied, and the client counts as having the events when the kernel has accepted the last byte.

use super::session::{Evicted, Receipt};
use crate::connection::body_pieces::{PIECE, piece};
use crate::connection::exchange::Taken;
use crate::send_queue::ResponsePart;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// JSON is not a subset of older JavaScript: in a script, U+2028 and U+2029 end a line. Each takes three bytes and
/// begins with these two.
const LINE_END: &[u8] = &[0xe2, 0x80];
const LINE_END_BYTES: usize = 3;

/// See the module's description.
pub struct EventList {
    receipt: Option<(Receipt, Taken)>,
    /// The function that a script calls with the list.
    callback: Option<String>,
    size: usize,
    step: BodyStep,
    /// The rest of the text that the last step began.
    rest: Bytes,
}

#[derive(Clone, Copy)]
enum BodyStep {
    Open,
    /// Continue with the part at this index.
    Part(usize),
    /// Let the connection flush its buffer.
    Flush,
    /// The connection polls again, so its buffer is flushed. A client that closes its connection before this step
    /// receives its events with the next poll.
    Done,
}

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client did not read its events, and the server freed their memory")
    }
}

impl std::error::Error for Evicted {}

impl EventList {
    /// The list of the events in `receipt`, or an empty list. With a callback, the list is the argument of a call.
    pub fn new(receipt: Option<(Receipt, Taken)>, callback: Option<&str>) -> Self {
        let parts = receipt.iter().flat_map(|(receipt, _)| receipt.parts());
        let size = size(parts, callback);
        Self {
            receipt,
            callback: callback.map(str::to_owned),
            size,
            step: BodyStep::Open,
            rest: Bytes::new(),
        }
    }

    /// The text of the next step; `None` at the end.
    fn advance(&mut self) -> Result<Option<Bytes>, Evicted> {
        let index = match self.step {
            BodyStep::Open => {
                self.step = BodyStep::Part(0);
                return Ok(Some(opening(self.callback.as_deref())));
            }
            BodyStep::Part(index) => index,
            BodyStep::Flush | BodyStep::Done => return Ok(None),
        };
        let part = self.receipt.as_ref().map_or(Ok(None), |(receipt, _)| receipt.part(index))?;
        let Some(part) = part else {
            self.step = BodyStep::Flush;
            return Ok(Some(closing(self.callback.as_deref())));
        };
        self.step = BodyStep::Part(index + 1);
        if index == 0 || part.is_rest {
            return Ok(Some(part.bytes));
        }
        self.rest = part.bytes;
        Ok(Some(Bytes::from_static(b",")))
    }

    fn next_piece(&mut self) -> Result<Option<Bytes>, Evicted> {
        if self.rest.is_empty()
            && let Some(text) = self.advance()?
        {
            // A comma is sent before the event that follows it.
            if !self.rest.is_empty() {
                return Ok(Some(text));
            }
            self.rest = text;
        }
        Ok(match self.callback {
            _ if self.rest.is_empty() => None,
            None => Some(piece(&mut self.rest)),
            Some(_) => Some(script_piece(&mut self.rest)),
        })
    }
}

impl MessageBody for EventList {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size as u64)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        match this.next_piece() {
            Ok(None) => {}
            Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
            Err(withdrawn) => return Poll::Ready(Some(Err(withdrawn.into()))),
        }
        if let BodyStep::Flush = this.step {
            // The connection writes to its socket only when the body is pending.
            this.step = BodyStep::Done;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_taken = match &this.receipt {
            Some((_, taken)) => ready!(taken.poll()),
            None => false,
        };
        if let Some((receipt, _)) = this.receipt.take().filter(|_| is_taken) {
            receipt.confirm();
        }
        Poll::Ready(None)
    }

    fn boxed(self) -> BoxBody {
        BoxBody::new(self)
    }
}

fn opening(callback: Option<&str>) -> Bytes {
    match callback {
        Some(name) => format!("{name}([").into(),
        None => Bytes::from_static(b"["),
    }
}

fn closing(callback: Option<&str>) -> Bytes {
    Bytes::from_static(if callback.is_some() { b"])" } else { b"]" })
}

fn size(parts: impl Iterator<Item = ResponsePart>, callback: Option<&str>) -> usize {
    let mut size = opening(callback).len() + closing(callback).len();
    for (index, part) in parts.enumerate() {
        size += part.bytes.len() + usize::from(index > 0 && !part.is_rest);
        if callback.is_some() {
            size += line_ends(&part.bytes).map(|(_, escaped)| escaped.len() - LINE_END_BYTES).sum::<usize>();
        }
    }
    size
}

/// The line ends in a script's text, and their replacements.
fn line_ends(text: &[u8]) -> impl Iterator<Item = (usize, &'static str)> {
    memchr::memmem::find_iter(text, LINE_END).filter_map(|at| match text.get(at + 2) {
        Some(0xa8) => Some((at, "\\u2028")),
        Some(0xa9) => Some((at, "\\u2029")),
        _ => None,
    })
}

/// The next piece of the text in the form that a script requires: each line end is a separate piece.
fn script_piece(rest: &mut Bytes) -> Bytes {
    let seen = &rest[..rest.len().min(PIECE + LINE_END_BYTES - 1)];
    let first = line_ends(seen).next();
    match first {
        Some((0, escaped)) => {
            *rest = rest.slice(LINE_END_BYTES..);
            Bytes::from_static(escaped.as_bytes())
        }
        Some((plain, _)) => rest.split_to(plain),
        None => piece(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn script(text: &[u8]) -> (Vec<u8>, usize) {
        let mut rest = Bytes::copy_from_slice(text);
        let part = ResponsePart { bytes: rest.clone(), is_rest: false };
        let mut out = Vec::new();
        while !rest.is_empty() {
            let piece = script_piece(&mut rest);
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            out.extend_from_slice(&piece);
        }
        (out, size(std::iter::once(part), Some("cb")) - "cb([])".len())
    }

    #[test]
    fn line_ends_are_escaped_in_a_script() {
        assert_eq!(script("{\"b\":\"\u{2028}\u{2029}x\"}".as_bytes()).0, b"{\"b\":\"\\u2028\\u2029x\"}");
        for before in PIECE - 4..PIECE + 4 {
            let text = format!("{}\u{2028}{}", "x".repeat(before), "y".repeat(PIECE));
            let (out, size) = script(text.as_bytes());
            assert_eq!(out, text.replace('\u{2028}', "\\u2028").as_bytes(), "{before}");
            assert_eq!(out.len(), size);
        }
    }

    #[test]
    fn an_element_in_two_parts_has_no_comma_inside() {
        let part = |bytes, is_rest| ResponsePart { bytes: Bytes::from_static(bytes), is_rest };
        let parts = [part(b"{\"a\":1", false), part(b",\"catchup\":true}", true), part(b"{}", false)];
        let whole = b"cb([{\"a\":1,\"catchup\":true},{}])";
        assert_eq!(size(parts.clone().into_iter(), Some("cb")), whole.len());
        assert_eq!(size(parts.into_iter(), None), whole.len() - 4);
        assert_eq!((size(std::iter::empty(), None), size(std::iter::empty(), Some("cb"))), (2, 6));
    }

    proptest! {
        #[test]
        fn scripts_equal_the_text_with_escaped_line_ends(text in "[a\u{2028}\u{2029}\u{2030}é]{0,40}") {
            let expected = text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
            let (out, size) = script(text.as_bytes());
            prop_assert_eq!((String::from_utf8(out).unwrap(), size), (expected.clone(), expected.len()));
        }
    }
}
