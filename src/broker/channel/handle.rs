//! The handle to a channel, for requests about it.

use super::Channel;
use super::messages::{Inspect, Record, Snapshot};
use super::summary::Summary;
use crate::http_error::Refusal;
use crate::protocol::settings::ChannelSettings;
use crate::telemetry::recorder::Recorder;
use actix::Addr;
use std::sync::Arc;
use uuid::Uuid;

/// A channel with its figures at the time of a request.
#[derive(Clone, Debug)]
pub struct ChannelRef {
    pub name: Arc<str>,
    /// The id for clients.
    pub uuid: Uuid,
    pub settings: ChannelSettings,
    pub summary: Arc<Summary>,
    pub(in crate::broker) addr: Addr<Channel>,
}

impl ChannelRef {
    /// The channel actor, for tests that make it fail.
    #[cfg(test)]
    pub fn addr(&self) -> &Addr<Channel> {
        &self.addr
    }

    /// Requests a snapshot, behind everything that was published before.
    ///
    /// # Errors
    /// `Draining` when the channel is gone.
    pub async fn inspect(&self, users: bool, history: bool) -> Result<Snapshot, Refusal> {
        self.addr.send(Inspect { users, history }).await.map_err(|_| Refusal::Draining)
    }

    /// Makes the channel record its outgoing frames for as long as the recorder needs them.
    ///
    /// # Errors
    /// `Draining` when the channel is gone.
    pub async fn record(&self, recorder: Arc<Recorder>) -> Result<(), Refusal> {
        self.addr.send(Record(recorder)).await.map_err(|_| Refusal::Draining)
    }
}
