//! One Debian package. The same input gives the same bytes: modes, times, owners and order come from here alone.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{dist::epoch, process::must};

/// Who answers for the packages, in Debian's form.
pub const MAINTAINER: &str = "Lockstep maintainers <maintainers@lockstep-upgrade.org>";

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As shipped.
    Best,
    /// Fast, for tests.
    Quick,
}

/// Something that a package brings.
#[derive(Debug, Clone)]
pub enum Item {
    /// A file that lies here.
    File {
        /// Where it lies.
        from: PathBuf,
        /// 0o644 or 0o755.
        mode: u32,
    },
    /// A file with this content and mode 0644.
    Text(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// An empty directory.
    Dir,
}

/// A package.
#[derive(Debug, Clone)]
pub struct Deb {
    /// Its name.
    pub name: &'static str,
    /// As Lockstep counts.
    pub version: String,
    /// Debian's word for what kind of thing it is.
    pub section: &'static str,
    /// What it cannot do without, besides the C library that its programs ask for.
    pub depends: Vec<String>,
    /// What it is less useful without.
    pub recommends: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Lines of at most 80 characters.
    pub description: &'static str,
    /// By absolute path.
    pub items: Vec<(String, Item)>,
    /// Maintainer scripts by name.
    pub scripts: Vec<(&'static str, &'static str)>,
    /// Files that belong to the administrator once they are there.
    pub conffiles: Vec<&'static str>,
}

impl Deb {
    /// Makes the file `NAME_VERSION_ARCHITECTURE.deb` in `out`.
    ///
    /// # Errors
    /// When something that it brings is missing, or `dpkg-deb` refuses it.
    pub fn build(&self, out: &Path, compression: Compression) -> Result<PathBuf> {
        fs::create_dir_all(out)?;
        let work = tempfile::Builder::new().prefix(".deb-").tempdir_in(out)?;
        let tree = work.path().join("tree");
        let mut files = Vec::new();
        directory(&tree)?;
        for (path, item) in &self.items {
            let to = tree.join(path.trim_start_matches('/'));
            self.place(item, &to).with_context(|| format!("{}: {path}", self.name))?;
            if matches!(item, Item::File { .. } | Item::Text(_)) {
                files.push(to);
            }
        }
        files.sort();
        self.control(&tree, &files)?;
        let epoch = epoch()?;
        let mut times = Command::new("find");
        times.arg(&tree).args(["-exec", "touch", "--no-dereference", &format!("--date=@{epoch}"), "{}", "+"]);
        must(&mut times)?;
        let architecture = architecture()?;
        let name = format!("{}_{}_{architecture}.deb", self.name, self.debian_version());
        let fresh = work.path().join(&name);
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", "--root-owner-group", "--threads-max=1"]);
        let how: &[&str] = if compression == Compression::Best { &["-Zxz"] } else { &["-Zgzip", "-z1"] };
        build.args(how);
        build.arg(&tree).arg(&fresh).env("SOURCE_DATE_EPOCH", epoch.to_string()).env("TZ", "UTC").env("LC_ALL", "C");
        must(&mut build)?;
        let made = out.join(name);
        fs::rename(&fresh, &made)?;
        Ok(made)
    }

    fn place(&self, item: &Item, to: &Path) -> Result<()> {
        directory(to.parent().context("no parent")?)?;
        match item {
            Item::File { from, mode } => {
                fs::copy(from, to).with_context(|| from.display().to_string())?;
                set_mode(to, *mode)
            }
            Item::Text(bytes) => {
                fs::write(to, bytes)?;
                set_mode(to, 0o644)
            }
            Item::Link(target) => Ok(symlink(target, to)?),
            Item::Dir => directory(to),
        }
    }

    fn control(&self, tree: &Path, files: &[PathBuf]) -> Result<()> {
        let mut depends: Vec<String> = c_library(files)?.into_iter().collect();
        depends.extend(self.depends.iter().cloned());
        let mut text = String::new();
        writeln!(text, "Package: {}\nVersion: {}", self.name, self.debian_version())?;
        writeln!(text, "Architecture: {}\nMaintainer: {MAINTAINER}", architecture()?)?;
        writeln!(text, "Installed-Size: {}", installed_size(tree)?)?;
        if !depends.is_empty() {
            writeln!(text, "Depends: {}", depends.join(", "))?;
        }
        if !self.recommends.is_empty() {
            writeln!(text, "Recommends: {}", self.recommends)?;
        }
        writeln!(text, "Section: {}\nPriority: optional", self.section)?;
        writeln!(text, "Homepage: {}", env!("CARGO_PKG_REPOSITORY"))?;
        writeln!(text, "Description: {}", self.summary)?;
        for line in self.description.lines() {
            writeln!(text, " {}", if line.is_empty() { "." } else { line })?;
        }
        let debian = tree.join("DEBIAN");
        directory(&debian)?;
        let mut control = vec![("control", text, 0o644), ("md5sums", md5sums(tree, files)?, 0o644)];
        if !self.conffiles.is_empty() {
            control.push(("conffiles", self.conffiles.join("\n") + "\n", 0o644));
        }
        control.extend(self.scripts.iter().map(|(name, text)| (*name, (*text).to_owned(), 0o755)));
        for (name, text, mode) in control {
            fs::write(debian.join(name), text)?;
            set_mode(&debian.join(name), mode)?;
        }
        Ok(())
    }

    /// A version before a release sorts before it, in Debian's way of writing.
    fn debian_version(&self) -> String {
        self.version.replacen('-', "~", 1)
    }
}

fn directory(path: &Path) -> Result<()> {
    if !path.exists() {
        if let Some(parent) = path.parent().filter(|p| !p.exists()) {
            directory(parent)?;
        }
        fs::create_dir(path)?;
        set_mode(path, 0o755)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Debian's word for this machine's architecture.
fn architecture() -> Result<String> {
    Ok(must(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned())
}

/// KiB, each file and directory rounded up (deb-substvars(5)).
fn installed_size(tree: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let meta = entry.path().symlink_metadata()?;
        size += if meta.is_dir() { 1 + installed_size(&entry.path())? } else { meta.len().div_ceil(1024) };
    }
    Ok(size)
}

fn md5sums(tree: &Path, files: &[PathBuf]) -> Result<String> {
    let mut command = Command::new("md5sum");
    command.arg("--").current_dir(tree);
    for file in files {
        command.arg(file.strip_prefix(tree)?);
    }
    must(&mut command)
}

/// The C library that the programs among the files ask for: the newest version of any symbol that they use.
fn c_library(files: &[PathBuf]) -> Result<Option<String>> {
    let mut newest: Option<(u32, u32)> = None;
    for file in files {
        if !fs::read(file)?.starts_with(b"\x7fELF") {
            continue;
        }
        let symbols = must(Command::new("objdump").arg("-T").arg(file))?;
        for version in symbols.split("GLIBC_").skip(1) {
            let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
            newest = newest.max(Some((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))));
        }
    }
    // A program that is linked statically asks for none.
    Ok(newest.map(|(major, minor)| format!("libc6 (>= {major}.{minor}), libgcc-s1")))
}

/// Compresses as Debian wants documentation compressed: as well as possible, without name and time.
///
/// # Errors
/// When `gzip` cannot be run.
pub fn gzip(text: &str) -> Result<Vec<u8>> {
    let mut child =
        Command::new("gzip").args(["-9", "-n"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("gzip")?;
    let mut stdin = child.stdin.take().context("gzip's input")?;
    let text = text.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    let written = writing.join();
    ensure!(output.status.success() && matches!(written, Ok(Ok(()))), "gzip failed");
    Ok(output.stdout)
}
