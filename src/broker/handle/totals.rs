//! The figures of the whole server: those of this process, or the sums of all nodes, which Redis keeps.

use super::BrokerHandle;
use crate::broker::engine::reply::Reply;
use crate::http_error::Refusal;
use crate::telemetry::Counters;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub remembered_users: u64,
    /// Users with present connections.
    pub users: u64,
    /// Present connections.
    pub connections: u64,
    pub channels: u64,
    /// Messages since the server has started; of a cluster, since its data in Redis began.
    pub messages: u64,
    /// Messages queued to connections in that time.
    pub queued: u64,
    /// Redis does not answer, so these are the sums that this node has read last.
    pub is_stale: bool,
}

impl Totals {
    /// The figures of this process.
    pub(super) fn of(counters: &Counters) -> Self {
        Self {
            remembered_users: counters.remembered_users.get(),
            users: counters.users.get(),
            connections: counters.connections.get(),
            channels: counters.channels.get(),
            messages: counters.messages.get(),
            queued: counters.queued.get(),
            is_stale: false,
        }
    }

    /// Reads the reply to [`Call::Tally`](crate::broker::engine::call::Call::Tally). `None` if it is malformed.
    pub(super) fn read(reply: &Reply) -> Option<Self> {
        let sums = reply.list()?.iter().map(Reply::number).collect::<Option<Vec<u64>>>()?;
        let [remembered_users, users, connections, channels, messages, queued] = sums[..] else {
            return None;
        };
        Some(Self { remembered_users, users, connections, channels, messages, queued, is_stale: false })
    }
}

impl BrokerHandle {
    /// The figures of the whole server, after everything that was requested before.
    ///
    /// # Errors
    /// `Busy`, `Draining`.
    pub async fn totals(&self) -> Result<Totals, Refusal> {
        let counts = self.counts().await?;
        if let Some(nodes) = &self.actors.nodes {
            return Ok(nodes.totals().await);
        }
        Ok(Totals {
            remembered_users: counts.remembered_users as u64,
            users: counts.active_users as u64,
            connections: counts.connections as u64,
            channels: counts.channels as u64,
            ..Totals::of(&self.counters)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_in_their_order() {
        let sums =
            |numbers: &[i64]| Totals::read(&Reply::List(numbers.iter().map(|n| Reply::Number(*n)).collect()));
        let expected = Totals {
            remembered_users: 1,
            users: 2,
            connections: 3,
            channels: 4,
            messages: 5,
            queued: 6,
            is_stale: false,
        };
        assert_eq!(sums(&[1, 2, 3, 4, 5, 6]), Some(expected));
        assert_eq!((sums(&[1, 2, 3, 4, 5]), Totals::read(&Reply::Nil)), (None, None));
    }
}
