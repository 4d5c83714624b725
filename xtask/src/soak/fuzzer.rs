//! A fuzz target's run: libFuzzer, guided by coverage, on the stable toolchain.
//!
//! `cargo fuzz` wants a nightly compiler for the address sanitizer. The code here is free of `unsafe` outside `platform/`, so what
//! the fuzzer looks for are panics, overflows, broken promises, hangs and memory without bound; all that takes is the
//! compiler's coverage counters, which any compiler has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{
    notes::{Done, Outcome},
    today, watch,
};
use crate::{packages, programs, workspace};

/// The compiler's coverage counters, as libFuzzer reads them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The one system that the fuzzers are built for: named, so that build scripts are built without the counters.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Targets that need the updater's own code.
const OF_THE_UPDATER: [&str; 2] = ["configuration", "sse"];

/// A target of so many features that to weigh inputs by how rare theirs are takes a third of the time.
const OF_MANY_FEATURES: &str = "tuf_metadata";

/// Bytes of the longest input.
const LONGEST: u32 = 8192;

/// Megabytes that a target may take, and seconds that one input may.
const MEMORY: u32 = 1024;
/// See [`MEMORY`].
const PATIENCE: u32 = 30;

/// Seconds after which a target is begun anew, with what it has found so far and another seed; what is done is noted then.
const SLICE: u32 = 300;

/// Runs a target `wanted` times, less what `before` says was done with this seed and broken off, and calls `note` after each
/// slice. At `most` so many times now; the next run goes on from there.
pub(super) fn run(
    target: &str,
    wanted: u64,
    most: Option<u64>,
    seed: u64,
    before: Option<&Done>,
    mut note: impl FnMut(&Done) -> Result<()>,
) -> Result<Done> {
    packages::ensure_installed(packages::FUZZ)?;
    let base = programs::target().join("fuzz");
    let (found, crashes) = (base.join("corpus").join(target), base.join("crashes"));
    for dir in [&found, &crashes] {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let broken_off = before.filter(|d| d.outcome == Outcome::Begun && d.seed == seed);
    let (mut executions, mut seconds) = broken_off.map_or((0, 0), |d| (d.executions, d.seconds));
    let enough = most.map_or(wanted, |most| executions.saturating_add(most).min(wanted));
    loop {
        let left = enough.saturating_sub(executions).max(1);
        let (ok, counts) = watch(slice(target, &base, left, seed ^ executions), "Done ")?;
        let (count, took) = counts.iter().find_map(|line| finished(line)).unwrap_or_default();
        ensure!(!ok || count > 0, "the fuzzer does not say how far it came");
        (executions, seconds) = (executions + count, seconds + took);
        let outcome = match (ok, executions >= wanted) {
            (false, _) => Outcome::Failed,
            (true, true) => Outcome::Passed,
            (true, false) => Outcome::Begun,
        };
        let done = Done {
            outcome,
            date: today(),
            seed,
            seconds,
            executions,
            counts: vec![says(executions, wanted, files(&found)?)],
        };
        note(&done)?;
        if outcome != Outcome::Begun || executions >= enough {
            return Ok(done);
        }
    }
}

/// Executions and seconds in libFuzzer's last line, behind its first word: `Done 1000 runs in 2 second(s)`.
fn finished(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    Some((words.next()?.parse().ok()?, words.nth(2)?.parse().ok()?))
}

fn says(executions: u64, wanted: u64, inputs: usize) -> String {
    let of = if executions < wanted { format!(" of {wanted}") } else { String::new() };
    format!("{executions}{of} executions; {inputs} inputs kept")
}

fn files(dir: &Path) -> Result<usize> {
    Ok(fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.count())
}

/// A target's run of at most so many executions. What it finds on the way is kept in the target directory.
fn slice(target: &str, base: &Path, executions: u64, seed: u64) -> Command {
    let crashes: PathBuf = base.join("crashes");
    // libFuzzer speaks on its standard error.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--target", HOST, "--bin", target, "--manifest-path"]);
    command.arg(workspace().join("fuzz/Cargo.toml"));
    if !OF_THE_UPDATER.contains(&target) {
        // Built and run in a fraction of the time.
        command.arg("--no-default-features");
    }
    command.env("CARGO_TARGET_DIR", base).env("RUSTFLAGS", COVERAGE);
    command.env("RUSTC_WRAPPER", workspace().join("fuzz/rustc.sh"));
    command.arg("--").arg(format!("-runs={executions}")).arg(format!("-seed={}", seed % u64::from(u32::MAX)));
    command
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg(format!("-max_total_time={SLICE}"));
    command.arg(format!("-entropic={}", u8::from(target != OF_MANY_FEATURES)));
    command.arg(format!("-artifact_prefix={}/{target}-", crashes.display())).arg("-verbosity=1");
    command.arg(base.join("corpus").join(target)).arg(workspace().join("fuzz/corpus").join(target));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_the_fuzzer_came_is_read_from_its_last_line() {
        assert_eq!(finished("3734824 runs in 301 second(s)"), Some((3_734_824, 301)));
        assert_eq!(finished("something else"), None);
    }

    #[test]
    fn a_target_that_was_broken_off_says_how_much_is_wanted() {
        assert_eq!(says(5, 10, 1), "5 of 10 executions; 1 inputs kept");
        assert_eq!(says(10, 10, 1), "10 executions; 1 inputs kept");
    }
}
