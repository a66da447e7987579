//! Routing of messages: resolves names to ids, and sends each message to its channel or to the private messages.

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::{Publication, ReceiptedPublication, Recheck, ToChannel};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::Recipient;
use crate::broker::receipts::{PrivateReceiptSlot, PublishedItem, Receipt, ReceiptSlot, StreamReceipt};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, ConnectionSlot, UserId};
use crate::protocol::message::{Delete, Delivery, Edit, Message};

/// A message goes to listed sessions if the channel has at least this many times as many members: finding one session
/// costs as much as skipping this many members.
const FEW_FACTOR: usize = 2;

type InChannel<T> = fn(T, Audience) -> Publication;
type InPrivate<T> = fn(T, Vec<Recipient>, Option<Box<PrivateReceiptSlot>>) -> ToPrivateMessages;

impl RegistryState {
    /// Routes a new message. Returns the number of connections that receive it privately; a channel counts its own.
    pub fn post(&self, message: Message, slot: Option<ReceiptSlot>, effects: &mut Vec<Effect>) -> u64 {
        let routes = (Publication::Post as _, ToPrivateMessages::Post as _);
        self.route(message, slot, |message| &message.delivery, routes, effects)
    }

    /// Routes an edit to the receivers that it names.
    pub fn edit(&self, edit: Edit, slot: Option<ReceiptSlot>, effects: &mut Vec<Effect>) {
        let routes = (Publication::Edit as _, ToPrivateMessages::Edit as _);
        self.route(edit, slot, |edit| &edit.delivery, routes, effects);
    }

    /// Routes a deletion to the receivers that it names.
    pub fn delete(&self, delete: Delete, slot: Option<ReceiptSlot>, effects: &mut Vec<Effect>) {
        let routes = (Publication::Delete as _, ToPrivateMessages::Delete as _);
        self.route(delete, slot, |delete| &delete.delivery, routes, effects);
    }

    /// Asks the streams of an item that was published earlier whether they still keep it.
    pub fn recheck(&self, item: PublishedItem, slot: ReceiptSlot, effects: &mut Vec<Effect>) {
        let PublishedItem { delivery, message, receipt } = item;
        match receipt {
            Receipt::Channel(stream) => {
                // A channel is never removed.
                match delivery.channel.as_deref().and_then(|name| self.channel_id(name)) {
                    Some(channel) => {
                        let recheck = ToChannel::Recheck(Box::new(Recheck { message, stream, slot }));
                        effects.push(Effect::Channel(channel, recheck));
                    }
                    None => slot.fill(Receipt::Channel(stream)),
                }
            }
            Receipt::Users(streams) => {
                let users = delivery.users().into_iter().map(|name| self.user_id(name));
                let streams = users.zip(streams).collect();
                effects.push(Effect::PrivateMessages(ToPrivateMessages::Recheck(streams, slot)));
            }
        }
    }

    /// Sends an item to its channel, or to the private messages of the users that it names. An item for an unknown channel is
    /// dropped, and the channel is not created. Returns the number of connections that receive it privately.
    fn route<T>(
        &self,
        item: T,
        slot: Option<ReceiptSlot>,
        delivery: fn(&T) -> &Delivery,
        (in_channel, in_private): (InChannel<T>, InPrivate<T>),
        effects: &mut Vec<Effect>,
    ) -> u64 {
        if let Some(name) = &delivery(&item).channel {
            if let Some(channel) = self.channel_id(name) {
                let (audience, locations) = self.resolve_audience(channel, delivery(&item));
                effects.push(Effect::Channel(channel, publish(in_channel(item, audience), locations, slot)));
            } else if let Some(slot) = slot {
                slot.fill(Receipt::nowhere());
            }
            return 0;
        }
        let recipients = self.recipients(&delivery(&item).pm_users);
        let slot = slot.and_then(|slot| self.private_slot(slot, delivery(&item), &recipients));
        if recipients.is_empty() {
            return 0;
        }
        let users = recipients.iter().filter_map(|recipient| self.user(recipient.user));
        let connections = users.map(|user| u64::from(user.present)).sum();
        effects.push(Effect::PrivateMessages(in_private(item, recipients, slot)));
        connections
    }

    /// The slot of a private item, for its stream. Fills the slot of an item without recipients, and returns `None`.
    fn private_slot(
        &self,
        slot: ReceiptSlot,
        delivery: &Delivery,
        recipients: &[Recipient],
    ) -> Option<Box<PrivateReceiptSlot>> {
        let known = |name: &str| {
            let user = self.user_id(name)?;
            let index = recipients.binary_search_by_key(&user, |recipient| recipient.user).ok()?;
            Some((user, recipients.get(index)?.locations.len() as u32))
        };
        let users: Vec<_> = delivery.users().into_iter().map(known).collect();
        match (users.is_empty(), recipients.is_empty()) {
            (true, _) => slot.fill(Receipt::nowhere()),
            (false, true) => PrivateReceiptSlot { slot, users }.fill(|_, _| StreamReceipt::default()),
            (false, false) => return Some(Box::new(PrivateReceiptSlot { slot, users })),
        }
        None
    }

    /// The named users that exist and have connections, and their sessions. Sorted by user.
    fn recipients(&self, names: &[String]) -> Vec<Recipient> {
        let recipient = |id| {
            let user = self.user(id).filter(|user| !user.connections.is_empty())?;
            let connections =
                user.connections.iter().filter_map(|key| self.connections.get(key.index as usize));
            let locations = connections.filter_map(|connection| connection.phase.session()).collect();
            Some(Recipient { user: id, locations })
        };
        self.users_named(names).into_iter().filter_map(recipient).collect()
    }

    /// The audience of a delivery in a channel. Includes all its sessions if they are few compared with the channel's
    /// members: then the hubs need not search all members.
    pub(super) fn resolve_audience(
        &self,
        channel: ChannelId,
        delivery: &Delivery,
    ) -> (Audience, Option<Vec<ConnectionSlot>>) {
        let except = self.users_named(&delivery.exclude_users).into();
        if delivery.pm_users.is_empty() {
            return (Audience { only: None, except }, None);
        }
        let only = self.users_named(&delivery.pm_users);
        let audience = Audience { only: Some(only.as_slice().into()), except };
        let receivers = || only.iter().filter(|id| audience.admits(**id)).filter_map(|id| self.user(*id));
        let count: usize = receivers().map(|user| user.connections.len()).sum();
        let members = self.channel(channel).map_or(0, |record| record.summary.connections() as usize);
        let locations = (count * FEW_FACTOR <= members).then(|| {
            let keys = receivers().flat_map(|user| user.connections.iter());
            let connections = keys.filter_map(|key| self.connections.get(key.index as usize));
            connections.filter_map(|connection| connection.phase.member()).collect()
        });
        (audience, locations)
    }

    /// The named users that exist, each once, sorted.
    fn users_named(&self, names: &[String]) -> Vec<UserId> {
        let mut users: Vec<UserId> = names.iter().filter_map(|name| self.user_id(name)).collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}

fn publish(
    publication: Publication,
    locations: Option<Vec<ConnectionSlot>>,
    slot: Option<ReceiptSlot>,
) -> ToChannel {
    match (locations, slot) {
        (locations, Some(slot)) => {
            ToChannel::PublishWithReceipt(Box::new(ReceiptedPublication { publication, locations, slot }))
        }
        (Some(locations), None) => ToChannel::PublishTo(Box::new(publication), locations),
        (None, None) => ToChannel::Publish(publication),
    }
}
