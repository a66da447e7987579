//! The beginning of an event stream: the head of the response, the client's reconnect delay and a comment.

use crate::config::Settings;
use crate::protocol::event_stream;
use bytes::Bytes;

/// The headers of every event stream. Without them, proxies would collect, change or store events.
pub const HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
];

/// The bytes of a response up to its first event. `more` are further header lines.
pub fn head(more: &[u8], retry_ms: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + more.len());
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in HEADERS {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"connection: close\r\n");
    out.extend_from_slice(more);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&opening(retry_ms));
    out
}

/// The first block of a stream. Clients ignore the comment; it shows that the stream is not delayed on its way.
pub fn opening(retry_ms: u32) -> Bytes {
    format!("{}:\n\n", event_stream::retry(retry_ms)).into()
}

/// The reconnect delay of a session, in ms: clients that were closed together return at different times.
pub fn retry_ms(settings: &Settings) -> u32 {
    let shortest = u32::try_from(settings.sse_retry_ms).unwrap_or(u32::MAX / 2);
    shortest + rand::random_range(0..=shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_the_reconnect_delay_and_a_comment() {
        let text = String::from_utf8(head(b"access-control-allow-origin: *\r\n", 1_370)).unwrap();
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
            cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\nx-content-type-options: nosniff\r\n\
            connection: close\r\naccess-control-allow-origin: *\r\n\r\nretry: 1370\n:\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn reconnect_delays_are_spread() {
        let settings = Settings { sse_retry_ms: 100, ..Settings::default() };
        let delays: Vec<u32> = (0..200).map(|_| retry_ms(&settings)).collect();
        assert!(delays.iter().all(|delay| (100..=200).contains(delay)));
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
