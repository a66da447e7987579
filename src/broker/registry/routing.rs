//! Routing of messages: resolves names to ids, and sends each message to its channel or to the private messages.

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::{Publication, ToChannel};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::Recipient;
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, ConnectionSlot, UserId};
use crate::protocol::message::{Delete, Delivery, Edit, Message};

/// A message goes to listed sessions if the channel has at least this many times as many members: finding one session
/// costs as much as skipping this many members.
const FEW_FACTOR: usize = 2;

impl RegistryState {
    /// Routes a new message. Returns the number of connections that receive it privately; a channel counts its own.
    pub fn post(&self, message: Message, effects: &mut Vec<Effect>) -> u64 {
        self.route(message, |message| &message.delivery, Publication::Post, ToPrivateMessages::Post, effects)
    }

    /// Routes an edit to the receivers that it names.
    pub fn edit(&self, edit: Edit, effects: &mut Vec<Effect>) {
        self.route(edit, |edit| &edit.delivery, Publication::Edit, ToPrivateMessages::Edit, effects);
    }

    /// Routes a deletion to the receivers that it names.
    pub fn delete(&self, delete: Delete, effects: &mut Vec<Effect>) {
        self.route(
            delete,
            |delete| &delete.delivery,
            Publication::Delete,
            ToPrivateMessages::Delete,
            effects,
        );
    }

    /// Sends an item to its channel, or to the private messages of the users that it names. An item for an unknown channel is
    /// dropped, and the channel is not created. Returns the number of connections that receive it privately.
    fn route<T>(
        &self,
        item: T,
        delivery: fn(&T) -> &Delivery,
        in_channel: fn(T, Audience) -> Publication,
        in_private: fn(T, Vec<Recipient>) -> ToPrivateMessages,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        if let Some(name) = &delivery(&item).channel {
            if let Some(channel) = self.channel_id(name) {
                let (audience, locations) = self.resolve_audience(channel, delivery(&item));
                effects.push(Effect::Channel(channel, publish(in_channel(item, audience), locations)));
            }
            return 0;
        }
        let recipients = self.recipients(&delivery(&item).pm_users);
        if recipients.is_empty() {
            return 0;
        }
        let users = recipients.iter().filter_map(|recipient| self.user(recipient.user));
        let connections = users.map(|user| u64::from(user.present)).sum();
        effects.push(Effect::PrivateMessages(in_private(item, recipients)));
        connections
    }

    /// The named users that exist and have connections, and their sessions.
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
    fn resolve_audience(
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

    /// The named users that exist, each once.
    fn users_named(&self, names: &[String]) -> Vec<UserId> {
        let mut users: Vec<UserId> = names.iter().filter_map(|name| self.user_id(name)).collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}

fn publish(publication: Publication, locations: Option<Vec<ConnectionSlot>>) -> ToChannel {
    match locations {
        Some(locations) => ToChannel::PublishTo(Box::new(publication), locations),
        None => ToChannel::Publish(publication),
    }
}
