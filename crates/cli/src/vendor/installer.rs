//! `lockstep release add FILE.msi`: an installer, signed as it is.
//!
//! It brings a release to a computer by the system's own means. A site's server mirrors and verifies it like every other target
//! and offers it on the integration page; no updater takes it for a package ([`release::tuf::INSTALLER`]).

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, ensure};
use protocol::{
    Version,
    product::ProductId,
    product::{Platform, parse_version},
};
use release::package::Description;

use super::release_add::{AddArgs, Hashing};

/// How a file begins that Windows Installer opens: a compound file ([MS-CFB] 2.2).
const COMPOUND_FILE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// What an installer is of, its length in bytes and its SHA-256. Product, version and processor are in its name, as
/// `cargo xtask dist --windows` gives it (`lockstep-connector-7.3.0-x64.msi`), or are said.
///
/// # Errors
/// In words: it is no MSI, its name does not say what it is, or it is said to be what an installer cannot be.
pub fn examine(args: &AddArgs) -> anyhow::Result<(Description, u64, String)> {
    ensure!(
        args.floor.is_none()
            && args.downgrade_from.is_none()
            && args.withdraws.is_empty()
            && args.upgrades_from.is_none()
            && args.updater.is_none()
            && args.store_reads.is_none(),
        "an installer says nothing of other versions or of what it needs; the release that it brings does, its package"
    );
    let (length, sha256) = measure(&args.file)?;
    let named = named(&args.file);
    let product = args.product.clone().or_else(|| named.as_ref().map(|(product, _)| product.clone()));
    let version = args.version.clone().or_else(|| named.map(|(_, version)| version));
    let (product, version) = product.zip(version).with_context(|| {
        format!(
            "the name of {} is not like lockstep-connector-7.3.0-x64.msi; say --product and --version",
            args.file.display()
        )
    })?;
    let description = Description {
        product,
        version,
        platform: Platform { os: "windows".into(), arch: "x86_64".into() },
        program: String::new(),
        self_check: Vec::new(),
        restart: Default::default(),
        health: Default::default(),
    };
    Ok((description, length, sha256))
}

/// Reads an installer to its end: bytes, and SHA-256.
///
/// # Errors
/// When it cannot be read, or is no MSI.
pub fn measure(path: &Path) -> anyhow::Result<(u64, String)> {
    let reading = || format!("cannot read {}", path.display());
    let mut reader = Hashing::open(path)?;
    let mut begins = Vec::new();
    (&mut reader).take(COMPOUND_FILE.len() as u64).read_to_end(&mut begins).with_context(reading)?;
    ensure!(begins == COMPOUND_FILE, "{} is not a package of Windows Installer", path.display());
    io::copy(&mut reader, &mut io::sink()).with_context(reading)?;
    Ok(reader.finish())
}

fn named(path: &Path) -> Option<(ProductId, Version)> {
    let rest = path.file_name()?.to_str()?.strip_prefix("lockstep-")?.strip_suffix("-x64.msi")?;
    let (product, version) = rest.rsplit_once('-')?;
    Some((product.parse().ok()?, parse_version(version).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_an_installer_brings() {
        let of = |name: &str| named(Path::new(name)).map(|(product, version)| format!("{product} {version}"));
        assert_eq!(of("out/lockstep-connector-7.3.0-x64.msi").as_deref(), Some("connector 7.3.0"));
        assert_eq!(of("lockstep-my-product-1.0.2-x64.msi").as_deref(), Some("my-product 1.0.2"));
        assert_eq!(of("lockstep-connector-7.3-x64.msi").as_deref(), Some("connector 7.3.0"));
        for other in [
            "setup.msi",
            "lockstep-connector-new-x64.msi",
            "lockstep-connector-7.3.0-x86.msi",
            "lockstep-7.3.0-x64.msi",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
