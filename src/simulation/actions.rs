//! The possible actions, drawn from a seed as a plain list, so that a failing list can be shortened to the relevant
//! part.

use super::World;
use super::admission::Token;
use super::page::Returns;
use crate::fixtures::{delete, edit, message, payload};
use crate::protocol::message::{Delete, Edit};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::Transport;
use uuid::Uuid;

pub const CONNECTIONS: u8 = 6;
pub const USERS: u8 = 4;
/// The clients from this number on ask for positions.
pub const RETURNING: u8 = 100;

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
    /// A client presents a token that was issued some time ago. It creates the connection, or only refreshes it.
    Present {
        client: u8,
        channels: u8,
        age_ms: u64,
        valid_ms: u64,
        creates: bool,
    },
    /// The application blocks a user for some time, or revokes the user's tokens.
    Block {
        client: u8,
        seconds: Option<u64>,
    },
    Unblock {
        client: u8,
    },
    /// The application ends the connections of a user.
    End {
        client: u8,
        reason: CloseReason,
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
        Action::Present { client, channels, age_ms, valid_ms, creates } => world.present(Token {
            conn_id: conn_id(client),
            user: user(client),
            channels: chosen(channels, 'c', 3),
            issued: world.now.saturating_sub(age_ms),
            valid_ms,
            creates,
        }),
        Action::Block { client, seconds } => world.block(user(client), seconds),
        Action::Unblock { client } => world.unblock(&user(client)),
        Action::End { client, reason } => world.end(&user(client), reason),
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
