//! Messages that are edited or deleted.

use super::stage::{Stage, pick};
use serde_json::{Value, json};

on_every_transport!(
    clients_receive_an_edit_in_a_channel_with_history,
    clients_receive_an_edit_in_a_channel_without_history,
    user_receives_the_edit_of_a_private_message,
    clients_receive_the_deletion_of_a_message,
    clients_receive_events_about_unknown_messages
);

/// The members of an event that edits and deletions set.
const PARTS: [&str; 4] = ["uuid", "type", "channel", "message"];

async fn clients_receive_an_edit_in_a_channel_with_history(stage: Stage) {
    edit(stage, true).await;
}

async fn clients_receive_an_edit_in_a_channel_without_history(stage: Stage) {
    edit(stage, false).await;
}

async fn edit(stage: Stage, history: bool) {
    stage.backend.configure(&["c"], json!({"store_history": history})).await;
    let late = stage.backend.connect("late", &["c"]).await;
    let (_, mut live) = stage.enter("live", &["c"]).await;
    let uuid = stage.backend.publish_text("c", "first").await;
    stage.backend.publish_text("c", "between").await;
    assert_eq!(live.texts(2).await, ["first", "between"]);
    let change = json!([{"uuid": uuid, "channel": "c", "message": {"text": "second"}}]);
    let answer = stage.backend.call("PATCH", "/message", change).await;
    let edited = &answer[0]["edited"];
    let event = live.event().await;
    assert_eq!(pick(&event, &PARTS), json!([uuid, "message:edit", "c", {"text": "second"}]));
    assert_eq!(&event["edited"], edited);
    for absent in ["user", "timestamp", "date"] {
        assert!(event.get(absent).is_none(), "clients merge edits over what they have: {event}");
    }
    // A client that was absent receives the new form in the old position, then the event.
    let mut listener = stage.attach(&late).await;
    let first = listener.event().await;
    assert_eq!(pick(&first, &PARTS), json!([uuid, "message", "c", {"text": "second"}]));
    assert_eq!(pick(&first, &["user", "edited", "catchup"]), json!(["publisher", edited, true]));
    assert_eq!(listener.texts(1).await, ["between"]);
    let event = listener.event().await;
    assert_eq!(pick(&event, &["uuid", "type", "catchup"]), json!([uuid, "message:edit", true]));
    let kept = &stage.backend.channel("c").await["history"];
    let kept: Vec<&Value> =
        kept.as_array().unwrap().iter().map(|message| &message["message"]["text"]).collect();
    assert_eq!(kept, if history { vec!["second", "between"] } else { vec![] });
}

async fn user_receives_the_edit_of_a_private_message(stage: Stage) {
    let late = stage.backend.connect("ann", &[]).await;
    let (_, mut live) = stage.enter("ann", &[]).await;
    let (_, mut other) = stage.enter("bob", &["c"]).await;
    let uuid = stage.backend.publish(json!({"pm_users": ["ann"]}), "first").await;
    assert_eq!(live.texts(1).await, ["first"]);
    let change = json!([{"uuid": uuid, "pm_users": ["ann"], "message": {"text": "second"}}]);
    stage.backend.call("PATCH", "/message", change).await;
    let event = live.event().await;
    assert_eq!(pick(&event, &PARTS), json!([uuid, "message:edit", null, {"text": "second"}]));
    let mut listener = stage.attach(&late).await;
    assert_eq!(listener.texts(1).await, ["second"]);
    assert_eq!(listener.event().await["type"], "message:edit");
    let gone = json!([{"uuid": uuid, "pm_users": ["ann"]}]);
    stage.backend.call("DELETE", "/message", gone).await;
    for ann in [&mut live, &mut listener] {
        assert_eq!(pick(&ann.event().await, &["uuid", "type"]), json!([uuid, "message:delete"]));
    }
    stage.backend.publish_text("c", "end").await;
    assert_eq!(other.texts(1).await, ["end"]);
}

async fn clients_receive_the_deletion_of_a_message(stage: Stage) {
    stage.backend.configure(&["c"], json!({"store_history": true})).await;
    let late = stage.backend.connect("late", &["c"]).await;
    let (_, mut live) = stage.enter("live", &["c"]).await;
    let uuid = stage.backend.publish_text("c", "gone").await;
    stage.backend.publish_text("c", "stays").await;
    assert_eq!(live.texts(2).await, ["gone", "stays"]);
    stage.backend.call("DELETE", "/message", json!([{"uuid": uuid, "channel": "c"}])).await;
    let event = live.event().await;
    assert_eq!(pick(&event, &PARTS), json!([uuid, "message:delete", "c", null]));
    let mut listener = stage.attach(&late).await;
    assert_eq!(listener.texts(1).await, ["stays"]);
    let event = listener.event().await;
    assert_eq!(pick(&event, &["uuid", "type", "catchup"]), json!([uuid, "message:delete", true]));
    let history = &stage.backend.channel("c").await["history"];
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["message"]["text"], "stays");
}

/// Events about messages that the server does not know are sent too, as in the original: clients may know them.
async fn clients_receive_events_about_unknown_messages(stage: Stage) {
    let (_, mut listener) = stage.enter("ann", &["c"]).await;
    let (_, mut excluded) = stage.enter("eve", &["c"]).await;
    let uuid = "5a8e9e0c-0000-4000-8000-000000000000";
    let change = json!([{"uuid": uuid, "channel": "c", "exclude_users": ["eve"], "user": "x"}]);
    stage.backend.call("PATCH", "/message", change).await;
    let gone = json!([{"uuid": uuid, "channel": "c", "pm_users": ["ann"]}]);
    stage.backend.call("DELETE", "/message", gone).await;
    stage.backend.publish_text("c", "end").await;
    assert_eq!(pick(&listener.event().await, &["uuid", "type", "user"]), json!([uuid, "message:edit", "x"]));
    assert_eq!(pick(&listener.event().await, &["uuid", "type"]), json!([uuid, "message:delete"]));
    assert_eq!(listener.texts(1).await, ["end"]);
    assert_eq!(excluded.texts(1).await, ["end"]);
}
