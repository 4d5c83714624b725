//! `cargo xtask soak`: the long runs whose bounded, seeded samples `cargo xtask test` takes.
//!
//! A run is a row of [`RUNS`]: a test of the workspace under other environment variables, or a fuzz target. Which rows are done,
//! with which seed and what they counted, is noted in `target/soak.json` after each row, so that a broken-off soak goes on
//! where it ended; `docs/soak.md` is written from those notes. A test says what it counted on lines of its own that begin
//! with `soak: `.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    packages,
    programs::{Profile, Programs, cargo, target},
};

mod fuzzer;
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
        /// Goes to nextest: the part of the name that picks the tests.
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
        name: "connector-kill-points",
        proves: "no mail is lost or doubled when the connector is killed at any system call",
        kind: Kind::Test {
            package: "lockstep-connector",
            filter: "killed_at_any_system_call",
            env: &[("LOCKSTEP_KILL_POINTS", "all"), ("LOCKSTEP_KILL_SEED", "{seed}")],
        },
    },
    Run {
        name: "service-power",
        proves: "an upgrade under a real systemd, cut by reboots and power cuts at random moments, leaves one whole version and arrives",
        kind: Kind::Test { package: "xtask", filter: "reboots_and_power_cuts_in_the_middle", env: &[] },
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
    /// Fuzz at most so many executions of each target, for a shorter run; the page says how many there were
    #[arg(long)]
    pub executions: Option<u64>,
}

/// Does what has not been done yet, and writes `docs/soak.md`.
///
/// # Errors
/// When a run fails, after the others have had their turn; or something that they need is missing.
pub fn soak(arguments: &Arguments) -> Result<()> {
    let mut notes = if arguments.again { Notes::default() } else { Notes::read()? };
    if arguments.list {
        list(&notes);
        return Ok(());
    }
    let chosen = choose(&arguments.only)?;
    notes.seed = arguments.seed.or(notes.seed).or_else(|| Some(today().replace('-', "").parse().unwrap_or(1)));
    let seed = notes.seed.unwrap_or(1);
    let mut failed = Vec::new();
    let mut prepared = false;
    for (number, run) in chosen.iter().enumerate() {
        if arguments.only.is_empty() && notes.done.get(run.name).is_some_and(|d| d.passed) {
            println!("done  {} ({})", run.name, notes.done[run.name].date);
            continue;
        }
        if matches!(run.kind, Kind::Test { .. }) && !prepared {
            prepare()?;
            prepared = true;
        }
        println!("[{}/{}] {}: {}", number + 1, chosen.len(), run.name, run.proves);
        let done = perform(run, seed, arguments.executions)?;
        println!("{}  {} ({})", if done.passed { "ok" } else { "FAILED" }, run.name, page::time(done.seconds));
        if !done.passed {
            failed.push(run.name);
        }
        notes.done.insert(run.name.into(), done);
        notes.write()?;
        page::write(&notes)?;
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("all done; {}", page::path().display());
    Ok(())
}

fn list(notes: &Notes) {
    for run in RUNS {
        let state = match notes.done.get(run.name) {
            Some(done) if done.passed => format!("passed on {}", done.date),
            Some(done) => format!("FAILED on {}", done.date),
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

/// What the tests need, as for `cargo xtask test`.
fn prepare() -> Result<()> {
    ensure!(packages::is_root(), "the tests need root; use sudo");
    crate::tests::system_parts()?;
    Programs::build(Profile::Dev).map(drop)
}

/// One row, as it went.
fn perform(run: &Run, seed: u64, most: Option<u64>) -> Result<Done> {
    let start = Instant::now();
    let (passed, counts) = match &run.kind {
        Kind::Test { package, filter, env } => {
            let mut command = cargo();
            command.args(["nextest", "run", "--no-capture", "--no-fail-fast", "-p", package, filter]);
            command.env("LOCKSTEP_SOAK", "1").env("LOCKSTEP_SEED", seed.to_string());
            // However long it takes: the profile of a soak ends nothing.
            command.args(["--profile", "soak"]);
            command.envs(env.iter().map(|(name, value)| (*name, value.replace("{seed}", &seed.to_string()))));
            watch(command, "soak: ")?
        }
        Kind::Fuzz { target, executions } => {
            watch(fuzzer::command(target, most.unwrap_or(*executions).min(*executions), seed)?, "Done ")?
        }
    };
    Ok(Done { passed, date: today(), seed, seconds: start.elapsed().as_secs(), counts })
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

/// How a row went.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    passed: bool,
    /// Year-month-day, UTC.
    date: String,
    seed: u64,
    seconds: u64,
    /// What it said it counted.
    counts: Vec<String>,
}

/// What is done so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notes {
    seed: Option<u64>,
    done: BTreeMap<String, Done>,
}

impl Notes {
    fn path() -> PathBuf {
        target().join("soak.json")
    }

    fn read() -> Result<Self> {
        let path = Self::path();
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
            Ok(bytes) => Self::parse(&serde_json::from_slice(&bytes)?)
                .with_context(|| format!("{} is not a soak's notes; remove it", path.display())),
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        let mut notes = Self { seed: value["seed"].as_u64(), done: BTreeMap::new() };
        for (name, done) in value["done"].as_object()? {
            let counts = done["counts"].as_array()?.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect();
            let done = Done {
                passed: done["passed"].as_bool()?,
                date: done["date"].as_str()?.into(),
                seed: done["seed"].as_u64()?,
                seconds: done["seconds"].as_u64()?,
                counts,
            };
            notes.done.insert(name.clone(), done);
        }
        Some(notes)
    }

    fn json(&self) -> Value {
        let done = self.done.iter().map(|(name, d)| {
            let done =
                json!({"passed": d.passed, "date": d.date, "seed": d.seed, "seconds": d.seconds, "counts": d.counts});
            (name.clone(), done)
        });
        json!({"seed": self.seed, "done": done.collect::<serde_json::Map<_, _>>()})
    }

    fn write(&self) -> Result<()> {
        let path = Self::path();
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(&self.json())?)?;
        fs::rename(&beside, &path).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let done =
            Done { passed: true, date: "2026-01-02".into(), seed: 7, seconds: 61, counts: vec!["9 points".into()] };
        let notes = Notes { seed: Some(7), done: BTreeMap::from([("a".into(), done)]) };
        assert_eq!(Notes::parse(&notes.json()), Some(notes));
    }

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
