//! Connections of tokens.

use super::ClusterRequest;
use super::connections::Claimed;
use super::users::PlannedChange;
use crate::broker::engine::error::EngineError;
use crate::broker::requests::{ConnectRefused, Requester, TokenGrant, TokenGrantRefused};
use crate::http_error::Refusal;
use uuid::Uuid;

impl ClusterRequest<'_> {
    pub async fn grant_token(
        &self,
        mut grant: TokenGrant,
    ) -> Result<Result<Uuid, TokenGrantRefused>, Refusal> {
        if let Err(refused) = self.check_grant(&grant).await? {
            return Ok(Err(refused));
        }
        let known = match grant.connect.conn_id {
            Some(conn_id) => self.bring(conn_id).await?,
            None => false,
        };
        if known || !grant.creates {
            return self.grant_here(grant, None).await;
        }
        let conn_id = *grant.connect.conn_id.get_or_insert_with(Uuid::new_v4);
        // A token without the claim leaves the keys as they are, because /user_state may have set them.
        grant.connect.state_public_keys = grant.public_keys.take();
        let planned = match self.plan_connect(&grant.connect, Requester::Application).await? {
            Ok(planned) => planned,
            Err(refused) => return Ok(Err(TokenGrantRefused::Connect(refused))),
        };
        let (generation, _coming) = match self.claim(conn_id, &grant.connect.username).await? {
            Claimed::Here(_) => return self.grant_here(grant, None).await,
            Claimed::New(generation, coming) => (generation, coming),
            Claimed::Foreign => return Ok(Err(TokenGrantRefused::Mismatch)),
            Claimed::Full => return Ok(Err(TokenGrantRefused::Connect(self.too_many_connections()))),
            // Another node has created it meanwhile. The client repeats its request.
            Claimed::Elsewhere => return Err(EngineError::Unavailable.into()),
        };
        self.grant_here(grant, Some((conn_id, generation, planned))).await
    }

    /// Refuses a grant before the connection moves: its session at another node ends then.
    async fn check_grant(&self, grant: &TokenGrant) -> Result<Result<(), TokenGrantRefused>, Refusal> {
        let (user, issued_unix) = (grant.connect.username.clone(), grant.issued_unix);
        let may = self.broker.ask(move |registry, _| registry.may_grant(&user, issued_unix)).await?;
        let Some(conn_id) = grant.connect.conn_id.filter(|_| may.is_ok()) else { return Ok(may) };
        match self.find(conn_id).await? {
            Some(row) if row.user != grant.connect.username => Ok(Err(TokenGrantRefused::Mismatch)),
            _ => Ok(Ok(())),
        }
    }

    /// Grants a connection of this node. `claimed` is one that this node creates, its generation, and what becomes of its
    /// user's record.
    async fn grant_here(
        &self,
        mut grant: TokenGrant,
        claimed: Option<(Uuid, u64, PlannedChange)>,
    ) -> Result<Result<Uuid, TokenGrantRefused>, Refusal> {
        let connect = &mut grant.connect;
        let (held, owned) = match claimed {
            Some((conn_id, generation, planned)) => {
                let held = self.prepare_connect(connect, planned, Requester::Application).await?;
                (held, Some((conn_id, generation)))
            }
            None => {
                let held = self.open(&connect.username, &connect.channels, &connect.channel_configs).await?;
                (held.map_err(ConnectRefused::OverLimit), None)
            }
        };
        let _held = match held {
            Ok(held) => held,
            Err(refused) => return Ok(Err(TokenGrantRefused::Connect(refused))),
        };
        let granted = self.broker.ask(move |registry, context| {
            let conn_id = grant.connect.conn_id.filter(|_| grant.creates && owned.is_none());
            let is_here = conn_id.is_none_or(|id| registry.state().connection(id).is_some());
            is_here.then(|| registry.grant_token(grant, owned, context))
        });
        // A connection that has just moved must not be created a second time. The client repeats its request.
        let granted = granted.await?.ok_or(EngineError::Unavailable)?;
        self.settle().await?;
        Ok(granted)
    }
}
