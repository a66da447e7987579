//! The fuzz targets without a fuzzer: the kept corpus as it is, and for a bounded time changed at random.
//!
//! `CHANNELSTREAM_FUZZ_SECONDS` asks for longer than two seconds for each target, `CHANNELSTREAM_FUZZ_SEED` for the
//! changes of an earlier run. How to run the targets guided by coverage, and keep what that finds:
//! docs/reports/robustness.md.

// Clippy knows test functions and not the helpers of a test file.
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
/// Changed inputs are not longer than this: what is long is slow, and no different.
const MAX_BYTES: usize = 4 << 10;
/// Changes to one input at most.
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

/// One change: bytes are flipped, put in, taken out, doubled, or come from another input.
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

fn play(name: &str, target: Target, input: &[u8], origin: &str) {
    if catch_unwind(|| target(input)).is_err() {
        let file = std::env::temp_dir().join(format!("channelstream-fuzz-{name}-{}", std::process::id()));
        fs::write(&file, input).unwrap();
        let text = input.escape_ascii();
        panic!(
            "{name} fails on {origin}, kept in {}: {text}\nonce it is mended, add it to fuzz/corpus/{name}",
            file.display()
        );
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    let corpus = corpus(name);
    assert!(corpus.len() > 10, "there is a corpus for {name}");
    corpus.iter().for_each(|input| play(name, target, input, "the corpus"));
    let seed = variable("CHANNELSTREAM_FUZZ_SEED").unwrap_or_else(|| rand::rng().next_u64());
    let seconds = variable("CHANNELSTREAM_FUZZ_SECONDS").unwrap_or(SECONDS);
    let (end, mut chance) = (Instant::now() + Duration::from_secs(seconds), StdRng::seed_from_u64(seed));
    let mut played = 0_u64;
    while Instant::now() < end {
        let mut input = corpus[chance.random_range(0..corpus.len())].clone();
        for _ in 0..chance.random_range(1..=MAX_CHANGES) {
            change(&mut input, &corpus, &mut chance);
        }
        play(name, target, &input, &format!("input {played} of CHANNELSTREAM_FUZZ_SEED={seed}"));
        played += 1;
    }
    println!("{name}: {} kept, {played} changed", corpus.len());
}

#[test]
fn signatures() {
    run("signature");
}

#[test]
fn request_bodies() {
    run("body");
}

#[test]
fn handshakes() {
    run("handshake");
}

#[test]
fn http() {
    run("http");
}

#[test]
fn websocket_frames() {
    run("frames");
}

#[test]
fn toml_settings() {
    run("toml");
}

#[test]
fn ini_settings() {
    run("ini");
}
