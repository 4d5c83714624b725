//! The vendor's root of trust that a program carries at its own end, so that an installer need not believe the folder it
//! lies in.
//!
//! ```text
//! the program · root.json · u64 length of root.json, big endian · "LOCKSTEP-ROOT-1\n"
//! ```
//!
//! Loaders of programs read what their headers name and nothing behind it, so a program runs with a trailer as it did
//! without. `lockstep pack --carry-root` puts it there; `strip` would take it away, so strip first.
//!
//! | attack | answer |
//! |---|---|
//! | a length that leaves the file, or that is huge | refused before anything is read: at most [`MAX_ROOT`], and never more than lies before it |
//! | a damaged trailer, so that the folder's root is believed instead | an error, not "none": a program that ends as one with a root must have a whole one |
//! | a root that is none, or not signed by its own keys | [`crate::tuf::check_root`] is part of reading |
//! | the program exchanged while it is read | the caller opens the very file that it runs (`/proc/self/exe`) |

use std::io::{self, Read, Seek, SeekFrom};

use crate::tuf;

/// The last bytes of a program that carries a root.
pub const MAGIC: &[u8; 16] = b"LOCKSTEP-ROOT-1\n";

/// Bytes; a longer root is refused.
pub const MAX_ROOT: u64 = 512 * 1024;

/// The length and the magic.
const TAIL: u64 = 8 + MAGIC.len() as u64;

/// Why a program's root could not be read or put there.
#[derive(Debug, thiserror::Error)]
pub enum CarriedRootError {
    /// The file failed.
    #[error("the program cannot be read")]
    Io(#[from] io::Error),
    /// The trailer says something that cannot be.
    #[error("the program's root of trust is damaged: it says that it has {length} bytes")]
    BadLength {
        /// What it says.
        length: u64,
    },
    /// There is a trailer, and no usable root in it.
    #[error("the program's root of trust is damaged")]
    BadRoot(#[source] Box<tuf::Error>),
}

/// Reads the root that a program carries. `None`: it ends like any other file.
///
/// # Errors
/// [`CarriedRootError`], also when the trailer is damaged: then nothing else may be trusted in its place.
pub fn read(program: &mut (impl Read + Seek)) -> Result<Option<Vec<u8>>, CarriedRootError> {
    let end = program.seek(SeekFrom::End(0))?;
    let Some(before_tail) = end.checked_sub(TAIL) else { return Ok(None) };
    program.seek(SeekFrom::Start(before_tail))?;
    let mut tail = [0; TAIL as usize];
    program.read_exact(&mut tail)?;
    let (length, magic) = tail.split_at(8);
    if magic != MAGIC {
        return Ok(None);
    }
    let length = u64::from_be_bytes(length.try_into().unwrap_or_default());
    let start = before_tail.checked_sub(length).filter(|_| length <= MAX_ROOT);
    let start = start.ok_or(CarriedRootError::BadLength { length })?;
    program.seek(SeekFrom::Start(start))?;
    let mut root = Vec::new();
    program.take(length).read_to_end(&mut root)?;
    tuf::check_root(&root).map_err(|e| CarriedRootError::BadRoot(Box::new(e)))?;
    Ok(Some(root))
}

/// What follows a program so that it carries this root.
///
/// # Errors
/// [`CarriedRootError::BadRoot`], [`CarriedRootError::BadLength`].
pub fn trailer(root: &[u8]) -> Result<Vec<u8>, CarriedRootError> {
    let length = root.len() as u64;
    if length > MAX_ROOT {
        return Err(CarriedRootError::BadLength { length });
    }
    tuf::check_root(root).map_err(|e| CarriedRootError::BadRoot(Box::new(e)))?;
    Ok([root, &length.to_be_bytes(), MAGIC].concat())
}
