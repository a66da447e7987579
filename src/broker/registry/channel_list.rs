//! Lists and settings of channels.

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::ToChannel;
use crate::http_error::OverLimit;
use crate::protocol::ids::ChannelId;
use crate::protocol::settings::ChannelSettings;
use std::collections::HashSet;

impl RegistryState {
    /// Creates channels, or gives them new settings.
    ///
    /// # Errors
    /// There is no room for all new ones; nothing has changed then.
    pub fn configure(
        &mut self,
        configs: Vec<(String, ChannelSettings)>,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<ChannelId>, OverLimit> {
        self.room_for_channels(configs.iter().map(|(name, _)| name))?;
        Ok(configs.into_iter().map(|(name, settings)| self.configure_one(&name, settings, effects)).collect())
    }

    fn configure_one(
        &mut self,
        name: &str,
        settings: ChannelSettings,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        let id = self.ensure_channel(name, || settings.clone(), effects);
        if let Some((_, record)) = self.channels.get_index_mut(id.0 as usize)
            && record.settings != settings
        {
            record.settings = settings.clone();
            effects.push(Effect::Channel(id, ToChannel::Configure(settings)));
        }
        id
    }

    /// These channels, or all, without the excluded ones; each once, unknown names left out.
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
