//! Publishing through Redis: an item for a channel is one entry, a private item is one for each of its users.

use super::{ClusterRequest, HeldStreams};
use crate::broker::engine::call::{Call, Item, KeyedPart, KeyedRequest};
use crate::broker::engine::entry::{Answer, Published, read_answers};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::record::Record;
use crate::broker::receipts::{PublishedItem, Receipt, ReceiptSlot, StreamReceipt};
use crate::broker::registry::cluster::stream_keys;
use crate::http_error::Refusal;
use crate::protocol::message::{Delete, Delivery, Edit, Message};
use crate::protocol::time::Timestamp;
use std::sync::Arc;

impl ClusterRequest<'_> {
    pub async fn publish(
        &self,
        messages: Vec<Message>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        let count = messages.len() as u64;
        let (mut items, mut parts) = (Vec::with_capacity(messages.len()), parts(request));
        let mut streams = Vec::with_capacity(messages.len());
        for message in messages {
            let (keys, delivery) = (stream_keys(&message.delivery), message.delivery.clone());
            let record = Record::Message { message, edited: None }.encode();
            streams.push((delivery, keys.len()));
            let items_of = keys.into_iter().zip(&mut parts);
            items.extend(items_of.map(|(stream, part)| Item { stream, record: record.clone(), part }));
        }
        let mut answers = Vec::new();
        if !items.is_empty() {
            let reply = self.link.call(Call::Append { items }).await?;
            answers = reply.bytes().and_then(read_answers).ok_or_else(malformed)?;
        }
        let first = first_time(&answers)?;
        if first.is_none() {
            self.broker.counters.messages.add(count);
        }
        self.broker.counters.queued.add(answers.iter().map(|answer| u64::from(connections(answer))).sum());
        fill(slots, streams, &answers);
        Ok(first)
    }

    pub async fn edit(
        &self,
        edits: Vec<Edit>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        let items = edits.into_iter().map(|edit| {
            let delivery = edit.delivery.clone();
            (delivery, Record::Edit { edit, is_of_deleted: false }.encode())
        });
        self.change(items.collect(), slots, request).await
    }

    pub async fn delete(
        &self,
        deletes: Vec<Delete>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        let items =
            deletes.into_iter().map(|delete| (delete.delivery.clone(), Record::Delete(delete).encode()));
        self.change(items.collect(), slots, request).await
    }

    /// Makes the streams current in which these items were published.
    pub async fn hold_streams_of(
        &self,
        items: &[(PublishedItem, ReceiptSlot)],
    ) -> Result<HeldStreams, Refusal> {
        let published = items.iter().filter(|(item, _)| item.receipt != Receipt::nowhere());
        let mut keys: Vec<Arc<str>> =
            published.flat_map(|(item, _)| stream_keys(&item.delivery)).map(Arc::from).collect();
        keys.sort_unstable();
        keys.dedup();
        self.hold(keys).await
    }

    /// Changes earlier messages. The calls are sent together and run in order.
    async fn change(
        &self,
        items: Vec<(Delivery, Vec<u8>)>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        let (mut calls, mut streams, mut parts) = (Vec::new(), Vec::new(), parts(request));
        for (delivery, record) in items {
            let keys = stream_keys(&delivery);
            streams.push((delivery, keys.len()));
            let changes = keys.into_iter().zip(&mut parts);
            calls.extend(changes.map(|(stream, part)| Call::Change { stream, record: record.clone(), part }));
        }
        let replies = self.call_all(calls.into_iter()).await?;
        let answers = replies.iter().map(|reply| reply.bytes().and_then(read_answers));
        let answers: Vec<_> = answers.collect::<Option<Vec<_>>>().ok_or_else(malformed)?.concat();
        let first = first_time(&answers)?;
        fill(slots, streams, &answers);
        Ok(first)
    }
}

/// The parts of a request, one after the other. Equal requests have equal parts.
fn parts(request: Option<KeyedRequest>) -> impl Iterator<Item = Option<KeyedPart>> {
    (0..).map(move |number| Some(KeyedPart { request: request?, number }))
}

/// The time of the request that has caused some of the answers before.
///
/// # Errors
/// `IdempotencyKeyReused` if that was another request. Redis has refused all items then.
fn first_time(answers: &[Answer]) -> Result<Option<Timestamp>, Refusal> {
    if answers.iter().any(|answer| answer.published == Published::KeyReused) {
        return Err(Refusal::IdempotencyKeyReused);
    }
    Ok(answers.iter().find_map(|answer| answer.first))
}

fn malformed() -> EngineError {
    EngineError::Refused("the reply is malformed".into())
}

/// To how many connections the item goes now.
fn connections(answer: &Answer) -> u32 {
    match answer {
        Answer { published: Published::At(item), first: None } => item.connections,
        _ => 0,
    }
}

/// Fills the slots, if there are any. `streams` has the delivery of each item and the number of its answers.
fn fill(slots: Vec<ReceiptSlot>, streams: Vec<(Delivery, usize)>, mut answers: &[Answer]) {
    for (slot, (delivery, count)) in slots.into_iter().zip(streams) {
        let (own, rest) = answers.split_at(count.min(answers.len()));
        answers = rest;
        let mut receipts = own.iter().map(receipt);
        slot.fill(match delivery.channel {
            Some(_) => receipts.next().map_or_else(Receipt::nowhere, Receipt::Channel),
            None if count == 0 => Receipt::nowhere(),
            None => Receipt::Users(receipts.collect()),
        });
    }
}

fn receipt(answer: &Answer) -> StreamReceipt {
    match answer.published {
        Published::At(item) => {
            StreamReceipt { position: Some(item.position), online: item.connections, is_kept: item.is_kept }
        }
        Published::NoChannel | Published::KeyReused => StreamReceipt::default(),
    }
}
