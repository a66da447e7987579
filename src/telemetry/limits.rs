//! The limits at which something is refused or cut off, and how often each was reached.

use super::Counter;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $setting:literal;)+) => {
        /// A limit, by the setting that it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Limit {
            /// All of them, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name of the setting.
            pub fn setting(self) -> &'static str {
                match self {
                    $(Self::$variant => $setting,)+
                }
            }
        }
    };
}

limits! {
    /// What a body holds: lists, nesting, names, frames. Any of the settings that bound these.
    Fields = "fields";
    /// Bytes of a request's body.
    Body = "max_body_bytes";
    /// Websockets and long-polls open at a time.
    Sessions = "max_sessions";
    /// Sockets of one client address.
    SocketsPerAddress = "max_sockets_per_address";
    /// New sockets of one client address in a second.
    ConnectRate = "connect_rate_per_address";
    /// Connections' records.
    Connections = "max_connections";
    /// Connections' records of one user.
    ConnectionsPerUser = "max_connections_per_user";
    /// Channels that one connection is in.
    ChannelsPerConnection = "max_channels_per_connection";
    /// Channels in all.
    Channels = "max_channels";
    /// Keys of one user's state.
    UserStateKeys = "max_user_state_keys";
    /// Bytes of one user's state.
    UserStateBytes = "max_user_state_bytes";
    /// Messages in a second, signed with one secret.
    PublishRate = "publish_rate_per_secret";
    /// Bytes and lines of a request's head.
    Head = "max_head_bytes";
    /// Time for a request's head.
    HeaderTime = "header_timeout_ms";
    /// Time for a request's body.
    BodyTime = "body_timeout_ms";
    /// Time for an answer to be taken.
    AnswerTime = "answer_timeout_ms";
    /// Bytes that wait for one peer.
    QueuedBytes = "max_queued_bytes";
    /// Frames that wait for one peer.
    QueuedFrames = "max_queued_frames";
    /// Bytes that wait for all peers.
    TotalQueuedBytes = "max_total_queued_bytes";
}

/// The settings that [`Limit::Fields`] stands for.
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
    /// The limit that is counted when this setting's bound is reached.
    pub fn of(setting: &str) -> Option<Self> {
        if OF_FIELDS.contains(&setting) {
            return Some(Self::Fields);
        }
        Self::ALL.iter().copied().find(|limit| limit.setting() == setting)
    }

    /// Whether a request or a socket is refused or cut off there; else an open session is closed.
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
    /// Counts one.
    pub fn count(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.add(1);
        }
    }

    /// How often this limit was reached.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).map_or(0, Counter::get)
    }

    /// All limits and how often each was reached.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().map(|limit| (*limit, self.get(*limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_counter_of_its_own() {
        let hits = LimitHits::default();
        for (index, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, index);
            (0..=index).for_each(|_| hits.count(*limit));
        }
        let expected: Vec<_> = (1..).take(Limit::ALL.len()).collect();
        assert_eq!(hits.iter().map(|(_, count)| count).collect::<Vec<_>>(), expected);
    }
}
