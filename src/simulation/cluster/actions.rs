//! The possible actions, drawn from a seed as a plain list, so that a failing list can be shortened.

use super::super::Rng;
use super::redis::Loses;
use super::sessions::Opening;
use super::{Ended, World};
use crate::fixtures::{delete, edit, message};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::state::StateEntry;
use crate::protocol::value::StateValue;
use crate::protocol::websocket::close::CloseReason;

pub const CLIENTS: u64 = 7;
pub const USERS: u8 = 4;
pub const CHANNELS: u8 = 3;

/// One action. Nodes and clients count modulo their number, sessions are counted back from the newest.
#[derive(Clone, Debug)]
pub enum Action {
    Connect {
        node: usize,
        client: usize,
        channels: u8,
    },
    Subscribe {
        node: usize,
        client: usize,
        channels: u8,
    },
    Unsubscribe {
        node: usize,
        client: usize,
        channels: u8,
    },
    Disconnect {
        node: usize,
        client: usize,
    },
    State {
        node: usize,
        user: u8,
    },
    Open {
        node: usize,
        opening: Opening,
    },
    Read {
        session: usize,
    },
    Close {
        session: usize,
    },
    AdvancePoll {
        session: usize,
        taken: bool,
    },
    Publish {
        node: usize,
        channel: u8,
        only: u8,
        except: u8,
    },
    Private {
        node: usize,
        users: u8,
    },
    Edit {
        node: usize,
        back: usize,
    },
    Delete {
        node: usize,
        back: usize,
    },
    Pass {
        ms: u64,
        steps: usize,
        seed: u64,
    },
    /// Stations run.
    Steps {
        count: usize,
        seed: u64,
    },
    /// The connection of a node to Redis breaks, and it cannot connect again. Some calls on their way still run, and some of
    /// what is on its way to the node arrives.
    Cut {
        node: usize,
        run: usize,
        arrive: usize,
    },
    /// Nothing passes, and the node does not notice.
    Stall {
        node: usize,
    },
    Heal {
        node: usize,
    },
    /// The process is stopped, and continued.
    Stop {
        node: usize,
    },
    Continue {
        node: usize,
    },
    Kill {
        node: usize,
    },
    Start {
        node: usize,
    },
    /// Redis does not run, and runs again.
    RedisDown,
    RedisUp {
        loses: Loses,
    },
    /// All failures end, and everything comes to rest.
    Settle,
}

fn chosen(bits: u8, prefix: char, of: u8) -> Vec<String> {
    (0..of).filter(|n| bits >> n & 1 == 1).map(|n| format!("{prefix}{n}")).collect()
}

fn keys(channels: &[String]) -> Vec<String> {
    channels.iter().map(|name| format!("c{name}")).collect()
}

pub fn act(world: &mut World, action: &Action) {
    let nodes = world.nodes.len();
    match *action {
        Action::Connect { node, client, channels } => {
            world.connect(node % nodes, client, chosen(channels, 'c', CHANNELS));
        }
        Action::Subscribe { node, client, channels } => {
            world.subscribe(node % nodes, client, chosen(channels, 'c', CHANNELS));
        }
        Action::Unsubscribe { node, client, channels } => {
            world.unsubscribe(node % nodes, client, chosen(channels, 'c', CHANNELS));
        }
        Action::Disconnect { node, client } => world.disconnect(node % nodes, client),
        Action::State { node, user } => world.set_state(node % nodes, format!("u{}", user % USERS)),
        Action::Open { node, opening } => world.attach(node % nodes, opening),
        Action::Read { session } => world.with_session(session, World::read_all),
        Action::Close { session } => world.with_session(session, World::leave),
        Action::AdvancePoll { session, taken } => {
            world.with_session(session, |world, at| world.advance_poll(at, taken));
        }
        Action::Publish { node, channel, only, except } => {
            let mut message = message(world.next_number());
            message.delivery.channel = Some(format!("c{channel}"));
            message.delivery.pm_users = chosen(only, 'u', USERS);
            message.delivery.exclude_users = chosen(except, 'u', USERS);
            world.publish(node % nodes, message);
        }
        Action::Private { node, users } => {
            let mut message = message(world.next_number());
            message.delivery.pm_users = chosen(users, 'u', USERS);
            world.publish(node % nodes, message);
        }
        Action::Edit { node, back } => world.change(node % nodes, back, false),
        Action::Delete { node, back } => world.change(node % nodes, back, true),
        Action::Pass { ms, steps, seed } => world.pass(ms, steps, &mut Rng::new(seed)),
        Action::Steps { count, seed } => {
            let mut rng = Rng::new(seed);
            (0..count).all(|_| world.step(&mut rng));
        }
        Action::Cut { node, run, arrive } => world.cut(node % nodes, run, arrive),
        Action::Stall { node } => world.stall(node % nodes),
        Action::Heal { node } => world.heal(node % nodes),
        Action::Stop { node } => world.stop(node % nodes),
        Action::Continue { node } => world.nodes[node % nodes].is_stopped = false,
        Action::Kill { node } => world.kill(node % nodes),
        Action::Start { node } => world.start_again(node % nodes),
        Action::RedisDown => world.stop_redis(),
        Action::RedisUp { loses } => world.start_redis(loses),
        Action::Settle => world.settle(),
    }
}

impl World {
    pub fn next_number(&mut self) -> u128 {
        self.last_number += 1;
        self.last_number
    }

    fn with_session(&mut self, back: usize, act: impl FnOnce(&mut Self, usize)) {
        if let Some(last) = self.sessions.len().checked_sub(1) {
            act(self, last - back % self.sessions.len());
        }
    }

    /// A request about a client begins. One that overlaps another leaves in doubt what becomes of both. Returns
    /// the process, if one runs there.
    fn begin_request(&mut self, node: usize, client: usize) -> Option<usize> {
        let by = self.nodes[node].running.as_ref()?.boot;
        let now = self.truth.next();
        self.clients[client].begin_request(by, now);
        Some(by)
    }

    fn connect(&mut self, node: usize, client: usize, channels: Vec<String>) {
        let Some(by) = self.begin_request(node, client) else { return };
        let (now, of) = (self.truth.next(), &mut self.clients[client]);
        let mut streams = keys(&channels);
        streams.push(format!("u{}", of.user));
        of.may_join(&streams, now);
        let (conn_id, user) = (of.conn_id, of.user.clone());
        self.request(node, |request| async move {
            let result = request.connect(conn_id, user, channels).await;
            Ended::Joined { by, client, streams, result }
        });
    }

    fn subscribe(&mut self, node: usize, client: usize, channels: Vec<String>) {
        let Some(by) = self.begin_request(node, client) else { return };
        let (now, of) = (self.truth.next(), &mut self.clients[client]);
        let (conn_id, streams) = (of.conn_id, keys(&channels));
        of.may_join(&streams, now);
        self.request(node, |request| async move {
            let result = request.subscribe(conn_id, channels).await;
            Ended::Joined { by, client, streams, result }
        });
    }

    fn unsubscribe(&mut self, node: usize, client: usize, channels: Vec<String>) {
        let Some(by) = self.begin_request(node, client) else { return };
        let of = &mut self.clients[client];
        let (conn_id, streams) = (of.conn_id, keys(&channels));
        of.may_leave(&streams);
        self.request(node, |request| async move {
            let result = request.unsubscribe(conn_id, channels).await;
            Ended::Left { by, client, streams, result }
        });
    }

    fn disconnect(&mut self, node: usize, client: usize) {
        let Some(by) = self.begin_request(node, client) else { return };
        let of = &mut self.clients[client];
        let (conn_id, streams) = (of.conn_id, of.streams().cloned().collect::<Vec<_>>());
        of.may_leave(&streams);
        self.request(node, |request| async move {
            let result = request.disconnect(conn_id, CloseReason::Ended.into()).await;
            Ended::Left { by, client, streams, result }
        });
    }

    fn set_state(&mut self, node: usize, user: String) {
        let key = format!("k{}", self.next_number());
        let entry = StateEntry { key: key.clone(), value: StateValue::from_json("1").unwrap() };
        let losses = self.losses;
        self.request(node, |request| async move {
            let result = request.set_user_state(user.clone(), entry).await;
            Ended::State { user, key, losses, result }
        });
    }

    /// A client requests a session. It no longer reads an earlier one if it asks for positions.
    pub fn attach(&mut self, node: usize, opening: Opening) {
        let client = &mut self.clients[opening.client];
        let conn_id = client.conn_id;
        self.request(node, |request| async move {
            let result = request.bring(conn_id).await;
            Ended::Brought { node, opening, result }
        });
    }

    fn publish(&mut self, node: usize, message: Message) {
        let number = message.uuid.as_u128();
        self.sent.push((number, message.delivery.clone()));
        self.request(node, |request| async move {
            let result = request.publish(message).await;
            Ended::Published { number, result }
        });
    }

    /// Edits or deletes one of the last messages, for its own recipients.
    fn change(&mut self, node: usize, back: usize, end: bool) {
        let Some((number, delivery)) = self.sent.iter().rev().nth(back).cloned() else { return };
        if end {
            self.sent.retain(|(of, _)| *of != number);
            let delete = Delete { delivery, ..delete(number) };
            self.request(node, |request| async move {
                let result = request.delete(delete).await;
                Ended::Published { number: super::super::account::number_of_delete(number), result }
            });
            return;
        }
        let serial = self.next_number();
        let edit = Edit { delivery, ..edit(number, &format!("{{\"edit\":{serial}}}")) };
        self.request(node, |request| async move {
            let result = request.edit(edit).await;
            Ended::Published { number: super::super::account::number_of_edit(serial), result }
        });
    }
}
