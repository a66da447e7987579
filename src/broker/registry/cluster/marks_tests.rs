//! When marks are stored, and what rows say until then.

use super::peers::Received;
use super::rows::{Behind, RowData, place_key};
use super::*;
use crate::broker::engine::reply::Reply;
use crate::broker::hub::messages::Detached;
use crate::broker::marking::{Laggards, LaggingSession};
use crate::broker::registry::state::{ConnectionTimes, NextSession};
use crate::broker::requests::Connect;
use crate::broker::stamps::Stamps;
use crate::protocol::ids::{ConnectionSlot, Epoch, HubId, Position, SlotKey, Stamp};
use crate::protocol::settings::ChannelConfig;
use crate::send_queue::Transport;

const CONN: Uuid = Uuid::from_u128(1);

/// A node with a connection in two channels.
struct Scene {
    cluster: Cluster,
    state: RegistryState,
    sent: Vec<(Call, Option<Ticket>)>,
}

/// A session of the connection.
fn location(number: u32) -> ConnectionSlot {
    ConnectionSlot { hub: HubId(0), slot: SlotKey { index: number, generation: number } }
}

impl Scene {
    fn begin() -> Self {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        let state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
        let mut scene = Self { cluster: Cluster::default(), state, sent: Vec::new() };
        scene.act(|cluster, state, effects| cluster.joined(1, 1, true, state, 0, effects));
        scene.follow(5);
        let request = Connect {
            username: "ann".into(),
            conn_id: Some(CONN),
            channels: vec!["a".into(), "b".into()],
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: vec![("a".into(), ChannelConfig::default())],
        };
        scene.act(|_, state, effects| _ = state.connect(request, 0, effects).unwrap());
        scene.act(|cluster, state, _| cluster.own_row(CONN, 7, state));
        scene.answer(true);
        scene
    }

    fn act(&mut self, act: impl FnOnce(&mut Cluster, &mut RegistryState, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        act(&mut self.cluster, &mut self.state, &mut effects);
        effects.iter().for_each(|effect| self.cluster.observe(effect, &self.state, 0));
        self.cluster.flush(&self.state, 0);
        let calls = self.cluster.take_outbox().into_iter();
        self.sent.extend(calls.filter_map(|to_link| match to_link {
            ToLink::Call(call @ (Call::Store { .. } | Call::Mark { .. }), ticket) => Some((call, ticket)),
            _ => None,
        }));
    }

    fn follow(&mut self, stamp: u64) {
        self.state.stamps.follow(Stamp(stamp));
    }

    /// All calls are answered, or fail.
    fn answer(&mut self, well: bool) {
        for (_, ticket) in std::mem::take(&mut self.sent) {
            let Some(ticket) = ticket else { continue };
            let reply = || if well { Ok(Reply::List(vec![])) } else { Err(EngineError::Unavailable) };
            self.act(|cluster, state, effects| cluster.replied(ticket, reply(), state, 0, effects));
        }
    }

    fn attach(&mut self, number: u32) {
        let next = NextSession { location: location(number), transport: Transport::Websocket, since: None };
        self.act(|_, state, effects| state.attach(CONN, next, effects).unwrap());
    }

    /// A session ends that has received `a` up to here.
    fn detach(&mut self, number: u32, received: Offset) {
        let detached = Detached {
            conn_id: CONN,
            location: location(number),
            cursors: vec![(self.state.channel_id("a").unwrap(), received)],
            private_cursor: Some(0),
            transport: Transport::Websocket,
        };
        self.act(|_, state, effects| state.detached(detached, 0, effects));
    }

    /// The node has received `a` up to here.
    fn receive(&mut self, offset: Offset) {
        let position = Position { epoch: Epoch::new(1), offset };
        self.cluster.streams.get_mut("ca").unwrap().position = Some(position);
    }

    /// A beat, and the mark that has passed.
    fn mark(&mut self, stamp: u64, laggards: Laggards) {
        assert!(self.cluster.begin_mark(Stamp(stamp), &self.state).is_some());
        self.act(|cluster, state, _| cluster.marked(Stamp(stamp), laggards, state));
    }

    /// The stamps of the marks that were sent, and the rows.
    fn sent(&self) -> (Vec<u64>, Vec<RowData>) {
        let (mut marks, mut rows) = (Vec::new(), Vec::new());
        for (call, _) in &self.sent {
            match call {
                Call::Mark { delivered, .. } => marks.push(delivered.0),
                Call::Store { rows: stored } => {
                    rows.extend(stored.iter().map(|row| RowData::read(&row.data).unwrap()));
                }
                _ => {}
            }
        }
        (marks, rows)
    }
}

fn too_many() -> Laggards {
    let mut laggards = Laggards::default();
    let session = || LaggingSession { conn_id: CONN, behind: vec![(None, 1)] };
    while laggards.add(session()) {}
    laggards
}

#[test]
fn a_mark_is_stored_at_every_beat_and_names_the_laggards() {
    let mut scene = Scene::begin();
    let mut laggards = Laggards::default();
    laggards.add(LaggingSession { conn_id: CONN, behind: vec![(Some("a".into()), 3), (None, 4)] });
    scene.mark(10, laggards);
    let Some((Call::Mark { delivered: Stamp(10), laggards }, None)) = scene.sent.first() else {
        panic!("{:?}", scene.sent)
    };
    let expected = [(place_key(Some("a")), Received::UpTo(3)), (place_key(None), Received::UpTo(4))];
    assert_eq!(laggards[0].conn, CONN.to_string());
    assert_eq!(serde_json::from_slice::<Behind>(&laggards[0].received).unwrap(), expected.into());
    scene.mark(20, Laggards::default());
    assert_eq!(scene.sent().0, [10, 20]);
}

#[test]
fn one_mark_is_on_its_way_at_a_time_and_passes_the_channels_that_were_used() {
    let mut scene = Scene::begin();
    let (a, b) = (scene.state.channel_id("a").unwrap(), scene.state.channel_id("b").unwrap());
    let mut touched = scene.cluster.begin_mark(Stamp(10), &scene.state).unwrap();
    touched.sort_by_key(|id| id.0);
    assert_eq!(touched, [a, b]);
    assert_eq!(scene.cluster.begin_mark(Stamp(20), &scene.state), None);
    scene.attach(1);
    scene.act(|cluster, state, _| cluster.marked(Stamp(10), Laggards::default(), state));
    assert_eq!(scene.cluster.begin_mark(Stamp(30), &scene.state).unwrap().len(), 2);
}

#[test]
fn a_mark_waits_for_the_rows_that_it_relies_on() {
    let mut scene = Scene::begin();
    scene.attach(1);
    assert_eq!(scene.sent(), (vec![], vec![]), "sessions that come and go cause no calls");
    scene.mark(10, Laggards::default());
    let (marks, rows) = scene.sent();
    assert_eq!((marks.len(), rows.len(), rows[0].attached), (0, 1, 5));
    scene.answer(false);
    let (marks, rows) = scene.sent();
    assert_eq!((marks.len(), rows.len()), (0, 0), "the mark is given up, and nothing is repeated at once");
    scene.mark(20, Laggards::default());
    let (marks, rows) = scene.sent();
    assert_eq!((marks.len(), rows.len()), (0, 1), "the rows are stored again");
    scene.answer(true);
    assert_eq!(scene.sent().0, [20]);
}

#[test]
fn a_lost_connection_stores_the_rows_again() {
    let mut scene = Scene::begin();
    scene.attach(1);
    scene.mark(10, Laggards::default());
    scene.sent.clear();
    scene.act(|cluster, state, effects| cluster.joined(1, 1, true, state, 0, effects));
    assert_eq!(scene.sent().1.len(), 1);
    scene.answer(true);
    assert_eq!(scene.sent(), (vec![], vec![]), "the mark was given up with the connection");
}

#[test]
fn a_mark_stays_while_too_many_sessions_lag() {
    let mut scene = Scene::begin();
    scene.mark(10, too_many());
    assert_eq!(scene.sent().0, [] as [u64; 0], "there was none before");
    scene.mark(20, Laggards::default());
    scene.mark(30, too_many());
    scene.mark(40, Laggards::default());
    assert_eq!(scene.sent().0, [20, 20, 40]);
}

#[test]
fn a_row_says_how_far_the_client_is_in_each_stream() {
    let mut scene = Scene::begin();
    scene.attach(1);
    scene.follow(50);
    scene.receive(9);
    scene.detach(1, 9);
    scene.mark(60, Laggards::default());
    let (a, b) = (place_key(Some("a")), place_key(Some("b")));
    let row = scene.sent().1.remove(0);
    // The session has not begun with `b`.
    assert_eq!((row.received, row.behind, row.attached), (50, [(b.clone(), Received::Until(5))].into(), 0));
    scene.answer(true);
    scene.sent.clear();
    scene.follow(70);
    scene.receive(12);
    scene.attach(2);
    scene.detach(2, 10);
    scene.mark(80, Laggards::default());
    let row = scene.sent().1.remove(0);
    let expected = [(a, Received::UpTo(10)), (b, Received::Until(5))];
    assert_eq!((row.received, row.behind), (70, expected.into()));
}

#[test]
fn rows_are_stored_together_while_a_call_is_on_its_way() {
    let mut scene = Scene::begin();
    let own = |scene: &mut Scene| scene.act(|cluster, state, _| cluster.own_row(CONN, 7, state));
    own(&mut scene);
    own(&mut scene);
    own(&mut scene);
    assert_eq!(scene.sent().1.len(), 1);
    scene.answer(true);
    assert_eq!(scene.sent().1.len(), 1, "what has changed meanwhile");
    own(&mut scene);
    assert_eq!(scene.sent().1.len(), 1);
    scene.mark(60, Laggards::default());
    assert_eq!(scene.sent().1.len(), 2, "a mark is behind all rows");
}

#[test]
fn a_channel_that_is_added_later_has_its_own_beginning() {
    let mut scene = Scene::begin();
    scene.follow(30);
    let request = Connect {
        username: "ann".into(),
        conn_id: Some(CONN),
        channels: vec!["c".into()],
        fresh_user_state: Vec::new(),
        user_state: Vec::new(),
        state_public_keys: None,
        channel_configs: Vec::new(),
    };
    scene.act(|_, state, effects| _ = state.connect(request, 0, effects).unwrap());
    scene.act(|cluster, state, _| cluster.own_row(CONN, 7, state));
    let row = scene.sent().1.pop().unwrap();
    assert_eq!((row.received, row.added), (5, [("c".to_owned(), 30)].into()));
    assert_eq!(row.channels.len(), 3);
}
