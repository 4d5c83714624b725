//! The vendor: keys, packages and the TUF repository.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{process::must, programs::Programs};

/// A vendor at work in a folder of its own.
#[derive(Debug)]
pub struct Vendor {
    dir: PathBuf,
    programs: Programs,
}

impl Vendor {
    /// Makes the keys: root 2 of 3, targets, snapshot and timestamp.
    ///
    /// # Errors
    /// What `lockstep key init` says.
    pub fn new(dir: PathBuf, programs: &Programs) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let vendor = Self { dir, programs: programs.clone() };
        let passphrase = vendor.dir.join("passphrase");
        fs::write(&passphrase, "correct horse battery staple\n")?;
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
        must(vendor.lockstep(&["key", "init"]).arg("--passphrase-file").arg(&passphrase).args(vendor.keys()))?;
        Ok(vendor)
    }

    /// The TUF repository: static files for any web server.
    pub fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// What a site pins.
    pub fn root(&self) -> PathBuf {
        self.repository().join("metadata/1.root.json")
    }

    /// Packs the updater.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_updater(&self, version: &str) -> Result<()> {
        let files = [self.programs.path("lockstep-updater"), self.programs.path("lockstep-launcher")];
        let tree = self.tree("updater", version, &files)?;
        self.pack(&tree, "updater", version, "bin/lockstep-updater", &["--server", "*"])
    }

    /// Packs a connector for the servers of its own minor version.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_connector(&self, version: &str, server: &str) -> Result<()> {
        let tree = self.dir.join(format!("build/connector-{version}"));
        fs::create_dir_all(tree.join("bin"))?;
        fs::copy(self.programs.connector(version), tree.join("bin/lockstep-connector"))?;
        self.add_connector_tree(&tree, version, server)
    }

    /// The connector's program as it was packed.
    pub fn built_connector(&self, version: &str) -> PathBuf {
        self.dir.join(format!("build/connector-{version}/bin/lockstep-connector"))
    }

    /// Packs a connector from a folder.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_connector_tree(&self, tree: &Path, version: &str, server: &str) -> Result<()> {
        self.pack(tree, "connector", version, "bin/lockstep-connector", &["--server", server])
    }

    fn tree(&self, product: &str, version: &str, files: &[PathBuf]) -> Result<PathBuf> {
        let tree = self.dir.join(format!("build/{product}-{version}"));
        fs::create_dir_all(tree.join("bin"))?;
        for file in files {
            fs::copy(file, tree.join("bin").join(file.file_name().unwrap_or_default()))?;
        }
        Ok(tree)
    }

    fn pack(&self, tree: &Path, product: &str, version: &str, program: &str, release: &[&str]) -> Result<()> {
        let package = self.dir.join(format!("build/{product}-{version}.lpk"));
        let mut pack = self.lockstep(&["pack"]);
        pack.arg(tree).args(["--product", product, "--version", version, "--program", program]);
        if product == "connector" {
            pack.args(["--self-check", "self-check"]);
        }
        must(pack.arg("-o").arg(&package))?;
        must(self.lockstep(&["release", "add"]).arg("--repo").arg(self.repository()).arg(&package).args(release))?;
        Ok(())
    }

    /// Signs and publishes what was added.
    ///
    /// # Errors
    /// What `lockstep publish` says.
    pub fn publish(&self) -> Result<String> {
        must(
            self.lockstep(&["publish"])
                .arg("--repo")
                .arg(self.repository())
                .arg("--passphrase-file")
                .arg(self.dir.join("passphrase"))
                .args(self.keys()),
        )
    }

    fn keys(&self) -> [PathBuf; 4] {
        ["--offline".into(), self.dir.join("offline"), "--online".into(), self.dir.join("online")]
    }

    fn lockstep(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path("lockstep"));
        command.args(arguments);
        command
    }
}
