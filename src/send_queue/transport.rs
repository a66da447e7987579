//! The transports. A row states what the send queue, the hub and the registry need to know about a transport, so that
//! they do not name transports. A further transport is a folder in `transports/`, a variant and its row.

use crate::protocol::websocket::close::CloseReason;
use crate::protocol::websocket::{HEARTBEAT, PING};
use bytes::Bytes;

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    LongPoll,
}

/// How frames are written for a transport, and what happens to a client that does not read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireForm {
    /// Websocket frames, written to the socket at once. A session whose queue is full is closed.
    Frames,
    /// Elements of a JSON list, collected for the response of the session. A session whose queue is full responds; the
    /// client's next request continues there.
    Elements,
}

/// The state of a connection after its session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutSession {
    /// It soon becomes absent, because the end of the session is the end of the client's socket.
    Lingers,
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
    /// The last bytes of a session, if there are any.
    close: Option<fn(CloseReason, Option<&str>) -> Bytes>,
}

static WEBSOCKET: TransportRow = TransportRow {
    name: "websocket",
    form: WireForm::Frames,
    without_session: WithoutSession::Lingers,
    keep_alive: Some(KeepAlive { heartbeat: &HEARTBEAT, ping: Some(&PING) }),
    close: Some(CloseReason::frame_with),
};

static LONG_POLL: TransportRow = TransportRow {
    name: "longpoll",
    form: WireForm::Elements,
    without_session: WithoutSession::Waits,
    keep_alive: None,
    close: None,
};

impl Transport {
    fn row(self) -> &'static TransportRow {
        match self {
            Self::Websocket => &WEBSOCKET,
            Self::LongPoll => &LONG_POLL,
        }
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

    /// The last bytes of a session that ends for this reason, if there are any. `text` replaces the text of the reason.
    pub(super) fn close(self, reason: CloseReason, text: Option<&str>) -> Option<Bytes> {
        self.row().close.map(|close| close(reason, text))
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
