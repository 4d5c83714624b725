//! The repository as it is published: read with the same reader as every client's.

use std::{fs, io, path::Path};

use anyhow::{Context, bail};
use protocol::Timestamp;
use release::tuf::{DirectoryFetch, Repository, Trusted};

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
