//! What other nodes have, for the lists of the console, and what this node answers when others ask for it.

use super::ClusterRequest;
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::cluster::channel_key;
use crate::broker::registry::cluster::copies::read_settings;
use crate::broker::registry::cluster::listing::{ListedConnection, ListedDetails, ListedUser};
use crate::broker::registry::cluster::peers::{Answer, Post, Question};
use crate::broker::registry::cluster_posts::ListingQuestion;
use crate::broker::requests::{
    BrowseConnections, ChannelFigures, ConnectionDetails, ConnectionRow, MAX_DETAILS, SessionFigures,
    UserDetails,
};
use crate::http_error::Refusal;
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

/// Records that are examined at once for an answer.
const SLICE: usize = 100;
/// The most records that are examined for an answer, and about the most bytes of one.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 256 << 10;
/// Channels whose figures are read together.
pub(super) const CHANNELS_AT_ONCE: usize = 500;

/// What a walk over the connections of other nodes has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Connections.
    pub found: usize,
    /// A node did not answer, so its connections are missing.
    pub is_partial: bool,
}

/// The users of other nodes, with ids as this node uses them: users that it does not know get ids from the end.
#[derive(Default)]
struct OtherUsers {
    by_name: HashMap<String, Arc<UserView>>,
    unknown: u32,
}

impl OtherUsers {
    async fn read(&mut self, broker: &BrokerHandle, rows: &[ListedConnection]) -> Result<(), Refusal> {
        let new = rows.iter().map(|row| row.user.clone()).filter(|name| !self.by_name.contains_key(name));
        let names: Vec<String> = new.collect();
        let asked = names.clone();
        let ids = broker.ask(move |registry, _| {
            asked.iter().map(|name| registry.state().user_id(name)).collect::<Vec<_>>()
        });
        for (name, id) in names.into_iter().zip(ids.await?) {
            let id = id.unwrap_or_else(|| {
                self.unknown += 1;
                UserId(u32::MAX - self.unknown)
            });
            if let Some(row) = rows.iter().find(|row| row.user == name) {
                self.by_name.entry(name).or_insert_with(|| Arc::new(row.view(id)));
            }
        }
        Ok(())
    }
}

impl ClusterRequest<'_> {
    /// The other nodes that are alive, with their names.
    async fn others(&self) -> Result<Vec<(NodeNumber, Arc<str>)>, Refusal> {
        let mut others = Vec::new();
        for (number, name) in self.named_nodes().await? {
            if !self.is_this_node(number).await? {
                others.push((number, name));
            }
        }
        Ok(others)
    }

    /// Visits the connections of all other nodes. A node that does not answer is left out.
    pub async fn connections_elsewhere(
        &self,
        filter: &BrowseConnections,
        each: &mut impl FnMut(ConnectionRow, Option<SessionFigures>),
    ) -> Result<Walked, Refusal> {
        let mut walked = Walked::default();
        let Ok(others) = self.others().await else {
            return Ok(Walked { found: 0, is_partial: true });
        };
        let mut users = OtherUsers::default();
        for (node, name) in others {
            let mut from = Some(0);
            while let Some(start) = from {
                let (channel, user) = (filter.channel.clone(), filter.user.clone());
                let answer = self.ask_node(node, Question::List { from: start, channel, user }).await;
                let Ok(Answer::Listed { rows, next }) = answer else {
                    walked.is_partial = true;
                    break;
                };
                users.read(self.broker, &rows).await?;
                walked.found += rows.len();
                for row in rows {
                    let Some(user) = users.by_name.get(&row.user).cloned() else { continue };
                    let (row, session) = row.read(user, &name);
                    each(row, session);
                }
                from = next;
            }
        }
        Ok(walked)
    }

    /// The details of a connection of another node.
    pub async fn describe_elsewhere(
        &self,
        conn_id: Uuid,
    ) -> Result<Option<(ConnectionDetails, Option<SessionFigures>)>, Refusal> {
        let Some(row) = self.find(conn_id).await? else { return Ok(None) };
        let name = self.others().await?.into_iter().find(|(number, _)| *number == row.owner);
        // The connection may be between two nodes, or its last owner has died.
        let Some((node, name)) = name else { return Ok(None) };
        match self.ask_node(node, Question::Describe { conn_id }).await? {
            Answer::Described(details) => Ok(Some(details.read(&name))),
            _ => Ok(None),
        }
    }

    /// The details of a user, with the connections at all nodes. `here` are those of this node.
    pub async fn describe_user(
        &self,
        name: String,
        here: Option<UserDetails>,
    ) -> Result<Option<UserDetails>, Refusal> {
        let known = self.user(&name).await?;
        if known.version == 0 {
            return Ok(here);
        }
        let (view, record) = (known.record.view(), known.record);
        let mut sum = here.as_ref().map(ListedUser::of).unwrap_or_default();
        for (node, _) in self.others().await? {
            if let Ok(Answer::DescribedUser(there)) =
                self.ask_node(node, Question::DescribeUser { user: name.clone() }).await
            {
                sum.present += there.present;
                sum.total += there.total;
                sum.connections.extend(there.connections);
            }
        }
        sum.connections.sort_unstable();
        sum.connections.truncate(MAX_DETAILS);
        let id = here.map_or(UserId(u32::MAX), |here| here.view.id);
        Ok(Some(UserDetails {
            view: Arc::new(UserView::new(id, name.into(), &view.state, &view.public_state)),
            uuid: record.uuid,
            public_keys: record.public_keys,
            present: sum.present,
            total: sum.total,
            connections: sum.connections,
        }))
    }

    /// Visits the figures of all channels, in the order of their names.
    pub async fn channel_figures(&self, each: &mut impl FnMut(ChannelFigures)) -> Result<usize, Refusal> {
        let names = self.channel_names().await?;
        for names in names.chunks(CHANNELS_AT_ONCE) {
            let summaries = self.summaries(names).await?;
            let here = names.to_vec();
            let here = self.broker.ask(move |registry, _| registry.current_channels(&here)).await?;
            let now = Timestamp::now();
            let rates: HashMap<_, _> = here
                .into_iter()
                .map(|channel| (channel.name, channel.summary.frames_per_1000_s(&now)))
                .collect();
            for (_, mut figures) in summaries {
                figures.frames_per_1000_s = rates.get(&figures.name).copied();
                each(figures);
            }
        }
        Ok(names.len())
    }

    /// The ids and figures of those channels that exist, without rates.
    pub(super) async fn summaries(&self, names: &[String]) -> Result<Vec<(Uuid, ChannelFigures)>, Refusal> {
        let streams = names.iter().map(|name| channel_key(name).to_string()).collect();
        let reply = self.link.call(Call::Summaries { streams }).await?;
        let malformed = || EngineError::Refused("the figures of channels are malformed".into());
        let summaries = reply.list().filter(|list| list.len() == names.len()).ok_or_else(malformed)?;
        // A channel may have been removed meanwhile.
        let found = names.iter().zip(summaries).filter(|(_, summary)| **summary != Reply::Nil);
        Ok(found
            .map(|(name, summary)| figures(name, summary).ok_or_else(malformed))
            .collect::<Result<_, _>>()?)
    }
}

/// Reads the id and the figures of a channel. `None` if they are malformed.
fn figures(name: &str, summary: &Reply) -> Option<(Uuid, ChannelFigures)> {
    let [connections, users, history, frames, stamp, id, settings] = summary.list()? else { return None };
    let count = |reply: &Reply| reply.number().and_then(|number| u32::try_from(number).ok());
    let id = Uuid::parse_str(id.text()?).ok()?;
    let figures = ChannelFigures {
        name: name.into(),
        settings: read_settings(settings.text()?).unwrap_or_default(),
        connections: count(connections)?,
        users: count(users)?,
        history: count(history)?,
        frames: frames.number()?,
        frames_per_1000_s: None,
        last_active: Timestamp::from_unix_micros(i64::try_from(stamp.number()?).ok()?),
    };
    Some((id, figures))
}

/// Answers the questions of other nodes about lists, one after the other, until the registry ends.
pub async fn answer_listings(broker: BrokerHandle, mut questions: Receiver<ListingQuestion>) {
    while let Some(ListingQuestion { to, id, question }) = questions.recv().await {
        let answer = answer(&broker, question).await.unwrap_or(Answer::Busy);
        if let Some(link) = &broker.actors.link {
            link.send_unanswered(Call::Send { to, bytes: Post::Answer { id, answer }.write() });
        }
    }
}

async fn answer(broker: &BrokerHandle, question: Question) -> Result<Answer, Refusal> {
    match question {
        Question::List { from, channel, user } => {
            list(broker, BrowseConnections { from, count: SLICE, channel, user }).await
        }
        Question::Describe { conn_id } => {
            let Some(details) = broker.describe_connection_here(conn_id).await? else {
                return Ok(Answer::Unknown);
            };
            let session = broker.sessions(std::slice::from_ref(&details.row), true).await.pop().flatten();
            Ok(Answer::Described(Box::new(ListedDetails::of(&details, session))))
        }
        Question::DescribeUser { user } => {
            let details = broker.ask(move |registry, _| registry.state().describe_user(&user)).await?;
            Ok(details.map_or(Answer::Unknown, |details| Answer::DescribedUser(ListedUser::of(&details))))
        }
        _ => Ok(Answer::Unknown),
    }
}

async fn list(broker: &BrokerHandle, mut browse: BrowseConnections) -> Result<Answer, Refusal> {
    let (mut listed, mut bytes, end) = (Vec::new(), 0, browse.from.saturating_add(MOST_RECORDS));
    loop {
        let slice = broker.browse_connections(browse.clone()).await?;
        let sessions = broker.sessions(&slice.rows, true).await;
        for (row, session) in slice.rows.iter().zip(sessions) {
            let row = ListedConnection::of(row, session);
            bytes += row.size();
            listed.push(row);
        }
        match slice.next {
            Some(next) if bytes < MOST_BYTES && next < end => browse.from = next,
            next => return Ok(Answer::Listed { rows: listed, next }),
        }
    }
}
