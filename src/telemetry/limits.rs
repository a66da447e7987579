//! The limits at which the server refuses or aborts something, and how often each was reached.

use super::Counter;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $setting:literal;)+) => {
        /// A limit, identified by its setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Limit {
            /// All limits, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn setting(self) -> &'static str {
                match self {
                    $(Self::$variant => $setting,)+
                }
            }
        }
    };
}

limits! {
    /// Content of a body: lists, nesting, names, frames. It stands for all settings that limit these.
    Fields = "fields";
    /// Bytes of a request body.
    Body = "max_body_bytes";
    /// Websockets and long-polls open concurrently.
    Sessions = "max_sessions";
    /// Sockets of one client address.
    SocketsPerAddress = "max_sockets_per_address";
    /// New sockets of one client address per second.
    ConnectRate = "connect_rate_per_address";
    /// Records of connections.
    Connections = "max_connections";
    /// Records of connections of one user.
    ConnectionsPerUser = "max_connections_per_user";
    /// Channels joined by one connection.
    ChannelsPerConnection = "max_channels_per_connection";
    /// Channels in total.
    Channels = "max_channels";
    /// Keys in one user's state.
    UserStateKeys = "max_user_state_keys";
    /// Bytes of one user's state.
    UserStateBytes = "max_user_state_bytes";
    /// Users with a block.
    Blocks = "max_blocks";
    /// Messages per second, signed with one secret.
    PublishRate = "publish_rate_per_secret";
    /// Items stored with idempotency keys.
    IdempotencyKeys = "max_idempotency_keys";
    /// Bytes and lines of a request head.
    Head = "max_head_bytes";
    /// Time for receiving a request head.
    HeaderTime = "header_timeout_ms";
    /// Time for receiving a request body.
    BodyTime = "body_timeout_ms";
    /// Time for the client to accept a response.
    AnswerTime = "answer_timeout_ms";
    /// Queued bytes for one client.
    QueuedBytes = "max_queued_bytes";
    /// Queued frames for one client.
    QueuedFrames = "max_queued_frames";
    /// Queued bytes for all clients.
    TotalQueuedBytes = "max_total_queued_bytes";
}

/// The settings that [`Limit::Fields`] represents.
const OF_FIELDS: [&str; 7] = [
    "max_json_depth",
    "max_list_items",
    "max_channels_per_request",
    "max_frame_bytes",
    "max_channel_name_length",
    "max_user_name_length",
    "max_state_key_length",
];

impl Limit {
    /// The limit that is counted when this setting's value is exceeded.
    pub fn of(setting: &str) -> Option<Self> {
        if OF_FIELDS.contains(&setting) {
            return Some(Self::Fields);
        }
        Self::ALL.iter().copied().find(|limit| limit.setting() == setting)
    }

    /// Whether the server refuses or aborts a request or a socket at this limit. At the others it closes an open
    /// session.
    pub fn refuses(self) -> bool {
        !matches!(self, Self::QueuedBytes | Self::QueuedFrames | Self::TotalQueuedBytes)
    }
}

/// How often each limit was reached since the start.
#[derive(Debug)]
pub struct LimitHits(Vec<Counter>);

impl Default for LimitHits {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|_| Counter::default()).collect())
    }
}

impl LimitHits {
    pub fn count(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.add(1);
        }
    }

    /// How often this limit was reached.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).map_or(0, Counter::get)
    }

    /// All limits with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().map(|limit| (*limit, self.get(*limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_separate_counter() {
        let hits = LimitHits::default();
        for (index, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, index);
            (0..=index).for_each(|_| hits.count(*limit));
        }
        let expected: Vec<_> = (1..).take(Limit::ALL.len()).collect();
        assert_eq!(hits.iter().map(|(_, count)| count).collect::<Vec<_>>(), expected);
    }
}
