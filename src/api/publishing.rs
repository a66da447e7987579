//! How messages, edits and deletions are published: without options, with receipts, and with an idempotency key.

use super::answer::{self, Invalid};
use super::batch;
use super::body::RequestLimits;
use super::publish_options::PublishOptions;
use super::receipt::{Online, RECEIPT_BYTES, write_receipt};
use crate::auth::Gate;
use crate::auth::guard::Signed;
use crate::auth::idempotency::{Claim, Claimed, fingerprint};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{KeyedRequest, PublishedItem, Receipt, ReceiptSlot, Receipts};
use crate::http_error::Refusal;
use crate::limits::responses::LARGE;
use crate::protocol::json;
use crate::protocol::message::Delivery;
use crate::protocol::time::Timestamp;
use crate::telemetry::ReceiptLevel;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The values of fields that an item leaves out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemDefaults {
    /// The time of items that contain none.
    pub now: Timestamp,
    /// The key of the request, if it has one.
    key: Option<u128>,
}

impl ItemDefaults {
    /// Random ids, and this time.
    pub fn at(now: Timestamp) -> Self {
        Self { now, key: None }
    }

    /// The same for a repeated request whose first one came at this time.
    fn since(&self, first: Timestamp) -> Self {
        Self { now: first, key: self.key }
    }

    /// The id of the item at this index. With a key the same request always has the same ids (RFC 9562, section 5.8), so
    /// that the answer to a repeated request need not be stored.
    pub fn id(&self, index: usize) -> Uuid {
        let Some(key) = self.key else { return Uuid::new_v4() };
        let digest = Sha256::new().chain_update(key.to_be_bytes()).chain_update((index as u64).to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        uuid::Builder::from_custom_bytes(id).into_uuid()
    }
}

/// An item of POST, PATCH or DELETE /message.
pub(super) trait Publishable: Clone {
    const METHOD: Method;

    fn parse(body: &[u8], limits: &RequestLimits, defaults: &ItemDefaults) -> Result<Vec<Self>, Invalid>;

    fn delivery(&self) -> &Delivery;

    /// The message that a history contains if it contains the item.
    fn message_in_history(&self) -> Option<Uuid>;

    /// Appends the item of the answer without its last brace.
    fn write(&self, out: &mut Vec<u8>);

    /// Sends items to the broker, with a slot for each receipt or without slots. Returns the time of an earlier request
    /// that has published them.
    ///
    /// # Errors
    /// As [`BrokerHandle::publish`].
    async fn publish(
        broker: &BrokerHandle,
        items: Vec<Self>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal>;
}

/// Appends the answer.
pub(super) fn write<T: Publishable>(items: &[T], out: &mut Vec<u8>) {
    json::write_list(items, out, |item, out| {
        item.write(out);
        out.push(b'}');
    });
}

/// Publishes the items of a request without options. Without a signature the caller is an operator in the console, who has
/// a separate rate limit.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit`, and those of [`BrokerHandle::publish`].
pub(super) async fn publish_plain<T: Publishable>(
    signed: Option<Signed>,
    broker: &BrokerHandle,
    body: &[u8],
) -> Result<HttpResponse, Refusal> {
    let items = parse::<T>(broker, body, &ItemDefaults::at(Timestamp::now()))?;
    let answer = batch::admitted(signed, broker, body.len(), &items, write)?;
    T::publish(broker, items, Vec::new(), None).await?;
    Ok(answer)
}

/// Publishes the items of a request once, and answers it with the receipts that its options ask for. A request whose key
/// is known publishes nothing.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit`; `IdempotencyKeyReused`, `IdempotencyInProgress`; `BadSignature` if the secret has been
/// removed since the signature was checked; and those of [`BrokerHandle::publish`].
pub(super) async fn publish<T: Publishable>(
    signed: Signed,
    broker: &BrokerHandle,
    gate: &Gate,
    options: PublishOptions,
    body: &[u8],
) -> Result<HttpResponse, Refusal> {
    let request = Request { signed, broker, receipt: options.receipt, body };
    let Some(key) = options.key else {
        if options.receipt.is_none() {
            return publish_plain::<T>(Some(signed), broker, body).await;
        }
        return request.publish::<T>(&ItemDefaults::at(Timestamp::now()), None).await;
    };
    let key = gate.secrets().key_identity(signed.secret(), &key).ok_or(Refusal::BadSignature)?;
    match gate.idempotency.claim(key, fingerprint(&T::METHOD, body), Timestamp::now())? {
        Claimed::New(claim) => {
            let defaults = ItemDefaults { now: claim.request().time, key: Some(key) };
            request.publish::<T>(&defaults, Some(claim)).await
        }
        Claimed::Known { first, receipts } => {
            let defaults = ItemDefaults { now: first, key: Some(key) };
            request.replay::<T>(&defaults, &receipts).await
        }
    }
}

fn parse<T: Publishable>(
    broker: &BrokerHandle,
    body: &[u8],
    defaults: &ItemDefaults,
) -> Result<Vec<T>, Invalid> {
    T::parse(body, &RequestLimits::from(&*broker.settings), defaults)
}

/// What became of the items of a request.
enum Sent<'c> {
    /// They are published. The claim lasts until the answer is written.
    Published(Option<Claim<'c>>),
    /// A request at another node had published them, at this time.
    Before(Timestamp),
}

/// A request with options.
struct Request<'a> {
    signed: Signed,
    broker: &'a BrokerHandle,
    receipt: Option<ReceiptLevel>,
    body: &'a [u8],
}

impl Request<'_> {
    /// Publishes the items. If the request is refused, its claim ends and frees the key. If its client disconnects while
    /// it waits for receipts, the items stay published, and the claim stays stored. If it is not known whether they are
    /// published, the next request with the key publishes them again.
    async fn publish<T: Publishable>(
        &self,
        defaults: &ItemDefaults,
        claim: Option<Claim<'_>>,
    ) -> Result<HttpResponse, Refusal> {
        let items = parse::<T>(self.broker, self.body, defaults)?;
        self.broker.admit()?;
        self.broker.admit_messages(self.signed.secret(), items.len())?;
        let (receipts, slots) = Receipts::new(items.len());
        let Some(level) = self.receipt else {
            let answer = batch::written(self.broker, self.body.len(), &items, write)?;
            return match self.send(items, &receipts, slots, claim).await? {
                Sent::Published(_) => Ok(answer),
                Sent::Before(first) => self.replay::<T>(&defaults.since(first), &receipts).await,
            };
        };
        self.admit_receipts(&items)?;
        match self.send(items.clone(), &receipts, slots, claim).await? {
            Sent::Published(_claim) => {
                let receipts = wait_for(&receipts, self.deadline()).await;
                Ok(self.answer(&items, &receipts, level, Online::Counted))
            }
            Sent::Before(first) => self.replay::<T>(&defaults.since(first), &receipts).await,
        }
    }

    /// Gives the items to the broker, and stores the outcome with the claim. If a request at another node has published
    /// them, this node stores nothing: the engine remembers the key.
    async fn send<'c, T: Publishable>(
        &self,
        items: Vec<T>,
        receipts: &Arc<Receipts>,
        slots: Vec<ReceiptSlot>,
        mut claim: Option<Claim<'c>>,
    ) -> Result<Sent<'c>, Refusal> {
        let streams = items.iter().map(|item| item.delivery().users().len().max(1)).sum();
        if let Some(claim) = &mut claim {
            claim.begin(streams);
        }
        let sent = T::publish(self.broker, items, slots, claim.as_ref().map(Claim::request)).await;
        if let Some(claim) = &mut claim {
            match &sent {
                Ok(None) => claim.published(receipts),
                Err(refusal) if refusal.is_uncertain() => {}
                Ok(Some(_)) | Err(_) => claim.refused(),
            }
        }
        Ok(sent?.map_or(Sent::Published(claim), Sent::Before))
    }

    /// Answers a request whose items are already published.
    async fn replay<T: Publishable>(
        &self,
        defaults: &ItemDefaults,
        receipts: &Receipts,
    ) -> Result<HttpResponse, Refusal> {
        let items = parse::<T>(self.broker, self.body, defaults)?;
        let mut answer = match self.receipt {
            None => batch::written(self.broker, self.body.len(), &items, write)?,
            Some(level) => {
                self.broker.admit()?;
                self.admit_receipts(&items)?;
                let deadline = self.deadline();
                let earlier = wait_for(receipts, deadline).await;
                let receipts = self.rechecked(&items, earlier, deadline).await;
                self.answer(&items, &receipts, level, Online::Unknown)
            }
        };
        answer.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
        Ok(answer)
    }

    /// Refuses a request whose answer may be large while there is no room for it. The answer is written when nothing can
    /// be refused any more.
    fn admit_receipts<T: Publishable>(&self, items: &[T]) -> Result<(), Refusal> {
        if self.answer_bytes(items) > LARGE { self.broker.admit_response() } else { Ok(()) }
    }

    fn answer_bytes<T: Publishable>(&self, items: &[T]) -> usize {
        let of_user = |name: &str| RECEIPT_BYTES + json::string_len(name);
        let of_users = items.iter().flat_map(|item| item.delivery().users()).map(of_user);
        self.body.len() + items.len() * (160 + RECEIPT_BYTES) + of_users.sum::<usize>()
    }

    /// Until when the request waits for receipts.
    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.broker.settings.receipt_timeout_ms)
    }

    /// The receipts of items that were published earlier, as they are now: an item may not be kept any more.
    async fn rechecked<T: Publishable>(
        &self,
        items: &[T],
        earlier: Vec<Option<Receipt>>,
        deadline: Instant,
    ) -> Vec<Option<Receipt>> {
        let (receipts, slots) = Receipts::new(earlier.len());
        let published = items.iter().zip(&earlier).zip(slots).filter_map(|((item, receipt), slot)| {
            let (delivery, message) = (item.delivery().clone(), item.message_in_history());
            Some((PublishedItem { delivery, message, receipt: receipt.clone()? }, slot))
        });
        // Without an answer the earlier receipts stand.
        let _ = self.broker.recheck(published.collect()).await;
        let now = wait_for(&receipts, deadline).await;
        now.into_iter().zip(earlier).map(|(now, earlier)| now.or(earlier)).collect()
    }

    /// Writes the answer with these receipts.
    fn answer<T: Publishable>(
        &self,
        items: &[T],
        receipts: &[Option<Receipt>],
        level: ReceiptLevel,
        online: Online,
    ) -> HttpResponse {
        let given = receipts.iter().flatten().count();
        self.broker.counters.receipts.count(level, given, receipts.len() - given);
        let mut out = Vec::with_capacity(self.answer_bytes(items));
        json::write_list(items.iter().zip(receipts), &mut out, |(item, receipt), out| {
            item.write(out);
            out.extend_from_slice(b",\"receipt\":");
            write_receipt(receipt.as_ref(), item.delivery(), online, out);
            out.push(b'}');
        });
        answer::json(out)
    }
}

/// Waits for receipts until the deadline. Returns those that have arrived.
async fn wait_for(receipts: &Receipts, deadline: Instant) -> Vec<Option<Receipt>> {
    let _ = tokio::time::timeout_at(deadline, receipts.complete()).await;
    receipts.so_far()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_follow_from_key_and_index() {
        let now = Timestamp::now();
        let with = |key| ItemDefaults { now, key: Some(key) };
        assert_eq!(with(7).id(3), with(7).id(3));
        let ids: HashSet<Uuid> = (0..40).map(|n| with(n % 5).id(n as usize / 5)).collect();
        assert_eq!(ids.len(), 40);
        assert!(ids.iter().all(|id| id.get_version_num() == 8 && id.get_variant() == uuid::Variant::RFC4122));
        assert_eq!(ItemDefaults::at(now).id(0).get_version_num(), 4);
    }
}
