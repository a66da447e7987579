//! Nothing lost and nothing twice, whatever becomes of sessions in the middle of a flow.

use crate::stage::Stage;
use crate::support::backend::Backend;
use crate::support::listener::{Heard, Listener, Transport, text};
use actix_rt::task::JoinHandle;
use serde_json::json;

on_every_transport!(
    coming_back_again_and_again,
    hanging_up_in_between,
    take_over_in_a_flow,
    take_over_of_a_quiet_session,
    a_late_goodbye_harms_nobody,
);

const MESSAGES: usize = 300;

/// Publishes numbered messages to a channel and to a user, one request each.
fn flow(backend: Backend) -> JoinHandle<()> {
    actix_rt::spawn(async move {
        for number in 0..MESSAGES {
            backend.say("c", &number.to_string()).await;
            if number % 3 == 0 {
                backend.publish(json!({"pm_users": ["ann"]}), &format!("private {number}")).await;
            }
        }
    })
}

fn number(text: &str) -> usize {
    text.trim_start_matches("private ").parse().expect("a number")
}

/// What of a flow has come.
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

    /// Each once, in the order of publishing, and nothing behind them.
    async fn check(self, stage: &Stage, mut listener: Listener) {
        stage.backend.say("c", "end").await;
        assert_eq!(listener.texts(1).await, ["end"]);
        let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(self.public, expected);
        let expected: Vec<String> =
            (0..MESSAGES).step_by(3).map(|number| format!("private {number}")).collect();
        assert_eq!(self.private, expected);
    }
}

async fn coming_back_again_and_again(stage: Stage) {
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

/// A client that is gone without a word gets what came while nobody was there. What it had not read when it went is
/// lost with its socket, so this one goes while nothing is on its way.
async fn hanging_up_in_between(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    for round in 0..12 {
        stage.backend.say("c", &format!("read {round}")).await;
        assert_eq!(listener.texts(1).await, [format!("read {round}")]);
        listener.hang_up().await;
        stage.backend.say("c", &format!("missed {round}")).await;
        listener = stage.attach(&conn_id).await;
        assert_eq!(listener.texts(1).await, [format!("missed {round}")]);
    }
}

/// Of two polls at the same time the server may see the later one first, and the earlier one then takes over from it:
/// between two listeners that poll there is no order, but in each of them there is.
async fn take_over_in_a_flow(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    let publisher = flow(stage.backend);
    let mut received = Received::default();
    let mut heard = Received::default();
    // The last answer of a poll that is taken over comes a second later.
    let some = if stage.transport == Transport::Websocket { 17 } else { 100 };
    while !received.is_complete() {
        let missing = MESSAGES + MESSAGES.div_ceil(3) - received.len();
        heard.take_some(&mut listener, missing.min(some)).await;
        let next = stage.attach(&conn_id).await;
        let rest = listener.leave().await;
        rest.iter().for_each(|event| heard.take(text(event)));
        assert!(heard.is_in_order(), "{:?} {:?}", heard.public, heard.private);
        received.public.append(&mut heard.public);
        received.private.append(&mut heard.private);
        listener = next;
    }
    publisher.await.unwrap();
    if stage.transport != Transport::Websocket {
        received.public.sort_by_key(|text| number(text));
        received.private.sort_by_key(|text| number(text));
    }
    received.check(&stage, listener).await;
}

async fn take_over_of_a_quiet_session(stage: Stage) {
    let (conn_id, mut first) = stage.enter("ann", &["c"]).await;
    stage.backend.say("c", "for the first").await;
    assert_eq!(first.texts(1).await, ["for the first"]);
    first.stop_soon();
    let mut second = stage.attach(&conn_id).await;
    let end = first.next().await;
    match stage.transport {
        Transport::Websocket => assert_eq!(end, Heard::Closed(Some(4001))),
        // Its last poll was answered with an empty list, a second later.
        Transport::LongPoll | Transport::Jsonp => assert_eq!(end, Heard::Gone),
    }
    stage.backend.say("c", "for the second").await;
    assert_eq!(second.texts(1).await, ["for the second"]);
}

/// The end of a session that was taken over takes nothing from its successor: no one is seen to go.
async fn a_late_goodbye_harms_nobody(stage: Stage) {
    stage.backend.configure(&["c"], json!({"notify_presence": true})).await;
    let (_, mut witness) = stage.enter("witness", &["c"]).await;
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    assert_eq!(witness.event().await["message"], json!({"action": "joined"}));
    let rounds = if stage.transport == Transport::Websocket { 5 } else { 2 };
    for round in 0..rounds {
        let next = stage.attach(&conn_id).await;
        listener.leave().await;
        listener = next;
        stage.backend.say("c", &round.to_string()).await;
        assert_eq!(listener.texts(1).await, [round.to_string()]);
        assert_eq!(witness.texts(1).await, [round.to_string()], "nobody came or went");
    }
    let channel = stage.backend.channel("c").await;
    assert_eq!(channel["total_connections"], 2);
}
