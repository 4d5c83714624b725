//! The fuzz targets on the stable toolchain: every input of `fuzz/corpus`, and seeded mutations of them.
//!
//! A target panics when a parser does, or breaks a promise; see `fuzz/src/targets.rs`. `LOCKSTEP_SEED` takes other mutations,
//! `LOCKSTEP_SOAK=1` many more. The real fuzzing, guided by coverage, is `cargo xtask soak`.

#![cfg(unix)]

#[path = "../../../fuzz/src/targets.rs"]
mod targets;
#[path = "../../../fuzz/src/updater.rs"]
mod updater;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Mutations of each target's corpus, if time allows.
const MUTATIONS: u64 = 20_000;

/// A target's mutations end after this, however few there were.
const LONGEST: Duration = Duration::from_secs(3);

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has a corpus");
    inputs
}

#[test]
fn every_input_of_every_corpus_is_survived() {
    for (name, target) in targets::ALL.iter().chain(updater::ALL) {
        for (input, bytes) in corpus(name) {
            println!("{name}/{input}");
            target(&bytes);
        }
    }
}

/// The corpus is of use only where it gets past the first check: the vendor's own words are accepted.
#[test]
fn the_seeds_of_a_repository_are_those_in_the_corpus() {
    let inputs: Vec<_> = corpus("tuf_metadata").into_iter().map(|(_, bytes)| bytes).collect();
    for seed in targets::tuf_metadata_seeds() {
        assert!(inputs.contains(&seed), "run `cargo run --bin seeds` in fuzz/: {}", String::from_utf8_lossy(&seed));
    }
}

#[test]
fn seeded_mutations_of_every_corpus_are_survived() {
    let soaking = std::env::var_os("LOCKSTEP_SOAK").is_some();
    let seed: u64 = std::env::var("LOCKSTEP_SEED").map_or(1, |seed| seed.parse().expect("LOCKSTEP_SEED is a number"));
    for (name, target) in targets::ALL.iter().chain(updater::ALL) {
        let inputs: Vec<_> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut dice = Dice(seed);
        let start = Instant::now();
        let mut tried = 0;
        let wanted = if soaking { MUTATIONS * 50 } else { MUTATIONS };
        while tried < wanted && (soaking || start.elapsed() < LONGEST) {
            let mutated = mutate(&inputs, &mut dice);
            let survived = std::panic::catch_unwind(|| target(&mutated));
            assert!(survived.is_ok(), "{name}, seed {seed}, mutation {tried}: {}", mutated.escape_ascii());
            tried += 1;
        }
        println!("soak: {name}: {tried} mutations in {:.0} s", start.elapsed().as_secs_f64());
    }
}

/// SplitMix64: the same seed, the same mutations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

/// Pieces that parsers of JSON, of lines and of lengths care about.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"0.5",
    b"1e999",
    b"18446744073709551616",
    b"\n",
    b"\r\n",
    b"\\u0000",
    b"\\ud800",
    b"\x00",
    b"\xff\xff\xff\xff",
    b"../",
    b"\"\":{}",
    b"%2e",
    b"version",
    b" ",
];

fn mutate(inputs: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = inputs[dice.below(inputs.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(16)).min(bytes.len());
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied())),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => bytes.truncate(at),
            _ => {
                let other = &inputs[dice.below(inputs.len())];
                let from = dice.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
    bytes
}
