//! The fuzz targets without a fuzzer: the stored corpus as it is, and for a limited time with random changes.
//!
//! `CHANNELSTREAM_FUZZ_SECONDS` sets a longer time than two seconds for each target, `CHANNELSTREAM_FUZZ_SEED` repeats
//! the changes of an earlier run. docs/reports/robustness.md describes how to run the targets guided by coverage, and
//! how to keep the inputs that they find.

// Clippy recognises test functions, but not the helpers of a test file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fuzz/targets.rs"]
mod targets;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use targets::{TARGETS, Target};

const SECONDS: u64 = 2;
/// The maximum length of a changed input: longer ones are slow and test nothing more.
const MAX_BYTES: usize = 4 << 10;
/// The maximum number of changes to one input.
const MAX_CHANGES: u32 = 6;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// One change: bytes are flipped, inserted, removed, duplicated, or copied from another input.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut StdRng) {
    let at = chance.random_range(0..=input.len());
    let end = (at + chance.random_range(0..=16)).min(input.len());
    match chance.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << chance.random_range(0..8),
        1 if at < input.len() => {
            input[at] = *b"\0\x7f\xff\"\\{}[],:.=%\r\n 09".get(chance.random_range(0..19)).unwrap()
        }
        2 => input.insert(at, chance.next_u32() as u8),
        3 => drop(input.drain(at..end)),
        4 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        5 => input.truncate(at),
        _ => {
            let other = &corpus[chance.random_range(0..corpus.len())];
            let from = chance.random_range(0..=other.len());
            let to = (from + chance.random_range(0..=64)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
    }
    input.truncate(MAX_BYTES);
}

fn run_input(name: &str, target: Target, input: &[u8], origin: &str) {
    if catch_unwind(|| target(input)).is_err() {
        let file = std::env::temp_dir().join(format!("channelstream-fuzz-{name}-{}", std::process::id()));
        fs::write(&file, input).unwrap();
        let text = input.escape_ascii();
        panic!(
            "{name} fails on {origin}, stored in {}: {text}\nafter the fix, add it to fuzz/corpus/{name}",
            file.display()
        );
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    let corpus = corpus(name);
    assert!(corpus.len() > 10, "the corpus for {name} is too small");
    corpus.iter().for_each(|input| run_input(name, target, input, "the corpus"));
    let seed = variable("CHANNELSTREAM_FUZZ_SEED").unwrap_or_else(|| rand::rng().next_u64());
    let seconds = variable("CHANNELSTREAM_FUZZ_SECONDS").unwrap_or(SECONDS);
    let (end, mut chance) = (Instant::now() + Duration::from_secs(seconds), StdRng::seed_from_u64(seed));
    let mut count = 0_u64;
    while Instant::now() < end {
        let mut input = corpus[chance.random_range(0..corpus.len())].clone();
        for _ in 0..chance.random_range(1..=MAX_CHANGES) {
            change(&mut input, &corpus, &mut chance);
        }
        run_input(name, target, &input, &format!("input {count} of CHANNELSTREAM_FUZZ_SEED={seed}"));
        count += 1;
    }
    println!("{name}: {} stored, {count} changed", corpus.len());
}

#[test]
fn signatures_cause_no_panic() {
    run("signature");
}

#[test]
fn tokens_cause_no_panic() {
    run("token");
}

#[test]
fn positions_cause_no_panic() {
    run("positions");
}

#[test]
fn request_bodies_cause_no_panic() {
    run("body");
}

#[test]
fn handshakes_cause_no_panic() {
    run("handshake");
}

#[test]
fn connections_cause_no_panic() {
    run("http");
}

#[test]
fn websocket_frames_cause_no_panic() {
    run("frames");
}

#[test]
fn toml_settings_cause_no_panic() {
    run("toml");
}

#[test]
fn ini_settings_cause_no_panic() {
    run("ini");
}

#[test]
fn mail_of_nodes_causes_no_panic() {
    run("mail");
}
