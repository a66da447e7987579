//! The reasons for closing websockets: one table of code, text and counter.

use super::{Opcode, frame};
use bytes::Bytes;
use std::borrow::Cow;

/// The most bytes of a close frame's text: a control frame has at most 125 (RFC 6455, section 5.5).
const MAX_TEXT: usize = 123;

/// The reason why a websocket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The connection is unknown or was ended through `/disconnect`: 1000, like the original.
    Ended,
    /// The server shuts down: 1001 (RFC 6455).
    GoingAway,
    /// The server restarts, and the client may reconnect after this many ms: 1012 (service restart, IANA's registry).
    Restarting(u16),
    /// The client violated the protocol: 1002 (RFC 6455).
    Protocol,
    /// Text that is not UTF-8: 1007 (RFC 6455).
    InvalidText,
    /// A message over the limit: 1009 (RFC 6455).
    TooBig,
    /// The client closed the websocket; its code is echoed.
    ByPeer(Option<u16>),
    /// A later session attached to the same connection: 4001.
    TakenOver,
    /// The client does not read and its send queue is full: 4002.
    TooSlow,
    /// The client sent nothing, not even a pong: 4003.
    Silent,
    /// The application ended the connection: 4004.
    EndedByApplication,
    /// The client needs another token: 4005.
    NeedsToken,
    /// The application blocked the user: 4006.
    Blocked,
    /// The server has no capacity for another session: 1013 (try again later).
    Busy,
}

/// Every reason for which the server closes a websocket, when it applies, and what the client should do.
pub const REASONS: [(CloseReason, &str, &str); 13] = [
    (CloseReason::Ended, "the connection was ended, or is unknown", "connect again"),
    (
        CloseReason::GoingAway,
        "the server is shutting down",
        "reconnect with the same id; if it is unknown, connect again",
    ),
    (
        CloseReason::Restarting(2_000),
        "the server is restarting and closes its sessions one after the other",
        "reconnect after that time with the same id; if it is unknown, connect again",
    ),
    (CloseReason::Protocol, "the client violated the websocket protocol", "fix the client"),
    (CloseReason::InvalidText, "the client sent text that is not valid UTF-8", "fix the client"),
    (CloseReason::TooBig, "the client sent more than `max_client_message_bytes`", "fix the client"),
    (CloseReason::Busy, "the server has no capacity for another session", "reconnect later"),
    (CloseReason::TakenOver, "a later socket or poll attached with the same id", "nothing"),
    (
        CloseReason::TooSlow,
        "the client does not read, and its queue has reached `max_queued_bytes`",
        "reconnect with the same id",
    ),
    (
        CloseReason::Silent,
        "the client sent nothing, not even a pong, for `pong_timeout`",
        "reconnect with the same id",
    ),
    (CloseReason::EndedByApplication, "the application ended the connection with `/end`", "nothing"),
    (
        CloseReason::NeedsToken,
        "the token of the session expired, or the application requests another one with `/end`",
        "reconnect with another token",
    ),
    (CloseReason::Blocked, "the application blocked the user with `/block` or `/end`", "nothing"),
];

impl CloseReason {
    /// All kinds of reasons, in the order in which they are counted and shown.
    pub const ALL: [Self; 14] = [
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
        Self::EndedByApplication,
        Self::NeedsToken,
        Self::Blocked,
    ];

    /// The name of the counter.
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
            CloseReason::EndedByApplication => "ended_by_application",
            CloseReason::NeedsToken => "needs_token",
            CloseReason::Blocked => "blocked",
        }
    }

    /// A description of when the reason applies.
    pub fn occasion(self) -> &'static str {
        let row = REASONS.iter().find(|(known, ..)| known.name() == self.name());
        row.map_or("the client closed the websocket with a code of its choice", |(_, when, _)| when)
    }

    /// The status code of the close frame. `None` for a close frame without a code.
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
            CloseReason::EndedByApplication => Some(4004),
            CloseReason::NeedsToken => Some(4005),
            CloseReason::Blocked => Some(4006),
        }
    }

    /// Whether a next session of the connection delivers the frames that the client has not received. Frames still sent
    /// by the closed session would then be received twice.
    pub fn has_next_session(self) -> bool {
        matches!(self, Self::TakenOver | Self::Protocol | Self::InvalidText | Self::TooBig | Self::NeedsToken)
    }

    /// The text of the close frame, at most 123 bytes. Empty where the original sends none.
    pub fn text(self) -> Cow<'static, str> {
        if let CloseReason::Restarting(ms) = self {
            // The browser library reads the number; other clients show or ignore it.
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
            CloseReason::EndedByApplication => "ended by the application",
            CloseReason::NeedsToken => "token expired",
            CloseReason::Blocked => "blocked",
        })
    }

    pub fn frame(self) -> Bytes {
        self.frame_with(None)
    }

    /// The close frame. `text` replaces the reason's own text; the frame has room for 123 bytes of it.
    pub fn frame_with(self, text: Option<&str>) -> Bytes {
        let mut payload = Vec::new();
        if let Some(code) = self.code() {
            let text = text.map_or_else(|| self.text(), Cow::Borrowed);
            payload.extend_from_slice(&code.to_be_bytes());
            let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end));
            payload.extend_from_slice(&text.as_bytes()[..end.unwrap_or_default()]);
        }
        frame(Opcode::Close, &payload)
    }
}

/// Whether a client may send this code in a close frame (RFC 6455, section 7.4).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_frames_contain_code_and_text() {
        assert_eq!(&CloseReason::Ended.frame()[..], b"\x88\x02\x03\xe8");
        assert_eq!(&CloseReason::ByPeer(None).frame()[..], b"\x88\x00");
        assert_eq!(&CloseReason::TooSlow.frame()[..], b"\x88\x0a\x0f\xa2too slow");
        let restarting = CloseReason::Restarting(2_000);
        assert_eq!(restarting.code(), Some(1012));
        assert_eq!(restarting.text(), "server is restarting; retry after 2000 ms");
        assert_eq!(&restarting.frame()[4..], restarting.text().as_bytes());
        assert_eq!(&CloseReason::Blocked.frame()[..], b"\x88\x09\x0f\xa6blocked");
    }

    #[test]
    fn another_text_is_cut_off_where_the_frame_ends() {
        let frame = |text: &str| CloseReason::EndedByApplication.frame_with(Some(text));
        assert_eq!(&frame("signed out")[..], b"\x88\x0c\x0f\xa4signed out");
        assert_eq!(&frame("")[..], b"\x88\x02\x0f\xa4");
        assert_eq!((frame(&"x".repeat(200)).len(), frame(&"é".repeat(100)).len()), (127, 126));
    }

    #[test]
    fn a_close_reason_is_small() {
        assert_eq!(size_of::<Option<CloseReason>>(), 4);
    }

    #[test]
    fn clients_may_send_only_valid_codes() {
        assert!([1000, 1003, 1007, 1011, 1014, 3000, 4999].into_iter().all(may_be_sent));
        assert!(![0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535].into_iter().any(may_be_sent));
    }
}
