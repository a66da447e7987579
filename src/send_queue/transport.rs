//! The transports. A row states what the send queue, the hub and the registry need to know about a transport, so that
//! they do not name transports. A further transport is a folder in `transports/`, a variant and its row.

use crate::protocol::event_stream;
use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::{HEARTBEAT, PING};
use crate::telemetry::in_flight::{BoundedCounter, Sessions};
use bytes::Bytes;
use std::sync::Arc;

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    LongPoll,
    /// Server-sent events.
    Sse,
}

/// How frames are written for a transport, and what happens to a client that does not read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireForm {
    /// Websocket frames, written to the socket at once. A session whose queue is full is closed.
    Frames,
    /// Blocks of an event stream, written like websocket frames.
    Events,
    /// Elements of a JSON list, collected for the response of the session. A session whose queue is full responds; the
    /// client's next request continues there.
    Elements,
}

/// The state of a connection after its session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutSession {
    /// It soon becomes absent, because the end of the session is the end of the client's socket.
    Lingers,
    /// The same, but the client is given the time of its reconnect delay, after which it returns by itself.
    Returns,
    /// It waits for the client's next request.
    Waits,
}

/// Messages that keep an idle session alive.
#[derive(Debug)]
pub struct KeepAlive {
    pub heartbeat: &'static Bytes,
    /// The client must answer it. `None` if clients of the transport send nothing while they listen.
    pub ping: Option<&'static Bytes>,
}

impl KeepAlive {
    /// How long a client may be silent, in ms; `u64::MAX` without a limit. Only a client that answers pings can be
    /// too silent.
    pub fn max_silence_ms(&self, pong_timeout: u64) -> u64 {
        if self.ping.is_some() && pong_timeout > 0 { pong_timeout } else { u64::MAX }
    }
}

/// The properties of a transport.
#[derive(Debug)]
struct TransportRow {
    name: &'static str,
    form: WireForm,
    without_session: WithoutSession,
    keep_alive: Option<KeepAlive>,
    /// The last bytes of a session, if there are any; see [`Transport::close`].
    close: fn(CloseReason, Option<&str>, u32) -> Option<Bytes>,
    /// The counter of open sessions.
    open: fn(&Sessions) -> &Arc<BoundedCounter>,
}

static WEBSOCKET: TransportRow = TransportRow {
    name: "websocket",
    form: WireForm::Frames,
    without_session: WithoutSession::Lingers,
    keep_alive: Some(KeepAlive { heartbeat: &HEARTBEAT, ping: Some(&PING) }),
    close: |reason, text, _| Some(reason.frame_with(text)),
    open: |sessions| &sessions.websocket,
};

static LONG_POLL: TransportRow = TransportRow {
    name: "longpoll",
    form: WireForm::Elements,
    without_session: WithoutSession::Waits,
    keep_alive: None,
    close: |_, _, _| None,
    open: |sessions| &sessions.long_poll,
};

static SSE: TransportRow = TransportRow {
    name: "sse",
    form: WireForm::Events,
    without_session: WithoutSession::Returns,
    keep_alive: Some(KeepAlive { heartbeat: &event_stream::HEARTBEAT, ping: None }),
    close: event_stream::end,
    open: |sessions| &sessions.sse,
};

impl Transport {
    fn row(self) -> &'static TransportRow {
        match self {
            Self::Websocket => &WEBSOCKET,
            Self::LongPoll => &LONG_POLL,
            Self::Sse => &SSE,
        }
    }

    /// The transport with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Websocket, Self::LongPoll, Self::Sse].into_iter().find(|transport| transport.name() == name)
    }

    /// The name in the console and in log lines.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub(super) fn form(self) -> WireForm {
        self.row().form
    }

    pub fn without_session(self) -> WithoutSession {
        self.row().without_session
    }

    /// `None` if sessions are too short to need it.
    pub fn keep_alive(self) -> Option<&'static KeepAlive> {
        self.row().keep_alive.as_ref()
    }

    /// The last bytes of a session that ends for this reason, if there are any. `text` replaces the text of the reason;
    /// `retry_ms` is the reconnect delay of its client, if the client has one.
    pub fn close(self, reason: CloseReason, text: Option<&str>, retry_ms: u32) -> Option<Bytes> {
        (self.row().close)(reason, text, retry_ms)
    }

    /// The counter of the open sessions of this transport.
    pub fn open_sessions(self, sessions: &Sessions) -> &Arc<BoundedCounter> {
        (self.row().open)(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_that_answer_pings_can_be_too_silent() {
        let with_pings = KeepAlive { heartbeat: &HEARTBEAT, ping: Some(&PING) };
        let without = KeepAlive { heartbeat: &HEARTBEAT, ping: None };
        assert_eq!([with_pings.max_silence_ms(500), with_pings.max_silence_ms(0)], [500, u64::MAX]);
        assert_eq!(without.max_silence_ms(500), u64::MAX);
    }
}
