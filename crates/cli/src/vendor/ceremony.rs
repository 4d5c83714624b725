//! What offline keys have to sign, between its preparation and its publication: in memory, or in a folder that is carried from
//! one machine to the next.
//!
//! ```text
//! FOLDER/in-force/   N.root.json, N.targets.json …    what clients have: says whose signatures count
//! FOLDER/to-sign/    N+1.root.json …                  what they will have, with the signatures so far
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use release::{
    durable::{self, Access},
    tuf::MetadataFile,
};
use serde_json::Value;

use super::{
    authority::{authorities, delegated_roles, delegation_of, name},
    editor::OfflineSigned,
    envelope::{Authority, Envelope},
    keys::SecretKey,
    state::State,
    words,
};
use crate::terminal::count;

const IN_FORCE: &str = "in-force";
const TO_SIGN: &str = "to-sign";

/// Files larger than this are none of ours.
const MAX_FILE: u64 = 16 << 20;

/// Prepared, and signed by some.
#[derive(Debug)]
pub struct Ceremony {
    pub base: State,
    pub envelopes: Vec<Envelope>,
}

/// A file that too few keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub file: String,
    pub role: String,
    /// Who says so.
    pub by: String,
    pub needed: usize,
    pub signed: Vec<String>,
    /// The ids of keys that can still sign.
    pub can: Vec<String>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, role, by, needed, signed, can } = self;
        let keys = count(*needed, &format!("{role} key"));
        let did = if signed.is_empty() { "none did".into() } else { format!("only {} did", signed.len()) };
        let more = needed - signed.len();
        // As much of an id as tells keys apart, and as `lockstep role remove-key` takes.
        let short: Vec<&str> = can.iter().map(|id| id.get(..16).unwrap_or(id)).collect();
        let which = if can.len() <= more { "missing".into() } else { format!("missing, any {more} of") };
        write!(f, "{file}: {keys} must sign, but {did}; {which}: {} (as {by} says)", short.join(", "))
    }
}

impl Ceremony {
    /// The root that will be in force.
    fn root(&self) -> anyhow::Result<&Value> {
        let next = self.envelope("root").or(self.base.root.as_ref());
        Ok(&next.context("there is no root")?.signed)
    }

    fn envelope(&self, role: &str) -> Option<&Envelope> {
        self.envelopes.iter().find(|envelope| envelope.role == role)
    }

    /// Whose signatures a role needs: a root its predecessor's keys' and its own (section 5.3.4).
    pub fn authorities(&self, role: &str) -> anyhow::Result<Vec<Authority>> {
        match role {
            "root" => {
                let before =
                    self.base.root.as_ref().map(|root| authorities(&root.signed, "root", "root")).transpose()?;
                let own = authorities(self.root()?, "root", "root")?;
                let same = before.as_ref().is_some_and(|b| b.keys == own.keys && b.threshold == own.threshold);
                Ok(before.into_iter().chain((!same).then_some(own)).collect())
            }
            "targets" => Ok(vec![authorities(self.root()?, "targets", "root")?]),
            delegated => {
                let targets = self.envelope("targets").or(self.base.targets.as_ref());
                let targets = &targets.context("there are no targets")?.signed;
                let authority = delegation_of(targets, delegated);
                Ok(vec![authority.with_context(|| format!("nobody delegates to {delegated}"))?])
            }
        }
    }

    /// Signs everything that the key is good for. Says which files.
    pub fn sign(&mut self, key: &SecretKey) -> anyhow::Result<Vec<String>> {
        let id = key.public().id();
        let mut signed = Vec::new();
        for at in 0..self.envelopes.len() {
            let authorities = self.authorities(&self.envelopes[at].role)?;
            if authorities.iter().any(|authority| authority.has(&id)) {
                self.envelopes[at].sign(key)?;
                signed.push(self.envelopes[at].name()?);
            }
        }
        Ok(signed)
    }

    /// What has to be signed yet.
    pub fn missing(&self) -> anyhow::Result<Vec<Missing>> {
        let mut all = Vec::new();
        for envelope in &self.envelopes {
            for authority in self.authorities(&envelope.role)? {
                all.extend(missing(envelope, &authority)?);
            }
        }
        Ok(all)
    }

    /// All that is needed has signed.
    pub fn finish(self) -> anyhow::Result<OfflineSigned> {
        let missing = self.missing()?;
        if let Some(first) = missing.first() {
            let more = missing.len() - 1;
            let more = if more == 0 { String::new() } else { format!("\nand {} like it", count(more, "line")) };
            bail!("{first}{more}");
        }
        let mut state = self.base;
        let new = self.envelopes.iter().map(Envelope::file).collect::<anyhow::Result<Vec<MetadataFile>>>()?;
        for envelope in self.envelopes {
            match envelope.role.as_str() {
                "root" => state.root = Some(envelope),
                "targets" => state.targets = Some(envelope),
                _ => {
                    state.delegated.insert(envelope.role.clone(), envelope);
                }
            }
        }
        let targets = state.targets.as_ref().context("there are no targets")?;
        let still: Vec<_> = delegated_roles(&targets.signed).filter_map(name).map(str::to_owned).collect();
        state.delegated.retain(|role, _| still.contains(role));
        Ok(OfflineSigned { state, new })
    }

    /// What it changes, file by file, in words.
    pub fn changes(&self) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let before = |role: &str| match role {
            "root" => self.base.root.as_ref(),
            "targets" => self.base.targets.as_ref(),
            role => self.base.delegated.get(role),
        };
        let words = |e: &Envelope| Ok((e.name()?, words::changes(before(&e.role).map(|b| &b.signed), &e.signed)));
        self.envelopes.iter().map(words).collect()
    }

    /// Makes the folder. It must not exist.
    pub fn create(&self, folder: &Path) -> anyhow::Result<()> {
        let making = |path: &Path| format!("cannot make {}", path.display());
        // Under another name until it is whole.
        let beside = folder.with_extension("new");
        if beside.exists() {
            fs::remove_dir_all(&beside).with_context(|| making(&beside))?;
        }
        for part in [IN_FORCE, TO_SIGN] {
            fs::create_dir_all(beside.join(part)).with_context(|| making(&beside))?;
        }
        for file in self.base.offline_files()? {
            write(&beside.join(IN_FORCE).join(&file.name), &file.bytes)?;
        }
        self.save(&beside)?;
        fs::rename(&beside, folder).with_context(|| making(folder))?;
        Ok(durable::sync_dir(folder.parent().unwrap_or(Path::new(".")))?)
    }

    /// Writes the signatures into the folder.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        for envelope in &self.envelopes {
            let file = envelope.file()?;
            write(&folder.join(TO_SIGN).join(&file.name), &file.bytes)?;
        }
        Ok(())
    }

    /// Reads a folder that may come from elsewhere.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        ensure!(
            folder.join(TO_SIGN).is_dir(),
            "{} holds nothing to sign; make it with `lockstep prepare`",
            folder.display()
        );
        let mut base = State::default();
        for envelope in envelopes(&folder.join(IN_FORCE))? {
            match envelope.role.as_str() {
                "root" => base.root = Some(envelope),
                "targets" => base.targets = Some(envelope),
                _ => {
                    base.delegated.insert(envelope.role.clone(), envelope);
                }
            }
        }
        if let Some(root) = &base.root {
            release::tuf::check_root(&root.file()?.bytes).context("the root in force is not one")?;
        }
        Ok(Self { base, envelopes: envelopes(&folder.join(TO_SIGN))? })
    }

    /// Puts it on top of what is published now, which must be what it was prepared for.
    pub fn on(self, published: State) -> anyhow::Result<Self> {
        ensure!(
            self.base.offline_files()? == published.offline_files()?,
            "what is published has changed since this was prepared; take it back with `lockstep staging drop`, and prepare anew"
        );
        Ok(Self { base: published, envelopes: self.envelopes })
    }
}

/// What one file lacks for one authority.
pub fn missing(envelope: &Envelope, authority: &Authority) -> anyhow::Result<Option<Missing>> {
    let signed = envelope.signers(authority)?;
    if signed.len() >= authority.threshold {
        return Ok(None);
    }
    Ok(Some(Missing {
        file: envelope.name()?,
        role: envelope.role.clone(),
        by: authority.by.clone(),
        needed: authority.threshold,
        can: authority.ids().filter(|id| !signed.contains(*id)).map(str::to_owned).collect(),
        signed: signed.into_iter().collect(),
    }))
}

/// The metadata files of a directory: the root first, then the targets, then the delegated roles.
fn envelopes(directory: &Path) -> anyhow::Result<Vec<Envelope>> {
    let reading = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(reading)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>().with_context(reading)?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let file_name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let parts = file_name.strip_suffix(".json").and_then(|stem| stem.split_once('.'));
        let Some((_, role)) = parts.filter(|(version, _)| version.parse::<u64>().is_ok()) else { continue };
        let cannot = || format!("cannot use {}", path.display());
        ensure!(fs::metadata(&path).with_context(cannot)?.len() <= MAX_FILE, "{} is too long", path.display());
        let envelope = Envelope::parse(role, &fs::read(&path).with_context(cannot)?).with_context(cannot)?;
        ensure!(envelope.name()? == file_name, "{} holds version {}", path.display(), envelope.version()?);
        found.push(envelope);
    }
    let rank = |role: &str| ["root", "targets"].iter().position(|r| *r == role).unwrap_or(2);
    found.sort_by_key(|envelope| rank(&envelope.role));
    Ok(found)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    durable::replace(path, bytes, Access::Public).with_context(|| format!("cannot write {}", path.display()))
}
