//! Splits large response bodies into pieces. The HTTP stack copies each whole chunk of a body into its write buffer, and
//! requests chunks until the buffer has [`WRITE_BUFFER`] bytes. With pieces, it buffers little for a client that does not
//! read.

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

/// The most bytes of a piece.
pub const PIECE: usize = LARGE;
/// The HTTP stack requests no further piece while it has this many bytes to write. With the last piece it has at most
/// twice as many.
pub const WRITE_BUFFER: usize = PIECE;

/// Whether the HTTP stack receives a body in pieces.
pub fn is_large(body: &BoxBody) -> bool {
    matches!(body.size(), BodySize::Sized(length) if length > PIECE as u64)
}

/// Replaces a large refusal (such as all errors of a long list) by `Busy` while large responses have reached half of their
/// limit. A refused request has changed nothing, so the client can repeat it.
pub fn limit_refusal(refusal: HttpResponse, broker: &BrokerHandle, headers: &HeaderMap) -> HttpResponse {
    if is_large(refusal.body()) && broker.in_flight.responses.is_half_full() {
        broker.counters.refused_busy.add(1);
        return Refusal::Busy.response(http_error::accept(headers));
    }
    refusal
}

/// Splits a large body into pieces and counts it. Its length stays known. A small body is unchanged.
pub fn in_pieces(body: BoxBody, responses: Option<&Arc<Responses>>) -> BoxBody {
    if !is_large(&body) {
        return body;
    }
    match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Pieces(match responses {
            Some(responses) => responses.share(bytes),
            None => bytes,
        })),
        // The body consists of pieces already.
        Err(body) => body,
    }
}

/// Splits a piece off the front.
pub fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}

/// A complete body, which is returned in slices.
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
    async fn large_bodies_are_split_without_a_copy() {
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
