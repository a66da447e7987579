//! POST /message: publish messages to channels and users. This is the server's hot path.

use super::answer::Invalid;
use super::batch::{self, BatchItem, Parsed, check_frame, frame_fits};
use super::body::RequestLimits;
use super::delivery::{self, write_payload, write_plain, write_user};
use super::fields::{Field, FieldTable, Fields, Id, Json, Name, Time, USER_NAME};
use super::publish_options::PublishOptions;
use super::publishing::{self, ItemDefaults, Publishable};
use crate::auth::Gate;
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{KeyedRequest, ReceiptSlot};
use crate::http_error::Refusal;
use crate::protocol::message::{Delivery, Message};
use crate::protocol::time::Timestamp;
use crate::protocol::value::Payload;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const USER: Field<Name> = Field::required("user", USER_NAME, "Name of the author.");
const MESSAGE: Field<Json> = Field::optional("message", Json, "The content: any object.");
const UUID: Field<Id> = Field::optional("uuid", Id, "The message's id; random when left out.");
const TIMESTAMP: Field<Time> =
    Field::optional("timestamp", Time, "Time of the message; the current time when left out.");
pub(crate) const FIELDS: FieldTable = &[
    &USER,
    &delivery::CHANNEL,
    &delivery::PM_USERS,
    &delivery::EXCLUDE_USERS,
    &MESSAGE,
    &delivery::NO_HISTORY,
    &UUID,
    &TIMESTAMP,
];

/// Reads a body. Messages without recipients (neither channel nor `pm_users`) are validated and dropped.
///
/// `now` is the time of messages that do not contain one.
pub fn parse_messages(body: &[u8], limits: &RequestLimits, now: Timestamp) -> Result<Vec<Message>, Invalid> {
    Message::parse(body, limits, &ItemDefaults::at(now))
}

impl Publishable for Message {
    const METHOD: Method = Method::POST;

    fn parse(body: &[u8], limits: &RequestLimits, defaults: &ItemDefaults) -> Result<Vec<Self>, Invalid> {
        batch::parse(
            body,
            limits,
            |index, item| read_fast(index, item, limits, defaults),
            FIELDS,
            |index, fields| read_full(index, fields, defaults),
        )
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn message_in_history(&self) -> Option<Uuid> {
        Some(self.uuid)
    }

    fn write(&self, out: &mut Vec<u8>) {
        delivery::write(&self.delivery, &self.uuid, out);
        write_plain("timestamp", &self.timestamp.answer(), out);
        write_user(&self.user, out);
        write_payload(self.message.as_ref(), out);
        out.extend_from_slice(b",\"edited\":null");
    }

    async fn publish(
        broker: &BrokerHandle,
        items: Vec<Self>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        broker.publish(items, slots, request).await
    }
}

fn read_fast(
    index: usize,
    mut item: BatchItem<'_>,
    limits: &RequestLimits,
    defaults: &ItemDefaults,
) -> Option<Parsed<Message>> {
    let delivery = delivery::take(&mut item, limits)?;
    let user = item.user.filter(|user| USER_NAME.fits(user, limits))?;
    let timestamp = item.timestamp.map_or(Some(defaults.now), Timestamp::parse)?;
    let message = match item.message {
        Some(raw) => Some(Payload::compact(raw.get())?),
        None => None,
    };
    let fits = |message| frame_fits(message, Some(&user), delivery.channel.as_deref(), limits);
    message.as_ref().is_none_or(fits).then_some(())?;
    let uuid = item.uuid.unwrap_or_else(|| defaults.id(index));
    Some(drop_unaddressed(Message { uuid, timestamp, user, message, delivery }))
}

fn read_full(index: usize, fields: &mut Fields<'_>, defaults: &ItemDefaults) -> Option<Parsed<Message>> {
    let delivery = delivery::read(fields);
    let uuid = fields.read(&UUID).unwrap_or_else(|| defaults.id(index));
    let timestamp = fields.read(&TIMESTAMP).unwrap_or(defaults.now);
    let user = fields.read(&USER);
    let message = fields.read(&MESSAGE);
    check_frame(fields, &MESSAGE, message.as_ref(), user.as_deref(), delivery.channel.as_deref());
    Some(drop_unaddressed(Message { uuid, timestamp, user: user?, message, delivery }))
}

fn drop_unaddressed(message: Message) -> Parsed<Message> {
    let has_no_recipients = message.delivery.channel.is_none() && message.delivery.pm_users.is_empty();
    if has_no_recipients { Parsed::Drop } else { Parsed::Keep(message) }
}

/// Appends the answer: the messages as the server read them.
pub fn write_message_answer(messages: &[Message], out: &mut Vec<u8>) {
    publishing::write(messages, out);
}

/// POST /message. The answer is sent before the messages are routed, unless the request asks for receipts: no request
/// waits for a fan-out.
///
/// # Errors
/// As [`publishing::publish`].
pub async fn post(
    signed: Signed,
    broker: web::Data<BrokerHandle>,
    gate: web::Data<Gate>,
    options: PublishOptions,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    publishing::publish::<Message>(signed, &broker, &gate, options, &body).await
}

/// Publishes without options, and writes the answer. Without a signature the caller is an operator in the console, who
/// has a separate rate limit.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit`, and those of [`BrokerHandle::publish`].
pub async fn publish(
    signed: Option<Signed>,
    broker: &BrokerHandle,
    body: &[u8],
) -> Result<HttpResponse, Refusal> {
    publishing::publish_plain::<Message>(signed, broker, body).await
}

#[cfg(test)]
mod tests {
    use super::super::batch::{parse_fast, parse_full};
    use super::*;
    use crate::config::Settings;
    use proptest::prelude::*;
    use serde_json::json;

    fn limits() -> RequestLimits {
        RequestLimits::from(&Settings::default())
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_micros(1_582_366_272_123_456)
    }

    fn both(text: &str) -> (Option<Vec<Message>>, Result<Vec<Message>, Invalid>) {
        let limits = limits();
        let defaults = ItemDefaults::at(now());
        let fast = parse_fast(text, &limits, |index, item| read_fast(index, item, &limits, &defaults));
        (fast, parse_full(text, &limits, FIELDS, |index, fields| read_full(index, fields, &defaults)))
    }

    #[test]
    fn ordinary_bodies_are_parsed_on_the_fast_path() {
        let text = r#"[ { "user": "a\"ž", "channel": "c", "message": {"text": "x y"}, "extra": [{}], "no_history": true } ]"#;
        let (fast, _) = both(text);
        let mut out = Vec::new();
        write_message_answer(&fast.unwrap(), &mut out);
        let answer = String::from_utf8(out).unwrap();
        assert!(
            answer.starts_with(
                r#"[{"pm_users":[],"exclude_users":[],"channel":"c","no_history":true,"uuid":""#
            )
        );
        assert!(answer.ends_with(
            r#"","timestamp":"2020-02-22T10:11:12.123456","user":"a\"ž","message":{"text":"x y"},"edited":null}]"#
        ));
    }

    #[test]
    fn the_fast_path_refuses_lists_for_objects_and_nulls() {
        for text in [
            r#"[[null, null, "u"]]"#,
            r#"[{"user": "u", "uuid": null}]"#,
            r#"[{"user": "u", "message": null}]"#,
            r#"[{"user": "u", "pm_users": null}]"#,
            r#"[{"user": "u", "no_history": "1"}]"#,
            r#"[{"user": "u", "user": "v"}]"#,
            "[] []",
        ] {
            assert_eq!(both(text).0, None, "{text}");
        }
    }

    #[test]
    fn the_full_path_accepts_what_the_original_tolerates() {
        let text =
            r#"[{"user": 5, "user": "u", "channel": "c", "no_history": "T", "message": {"t": "\udead"}}]"#;
        let messages = parse_messages(text.as_bytes(), &limits(), now()).unwrap();
        assert!(messages[0].delivery.no_history);
        assert_eq!(messages[0].message.as_ref().unwrap().as_bytes(), r#"{"t":"\udead"}"#);
        let refused = parse_messages(br#"[{"user": "\ud800"}]"#, &limits(), now()).unwrap_err();
        assert_eq!(refused.errors, json!({"0": {"user": ["Not a valid string."]}}));
    }

    #[test]
    fn errors_contain_the_exceeded_limit() {
        let limits = RequestLimits { max_list_items: 2, max_frame_bytes: 300, ..limits() };
        let parse =
            |text: String| parse_messages(text.as_bytes(), &limits, now()).map_err(|invalid| invalid.errors);
        assert_eq!(
            parse(r#"[{"user":"u"},{"user":"u"},{"user":"u"}]"#.into()),
            Err(json!({"_schema": ["Longer than maximum length 2."]}))
        );
        assert_eq!(
            parse(r#"[{"user":"u","pm_users":["a","b","c"]}]"#.into()),
            Err(json!({"0": {"pm_users": ["Longer than maximum length 2."]}}))
        );
        let long = "x".repeat(40);
        assert_eq!(
            parse(format!(r#"[{{"user":"u","channel":"c","message":{{"t":"{long}"}}}}]"#)),
            Err(json!({"0": {"message": ["Frame is longer than maximum 300 bytes."]}}))
        );
        assert!(parse(r#"[{"user":"u","channel":"c","message":{}}]"#.into()).is_ok());
    }

    #[test]
    fn the_frame_overhead_is_an_upper_limit() {
        let time = "2020-02-22T10:11:12.123456+00:00";
        let rest = [
            r#"[{"channel":,"uuid":"","user":,"message":,"edited":"","catchup":false,"#,
            r#""timestamp":"","date":"","type":"message:edit"}]"#,
        ];
        let longest = rest.concat().len() + 36 + 3 * time.len();
        assert!(longest <= 256, "{longest}");
    }

    /// Right and wrong field values, so that both paths are taken often.
    fn item() -> impl Strategy<Value = String> {
        let value = prop::sample::select(vec![
            "null",
            "true",
            "1",
            "\"1\"",
            "\"\"",
            "\"a\"",
            "\"\\u0061\"",
            "[]",
            "[\"a\",\"b\"]",
            "[\"\"]",
            "{}",
            "{ \"k\" : [ 1 ] }",
            "\"2010-01-01T01:01\"",
            "\"2010-01-01T01:01Z\"",
            "\"\\ud800\"",
            "\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\"",
        ]);
        let key = prop::sample::select(vec![
            "user",
            "channel",
            "message",
            "pm_users",
            "exclude_users",
            "no_history",
            "timestamp",
            "edited",
            "x",
        ]);
        prop::collection::vec((key, value), 0..5).prop_map(|members| {
            let id = "\"uuid\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"".to_owned();
            let members = members.iter().map(|(key, value)| format!("\"{key}\":{value}"));
            format!("{{{}}}", [id].into_iter().chain(members).collect::<Vec<_>>().join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn both_paths_agree_on_items_that_the_fast_path_accepts(
            items in prop::collection::vec(item(), 0..3),
            plain in any::<bool>(),
        ) {
            let valid = r#"{"uuid":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","user":"u","channel":null,"pm_users":["a"]}"#;
            let text = format!("[{}]", if plain { valid.to_owned() } else { items.join(",") });
            let (fast, full) = both(&text);
            prop_assert!(!plain || fast.is_some());
            if let Some(messages) = fast {
                prop_assert_eq!(Ok(messages), full);
            }
        }

        #[test]
        fn answers_are_valid_json(user in ".{1,20}", channel in ".{1,20}", text in ".*") {
            let body = json!([{"user": user, "channel": channel, "message": {"t": text}, "pm_users": [user]}]);
            let messages = parse_messages(body.to_string().as_bytes(), &limits(), now()).unwrap();
            let mut out = Vec::new();
            write_message_answer(&messages, &mut out);
            let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&answer[0]["user"], &body[0]["user"]);
            prop_assert_eq!(&answer[0]["message"], &body[0]["message"]);
            prop_assert_eq!(&answer[0]["pm_users"], &body[0]["pm_users"]);
        }
    }
}
