//! Listing and configuring channels.

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::ToChannel;
use crate::http_error::OverLimit;
use crate::protocol::ids::ChannelId;
use crate::protocol::settings::ChannelConfig;
use std::collections::HashSet;

impl RegistryState {
    /// Creates channels, or changes their settings.
    ///
    /// # Errors
    /// The new channels exceed the limit. Nothing is changed.
    pub fn configure(
        &mut self,
        configs: Vec<(String, ChannelConfig)>,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<ChannelId>, OverLimit> {
        self.room_for_channels(configs.iter().map(|(name, _)| name))?;
        Ok(configs.iter().map(|(name, config)| self.configure_one(name, config, effects)).collect())
    }

    fn configure_one(&mut self, name: &str, config: &ChannelConfig, effects: &mut Vec<Effect>) -> ChannelId {
        let id = self.ensure_channel(name, || config.clone(), effects);
        if let Some((_, record)) = self.channels.get_index_mut(id.0 as usize) {
            let settings = record.rules.settings(config);
            if record.settings != settings {
                record.settings = settings.clone();
                effects.push(Effect::Channel(id, ToChannel::Configure(settings)));
            }
        }
        id
    }

    /// Lists the named channels, or all, without the excluded ones. Each is listed once; unknown names are ignored.
    pub fn list(&self, names: Option<&[String]>, exclude: &[String]) -> Vec<ChannelId> {
        let excluded: HashSet<ChannelId> = exclude.iter().filter_map(|name| self.channel_id(name)).collect();
        let mut ids: Vec<ChannelId> = match names {
            Some(names) => names.iter().filter_map(|name| self.channel_id(name)).collect(),
            None => self.all_channels().collect(),
        };
        let mut seen = HashSet::new();
        ids.retain(|id| !excluded.contains(id) && seen.insert(*id));
        ids
    }
}
