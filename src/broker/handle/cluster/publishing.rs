//! Publishing through Redis: an item for a channel is one entry, a private item is one for each of its users.

use super::{ClusterRequest, HeldStreams};
use crate::broker::engine::call::{Call, Item};
use crate::broker::engine::entry::{Published, read_answers};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::record::Record;
use crate::broker::receipts::{PublishedItem, Receipt, ReceiptSlot, StreamReceipt};
use crate::broker::registry::cluster::{channel_key, user_key};
use crate::http_error::Refusal;
use crate::protocol::message::{Delete, Delivery, Edit, Message};
use futures_util::future::try_join_all;
use std::sync::Arc;
use uuid::Uuid;

/// The version of ids that follow from an idempotency key (RFC 9562, section 5.8). Others are random or the client's.
const FROM_KEY: usize = 8;

impl ClusterRequest<'_> {
    pub async fn publish(&self, messages: Vec<Message>, slots: Vec<ReceiptSlot>) -> Result<(), Refusal> {
        self.broker.counters.messages.add(messages.len() as u64);
        let mut items = Vec::with_capacity(messages.len());
        let mut streams = Vec::with_capacity(messages.len());
        for message in messages {
            let (keys, delivery) = (keys(&message.delivery), message.delivery.clone());
            let once = once_key(message.uuid);
            let record = Record::Message { message, edited: None }.encode();
            streams.push((delivery, keys.len()));
            items.extend(keys.into_iter().map(|stream| Item {
                idempotency_key: once.as_ref().map(|once| format!("{once}{stream}")),
                stream,
                record: record.clone(),
            }));
        }
        if items.is_empty() {
            fill(slots, streams, &[]);
            return Ok(());
        }
        let reply = self.link.call(Call::Append { items }).await?;
        let answers = reply.bytes().and_then(read_answers).ok_or_else(malformed)?;
        self.broker.counters.queued.add(answers.iter().map(|answer| u64::from(connections(answer))).sum());
        fill(slots, streams, &answers);
        Ok(())
    }

    pub async fn edit(&self, edits: Vec<Edit>, slots: Vec<ReceiptSlot>) -> Result<(), Refusal> {
        let items = edits.into_iter().map(|edit| {
            let delivery = edit.delivery.clone();
            (delivery, Record::Edit { edit, is_of_deleted: false }.encode())
        });
        self.change(items.collect(), slots).await
    }

    pub async fn delete(&self, deletes: Vec<Delete>, slots: Vec<ReceiptSlot>) -> Result<(), Refusal> {
        let items =
            deletes.into_iter().map(|delete| (delete.delivery.clone(), Record::Delete(delete).encode()));
        self.change(items.collect(), slots).await
    }

    /// Makes the streams current in which these items were published.
    pub async fn hold_streams_of(
        &self,
        items: &[(PublishedItem, ReceiptSlot)],
    ) -> Result<HeldStreams, Refusal> {
        let published = items.iter().filter(|(item, _)| item.receipt != Receipt::nowhere());
        let mut keys: Vec<Arc<str>> =
            published.flat_map(|(item, _)| keys(&item.delivery)).map(Arc::from).collect();
        keys.sort_unstable();
        keys.dedup();
        self.hold(keys).await
    }

    /// Changes earlier messages. The calls are sent together and run in order.
    async fn change(&self, items: Vec<(Delivery, Vec<u8>)>, slots: Vec<ReceiptSlot>) -> Result<(), Refusal> {
        let (mut calls, mut streams) = (Vec::new(), Vec::new());
        for (delivery, record) in items {
            let keys = keys(&delivery);
            streams.push((delivery, keys.len()));
            calls.extend(keys.into_iter().map(|stream| Call::Change { stream, record: record.clone() }));
        }
        let replies = try_join_all(calls.into_iter().map(|call| self.link.call(call))).await?;
        let answers = replies.iter().map(|reply| reply.bytes().and_then(read_answers));
        let answers: Vec<_> = answers.collect::<Option<Vec<_>>>().ok_or_else(malformed)?.concat();
        fill(slots, streams, &answers);
        Ok(())
    }
}

/// The streams of an item.
fn keys(delivery: &Delivery) -> Vec<String> {
    match &delivery.channel {
        Some(channel) => vec![channel_key(channel).to_string()],
        None => delivery.users().into_iter().map(|user| user_key(user).to_string()).collect(),
    }
}

/// The idempotency key of an item whose request has one.
fn once_key(id: Uuid) -> Option<String> {
    (id.get_version_num() == FROM_KEY).then(|| id.as_simple().to_string())
}

fn malformed() -> EngineError {
    EngineError::Refused("the reply is malformed".into())
}

fn connections(answer: &Published) -> u32 {
    match answer {
        Published::At(item) => item.connections,
        Published::Before(_) | Published::NoChannel => 0,
    }
}

/// Fills the slots, if there are any. `streams` has the delivery of each item and the number of its answers.
fn fill(slots: Vec<ReceiptSlot>, streams: Vec<(Delivery, usize)>, mut answers: &[Published]) {
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

fn receipt(answer: &Published) -> StreamReceipt {
    match answer {
        Published::At(item) | Published::Before(item) => {
            StreamReceipt { position: Some(item.position), online: item.connections, is_kept: item.is_kept }
        }
        Published::NoChannel => StreamReceipt::default(),
    }
}
