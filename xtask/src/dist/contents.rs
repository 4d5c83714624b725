//! What is in which package.
//!
//! dpkg's own copies lie in `/usr/lib/lockstep`, as packages of Lockstep's (`.lpk`); the program beside them makes versions of
//! them below `/opt/lockstep` when dpkg configures the package.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    deb::{Deb, Item, MAINTAINER, gzip},
    epoch, pages,
};
use crate::{process::must, workspace};

/// Programs of one version, as they are shipped.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// Their version.
    pub version: String,
    /// The folder that they lie in.
    pub programs: PathBuf,
}

impl Shipped {
    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The product's signed form without a signature: what `lockstep pack` makes of its programs. The same programs give the
    /// same bytes, so this is also what the vendor signs.
    fn lpk(&self, product: &str, programs: &[&str], more: &[&str]) -> Result<PathBuf> {
        let lpk = self.programs.join(format!("{product}-{}.lpk", self.version));
        let newest = programs.iter().map(|p| fs::metadata(self.program(p)).and_then(|m| m.modified()));
        let newest = newest.collect::<std::io::Result<Vec<_>>>()?.into_iter().max();
        if fs::metadata(&lpk).and_then(|m| m.modified()).is_ok_and(|made| Some(made) > newest) {
            return Ok(lpk);
        }
        let work = tempfile::tempdir_in(&self.programs)?;
        let tree = work.path().join("tree");
        fs::create_dir_all(tree.join("bin"))?;
        for name in programs {
            fs::copy(self.program(name), tree.join("bin").join(name)).with_context(|| (*name).to_owned())?;
        }
        let fresh = work.path().join("packed.lpk");
        let mut pack = Command::new(self.program("lockstep"));
        pack.arg("pack").arg(&tree).args(["--product", product, "--version", &self.version]);
        pack.args(["--program", &format!("bin/{}", programs[0])]).args(more).arg("-o").arg(&fresh);
        must(&mut pack)?;
        fs::rename(&fresh, &lpk)?;
        Ok(lpk)
    }

    /// A package with what every package has: licence, changelog, manual pages.
    fn deb(&self, name: &'static str, manuals: &[(&str, u8)]) -> Result<Deb> {
        let doc = format!("/usr/share/doc/{name}");
        let date = date("%Y-%m-%d")?;
        let mut items = vec![
            (format!("{doc}/copyright"), Item::Text(copyright()?.into_bytes())),
            (format!("{doc}/changelog.gz"), Item::Text(gzip(&self.changelog(name)?)?)),
        ];
        for (program, section) in manuals {
            let page = pages::manual(&self.program(program), *section, &self.version, &date)?;
            items.push((format!("/usr/share/man/man{section}/{program}.{section}.gz"), Item::Text(gzip(&page)?)));
        }
        Ok(Deb {
            name,
            version: self.version.clone(),
            section: "admin",
            depends: Vec::new(),
            recommends: "",
            summary: "",
            description: "",
            items,
            scripts: Vec::new(),
            conffiles: Vec::new(),
        })
    }

    fn changelog(&self, name: &str) -> Result<String> {
        let version = self.version.replacen('-', "~", 1);
        let what = "What is new stands in CHANGELOG.md of the sources.";
        let when = date("%a, %d %b %Y %H:%M:%S +0000")?;
        Ok(format!("{name} ({version}) stable; urgency=medium\n\n  * {what}\n\n -- {MAINTAINER}  {when}\n"))
    }
}

/// `lockstep-updater`: the service, and the launcher.
///
/// # Errors
/// When a program is missing.
pub fn updater(shipped: &Shipped) -> Result<Deb> {
    let lpk = shipped.lpk("updater", UPDATER, &[])?;
    let mut deb = shipped.deb("lockstep-updater", &[("lockstep-updater", 8), ("lockstep-launcher", 1)])?;
    let systemd = workspace().join("crates/updater/systemd");
    deb.items.extend([
        program("/usr/lib/lockstep/lockstep-updater", shipped.program("lockstep-updater")),
        file("/usr/lib/lockstep/lockstep-updater.lpk", lpk),
        link("/usr/bin/lockstep-updater", "/opt/lockstep/updater/current/bin/lockstep-updater"),
        link("/usr/bin/lockstep-launcher", "/opt/lockstep/updater/current/bin/lockstep-launcher"),
        file("/lib/systemd/system/lockstep-updater.service", systemd.join("lockstep-updater.service")),
        file("/lib/systemd/system/lockstep-updater.path", systemd.join("lockstep-updater.path")),
        ("/etc/lockstep".into(), Item::Dir),
    ]);
    deb.recommends = "ca-certificates";
    deb.summary = "keeps the programs of a mail server's site in step with it";
    deb.description = "A service that installs signed releases of the programs that depend on a\n\
                       server, in the version that the server needs, without a password and without\n\
                       a gap. Whatever happens in the middle, the old version or the new one is\n\
                       there, whole.\n\
                       \n\
                       It needs to know which site this computer belongs to: site.json and\n\
                       root.json in /etc/lockstep.";
    deb.scripts = vec![
        ("postinst", include_str!("deb/lockstep-updater.postinst")),
        ("prerm", include_str!("deb/lockstep-updater.prerm")),
        ("postrm", include_str!("deb/lockstep-updater.postrm")),
    ];
    Ok(deb)
}

/// The programs of the product `updater`, its main program first.
const UPDATER: &[&str] = &["lockstep-updater", "lockstep-launcher", "lockstep-supervisor"];

/// `lockstep-connector`: brings the connector before the site does.
///
/// # Errors
/// When a program is missing.
pub fn connector(shipped: &Shipped) -> Result<Deb> {
    let lpk = shipped.lpk("connector", &["lockstep-connector"], &["--self-check", "self-check"])?;
    let mut deb = shipped.deb("lockstep-connector", &[("lockstep-connector", 1)])?;
    deb.items.extend([
        file("/usr/lib/lockstep/lockstep-connector.lpk", lpk),
        link("/usr/bin/lockstep-connector", "/opt/lockstep/connector/current/bin/lockstep-connector"),
    ]);
    deb.section = "mail";
    deb.depends = vec!["lockstep-updater".into()];
    deb.summary = "offline mailbox for any mail program, in step with the mail server";
    deb.description = "An IMAP and submission server on 127.0.0.1 for the mail programs of this\n\
                       computer's users, with an offline mailbox behind it. lockstep-updater keeps\n\
                       it in the version that the mail server needs; this package brings the first\n\
                       one.";
    deb.scripts = vec![
        ("postinst", include_str!("deb/lockstep-connector.postinst")),
        ("prerm", include_str!("deb/lockstep-connector.prerm")),
    ];
    Ok(deb)
}

/// `lockstep-server`.
///
/// # Errors
/// When a program is missing.
pub fn server(shipped: &Shipped) -> Result<Deb> {
    let mut deb = shipped.deb("lockstep-server", &[("lockstep-server", 8)])?;
    let unit = workspace().join("crates/server/systemd/lockstep-server.service");
    deb.items.extend([
        program("/usr/bin/lockstep-server", shipped.program("lockstep-server")),
        file("/lib/systemd/system/lockstep-server.service", unit),
    ]);
    deb.section = "net";
    deb.depends = vec!["adduser".into()];
    deb.recommends = "ca-certificates, lockstep";
    deb.summary = "tells a site's clients which version they need, and who would be cut off";
    deb.description = "Stands beside a mail server, mirrors the vendor's signed releases, takes the\n\
                       check-ins of PCs, says by name and beforehand who would be cut off by the\n\
                       next version, and takes the clients along when the server moves. One\n\
                       program; its database is inside.";
    deb.scripts = vec![
        ("postinst", include_str!("deb/lockstep-server.postinst")),
        ("prerm", include_str!("deb/lockstep-server.prerm")),
        ("postrm", include_str!("deb/lockstep-server.postrm")),
    ];
    Ok(deb)
}

/// `lockstep`: the command line of vendors and administrators.
///
/// # Errors
/// When a program is missing.
pub fn tools(shipped: &Shipped) -> Result<Deb> {
    let mut deb = shipped.deb("lockstep", &[("lockstep", 1)])?;
    deb.items.push(program("/usr/bin/lockstep", shipped.program("lockstep")));
    deb.recommends = "ca-certificates";
    deb.summary = "signs and publishes releases; preflight, cut-over and status of a site";
    deb.description = "For vendors: keys, reproducible packages, the signing editor, a repository\n\
                       of static files (The Update Framework). For administrators: who would be cut\n\
                       off, the move to the next version, and where everybody stands.";
    Ok(deb)
}

fn program(to: &str, from: PathBuf) -> (String, Item) {
    (to.into(), Item::File { from, mode: 0o755 })
}

fn file(to: &str, from: PathBuf) -> (String, Item) {
    (to.into(), Item::File { from, mode: 0o644 })
}

fn link(from: &str, to: &str) -> (String, Item) {
    (from.into(), Item::Link(to.into()))
}

/// The time of the packages, in UTC, as `date` writes it.
fn date(format: &str) -> Result<String> {
    let mut command = Command::new("date");
    command.args(["--utc", &format!("--date=@{}", epoch()?), &format!("+{format}")]).env("LC_ALL", "C");
    Ok(must(&mut command)?.trim().to_owned())
}

/// Debian's machine-readable form.
fn copyright() -> Result<String> {
    let mit = fs::read_to_string(workspace().join("LICENSE-MIT"))?;
    let indented = |text: &str| -> String {
        text.trim()
            .lines()
            .map(|l| if l.trim().is_empty() { " .\n".into() } else { format!(" {}\n", l.trim_end()) })
            .collect()
    };
    let holder = mit.lines().find_map(|l| l.strip_prefix("Copyright ")).unwrap_or("the Lockstep authors").to_owned();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: Lockstep\nSource: {}\n\nFiles: *\nCopyright: {holder}\nLicense: MIT or Apache-2.0\n\n\
         License: MIT\n{}\nLicense: Apache-2.0\n On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.\n",
        env!("CARGO_PKG_REPOSITORY"),
        indented(&mit),
    ))
}
