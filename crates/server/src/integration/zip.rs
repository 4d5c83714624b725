//! A zip archive, written: what Windows unpacks without any program of its own.
//!
//! Entries are stored as they are, since an MSI is compressed already. PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and
//! 4.3.16; no times, no owners, so the same content gives the same bytes.

use std::io::{self, Write};

/// 4.4.4, bit 11: names are UTF-8.
const UTF8: u16 = 1 << 11;
/// 4.4.2, 4.4.3: version 2.0.
const VERSION: u16 = 20;
/// 4.4.6: the earliest date that there is, 1 January 1980.
const DATE: u16 = (1 << 5) | 1;

/// An archive that grows.
#[derive(Debug)]
pub struct Zip<W> {
    out: W,
    at: u32,
    directory: Vec<u8>,
    entries: u16,
}

impl<W: Write> Zip<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, at: 0, directory: Vec::new(), entries: 0 }
    }

    /// Adds a file, at most 4 GB with all others.
    ///
    /// # Errors
    /// The disk's; `InvalidInput` for what is too large.
    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "too large for a zip archive");
        let size = u32::try_from(content.len()).map_err(|_| too_large())?;
        let length = u16::try_from(name.len()).map_err(|_| too_large())?;
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // What a local header (4.3.7) and an entry of the directory (4.3.12) have in common.
        let mut facts = Vec::new();
        for half in [VERSION, UTF8, 0, 0, DATE] {
            facts.extend(half.to_le_bytes());
        }
        for word in [crc.sum(), size, size] {
            facts.extend(word.to_le_bytes());
        }
        facts.extend(length.to_le_bytes());
        facts.extend(0_u16.to_le_bytes());

        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&facts);
        // No comment, first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(self.at.to_le_bytes());
        self.directory.extend(name.as_bytes());

        for part in [b"PK\x03\x04", &facts[..], name.as_bytes(), content] {
            self.out.write_all(part)?;
            self.at = u32::try_from(part.len()).ok().and_then(|n| self.at.checked_add(n)).ok_or_else(too_large)?;
        }
        self.entries = self.entries.checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    /// Writes the directory (4.3.16); gives what it was written to.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&self.directory)?;
        let size = u32::try_from(self.directory.len()).map_err(io::Error::other)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        for half in [self.entries, self.entries] {
            end.extend(half.to_le_bytes());
        }
        for word in [size, self.at] {
            end.extend(word.to_le_bytes());
        }
        end.extend([0; 2]);
        self.out.write_all(&end)?;
        Ok(self.out)
    }
}
