//! The settings of the link to Redis.

use crate::broker::engine::call::{EngineConstants, Retention};
use crate::broker::engine::link::LinkSettings;
use crate::broker::engine::link::access::Access;
use crate::broker::handle::node_list::NodeInfo;
use crate::config::{EngineSetting, Settings, SettingsError};

/// The settings of the link. `None` if this process decides by itself.
///
/// # Errors
/// A file that the settings of the engine name cannot be used.
pub(super) fn link_settings(settings: &Settings) -> Result<Option<LinkSettings>, SettingsError> {
    if settings.engine == EngineSetting::Embedded {
        return Ok(None);
    }
    Ok(Some(LinkSettings {
        access: Access::of(settings)?,
        prefix: settings.engine_prefix.clone(),
        timeout_ms: settings.engine_timeout_ms,
        wait_replicas: settings.engine_wait_replicas,
        pending_bytes: settings.engine_pending_bytes,
        restart_grace_ms: settings.restart_grace_ms,
        info: NodeInfo::of(&settings.node_name(), NodeInfo::default()).to_json(),
        constants: constants(settings),
    }))
}

fn constants(settings: &Settings) -> EngineConstants {
    let limit = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    EngineConstants {
        retention: Retention {
            channel_frames: limit(settings.channel_frames),
            user_frames: limit(settings.user_frames),
            history: limit(settings.max_history_size),
        },
        key_window_ms: settings.publish_window_ms,
        max_channels: limit(settings.max_channels),
        max_blocks: limit(settings.max_blocks),
        user_idle_ms: settings.user_idle_timeout_ms,
        channel_idle_ms: settings.engine_channel_idle_ms,
        grace_ms: settings.grace_time_ms,
        beat_ms: settings.engine_beat_ms,
        dead_ms: settings.engine_dead_ms,
    }
}
