//! Random lives.

use super::World;
use crate::fixtures::message;
use crate::hub::messages::Transport;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

const CONNECTIONS: u8 = 6;
const USERS: u8 = 4;

fn conn_id(who: u8) -> Uuid {
    Uuid::from_u128((who % CONNECTIONS).into())
}

/// Two users have two connections each.
fn user(who: u8) -> String {
    format!("u{}", who % CONNECTIONS % USERS)
}

fn channels(bits: u8) -> Vec<String> {
    (0..3).filter(|n| bits >> n & 1 == 1).map(|n| format!("c{n}")).collect()
}

fn act(world: &mut World, number: u128, (what, who, how): (u8, u8, u8)) {
    let session = usize::from(who) % world.num_sessions().max(1);
    let newest = world.num_sessions().saturating_sub(1 + usize::from(how & 7));
    match what {
        0..14 => world.connect(conn_id(who), user(who), channels(how)),
        14..22 => world.subscribe(conn_id(who), channels(how)),
        22..28 => world.unsubscribe(conn_id(who), channels(how & how >> 3)),
        28..30 => world.disconnect(conn_id(who)),
        30..46 => world.open(conn_id(who), how.into(), Transport::Websocket, usize::MAX / 2),
        46..62 => world.open(conn_id(who), how.into(), Transport::LongPoll, 100 + 10 * usize::from(how)),
        62..68 => world.pass(u64::from(how) * 4),
        _ if what < 112 && world.num_sessions() == 0 => {}
        68..72 => world.leave(session),
        72..76 => world.leave(newest),
        76..88 => world.read(session),
        88..94 => world.read(newest),
        94..112 => world.go_on(newest, how & 64 == 0),
        112..150 => {
            let mut message = message(number);
            message.delivery.channel = (how < 220).then(|| format!("c{}", how % 3));
            if how & 32 != 0 || how >= 220 {
                message.delivery.pm_users = vec![user(who), user(who.rotate_left(3))];
            }
            if how & 24 == 24 {
                message.delivery.exclude_users = vec![user(who.rotate_left(4))];
            }
            world.publish(message);
        }
        // The first that has something to do, seen from anywhere.
        150.. => _ = (0..18).any(|next| world.step(usize::from(who) + next, 1 + usize::from(how) % 4)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_subscriber_gets_every_message_once_and_in_order(actions in vec(any::<(u8, u8, u8)>(), 0..600)) {
        let mut world = World::new();
        for (number, action) in (1..).zip(actions) {
            act(&mut world, number, action);
        }
        let everybody: Vec<Uuid> = (0..CONNECTIONS).map(conn_id).collect();
        world.reunite(&everybody);
        world.die_out();
    }
}
