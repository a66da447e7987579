//! Why sockets are closed: one table of code, text and counter.

use super::{Opcode, frame};
use bytes::Bytes;
use std::borrow::Cow;

/// The reasons for which this server closes a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The connection is unknown or was ended through `/disconnect`: 1000, as the original closes.
    Ended,
    /// The server stops: 1001 (RFC 6455).
    GoingAway,
    /// The server stops, and another may be there so many ms later: 1012 (service restart, IANA's registry).
    Restarting(u16),
    /// The peer broke the protocol: 1002 (RFC 6455).
    Protocol,
    /// Text that is no UTF-8: 1007 (RFC 6455).
    InvalidText,
    /// A message over the limit: 1009 (RFC 6455).
    TooBig,
    /// The peer said goodbye; its code is echoed.
    ByPeer(Option<u16>),
    /// A later socket attached to the same connection: 4001.
    TakenOver,
    /// The peer does not read and its queue is full: 4002.
    TooSlow,
    /// Nothing was heard from the peer, not even a pong: 4003.
    Silent,
    /// The server is full and cannot attach another session: 1013 (try again later).
    Busy,
}

/// Every reason of the server's own, when it applies, and what the client should do then.
pub const REASONS: [(CloseReason, &str, &str); 10] = [
    (CloseReason::Ended, "the connection was ended, or is not known", "connect anew"),
    (CloseReason::GoingAway, "the server is about to end", "come back with the same id, then connect anew"),
    (
        CloseReason::Restarting(2_000),
        "the server stops and sends its sessions away, one after the other",
        "come back after that time with the same id, then connect anew",
    ),
    (CloseReason::Protocol, "the client broke the websocket protocol", "mend the client"),
    (CloseReason::InvalidText, "the client sent broken text", "mend the client"),
    (CloseReason::TooBig, "the client sent more than `max_client_message_bytes`", "mend the client"),
    (CloseReason::Busy, "the server has no room for another session", "come back a while later"),
    (CloseReason::TakenOver, "a later socket or poll came with the same id", "nothing"),
    (
        CloseReason::TooSlow,
        "the client does not read, `max_queued_bytes` wait for it",
        "come back with the same id",
    ),
    (CloseReason::Silent, "nothing, not even a pong, came for `pong_timeout`", "come back with the same id"),
];

impl CloseReason {
    /// One of each kind, in the order in which they are counted and shown.
    pub const ALL: [Self; 11] = [
        Self::Ended,
        Self::GoingAway,
        Self::Protocol,
        Self::InvalidText,
        Self::TooBig,
        Self::ByPeer(None),
        Self::TakenOver,
        Self::TooSlow,
        Self::Silent,
        Self::Busy,
        Self::Restarting(0),
    ];

    /// The name of its counter.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Ended => "ended",
            CloseReason::GoingAway => "going_away",
            CloseReason::Protocol => "protocol",
            CloseReason::InvalidText => "invalid_text",
            CloseReason::TooBig => "too_big",
            CloseReason::ByPeer(_) => "by_peer",
            CloseReason::TakenOver => "taken_over",
            CloseReason::TooSlow => "too_slow",
            CloseReason::Silent => "silent",
            CloseReason::Busy => "busy",
            CloseReason::Restarting(_) => "restarting",
        }
    }

    /// When it applies.
    pub fn occasion(self) -> &'static str {
        let row = REASONS.iter().find(|(known, ..)| known.name() == self.name());
        row.map_or("the peer said goodbye, with a code of its own", |(_, when, _)| when)
    }

    /// Status code of the close frame; none to send one without a code.
    pub fn code(self) -> Option<u16> {
        match self {
            CloseReason::Ended => Some(1000),
            CloseReason::GoingAway => Some(1001),
            CloseReason::Protocol => Some(1002),
            CloseReason::InvalidText => Some(1007),
            CloseReason::TooBig => Some(1009),
            CloseReason::Restarting(_) => Some(1012),
            CloseReason::Busy => Some(1013),
            CloseReason::ByPeer(code) => code,
            CloseReason::TakenOver => Some(4001),
            CloseReason::TooSlow => Some(4002),
            CloseReason::Silent => Some(4003),
        }
    }

    /// Whether a session closed for this leaves its connection to another one, which gets what the peer has not got: what
    /// is still sent here, the peer would get twice.
    pub fn has_next_session(self) -> bool {
        matches!(self, Self::TakenOver | Self::Protocol | Self::InvalidText | Self::TooBig)
    }

    /// Text of the close frame, at most 123 bytes. Empty where the original sends none.
    pub fn text(self) -> Cow<'static, str> {
        if let CloseReason::Restarting(ms) = self {
            // The number is for the browser library; others show or skip it.
            return format!("server is restarting; retry after {ms} ms").into();
        }
        Cow::Borrowed(match self {
            CloseReason::Ended | CloseReason::ByPeer(_) | CloseReason::Restarting(_) => "",
            CloseReason::GoingAway => "server is stopping",
            CloseReason::Protocol => "protocol error",
            CloseReason::InvalidText => "invalid UTF-8",
            CloseReason::TooBig => "message too big",
            CloseReason::Busy => "server is busy",
            CloseReason::TakenOver => "taken over by another socket",
            CloseReason::TooSlow => "too slow",
            CloseReason::Silent => "nothing heard",
        })
    }

    /// The close frame.
    pub fn frame(self) -> Bytes {
        let mut payload = Vec::new();
        if let Some(code) = self.code() {
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(self.text().as_bytes());
        }
        frame(Opcode::Close, &payload)
    }
}

/// Whether a peer may send this code in a close frame (RFC 6455, section 7.4).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(&CloseReason::Ended.frame()[..], b"\x88\x02\x03\xe8");
        assert_eq!(&CloseReason::ByPeer(None).frame()[..], b"\x88\x00");
        assert_eq!(&CloseReason::TooSlow.frame()[..], b"\x88\x0a\x0f\xa2too slow");
        let restarting = CloseReason::Restarting(2_000);
        assert_eq!(restarting.code(), Some(1012));
        assert_eq!(restarting.text(), "server is restarting; retry after 2000 ms");
        assert_eq!(&restarting.frame()[4..], restarting.text().as_bytes());
    }

    #[test]
    fn every_session_has_one_and_it_is_small() {
        assert_eq!(size_of::<Option<CloseReason>>(), 4);
    }

    #[test]
    fn codes_a_peer_may_send() {
        assert!([1000, 1003, 1007, 1011, 1014, 3000, 4999].into_iter().all(may_be_sent));
        assert!(![0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535].into_iter().any(may_be_sent));
    }
}
