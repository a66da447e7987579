//! What may happen: drawn from a seed as a plain list, so that a failing one can be cut down to what matters.

use super::chance::Chance;
use super::{Rules, World};
use crate::fixtures::{delete, edit, message, payload};
use crate::protocol::message::{Delete, Edit};
use uuid::Uuid;

const CONNECTIONS: u8 = 6;
const USERS: u8 = 4;
const ACTIONS: u64 = 400;

/// One thing that happens. Sessions are named from the newest backwards.
#[derive(Clone, Debug)]
pub enum Action {
    Connect {
        who: u8,
        channels: u8,
    },
    Subscribe {
        who: u8,
        channels: u8,
    },
    Unsubscribe {
        who: u8,
        channels: u8,
    },
    Disconnect {
        who: u8,
    },
    State {
        who: u8,
    },
    OpenSocket {
        who: u8,
        hub: usize,
        max_queued: usize,
    },
    OpenPoll {
        who: u8,
        hub: usize,
        max_queued: usize,
    },
    /// The peer's kernel takes so many bytes.
    Read {
        session: usize,
        bytes: usize,
    },
    /// The peer says goodbye.
    Close {
        session: usize,
    },
    /// The peer breaks the protocol.
    Offend {
        session: usize,
    },
    /// The peer is gone without a word.
    Cut {
        session: usize,
    },
    /// A poll is answered before its time, or its answer has been taken, or its client has hung up on it.
    GoOn {
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
    /// Stations have their turn.
    Steps {
        from: usize,
        count: usize,
        budget: usize,
    },
}

pub fn conn_id(who: u8) -> Uuid {
    Uuid::from_u128((who % CONNECTIONS).into())
}

/// Everybody who may ever come.
pub fn everybody() -> Vec<Uuid> {
    (0..CONNECTIONS).map(conn_id).collect()
}

/// Two users have two connections each.
fn user(who: u8) -> String {
    format!("u{}", who % CONNECTIONS % USERS)
}

fn chosen(bits: u8, prefix: char, of: u8) -> Vec<String> {
    (0..of).filter(|n| bits >> n & 1 == 1).map(|n| format!("{prefix}{n}")).collect()
}

/// What a seed stands for: how this world is set up, and what happens in it.
pub fn draw(seed: u64) -> (Rules, Vec<Action>) {
    let mut chance = Chance::new(seed);
    let rules = Rules::draw(&mut chance);
    // Each life has its own inclinations: some are all traffic, others all coming and going.
    let weights: Vec<u64> = (0..KINDS).map(|_| chance.pick(&[0, 1, 2, 6])).collect();
    let length = 20 + chance.below(ACTIONS);
    let actions = (0..length).map(|_| any(&mut chance, &weights)).collect();
    (rules, actions)
}

const KINDS: usize = 17;

fn any(chance: &mut Chance, weights: &[u64]) -> Action {
    // The stations have about every second turn, and who comes and listens is never left out altogether.
    let total: u64 = weights.iter().sum::<u64>() + 4;
    if chance.once_in(2) {
        let (from, count) = (chance.next() as usize >> 8, 1 + chance.below(12) as usize);
        return Action::Steps { from, count, budget: 1 + chance.below(4) as usize };
    }
    let mut turn = chance.below(total);
    let kind = weights.iter().position(|weight| match turn.checked_sub(*weight) {
        Some(rest) => {
            turn = rest;
            false
        }
        None => true,
    });
    of_kind(kind.unwrap_or(turn as usize), chance)
}

fn of_kind(kind: usize, chance: &mut Chance) -> Action {
    let who = chance.below(CONNECTIONS.into()) as u8;
    let channels = chance.below(8) as u8;
    let hub = chance.below(2) as usize;
    let max_queued = chance.pick(&[100, 600, 3_000, usize::MAX / 2]);
    let session = chance.pick(&[4, 16, 1_000]);
    let session = chance.below(session) as usize;
    match kind {
        0 => Action::Connect { who, channels },
        1 => Action::OpenSocket { who, hub, max_queued },
        2 => Action::OpenPoll { who, hub, max_queued },
        3 => Action::Publish {
            channel: chance.below(3) as u8,
            only: if chance.once_in(3) { chance.below(16) as u8 } else { 0 },
            except: if chance.once_in(4) { chance.below(16) as u8 } else { 0 },
            fill: chance.pick(&[0, 0, 100, 1_000]),
        },
        4 => Action::Subscribe { who, channels },
        5 => Action::Unsubscribe { who, channels },
        6 => Action::Disconnect { who },
        7 => Action::State { who },
        8 => Action::Read { session, bytes: chance.pick(&[1, 40, 150, 700]) },
        9 => Action::Read { session, bytes: usize::MAX / 2 },
        10 => Action::Close { session },
        11 => Action::Cut { session },
        12 => Action::GoOn { session, taken: !chance.once_in(3) },
        13 => Action::Pass { ms: chance.pick(&[1, 20, 120, 500, 3_000]) },
        14 => Action::Private { users: 1 + chance.below(15) as u8 },
        15 => match chance.once_in(3) {
            true => Action::Delete { back: chance.below(6) as usize },
            false => Action::Edit { back: chance.below(6) as usize },
        },
        _ => Action::Offend { session },
    }
}

/// Lets it happen.
pub fn act(world: &mut World, action: &Action) {
    match *action {
        Action::Connect { who, channels } => world.connect(conn_id(who), user(who), chosen(channels, 'c', 3)),
        Action::Subscribe { who, channels } => world.subscribe(conn_id(who), chosen(channels, 'c', 3)),
        Action::Unsubscribe { who, channels } => world.unsubscribe(conn_id(who), chosen(channels, 'c', 3)),
        Action::Disconnect { who } => world.disconnect(conn_id(who)),
        Action::State { who } => world.set_state(&user(who)),
        Action::OpenSocket { who, hub, max_queued } => world.open_socket(conn_id(who), hub, max_queued),
        Action::OpenPoll { who, hub, max_queued } => world.open_poll(conn_id(who), hub, max_queued),
        Action::Read { session, bytes } => world.with_session(session, |world, at| world.read(at, bytes)),
        Action::Close { session } => world.with_session(session, World::close),
        Action::Offend { session } => world.with_session(session, World::offend),
        Action::Cut { session } => world.with_session(session, World::cut),
        Action::GoOn { session, taken } => world.with_session(session, |world, at| world.go_on(at, taken)),
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
            // The first that has something to do, seen from anywhere.
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

/// Edits or deletes one of the last messages, for those it was for.
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
