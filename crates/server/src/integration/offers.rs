//! What the page offers to whom: the newest releases that work with the server, as archives for Linux and as installers for Windows.

use protocol::{
    Version,
    catalog::{Catalog, Entry},
    device::STABLE,
    product::{Platform, ProductId},
};

use super::{
    bundle::{Form, Part, Wanted},
    visitor::System,
};
use crate::{app::App, mirror::Served};

/// The system whose people get an MSI.
pub const WINDOWS: &str = "windows";

/// What the page offers for one platform.
#[derive(Debug)]
pub struct Offer {
    pub platform: Platform,
    pub updater: Option<Download>,
    pub connector: Option<Download>,
    pub yours: bool,
}

/// An archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Download {
    pub version: Version,
    /// Its name.
    pub file: String,
    /// The one folder in it.
    pub folder: String,
    /// The installer in that folder, for Windows. Also the name under which it is had alone.
    pub installer: String,
}

impl Download {
    fn of(entry: &Entry) -> Self {
        let r = &entry.release;
        let folder = format!("lockstep-{}-{}", r.product, r.version);
        let ending = if r.platform.os == WINDOWS { "zip" } else { "tar.gz" };
        Self {
            version: r.version.clone(),
            file: format!("{folder}-{}.{ending}", r.platform),
            // As `cargo xtask dist` calls it, and people know it from elsewhere.
            installer: format!("{folder}-{}.msi", if r.platform.arch == "x86_64" { "x64" } else { &r.platform.arch }),
            folder,
        }
    }
}

/// What somebody asks for.
pub enum Wish {
    /// A folder, in an archive.
    Archive(Wanted),
    /// An MSI as it was signed.
    Installer(Part),
}

/// What there is, the visitor's own system first.
pub fn offers(app: &App, server: Option<&Version>, system: System) -> Vec<Offer> {
    let Some(served) = app.mirror.current() else { return Vec::new() };
    let (catalog, all) = (served.catalog(), things(&served));
    let offer = |platform: Platform| Offer {
        updater: newest(catalog, &all, &ProductId::updater(), &platform, None).map(Download::of),
        connector: newest(catalog, &all, &ProductId::connector(), &platform, server).map(Download::of),
        yours: system.is(&platform),
        platform,
    };
    let mut offers: Vec<Offer> = platforms(&all).into_iter().map(offer).collect();
    offers.retain(|offer| offer.updater.is_some() || offer.connector.is_some());
    offers.sort_by_key(|offer| !offer.yours);
    offers
}

/// What a file on the page is made of. `None`: it is not offered.
pub fn wanted(app: &App, server: Option<&Version>, file: &str) -> Option<Wish> {
    let served = app.mirror.current()?;
    let (catalog, all) = (served.catalog(), things(&served));
    for platform in platforms(&all) {
        let updater = newest(catalog, &all, &ProductId::updater(), &platform, None);
        let connector = newest(catalog, &all, &ProductId::connector(), &platform, server);
        let asked = |entry: &&Entry| {
            let download = Download::of(entry);
            download.file == file || platform.os == WINDOWS && download.installer == file
        };
        let Some(first) = connector.filter(asked).or_else(|| updater.filter(asked)) else { continue };
        let Download { folder, installer, .. } = Download::of(first);
        if installer == file {
            return Part::of(&served, first).map(Wish::Installer);
        }
        let windows = platform.os == WINDOWS;
        // The connector's package for Linux has no updater in it, the one for Windows has.
        let more = updater.filter(|updater| !windows && updater.target != first.target);
        return Some(Wish::Archive(Wanted {
            form: if windows { Form::Zip(installer) } else { Form::Tar },
            name: format!("{folder}-{platform}"),
            folder,
            parts: std::iter::once(first).chain(more).map(|e| Part::of(&served, e)).collect::<Option<_>>()?,
            metadata: if windows { Vec::new() } else { served.metadata_files().to_vec() },
        }));
    }
    None
}

/// What a person can install from: packages for Linux, installers for Windows.
fn things(served: &Served) -> Vec<&Entry> {
    let packages = served.catalog().entries.iter().filter(|e| e.release.platform.os == "linux");
    let installers = served.installers().iter().filter(|e| e.release.platform.os == WINDOWS);
    packages.chain(installers).collect()
}

fn platforms(all: &[&Entry]) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = all.iter().map(|e| e.release.platform.clone()).collect();
    platforms.sort();
    platforms.dedup();
    platforms
}

/// The newest stable one that works with the server and that the vendor has not withdrawn; the newest of all while the server's version is
/// unknown.
fn newest<'a>(
    catalog: &Catalog,
    all: &[&'a Entry],
    product: &ProductId,
    platform: &Platform,
    server: Option<&Version>,
) -> Option<&'a Entry> {
    let floor = catalog.floor(product, STABLE);
    let fits = |e: &&&Entry| {
        let r = &e.release;
        (&r.product, &r.platform, r.channel.as_str()) == (product, platform, STABLE)
            && server.is_none_or(|server| r.works_with(server))
            && floor.is_none_or(|floor| r.version >= *floor)
            && !catalog.is_withdrawn(product, STABLE, &r.version)
    };
    all.iter().filter(fits).max_by(|a, b| a.release.version.cmp(&b.release.version)).copied()
}
