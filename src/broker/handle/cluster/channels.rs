//! The channels of the cluster: creating, configuring and listing them.

use super::ClusterRequest;
use crate::broker::engine::call::Call;
use crate::broker::registry::cluster::channel_key;
use crate::broker::requests::ChannelRef;
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::settings::ChannelConfig;
use crate::telemetry::limits::Limit;

impl ClusterRequest<'_> {
    /// Creates the channels that are missing in the cluster.
    pub(super) async fn create_channels(
        &self,
        names: &[String],
        configs: &[(String, ChannelConfig)],
    ) -> Result<Result<(), OverLimit>, Refusal> {
        let (names, configs) = (names.to_vec(), configs.to_vec());
        let channels =
            self.broker.ask(move |registry, _| registry.channels_to_open(&names, &configs)).await?;
        if channels.is_empty() {
            return Ok(Ok(()));
        }
        let reply = self.link.call(Call::Open { channels }).await?;
        Ok(if reply.is_ok() { Ok(()) } else { Err(self.over_limit()) })
    }

    fn over_limit(&self) -> OverLimit {
        OverLimit::of(Limit::Channels, self.broker.settings.max_channels)
    }

    pub async fn configure_channels(
        &self,
        configs: Vec<(String, ChannelConfig)>,
    ) -> Result<Result<Vec<ChannelRef>, OverLimit>, Refusal> {
        let names: Vec<String> = configs.iter().map(|(name, _)| name.clone()).collect();
        if let Err(over) = self.create_channels(&names, &configs).await? {
            return Ok(Err(over));
        }
        let channels = self.broker.ask(move |registry, _| registry.channels_to_configure(&configs)).await?;
        let calls = channels.into_iter().map(|channel| Call::Configure { channel });
        if !self.call_all(calls).await?.iter().all(|reply| reply.is_ok()) {
            return Ok(Err(self.over_limit()));
        }
        Ok(Ok(self.channels(names, &[]).await?))
    }

    /// The named channels without the excluded ones. This node receives what happens in them for a while, because requests
    /// about a channel often come together.
    pub async fn channels(
        &self,
        mut names: Vec<String>,
        exclude: &[String],
    ) -> Result<Vec<ChannelRef>, Refusal> {
        self.receive_earlier().await?;
        names.retain(|name| !exclude.contains(name));
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(CHANNELS_AT_ONCE) {
            let mut keys: Vec<_> = names.iter().map(|name| channel_key(name)).collect();
            keys.sort_unstable();
            keys.dedup();
            let _held = self.hold(keys).await?;
            let names = names.to_vec();
            found.extend(self.broker.ask(move |registry, _| registry.current_channels(&names)).await?);
        }
        Ok(found)
    }

    /// Waits until everything has arrived here that was published before.
    pub(super) async fn receive_earlier(&self) -> Result<(), Refusal> {
        self.until_alive().await?;
        // What a reply was sent after has arrived before it.
        self.link.call(Call::ReadUser { user: String::new() }).await?;
        Ok(())
    }

    /// The names of all channels of the cluster, sorted.
    pub async fn channel_names(&self) -> Result<Vec<String>, Refusal> {
        let (mut names, mut cursor) = (Vec::new(), 0);
        loop {
            let reply = self.link.call(Call::Channels { cursor }).await?;
            let Some([next, found]) = reply.list() else { break };
            let streams = found.list().into_iter().flatten().filter_map(|stream| stream.text());
            names.extend(streams.filter_map(|stream| stream.strip_prefix('c')).map(str::to_owned));
            cursor = next.text().and_then(|text| text.parse().ok()).unwrap_or(0);
            if cursor == 0 {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

/// Channels that are made current together.
const CHANNELS_AT_ONCE: usize = 500;
