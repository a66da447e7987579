//! A client loses no message and receives none twice, even if its session ends in the middle of a message flow.

use super::stage::Stage;
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport, text};
use actix_rt::task::JoinHandle;
use serde_json::json;

on_every_transport!(
    client_that_reattaches_many_times_loses_nothing,
    client_that_hangs_up_receives_missed_messages,
    session_takes_over_in_a_flow_of_messages,
    session_takes_over_an_idle_session,
    late_close_of_the_old_session_does_not_affect_the_new_one,
);

const MESSAGES: usize = 300;

/// Publishes numbered messages to a channel and to a user, one request each.
fn flow(backend: Backend) -> JoinHandle<()> {
    actix_rt::spawn(async move {
        for number in 0..MESSAGES {
            backend.publish_text("c", &number.to_string()).await;
            if number % 3 == 0 {
                backend.publish(json!({"pm_users": ["ann"]}), &format!("private {number}")).await;
            }
        }
    })
}

fn number(text: &str) -> usize {
    text.trim_start_matches("private ").parse().expect("a number")
}

/// The messages of a flow that have arrived.
#[derive(Default)]
struct Received {
    public: Vec<String>,
    private: Vec<String>,
}

impl Received {
    fn take(&mut self, text: String) {
        if text.starts_with("private") { self.private.push(text) } else { self.public.push(text) }
    }

    fn len(&self) -> usize {
        self.public.len() + self.private.len()
    }

    fn is_complete(&self) -> bool {
        self.len() >= MESSAGES + MESSAGES.div_ceil(3)
    }

    async fn take_some(&mut self, listener: &mut Listener, count: usize) {
        for _ in 0..count {
            if !self.is_complete() {
                self.take(text(&listener.event().await));
            }
        }
    }

    fn is_in_order(&self) -> bool {
        self.public.is_sorted_by_key(|text| number(text))
            && self.private.is_sorted_by_key(|text| number(text))
    }

    /// Checks that each message arrived once, in the order of publishing, and that nothing follows.
    async fn check(self, stage: &Stage, mut listener: Listener) {
        stage.backend.publish_text("c", "end").await;
        assert_eq!(listener.texts(1).await, ["end"]);
        let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(self.public, expected);
        let expected: Vec<String> =
            (0..MESSAGES).step_by(3).map(|number| format!("private {number}")).collect();
        assert_eq!(self.private, expected);
    }
}

async fn client_that_reattaches_many_times_loses_nothing(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    let publisher = flow(stage.backend);
    let mut received = Received::default();
    while !received.is_complete() {
        received.take_some(&mut listener, 17).await;
        let rest = listener.leave().await;
        rest.iter().for_each(|event| received.take(text(event)));
        listener = stage.attach(&conn_id).await;
    }
    publisher.await.unwrap();
    received.check(&stage, listener).await;
}

/// A client that drops its connection receives the messages that were published while it was absent. The messages that
/// it had not read are lost with its socket, so this client drops it while none is in flight.
async fn client_that_hangs_up_receives_missed_messages(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    for round in 0..12 {
        stage.backend.publish_text("c", &format!("read {round}")).await;
        assert_eq!(listener.texts(1).await, [format!("read {round}")]);
        listener.hang_up().await;
        stage.backend.publish_text("c", &format!("missed {round}")).await;
        listener = stage.attach(&conn_id).await;
        assert_eq!(listener.texts(1).await, [format!("missed {round}")]);
    }
}

/// If two polls overlap, the server may accept the later one first, and the earlier one then takes over from it:
/// between two polling listeners the order is undefined, but within each of them it holds.
async fn session_takes_over_in_a_flow_of_messages(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    let publisher = flow(stage.backend);
    let mut received = Received::default();
    let mut batch = Received::default();
    // The last answer of a poll that is taken over arrives a second later.
    let some = if stage.transport.is_kept_open() { 17 } else { 100 };
    while !received.is_complete() {
        let missing = MESSAGES + MESSAGES.div_ceil(3) - received.len();
        batch.take_some(&mut listener, missing.min(some)).await;
        let next = stage.attach(&conn_id).await;
        let rest = listener.leave().await;
        rest.iter().for_each(|event| batch.take(text(event)));
        assert!(batch.is_in_order(), "{:?} {:?}", batch.public, batch.private);
        received.public.append(&mut batch.public);
        received.private.append(&mut batch.private);
        listener = next;
    }
    publisher.await.unwrap();
    if !stage.transport.is_kept_open() {
        received.public.sort_by_key(|text| number(text));
        received.private.sort_by_key(|text| number(text));
    }
    received.check(&stage, listener).await;
}

async fn session_takes_over_an_idle_session(stage: Stage) {
    let (conn_id, mut first) = stage.enter("ann", &["c"]).await;
    stage.backend.publish_text("c", "for the first").await;
    assert_eq!(first.texts(1).await, ["for the first"]);
    first.stop_soon();
    let mut second = stage.attach(&conn_id).await;
    let end = first.next().await;
    match stage.transport {
        Transport::Websocket | Transport::Sse => assert_eq!(end, ListenResult::Closed(Some(4001))),
        // Its last poll was answered with an empty list a second later.
        Transport::LongPoll | Transport::Jsonp => assert_eq!(end, ListenResult::Gone),
    }
    stage.backend.publish_text("c", "for the second").await;
    assert_eq!(second.texts(1).await, ["for the second"]);
}

/// The end of a session that was taken over does not affect its successor: no user parts.
async fn late_close_of_the_old_session_does_not_affect_the_new_one(stage: Stage) {
    stage.backend.configure(&["c"], json!({"notify_presence": true})).await;
    let (_, mut witness) = stage.enter("witness", &["c"]).await;
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    assert_eq!(witness.event().await["message"], json!({"action": "joined"}));
    let rounds = if stage.transport.is_kept_open() { 5 } else { 2 };
    for round in 0..rounds {
        let next = stage.attach(&conn_id).await;
        listener.leave().await;
        listener = next;
        stage.backend.publish_text("c", &round.to_string()).await;
        assert_eq!(listener.texts(1).await, [round.to_string()]);
        assert_eq!(witness.texts(1).await, [round.to_string()], "no user joined or parted");
    }
    stage.expect_connections("c", 2).await;
}
