//! The runs: each is drawn from its seed.

use super::super::{Rng, Rules};
use super::ClusterRules;
use super::actions::{Action, CHANNELS, CLIENTS, USERS};
use super::redis::Loses;
use super::resuming::Returns;
use super::sessions::Opening;
use crate::broker::channel::state::Retention;
use crate::fixtures::PLENTY;
use crate::protocol::settings::ChannelSettings;

const ACTIONS: u64 = 160;

/// What may fail in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    /// Connections break.
    Cuts,
    /// Processes end and are stopped as well.
    Kills,
    /// Redis ends and loses what it has as well.
    Losses,
}

/// Several nodes without failures.
pub fn draw_sound(seed: u64) -> (ClusterRules, Vec<Action>) {
    draw(seed, Faults::None)
}

pub fn draw_cuts(seed: u64) -> (ClusterRules, Vec<Action>) {
    draw(seed, Faults::Cuts)
}

pub fn draw_kills(seed: u64) -> (ClusterRules, Vec<Action>) {
    draw(seed, Faults::Kills)
}

pub fn draw_losses(seed: u64) -> (ClusterRules, Vec<Action>) {
    draw(seed, Faults::Losses)
}

fn draw(seed: u64, faults: Faults) -> (ClusterRules, Vec<Action>) {
    let mut rng = Rng::new(seed);
    let few = Retention { frames: 4 + rng.below(12) as usize, history: 1 + rng.below(8) as usize };
    let retention = if rng.once_in(4) { few } else { PLENTY };
    let settings = (0..CHANNELS).map(|_| ChannelSettings {
        notify_presence: !rng.once_in(3),
        broadcast_presence_with_user_lists: rng.once_in(2),
        notify_state: rng.once_in(2),
        store_history: rng.once_in(2),
        history_size: rng.below(6),
        store_frames: true,
    });
    let settings = settings.collect();
    let rules =
        Rules { epochs: rng.next(), retention, settings, channels: Vec::new(), returning: Vec::new() };
    let clients = (0..CLIENTS).map(|_| (rng.below(USERS.into()) as u8, rng.once_in(2))).collect();
    let rules = ClusterRules {
        seed: rng.next(),
        nodes: 1 + rng.below(4) as usize,
        rules,
        clients,
        loses: faults == Faults::Losses,
    };
    let weights: Vec<u64> = (0..KINDS).map(|_| rng.pick(&[1, 2, 6])).collect();
    let every = rng.pick(&[8, 15, 30]);
    let length = 20 + rng.below(ACTIONS);
    let mut actions = Vec::new();
    // Most runs begin with clients that are attached.
    for client in 0..rng.below(CLIENTS + 1) as usize {
        let node = rng.below(4) as usize;
        actions.push(Action::Connect { node, client, channels: 1 + rng.below(7) as u8 });
    }
    actions.push(Action::Settle);
    for _ in 0..length {
        if faults != Faults::None && rng.once_in(every) {
            match rng.once_in(4) {
                true => actions.extend(story(&mut rng, faults)),
                false => actions.push(failure(&mut rng, faults)),
            }
        }
        actions.push(any(&mut rng, &weights));
    }
    (rules, actions)
}

fn failure(rng: &mut Rng, faults: Faults) -> Action {
    let node = rng.below(4) as usize;
    let kinds = match faults {
        Faults::Cuts | Faults::None => 6,
        Faults::Kills => 13,
        Faults::Losses => 18,
    };
    match rng.below(kinds) {
        0 | 1 => Action::Cut { node, run: rng.below(4) as usize, arrive: rng.below(4) as usize },
        2 => Action::Stall { node },
        3..=5 => Action::Heal { node },
        6 => Action::Stop { node },
        7 | 8 => Action::Continue { node },
        9 | 10 => Action::Kill { node },
        11 | 12 => Action::Start { node },
        13 | 14 => Action::RedisDown,
        _ => {
            let loses = match rng.below(6) {
                0 => Loses::Everything,
                1 | 2 => Loses::Nothing,
                _ => Loses::Last(1 + rng.below(12) as usize),
            };
            Action::RedisUp { loses }
        }
    }
}

/// What single draws seldom bring about together.
fn story(rng: &mut Rng, faults: Faults) -> Vec<Action> {
    let node = rng.below(4) as usize;
    match faults {
        Faults::None | Faults::Cuts => declared_dead(node, rng),
        Faults::Kills => {
            if rng.once_in(2) {
                declared_dead(node, rng)
            } else {
                killed(node, rng)
            }
        }
        Faults::Losses => crash(rng),
    }
}

/// A node is cut off until others have declared it dead.
fn declared_dead(node: usize, rng: &mut Rng) -> Vec<Action> {
    let cut = Action::Cut { node, run: rng.below(4) as usize, arrive: rng.below(4) as usize };
    let pass = (0..5).map(|_| Action::Pass { ms: 1_000, steps: 40, seed: rng.next() });
    let mut actions: Vec<_> = [cut].into_iter().chain(pass).collect();
    actions.push(Action::Heal { node });
    if rng.once_in(2) {
        actions.push(Action::Steps { count: 1 + rng.below(40) as usize, seed: rng.next() });
        actions.push(Action::Cut { node, run: rng.below(4) as usize, arrive: rng.below(4) as usize });
    }
    actions
}

/// A node is killed whose client does not read for a while.
fn killed(node: usize, rng: &mut Rng) -> Vec<Action> {
    let (client, returns) = (rng.below(CLIENTS) as usize, Returns::All);
    let opening = Opening { client, polls: false, hub: rng.below(2) as usize, is_slow: true, returns };
    let mut actions = vec![
        Action::Connect { node, client, channels: 7 },
        Action::Steps { count: 200, seed: rng.next() },
        Action::Open { node, opening },
        Action::Settle,
    ];
    for _ in 0..4 + rng.below(24) {
        let (node, channel) = (rng.below(4) as usize, rng.below(CHANNELS.into()) as u8);
        actions.push(Action::Publish { node, channel, only: 0, except: 0 });
        actions.push(Action::Pass { ms: 100, steps: 30, seed: rng.next() });
        if rng.once_in(6) {
            actions.push(Action::Read { session: 0 });
        }
    }
    actions.push(Action::Kill { node });
    actions
}

/// Redis ends soon after messages were published, and loses its last changes.
fn crash(rng: &mut Rng) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let (node, channel) = (rng.below(4) as usize, rng.below(CHANNELS.into()) as u8);
        actions.push(match rng.once_in(3) {
            true => Action::Private { node, users: 1 + rng.below(15) as u8 },
            false => Action::Publish { node, channel, only: 0, except: 0 },
        });
    }
    actions.push(Action::Steps { count: 1 + rng.below(50) as usize, seed: rng.next() });
    actions.push(Action::RedisDown);
    actions.push(Action::RedisUp { loses: Loses::Last(1 + rng.below(8) as usize) });
    actions
}

const KINDS: usize = 12;

fn any(rng: &mut Rng, weights: &[u64]) -> Action {
    if rng.once_in(3) {
        return Action::Steps { count: 1 + rng.below(60) as usize, seed: rng.next() };
    }
    let mut turn = rng.below(weights.iter().sum());
    let kind = weights.iter().position(|weight| match turn.checked_sub(*weight) {
        Some(rest) => {
            turn = rest;
            false
        }
        None => true,
    });
    of_kind(kind.expect("one of them"), rng)
}

fn of_kind(kind: usize, rng: &mut Rng) -> Action {
    let node = rng.below(4) as usize;
    let client = rng.below(CLIENTS) as usize;
    let channels = 1 + rng.below(7) as u8;
    let session = rng.pick(&[3, 10, 1_000]);
    let session = rng.below(session) as usize;
    match kind {
        0 => Action::Connect { node, client, channels },
        1 => Action::Subscribe { node, client, channels },
        2 => match rng.once_in(4) {
            true => Action::Disconnect { node, client },
            false => Action::Unsubscribe { node, client, channels },
        },
        3 => Action::State { node, user: rng.below(USERS.into()) as u8 },
        4 | 5 => {
            let returns = match rng.below(8) {
                0 => Returns::Nothing,
                1 => Returns::CursorOnly,
                2 => Returns::PositionsOnly,
                _ => Returns::All,
            };
            let (hub, polls, is_slow) = (rng.below(2) as usize, rng.once_in(2), rng.once_in(4));
            Action::Open { node, opening: Opening { client, polls, hub, is_slow, returns } }
        }
        6 => match rng.once_in(2) {
            true => Action::Read { session },
            false => Action::Close { session },
        },
        7 => Action::AdvancePoll { session, taken: !rng.once_in(3) },
        8 => Action::Publish {
            node,
            channel: rng.below(CHANNELS.into()) as u8,
            only: if rng.once_in(3) { rng.below(16) as u8 } else { 0 },
            except: if rng.once_in(4) { rng.below(16) as u8 } else { 0 },
        },
        9 => Action::Private { node, users: 1 + rng.below(15) as u8 },
        10 => match rng.once_in(3) {
            true => Action::Delete { node, back: rng.below(6) as usize },
            false => Action::Edit { node, back: rng.below(6) as usize },
        },
        _ => match rng.once_in(8) {
            true => Action::Settle,
            false => Action::Pass {
                ms: rng.pick(&[20, 100, 500, 1_500, 4_000]),
                steps: rng.pick(&[0, 20, 300, 300]) as usize,
                seed: rng.next(),
            },
        },
    }
}
