//! The end of connections, on whichever node they are.

use super::ClusterRequest;
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::error::EngineError;
use crate::broker::handle::node_list::named;
use crate::broker::registry::cluster::peers::{Answer, PostedEnding, Question};
use crate::broker::requests::Ending;
use crate::http_error::Refusal;
use std::sync::Arc;
use uuid::Uuid;

impl ClusterRequest<'_> {
    pub async fn disconnect(&self, conn_id: Uuid, why: Ending) -> Result<bool, Refusal> {
        self.until_alive().await?;
        let posted = PostedEnding::of(&why);
        let known =
            self.broker.ask(move |registry, context| registry.disconnect(conn_id, &why, context)).await?;
        if known {
            self.settle().await?;
            return Ok(true);
        }
        let answer = self.ask_owner(conn_id, Question::Disconnect { conn_id, why: posted }).await?;
        Ok(matches!(answer, Some(Answer::Ended { .. })))
    }

    /// Ends connections of a user on all nodes. Returns how many; `None` if no node knows the user.
    ///
    /// # Errors
    /// `EngineTimeout` if some nodes do not answer. The others have ended theirs.
    pub async fn disconnect_user(&self, user: &str, why: &Ending) -> Result<Option<usize>, Refusal> {
        let (mut all, mut is_complete) = (None, true);
        for (node, _) in self.named_nodes().await? {
            loop {
                let (user, why) = (user.to_owned(), PostedEnding::of(why));
                let answer = match self.ask_node(node, Question::DisconnectUser { user, why }).await {
                    Err(refusal) if refusal.is_of_engine() => {
                        is_complete = false;
                        break;
                    }
                    answer => answer?,
                };
                let Answer::Ended { ended, left } = answer else { break };
                all = Some(all.unwrap_or(0) + ended);
                if left == 0 || ended == 0 {
                    break;
                }
            }
        }
        match is_complete {
            true => Ok(all),
            false => Err(Refusal::EngineTimeout { was_sent: true }),
        }
    }

    /// The nodes that are alive, with their names.
    pub(super) async fn named_nodes(&self) -> Result<Vec<(NodeNumber, Arc<str>)>, Refusal> {
        let reply = self.link.call(Call::Nodes).await?;
        let malformed = || EngineError::Refused("the list of nodes is malformed".into());
        Ok(named(&reply).ok_or_else(malformed)?)
    }
}
