//! MSI packages, with wixl. The same input gives the same bytes.
//!
//! A package brings copies of the products as packages of Lockstep's (`.lpk`), and the program that makes versions of them, as
//! dpkg's do; besides, the two programs that no version replaces: supervisor and launcher.
//!
//! | module | room for |
//! |---|---|
//! | [`tables`] | what wixl cannot write: custom actions, order, recovery |
//! | [`summary`] | the package's time and code |
//! | [`console`] | the program that custom actions run opens no window |
//! | [`sign`](super::sign) | Authenticode |

pub mod console;
pub mod summary;
pub mod tables;

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::{Options, epoch, sign::Signer};
use crate::{
    packages,
    process::must,
    programs::{self, cargo, spinner, target},
    tests::rust_target,
    workspace,
};
pub use tables::Kind;

/// Who answers for the packages.
pub const PUBLISHER: &str = "Lockstep";

/// Windows programs of one version, as they are shipped.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// The folder that `lockstep-updater.exe` and the others lie in.
    pub programs: PathBuf,
    /// `lockstep`, for this machine: it packs.
    pub lockstep: PathBuf,
    /// The updater's version.
    pub updater: String,
    /// The connector's version.
    pub connector: String,
}

/// Builds the programs as shipped, signs them if somebody does, makes the packages, and signs those. Gives the packages.
///
/// # Errors
/// When something does not build, a tool is missing, or signing fails.
pub fn dist(options: &Options) -> Result<Vec<PathBuf>> {
    let shipped = build(&options.version(), options.signer.as_ref())?;
    let packages = [Kind::Updater, Kind::Connector].map(|kind| {
        let msi = shipped.msi(kind, &options.out)?;
        options.signer.iter().try_for_each(|signer| signer.sign(&msi))?;
        Ok(msi)
    });
    packages.into_iter().collect()
}

/// Builds the programs of a version as shipped.
///
/// # Errors
/// When something does not build, a tool is missing, or signing fails.
pub fn build(version: &str, signer: Option<&Signer>) -> Result<Shipped> {
    packages::ensure_installed(&[packages::WINDOWS, packages::MSI].concat())?;
    rust_target(programs::windows::TARGET)?;
    numbers(version)?;
    let shipped = target().join("programs").join(format!("dist-{version}-windows"));
    fs::create_dir_all(&shipped)?;
    for (profile, package, names) in
        [("lean", "lockstep-updater", &PROGRAMS[..3]), ("release", "lockstep-connector", &PROGRAMS[3..])]
    {
        let bar = spinner(&format!("building {package} {version} for Windows, as shipped"));
        let built = programs::windows::cargo_build(profile, &[package], &["--bins"], Some(version))?;
        bar.finish_and_clear();
        for name in names {
            fs::copy(built.join(name), shipped.join(name)).with_context(|| (*name).to_owned())?;
        }
    }
    console::setup_program(&shipped.join("lockstep-updater.exe"), &shipped.join(console::SETUP))?;
    for name in PROGRAMS.iter().chain([&console::SETUP]) {
        signer.iter().try_for_each(|signer| signer.sign(&shipped.join(name)))?;
    }
    must(cargo().args(["build", "--quiet", "--release", "--package", "lockstep-cli", "--bin", "lockstep"]))?;
    let lockstep = target().join("release/lockstep");
    Ok(Shipped { programs: shipped, lockstep, updater: version.into(), connector: version.into() })
}

/// The programs that are shipped.
pub const PROGRAMS: [&str; 4] =
    ["lockstep-updater.exe", "lockstep-supervisor.exe", "lockstep-launcher.exe", "lockstep-connector.exe"];

/// Where the package's files come together.
#[derive(Debug)]
struct Stage {
    dir: tempfile::TempDir,
}

impl Shipped {
    /// Makes `NAME-VERSION-x64.msi` in `out`. The updater's package has the updater's version, the connector's the connector's.
    ///
    /// # Errors
    /// When a program is missing, a version cannot be a version of an MSI, or a tool fails.
    pub fn msi(&self, kind: Kind, out: &Path) -> Result<PathBuf> {
        let version = if kind == Kind::Updater { &self.updater } else { &self.connector };
        numbers(version)?;
        fs::create_dir_all(out)?;
        let stage = Stage { dir: tempfile::Builder::new().prefix(".msi-").tempdir_in(out)? };
        self.fill(kind, &stage)?;
        let fresh = stage.path("made.msi");
        let code = code(&["product", kind.name(), version]);
        stage.wixl(kind, version, &self.updater, &code)?;
        stage.add(kind, version)?;
        let mut bytes = fs::read(&fresh)?;
        let nobody = format!("{{{}}}", code_of([0; 32]));
        let seconds = epoch()?;
        summary::set(&mut bytes, seconds, &nobody)?;
        let whole = hex::encode(Sha256::digest(&bytes));
        summary::set(&mut bytes, seconds, &format!("{{{}}}", self::code(&["package", &whole])))?;
        fs::write(&fresh, bytes)?;
        let made = out.join(format!("{}-{version}-x64.msi", kind.name()));
        fs::rename(&fresh, &made)?;
        Ok(made)
    }

    fn fill(&self, kind: Kind, stage: &Stage) -> Result<()> {
        for name in ["lockstep-supervisor.exe", "lockstep-launcher.exe"] {
            stage.take(&self.programs.join(name), name)?;
        }
        let setup = self.programs.join(console::SETUP);
        if setup.exists() {
            stage.take(&setup, console::SETUP)?;
        } else {
            // Nobody has signed these programs.
            console::setup_program(&self.programs.join("lockstep-updater.exe"), &stage.path(console::SETUP))?;
            stage.date(console::SETUP)?;
        }
        stage.take(&self.updater_package()?, "lockstep-updater.lpk")?;
        if kind == Kind::Connector {
            stage.take(&self.connector_package()?, "lockstep-connector.lpk")?;
        }
        for name in ["lockstep.ico", "updater.wxi", &format!("{}.wxs", kind.name())] {
            stage.take(&workspace().join("packaging/windows").join(name), name)?;
        }
        Ok(())
    }

    /// What the vendor signs of the updater.
    ///
    /// # Errors
    /// When a program is missing or cannot be packed.
    pub fn updater_package(&self) -> Result<PathBuf> {
        let programs = ["lockstep-updater.exe", "lockstep-launcher.exe", "lockstep-supervisor.exe"];
        self.lpk("updater", &self.updater, &programs, &[])
    }

    /// What the vendor signs of the connector.
    ///
    /// # Errors
    /// When the program is missing or cannot be packed.
    pub fn connector_package(&self) -> Result<PathBuf> {
        self.lpk("connector", &self.connector, &["lockstep-connector.exe"], &["--self-check", "self-check"])
    }

    /// What `lockstep pack` makes of a product's programs. Packing takes long, so it is kept beside them.
    fn lpk(&self, product: &str, version: &str, programs: &[&str], more: &[&str]) -> Result<PathBuf> {
        let kept = self.programs.join(format!("{product}-{version}.lpk"));
        let lock = File::create(self.programs.join("pack.lock"))?;
        lock.lock()?;
        let changed = programs.iter().map(|p| fs::metadata(self.programs.join(p)).and_then(|m| m.modified()));
        let newest = changed.collect::<std::io::Result<Vec<_>>>().context("a program is missing")?.into_iter().max();
        if fs::metadata(&kept).and_then(|m| m.modified()).is_ok_and(|made| Some(made) > newest) {
            return Ok(kept);
        }
        let work = tempfile::Builder::new().prefix(".packing-").tempdir_in(&self.programs)?;
        let (tree, fresh) = (work.path().join("tree"), work.path().join("fresh.lpk"));
        fs::create_dir_all(tree.join("bin"))?;
        for name in programs {
            let (from, to) = (self.programs.join(name), tree.join("bin").join(name));
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
        let mut pack = Command::new(&self.lockstep);
        pack.arg("pack").arg(&tree).args(["--product", product, "--version", version]);
        pack.args(["--os", "windows", "--arch", "x86_64", "--program", &format!("bin/{}", programs[0])]);
        must(pack.args(more).arg("-o").arg(&fresh))?;
        fs::rename(&fresh, &kept)?;
        Ok(kept)
    }
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn take(&self, from: &Path, name: &str) -> Result<()> {
        fs::copy(from, self.path(name)).with_context(|| from.display().to_string())?;
        self.date(name)
    }

    /// Cabinets hold times.
    fn date(&self, name: &str) -> Result<()> {
        let file = File::options().write(true).open(self.path(name))?;
        Ok(file.set_modified(UNIX_EPOCH + Duration::from_secs(epoch()?))?)
    }

    fn wixl(&self, kind: Kind, version: &str, updater: &str, code: &str) -> Result<()> {
        let mut size = 0;
        for entry in fs::read_dir(self.dir.path())? {
            size += entry?.metadata()?.len();
        }
        let mut wixl = Command::new("wixl");
        wixl.current_dir(self.dir.path()).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").args(["--arch", "x64"]);
        for (name, value) in [
            ("Version", version),
            ("UpdaterVersion", updater),
            ("ProductCode", code),
            ("Publisher", PUBLISHER),
            ("Home", env!("CARGO_PKG_REPOSITORY")),
            ("Kilobytes", &size.div_ceil(1024).to_string()),
        ] {
            wixl.args(["-D", &format!("{name}={value}")]);
        }
        must(wixl.args(["-o", "made.msi", &format!("{}.wxs", kind.name())])).map(drop)
    }

    /// Adds what wixl does not write.
    fn add(&self, kind: Kind, version: &str) -> Result<()> {
        let mut build = Command::new("msibuild");
        build.current_dir(self.dir.path()).arg("made.msi");
        for (name, value) in tables::properties() {
            build.arg("-q").arg(format!("INSERT INTO `Property` (`Property`, `Value`) VALUES ('{name}', '{value}')"));
        }
        for table in tables::tables(kind, version) {
            let file = format!("{}.idt", table.name);
            fs::write(self.path(&file), table.text)?;
            build.args(["-i", &file]);
        }
        must(&mut build).map(drop)
    }
}

/// What Windows Installer compares: three numbers (ProductVersion property).
fn numbers(version: &str) -> Result<()> {
    let parts: Vec<u32> = version.split('.').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    match parts[..] {
        [major, minor, patch] if major < 256 && minor < 256 && patch < 65536 => Ok(()),
        _ => bail!(
            "{version} cannot be the version of an MSI: it takes three numbers, at most 255.255.65535, and nothing like -rc.1"
        ),
    }
}

/// A code that the same words always give.
fn code(words: &[&str]) -> String {
    code_of(Sha256::digest(format!("lockstep msi\n{}", words.join("\n"))).into())
}

/// A GUID without braces, of the kind that its maker defines (RFC 9562, version 8).
fn code_of(digest: [u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let text = hex::encode_upper(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// The rows of a table of a package, without the three lines of its head.
///
/// # Errors
/// When the package cannot be read.
pub fn read_table(msi: &Path, table: &str) -> Result<Vec<Vec<String>>> {
    let text = must(Command::new("msiinfo").arg("export").arg(msi).arg(table))?;
    let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.is_empty()).collect();
    ensure!(lines.len() >= 3, "{} has no table {table}", msi.display());
    Ok(lines[3..].iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_windows_installer_would_not_compare_is_refused() {
        assert!(numbers("7.3.0").is_ok() && numbers("255.255.65535").is_ok());
        for bad in ["7.3", "7.3.0.1", "7.3.0-rc.1", "256.0.0", "1.0.65536", ""] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_code_is_a_guid_and_depends_on_every_word() {
        let one = code(&["product", "lockstep-updater", "1.0.0"]);
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(one, code(&["product", "lockstep-updater", "1.0.0"]));
        assert_ne!(one, code(&["product", "lockstep-updater", "1.0.1"]));
        assert_eq!(&one[14..15], "8");
    }
}
