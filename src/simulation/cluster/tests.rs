//! Runs of several nodes, each from its seed.

use super::super::runs::Runs;
use super::actions::{Action, act};
use super::draws::{draw_cuts, draw_kills, draw_losses, draw_sound};
use super::{ClusterRules, World};

/// Number of random seeds of each test, unless `CHANNELSTREAM_SEEDS` sets another. A run takes about half a second.
const SEEDS: u64 = 40;

fn run(rules: &ClusterRules, actions: &[Action]) {
    let mut world = World::new(rules.clone());
    actions.iter().for_each(|action| act(&mut world, action));
    world.finish();
    world.expire();
}

fn assert_all_pass(draw: fn(u64) -> (ClusterRules, Vec<Action>)) {
    let (file, test) = ("tests/data/cluster_seeds.txt", "simulation::cluster");
    let regressions = include_str!("../../../tests/data/cluster_seeds.txt");
    Runs { draw, run, regressions, file, test, seeds: SEEDS }.assert_all_pass();
}

#[test]
fn several_nodes_act_as_one() {
    assert_all_pass(draw_sound);
}

#[test]
fn nothing_is_lost_when_connections_to_redis_break() {
    assert_all_pass(draw_cuts);
}

#[test]
fn nothing_is_lost_when_nodes_die_or_stop() {
    assert_all_pass(draw_kills);
}

#[test]
fn what_redis_loses_is_reported() {
    assert_all_pass(draw_losses);
}
