//! Read access for the console: lists in slices, so that long lists do not delay other requests, and single records.

use super::state::{ConnectionRecord, Effect, RegistryState};
use crate::broker::requests::{
    BrowseConnections, ConnectionDetails, ConnectionRow, ConnectionSlice, Counts, EndedConnections, Ending,
    KnownUsers, MAX_DETAILS, UserDetails,
};
use crate::protocol::event::UserView;
use crate::protocol::ids::{ChannelId, UserId};
use std::sync::Arc;
use uuid::Uuid;

impl RegistryState {
    /// The numbers of users, connections and channels.
    pub fn stats(&self) -> Counts {
        let (remembered_users, active_users, connections) = self.counts();
        Counts { remembered_users, active_users, connections, channels: self.channels.len() }
    }

    /// Whether a connection and a user exist.
    pub fn known(&self, conn_id: Option<Uuid>, user: Option<&str>) -> KnownUsers {
        KnownUsers {
            connection: conn_id.is_some_and(|id| self.connection(id).is_some()),
            user: user.is_some_and(|name| self.user_id(name).is_some()),
        }
    }

    /// What others see of a user.
    pub fn shown(&self, user: &str) -> Option<Arc<UserView>> {
        Some(self.user(self.user_id(user)?)?.view.clone())
    }

    /// The names of channels, in the order of the request.
    pub fn channel_names(&self, ids: &[ChannelId]) -> Vec<Option<Arc<str>>> {
        ids.iter().map(|id| Some(self.channel(*id)?.identity.name.clone())).collect()
    }

    /// A slice of the channels, oldest first.
    pub fn browse_channels(&self, from: usize, count: usize) -> impl Iterator<Item = ChannelId> + use<> {
        self.all_channels().skip(from).take(count)
    }

    /// A slice of the connections.
    pub fn browse_connections(&self, browse: &BrowseConnections) -> ConnectionSlice {
        let Some(filter) = self.filter(browse) else {
            return ConnectionSlice { rows: Vec::new(), next: None };
        };
        let end = browse.from.saturating_add(browse.count).min(self.connections.capacity());
        let records = (browse.from..end).filter_map(|index| self.connections.get(index));
        let rows =
            records.filter(|record| filter.admits(record)).filter_map(|record| self.row(record)).collect();
        ConnectionSlice { rows, next: (end < self.connections.capacity()).then_some(end) }
    }

    /// The filter of the request. `None` if the channel or the user does not exist.
    fn filter(&self, browse: &BrowseConnections) -> Option<ListQuery> {
        let channel = match &browse.channel {
            Some(name) => Some(self.channel_id(name)?),
            None => None,
        };
        let user = match &browse.user {
            Some(name) => Some(self.user_id(name)?),
            None => None,
        };
        Some(ListQuery { channel, user })
    }

    fn row(&self, record: &ConnectionRecord) -> Option<ConnectionRow> {
        let user = self.user(record.user)?;
        Some(ConnectionRow {
            id: record.id,
            user: user.view.clone(),
            user_uuid: user.uuid,
            channels: record.channels.len(),
            phase: record.phase.clone(),
            node: None,
        })
    }

    /// The details of a connection.
    pub fn describe_connection(&self, id: Uuid) -> Option<ConnectionDetails> {
        let (key, record) = self.connection(id)?;
        let names = record.channels.iter().filter_map(|id| self.channel(*id));
        let mut channels: Vec<_> = names.map(|channel| channel.identity.name.clone()).collect();
        channels.sort_unstable();
        channels.truncate(MAX_DETAILS);
        let token_expires_unix = self.expiries.unix(key);
        Some(ConnectionDetails { row: self.row(record)?, channels, token_expires_unix })
    }

    /// The details of a user.
    pub fn describe_user(&self, name: &str) -> Option<UserDetails> {
        let user = self.user(self.user_id(name)?)?;
        let records = user.connections.iter().filter_map(|key| self.connections.get(key.index as usize));
        let mut connections: Vec<_> = records.take(MAX_DETAILS).map(|record| record.id).collect();
        connections.sort_unstable();
        Some(UserDetails {
            view: user.view.clone(),
            uuid: user.uuid,
            public_keys: user.public_keys().to_vec(),
            present: user.present as usize,
            total: user.connections.iter().count(),
            connections,
        })
    }

    /// Ends at most `at_most` connections of a user. `None` if the user does not exist.
    pub fn disconnect_user(
        &mut self,
        name: &str,
        at_most: usize,
        why: &Ending,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Option<EndedConnections> {
        let id = self.user_id(name)?;
        let keys = self.user(id)?.connections.iter().take(at_most);
        let records = keys.filter_map(|key| self.connections.get(key.index as usize));
        let ids: Vec<_> = records.map(|record| record.id).collect();
        let ended = ids.into_iter().filter(|conn_id| self.disconnect(*conn_id, why, now, effects)).count();
        let left = self.user(id).map_or(0, |user| user.connections.iter().count());
        Some(EndedConnections { ended, left })
    }
}

struct ListQuery {
    channel: Option<ChannelId>,
    user: Option<UserId>,
}

impl ListQuery {
    fn admits(&self, record: &ConnectionRecord) -> bool {
        self.user.is_none_or(|user| record.user == user)
            && self.channel.is_none_or(|channel| record.channels.contains(&channel))
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::ConnectionTimes;
    use super::*;
    use crate::broker::requests::Connect;
    use crate::protocol::websocket::close::CloseReason;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn connect(state: &mut RegistryState, user: &str, id: u128, channels: &[&str]) {
        let request = Connect {
            username: user.into(),
            conn_id: Some(Uuid::from_u128(id)),
            channels: channels.iter().map(|name| (*name).into()).collect(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
            channel_configs: Vec::new(),
        };
        state.connect(request, 0, &mut Vec::new()).unwrap();
    }

    fn state() -> RegistryState {
        RegistryState::new(ConnectionTimes {
            idle: 10,
            part: 10,
            reconnect_delay: 10,
            grace: 10,
            user_idle: 10,
        })
    }

    /// The ids that a full listing in slices returns.
    fn list_all(state: &RegistryState, mut browse: BrowseConnections) -> Vec<u128> {
        let mut ids = Vec::new();
        loop {
            let slice = state.browse_connections(&browse);
            assert!(slice.rows.len() <= browse.count);
            ids.extend(slice.rows.iter().map(|row| row.id.as_u128()));
            match slice.next {
                Some(next) => browse.from = next,
                None => return ids,
            }
        }
    }

    proptest! {
        #[test]
        fn a_listing_contains_each_connection_once(
            made in 0_u128..60,
            ended in proptest::collection::btree_set(0_u128..60, 0..40),
            count in 1_usize..25,
        ) {
            let mut state = state();
            for id in 0..made {
                let user = if id % 3 == 0 { "ada" } else { "bob" };
                connect(&mut state, user, id, if id % 2 == 0 { &["even", "all"] } else { &["all"] });
            }
            for id in &ended {
                state.disconnect(Uuid::from_u128(*id), &CloseReason::Ended.into(), 0, &mut Vec::new());
            }
            let filter = |channel: Option<&str>, user: Option<&str>| BrowseConnections {
                from: 0,
                count,
                channel: channel.map(str::to_owned),
                user: user.map(str::to_owned),
            };
            let alive = |keep: &dyn Fn(u128) -> bool| {
                (0..made).filter(|id| !ended.contains(id) && keep(*id)).collect::<BTreeSet<_>>()
            };
            for (browse, expected) in [
                (filter(None, None), alive(&|_| true)),
                (filter(Some("even"), None), alive(&|id| id % 2 == 0)),
                (filter(Some("all"), Some("ada")), alive(&|id| id % 3 == 0)),
                (filter(Some("unknown"), None), BTreeSet::new()),
                (filter(None, Some("unknown")), BTreeSet::new()),
            ] {
                let ids = list_all(&state, browse);
                prop_assert_eq!(ids.len(), expected.len());
                prop_assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_users_connections_are_ended_in_batches() {
        let mut state = state();
        (0..7).for_each(|id| connect(&mut state, "ada", id, &["c"]));
        connect(&mut state, "bob", 7, &["c"]);
        let ended = Ending::from(CloseReason::Ended);
        let mut step = || state.disconnect_user("ada", 3, &ended, 0, &mut Vec::new()).unwrap();
        assert_eq!(step(), EndedConnections { ended: 3, left: 4 });
        assert_eq!(step(), EndedConnections { ended: 3, left: 1 });
        assert_eq!(step(), EndedConnections { ended: 1, left: 0 });
        assert_eq!(state.disconnect_user("nobody", 3, &ended, 0, &mut Vec::new()), None);
        assert_eq!(
            state.stats(),
            Counts { remembered_users: 2, active_users: 1, connections: 1, channels: 1 }
        );
        assert!(state.describe_user("ada").unwrap().connections.is_empty());
        assert_eq!(state.describe_user("bob").unwrap().connections, [Uuid::from_u128(7)]);
    }

    #[test]
    fn channels_are_listed_in_slices() {
        let mut state = state();
        connect(&mut state, "ada", 1, &["a", "b", "c", "d", "e"]);
        let names = |from, count| {
            let found = state.browse_channels(from, count).filter_map(|id| state.channel(id));
            found.map(|channel| channel.identity.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (names(0, 2), names(4, 2), names(5, 2)),
            (vec!["a".into(), "b".into()], vec!["e".into()], vec![])
        );
        let details = state.describe_connection(Uuid::from_u128(1)).unwrap();
        assert_eq!((details.row.channels, details.channels.len(), &*details.channels[0]), (5, 5, "a"));
    }
}
