//! Where releases wait for the next publication: `REPO/.staging`, beside what is served.
//!
//! | file | what |
//! |---|---|
//! | `<product>/<file>.lpk` | a package; below `<product>/<channel>/` where the channel has a role of its own |
//! | `<product>/<file>.msi` | an installer, which brings a release to a computer by the system's own means |
//! | `<product>/<file>.json` | what will be said about it; a package is complete before its description appears |
//! | `plan.json` | changes of keys and delegations |
//! | `settings.json` | for how long roles are good |
//! | `signing/` | what offline keys have to sign, see [`super::ceremony`] |
//! | `signed-state.json` | a publication that is being written, see [`super::redo`] |

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use protocol::catalog::Entry;
use release::{
    durable::{self, Access},
    package::Description,
    tuf::{INSTALLER, RELEASE, Verifier, VerifyingWriter},
};

use super::{editor::SignedRepository, plan::Plan, redo};

/// The folder of a signing ceremony.
pub const SIGNING: &str = "signing";

/// The repository's work area.
#[derive(Debug)]
pub struct Staging {
    dir: PathBuf,
    _lock: fs::File,
}

impl Staging {
    /// Opens it, keeps other runs of this tool out of the repository until it is dropped, and finishes a publication
    /// that was killed.
    pub fn open(repo: &Path) -> anyhow::Result<Self> {
        let dir = repo.join(".staging");
        durable::create_private_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("lock");
        let lock = fs::File::create(&path).with_context(|| format!("cannot use {}", path.display()))?;
        lock.try_lock().with_context(|| format!("another lockstep is at work in {}", repo.display()))?;
        redo::carry_out(repo, &dir)?;
        Ok(Self { dir, _lock: lock })
    }

    /// The same for a repository that must be there: a mistyped name makes no new one.
    pub fn existing(repo: &Path) -> anyhow::Result<Self> {
        ensure!(repo.is_dir(), "there is no repository {}", repo.display());
        Self::open(repo)
    }

    /// Writes a signed state's metadata. What the state holds by then no longer waits: `done`, files and folders of this one.
    pub fn write_metadata(&self, repo: &Path, signed: &SignedRepository, done: &[&str]) -> anyhow::Result<()> {
        redo::write(repo, &self.dir, signed.files(), done)
    }

    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// What offline keys have to sign, when it is prepared.
    pub fn prepared(&self) -> Option<PathBuf> {
        let folder = self.dir.join(SIGNING);
        folder.exists().then_some(folder)
    }

    /// Where that is, or will be.
    pub fn signing(&self) -> PathBuf {
        self.dir.join(SIGNING)
    }

    /// What is being signed does not change any more.
    pub fn refuse_if_prepared(&self) -> anyhow::Result<()> {
        ensure!(
            self.prepared().is_none(),
            "a state is prepared and being signed; publish it first, or take it back with `lockstep staging drop`"
        );
        Ok(())
    }

    pub fn plan(&self) -> anyhow::Result<Plan> {
        Plan::read(&self.dir)
    }

    /// Takes a package in. The bytes are checked against the entry while they are copied.
    pub fn put(&self, package: &Path, entry: &Entry) -> anyhow::Result<()> {
        let to = self.dir.join(&entry.target);
        copy_verified(package, &to, entry)?;
        let description = self.description(&entry.target);
        durable::replace(&description, &serde_json::to_vec_pretty(entry)?, Access::Public)
            .with_context(|| format!("cannot write {}", description.display()))
    }

    /// What waits, sorted by target.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut directories: Vec<_> =
            list(&self.dir)?.into_iter().filter(|path| path.is_dir() && !path.ends_with(SIGNING)).collect();
        while let Some(directory) = directories.pop() {
            for path in list(&directory)? {
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|e| e == "json") {
                    let reading = || format!("cannot read {}", path.display());
                    let bytes = fs::read(&path).with_context(reading)?;
                    found.push(serde_json::from_slice::<Entry>(&bytes).with_context(reading)?);
                }
            }
        }
        found.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(found)
    }

    /// Where a waiting package is.
    pub fn package(&self, target: &str) -> PathBuf {
        self.dir.join(target)
    }

    /// Forgets a release that waits. The description goes first: without it, the package is nothing.
    pub fn remove(&self, target: &str) -> anyhow::Result<()> {
        for path in [self.description(target), self.package(target)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn description(&self, target: &str) -> PathBuf {
        self.dir.join(format!("{target}.json"))
    }
}

/// The target path of a package (`lpk`) or an installer (`msi`). A channel with a role of its own has a directory of its own, since a
/// delegation is for paths.
pub fn target_path(d: &Description, channel: Option<&str>, ending: &str) -> String {
    let directory = channel.map_or_else(|| d.product.to_string(), |channel| format!("{}/{channel}", d.product));
    format!("{directory}/{}-{}-{}.{ending}", d.product, d.version, d.platform)
}

/// Under which member of `custom` the vendor says what a target is: updaters install what is a release, people what is an installer.
pub fn kind_of(target: &str) -> &'static str {
    if target.ends_with(".msi") { INSTALLER } else { RELEASE }
}

/// Copies a package so that it appears under its name only when it is whole and durable.
pub fn copy_verified(from: &Path, to: &Path, entry: &Entry) -> anyhow::Result<()> {
    let parent = to.parent().context("a package has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let reading = || format!("cannot read {}", from.display());
    let writing = || format!("cannot write {}", to.display());
    let mut source = fs::File::open(from).with_context(reading)?;
    let beside = tempfile::Builder::new().prefix(".new-").tempfile_in(parent).with_context(writing)?;
    let mut out = VerifyingWriter::new(Verifier::new(entry.length, &entry.sha256), beside);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match source.read(&mut buffer).with_context(reading)? {
            0 => break,
            n => out.write_all(&buffer[..n]).with_context(writing)?,
        }
    }
    let beside = out.finish().with_context(|| format!("{} has changed", from.display()))?;
    release::durable::make_public(beside.as_file()).with_context(writing)?;
    beside.as_file().sync_all().with_context(writing)?;
    beside.persist(to).with_context(writing)?;
    durable::sync_dir(parent).with_context(writing)
}

fn list(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("cannot read {}", dir.display());
    fs::read_dir(dir).with_context(reading)?.map(|e| Ok(e.with_context(reading)?.path())).collect()
}
