//! Making a package.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Description, Error, FileEntry, MAGIC, MAX_FILES, Manifest, WINDOW_LOG};
use crate::platform;

/// The level at which packages are compressed: slow to make, as fast as any to unpack.
const LEVEL: i32 = 19;

/// How far [`pack`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes compressed.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Packs every file below `dir` and writes the package to `out`. `progress` is called often.
///
/// Permissions become 0755 where anybody may execute a file, else 0644. On Windows, where files do not say, the program
/// itself is executable.
///
/// # Errors
/// [`Error::CannotPack`] for a symbolic link, a special file, a name that is not safe everywhere, or a file that changes
/// meanwhile; [`Error::Refused`] when the description does not fit the files.
pub fn pack(
    dir: &Path,
    description: &Description,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Error> {
    pack_with_trailer(dir, description, &[], out, progress)
}

/// As [`pack`], with these bytes behind the program's own: see [`crate::carried_root`].
///
/// # Errors
/// The same.
pub fn pack_with_trailer(
    dir: &Path,
    description: &Description,
    trailer: &[u8],
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Error> {
    let tree = Tree { dir, program: &description.program, trailer };
    let mut paths = Vec::new();
    list(dir, "", &mut paths)?;
    paths.sort();
    let files = paths.iter().map(|path| tree.describe(path)).collect::<Result<_, _>>()?;
    let manifest = Manifest { v: 1, description: description.clone(), files };
    let bytes = manifest.to_bytes()?;
    // Cannot exceed u32: it was just measured against MAX_MANIFEST.
    let length = u32::try_from(bytes.len()).map_err(|_| Error::ManifestTooLong { length: bytes.len() as u64 })?;
    for part in [MAGIC, &length.to_be_bytes(), &bytes] {
        out.write_all(part).map_err(Error::Io)?;
    }
    tree.compress(&manifest, out, progress)?;
    Ok(manifest)
}

/// What is packed.
struct Tree<'a> {
    dir: &'a Path,
    program: &'a str,
    /// Follows the program's own bytes.
    trailer: &'a [u8],
}

/// Every file below a directory, relative to where it began.
fn list(dir: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(file_error(dir))? {
        let entry = entry.map_err(file_error(dir))?;
        let path = entry.path();
        let cannot = |why: &str| Error::CannotPack { path: path.clone(), why: why.into() };
        let name = entry.file_name().into_string().map_err(|_| cannot("its name is not Unicode"))?;
        let relative = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(file_error(&path))?;
        if kind.is_dir() {
            list(&path, &format!("{relative}/"), found)?;
        } else if kind.is_file() {
            if found.len() == MAX_FILES {
                return Err(cannot("a package holds at most 10000 files"));
            }
            found.push(relative);
        } else {
            return Err(cannot("a package holds regular files only, no links or special files"));
        }
    }
    Ok(())
}

impl Tree<'_> {
    fn open(&self, relative: &str, path: &Path) -> io::Result<(fs::Metadata, io::Chain<fs::File, &[u8]>)> {
        let file = fs::File::open(path)?;
        let trailer = if relative == self.program { self.trailer } else { &[] };
        Ok((file.metadata()?, file.chain(trailer)))
    }

    fn describe(&self, relative: &str) -> Result<FileEntry, Error> {
        let path = self.dir.join(relative);
        let (meta, mut content) = self.open(relative, &path).map_err(file_error(&path))?;
        let mut hasher = Sha256::new();
        let size = copy(&mut content, &mut |piece| {
            hasher.update(piece);
            Ok(())
        })
        .map_err(file_error(&path))?;
        let executable = platform::is_executable(&meta).unwrap_or(relative == self.program);
        let mode = if executable { 0o755 } else { 0o644 };
        Ok(FileEntry { path: relative.to_owned(), size, mode, sha256: hex::encode(hasher.finalize()) })
    }

    fn compress(
        &self,
        manifest: &Manifest,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let total = manifest.content_size();
        let mut encoder = zstd::Encoder::new(out, LEVEL).map_err(Error::Io)?;
        encoder.window_log(WINDOW_LOG).map_err(Error::Io)?;
        encoder.set_pledged_src_size(Some(total)).map_err(Error::Io)?;
        let mut done = 0;
        for entry in &manifest.files {
            let path = self.dir.join(&entry.path);
            let (_, mut content) = self.open(&entry.path, &path).map_err(file_error(&path))?;
            let mut hasher = Sha256::new();
            copy(&mut content, &mut |piece| {
                hasher.update(piece);
                encoder.write_all(piece)?;
                done += piece.len() as u64;
                progress(Progress { done, total });
                Ok(())
            })
            .map_err(file_error(&path))?;
            if hex::encode(hasher.finalize()) != entry.sha256 {
                return Err(Error::CannotPack { path, why: "it changed while it was being packed".into() });
            }
        }
        encoder.finish().map_err(Error::Io)?.flush().map_err(Error::Io)
    }
}

fn copy(file: &mut impl Read, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(size),
            n => {
                sink(&buffer[..n])?;
                size += n as u64;
            }
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path: PathBuf = path.to_owned();
    |source| Error::File { path, source }
}
