//! The repository as it is published: read with the same reader as every client's.

use std::{fs, io, path::Path};

use anyhow::{Context, bail};
use protocol::{
    Timestamp,
    catalog::{Entry, Release},
};
use release::tuf::{DirectoryFetch, Repository, Trusted};
use serde_json::Value;

use crate::runtime::wait;

/// Reads and verifies what is published, with the root and the memory of a key directory. `None`: nothing is yet.
///
/// So a repository that somebody else has altered, or set back, is never signed over. Expiry is left out of account: a vendor
/// may come back late.
pub fn verified(repo: &Path, keys: &Path) -> anyhow::Result<Option<Trusted>> {
    let pinned = keys.join("root.json");
    let root = match fs::read(&pinned) {
        Ok(root) => root,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if repo.join("metadata/timestamp.json").exists() {
                bail!(
                    "{} is published already, but {} does not exist: these are not the keys it was made with",
                    repo.display(),
                    pinned.display()
                );
            }
            return Ok(None);
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", pinned.display())),
    };
    let memory = Repository::open(&keys.join("trusted"), &root)?;
    if !repo.join("metadata/timestamp.json").exists() {
        if memory.known()?.is_some() {
            bail!(
                "{} is empty, but these keys have published before: give the repository they belong to, or bring it \
                 back from a copy",
                repo.display()
            );
        }
        // The first publication broke off after the root was made.
        return Ok(None);
    }
    let trusted =
        wait(memory.refresh(&DirectoryFetch::new(repo), Timestamp::MIN))?.with_context(|| not_as_published(repo))?;
    Ok(Some(trusted))
}

/// What to say of a repository that does not verify.
pub fn not_as_published(repo: &Path) -> String {
    format!("{} is not as it was published, and nothing was changed; bring it back from a copy", repo.display())
}

/// The releases that the repository's newest targets file names, unverified: for a hint before anything is signed.
pub fn unverified(repo: &Path) -> anyhow::Result<Vec<Entry>> {
    let metadata = repo.join("metadata");
    let Ok(files) = fs::read_dir(&metadata) else { return Ok(Vec::new()) };
    let newest = files
        .filter_map(|f| f.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".targets.json")?.parse::<u64>().ok())
        .max();
    let Some(newest) = newest else { return Ok(Vec::new()) };
    let path = metadata.join(format!("{newest}.targets.json"));
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: Value = serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let targets = value.pointer("/signed/targets").and_then(Value::as_object);
    Ok(targets.into_iter().flatten().filter_map(|(path, file)| entry(path, file)).collect())
}

fn entry(target: &str, file: &Value) -> Option<Entry> {
    let release: Release = serde_json::from_value(file.pointer("/custom/lockstep")?.clone()).ok()?;
    Some(Entry {
        target: target.to_owned(),
        length: file.get("length")?.as_u64()?,
        sha256: file.pointer("/hashes/sha256")?.as_str()?.to_owned(),
        release,
    })
}
