//! The log of a program that has no terminal: a file in the user's data directory, which never grows beyond [`MOST`].

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{files, platform};

/// Bytes of the log; the one before it is kept besides.
pub const MOST: u64 = 1024 * 1024;

/// Where the log is.
pub fn path(data: &Path) -> PathBuf {
    data.join("connector.log")
}

/// Where the log before it is.
pub fn before(data: &Path) -> PathBuf {
    data.join("connector.log.1")
}

/// The log, open for writing at its end.
#[derive(Debug, Clone)]
pub struct LogFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    data: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the log, and makes it if need be.
    ///
    /// # Errors
    /// From the file system.
    pub fn open(data: &Path) -> io::Result<Self> {
        files::private_directory(data)?;
        let open = Open { data: data.to_owned(), file: platform::open_private(&path(data))?, size: 0 };
        Ok(Self(Arc::new(Mutex::new(open.at_the_end()?))))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Whole even if a holder of the lock panicked: at worst a line is cut.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn at_the_end(mut self) -> io::Result<Self> {
        self.size = io::Seek::seek(&mut self.file, io::SeekFrom::End(0))?;
        Ok(self)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        std::fs::rename(path(&self.data), before(&self.data))?;
        self.file = platform::open_private(&path(&self.data))?;
        self.size = 0;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.lock();
        // Where the old one cannot be moved, as while somebody reads it, it grows for now.
        if open.size + line.len() as u64 > MOST && open.begin_anew().is_err() && open.size > 4 * MOST {
            return Ok(line.len());
        }
        let written = open.file.write(line)?;
        open.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().file.flush()
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for LogFile {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_on_where_it_was_and_begins_anew_when_it_is_full() {
        let data = tempfile::tempdir().unwrap();
        LogFile::open(data.path()).unwrap().write_all(b"one\n").unwrap();
        let mut log = LogFile::open(data.path()).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(path(data.path())).unwrap(), "one\ntwo\n");
        let line = [b'x'; 64 * 1024];
        for _ in 0..40 {
            log.write_all(&line).unwrap();
        }
        let size = |path: PathBuf| std::fs::metadata(path).unwrap().len();
        assert!(size(path(data.path())) <= MOST && size(before(data.path())) <= MOST);
    }
}
