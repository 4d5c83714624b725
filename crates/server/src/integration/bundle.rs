//! Downloads: a folder in an archive, from which a PC installs without asking anybody else whom to believe.
//!
//! For Linux, a tar archive:
//!
//! ```text
//! bin/…                 the programs: to start the installer with, and to use the connector for one user alone
//! site.json root.json   which site, and the vendor's first root as this site pins it
//! payload/metadata/…    the vendor's signed metadata, byte for byte as mirrored
//! payload/targets/…     the packages that are installed, under their consistent-snapshot names
//! ```
//!
//! For Windows, a zip archive: the vendor's MSI, byte for byte as it was signed, and beside it `site.json` and `root.json`, which it looks
//! for there. Nobody verifies an MSI on its way to the person who starts it, so its bytes are checked against what the vendor signed when
//! the archive is made, whatever lies on this server's disk.
//!
//! An archive is made from what is mirrored when it is first asked for, and kept until one of its ingredients changes. The same
//! ingredients make the same bytes: no times, no owners, always the same order.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use protocol::catalog::Entry;
use release::{
    package,
    tuf::{MetadataFile, Mismatch, Verifier, consistent_target_path},
};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{app::App, mirror::Served, platform};

/// Part of every fingerprint: archives of another form are made anew.
const FORM: &[u8] = b"payload folder 2";

/// What an archive is made of.
#[derive(Debug)]
pub struct Wanted {
    /// How it is packed.
    pub form: Form,
    /// What the archive is called, with its platform and without its ending.
    pub name: String,
    /// The archive's one top-level folder.
    pub folder: String,
    /// The packages, or the one installer. Where two have a file of the same name, it is the first one's.
    pub parts: Vec<Part>,
    /// The vendor's signed metadata.
    pub metadata: Vec<MetadataFile>,
}

/// What a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A tar archive with packages and metadata.
    Tar,
    /// A zip archive with an installer of this name.
    Zip(String),
}

impl Form {
    /// How the archive's name ends.
    pub fn ending(&self) -> &'static str {
        match self {
            Self::Tar => "tar.gz",
            Self::Zip(_) => "zip",
        }
    }
}

/// A mirrored package or installer.
#[derive(Debug)]
pub struct Part {
    /// The file.
    package: PathBuf,
    /// Its path below `targets/`, hash included.
    target: String,
    /// Bytes, as signed.
    length: u64,
    /// As signed.
    sha256: String,
}

impl Part {
    /// The package of a release, or an installer. `None`: it is not mirrored.
    pub fn of(served: &Served, entry: &Entry) -> Option<Self> {
        let package = served.package(entry)?.to_owned();
        let target = consistent_target_path(&entry.target, &entry.sha256);
        Some(Self { package, target, length: entry.length, sha256: entry.sha256.clone() })
    }

    /// All of it, and only if it is what the vendor signed.
    ///
    /// # Errors
    /// [`BundleError::File`], [`BundleError::Changed`].
    pub fn read(&self) -> Result<Vec<u8>, BundleError> {
        let changed = |source| BundleError::Changed { path: self.package.clone(), source };
        let file = fs::File::open(&self.package).map_err(failed(&self.package))?;
        let mut bytes = Vec::new();
        file.take(self.length.saturating_add(1)).read_to_end(&mut bytes).map_err(failed(&self.package))?;
        let mut verifier = Verifier::new(self.length, &self.sha256);
        verifier.update(&bytes).map_err(changed)?;
        verifier.finish().map_err(changed)?;
        Ok(bytes)
    }
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
    /// Somebody has changed the mirror on this machine.
    #[error("{path} is not what the vendor signed any more; `lockstep refresh` fetches it anew")]
    Changed {
        /// Which file.
        path: PathBuf,
        /// The difference.
        source: Mismatch,
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
        let fingerprint = fingerprint(&wanted, &profile, &root);
        let file = directory.join(format!("{}-{fingerprint}.{}", wanted.name, wanted.form.ending()));
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

/// A target's path has its hash in it, so it says what is in the package.
fn fingerprint(wanted: &Wanted, profile: &[u8], root: &[u8]) -> String {
    let mut hasher = Sha256::new();
    let targets = wanted.parts.iter().map(|part| part.target.as_bytes());
    let metadata = wanted.metadata.iter().flat_map(|file| [file.name.as_bytes(), &file.bytes]);
    for part in [FORM, profile, root].into_iter().chain(targets).chain(metadata) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

fn make(directory: &Path, file: &Path, wanted: &Wanted, profile: &[u8], root: &[u8]) -> Result<(), BundleError> {
    platform::make_private_directory(directory).map_err(failed(directory))?;
    let mut archive = tempfile::NamedTempFile::new_in(directory).map_err(failed(directory))?;
    let out = io::BufWriter::new(archive.as_file_mut());
    if let Form::Zip(installer) = &wanted.form {
        let mut zip = ZipWriter::new(out);
        for part in &wanted.parts {
            add_to_zip(&mut zip, &format!("{}/{installer}", wanted.folder), &part.read()?).map_err(failed(file))?;
        }
        for (name, bytes) in [("root.json", root), ("site.json", profile)] {
            add_to_zip(&mut zip, &format!("{}/{name}", wanted.folder), bytes).map_err(failed(file))?;
        }
        zip.finish().map_err(io::Error::from).and_then(|mut out| out.flush()).map_err(failed(file))?;
    } else {
        let mut tar = tar::Builder::new(GzBuilder::new().mtime(0).write(out, Compression::default()));
        add_all(&mut tar, directory, wanted, profile, root)?;
        let gzip = tar.into_inner().map_err(failed(file))?;
        gzip.finish().and_then(|mut out| out.flush()).map_err(failed(file))?;
    }
    archive.as_file().sync_all().map_err(failed(file))?;
    archive.persist(file).map_err(|e| BundleError::File { path: file.to_owned(), source: e.error })?;
    drop_older(directory, file, &wanted.name);
    Ok(())
}

/// Stored as it is, since an MSI is compressed already, and without a time: the same content gives the same bytes.
fn add_to_zip(zip: &mut ZipWriter<impl Write + Seek>, name: &str, content: &[u8]) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    zip.start_file(name, options)?;
    zip.write_all(content)
}

fn add_all(
    tar: &mut tar::Builder<impl Write>,
    directory: &Path,
    wanted: &Wanted,
    profile: &[u8],
    root: &[u8],
) -> Result<(), BundleError> {
    let folder = &wanted.folder;
    let mut taken = BTreeSet::new();
    for part in &wanted.parts {
        add_content(tar, directory, &part.package, folder, &mut taken)?;
    }
    for (name, bytes) in [("root.json", root), ("site.json", profile)] {
        add(tar, &format!("{folder}/{name}"), 0o644, bytes.len() as u64, bytes).map_err(failed(directory))?;
    }
    for MetadataFile { name, bytes } in &wanted.metadata {
        let path = format!("{folder}/payload/metadata/{name}");
        add(tar, &path, 0o644, bytes.len() as u64, &bytes[..]).map_err(failed(directory))?;
    }
    for Part { package, target, .. } in &wanted.parts {
        let content = fs::File::open(package).map_err(failed(package))?;
        let size = content.metadata().map_err(failed(package))?.len();
        add(tar, &format!("{folder}/payload/targets/{target}"), 0o644, size, content).map_err(failed(package))?;
    }
    Ok(())
}

/// Adds a package's files as they are installed, but for those that are there already.
fn add_content(
    tar: &mut tar::Builder<impl Write>,
    directory: &Path,
    package: &Path,
    folder: &str,
    taken: &mut BTreeSet<String>,
) -> Result<(), BundleError> {
    let unpacked = tempfile::tempdir_in(directory).map_err(failed(directory))?;
    let reader = BufReader::new(fs::File::open(package).map_err(failed(package))?);
    let manifest = package::unpack(reader, unpacked.path())
        .map_err(|source| BundleError::Package { path: package.to_owned(), source })?;
    for entry in manifest.files.iter().filter(|entry| !is_ours(&entry.path)) {
        if taken.insert(entry.path.clone()) {
            let path = unpacked.path().join(&entry.path);
            let content = fs::File::open(&path).map_err(failed(&path))?;
            add(tar, &format!("{folder}/{}", entry.path), entry.mode, entry.size, content).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Whether a package's file would lie where the folder has something of its own.
fn is_ours(path: &str) -> bool {
    matches!(path.split('/').next(), Some("payload" | "site.json" | "root.json"))
}

/// Removes the archives that this one replaces; whoever is in the middle of fetching one keeps it to the end.
fn drop_older(directory: &Path, file: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|e| e.path()).filter(|path| path != file) {
        let older = path.file_name().unwrap_or_default().to_string_lossy();
        if older.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an old download stays");
        }
    }
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
