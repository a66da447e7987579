//! The way of messages: names become ids, and each goes to its channel or to its users' inboxes.

use super::state::{Effect, RegistryState};
use crate::channel::messages::{Publication, ToChannel};
use crate::ids::UserId;
use crate::inbox::ToInbox;
use crate::wire::frame::Audience;
use crate::wire::message::{Delete, Delivery, Edit, Message};

impl RegistryState {
    /// A new message. To an unknown channel: nothing happens, none is created.
    pub fn post(&self, message: Message, effects: &mut Vec<Effect>) {
        match &message.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let audience = self.audience(&message.delivery);
                    let publication = Publication::Post(message, audience);
                    effects.push(Effect::Channel(channel, ToChannel::Publish(publication)));
                }
            }
            None => {
                let users = self.users_named(&message.delivery.pm_users);
                self.to_inbox(users, effects, |users| ToInbox::Post(message, users));
            }
        }
    }

    /// A change of a message, for those whom the change itself names.
    pub fn edit(&self, edit: Edit, effects: &mut Vec<Effect>) {
        match &edit.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let audience = self.audience(&edit.delivery);
                    let publication = Publication::Edit(edit, audience);
                    effects.push(Effect::Channel(channel, ToChannel::Publish(publication)));
                }
            }
            None => {
                let users = self.users_named(&edit.delivery.pm_users);
                self.to_inbox(users, effects, |users| ToInbox::Edit(edit, users));
            }
        }
    }

    /// The end of a message, for those whom the deletion itself names.
    pub fn delete(&self, delete: Delete, effects: &mut Vec<Effect>) {
        match &delete.delivery.channel {
            Some(name) => {
                if let Some(channel) = self.channel_id(name) {
                    let audience = self.audience(&delete.delivery);
                    let publication = Publication::Delete(delete, audience);
                    effects.push(Effect::Channel(channel, ToChannel::Publish(publication)));
                }
            }
            None => {
                let users = self.users_named(&delete.delivery.pm_users);
                self.to_inbox(users, effects, |users| ToInbox::Delete(delete, users));
            }
        }
    }

    fn to_inbox(
        &self,
        users: Vec<UserId>,
        effects: &mut Vec<Effect>,
        message: impl FnOnce(Vec<UserId>) -> ToInbox,
    ) {
        if !users.is_empty() {
            effects.push(Effect::Inbox(message(users)));
        }
    }

    fn audience(&self, delivery: &Delivery) -> Audience {
        let only =
            (!delivery.pm_users.is_empty()).then(|| self.users_named(&delivery.pm_users).into_boxed_slice());
        Audience { only, except: self.users_named(&delivery.exclude_users).into_boxed_slice() }
    }

    /// The known ones among these, each once.
    fn users_named(&self, names: &[String]) -> Vec<UserId> {
        let mut users: Vec<UserId> = names.iter().filter_map(|name| self.user_id(name)).collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}
