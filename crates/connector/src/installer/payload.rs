//! The folder that the installer is started from on a PC without an updater: everything that it needs, verified here from
//! the vendor's root that came with the site profile, and verified again by the elevated installer in a copy of its own.
//!
//! ```text
//! payload/
//!   bin/lockstep-updater      the installer, unpacked from the verified package of the updater
//!   site.json  root.json      as they came with this connector
//!   payload/metadata/  payload/targets/   a TUF repository with two packages: updater and connector
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | the site's server serves what the vendor never signed, or an older version than what runs here | [`release::tuf`] from the pinned root; [`protocol::admit()`]: nobody is asked for a password for it |
//! | stale metadata, to hide a mend | nothing is prepared on expired metadata |
//! | other or endless bytes instead of a package, a transfer that never ends | [`release::download`] |
//! | a folder that is only half there | made beside and renamed when it is whole; made anew before each prompt |
//! | a package that puts files where they do not belong | [`release::package::unpack`] |

use std::{
    fs,
    io::{self, Seek},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use protocol::{
    Admission, Directive, Version, admit,
    catalog::Entry,
    device::{Device, ProductState, STABLE},
    product::{Platform, ProductId},
};
use release::{
    download::{DownloadError, Limits, Wanted, download, partial_name},
    package,
    tuf::{self, Fetch, Repository, Trusted, consistent_target_path},
};

use crate::{
    files, platform,
    server_client::{ServerClient, ServerError},
};

/// Why there is nothing to install from.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The vendor's metadata.
    #[error("the vendor's list of releases cannot be used")]
    Metadata(#[source] tuf::Error),
    /// It has expired.
    #[error("the vendor's list of releases has expired on {0}")]
    Expired(Timestamp),
    /// What the site's server asks for is not what the vendor permits on this PC.
    #[error("{0}")]
    NotPermitted(String),
    /// The vendor publishes no updater for this kind of PC.
    #[error("the vendor's repository has no updater for {0}")]
    NoUpdater(Platform),
    /// A package.
    #[error("{target} cannot be downloaded")]
    Download {
        /// Which.
        target: String,
        /// Why.
        source: DownloadError,
    },
    /// The updater's package.
    #[error("the updater's package cannot be unpacked")]
    Package(#[from] package::Error),
    /// The site's server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The disk.
    #[error("cannot write {path}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A folder to install from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The folder.
    pub folder: PathBuf,
    /// The connector that it brings.
    pub connector: Version,
    /// The updater that it brings.
    pub updater: Version,
}

impl Payload {
    /// The installer.
    pub fn program(&self) -> PathBuf {
        program_of(&self.folder)
    }
}

/// The installer in such a folder.
pub fn program_of(folder: &Path) -> PathBuf {
    folder.join("bin").join(format!("lockstep-updater{}", std::env::consts::EXE_SUFFIX))
}

/// Makes such folders.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// A directory of the user's own; see [`Workshop::new`].
    dir: PathBuf,
    server: ServerClient,
    /// `site.json`, verbatim.
    site: Vec<u8>,
    /// `root.json`, verbatim.
    vendor_root: Vec<u8>,
    running: Version,
}

/// What a folder is made of.
#[derive(Debug)]
struct Parts {
    trusted: Trusted,
    connector: Entry,
    updater: Entry,
}

impl Workshop {
    /// Works in the directory `installer` of `data`.
    pub fn new(data: &Path, server: ServerClient, site: Vec<u8>, vendor_root: Vec<u8>, running: Version) -> Self {
        Self { dir: data.join("installer"), server, site, vendor_root, running }
    }

    /// Downloads and verifies all that `directive` needs, so that a prompt can come at once later. `None`: there is
    /// nothing to install.
    ///
    /// # Errors
    /// [`PrepareError`]. What was downloaded so far is kept.
    pub async fn fetch(&self, directive: &Directive, now: Timestamp) -> Result<Option<Version>, PrepareError> {
        let Some(parts) = self.parts(directive, now).await? else { return Ok(None) };
        for entry in [&parts.updater, &parts.connector] {
            self.package(entry).await?;
        }
        self.drop_others(&parts);
        Ok(Some(parts.connector.release.version))
    }

    /// Makes the folder. `None`: there is nothing to install.
    ///
    /// # Errors
    /// [`PrepareError`]. What was downloaded so far is kept.
    pub async fn prepare(&self, directive: &Directive, now: Timestamp) -> Result<Option<Payload>, PrepareError> {
        let Some(parts) = self.parts(directive, now).await? else { return Ok(None) };
        let updater = self.package(&parts.updater).await?;
        let connector = self.package(&parts.connector).await?;
        self.drop_others(&parts);
        let workshop = self.clone();
        let building = tokio::task::spawn_blocking(move || workshop.build(&parts, updater, connector));
        building.await.map_err(|e| self.disk(&self.dir)(io::Error::other(e)))?.map(Some)
    }

    /// What the vendor signed, and what of it this PC may take.
    async fn parts(&self, directive: &Directive, now: Timestamp) -> Result<Option<Parts>, PrepareError> {
        files::private_directory(&self.dir).map_err(self.disk(&self.dir))?;
        let trusted = self.metadata(now).await?;
        let platform = Platform::current();
        let updater = trusted
            .catalog()
            .of(&ProductId::updater(), &platform, STABLE)
            .max_by_key(|entry| entry.release.version.clone())
            .cloned()
            .ok_or(PrepareError::NoUpdater(platform))?;
        let device = self.this_pc(directive, &updater.release.version, &trusted);
        match admit(trusted.catalog(), &device, directive, now) {
            Admission::Stage(connector) => Ok(Some(Parts { connector: *connector, updater, trusted })),
            Admission::Refused(refusal) => Err(PrepareError::NotPermitted(refusal.to_string())),
            _ => Ok(None),
        }
    }

    /// This PC as it will be once the updater is there.
    fn this_pc(&self, directive: &Directive, updater: &Version, trusted: &Trusted) -> Device {
        let (product, wanted) = (&directive.product, directive.decision.version());
        // The same version again, with the updater: as if it were not there yet.
        let installed = Some(self.running.clone()).filter(|running| wanted != Some(running));
        let running = ProductState { installed, ..ProductState::default() };
        Device {
            updater: Some(updater.clone()),
            disk_free: platform::disk_free(&self.dir),
            metadata_expires: Some(trusted.expires()),
            products: [(product.clone(), running)].into(),
            ..Device::unknown(Platform::current(), STABLE)
        }
    }

    /// The vendor's metadata, verified; the last complete state when the site's server cannot be reached.
    async fn metadata(&self, now: Timestamp) -> Result<Trusted, PrepareError> {
        let repository = Repository::open(&self.dir.join("tuf"), &self.vendor_root).map_err(PrepareError::Metadata)?;
        match repository.refresh(&Mirror(&self.server), now).await {
            Ok(trusted) => Ok(trusted),
            Err(error) => match (error.expired(), &error) {
                (Some(expired), _) => Err(PrepareError::Expired(expired)),
                (None, tuf::Error::Fetch { .. }) => match repository.known() {
                    Ok(Some(known)) if !known.is_expired(now) => Ok(known),
                    _ => Err(PrepareError::Metadata(error)),
                },
                _ => Err(PrepareError::Metadata(error)),
            },
        }
    }

    async fn package(&self, entry: &Entry) -> Result<fs::File, PrepareError> {
        let downloads = self.dir.join("downloads");
        files::private_directory(&downloads).map_err(self.disk(&downloads))?;
        let path = downloads.join(partial_name(&entry.sha256));
        let file = platform::open_private(&path).map_err(self.disk(&path))?;
        let target = format!("targets/{}", consistent_target_path(&entry.target, &entry.sha256));
        let url = self.server.mirror(&target)?;
        let wanted = Wanted { length: entry.length, sha256: &entry.sha256 };
        download(self.server.http(), url.as_str(), file, wanted, Limits::default())
            .await
            .map_err(|source| PrepareError::Download { target: entry.target.clone(), source })
    }

    /// Removes downloads of versions that are not wanted any more.
    fn drop_others(&self, parts: &Parts) {
        let kept = [&parts.updater, &parts.connector].map(|entry| partial_name(&entry.sha256));
        for found in fs::read_dir(self.dir.join("downloads")).into_iter().flatten().flatten() {
            if kept.iter().all(|kept| found.file_name() != kept.as_str())
                && let Err(error) = fs::remove_file(found.path())
            {
                tracing::warn!(%error, "an old download cannot be removed");
            }
        }
    }

    fn build(&self, parts: &Parts, mut updater: fs::File, mut connector: fs::File) -> Result<Payload, PrepareError> {
        let (folder, beside) = (self.dir.join("payload"), self.dir.join("payload.new"));
        remove_folder(&beside).map_err(self.disk(&beside))?;
        files::private_directory(&beside).map_err(self.disk(&beside))?;
        package::unpack(&mut updater, &beside)?;
        let program = program_of(&beside);
        if !program.is_file() {
            return Err(PrepareError::NotPermitted("the updater's package has no bin/lockstep-updater in it".into()));
        }
        let write = |path: PathBuf, bytes: &[u8]| fs::write(&path, bytes).map_err(self.disk(&path));
        write(beside.join("site.json"), &self.site)?;
        write(beside.join("root.json"), &self.vendor_root)?;
        let metadata = beside.join("payload/metadata");
        fs::create_dir_all(&metadata).map_err(self.disk(&metadata))?;
        for file in parts.trusted.metadata() {
            write(metadata.join(&file.name), &file.bytes)?;
        }
        for (entry, file) in [(&parts.updater, &mut updater), (&parts.connector, &mut connector)] {
            let path = beside.join("payload/targets").join(consistent_target_path(&entry.target, &entry.sha256));
            let copied = || {
                fs::create_dir_all(path.parent().unwrap_or(&beside))?;
                file.rewind()?;
                io::copy(file, &mut fs::File::create(&path)?).map(drop)
            };
            let mut copied = copied;
            copied().map_err(self.disk(&path))?;
        }
        remove_folder(&folder).map_err(self.disk(&folder))?;
        fs::rename(&beside, &folder).map_err(self.disk(&folder))?;
        Ok(Payload {
            folder,
            connector: parts.connector.release.version.clone(),
            updater: parts.updater.release.version.clone(),
        })
    }

    /// Removes everything: it was installed.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear(&self) -> io::Result<()> {
        remove_folder(&self.dir)
    }

    fn disk(&self, path: &Path) -> impl Fn(io::Error) -> PrepareError + use<> {
        let path = path.to_owned();
        move |source| PrepareError::Disk { path: path.clone(), source }
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The vendor's repository, as the site's server mirrors it.
struct Mirror<'a>(&'a ServerClient);

impl Fetch for Mirror<'_> {
    type Error = ServerError;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, ServerError> {
        self.0.small_file(path, max_length).await
    }
}
