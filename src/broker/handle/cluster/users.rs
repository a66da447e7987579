//! The records of users, which all nodes share.

use super::ClusterRequest;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::cluster::shared_blocks::BlockRecord;
use crate::broker::registry::cluster::user_record::{ChangedRecord, UserRecord};
use crate::broker::requests::{BlockUser, KnownUsers, Requester, SetUserState, StateChanged, StateRefused};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::state::write_changes;
use crate::telemetry::limits::Limit;
use uuid::Uuid;

/// Attempts to change a record that other requests change at the same time.
const ATTEMPTS: usize = 8;

/// A record, and its version in Redis; 0 if there is none.
pub(super) struct VersionedRecord {
    pub version: u64,
    pub record: UserRecord,
}

impl ClusterRequest<'_> {
    /// The record of a user. A new one has an id of its own.
    pub(super) async fn user(&self, name: &str) -> Result<VersionedRecord, Refusal> {
        let reply = self.link.call(Call::ReadUser { user: name.to_owned() }).await?;
        let malformed = || EngineError::Refused("the record of a user is malformed".into());
        match reply.list() {
            Some([version, bytes]) => {
                let record = bytes.bytes().and_then(UserRecord::read).ok_or_else(malformed)?;
                Ok(VersionedRecord { version: version.number().ok_or_else(malformed)?, record })
            }
            _ if reply == Reply::Nil => {
                let record = UserRecord { uuid: Uuid::new_v4(), ..UserRecord::default() };
                Ok(VersionedRecord { version: 0, record })
            }
            _ => Err(malformed().into()),
        }
    }

    /// Whether a connection and a user exist in the cluster.
    pub async fn known(&self, conn_id: Option<Uuid>, user: Option<String>) -> Result<KnownUsers, Refusal> {
        let connection = match conn_id {
            Some(conn_id) => self.find(conn_id).await?.is_some(),
            None => false,
        };
        let user = match user {
            Some(user) => self.user(&user).await?.version > 0,
            None => false,
        };
        Ok(KnownUsers { connection, user })
    }

    /// Blocks a user on all nodes.
    pub async fn block(&self, request: BlockUser) -> Result<Result<(), OverLimit>, Refusal> {
        let block = self.broker.ask(move |registry, _| registry.state().blocks.after(request)).await?;
        let call = Call::SetBlock {
            user: block.user.to_string(),
            record: BlockRecord::of(&block).write(),
            // A revocation of tokens stays until it is removed.
            until_ms: block
                .until_unix
                .filter(|_| block.tokens_before.is_none())
                .unwrap_or(0)
                .saturating_mul(1_000),
        };
        let reply = self.link.call(call).await?;
        let bound = self.broker.settings.max_blocks;
        Ok(if reply.is_ok() { Ok(()) } else { Err(OverLimit::of(Limit::Blocks, bound)) })
    }

    /// Ends the block of a user on all nodes. False if there was none.
    pub async fn unblock(&self, user: String) -> Result<bool, Refusal> {
        Ok(self.link.call(Call::Unblock { user }).await?.number() == Some(1))
    }

    /// Makes the record current on this node.
    pub(super) async fn install_user(
        &self,
        name: &str,
        version: u64,
        record: &UserRecord,
    ) -> Result<(), Refusal> {
        let (name, record) = (name.to_owned(), record.clone());
        self.broker.ask(move |registry, _| registry.install_user(&name, version, record)).await
    }

    /// Changes a user's record until no other request has changed it meanwhile. `merge` returns the change, or the reason
    /// why there is none.
    pub(super) async fn change_user<E>(
        &self,
        name: &str,
        changed_text: fn(&ChangedRecord) -> Option<String>,
        mut merge: impl AsyncFnMut(&VersionedRecord) -> Result<Result<ChangedRecord, E>, Refusal>,
    ) -> Result<Result<ChangedRecord, E>, Refusal> {
        for _ in 0..ATTEMPTS {
            let before = self.user(name).await?;
            let merged = match merge(&before).await? {
                Ok(merged) => merged,
                Err(refused) => return Ok(Err(refused)),
            };
            if before.version > 0 && !merged.is_new {
                self.install_user(name, before.version, &merged.record).await?;
                return Ok(Ok(merged));
            }
            let call = Call::SetUser {
                user: name.to_owned(),
                expected: before.version,
                record: merged.record.write(),
                view: merged.record.view().encode(),
                changed: changed_text(&merged),
            };
            if let Some(version) = self.link.call(call).await?.number() {
                self.install_user(name, version, &merged.record).await?;
                return Ok(Ok(merged));
            }
        }
        Err(Refusal::Busy)
    }

    pub async fn set_user_state(
        &self,
        request: SetUserState,
        by: Requester,
    ) -> Result<Result<StateChanged, StateRefused>, Refusal> {
        let SetUserState { user, user_state, state_public_keys } = request;
        let merged = self
            .change_user(&user, announced, async |before: &VersionedRecord| {
                if before.version == 0 {
                    return Ok(Err(StateRefused::UnknownUser));
                }
                let merged = before.record.merge(user_state.clone(), state_public_keys.clone());
                let (name, state) = (user.clone(), merged.record.state.clone());
                let may = self.broker.ask(move |registry, _| registry.may_change_state(&name, &state, by));
                Ok(may.await?.map(|()| merged))
            })
            .await?;
        let merged = match merged {
            Ok(merged) => merged,
            Err(refused) => return Ok(Err(refused)),
        };
        let public_keys = merged.record.public_keys.clone();
        let shown = self.broker.ask(move |registry, _| registry.state().shown(&user)).await?;
        let changed = shown.map(|user| StateChanged { user, changed: merged.changed, public_keys });
        Ok(changed.ok_or(StateRefused::UnknownUser))
    }
}

/// The public changes, which members of channels learn.
fn announced(merged: &ChangedRecord) -> Option<String> {
    if merged.changed.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    let public = merged.changed.iter().filter(|entry| merged.record.public_keys.contains(&entry.key));
    write_changes(public, &mut out);
    String::from_utf8(out).ok()
}
