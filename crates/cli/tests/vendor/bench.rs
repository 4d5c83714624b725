//! A vendor's desk in a temporary directory: keys, a product's files, a repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use protocol::Timestamp;
use release::tuf::{DirectoryFetch, Error, Repository, Trusted};

pub const PASSPHRASE: &str = "correct horse battery staple";

pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// An empty desk.
    pub fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A desk with keys.
    pub fn new() -> Self {
        let bench = Self::bare();
        // Opening an encrypted key is slow by design; the tests of keys make their own.
        bench.ok(&["key", "init", "--offline", "offline", "--online", "online", "--online-unencrypted"]);
        bench
    }

    /// A desk with keys and one published release, connector 7.2.0. Opening an encrypted key takes a second in a test's build, so
    /// none is encrypted here.
    pub fn published() -> Self {
        let bench = Self::new();
        for key in ["root1", "root2", "root3", "targets"] {
            bench.decrypt(&format!("offline/{key}.pem"));
        }
        bench.publish_first();
        bench
    }

    /// The same, with the offline keys encrypted.
    pub fn published_encrypted() -> Self {
        let bench = Self::new();
        bench.publish_first();
        bench
    }

    fn decrypt(&self, key: &str) {
        let path = self.path(key);
        let passphrase = format!("pass:{PASSPHRASE}");
        let output = Command::new("openssl").args(["pkey", "-passin", &passphrase, "-in"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // In place, so that it stays private.
        fs::write(path, output.stdout).unwrap();
    }

    fn publish_first(&self) {
        let bench = self;
        bench.add("7.2.0", &["--server", ">=7.2, <7.3"]);
        bench.publish();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub fn root(&self) -> Vec<u8> {
        fs::read(self.path("offline/root.json")).unwrap()
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The program with these arguments, at this desk.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(args).current_dir(self.dir.path());
        command.env("LOCKSTEP_PASSPHRASE", PASSPHRASE).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// Runs what must succeed; returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = text(&output);
        assert!(output.status.success(), "{args:?}\n{out}\n{err}");
        out
    }

    /// Runs what must fail with exit code 1; returns its standard error.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}\n{out}\n{err}");
        err
    }

    /// Packs a connector of a version, with content of its own.
    pub fn pack(&self, version: &str) -> PathBuf {
        self.pack_of("connector", version)
    }

    /// The same for any product.
    pub fn pack_of(&self, product: &str, version: &str) -> PathBuf {
        let directory =
            if product == "connector" { format!("build-{version}") } else { format!("{product}-{version}") };
        let build = self.path(&directory);
        fs::create_dir_all(build.join("bin")).unwrap();
        fs::create_dir_all(build.join("share")).unwrap();
        let program = build.join(format!("bin/lockstep-{product}"));
        fs::write(&program, format!("#!/bin/sh\necho {version}\n")).unwrap();
        fs::write(build.join("share/notes.txt"), format!("This is {version}.\n")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let name = format!("{product}-{version}.lpk");
        let program = format!("bin/lockstep-{product}");
        let what = ["--product", product, "--version", version, "--program", &program, "--self-check", "self-check"];
        let where_to = ["--os", "linux", "--arch", "x86_64", "-o", &name];
        self.ok(&[&["pack", &directory], &what[..], &where_to].concat());
        self.path(&name)
    }

    /// Runs a line of words.
    pub fn line(&self, line: &str) -> String {
        self.ok(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs a line of words that must fail.
    pub fn line_fails(&self, line: &str) -> String {
        self.fails(&line.split(' ').collect::<Vec<_>>())
    }

    /// Packs another product's release, and adds it.
    pub fn add_of(&self, product: &str, version: &str, flags: &[&str]) -> String {
        let file = self.pack_of(product, version);
        self.ok(&[&["release", "add", "--repo", "repo", file.to_str().unwrap(), "--server", "*"], flags].concat())
    }

    /// Packs and adds.
    pub fn add(&self, version: &str, flags: &[&str]) -> String {
        let file = self.pack(version);
        self.ok(&[&["release", "add", "--repo", "repo", file.to_str().unwrap()], flags].concat())
    }

    pub fn publish(&self) -> String {
        self.ok(&["publish", "--repo", "repo", "--offline", "offline", "--online", "online"])
    }

    /// A client with a memory of its own.
    pub fn client(&self, name: &str) -> Repository {
        Repository::open(&self.path(name), &self.root()).unwrap()
    }

    /// What a client reads now.
    pub fn read(&self, client: &Repository) -> Result<Trusted, Error> {
        read(client, &self.repo(), Timestamp::now())
    }
}

pub fn read(client: &Repository, repo: &Path, now: Timestamp) -> Result<Trusted, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(client.refresh(&DirectoryFetch::new(repo), now))
}

pub fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The versions that a state offers, in order.
pub fn versions(state: &Trusted) -> Vec<String> {
    let mut versions: Vec<_> = state.catalog().entries.iter().map(|e| e.release.version.clone()).collect();
    versions.sort();
    versions.iter().map(ToString::to_string).collect()
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The versions of a product that a state offers, with their target paths.
pub fn offers(state: &Trusted, product: &str) -> Vec<(String, String)> {
    let of_product = state.catalog().entries.iter().filter(|e| e.release.product.as_str() == product);
    of_product.map(|e| (e.release.version.to_string(), e.target.clone())).collect()
}
