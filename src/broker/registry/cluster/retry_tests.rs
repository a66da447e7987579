//! What Redis refuses is repeated, but not at once.

use super::*;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::state::ConnectionTimes;
use crate::broker::requests::Connect;
use crate::broker::stamps::Stamps;

/// A node with a connection in a channel.
struct Scene {
    cluster: Cluster,
    state: RegistryState,
}

impl Scene {
    /// Returns also what the node sends when it has joined with the connection.
    fn begin() -> (Self, Vec<ToLink>) {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        let state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
        let mut scene = Self { cluster: Cluster::default(), state };
        let request = Connect {
            username: "ann".into(),
            conn_id: Some(Uuid::from_u128(1)),
            channels: vec!["a".into()],
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: Vec::new(),
        };
        scene.act(0, |_, state, effects| _ = state.connect(request, 0, effects).unwrap());
        let sent = scene.act(0, |cluster, state, effects| cluster.joined(1, 1, true, state, 0, effects));
        (scene, sent)
    }

    /// A turn at this time. Returns what the node sends.
    fn act(
        &mut self,
        now: u64,
        act: impl FnOnce(&mut Cluster, &mut RegistryState, &mut Vec<Effect>),
    ) -> Vec<ToLink> {
        let mut effects = Vec::new();
        act(&mut self.cluster, &mut self.state, &mut effects);
        effects.iter().for_each(|effect| self.cluster.observe(effect, &self.state, now));
        self.cluster.flush(&self.state, now);
        self.cluster.take_outbox()
    }

    fn reply(&mut self, now: u64, ticket: Ticket, reply: Result<Reply, EngineError>) -> Vec<ToLink> {
        self.act(now, |cluster, state, effects| cluster.replied(ticket, reply, state, now, effects))
    }

    fn turn(&mut self, now: u64) -> Vec<ToLink> {
        self.act(now, |_, _, _| {})
    }
}

/// The ticket of the only call of this kind.
fn only(sent: &[ToLink], is_meant: impl Fn(&Call) -> bool) -> Ticket {
    let tickets = sent.iter().filter_map(|to_link| match to_link {
        ToLink::Call(call, ticket) if is_meant(call) => *ticket,
        _ => None,
    });
    let tickets: Vec<_> = tickets.collect();
    assert_eq!(tickets.len(), 1, "{sent:?}");
    tickets[0]
}

fn is_set(call: &Call) -> bool {
    matches!(call, Call::Set { .. })
}

#[test]
fn members_that_a_full_redis_refuses_are_stated_again_after_a_moment() {
    let (mut scene, sent) = Scene::begin();
    let set = only(&sent, is_set);
    assert!(scene.reply(10, set, Err(EngineError::Full)).is_empty());
    assert!(scene.turn(9 + RETRY_MS).is_empty());
    let set = only(&scene.turn(10 + RETRY_MS), is_set);
    let sent = scene.reply(200, set, Ok(Reply::Status("OK".into())));
    assert!(matches!(sent[..], [ToLink::Restated(1)]), "everything is stated only now: {sent:?}");
}

#[test]
fn a_stream_that_a_full_redis_does_not_send_is_requested_again_after_a_moment() {
    let (mut scene, sent) = Scene::begin();
    let is_follow = |call: &Call| matches!(call, Call::Follow { stream, .. } if stream == "ca");
    let follow = only(&sent, is_follow);
    assert!(scene.reply(10, follow, Err(EngineError::Full)).is_empty());
    assert!(scene.turn(9 + RETRY_MS).is_empty());
    only(&scene.turn(10 + RETRY_MS), is_follow);
    assert!(scene.turn(20 + RETRY_MS).is_empty(), "the second request is on its way");
}
