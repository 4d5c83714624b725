//! Checking a package's bytes while they stream.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256, Sha512};
use sigstore_tuf::TargetFile;

/// Why downloaded bytes are not the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// More bytes than the signed length; reported with the first one too many.
    #[error("the download is longer than the signed {expected} bytes")]
    TooLong {
        /// Bytes.
        expected: u64,
    },
    /// It ended early.
    #[error("the download ended after {got} of {expected} bytes")]
    TooShort {
        /// Bytes.
        expected: u64,
        /// Bytes.
        got: u64,
    },
    /// The right number of wrong bytes.
    #[error("the download's hash is {got}, signed is {expected}")]
    WrongHash {
        /// Lower-case hexadecimal.
        expected: String,
        /// Lower-case hexadecimal.
        got: String,
    },
}

/// Takes a target's bytes as they arrive, and refuses those that are not what was signed.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: u64,
    seen: u64,
    sha256: Option<(String, Sha256)>,
    sha512: Option<(String, Sha512)>,
}

impl Verifier {
    /// `length` in bytes and `sha256` in lower-case hexadecimal, as the catalog's entry has them.
    pub fn new(length: u64, sha256: &str) -> Self {
        Self { expected: length, seen: 0, sha256: Some((sha256.to_owned(), Sha256::new())), sha512: None }
    }

    /// For a target as it stands in metadata: each hash that is known here must match. `None` when none is known.
    pub fn of(file: &TargetFile) -> Option<Self> {
        let signed = |algorithm: &str| file.hashes.get(algorithm).map(|hash| hash.to_ascii_lowercase());
        let sha256 = signed("sha256").map(|hash| (hash, Sha256::new()));
        let sha512 = signed("sha512").map(|hash| (hash, Sha512::new()));
        let known = sha256.is_some() || sha512.is_some();
        known.then_some(Self { expected: file.length, seen: 0, sha256, sha512 })
    }

    /// Takes the next bytes. Call it before they are written anywhere.
    ///
    /// # Errors
    /// [`Mismatch::TooLong`]: stop the transfer.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Mismatch> {
        let too_long = Mismatch::TooLong { expected: self.expected };
        let seen = u64::try_from(bytes.len()).ok().and_then(|n| self.seen.checked_add(n)).ok_or(too_long.clone())?;
        if seen > self.expected {
            return Err(too_long);
        }
        self.seen = seen;
        if let Some((_, hasher)) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some((_, hasher)) = &mut self.sha512 {
            hasher.update(bytes);
        }
        Ok(())
    }

    /// Takes all that is left to read, and says whether the bytes were the target.
    ///
    /// # Errors
    /// The reader's; within, those of [`Verifier::update`] and [`Verifier::finish`].
    pub fn read_whole(mut self, mut from: impl Read) -> io::Result<Result<(), Mismatch>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(self.finish()),
                Ok(n) => {
                    if let Err(mismatch) = self.update(&buffer[..n]) {
                        return Ok(Err(mismatch));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes taken so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Says whether the bytes were the target. Nothing may be used before this says `Ok`.
    ///
    /// # Errors
    /// [`Mismatch::TooShort`], [`Mismatch::WrongHash`].
    pub fn finish(self) -> Result<(), Mismatch> {
        if self.seen != self.expected {
            return Err(Mismatch::TooShort { expected: self.expected, got: self.seen });
        }
        let sha256 = self.sha256.map(|(expected, hasher)| (expected, hex::encode(hasher.finalize())));
        let sha512 = self.sha512.map(|(expected, hasher)| (expected, hex::encode(hasher.finalize())));
        match [sha256, sha512].into_iter().flatten().find(|(expected, got)| expected != got) {
            Some((expected, got)) => Err(Mismatch::WrongHash { expected, got }),
            None => Ok(()),
        }
    }
}

/// A [`Verifier`] in front of a writer: bytes past the signed length never reach it.
#[derive(Debug)]
pub struct VerifyingWriter<W> {
    verifier: Verifier,
    inner: W,
}

impl<W: Write> VerifyingWriter<W> {
    /// Checks what is written to `inner`.
    pub fn new(verifier: Verifier, inner: W) -> Self {
        Self { verifier, inner }
    }

    /// Says whether the bytes were the target, and returns the writer.
    ///
    /// # Errors
    /// As [`Verifier::finish`].
    pub fn finish(self) -> Result<W, Mismatch> {
        self.verifier.finish()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for VerifyingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.verifier.update(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        // All or nothing: what has been hashed must also be written.
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Where a target lies below `targets/` in a repository with consistent snapshots: `dir/<hash>.file`
/// (TUF specification, section 5.7.3).
pub fn consistent_target_path(path: &str, sha256: &str) -> String {
    match path.rsplit_once('/') {
        Some((dir, file)) => format!("{dir}/{sha256}.{file}"),
        None => format!("{sha256}.{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn the_signed_bytes_are_accepted_in_any_pieces() {
        for piece in 1..=5 {
            let mut writer = VerifyingWriter::new(Verifier::new(5, HELLO), Vec::new());
            for bytes in b"hello".chunks(piece) {
                writer.write_all(bytes).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), b"hello");
        }
    }

    #[test]
    fn one_byte_too_many_never_reaches_the_disk() {
        let mut writer = VerifyingWriter::new(Verifier::new(5, HELLO), Vec::new());
        writer.write_all(b"hello").unwrap();
        assert!(writer.write_all(b"!").is_err());
        assert_eq!(writer.inner, b"hello");
    }

    #[test]
    fn too_few_and_wrong_bytes_are_refused() {
        let mut short = Verifier::new(5, HELLO);
        short.update(b"hell").unwrap();
        assert_eq!(short.finish(), Err(Mismatch::TooShort { expected: 5, got: 4 }));
        let mut wrong = Verifier::new(5, HELLO);
        wrong.update(b"hellO").unwrap();
        assert!(matches!(wrong.finish(), Err(Mismatch::WrongHash { .. })));
    }

    #[test]
    fn counting_bytes_cannot_overflow() {
        let mut full = Verifier::new(u64::MAX, HELLO);
        full.seen = u64::MAX;
        assert!(full.update(b"x").is_err());
    }

    #[test]
    fn the_hash_goes_before_the_file_name_not_the_directory() {
        assert_eq!(consistent_target_path("connector/c-7.3.0.lpk", "ab"), "connector/ab.c-7.3.0.lpk");
        assert_eq!(consistent_target_path("flat.lpk", "ab"), "ab.flat.lpk");
    }
}
