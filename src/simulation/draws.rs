//! The runs: each is drawn from its seed.

use super::actions::{Action, CONNECTIONS, RETURNING, conn_id};
use super::page::Returns;
use super::{Rng, Rules};
use crate::config::{ChannelRules, PresenceMode, Replay};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::Transport;

/// The most actions of a run.
const ACTIONS: u64 = 400;
const RETURNING_CLIENTS: u8 = 3;

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

/// The same run, where the operator has rules for the channels, and the application gives tokens, blocks users and ends
/// their connections.
pub fn draw_ruled(seed: u64) -> (Rules, Vec<Action>) {
    let (mut rules, actions) = draw_returning(seed);
    let mut rng = Rng::new(seed.rotate_left(32));
    rules.channels = (0..).zip(&rules.settings).map(|of| of_channel(&mut rng, of)).collect();
    let every = rng.pick(&[3, 6, 20]);
    let mut mixed = Vec::new();
    for action in actions {
        if rng.once_in(every) {
            mixed.push(of_application(&mut rng));
        }
        mixed.push(action);
    }
    (rules, mixed)
}

fn of_channel(rng: &mut Rng, (index, settings): (usize, &ChannelSettings)) -> ChannelRules {
    ChannelRules {
        pattern: format!("c{index}"),
        // Tokens create channels without settings of their own.
        defaults: settings.clone().into(),
        frames_age_s: rng.pick(&[0, 0, 1, 4]),
        replay: rng.pick(&[Replay::Absence, Replay::Members]),
        presence: rng.pick(&[
            PresenceMode::Events,
            PresenceMode::Diffs,
            PresenceMode::Counts,
            PresenceMode::None,
        ]),
        presence_ms: rng.pick(&[50, 400]),
        lists_up_to: rng.pick(&[0, 0, 2]),
        flap_ms: rng.pick(&[0, 150, 900]),
        ..ChannelRules::default()
    }
}

fn of_application(rng: &mut Rng) -> Action {
    let is_returning = rng.once_in(3);
    let client = match is_returning {
        true => RETURNING + rng.below(RETURNING_CLIENTS.into()) as u8,
        false => rng.below(CONNECTIONS.into()) as u8,
    };
    match rng.below(16) {
        0 => Action::Block { client, seconds: Some(1 + rng.below(4)) },
        1 => Action::Block { client, seconds: None },
        2 => Action::Unblock { client },
        3 => {
            let reason = rng.pick(&[CloseReason::EndedByApplication, CloseReason::NeedsToken]);
            Action::End { client, reason }
        }
        4 | 5 => Action::Pass { ms: rng.pick(&[50, 400, 1_000]) },
        _ => Action::Present {
            client,
            channels: rng.below(8) as u8,
            age_ms: rng.pick(&[0, 0, 300, 5_000]),
            valid_ms: rng.pick(&[1, 300, 1_500, 20_000]),
            creates: !rng.once_in(4),
        },
    }
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
