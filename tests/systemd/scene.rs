//! A vendor and a site at work, and PCs with a real systemd that belong to it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::{
    dist::{
        self,
        contents::Shipped,
        deb::{Compression, Deb},
    },
    mail_rig::{DOMAIN, MailRig},
    nspawn::Machine,
    process::wait_until,
    programs::{NEXT_UPDATER, OLD, Profile, Programs},
    story::{
        Stage,
        play::UPDATER,
        site::{NO_WEBMAIL, Site, VersionSource},
        vendor::Vendor,
    },
};

/// Upper limit of whatever happens by itself.
pub const SOON: Duration = Duration::from_secs(60);
/// The service.
pub const UNIT: &str = "lockstep-updater.service";

/// Everything but the PCs.
pub struct Scene {
    pub site: Site,
    pub vendor: Vendor,
    pub stage: Stage,
}

impl Scene {
    /// A site at the old version.
    pub fn new() -> Result<Self> {
        let stage = Stage::new()?;
        let programs = programs()?;
        let mut vendor = Vendor::new(stage.path("vendor"), &programs)?;
        vendor.add_updater(UPDATER)?;
        vendor.add_connector(OLD, ">=7.2, <7.3")?;
        vendor.publish()?;
        let people = [(format!("alice@{DOMAIN}"), "alice-secret".to_owned())];
        let mail = MailRig::start(&stage.path("mail"), OLD, &people)?;
        let site = Site::start(&stage.path("site"), &programs, &mut vendor, mail, NO_WEBMAIL, VersionSource::Pushed)?;
        site.must_lockstep(&["server-version", "set", OLD])?;
        Ok(Self { site, vendor, stage })
    }

    /// A PC, switched off, that can reach the site's server and nothing else.
    pub fn pc(&self, name: &str) -> Result<Machine> {
        let mut pc = Machine::new(name)?;
        pc.plug(self.site.port().parse()?)?;
        Ok(pc)
    }

    /// A download of the integration page, unpacked.
    pub fn folder(&self) -> Result<PathBuf> {
        let file = format!("lockstep-updater-{UPDATER}-linux-x86_64.tar.gz");
        self.site.install_from_page(&file, &self.stage.path("download"))
    }

    /// The administrator says which site the PC belongs to.
    pub fn configure(&self, pc: &Machine) -> Result<()> {
        let folder = self.folder()?;
        for name in ["root.json", "site.json"] {
            pc.write(&format!("/etc/lockstep/{name}"), &fs::read_to_string(folder.join(name))?)?;
        }
        Ok(())
    }

    /// What the site knows of a PC.
    pub fn seen(&self, pc: &str) -> Result<Option<Value>> {
        let devices = self.site.status()?["devices"].as_array().cloned().unwrap_or_default();
        Ok(devices.into_iter().find(|d| d["pc"] == pc))
    }
}

/// What `cargo xtask test` has built.
pub fn programs() -> Result<Programs> {
    Programs::built(Profile::Dev)
}

/// The tests' programs of one version, as `cargo xtask dist` finds them.
pub fn shipped(updater: &str, connector: &str, version: &str) -> Result<Shipped> {
    let programs = programs()?;
    let dir = programs.path(&format!("shipped-{version}"));
    fs::create_dir_all(&dir)?;
    let updater =
        if updater == NEXT_UPDATER { format!("lockstep-updater-{updater}") } else { "lockstep-updater".into() };
    for (from, to) in [
        ("lockstep", "lockstep"),
        ("lockstep-server", "lockstep-server"),
        ("lockstep-launcher", "lockstep-launcher"),
        ("lockstep-supervisor", "lockstep-supervisor"),
        (&updater, "lockstep-updater"),
        (&format!("lockstep-connector-{connector}"), "lockstep-connector"),
    ] {
        link(&programs.path(from), &dir.join(to))?;
    }
    // What the vendor has packed already is the same.
    for product in ["updater", "connector"] {
        let name = format!("{product}-{version}.lpk");
        if programs.path(&name).exists() && version != NEXT_UPDATER {
            link(&programs.path(&name), &dir.join(&name))?;
        }
    }
    Ok(Shipped { version: version.into(), programs: dir })
}

fn link(from: &Path, to: &Path) -> Result<()> {
    // Another test may be doing the same.
    let fresh = to.with_extension(format!("{}.new", std::process::id()));
    fs::hard_link(from, &fresh).with_context(|| from.display().to_string())?;
    fs::rename(&fresh, to)?;
    // The same file under both names: then rename(2) does nothing.
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    Ok(())
}

/// Makes a Debian package and puts it into the PC; gives its path there.
pub fn bring(pc: &Machine, shipped: &Shipped, part: fn(&Shipped) -> Result<Deb>) -> Result<String> {
    let deb = part(shipped)?.build(&shipped.programs.join("packages"), Compression::Quick)?;
    let name = deb.file_name().and_then(|n| n.to_str()).context("a name")?;
    let there = format!("/root/{name}");
    pc.put(&deb, &there)?;
    Ok(there)
}

/// The updater's package of a version, in the PC.
pub fn updater_deb(pc: &Machine, version: &str) -> Result<String> {
    bring(pc, &shipped(version, OLD, version)?, dist::contents::updater)
}

/// The version of a product that a fresh start would run on the PC.
pub fn active(pc: &Machine, product: &str) -> Option<String> {
    let link = fs::read_link(pc.path(&format!("/opt/lockstep/{product}/current"))).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// Waits until that version is active.
pub fn wait_for_active(pc: &Machine, product: &str, version: &str) -> Result<()> {
    wait_until(&format!("{product} {version} is active"), SOON, || {
        Ok((active(pc, product).as_deref() == Some(version)).then_some(()))
    })
    .with_context(|| pc.log(UNIT))
}

/// Waits until the service is in this state (`ActiveState`).
pub fn wait_for_service(pc: &Machine, state: &str) -> Result<()> {
    let is = || pc.property(UNIT, "ActiveState");
    wait_until(&format!("the service is {state}"), SOON, || Ok((is()? == state).then_some(())))
        .with_context(|| pc.log(UNIT))
}

/// The user alice of the PC types `lockstep-updater …`.
pub fn as_alice(pc: &Machine, words: &[&str]) -> Result<String> {
    let mut all =
        vec!["setpriv", "--reuid=60001", "--regid=60001", "--clear-groups", "--no-new-privs", "lockstep-updater"];
    all[5] = "/opt/lockstep/updater/current/bin/lockstep-updater";
    all.extend(words);
    pc.must(&all)
}

/// Every path below the PC's root, but what changes whenever a PC is on.
pub fn files(pc: &Machine) -> Result<BTreeSet<String>> {
    let mut find = std::process::Command::new("find");
    find.arg(pc.root()).args(["-xdev", "(", "-path", "*/proc", "-o", "-path", "*/sys", "-o", "-path", "*/run"]);
    find.args(["-o", "-path", "*/tmp", "-o", "-path", "*/var/log", ")", "-prune", "-o", "-printf", "%P\\n"]);
    Ok(xtask::process::must(&mut find)?.lines().map(str::to_owned).collect())
}
