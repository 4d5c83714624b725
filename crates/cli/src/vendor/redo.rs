//! Metadata files are written one after the other, and a new root among them takes effect by itself. So the whole
//! signed state is noted first, durably, in `.staging/signed-state.json`; a run that was killed in between is finished by
//! the next one, before it does anything else.

use std::{fs, io, path::Path};

use anyhow::Context;
use release::{
    durable::{self, Access},
    tuf::MetadataFile,
};
use serde::{Deserialize, Serialize};

const NOTE: &str = "signed-state.json";

#[derive(Serialize, Deserialize)]
struct Note {
    v: u32,
    files: Vec<Noted>,
    /// What waits no longer then, in the staging folder.
    #[serde(default)]
    done: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    name: String,
    text: String,
}

/// Writes a signed state's metadata, all of it or, after a power cut, all of it later.
pub fn write(repo: &Path, staging: &Path, files: &[MetadataFile], done: &[&str]) -> anyhow::Result<()> {
    note(staging, files, done)?;
    carry_out(repo, staging)
}

/// Finishes what a killed run had noted.
pub fn carry_out(repo: &Path, staging: &Path) -> anyhow::Result<()> {
    let path = staging.join(NOTE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let note: Note = serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    for file in &note.files {
        write_metadata(repo, &file.name, file.text.as_bytes())?;
    }
    for name in &note.done {
        release::safe_path::check(name)?;
        remove(&staging.join(name))?;
    }
    remove(&path)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Replaces one metadata file.
pub fn write_metadata(repo: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    release::safe_path::check(name)?;
    let directory = repo.join("metadata");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join(name);
    durable::replace(&path, bytes, Access::Public).with_context(|| format!("cannot write {}", path.display()))
}

fn note(staging: &Path, files: &[MetadataFile], done: &[&str]) -> anyhow::Result<()> {
    let noted = |file: &MetadataFile| {
        let text = String::from_utf8(file.bytes.clone()).context("metadata is not text")?;
        anyhow::Ok(Noted { name: file.name.clone(), text })
    };
    let done = done.iter().map(|name| (*name).to_owned()).collect();
    let note = Note { v: 1, files: files.iter().map(noted).collect::<Result<_, _>>()?, done };
    let path = staging.join(NOTE);
    durable::replace(&path, &serde_json::to_vec(&note)?, Access::Private)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_was_noted_and_half_written_is_finished_by_the_next_run() {
        let (repo, staging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |name: &str, text: &str| MetadataFile { name: name.into(), bytes: text.into() };
        let files = [file("2.root.json", "{\"root\":2}"), file("timestamp.json", "{\"timestamp\":2}")];
        write(repo.path(), staging.path(), &[file("timestamp.json", "{\"timestamp\":1}")], &[]).unwrap();

        fs::write(staging.path().join("plan.json"), "what is in it now").unwrap();
        fs::create_dir_all(staging.path().join("signing/to-sign")).unwrap();
        note(staging.path(), &files, &["plan.json", "signing"]).unwrap();
        write_metadata(repo.path(), &files[0].name, &files[0].bytes).unwrap();
        // Killed here.
        carry_out(repo.path(), staging.path()).unwrap();
        for file in files {
            assert_eq!(fs::read(repo.path().join("metadata").join(file.name)).unwrap(), file.bytes);
        }
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
        carry_out(repo.path(), staging.path()).unwrap();
    }
}
