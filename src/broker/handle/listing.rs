//! The data that the console reads: counts, lists in slices, single records, and the sessions of the hubs.

use super::BrokerHandle;
use super::cluster::listing::Walked;
use crate::broker::hub::messages::{InspectSessions, RecordSession};
use crate::broker::requests::{
    BrowseConnections, ChannelFigures, ChannelRef, ConnectionDetails, ConnectionRow, ConnectionSlice, Counts,
    Inspect, Phase, SessionFigures, Snapshot, UserDetails,
};
use crate::http_error::Refusal;
use crate::protocol::ids::{ChannelId, ConnectionSlot, HubId, SlotKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

impl BrokerHandle {
    pub async fn counts(&self) -> Result<Counts, Refusal> {
        self.ask(|registry, _| registry.state().stats()).await
    }

    /// A slice of the channels that this process has, oldest first. To read all, a caller repeats the request from the end
    /// of the slice; the registry serves other requests in between.
    pub async fn browse_channels(&self, from: usize, count: usize) -> Result<Vec<ChannelRef>, Refusal> {
        self.ask(move |registry, _| registry.browse_channels(from, count)).await
    }

    /// The names of all channels, sorted, if Redis decides.
    pub async fn names_in_cluster(&self) -> Result<Option<Vec<String>>, Refusal> {
        match self.cluster() {
            Some(cluster) => Ok(Some(cluster.channel_names().await?)),
            None => Ok(None),
        }
    }

    /// The data of the named channels, if Redis decides, as Redis has them. Unknown names are ignored.
    pub async fn read_channels(
        &self,
        names: &[String],
        include: &Inspect,
    ) -> Result<Option<Vec<Snapshot>>, Refusal> {
        match self.cluster() {
            Some(cluster) => Ok(Some(Box::pin(cluster.read_channels(names, include)).await?)),
            None => Ok(None),
        }
    }

    /// Visits the figures of all channels, if Redis decides. Returns how many there are.
    pub async fn channels_in_cluster(
        &self,
        each: &mut impl FnMut(ChannelFigures),
    ) -> Result<Option<usize>, Refusal> {
        match self.cluster() {
            Some(cluster) => Ok(Some(cluster.channel_figures(each).await?)),
            None => Ok(None),
        }
    }

    /// Visits the connections of all other nodes, if there are any.
    pub async fn connections_elsewhere(
        &self,
        filter: &BrowseConnections,
        each: &mut impl FnMut(ConnectionRow, Option<SessionFigures>),
    ) -> Result<Walked, Refusal> {
        match self.cluster() {
            Some(cluster) => Box::pin(cluster.connections_elsewhere(filter, each)).await,
            None => Ok(Walked::default()),
        }
    }

    /// The name of this node, if Redis decides.
    pub fn node_name(&self) -> Option<&str> {
        self.actors.nodes.as_ref().map(|nodes| nodes.name())
    }

    /// A slice of the connections of this process, present or absent.
    pub async fn browse_connections(&self, browse: BrowseConnections) -> Result<ConnectionSlice, Refusal> {
        self.ask(move |registry, _| registry.state().browse_connections(&browse)).await
    }

    /// The details of a connection of this process.
    pub async fn describe_connection_here(&self, id: Uuid) -> Result<Option<ConnectionDetails>, Refusal> {
        self.ask(move |registry, _| registry.state().describe_connection(id)).await
    }

    /// The details of a connection, with the data of its session.
    pub async fn describe_connection(
        &self,
        id: Uuid,
    ) -> Result<Option<(ConnectionDetails, Option<SessionFigures>)>, Refusal> {
        if let Some(details) = self.describe_connection_here(id).await? {
            let session = self.sessions(std::slice::from_ref(&details.row), true).await.pop().flatten();
            return Ok(Some((details, session)));
        }
        match self.cluster() {
            Some(cluster) => Box::pin(cluster.describe_elsewhere(id)).await,
            None => Ok(None),
        }
    }

    pub async fn describe_user(&self, name: String) -> Result<Option<UserDetails>, Refusal> {
        let asked = name.clone();
        let here = self.ask(move |registry, _| registry.state().describe_user(&asked)).await?;
        match self.cluster() {
            Some(cluster) => Box::pin(cluster.describe_user(name, here)).await,
            None => Ok(here),
        }
    }

    /// The names of channels, in the order of the request.
    pub async fn name_channels(&self, ids: Vec<ChannelId>) -> Result<Vec<Option<Arc<str>>>, Refusal> {
        self.ask(move |registry, _| registry.state().channel_names(&ids)).await
    }

    /// The hubs' data about the sessions of these connections. A session that has ended in the meantime has no figures.
    /// Each address costs a system call.
    pub async fn sessions(&self, rows: &[ConnectionRow], addresses: bool) -> Vec<Option<SessionFigures>> {
        let mut figures: Vec<Option<SessionFigures>> = rows.iter().map(|_| None).collect();
        let mut by_hub: BTreeMap<u16, Vec<(usize, SlotKey)>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            if let Phase::Attached(place, _) = row.phase {
                by_hub.entry(place.hub.0).or_default().push((index, place.slot));
            }
        }
        for (hub, places) in by_hub {
            let Some(hub) = self.actors.hubs.get(HubId(hub)) else { continue };
            let slots = places.iter().map(|(_, slot)| *slot).collect();
            // A hub that has stopped has no sessions.
            let Ok(answers) = hub.send(InspectSessions { slots, addresses }).await else { continue };
            for ((index, _), answer) in places.into_iter().zip(answers) {
                if let Some(place) = figures.get_mut(index) {
                    *place = answer;
                }
            }
        }
        figures
    }

    /// Starts to record an existing session, if its connection is to be recorded.
    pub async fn record_session(&self, location: ConnectionSlot) -> Result<(), Refusal> {
        match self.actors.hubs.get(location.hub) {
            Some(hub) => hub.send(RecordSession(location.slot)).await.map_err(|_| Refusal::Draining),
            None => Ok(()),
        }
    }
}
