//! Reading and unpacking a package. The header of [`super`] lists what it withstands.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Error, FileEntry, MAGIC, MAX_MANIFEST, Manifest, WINDOW_LOG};
use crate::{durable, platform};

/// Reads the manifest and leaves `reader` at the first byte of the content.
///
/// # Errors
/// [`Error::NotAPackage`], [`Error::ManifestTooLong`], [`Error::BadManifest`], [`Error::Refused`],
/// [`Error::UnsafePath`], [`Error::CutShort`].
pub fn read_manifest(reader: &mut dyn Read) -> Result<Manifest, Error> {
    let mut magic = vec![0; MAGIC.len()];
    match reader.read_exact(&mut magic) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::NotAPackage),
        other => other.map_err(Error::Io)?,
    }
    if magic != MAGIC {
        return Err(Error::NotAPackage);
    }
    let mut length = [0; 4];
    reader.read_exact(&mut length).map_err(ended)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_MANIFEST {
        return Err(Error::ManifestTooLong { length: length.into() });
    }
    let mut bytes = Vec::new();
    reader.take(length.into()).read_to_end(&mut bytes).map_err(Error::Io)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(Error::CutShort);
    }
    Manifest::parse(&bytes)
}

/// Reads a package to its end and checks every byte, without writing anything.
///
/// # Errors
/// All of [`Error`] that a damaged or hostile package can cause.
pub fn verify(reader: impl Read) -> Result<Manifest, Error> {
    contents(reader, &mut |_, content| content.copy_to(&mut io::sink(), Path::new("")))
}

/// Where a package is unpacked to: the machine's file system, or a simulated one.
pub trait Place {
    /// Whether this is a directory, no link to one, and nothing is in it.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn is_fresh(&self, dir: &Path) -> io::Result<bool>;

    /// Makes a new directory that everybody may read and only its owner may change.
    ///
    /// # Errors
    /// Also when something is there.
    fn make_public_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a new file with exactly this mode.
    ///
    /// # Errors
    /// Also when something is there.
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>>;

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync_names(&self, dir: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub trait NewFile: Write {
    /// Makes its content and its mode durable, not yet its name.
    ///
    /// # Errors
    /// Whatever the file system says; then nothing is known of its content.
    fn sync(&mut self) -> io::Result<()>;
}

impl NewFile for fs::File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl Place for ThisMachine {
    fn is_fresh(&self, dir: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(dir)?.is_dir() && fs::read_dir(dir)?.next().is_none())
    }

    fn make_public_dir(&self, path: &Path) -> io::Result<()> {
        platform::create_dir(path)
    }

    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(platform::create_file(path, mode)?))
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        durable::sync_dir(dir)
    }
}

/// Unpacks a package into a directory, which the caller has just made and nobody else can write to.
///
/// Every file is created anew with its declared mode, checked, and made durable; then the directories are. When it
/// fails, the caller removes the directory.
///
/// # Errors
/// [`Error::NotFresh`]; all of [`Error`] that a damaged or hostile package can cause; [`Error::File`].
pub fn unpack(reader: impl Read, into: &Path) -> Result<Manifest, Error> {
    unpack_at(&ThisMachine, reader, into)
}

/// [`unpack`] on any file system.
///
/// # Errors
/// The same.
pub fn unpack_at(place: &dyn Place, reader: impl Read, into: &Path) -> Result<Manifest, Error> {
    if !place.is_fresh(into).map_err(file_error(into))? {
        return Err(Error::NotFresh(into.to_owned()));
    }
    let mut directories = BTreeSet::new();
    let manifest = contents(reader, &mut |entry, content| {
        make_parents(place, into, &entry.path, &mut directories)?;
        let path = into.join(&entry.path);
        let mut file = place.create_file(&path, entry.mode).map_err(file_error(&path))?;
        content.copy_to(&mut file, &path)?;
        file.sync().map_err(file_error(&path))
    })?;
    for directory in directories.iter().rev() {
        place.sync_names(directory).map_err(file_error(directory))?;
    }
    place.sync_names(into).map_err(file_error(into))?;
    Ok(manifest)
}

/// Hands each file's content to `take`, which must copy it, and makes sure that nothing is left over.
fn contents(
    mut reader: impl Read,
    take: &mut dyn FnMut(&FileEntry, &mut Content<'_>) -> Result<(), Error>,
) -> Result<Manifest, Error> {
    let manifest = read_manifest(&mut reader)?;
    let mut frame = zstd::Decoder::with_buffer(BufReader::with_capacity(128 * 1024, reader))
        .map_err(Error::BadContent)?
        .single_frame();
    frame.window_log_max(WINDOW_LOG).map_err(Error::BadContent)?;
    for entry in &manifest.files {
        take(entry, &mut Content { frame: &mut frame, entry })?;
    }
    // The frame must end where the last file does, and the package where the frame does.
    if frame.read(&mut [0]).map_err(decompression)? != 0 {
        return Err(Error::TooLong);
    }
    if !frame.finish().fill_buf().map_err(Error::Io)?.is_empty() {
        return Err(Error::TooLong);
    }
    Ok(manifest)
}

/// One file's content, still compressed.
struct Content<'a> {
    frame: &'a mut dyn Read,
    entry: &'a FileEntry,
}

impl Content<'_> {
    /// Copies exactly the declared number of bytes and checks their hash. `path` is for the error message.
    fn copy_to(&mut self, out: &mut dyn Write, path: &Path) -> Result<(), Error> {
        let mut buffer = vec![0; 128 * 1024];
        let mut left = self.entry.size;
        let mut hasher = Sha256::new();
        while left > 0 {
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let n = match self.frame.read(&mut buffer[..most]) {
                Ok(0) => return Err(Error::CutShort),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(decompression(e)),
            };
            hasher.update(&buffer[..n]);
            out.write_all(&buffer[..n]).map_err(file_error(path))?;
            left -= n as u64;
        }
        if hex::encode(hasher.finalize()) == self.entry.sha256 {
            Ok(())
        } else {
            Err(Error::WrongHash { path: self.entry.path.clone() })
        }
    }
}

fn make_parents(place: &dyn Place, into: &Path, path: &str, made: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    for (end, _) in path.match_indices('/') {
        let directory = into.join(&path[..end]);
        if made.insert(directory.clone()) {
            place.make_public_dir(&directory).map_err(file_error(&directory))?;
        }
    }
    Ok(())
}

fn decompression(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { Error::CutShort } else { Error::BadContent(error) }
}

fn ended(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { Error::CutShort } else { Error::Io(error) }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| Error::File { path, source }
}
