//! Downloads: a release's verified files in a tar archive, with `site.json` and `root.json` beside them.
//!
//! An archive is made from the mirrored package when it is first asked for, and kept until one of its ingredients changes. The same
//! ingredients make the same bytes: no times, no owners, files sorted by path.

use std::{
    fs,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use release::package;
use sha2::{Digest, Sha256};

use crate::{app::App, platform};

/// What an archive is made of.
#[derive(Debug)]
pub struct Wanted {
    /// The archive's one top-level folder.
    pub folder: String,
    /// The package, in the mirror.
    pub own: PathBuf,
    /// An updater's package to put below `updater/`.
    pub updater: Option<PathBuf>,
}

/// Why an archive could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The mirrored package cannot be unpacked.
    #[error("the package {path} cannot be unpacked")]
    Package {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: package::Error,
    },
    /// A file failed.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The site profile cannot be written.
    #[error("the site profile cannot be written")]
    Profile(#[from] serde_json::Error),
}

/// The archives made so far.
#[derive(Debug)]
pub struct Bundles {
    directory: PathBuf,
    busy: tokio::sync::Mutex<()>,
}

impl Bundles {
    /// Kept in this directory, which may be deleted while the server does not run.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory, busy: tokio::sync::Mutex::default() }
    }

    /// The archive's file, made if it is not there.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn get(&self, app: &App, wanted: Wanted) -> Result<PathBuf, BundleError> {
        let _one_at_a_time = self.busy.lock().await;
        let profile = serde_json::to_vec_pretty(&app.profile)?;
        let root = app.vendor_root.clone();
        let directory = self.directory.clone();
        let file = directory.join(format!("{}.tar.gz", fingerprint(&wanted, &profile, &root)));
        if file.exists() {
            return Ok(file);
        }
        let made = {
            let file = file.clone();
            tokio::task::spawn_blocking(move || make(&directory, &file, &wanted, &profile, &root)).await
        };
        let stopped = |e| BundleError::File { path: file.clone(), source: io::Error::other(e) };
        made.map_err(stopped)??;
        Ok(file)
    }
}

/// Packages lie in the mirror under their hash, so their paths say what is in them.
fn fingerprint(wanted: &Wanted, profile: &[u8], root: &[u8]) -> String {
    let mut hasher = Sha256::new();
    let paths = [Some(&wanted.own), wanted.updater.as_ref()];
    let names = paths.map(|p| p.and_then(|p| p.file_name()).unwrap_or_default().to_string_lossy().into_owned());
    for part in [wanted.folder.as_bytes(), names[0].as_bytes(), names[1].as_bytes(), profile, root] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

fn make(directory: &Path, file: &Path, wanted: &Wanted, profile: &[u8], root: &[u8]) -> Result<(), BundleError> {
    platform::make_private_directory(directory).map_err(failed(directory))?;
    let mut archive = tempfile::NamedTempFile::new_in(directory).map_err(failed(directory))?;
    let gzip = GzBuilder::new().mtime(0).write(io::BufWriter::new(archive.as_file_mut()), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    let folder = &wanted.folder;
    for (package, folder) in
        [(Some(&wanted.own), folder.clone()), (wanted.updater.as_ref(), format!("{folder}/updater"))]
    {
        let Some(package) = package else { continue };
        add_package(&mut tar, directory, package, &folder)?;
        for (name, bytes) in [("root.json", root), ("site.json", profile)] {
            add(&mut tar, &format!("{folder}/{name}"), 0o644, bytes.len() as u64, bytes).map_err(failed(file))?;
        }
    }
    let gzip = tar.into_inner().map_err(failed(file))?;
    gzip.finish().and_then(|mut out| out.flush()).map_err(failed(file))?;
    archive.as_file().sync_all().map_err(failed(file))?;
    archive.persist(file).map_err(|e| BundleError::File { path: file.to_owned(), source: e.error })?;
    Ok(())
}

fn add_package(
    tar: &mut tar::Builder<impl Write>,
    directory: &Path,
    package: &Path,
    folder: &str,
) -> Result<(), BundleError> {
    let unpacked = tempfile::tempdir_in(directory).map_err(failed(directory))?;
    let reader = BufReader::new(fs::File::open(package).map_err(failed(package))?);
    let manifest = package::unpack(reader, unpacked.path())
        .map_err(|source| BundleError::Package { path: package.to_owned(), source })?;
    for entry in &manifest.files {
        let path = unpacked.path().join(&entry.path);
        let content = fs::File::open(&path).map_err(failed(&path))?;
        add(tar, &format!("{folder}/{}", entry.path), entry.mode, entry.size, content).map_err(failed(&path))?;
    }
    Ok(())
}

fn add(tar: &mut tar::Builder<impl Write>, path: &str, mode: u32, size: u64, content: impl io::Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, path, content)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::File { path: path.clone(), source }
}
