//! The possible actions, drawn from a seed as a plain list, so that a failing list can be shortened to the relevant
//! part.

use super::Rng;
use super::returning::Returns;
use super::{Rules, World};
use crate::fixtures::{delete, edit, message, payload};
use crate::protocol::message::{Delete, Edit};
use crate::send_queue::Transport;
use uuid::Uuid;

const CONNECTIONS: u8 = 6;
const USERS: u8 = 4;
const ACTIONS: u64 = 400;
/// The clients from this number on ask for positions.
const RETURNING: u8 = 100;
const RETURNING_CLIENTS: u8 = 3;

/// One action. Sessions are counted back from the newest.
#[derive(Clone, Debug)]
pub enum Action {
    Connect {
        client: u8,
        channels: u8,
    },
    Subscribe {
        client: u8,
        channels: u8,
    },
    Unsubscribe {
        client: u8,
        channels: u8,
    },
    Disconnect {
        client: u8,
    },
    State {
        client: u8,
    },
    OpenSocket {
        client: u8,
        hub: usize,
        max_queued: usize,
    },
    OpenPoll {
        client: u8,
        hub: usize,
        max_queued: usize,
    },
    /// A client that asks for positions returns.
    Return {
        client: u8,
        hub: usize,
        max_queued: usize,
        transport: Transport,
        returns: Returns,
    },
    /// The client's kernel accepts this many bytes.
    Read {
        session: usize,
        bytes: usize,
    },
    /// The client sends a close frame.
    Close {
        session: usize,
    },
    /// The client violates the protocol.
    ViolateProtocol {
        session: usize,
    },
    /// The client disappears without closing the connection.
    Disappear {
        session: usize,
    },
    /// A poll gets its response early, or its client receives the response, or its client closes the connection.
    AdvancePoll {
        session: usize,
        taken: bool,
    },
    Pass {
        ms: u64,
    },
    Publish {
        channel: u8,
        only: u8,
        except: u8,
        fill: usize,
    },
    Private {
        users: u8,
    },
    Edit {
        back: usize,
    },
    Delete {
        back: usize,
    },
    /// Stations run.
    Steps {
        from: usize,
        count: usize,
        budget: usize,
    },
}

pub fn conn_id(client: u8) -> Uuid {
    let id = if client < RETURNING { client % CONNECTIONS } else { client };
    Uuid::from_u128(id.into())
}

/// The ids of all possible connections.
pub fn all_conn_ids() -> Vec<Uuid> {
    (0..CONNECTIONS).map(conn_id).collect()
}

/// Users with two connections each.
fn user(client: u8) -> String {
    format!("u{}", client % CONNECTIONS % USERS)
}

fn chosen(bits: u8, prefix: char, of: u8) -> Vec<String> {
    (0..of).filter(|n| bits >> n & 1 == 1).map(|n| format!("{prefix}{n}")).collect()
}

/// Converts a seed to the configuration of a world and its actions.
pub fn draw(seed: u64) -> (Rules, Vec<Action>) {
    let mut rng = Rng::new(seed);
    let rules = Rules::draw(&mut rng);
    // Each run has its own weights: some consist mostly of messages, others mostly of connects and disconnects.
    let weights: Vec<u64> = (0..KINDS).map(|_| rng.pick(&[0, 1, 2, 6])).collect();
    let length = 20 + rng.below(ACTIONS);
    let actions = (0..length).map(|_| any(&mut rng, &weights)).collect();
    (rules, actions)
}

/// The same run, with clients that ask for positions among the others.
pub fn draw_returning(seed: u64) -> (Rules, Vec<Action>) {
    let (mut rules, actions) = draw(seed);
    rules.returning = (0..RETURNING_CLIENTS).map(|index| conn_id(RETURNING + index)).collect();
    let mut rng = Rng::new(!seed);
    let mut mixed = Vec::new();
    for action in actions {
        if rng.once_in(3) {
            mixed.push(of_returning(&mut rng));
        }
        mixed.push(action);
    }
    (rules, mixed)
}

fn of_returning(rng: &mut Rng) -> Action {
    let client = RETURNING + rng.below(RETURNING_CLIENTS.into()) as u8;
    let channels = rng.below(8) as u8;
    match rng.below(12) {
        0 | 1 => Action::Connect { client, channels },
        2 => Action::Subscribe { client, channels },
        3 => Action::Unsubscribe { client, channels },
        4 => match rng.once_in(3) {
            true => Action::Disconnect { client },
            false => Action::Pass { ms: rng.pick(&[20, 120, 3_000]) },
        },
        _ => Action::Return {
            client,
            hub: rng.below(2) as usize,
            max_queued: rng.pick(&[100, 600, 3_000, usize::MAX / 2]),
            transport: rng.pick(&[Transport::Websocket, Transport::LongPoll, Transport::Sse]),
            returns: match rng.below(10) {
                0 => Returns::Nothing,
                1 => Returns::CursorOnly,
                2 => Returns::PositionsOnly,
                3 | 4 => Returns::Earlier(rng.below(4) as usize),
                _ => Returns::All,
            },
        },
    }
}

const KINDS: usize = 17;

fn any(rng: &mut Rng, weights: &[u64]) -> Action {
    // The stations get about every second turn, and connecting and subscribing always have some weight.
    let total: u64 = weights.iter().sum::<u64>() + 4;
    if rng.once_in(2) {
        let (from, count) = (rng.next() as usize >> 8, 1 + rng.below(12) as usize);
        return Action::Steps { from, count, budget: 1 + rng.below(4) as usize };
    }
    let mut turn = rng.below(total);
    let kind = weights.iter().position(|weight| match turn.checked_sub(*weight) {
        Some(rest) => {
            turn = rest;
            false
        }
        None => true,
    });
    of_kind(kind.unwrap_or(turn as usize), rng)
}

fn of_kind(kind: usize, rng: &mut Rng) -> Action {
    let client = rng.below(CONNECTIONS.into()) as u8;
    let channels = rng.below(8) as u8;
    let hub = rng.below(2) as usize;
    let max_queued = rng.pick(&[100, 600, 3_000, usize::MAX / 2]);
    let session = rng.pick(&[4, 16, 1_000]);
    let session = rng.below(session) as usize;
    match kind {
        0 => Action::Connect { client, channels },
        1 => Action::OpenSocket { client, hub, max_queued },
        2 => Action::OpenPoll { client, hub, max_queued },
        3 => Action::Publish {
            channel: rng.below(3) as u8,
            only: if rng.once_in(3) { rng.below(16) as u8 } else { 0 },
            except: if rng.once_in(4) { rng.below(16) as u8 } else { 0 },
            fill: rng.pick(&[0, 0, 100, 1_000]),
        },
        4 => Action::Subscribe { client, channels },
        5 => Action::Unsubscribe { client, channels },
        6 => Action::Disconnect { client },
        7 => Action::State { client },
        8 => Action::Read { session, bytes: rng.pick(&[1, 40, 150, 700]) },
        9 => Action::Read { session, bytes: usize::MAX / 2 },
        10 => Action::Close { session },
        11 => Action::Disappear { session },
        12 => Action::AdvancePoll { session, taken: !rng.once_in(3) },
        13 => Action::Pass { ms: rng.pick(&[1, 20, 120, 500, 3_000]) },
        14 => Action::Private { users: 1 + rng.below(15) as u8 },
        15 => match rng.once_in(3) {
            true => Action::Delete { back: rng.below(6) as usize },
            false => Action::Edit { back: rng.below(6) as usize },
        },
        _ => Action::ViolateProtocol { session },
    }
}

pub fn act(world: &mut World, action: &Action) {
    match *action {
        Action::Connect { client, channels } => {
            world.connect(conn_id(client), user(client), chosen(channels, 'c', 3))
        }
        Action::Subscribe { client, channels } => world.subscribe(conn_id(client), chosen(channels, 'c', 3)),
        Action::Unsubscribe { client, channels } => {
            world.unsubscribe(conn_id(client), chosen(channels, 'c', 3))
        }
        Action::Disconnect { client } => world.disconnect(conn_id(client)),
        Action::State { client } => world.set_state(&user(client)),
        Action::OpenSocket { client, hub, max_queued } => world.open_socket(conn_id(client), hub, max_queued),
        Action::OpenPoll { client, hub, max_queued } => world.open_poll(conn_id(client), hub, max_queued),
        Action::Return { client, hub, max_queued, transport, returns } => {
            world.open_returning(conn_id(client), hub, max_queued, transport, returns);
        }
        Action::Read { session, bytes } => world.with_session(session, |world, at| world.read(at, bytes)),
        Action::Close { session } => world.with_session(session, World::close),
        Action::ViolateProtocol { session } => world.with_session(session, World::violate_protocol),
        Action::Disappear { session } => world.with_session(session, World::disappear),
        Action::AdvancePoll { session, taken } => {
            world.with_session(session, |world, at| world.advance_poll(at, taken))
        }
        Action::Pass { ms } => world.pass(ms),
        Action::Publish { channel, only, except, fill } => publish(world, channel, only, except, fill),
        Action::Private { users } => {
            let mut message = message(world.next_number());
            message.delivery.pm_users = chosen(users, 'u', USERS);
            world.publish(message);
        }
        Action::Edit { back } => change(world, back, false),
        Action::Delete { back } => change(world, back, true),
        Action::Steps { from, count, budget } => {
            // The first station with work, starting anywhere.
            for turn in 0..count {
                let from = from.rotate_left(turn as u32 * 5) % 1_000;
                (0..32).any(|next| world.step(from + next, budget));
            }
        }
    }
}

fn publish(world: &mut World, channel: u8, only: u8, except: u8, fill: usize) {
    let mut message = message(world.next_number());
    if fill > 0 {
        message.message = Some(payload(&format!("{{\"fill\":\"{}\"}}", "x".repeat(fill))));
    }
    message.delivery.channel = Some(format!("c{channel}"));
    message.delivery.pm_users = chosen(only, 'u', USERS);
    message.delivery.exclude_users = chosen(except, 'u', USERS);
    world.publish(message);
}

/// Edits or deletes one of the last messages, for its own recipients.
fn change(world: &mut World, back: usize, end: bool) {
    let Some((number, delivery)) = world.sent.iter().rev().nth(back).cloned() else { return };
    if end {
        world.sent.retain(|(of, _)| *of != number);
        world.delete(Delete { delivery, ..delete(number) });
    } else {
        let serial = world.next_number();
        let text = format!("{{\"edit\":{serial}}}");
        world.edit(Edit { delivery, ..edit(number, &text) });
    }
}
