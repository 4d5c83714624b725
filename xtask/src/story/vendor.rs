//! The vendor: keys, packages and the TUF repository.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{
    process::{Background, free_port, must, wait_until},
    programs::{Programs, spinner},
};

/// A vendor at work in a folder of its own.
#[derive(Debug)]
pub struct Vendor {
    dir: PathBuf,
    programs: Programs,
    web: Option<(Background, u16)>,
}

impl Vendor {
    /// Makes the keys: root 2 of 3, targets, snapshot and timestamp.
    ///
    /// # Errors
    /// What `lockstep key init` says.
    pub fn new(dir: PathBuf, programs: &Programs) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let vendor = Self { dir, programs: programs.clone(), web: None };
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

    /// Puts the repository on a web server, as a vendor does, and gives its address.
    ///
    /// # Errors
    /// When the web server does not come up.
    pub fn web_address(&mut self) -> Result<String> {
        if self.web.is_none() {
            let port = free_port()?;
            let mut python = Command::new("python3");
            python
                .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()])
                .arg("--directory")
                .arg(self.repository());
            let web = Background::start("the vendor's web server", &mut python, &self.dir.join("web.log"))?;
            wait_until("the vendor's web server", Duration::from_secs(20), || {
                Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
            })?;
            self.web = Some((web, port));
        }
        Ok(format!("http://127.0.0.1:{}", self.web.as_ref().map_or(0, |(_, port)| *port)))
    }

    /// What a site pins.
    pub fn root(&self) -> PathBuf {
        self.repository().join("metadata/1.root.json")
    }

    /// Adds the updater.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_updater(&self, version: &str) -> Result<()> {
        let programs = ["lockstep-updater", "lockstep-launcher", "lockstep-supervisor"]
            .map(|name| (name, self.programs.path(name)));
        self.add("updater", version, &programs, &["--server", "*"])
    }

    /// Adds a connector for these servers.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_connector(&self, version: &str, server: &str) -> Result<()> {
        self.add_connector_with(version, &["--server", server])
    }

    /// Adds a connector with these terms, as `lockstep release add` takes them.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_connector_with(&self, version: &str, terms: &[&str]) -> Result<()> {
        self.add("connector", version, &[("lockstep-connector", self.programs.connector(version))], terms)
    }

    /// Adds a connector whose program is this script.
    ///
    /// # Errors
    /// What `lockstep pack` or `lockstep release add` says.
    pub fn add_connector_script(&self, version: &str, server: &str, script: &str) -> Result<()> {
        let program = self.dir.join(format!("script-{version}"));
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let package = self.dir.join(format!("script-{version}.lpk"));
        self.pack("connector", version, &[("lockstep-connector", program)], &package)?;
        self.release("connector", &package, &["--server", server])
    }

    /// The connector's program as it was packed.
    pub fn built_connector(&self, version: &str) -> PathBuf {
        self.programs.connector(version)
    }

    /// Adds a release of any product: the files of a folder, with what `lockstep pack` and `lockstep release add` are told of it.
    ///
    /// # Errors
    /// What either says.
    pub fn add_folder(&self, product: &str, version: &str, tree: &Path, pack: &[&str], terms: &[&str]) -> Result<()> {
        let package = self.dir.join(format!("build/{product}-{version}.lpk"));
        fs::create_dir_all(self.dir.join("build"))?;
        let mut command = self.lockstep(&["pack"]);
        command.arg(tree).args(["--product", product, "--version", version]).args(pack);
        must(command.arg("-o").arg(&package))?;
        self.release(product, &package, terms)
    }

    fn add(&self, product: &str, version: &str, programs: &[(&str, PathBuf)], terms: &[&str]) -> Result<()> {
        let package = self.programs.path(&format!("{product}-{version}.lpk"));
        if !is_newer(&package, programs.iter().map(|(_, path)| path)) {
            self.pack(product, version, programs, &package)?;
        }
        self.release(product, &package, terms)
    }

    /// Adds a release whose package is made already, with what `lockstep release add` is told of it.
    ///
    /// # Errors
    /// What it says.
    pub fn release(&self, product: &str, package: &Path, terms: &[&str]) -> Result<()> {
        let mut add = self.lockstep(&["release", "add"]);
        must(add.arg("--repo").arg(self.repository()).arg(package).args(["--product", product]).args(terms)).map(drop)
    }

    /// Packing compresses as well as it can, which takes a while; the same input gives the same bytes, so a package
    /// is kept until its programs are built anew.
    fn pack(&self, product: &str, version: &str, programs: &[(&str, PathBuf)], package: &Path) -> Result<()> {
        let bar = spinner(&format!("packing {product} {version}"));
        let tree = self.dir.join(format!("build/{product}-{version}"));
        fs::create_dir_all(tree.join("bin"))?;
        for (name, path) in programs {
            fs::copy(path, tree.join("bin").join(name))?;
        }
        let program = format!("bin/{}", programs[0].0);
        let packed = self.dir.join(format!("build/{product}-{version}.lpk"));
        let mut pack = self.lockstep(&["pack"]);
        pack.arg(&tree).args(["--product", product, "--version", version, "--program", &program]);
        if product == "connector" {
            pack.args(["--self-check", "self-check"]);
        }
        must(pack.arg("-o").arg(&packed))?;
        // Another test may be packing the same: each puts a whole file in its place.
        let fresh = package.with_extension(format!("{}.new", std::process::id()));
        fs::copy(&packed, &fresh)?;
        fs::rename(&fresh, package)?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Signs and publishes what was added.
    ///
    /// # Errors
    /// What `lockstep publish` says.
    pub fn publish(&self) -> Result<String> {
        let said = must(
            self.lockstep(&["publish"])
                .arg("--repo")
                .arg(self.repository())
                .arg("--passphrase-file")
                .arg(self.dir.join("passphrase"))
                .args(self.keys()),
        )?;
        if !self.first_state().exists() {
            must(Command::new("cp").arg("-r").arg(self.repository()).arg(self.first_state()))?;
        }
        Ok(said)
    }

    /// The repository as it was first published.
    pub fn first_state(&self) -> PathBuf {
        self.dir.join("first-state")
    }

    /// The programs that it packs.
    pub fn programs(&self) -> &Programs {
        &self.programs
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

fn is_newer<'a>(file: &Path, than: impl Iterator<Item = &'a PathBuf>) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    changed(file).is_some_and(|made| than.map(|path| changed(path)).all(|input| input.is_some_and(|at| at < made)))
}
