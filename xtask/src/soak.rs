//! `cargo xtask soak`: the long runs whose bounded, seeded samples `cargo xtask test` takes.
//!
//! A run is a row of [`RUNS`]: a test of the workspace under other environment variables, or a fuzz target. Which rows are done,
//! with which seed and what they counted, is noted in `target/soak.json` after each row, and after each slice of a fuzz
//! target's, so that a broken-off soak goes on where it ended; `docs/soak.md` is written from those notes. A test says what
//! it counted on lines of its own that begin with `soak: `.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use self::notes::{Done, Notes, Outcome};
use crate::{
    packages,
    programs::{Profile, Programs, cargo, windows::WindowsPrograms},
};

mod fuzzer;
mod notes;
mod page;

/// One long run.
#[derive(Debug)]
pub struct Run {
    /// What `--only` takes.
    pub name: &'static str,
    /// What it proves when it passes, as half a sentence.
    pub proves: &'static str,
    /// How it is done.
    pub kind: Kind,
}

/// How a long run is done.
#[derive(Debug)]
pub enum Kind {
    /// Tests of one package. They see `LOCKSTEP_SOAK=1`, `LOCKSTEP_SEED` and these variables; `{seed}` in a value is the seed.
    Test {
        /// A package of the workspace.
        package: &'static str,
        /// Goes to nextest: the parts of names that pick the tests, with spaces between.
        filter: &'static str,
        /// Further variables.
        env: &'static [(&'static str, &'static str)],
    },
    /// A target of `fuzz/`.
    Fuzz {
        /// Its name there.
        target: &'static str,
        /// How often it is called.
        executions: u64,
    },
}

/// Executions that a fuzz target is run for.
const TEN_MILLION: u64 = 10_000_000;

/// Every long run. A row's test is the one that `cargo xtask test` runs as well, on a sample.
pub const RUNS: &[Run] = &[
    Run {
        name: "updater-killed",
        proves: "the service killed at every call that changes its disk has one whole version and converges",
        kind: Kind::Test { package: "lockstep-updater", filter: "killed_at_any_change_of_its_disk", env: &[] },
    },
    Run {
        name: "updater-refused-once",
        proves: "ENOSPC and EIO at every single call leave a whole version, and the update is done",
        kind: Kind::Test { package: "lockstep-updater", filter: "a_call_that_the_disk_refuses_once", env: &[] },
    },
    Run {
        name: "updater-refused-for-a-while",
        proves: "ENOSPC and EIO from every call on are spoken of, and the update is done afterwards",
        kind: Kind::Test { package: "lockstep-updater", filter: "a_disk_that_refuses_everything", env: &[] },
    },
    Run {
        name: "updater-simulated-power-cuts",
        proves: "one whole version is active after writes were lost, torn or reordered",
        kind: Kind::Test { package: "lockstep-updater", filter: "after_any_power_cut_with_writes_lost", env: &[] },
    },
    Run {
        name: "updater-races",
        proves: "10,000 installs from a folder that another user rewrites install the vendor's bytes or nothing",
        kind: Kind::Test { package: "lockstep-updater", filter: "whoever_rewrites_the_folder", env: &[] },
    },
    Run {
        name: "updater-exchanged-directories",
        proves: "1,000 installs while another user exchanges directories for links touch nothing elsewhere",
        kind: Kind::Test { package: "lockstep-updater", filter: "whoever_exchanges_open_directories", env: &[] },
    },
    Run {
        name: "self-update-killed",
        proves: "supervisor and updater killed at every call of the updater's own upgrade have one whole version and converge",
        kind: Kind::Test { package: "lockstep-updater", filter: "killed_at_any_call_of_a_self_update", env: &[] },
    },
    Run {
        name: "migration-killed",
        proves: "a mail store whose migration is killed at any write has every message, and the next start finishes",
        kind: Kind::Test { package: "lockstep-mail-store", filter: "killed_at_a_write_of_the_migration", env: &[] },
    },
    Run {
        name: "windows-attacks",
        proves: "on a Windows PC, links at predictable names and paths that lead elsewhere do no harm",
        kind: Kind::Test { package: "lockstep-updater", filter: "windows::hostile", env: &[] },
    },
    Run {
        name: "connector-kill-points",
        proves: "no mail is lost or doubled when the connector is killed at any of 1,500 of its system calls, half of them those that write",
        kind: Kind::Test {
            package: "lockstep-connector",
            filter: "killed_at_any_system_call",
            env: &[("LOCKSTEP_KILL_POINTS", "1500"), ("LOCKSTEP_KILL_SEED", "{seed}")],
        },
    },
    Run {
        name: "service-power",
        proves: "an upgrade under a real systemd, cut by reboots and power cuts at random moments, leaves one whole version and arrives",
        kind: Kind::Test { package: "xtask", filter: "reboots_and_power_cuts_in_the_middle", env: &[] },
    },
    Run {
        name: "huge-files",
        proves: "files and packages of 2^31±1 and 2^32±1 bytes are told from those with another last byte, or one more or less",
        kind: Kind::Test {
            package: "lockstep-release",
            filter: "a_file_about_a_count_of_31_or_32_bits a_package_with_a_file_of_gigabytes",
            env: &[],
        },
    },
    Run {
        name: "bomb",
        proves: "10 GiB in a package of a third of a megabyte are given up at what is declared, 4 GiB at most",
        kind: Kind::Test { package: "lockstep-release", filter: "ten_gigabytes", env: &[] },
    },
    Run {
        name: "fuzz-mutations",
        proves: "a million seeded mutations of each corpus are survived, without the fuzzer",
        kind: Kind::Test { package: "lockstep-updater", filter: "seeded_mutations_of_every_corpus", env: &[] },
    },
    fuzz("fuzz-ipc", "frames of the IPC: no crash, and a request is a verb alone", "ipc"),
    fuzz("fuzz-package", "packages and manifests: no crash, and only safe paths and modes", "package"),
    fuzz("fuzz-carried-root", "the end of a program that carries a root", "carried_root"),
    fuzz("fuzz-tuf-root", "a root that is to be pinned", "tuf_root"),
    fuzz(
        "fuzz-tuf-metadata",
        "a repository's roles: nothing unsigned is accepted, nothing signed crashes",
        "tuf_metadata",
    ),
    fuzz("fuzz-messages", "what the server and its clients say to each other", "messages"),
    fuzz("fuzz-catalog", "what a vendor says about a release", "catalog"),
    fuzz("fuzz-configuration", "the site's profile and the machine's settings", "configuration"),
    fuzz("fuzz-sse", "the server's event stream, in any pieces", "sse"),
];

const fn fuzz(name: &'static str, proves: &'static str, target: &'static str) -> Run {
    Run { name, proves, kind: Kind::Fuzz { target, executions: TEN_MILLION } }
}

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these rows, done or not
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Say what there is and what is done
    #[arg(long)]
    pub list: bool,
    /// Begin anew, forgetting what is done
    #[arg(long)]
    pub again: bool,
    /// The seed of every run [default: the one that was begun with, else the day's date as a number]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Fuzz at most so many executions of each target now; the next run goes on from there
    #[arg(long)]
    pub executions: Option<u64>,
}

/// Does what has not been done yet, and writes `docs/soak.md`.
///
/// # Errors
/// When a run fails, after the others have had their turn; or something that they need is missing.
pub fn soak(arguments: &Arguments) -> Result<()> {
    if arguments.again {
        notes::change(|notes| *notes = Notes::default())?;
    }
    let notes = Notes::read()?;
    if arguments.list {
        list(&notes);
        return Ok(());
    }
    let chosen = choose(&arguments.only)?;
    let seed = arguments.seed.or(notes.seed).unwrap_or_else(|| today().replace('-', "").parse().unwrap_or(1));
    notes::change(|notes| notes.seed = Some(seed))?;
    let mut failed = Vec::new();
    let mut prepared = BTreeSet::new();
    for (number, run) in chosen.iter().enumerate() {
        let before = notes.done.get(run.name);
        if let Some(done) = before.filter(|d| arguments.only.is_empty() && d.outcome == Outcome::Passed) {
            println!("done  {} ({})", run.name, done.date);
            continue;
        }
        if let Kind::Test { package, filter, .. } = run.kind {
            if prepared.insert(package == "xtask") {
                prepare(package == "xtask")?;
            }
            if filter.starts_with("windows::") {
                WindowsPrograms::build(Profile::Dev)?;
            }
        }
        println!("[{}/{}] {}: {}", number + 1, chosen.len(), run.name, run.proves);
        let done = match &run.kind {
            Kind::Test { package, filter, env } => {
                let done = test(package, filter, env, seed)?;
                note(run, &done)?;
                done
            }
            Kind::Fuzz { target, executions } => {
                let most = arguments.executions;
                fuzzer::run(target, *executions, most, seed, before, |done| note(run, done))?
            }
        };
        let passed = done.outcome != Outcome::Failed;
        println!("{}  {} ({})", if passed { "ok" } else { "FAILED" }, run.name, page::time(done.seconds));
        if !passed {
            failed.push(run.name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("all done; {}", page::path().display());
    Ok(())
}

/// Notes how far a row has come, and writes the page.
fn note(run: &Run, done: &Done) -> Result<()> {
    notes::change(|notes| {
        notes.done.insert(run.name.into(), done.clone());
    })
}

fn list(notes: &Notes) {
    for run in RUNS {
        let state = match notes.done.get(run.name) {
            Some(done) => match done.outcome {
                Outcome::Passed => format!("passed on {}", done.date),
                Outcome::Failed => format!("FAILED on {}", done.date),
                Outcome::Begun => format!("begun, {}", done.date),
            },
            None => "to do".into(),
        };
        println!("{:32} {:22} {}", run.name, state, run.proves);
    }
}

fn choose(only: &[String]) -> Result<Vec<&'static Run>> {
    if let Some(unknown) = only.iter().find(|name| !RUNS.iter().any(|r| r.name == name.as_str())) {
        bail!("there is no run called {unknown}; `cargo xtask soak --list` names them");
    }
    Ok(RUNS.iter().filter(|r| only.is_empty() || only.iter().any(|name| name == r.name)).collect())
}

/// What the tests need, as for `cargo xtask test`; those of the whole system need all programs, others build their own.
fn prepare(whole_system: bool) -> Result<()> {
    ensure!(packages::is_root(), "the tests need root; use sudo");
    crate::tests::system_parts()?;
    if whole_system { Programs::build(Profile::Dev).map(drop) } else { Ok(()) }
}

/// One row of tests, as it went.
fn test(package: &str, filter: &str, env: &[(&str, &str)], seed: u64) -> Result<Done> {
    let start = Instant::now();
    let mut command = cargo();
    command.args(["nextest", "run", "--no-capture", "--no-fail-fast", "-p", package]).args(filter.split(' '));
    command.env("LOCKSTEP_SOAK", "1").env("LOCKSTEP_SEED", seed.to_string());
    // However long it takes: the profile of a soak ends nothing.
    command.args(["--profile", "soak"]);
    command.envs(env.iter().map(|(name, value)| (*name, value.replace("{seed}", &seed.to_string()))));
    let (passed, counts) = watch(command, "soak: ")?;
    let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    Ok(Done { outcome, date: today(), seed, seconds: start.elapsed().as_secs(), executions: 0, counts })
}

/// Runs a command, shows what it says, and gathers the lines that count.
fn watch(mut command: Command, counting: &str) -> Result<(bool, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {command:?}"))?;
    let mut counts = Vec::new();
    let stdout = child.stdout.take().context("the child has an output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("    {line}");
        if let Some(count) = line.trim_start().strip_prefix(counting) {
            counts.push(count.to_owned());
        }
    }
    Ok((child.wait()?.success(), counts))
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let mut names: Vec<_> = RUNS.iter().map(|r| r.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RUNS.len());
    }

    #[test]
    fn an_unknown_run_is_named() {
        assert!(choose(&["nonesuch".into()]).unwrap_err().to_string().contains("nonesuch"));
    }
}
