//! What the long runs have done so far: `target/soak.json`, and `docs/soak.md`, which is written from it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::page;
use crate::programs::target;

/// How a row went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// Of its last piece: year-month-day, UTC.
    pub(super) date: String,
    pub(super) seed: u64,
    pub(super) seconds: u64,
    /// Of a fuzz target so far.
    pub(super) executions: u64,
    /// What it said it counted.
    pub(super) counts: Vec<String>,
}

/// Whether a row is through, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// A fuzz target, which goes on from here.
    Begun,
}

impl Outcome {
    const ALL: [(Self, &'static str); 3] = [(Self::Passed, "passed"), (Self::Failed, "failed"), (Self::Begun, "begun")];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(outcome, _)| *outcome == self).map_or("", |(_, word)| word)
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(outcome, _)| *outcome)
    }
}

/// What is done so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) seed: Option<u64>,
    pub(super) done: BTreeMap<String, Done>,
}

/// Changes the notes and writes them and the page, one process at a time: several rows may be run beside each other.
pub(super) fn change(change: impl FnOnce(&mut Notes)) -> Result<()> {
    fs::create_dir_all(target())?;
    let lock = fs::File::create(Notes::path().with_extension("lock"))?;
    lock.lock().context("waiting for another soak to write its notes")?;
    let mut notes = Notes::read()?;
    change(&mut notes);
    replace(&Notes::path(), &serde_json::to_vec_pretty(&notes.json())?)?;
    page::write(&notes)
}

/// Writes a file anew; whoever is cut off leaves the old one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path).with_context(|| format!("writing {}", path.display()))
}

impl Notes {
    fn path() -> PathBuf {
        target().join("soak.json")
    }

    pub(super) fn read() -> Result<Self> {
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
                outcome: Outcome::parse(done["outcome"].as_str()?)?,
                date: done["date"].as_str()?.into(),
                seed: done["seed"].as_u64()?,
                seconds: done["seconds"].as_u64()?,
                executions: done["executions"].as_u64()?,
                counts,
            };
            notes.done.insert(name.clone(), done);
        }
        Some(notes)
    }

    fn json(&self) -> Value {
        let done = self.done.iter().map(|(name, d)| {
            let done = json!({
                "outcome": d.outcome.word(), "date": d.date, "seed": d.seed, "seconds": d.seconds,
                "executions": d.executions, "counts": d.counts,
            });
            (name.clone(), done)
        });
        json!({"seed": self.seed, "done": done.collect::<serde_json::Map<_, _>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        for (outcome, _) in Outcome::ALL {
            let done = Done {
                outcome,
                date: "2026-01-02".into(),
                seed: 7,
                seconds: 61,
                executions: 12,
                counts: vec!["9 points".into()],
            };
            let notes = Notes { seed: Some(7), done: BTreeMap::from([("a".into(), done)]) };
            assert_eq!(Notes::parse(&notes.json()), Some(notes));
        }
    }
}
