//! The way of messages: names become ids, and each goes to its channel or to its users' private message streams.

use super::state::{Effect, RegistryState};
use crate::broker::channel::messages::{Publication, ToChannel};
use crate::broker::private_messages::ToPrivateMessages;
use crate::broker::private_messages::state::Recipient;
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, ConnectionSlot, UserId};
use crate::protocol::message::{Delete, Delivery, Edit, Message};

/// Receivers are few where a channel has this many times as many members: finding one by its place costs as much as
/// passing so many by.
const FEW: usize = 2;

impl RegistryState {
    /// A new message. To an unknown channel: nothing happens, none is created. Returns to how many connections it goes
    /// privately; a channel counts its own.
    pub fn post(&self, message: Message, effects: &mut Vec<Effect>) -> u64 {
        match &message.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let (audience, places) = self.reach(channel, &message.delivery);
                    let publication = Publication::Post(message, audience);
                    effects.push(Effect::Channel(channel, publish(publication, places)));
                }
                0
            }
            None => {
                let recipients = self.recipients(&message.delivery.pm_users);
                if recipients.is_empty() {
                    return 0;
                }
                let users = recipients.iter().filter_map(|recipient| self.user(recipient.user));
                let connections = users.map(|user| u64::from(user.present)).sum();
                effects.push(Effect::Inbox(ToPrivateMessages::Post(message, recipients)));
                connections
            }
        }
    }

    /// A change of a message, for those whom the change itself names.
    pub fn edit(&self, edit: Edit, effects: &mut Vec<Effect>) {
        match &edit.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let (audience, places) = self.reach(channel, &edit.delivery);
                    let publication = Publication::Edit(edit, audience);
                    effects.push(Effect::Channel(channel, publish(publication, places)));
                }
            }
            None => {
                let recipients = self.recipients(&edit.delivery.pm_users);
                if !recipients.is_empty() {
                    effects.push(Effect::Inbox(ToPrivateMessages::Edit(edit, recipients)));
                }
            }
        }
    }

    /// The end of a message, for those whom the deletion itself names.
    pub fn delete(&self, delete: Delete, effects: &mut Vec<Effect>) {
        match &delete.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let (audience, places) = self.reach(channel, &delete.delivery);
                    let publication = Publication::Delete(delete, audience);
                    effects.push(Effect::Channel(channel, publish(publication, places)));
                }
            }
            None => {
                let recipients = self.recipients(&delete.delivery.pm_users);
                if !recipients.is_empty() {
                    effects.push(Effect::Inbox(ToPrivateMessages::Delete(delete, recipients)));
                }
            }
        }
    }

    /// The known ones among these who have connections, and where their sessions are.
    fn recipients(&self, names: &[String]) -> Vec<Recipient> {
        let recipient = |id| {
            let user = self.user(id).filter(|user| !user.connections.is_empty())?;
            let connections =
                user.connections.iter().filter_map(|key| self.connections.get(key.index as usize));
            let places = connections.filter_map(|connection| connection.phase.session()).collect();
            Some(Recipient { user: id, places })
        };
        self.users_named(names).into_iter().filter_map(recipient).collect()
    }

    /// Who is meant to get something in a channel; and where all their sessions are, if these are few beside the
    /// channel's members: then nobody need look at all members for them.
    fn reach(&self, channel: ChannelId, delivery: &Delivery) -> (Audience, Option<Vec<ConnectionSlot>>) {
        let except = self.users_named(&delivery.exclude_users).into();
        if delivery.pm_users.is_empty() {
            return (Audience { only: None, except }, None);
        }
        let only = self.users_named(&delivery.pm_users);
        let audience = Audience { only: Some(only.as_slice().into()), except };
        let receivers = || only.iter().filter(|id| audience.admits(**id)).filter_map(|id| self.user(*id));
        let count: usize = receivers().map(|user| user.connections.len()).sum();
        let members = self.channel(channel).map_or(0, |record| record.summary.connections() as usize);
        let places = (count * FEW <= members).then(|| {
            let keys = receivers().flat_map(|user| user.connections.iter());
            let connections = keys.filter_map(|key| self.connections.get(key.index as usize));
            connections.filter_map(|connection| connection.phase.member()).collect()
        });
        (audience, places)
    }

    /// The known ones among these, each once.
    fn users_named(&self, names: &[String]) -> Vec<UserId> {
        let mut users: Vec<UserId> = names.iter().filter_map(|name| self.user_id(name)).collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}

fn publish(publication: Publication, places: Option<Vec<ConnectionSlot>>) -> ToChannel {
    match places {
        Some(places) => ToChannel::PublishTo(Box::new(publication), places),
        None => ToChannel::Publish(publication),
    }
}
