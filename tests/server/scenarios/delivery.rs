//! Which clients receive a message, and in which order.

use super::stage::{Stage, pick};
use serde_json::json;

on_every_transport!(
    clients_receive_many_messages_in_order,
    user_receives_private_messages_on_all_its_connections,
    private_message_of_a_channel_reaches_only_its_subscribers,
    excluded_users_receive_no_message,
    backend_changes_subscriptions_of_an_attached_session,
    unsubscribed_client_receives_only_earlier_messages,
    publish_does_not_create_unknown_channels,
);

/// Messages in one list, in single requests and in pipelined lists always arrive in the order of publishing.
async fn clients_receive_many_messages_in_order(stage: Stage) {
    let (_, mut first) = stage.enter("first", &["c"]).await;
    let (_, mut second) = stage.enter("second", &["c"]).await;
    let list = |from: usize, count: usize| {
        let message =
            |number: usize| json!({"user": "p", "channel": "c", "message": {"text": number.to_string()}});
        (from..from + count).map(message).collect::<serde_json::Value>()
    };
    stage.backend.post("/message", list(0, 250)).await;
    for number in 250..300 {
        stage.backend.publish_text("c", &number.to_string()).await;
    }
    stage.backend.post("/message", list(300, 100)).await;
    let expected: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    assert_eq!(first.texts(400).await, expected);
    assert_eq!(second.texts(400).await, expected);
}

async fn user_receives_private_messages_on_all_its_connections(stage: Stage) {
    let (_, mut ann) = stage.enter("ann", &["c"]).await;
    let (_, mut ann_elsewhere) = stage.enter("ann", &[]).await;
    let (_, mut bob) = stage.enter("bob", &["c"]).await;
    let uuid = stage.backend.publish(json!({"pm_users": ["ann", "nobody"]}), "for ann").await;
    stage.backend.publish(json!({"pm_users": ["bob"], "exclude_users": ["bob"]}), "for bob").await;
    for listener in [&mut ann, &mut ann_elsewhere] {
        let event = listener.event().await;
        let expected = json!([null, uuid, "publisher", {"text": "for ann"}, null, "message"]);
        assert_eq!(pick(&event, &["channel", "uuid", "user", "message", "edited", "type"]), expected);
        assert_eq!(event["date"], event["timestamp"]);
    }
    // Without a channel no user is excluded, as in the original; and bob received none of ann's messages before.
    assert_eq!(bob.texts(1).await, ["for bob"]);
}

async fn private_message_of_a_channel_reaches_only_its_subscribers(stage: Stage) {
    let (_, mut ann) = stage.enter("ann", &["c"]).await;
    let (_, mut bob) = stage.enter("bob", &["c"]).await;
    let (_, mut outsider) = stage.enter("outsider", &["d"]).await;
    let delivery = json!({"channel": "c", "pm_users": ["ann", "outsider"]});
    stage.backend.publish(delivery, "for ann").await;
    stage.backend.publish_text("c", "for all").await;
    stage.backend.publish_text("d", "elsewhere").await;
    assert_eq!(ann.texts(2).await, ["for ann", "for all"]);
    assert_eq!(bob.texts(1).await, ["for all"]);
    assert_eq!(outsider.texts(1).await, ["elsewhere"], "a channel's message stays in the channel");
}

async fn excluded_users_receive_no_message(stage: Stage) {
    let (_, mut ann) = stage.enter("ann", &["c"]).await;
    let (_, mut bob) = stage.enter("bob", &["c"]).await;
    let (_, mut eve) = stage.enter("eve", &["c"]).await;
    stage.backend.publish(json!({"channel": "c", "exclude_users": ["eve", "nobody"]}), "not for eve").await;
    let both = json!({"channel": "c", "pm_users": ["ann", "bob"], "exclude_users": ["bob"]});
    stage.backend.publish(both, "for ann").await;
    stage.backend.publish_text("c", "for all").await;
    assert_eq!(ann.texts(3).await, ["not for eve", "for ann", "for all"]);
    assert_eq!(bob.texts(2).await, ["not for eve", "for all"]);
    assert_eq!(eve.texts(1).await, ["for all"]);
}

async fn backend_changes_subscriptions_of_an_attached_session(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["a"]).await;
    let (_, _other) = stage.enter("bob", &["b"]).await;
    stage.backend.publish_text("b", "before").await;
    let subscribe = json!({"conn_id": conn_id, "channels": ["b", "new"]});
    let answer = stage.backend.post("/subscribe", subscribe).await;
    assert_eq!(answer["channels"], json!(["a", "b", "new"]));
    assert_eq!(answer["subscribed_to"], json!(["b", "new"]));
    for channel in ["b", "new", "a"] {
        stage.backend.publish_text(channel, channel).await;
    }
    let mut texts = listener.texts(3).await;
    // The order between channels is undefined.
    texts.sort();
    assert_eq!(texts, ["a", "b", "new"]);
    let answer =
        stage.backend.post("/unsubscribe", json!({"conn_id": conn_id, "channels": ["b", "x"]})).await;
    assert_eq!(answer["channels"], json!(["a", "new"]));
    assert_eq!(answer["unsubscribed_from"], json!(["b"]));
    stage.backend.publish_text("b", "after").await;
    stage.backend.publish_text("a", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

/// A client receives the messages published before its subscription ended, each once, and none published after that.
async fn unsubscribed_client_receives_only_earlier_messages(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["a", "marks"]).await;
    let (_, mut other) = stage.enter("bob", &["a"]).await;
    for round in 0..10 {
        let list = |name: &str| {
            let message =
                |n: i32| json!({"user": "p", "channel": "a", "message": {"text": format!("{name}{n}")}});
            (0..30).map(message).collect::<serde_json::Value>()
        };
        stage.backend.post("/message", list("kept")).await;
        stage.backend.post("/unsubscribe", json!({"conn_id": conn_id, "channels": ["a"]})).await;
        stage.backend.post("/message", list("late")).await;
        let of = |name: &str| (0..30).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
        if stage.transport.is_kept_open() {
            assert_eq!(listener.texts(30).await, of("kept"), "round {round}");
        } else {
            // Between two polls no session listens: an ended subscription has nothing to catch up with.
            stage.backend.publish_text("marks", "mark").await;
            let mut texts = listener.texts(1).await;
            while texts.last().is_some_and(|text| text != "mark") {
                texts.extend(listener.texts(1).await);
            }
            texts.pop();
            assert_eq!(texts, of("kept")[..texts.len()], "round {round}");
        }
        assert_eq!(other.texts(60).await, [of("kept"), of("late")].concat());
        stage.backend.post("/subscribe", json!({"conn_id": conn_id, "channels": ["a"]})).await;
    }
    stage.backend.publish_text("marks", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

async fn publish_does_not_create_unknown_channels(stage: Stage) {
    let (_, mut listener) = stage.enter("ann", &["c"]).await;
    let answer = stage.backend.post("/message", json!([{"user": "p", "channel": "x", "message": {}}])).await;
    assert_eq!(answer[0]["channel"], "x");
    assert_eq!(stage.backend.post("/message", json!([{"user": "p", "message": {}}])).await, json!([]));
    stage.backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
    assert!(stage.backend.channel("x").await.is_null());
}
