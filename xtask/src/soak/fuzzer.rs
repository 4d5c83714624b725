//! A fuzz target's run: libFuzzer, guided by coverage, on the stable toolchain.
//!
//! `cargo fuzz` wants a nightly compiler for the address sanitizer. The code here is free of `unsafe` outside `platform/`, so what
//! the fuzzer looks for are panics, overflows, broken promises, hangs and memory without bound; all that takes is the
//! compiler's coverage counters, which any compiler has.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::{packages, programs, workspace};

/// The compiler's coverage counters, as libFuzzer reads them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The one system that the fuzzers are built for: named, so that build scripts are built without the counters.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Bytes of the longest input.
const LONGEST: u32 = 8192;

/// Megabytes that a target may take, and seconds that one input may.
const MEMORY: u32 = 1024;
/// See [`MEMORY`].
const PATIENCE: u32 = 30;

/// Runs a target so often. What it finds on the way is kept in the target directory, so that the next run goes on from there.
pub(super) fn command(target: &str, executions: u64, seed: u64) -> Result<Command> {
    packages::ensure_installed(packages::FUZZ)?;
    let base = programs::target().join("fuzz");
    let found = base.join("corpus").join(target);
    let crashes = base.join("crashes");
    for dir in [&found, &crashes] {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    // libFuzzer speaks on its standard error.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--target", HOST, "--bin", target, "--manifest-path"]);
    command.arg(workspace().join("fuzz/Cargo.toml")).env("CARGO_TARGET_DIR", &base).env("RUSTFLAGS", COVERAGE);
    command.arg("--").arg(format!("-runs={executions}")).arg(format!("-seed={}", seed % u64::from(u32::MAX)));
    command
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"));
    command.arg(format!("-artifact_prefix={}/{target}-", crashes.display())).arg("-verbosity=1");
    command.arg(found).arg(workspace().join("fuzz/corpus").join(target));
    Ok(command)
}
