//! Events for clients, in the format of the original: compact JSON, one object each.

use super::frame::{Audience, Frame, FrameDraft, LiveFlag};
use super::ids::UserId;
use super::json;
use super::message::{Edit, Message};
use super::time::Timestamp;
use super::user_list::{UserList, write_user};
use super::value::Payload;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// A user as shown in channels and infos. Created again when its state changes, then shared. Small, because there may
/// be as many users as connections.
#[derive(Debug, PartialEq, Eq)]
pub struct UserView {
    /// The id inside the server.
    pub id: UserId,
    pub name: Box<str>,
    /// `None` for two empty objects: most users have no state.
    states: Option<Box<States>>,
}

#[derive(Debug, PartialEq, Eq)]
struct States {
    all: Box<str>,
    public: Box<str>,
}

impl UserView {
    /// Creates the view of a user with this state and this public part of it, both JSON objects.
    pub fn new(id: UserId, name: Box<str>, state: &str, public_state: &str) -> Self {
        let stateless = state == EMPTY && public_state == EMPTY;
        let states = || Box::new(States { all: state.into(), public: public_state.into() });
        Self { id, name, states: (!stateless).then(states) }
    }

    /// The whole state as a JSON object.
    pub fn state(&self) -> &str {
        self.states.as_ref().map_or(EMPTY, |states| &states.all)
    }

    /// The public part of the state as a JSON object.
    pub fn public_state(&self) -> &str {
        self.states.as_ref().map_or(EMPTY, |states| &states.public)
    }
}

const EMPTY: &str = "{}";

/// The kind of a presence event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The user's first connection joined the channel.
    Joined,
    /// The user's last connection left the channel.
    Parted,
}

/// The data of a `presence` event.
#[derive(Clone, Debug)]
pub struct PresenceEvent {
    /// The id for clients.
    pub uuid: Uuid,
    pub channel: Arc<str>,
    /// The user that joined or left.
    pub user: Arc<UserView>,
    pub presence: Presence,
    /// The present users, if the channel broadcasts its list of users.
    pub users: UserList,
    pub timestamp: Timestamp,
}

impl PresenceEvent {
    /// All users except the one that joined or left.
    pub fn audience(&self) -> Audience {
        Audience::all_but(self.user.id)
    }
}

/// Writes the members of an event.
struct EventMembers<'a> {
    out: &'a mut Vec<u8>,
    date: bool,
}

impl EventMembers<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        let first = matches!(self.out.last(), None | Some(b'[' | b'{'));
        if first && self.out.last() != Some(&b'{') {
            self.out.push(b'{');
        } else if !first {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn text(&mut self, key: &str, value: &str) {
        json::write_string(value, self.key(key));
    }

    fn raw(&mut self, key: &str, json: &[u8]) -> Range<usize> {
        let out = self.key(key);
        let start = out.len();
        out.extend_from_slice(json);
        start..out.len()
    }

    fn uuid(&mut self, uuid: Uuid) {
        json::write_uuid(uuid, self.key("uuid"));
    }

    fn channel(&mut self, channel: Option<&str>) {
        match channel {
            Some(name) => self.text("channel", name),
            None => _ = self.raw("channel", b"null"),
        }
    }

    fn time(&mut self, key: &str, time: &Timestamp) {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(time.frame().as_bytes());
        out.push(b'"');
    }

    /// Writes `timestamp`, and `date` with the same value if the server is configured so.
    fn timestamp(&mut self, time: &Timestamp) {
        self.time("timestamp", time);
        if self.date {
            self.time("date", time);
        }
    }

    fn edited(&mut self, edited: Option<&Timestamp>) {
        match edited {
            Some(time) => self.time("edited", time),
            None => _ = self.raw("edited", b"null"),
        }
    }
}

/// Encodes events. Contains the only setting that changes their format.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Whether frames contain `date`, equal to `timestamp`.
    pub date: bool,
}

impl Encoder {
    /// Encodes a `message` event. Also returns the payload as a part of the frame, so that it is stored once.
    pub fn message(
        self,
        message: &Message,
        edited: Option<&Timestamp>,
        audience: Audience,
    ) -> (Frame, Option<Payload>) {
        let payload = message.message.as_ref().map_or(0, |p| p.as_bytes().len());
        let mut draft = FrameDraft::new(payload + message.user.len() + 320);
        let mut members = EventMembers { out: &mut draft.buffer, date: self.date };
        members.channel(message.delivery.channel.as_deref());
        members.uuid(message.uuid);
        members.timestamp(&message.timestamp);
        members.text("user", &message.user);
        let part = message.message.as_ref().map(|p| members.raw("message", p.as_bytes()));
        members.edited(edited);
        members.text("type", "message");
        let (frame, part) = draft.finish(LiveFlag::False, audience, part);
        (frame, part.map(Payload::from_compact))
    }

    /// Encodes a `message:edit` event. It contains only the members that the edit names, which clients merge into the
    /// message.
    pub fn edit(self, edit: &Edit, audience: Audience) -> Frame {
        let mut draft = FrameDraft::new(edit.message.as_ref().map_or(0, |p| p.as_bytes().len()) + 320);
        let mut members = EventMembers { out: &mut draft.buffer, date: self.date };
        members.channel(edit.delivery.channel.as_deref());
        members.uuid(edit.uuid);
        if let Some(time) = &edit.timestamp {
            members.timestamp(time);
        }
        if let Some(user) = &edit.user {
            members.text("user", user);
        }
        if let Some(payload) = &edit.message {
            members.raw("message", payload.as_bytes());
        }
        members.time("edited", &edit.edited);
        members.text("type", "message:edit");
        draft.finish(LiveFlag::Absent, audience, None).0
    }

    /// Encodes a `message:delete` event.
    pub fn delete(self, uuid: Uuid, channel: Option<&str>, audience: Audience) -> Frame {
        let mut draft = FrameDraft::new(128);
        let mut members = EventMembers { out: &mut draft.buffer, date: self.date };
        members.channel(channel);
        members.uuid(uuid);
        members.text("type", "message:delete");
        draft.finish(LiveFlag::Absent, audience, None).0
    }

    /// Encodes a `presence` event.
    pub fn presence(self, event: &PresenceEvent) -> Frame {
        let user = &event.user;
        let mut draft = FrameDraft::new(320 + user.public_state().len() + event.users.written_len(true));
        let mut members = EventMembers { out: &mut draft.buffer, date: self.date };
        members.uuid(event.uuid);
        members.text("type", "presence");
        members.text("user", &user.name);
        event.users.write(members.key("users"), true);
        members.timestamp(&event.timestamp);
        members.text("channel", &event.channel);
        let (action, state) = match event.presence {
            Presence::Joined => ("{\"action\":\"joined\"}", user.public_state()),
            Presence::Parted => ("{\"action\":\"parted\"}", "null"),
        };
        members.raw("message", action.as_bytes());
        members.raw("state", state.as_bytes());
        draft.finish(LiveFlag::False, event.audience(), None).0
    }

    /// Encodes a `presence:diff` event: the users that joined, with their public states, and the names of those that
    /// parted. `users` is the number of present users.
    pub fn presence_diff(
        self,
        channel: &str,
        joined: &[Arc<UserView>],
        parted: &[Box<str>],
        users: u32,
    ) -> Frame {
        let size: usize = joined.iter().map(|user| user.name.len() + user.public_state().len() + 24).sum();
        let names: usize = parted.iter().map(|name| name.len() + 3).sum();
        let mut draft = FrameDraft::new(channel.len() + size + names + 160);
        let mut members = EventMembers { out: &mut draft.buffer, date: false };
        members.text("type", "presence:diff");
        members.text("channel", channel);
        json::write_list(joined, members.key("joined"), |user, out| write_user(user, out, true));
        json::write_list(parted, members.key("parted"), |name, out| json::write_string(name, out));
        members.raw("users", users.to_string().as_bytes());
        members.raw("message", b"{}");
        draft.finish(LiveFlag::False, Audience::all(), None).0
    }

    /// Encodes a `presence:count` event: the numbers of present users and connections.
    pub fn presence_count(self, channel: &str, users: u32, connections: u32) -> Frame {
        let mut draft = FrameDraft::new(channel.len() + 160);
        let mut members = EventMembers { out: &mut draft.buffer, date: false };
        members.text("type", "presence:count");
        members.text("channel", channel);
        members.raw("users", users.to_string().as_bytes());
        members.raw("connections", connections.to_string().as_bytes());
        members.raw("message", b"{}");
        draft.finish(LiveFlag::False, Audience::all(), None).0
    }

    /// Encodes a `user_state_change` event. `changed` is a JSON list of `{"key", "value"}`, public keys only.
    pub fn state_change(
        self,
        uuid: Uuid,
        channel: &str,
        user: &UserView,
        changed: &str,
        now: &Timestamp,
    ) -> Frame {
        let mut draft = FrameDraft::new(320 + user.public_state().len() + changed.len());
        let mut members = EventMembers { out: &mut draft.buffer, date: self.date };
        members.uuid(uuid);
        members.text("type", "user_state_change");
        members.text("user", &user.name);
        members.timestamp(now);
        members.text("channel", channel);
        let out = members.key("message");
        for piece in ["{\"state\":", user.public_state(), ",\"changed\":", changed, "}"] {
            out.extend_from_slice(piece.as_bytes());
        }
        draft.finish(LiveFlag::False, Audience::all(), None).0
    }
}

/// Appends a message in the format of `history`: the event, preceded by its delivery fields.
pub fn push_history_entry(out: &mut Vec<u8>, message: &Message, edited: Option<&Timestamp>) {
    out.push(b'{');
    let mut members = EventMembers { out, date: false };
    let delivery = &message.delivery;
    json::write_strings(&delivery.pm_users, members.key("pm_users"));
    json::write_strings(&delivery.exclude_users, members.key("exclude_users"));
    members.channel(delivery.channel.as_deref());
    members.raw("no_history", if delivery.no_history { b"true" } else { b"false" });
    members.uuid(message.uuid);
    members.time("timestamp", &message.timestamp);
    members.text("user", &message.user);
    if let Some(payload) = &message.message {
        members.raw("message", payload.as_bytes());
    }
    members.edited(edited);
    members.raw("catchup", b"false");
    members.text("type", "message");
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::message::Delivery;
    use super::*;
    use bytes::Bytes;
    use serde_json::{Value, json};

    fn element(bytes: Bytes) -> Value {
        serde_json::from_slice(&bytes).unwrap()
    }

    fn sample(payload: Option<&'static str>) -> Message {
        Message {
            uuid: Uuid::nil(),
            timestamp: Timestamp::parse("2010-01-01T01:01:01Z").unwrap(),
            user: "ž\"".into(),
            message: payload.map(|p| Payload::from_compact(Bytes::from_static(p.as_bytes()))),
            delivery: Delivery { channel: Some("c".into()), ..Delivery::default() },
        }
    }

    #[test]
    fn a_message_has_a_live_and_a_catch_up_form() {
        let (frame, payload) =
            Encoder { date: true }.message(&sample(Some("{\"a\":[1]}")), None, Audience::all());
        let expected = json!({
            "channel": "c", "uuid": Uuid::nil(), "timestamp": "2010-01-01T01:01:01Z",
            "date": "2010-01-01T01:01:01Z", "user": "ž\"", "message": {"a": [1]}, "edited": null,
            "catchup": false, "type": "message"
        });
        assert_eq!(element(frame.live_element()), expected);
        let mut caught_up = expected;
        caught_up["catchup"] = json!(true);
        assert_eq!(element(frame.catchup_element(None).concat().into()), caught_up);
        assert_eq!(&payload.unwrap().as_bytes()[..], b"{\"a\":[1]}");
    }

    #[test]
    fn absent_payloads_stay_absent() {
        let (frame, _) = Encoder { date: false }.message(&sample(None), None, Audience::all());
        assert!(element(frame.live_element()).get("message").is_none());
    }

    #[test]
    fn history_entries_are_json() {
        let mut out = Vec::new();
        push_history_entry(&mut out, &sample(Some("{}")), None);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["pm_users"], json!([]));
        assert_eq!(value["no_history"], json!(false));
        assert_eq!(value["catchup"], json!(false));
    }

    #[test]
    fn presence_of_many_users_has_the_documented_form() {
        let encoder = Encoder { date: true };
        let view = Arc::new(UserView::new(UserId(1), "ada".into(), "{\"a\":1}", "{}"));
        let text = |frame: &Frame| String::from_utf8(frame.live_element().to_vec()).unwrap();
        let diff = encoder.presence_diff("lobby", &[view], &["b\"ob".into()], 1_234);
        assert_eq!(
            text(&diff),
            r#"{"type":"presence:diff","channel":"lobby","joined":[{"user":"ada","state":{}}],"parted":["b\"ob"],"users":1234,"message":{},"catchup":false}"#
        );
        let count = encoder.presence_count("lobby", 1_234, 1_502);
        assert_eq!(
            text(&count),
            r#"{"type":"presence:count","channel":"lobby","users":1234,"connections":1502,"message":{},"catchup":false}"#
        );
        assert!(!diff.audience().is_restricted() && !count.audience().is_restricted());
    }

    #[test]
    fn presence_shows_public_state_only() {
        let view = Arc::new(UserView::new(UserId(1), "u".into(), "{\"a\":1,\"b\":2}", "{\"a\":1}"));
        let event = |presence, users| PresenceEvent {
            uuid: Uuid::nil(),
            channel: "c".into(),
            user: view.clone(),
            presence,
            users,
            timestamp: Timestamp::now(),
        };
        let encoder = Encoder { date: false };
        let joined = encoder.presence(&event(Presence::Joined, UserList::from_iter([view.clone()])));
        let value = element(joined.live_element());
        assert_eq!(value["users"], json!([{"user": "u", "state": {"a": 1}}]));
        assert_eq!(value["state"], json!({"a": 1}));
        let parted = encoder.presence(&event(Presence::Parted, UserList::default()));
        let value = element(parted.live_element());
        assert_eq!((&value["users"], &value["state"]), (&json!([]), &Value::Null));
        assert!(!parted.audience().admits(UserId(1)));
    }
}
