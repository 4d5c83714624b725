//! No message is lost or doubled when the connector is killed at any system call of accepting, sending, synchronising and
//! replaying. Real program, real Dovecot and Exim, `strace` pulls the plug.
//!
//! The test takes a sample of all points; `LOCKSTEP_KILL_POINTS` (a number, or `all`) asks for more, and
//! `LOCKSTEP_KILL_SEED` for another sample.

#![cfg(target_os = "linux")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use support::lab::{Lab, Point};
use tokio::runtime::Handle;

/// Points of the sample, if time allows.
const SAMPLE: usize = 60;

/// The sample ends after this, however few points it has had.
const LONGEST: Duration = Duration::from_secs(60);

/// So many points in a mail system of their own: with each its mail grows, and with that every comparison.
const IN_ONE: usize = 50;

/// Calls that leave something behind, on the disk or on the line: half of the sample is of them.
const WRITING: [&str; 13] = [
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "ftruncate",
    "sendto",
    "sendmsg",
    "recvfrom",
    "read",
    "mkdir",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_system_call_nothing_is_lost_and_nothing_doubled() {
    let mut lab = Lab::new().await;
    let asked = std::env::var("LOCKSTEP_KILL_POINTS").ok();
    let report = tokio::task::spawn_blocking(move || {
        let most = lab.calibrate();
        let all: usize = most.values().map(|n| *n as usize).sum();
        let wanted = match asked.as_deref() {
            Some("all") => all,
            Some(number) => number.parse().expect("LOCKSTEP_KILL_POINTS is a number, or all"),
            None => SAMPLE,
        };
        let points = if wanted >= all { every(&most) } else { sample(&most, wanted, seed()) };
        println!("{} of {all} points; calls of the busiest thread: {most:?}", points.len());
        let (start, mut killed, mut dropped, mut failures) = (Instant::now(), 0, 0, Vec::new());
        let mut tried = 0;
        for point in &points {
            if asked.is_none() && start.elapsed() > LONGEST {
                break;
            }
            if tried > 0 && tried % IN_ONE == 0 {
                if failures.is_empty() {
                    lab.compare_all().unwrap();
                }
                lab = Handle::current().block_on(Lab::new());
            }
            tried += 1;
            match lab.kill_at(point) {
                Ok((was_killed, was_dropped)) => {
                    killed += usize::from(was_killed);
                    dropped += usize::from(was_dropped);
                    println!("{}-{}: killed {was_killed}, dropped {was_dropped}", point.syscall, point.nth);
                }
                Err(why) => {
                    println!("{}-{}: FAILED {why}", point.syscall, point.nth);
                    failures.push((point.clone(), why));
                }
            }
        }
        println!(
            "soak: {tried} points tried, killed at {killed}; the mail server dropped a second copy at {dropped}; {} failures; {:?}",
            failures.len(),
            start.elapsed()
        );
        if failures.is_empty() {
            lab.compare_all().unwrap();
        }
        (tried, killed, failures)
    });
    let (tried, killed, failures) = report.await.unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(killed * 2 >= tried && killed > 0, "most points are really reached: {killed} of {tried}");
}

fn seed() -> u64 {
    std::env::var("LOCKSTEP_KILL_SEED").map_or(7, |seed| seed.parse().expect("LOCKSTEP_KILL_SEED is a number"))
}

fn every(most: &BTreeMap<String, u32>) -> Vec<Point> {
    most.iter().flat_map(|(name, most)| (1..=*most).map(|nth| Point { syscall: name.clone(), nth })).collect()
}

/// `wanted` points, half of them at calls that leave something behind, each call as often as any other.
fn sample(most: &BTreeMap<String, u32>, wanted: usize, seed: u64) -> Vec<Point> {
    let mut state = seed;
    // SplitMix64: the same seed, the same points.
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let (writing, others): (Vec<_>, Vec<_>) = most.iter().partition(|(name, _)| WRITING.contains(&name.as_str()));
    let (mut points, mut seen) = (Vec::new(), BTreeSet::new());
    for turn in 0..wanted * 20 {
        let from = if turn % 2 == 0 || others.is_empty() { &writing } else { &others };
        let (name, most) = from[draw(from.len() as u64) as usize];
        let point = Point { syscall: name.clone(), nth: 1 + draw(u64::from(*most)) as u32 };
        if points.len() < wanted && seen.insert(point.clone()) {
            points.push(point);
        }
    }
    points
}
