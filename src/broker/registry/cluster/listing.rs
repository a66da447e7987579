//! Connections of other nodes in lists of the console, in the form in which nodes send them to each other. Pure.

use crate::broker::requests::{ConnectionDetails, ConnectionRow, Phase, SessionFigures, UserDetails};
use crate::protocol::event::UserView;
use crate::protocol::ids::{ConnectionSlot, HubId, SlotKey, UserId};
use crate::send_queue::Transport;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// The place of sessions at other nodes: no hub of this process has this number.
const ELSEWHERE: ConnectionSlot =
    ConnectionSlot { hub: HubId(u16::MAX), slot: SlotKey { index: u32::MAX, generation: 0 } };

/// A connection with the data of its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedConnection {
    id: Uuid,
    pub user: String,
    user_uuid: Uuid,
    state: String,
    public_state: String,
    channels: usize,
    phase: ListedPhase,
    session: Option<SessionFigures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ListedPhase {
    Waiting,
    Lingering,
    /// The name of the transport.
    Attached(String),
    Releasing,
    Away,
}

/// The details of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedDetails {
    connection: ListedConnection,
    channels: Vec<String>,
    token_expires_unix: Option<u64>,
}

/// A user's connections at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedUser {
    pub present: usize,
    pub total: usize,
    /// The ids of some of them.
    pub connections: Vec<Uuid>,
}

impl ListedPhase {
    fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Waiting => Self::Waiting,
            Phase::Lingering => Self::Lingering,
            Phase::Attached(_, transport) => Self::Attached(transport.name().to_owned()),
            Phase::Releasing(_) => Self::Releasing,
            Phase::Away => Self::Away,
        }
    }

    /// The phase as a list shows it. A transport that this version does not know is not shown.
    fn read(&self) -> Phase {
        match self {
            Self::Waiting => Phase::Waiting,
            Self::Lingering => Phase::Lingering,
            Self::Attached(name) => match Transport::named(name) {
                Some(transport) => Phase::Attached(ELSEWHERE, transport),
                None => Phase::Waiting,
            },
            Self::Releasing => Phase::releasing(ELSEWHERE),
            Self::Away => Phase::Away,
        }
    }
}

impl ListedConnection {
    pub fn of(row: &ConnectionRow, session: Option<SessionFigures>) -> Self {
        Self {
            id: row.id,
            user: row.user.name.to_string(),
            user_uuid: row.user_uuid,
            state: row.user.state().to_owned(),
            public_state: row.user.public_state().to_owned(),
            channels: row.channels,
            phase: ListedPhase::of(&row.phase),
            session,
        }
    }

    /// About how many bytes it takes on its way.
    pub fn size(&self) -> usize {
        const REST: usize = 300;
        REST + self.user.len() + self.state.len() + self.public_state.len()
    }

    /// What others see of its user, who has this id at this node.
    pub fn view(&self, id: UserId) -> UserView {
        UserView::new(id, self.user.as_str().into(), &self.state, &self.public_state)
    }

    /// The row of a list, and the data of the session. `node` is the name of the node that has the connection.
    pub fn read(self, user: Arc<UserView>, node: &Arc<str>) -> (ConnectionRow, Option<SessionFigures>) {
        let row = ConnectionRow {
            id: self.id,
            user,
            user_uuid: self.user_uuid,
            channels: self.channels,
            phase: self.phase.read(),
            node: Some(node.clone()),
        };
        (row, self.session)
    }
}

impl ListedDetails {
    pub fn of(details: &ConnectionDetails, session: Option<SessionFigures>) -> Self {
        Self {
            connection: ListedConnection::of(&details.row, session),
            channels: details.channels.iter().map(ToString::to_string).collect(),
            token_expires_unix: details.token_expires_unix,
        }
    }

    pub fn read(self, node: &Arc<str>) -> (ConnectionDetails, Option<SessionFigures>) {
        let user = Arc::new(self.connection.view(UserId(u32::MAX)));
        let (row, session) = self.connection.read(user, node);
        let channels = self.channels.into_iter().map(Into::into).collect();
        (ConnectionDetails { row, channels, token_expires_unix: self.token_expires_unix }, session)
    }
}

impl ListedUser {
    pub fn of(details: &UserDetails) -> Self {
        let UserDetails { present, total, connections, .. } = details;
        Self { present: *present, total: *total, connections: connections.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(phase: Phase) -> ConnectionRow {
        ConnectionRow {
            id: Uuid::from_u128(1),
            user: Arc::new(UserView::new(UserId(7), "ada".into(), "{\"a\":1}", "{}")),
            user_uuid: Uuid::from_u128(2),
            channels: 3,
            phase,
            node: None,
        }
    }

    #[test]
    fn a_connection_is_read_as_it_was_written() {
        let at = ConnectionSlot { hub: HubId(0), slot: SlotKey { index: 1, generation: 2 } };
        let session = SessionFigures {
            since_ms: 1,
            last_received_ms: 2,
            queued_bytes: 3,
            compressed: true,
            address: "192.0.2.1".parse().ok(),
        };
        let node: Arc<str> = "north".into();
        for (phase, shown) in [
            (Phase::Waiting, Phase::Waiting),
            (Phase::Lingering, Phase::Lingering),
            (Phase::Attached(at, Transport::Sse), Phase::Attached(ELSEWHERE, Transport::Sse)),
            (Phase::releasing(at), Phase::releasing(ELSEWHERE)),
            (Phase::Away, Phase::Away),
        ] {
            let sent = ListedConnection::of(&row(phase), Some(session));
            let received: ListedConnection =
                serde_json::from_slice(&serde_json::to_vec(&sent).unwrap()).unwrap();
            assert_eq!(received, sent);
            let view = Arc::new(received.view(UserId(9)));
            let (read, figures) = received.read(view, &node);
            assert_eq!((read.phase, &*read.user.name, read.user.state()), (shown, "ada", "{\"a\":1}"));
            assert_eq!((read.node.as_deref(), figures), (Some("north"), Some(session)));
        }
    }
}
