//! A package's summary information, set after the tools have written it: its time and its package code come from its content and
//! version alone, so that the same input gives the same bytes.
//!
//! The stream is a property set (MS-OLEPS 2.21), small, and so written in one piece.

use anyhow::{Context, Result, ensure};

/// `FMTID_SummaryInformation`, as it lies in the file.
const FORMAT: [u8; 16] =
    [0xE0, 0x85, 0x9F, 0xF2, 0xF9, 0x4F, 0x68, 0x10, 0xAB, 0x91, 0x08, 0x00, 0x2B, 0x27, 0xB3, 0xD9];
/// Property numbers: the package code, and the times of making and of saving.
const CODE: u32 = 9;
const TIMES: [u32; 2] = [12, 13];
/// 100-nanosecond steps from 1601 to 1970.
const TO_1970: u64 = 116_444_736_000_000_000;

/// Sets both times, in seconds since 1970, and the package code, `{…}` in capitals.
///
/// # Errors
/// When the file has no summary information as it should be.
pub fn set(file: &mut [u8], seconds: u64, code: &str) -> Result<()> {
    ensure!(code.len() == 38, "{code} is no package code");
    let section = section(file)?;
    let ticks = seconds.checked_mul(10_000_000).and_then(|t| t.checked_add(TO_1970)).context("a time far away")?;
    for (property, kind) in properties(file, section)? {
        if TIMES.contains(&property) {
            put(file, kind + 4, &ticks.to_le_bytes())?;
        } else if property == CODE {
            ensure!(number(file, kind + 4)? == 39, "the package code has another length");
            put(file, kind + 8, code.as_bytes())?;
        }
    }
    Ok(())
}

/// Where the section begins.
fn section(file: &[u8]) -> Result<usize> {
    let mut found = file.windows(FORMAT.len()).enumerate().filter(|(_, w)| *w == FORMAT).map(|(at, _)| at);
    // The root directory entry of the file is of no class, so there is one.
    let at = found.next().context("no summary information")?;
    ensure!(found.next().is_none(), "more than one summary information");
    // The header is 28 bytes and lies before the format; the section's offset counts from the header.
    let header = at.checked_sub(28).context("cut off")?;
    Ok(header + usize::try_from(number(file, at + 16)?)?)
}

/// Each property's number, and where it lies.
fn properties(file: &[u8], section: usize) -> Result<Vec<(u32, usize)>> {
    let count = usize::try_from(number(file, section + 4)?)?;
    ensure!(count <= 32, "{count} properties");
    (0..count)
        .map(|n| {
            let entry = section + 8 + n * 8;
            Ok((number(file, entry)?, section + usize::try_from(number(file, entry + 4)?)?))
        })
        .collect()
}

fn number(file: &[u8], at: usize) -> Result<u32> {
    let bytes = file.get(at..at + 4).context("the summary information ends early")?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    file.get_mut(at..at + bytes.len()).context("the summary information ends early")?.copy_from_slice(bytes);
    Ok(())
}
