//! `channels_info`: the part of several answers that describes channels and their users.

use super::info::InfoOptions;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{ChannelRef, Inspect, Snapshot};
use crate::http_error::Refusal;
use crate::protocol::event::push_history_entry;
use crate::protocol::json;
use crate::protocol::user_list::UserList;
use futures_util::stream::{self, StreamExt, TryStreamExt};

/// Channels queried concurrently: enough to keep them busy, few enough to leave their thread time for others.
const MAX_IN_FLIGHT: usize = 64;

/// Whether each channel is queried or its summary is sufficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The answer shows what the request itself has just changed: query every channel.
    AfterChange,
    /// Query a channel only for data that the summary lacks.
    Summary,
}

/// The collected data of the channels of one answer.
#[derive(Debug, Default)]
pub struct ChannelsInfo {
    channels: Vec<Snapshot>,
    public_state: bool,
}

impl ChannelsInfo {
    /// Collects the data that the options request. Excluded channels are left out.
    ///
    /// # Errors
    /// `Draining` when a channel is gone.
    pub async fn gather(
        channels: Vec<ChannelRef>,
        options: &InfoOptions,
        freshness: Freshness,
    ) -> Result<Self, Refusal> {
        let mut selected = channels;
        selected.retain(|c| !options.exclude_channels.iter().any(|name| **name == *c.name));
        let snapshots = match <[ChannelRef; 1]>::try_from(selected) {
            // There is usually one channel, which does not need the machinery for concurrent queries.
            Ok([only]) => vec![inspect(only, options, freshness).await?],
            Err(selected) => {
                let queries = selected.into_iter().map(|channel| inspect(channel, options, freshness));
                stream::iter(queries).buffered(MAX_IN_FLIGHT).try_collect().await?
            }
        };
        Ok(Self { channels: snapshots, public_state: options.return_public_state })
    }

    /// Reads the named channels, if Redis decides, without following them.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn read(
        broker: &BrokerHandle,
        mut names: Vec<String>,
        options: &InfoOptions,
    ) -> Result<Option<Self>, Refusal> {
        names.retain(|name| !options.exclude_channels.contains(name));
        let include = Inspect { users: options.include_users, history: options.include_history };
        let channels = broker.read_channels(&names, &include).await?;
        Ok(channels.map(|channels| Self { channels, public_state: options.return_public_state }))
    }

    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Appends `{"channels": {…}, "users": […]}`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"channels\":");
        self.write_channels(out);
        out.extend_from_slice(b",\"users\":");
        let lists = self.channels.iter().map(|channel| &channel.users);
        UserList::write_union(lists, out, self.public_state);
        out.push(b'}');
    }

    /// Appends `{name: info, …}`.
    pub fn write_channels(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_members(out);
        out.push(b'}');
    }

    /// Appends `name: info, …`.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        for (index, channel) in self.channels.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::write_string(&channel.name, out);
            out.push(b':');
            write_channel(channel, out);
        }
    }
}

async fn inspect(
    channel: ChannelRef,
    options: &InfoOptions,
    freshness: Freshness,
) -> Result<Snapshot, Refusal> {
    let summary = &channel.summary;
    let (total_connections, num_users) = summary.present();
    let users = options.include_users && num_users > 0;
    let history = options.include_history && summary.history() > 0;
    if freshness == Freshness::Summary && !users && !history {
        return Ok(Snapshot {
            uuid: channel.uuid,
            total_connections,
            last_active: summary.last_active(),
            name: channel.name,
            settings: channel.settings,
            users: UserList::default(),
            history: Vec::new(),
        });
    }
    channel.inspect(options.include_users, options.include_history).await
}

fn write_channel(channel: &Snapshot, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"uuid\":");
    json::write_uuid(channel.uuid, out);
    out.extend_from_slice(b",\"name\":");
    json::write_string(&channel.name, out);
    out.extend_from_slice(b",\"long_name\":null,\"settings\":");
    channel.settings.write_json(out);
    out.extend_from_slice(b",\"history\":");
    json::write_list(&channel.history, out, |kept, out| {
        push_history_entry(out, &kept.message, kept.edited.as_ref());
    });
    out.extend_from_slice(b",\"last_active\":\"");
    out.extend_from_slice(channel.last_active.frame().as_bytes());
    // `total_users` is the length of `users`, so 0 when they are left out (behaviour of the original).
    let counts = format!(
        "\",\"total_connections\":{},\"total_users\":{},\"users\":",
        channel.total_connections,
        channel.users.len()
    );
    out.extend_from_slice(counts.as_bytes());
    channel.users.write_names(out);
    out.push(b'}');
}
