//! Thousands of simulated runs, each from its seed.

use super::actions::{Action, act, all_conn_ids};
use super::draws::{draw, draw_returning, draw_ruled};
use super::runs::Runs;
use super::{Rules, World};

fn run(rules: &Rules, actions: &[Action]) {
    let mut world = World::new(rules.clone());
    for action in actions {
        act(&mut world, action);
        world.check();
    }
    world.reconnect_all(&all_conn_ids());
    world.expire_all();
}

fn assert_all_pass(draw: fn(u64) -> (Rules, Vec<Action>)) {
    let (file, test) = ("tests/data/simulation_seeds.txt", "simulation::tests");
    let regressions = include_str!("../../tests/data/simulation_seeds.txt");
    Runs { draw, run, regressions, file, test, seeds: 3_000 }.assert_all_pass();
}

#[test]
fn every_subscriber_gets_every_message_once_and_in_order() {
    assert_all_pass(draw);
}

#[test]
fn clients_that_return_with_positions_know_whether_they_missed_anything() {
    assert_all_pass(draw_returning);
}

#[test]
fn rules_tokens_and_blocks_apply_and_everything_else_stays_true() {
    assert_all_pass(draw_ruled);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    let runs = |_| {
        let (rules, actions) = draw(11);
        format!("{rules:?} {actions:?}")
    };
    let [first, second] = [0, 1].map(runs);
    assert_eq!(first, second);
}
