//! Large response bodies in pieces. The HTTP stack copies each chunk of a body whole into its write buffer, and takes
//! chunks until the buffer has [`WRITE_BUFFER`] bytes. Given pieces, it holds little of what a client does not read.

use crate::broker::handle::BrokerHandle;
use crate::http_error::{self, Refusal};
use crate::limits::responses::{LARGE, Responses};
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes of a piece at most.
pub const PIECE: usize = LARGE;
/// The HTTP stack takes no further piece while it has so many bytes to write: with the last piece these are at most
/// twice as many.
pub const WRITE_BUFFER: usize = PIECE;

/// Whether a body is given to the HTTP stack in pieces.
pub fn is_large(body: &BoxBody) -> bool {
    matches!(body.size(), BodySize::Sized(length) if length > PIECE as u64)
}

/// The same refusal; `Busy` in the place of a large one (all that is wrong with a long list) while half of what large
/// responses may be waits for its clients. Nothing of a refused request is done, so it may come again.
pub fn modest(refusal: HttpResponse, broker: &BrokerHandle, headers: &HeaderMap) -> HttpResponse {
    if is_large(refusal.body()) && broker.in_flight.responses.is_half_full() {
        broker.counters.refused_busy.add(1);
        return Refusal::Busy.response(http_error::accept(headers));
    }
    refusal
}

/// The same body; in pieces, and counted, if it is large. Its length stays known.
pub fn in_pieces(body: BoxBody, responses: Option<&Arc<Responses>>) -> BoxBody {
    if !is_large(&body) {
        return body;
    }
    match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Pieces(match responses {
            Some(responses) => responses.share(bytes),
            None => bytes,
        })),
        // It comes in pieces already.
        Err(body) => body,
    }
}

/// A piece from the front.
pub fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}

/// A complete body, which is given away in slices.
struct Pieces(Bytes);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let rest = &mut self.get_mut().0;
        Poll::Ready((!rest.is_empty()).then(|| Ok(piece(rest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn lengths(body: BoxBody) -> Vec<usize> {
        let mut body = Box::pin(in_pieces(body, None));
        let mut lengths = Vec::new();
        while let Some(piece) = poll_fn(|context| body.as_mut().poll_next(context)).await {
            lengths.push(piece.unwrap().len());
        }
        lengths
    }

    #[actix_web::test]
    async fn large_bodies_come_in_pieces_of_one_memory() {
        assert_eq!(lengths(BoxBody::new(vec![0; PIECE])).await, [PIECE]);
        assert_eq!(lengths(BoxBody::new(vec![0; 2 * PIECE + 1])).await, [PIECE, PIECE, 1]);
        assert_eq!(lengths(BoxBody::new(())).await, [0; 0]);
        let whole = Bytes::from(vec![7; 3 * PIECE]);
        let body = in_pieces(BoxBody::new(whole.clone()), None);
        assert_eq!(body.size(), BodySize::Sized(3 * PIECE as u64));
        let mut body = Box::pin(body);
        let first = poll_fn(|context| body.as_mut().poll_next(context)).await.unwrap().unwrap();
        assert_eq!(first.as_ptr(), whole.as_ptr());
    }
}
