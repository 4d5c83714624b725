//! Downloaded targets, each in one file of one directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use release::tuf::{SignedTarget, Verifier, VerifyingWriter, consistent_target_path, encode_name};

use crate::http::{Http, too_slow};

/// Where targets come from, and where they go.
#[derive(Debug)]
pub struct Artifacts {
    from: Http,
    dir: PathBuf,
    /// Whether a target's file carries its hash in its name.
    by_hash: bool,
}

impl Artifacts {
    pub fn new(from: Http, dir: PathBuf, by_hash: bool) -> Self {
        Self { from, dir, by_hash }
    }

    /// Downloads a target, unless it lies there already as it was signed.
    pub async fn fetch(&self, name: &str, signed: &SignedTarget) -> Result<()> {
        let verifier = Verifier::of(signed).context("it is signed with no hash that is known here")?;
        // A target's name is no path here: whatever it contains, it is one file in this directory.
        let place = self.dir.join(encode_name(name));
        if is_there(&place, verifier.clone())? {
            return Ok(());
        }
        let beside = self.dir.join(format!(".new-{}", encode_name(name)));
        let came = self.transfer(name, signed, verifier, &beside).await;
        if came.is_err() {
            remove(&beside)?;
        }
        came?;
        fs::rename(&beside, &place).with_context(|| format!("putting {} in place", place.display()))
    }

    async fn transfer(&self, name: &str, signed: &SignedTarget, verifier: Verifier, to: &Path) -> Result<()> {
        let path = self.path(name, signed)?;
        let mut writer = VerifyingWriter::new(verifier, File::create(to)?);
        let whole = async {
            let Some(mut response) = self.from.get(&path).await? else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the repository does not have it"));
            };
            while let Some(chunk) = response.chunk().await.map_err(io::Error::other)? {
                writer.write_all(&chunk)?;
            }
            Ok(())
        };
        tokio::time::timeout(self.from.deadline(), whole).await.map_err(|_| too_slow())??;
        writer.finish()?.sync_all()?;
        Ok(())
    }

    /// Below the targets' URL.
    fn path(&self, name: &str, signed: &SignedTarget) -> Result<String> {
        let path = if self.by_hash {
            let hash = ["sha256", "sha512"].iter().find_map(|algorithm| signed.hashes.get(*algorithm));
            let Some(hash) = hash else { bail!("it is signed with no hash that is known here") };
            consistent_target_path(name, hash)
        } else {
            name.to_owned()
        };
        ensure!(!path.split('/').any(|part| matches!(part, "." | "..")), "its name leads elsewhere");
        Ok(path.split('/').map(encode_name).collect::<Vec<_>>().join("/"))
    }
}

/// Whether the file is the target.
fn is_there(place: &Path, verifier: Verifier) -> Result<bool> {
    let file = match File::open(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.with_context(|| format!("reading {}", place.display()))?,
    };
    Ok(verifier.read_whole(file)?.is_ok())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
