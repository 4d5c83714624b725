//! From what is published and what waits to what has to be signed.

use std::{fs, io, path::Path};

use anyhow::{Context, bail, ensure};
use protocol::{Timestamp, catalog::Entry};
use release::{
    durable::{self, Access},
    tuf::Trusted,
};

use super::{
    ceremony::Ceremony, delegations, editor::Edit, expiry::Periods, key_ring::Draft, published, staging::Staging,
    state::State,
};

/// Where the trust comes from: the key directories that know the root that sites pin.
#[derive(Debug)]
pub struct Rings<'a> {
    all: Vec<&'a Path>,
}

impl<'a> Rings<'a> {
    pub fn new(all: &[&'a Path]) -> Self {
        Self { all: all.to_vec() }
    }

    /// Those that have `root.json` already.
    pub fn knowing(&self) -> Vec<&'a Path> {
        self.all.iter().copied().filter(|ring| ring.join("root.json").exists()).collect()
    }

    /// What is published, verified with the memory of these directories. `None`: nothing is.
    pub fn verified(&self, repo: &Path) -> anyhow::Result<Option<Trusted>> {
        let knowing = self.knowing();
        match (knowing.first(), self.all.first()) {
            (Some(ring), _) | (None, Some(ring)) => published::verified(repo, ring),
            (None, None) => bail!("give a key directory, --offline or --online"),
        }
    }

    /// The root that is signed and not published yet, when a first publication broke off.
    pub fn unpublished_root(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(ring) = self.knowing().first().map(|ring| ring.join("root.json")) else { return Ok(None) };
        Ok(Some(fs::read(&ring).with_context(|| format!("cannot read {}", ring.display()))?))
    }

    /// The public keys that `key init` noted.
    pub fn draft(&self) -> anyhow::Result<Draft> {
        let with_draft = self.all.iter().find(|ring| ring.join("root-draft.json").exists());
        Draft::read(with_draft.or(self.all.first()).context("give a key directory, --offline")?)
    }

    /// Puts the first root into every directory.
    pub fn remember(&self, root: &[u8]) -> anyhow::Result<()> {
        for ring in &self.all {
            let path = ring.join("root.json");
            match fs::read(&path) {
                Ok(known) => ensure!(known == root, "{} is another repository's root", path.display()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    durable::replace(&path, root, Access::Public)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        Ok(())
    }
}

/// What has to be signed so that everything takes effect that waits. `renew` names roles that are signed anew in any case.
pub fn prepare(
    rings: &Rings<'_>,
    published: Option<&Trusted>,
    staging: &Staging,
    waiting: &[Entry],
    renew: &[&str],
    periods: &Periods,
    now: Timestamp,
) -> anyhow::Result<Ceremony> {
    let mut edit = match published {
        Some(published) => Edit::of(State::verified(published)?)?,
        None => match rings.unpublished_root()? {
            Some(root) => Edit::of(State::of_root(&root)?)?,
            None => Edit::first(&rings.draft()?)?,
        },
    };
    for change in &staging.plan()?.changes {
        delegations::apply(&mut edit, change)
            .context("what waits does not fit what is published; see `lockstep staging status`")?;
    }
    for entry in waiting {
        refuse_other_bytes(published, entry)?;
        edit.put_release(entry)?;
    }
    renew.iter().for_each(|role| edit.renew(role));
    edit.prepare(periods, now)
}

fn refuse_other_bytes(published: Option<&Trusted>, entry: &Entry) -> anyhow::Result<()> {
    let known = published.and_then(|p| p.target(&entry.target));
    ensure!(
        known.is_none_or(|k| k.sha256 == entry.sha256 && k.length == entry.length),
        "{} is published already, with other bytes; a version is never changed, so give this one a new number \
         (`lockstep release drop` takes it back)",
        entry.target
    );
    Ok(())
}
