//! What an installer must refuse, as a folder that somebody prepared; and a folder that is rewritten while it is read.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use protocol::product::Platform;

use crate::{
    fixture::needs_root,
    install::{Download, download, install, said, state, succeeded},
    vendor::{Release, Vendor},
};

impl Download {
    fn payload(&self, path: &str) -> PathBuf {
        self.folder().join("payload").join(path)
    }

    fn connector_file(&self) -> PathBuf {
        self.payload("targets").join(self.connector.path())
    }
}

fn mknod(path: &Path, kind: &[&str]) {
    let made = Command::new("mknod").arg(path).args(kind).status().unwrap();
    assert!(made.success());
}

#[test]
fn links_fifos_devices_and_huge_files_are_refused_and_nothing_is_made() {
    needs_root();
    let huge = |path: &Path| fs::File::create(path).unwrap().set_len(20 << 30).unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "root's secret").unwrap();
    let link = |path: &Path| symlink(secret.path(), path).unwrap();
    let many = |dir: &Path| {
        fs::create_dir(dir).unwrap();
        (0..1100).for_each(|n| fs::write(dir.join(format!("{n}.json")), "{}").unwrap());
    };
    let dir = |path: &Path| fs::create_dir(path).unwrap();
    type Trap<'a> = &'a dyn Fn(&Path);
    let traps: [(&str, Trap<'_>, &str); 17] = [
        ("payload/metadata/timestamp.json", &link, "a symbolic link"),
        ("payload/metadata/timestamp.json", &|p| mknod(p, &["p"]), "a FIFO"),
        ("payload/metadata/timestamp.json", &|p| mknod(p, &["c", "1", "5"]), "a device"),
        ("payload/metadata/timestamp.json", &huge, "longer than"),
        ("payload/metadata/timestamp.json", &dir, "a directory"),
        ("payload/metadata", &|p| symlink("/etc", p).unwrap(), "a symbolic link"),
        ("payload/metadata", &many, "more than 1000 files"),
        ("payload", &|p| symlink("/", p).unwrap(), "a symbolic link"),
        ("site.json", &link, "a symbolic link"),
        ("site.json", &|p| mknod(p, &["p"]), "a FIFO"),
        ("root.json", &huge, "longer than"),
        ("payload/targets/connector", &|p| symlink("/dev", p).unwrap(), "not among what the vendor signed"),
        ("CONNECTOR", &link, "a symbolic link"),
        ("CONNECTOR", &|p| mknod(p, &["p"]), "a FIFO"),
        ("CONNECTOR", &|p| mknod(p, &["b", "7", "200"]), "a device"),
        ("CONNECTOR", &huge, "longer than the signed"),
        ("CONNECTOR", &|p| fs::write(p, "short").unwrap(), "ended after 5 of"),
    ];
    for (path, trap, why) in traps {
        let download = download();
        let place = if path == "CONNECTOR" { download.connector_file() } else { download.folder().join(path) };
        if place.is_dir() {
            fs::remove_dir_all(&place).unwrap()
        } else {
            fs::remove_file(&place).unwrap()
        }
        trap(&place);
        let said = download.refused();
        assert!(said.contains(why) && !said.contains("secret"), "{path}: {said}");
        assert_eq!(download.current("updater"), None);
    }
}

#[test]
fn what_the_vendor_did_not_sign_is_refused() {
    let thief = |d: &Download| Vendor::new("thief", &d.vendor.releases);
    let trusts = |d: &Download| Some(d.vendor.root());

    // All of it is the thief's own, even the root beside it; the program carries the vendor's.
    let d = download();
    d.replace_folder(&thief(&d), &[&d.updater, &d.connector], trusts(&d).as_deref());
    assert!(d.refused().contains("was not signed by the vendor that this program trusts"));

    // The vendor's metadata, and other bytes under the right name.
    let d = download();
    let mut bytes = d.connector.package.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(d.connector_file(), bytes).unwrap();
    assert!(d.refused().contains("is not what the vendor signed"));

    // A package that nobody signed, beside the others.
    let d = download();
    let forged = Release::script("connector", "7.4.0", "echo forged");
    fs::write(d.payload("targets").join(forged.path()), &forged.package).unwrap();
    assert!(d.refused().contains("not among what the vendor signed"));

    // A signed package that holds something else than was signed about it.
    let mut d = download();
    d.connector.package = Release::script("connector", "7.2.0", "echo old").package;
    d.vendor = Vendor::new("vendor", &[d.updater.clone(), d.connector.clone()]);
    d.replace_folder(&d.vendor, &[&d.updater, &d.connector], None);
    let said = d.refused();
    assert!(said.contains("it holds connector 7.2.0"), "{said}");

    // A root that is none.
    let d = download();
    fs::write(d.folder().join("root.json"), "{}").unwrap();
    let said = d.refused();
    assert!(said.contains("the folder's root.json is not a usable root of trust"), "{said}");

    // A program whose own root is damaged believes nothing else in its place.
    let d = download();
    let program = d.folder().join("bin/lockstep-updater");
    let mut trailer = release::carried_root::trailer(&d.vendor.root()).unwrap();
    trailer[20] ^= 1;
    fs::OpenOptions::new().append(true).open(&program).unwrap().write_all(&trailer).unwrap();
    let said = d.refused();
    assert!(said.contains("this program is damaged"), "{said}");
}

#[test]
fn the_machines_root_goes_before_the_programs_and_the_folders_and_is_never_replaced() {
    let d = download();
    assert!(succeeded(&d.install()));
    let thief = Vendor::new("thief", &[d.updater.clone(), Release::script("connector", "7.4.0", "echo stolen")]);
    d.replace_folder(&thief, &[&thief.releases[0], &thief.releases[1]], Some(&thief.root()));
    assert!(d.refused().contains("was not signed by the vendor that this computer trusts"));
    assert_eq!(fs::read(d.root().join("etc/lockstep/root.json")).unwrap(), d.vendor.root());

    // The vendor's own newer folder is taken, whatever root lies beside it.
    let next = d.vendor.next(&[d.updater.clone(), Release::script("connector", "7.3.1", "echo newer")]);
    d.replace_folder(&next, &[&next.releases[0], &next.releases[1]], None);
    fs::write(d.folder().join("root.json"), thief.root()).unwrap();
    assert!(succeeded(&d.install()));
    assert_eq!(d.current("connector").as_deref(), Some("7.3.1"));
    assert_eq!(fs::read(d.root().join("etc/lockstep/root.json")).unwrap(), d.vendor.root());
}

#[test]
fn a_pinned_root_that_others_could_have_written_is_not_believed() {
    let d = download();
    assert!(succeeded(&d.install()));
    let pinned = d.root().join("etc/lockstep/root.json");
    let thief = Vendor::new("thief", &[d.updater.clone(), Release::script("connector", "7.4.0", "echo stolen")]);
    fs::write(&pinned, thief.root()).unwrap();
    fs::set_permissions(&pinned, fs::Permissions::from_mode(0o666)).unwrap();
    // The program carries the vendor's root, and that is what counts then.
    d.replace_folder(&thief, &[&thief.releases[0], &thief.releases[1]], Some(&d.vendor.root()));
    let output = d.install();
    assert!(said(&output).contains("was not signed by the vendor that this program trusts"), "{}", said(&output));
    d.replace_folder(&d.vendor, &[&d.updater, &d.connector], Some(&d.vendor.root()));
    assert!(succeeded(&d.install()));
    assert_eq!(fs::read(&pinned).unwrap(), d.vendor.root());
}

#[test]
fn the_vendors_signed_limits_hold_for_an_installer_too() {
    let other = Platform { os: "linux".into(), arch: "s390x".into() };
    let (old, new) =
        (Release::script("connector", "7.2.0", "echo old"), Release::script("connector", "7.3.0", "echo new"));
    let updater = Release::script("updater", "0.1.0", "echo updater");
    let folder = |releases: &[Release], packages: &[&Release]| {
        let d = download();
        d.replace_folder(&Vendor::new("vendor", releases), packages, None);
        d
    };

    let mut expired = Vendor::new("vendor", std::slice::from_ref(&updater));
    expired.expires = "2026-01-01T00:00:00Z".into();
    let d = download();
    d.replace_folder(&expired, &[&updater], None);
    let said = d.refused();
    assert!(said.contains("expired on 2026-01-01") && said.contains("Download it again"), "{said}");

    let d = folder(&[updater.clone(), old.clone(), new.clone()], &[&updater, &old, &new]);
    assert!(d.refused().contains("this folder holds connector 7.2.0 and 7.3.0"));

    let foreign = Release { platform: other, ..updater.clone() };
    let d = folder(&[foreign.clone(), new.clone()], &[&foreign, &new]);
    let said = d.refused();
    assert!(
        said.contains("no updater for this computer") && said.contains("the vendor has it for linux-s390x"),
        "{said}"
    );

    let stranger = Release::script("stranger", "9.0.0", "echo stranger");
    let beta = Release { channel: "beta".into(), ..new.clone() };
    let d = folder(&[updater.clone(), stranger.clone(), beta.clone()], &[&updater, &stranger, &beta]);
    assert!(succeeded(&d.install()));
    assert_eq!(
        (d.current("updater").as_deref(), d.current("stranger"), d.current("connector")),
        (Some("0.1.0"), None, None)
    );

    let withdrawn = new.clone().with("floor", "7.3.0");
    let d = folder(&[updater.clone(), old.clone(), withdrawn.clone()], &[&updater, &old]);
    let said = d.refused();
    assert!(said.contains("7.2.0 is below 7.3.0"), "{said}");

    let barrier = new.clone().with("upgrades_from", "7.2.5");
    let d = folder(&[updater.clone(), old.clone(), barrier.clone()], &[&updater, &old]);
    assert!(succeeded(&d.install()));
    d.replace_folder(
        &Vendor::new("vendor", &[updater.clone(), old.clone(), barrier.clone()]),
        &[&updater, &barrier],
        None,
    );
    let said = d.refused();
    assert!(said.contains("can only be installed over 7.2.5 or newer"), "{said}");

    let demanding = new.clone().with("updater", "0.2.0");
    let d = folder(&[updater.clone(), demanding.clone()], &[&updater, &demanding]);
    assert!(d.refused().contains("needs updater 0.2.0 or newer"));
}

#[test]
fn an_older_version_comes_back_only_where_the_vendor_signed_that() {
    let d = download();
    assert!(succeeded(&d.install()));
    let old = Release::script("connector", "7.2.0", "echo old");
    let refused = d.vendor.next(&[d.updater.clone(), d.connector.clone(), old.clone()]);
    d.replace_folder(&refused, &[&d.updater, &old], None);
    let said = d.refused();
    assert!(said.contains("connector cannot be installed here: 7.2.0"), "{said}");

    let permitted = old.with("downgrade_from", ">=7.3, <7.4");
    let next = refused.next(&[d.updater.clone(), d.connector.clone(), permitted.clone()]);
    d.replace_folder(&next, &[&d.updater, &permitted], None);
    assert!(succeeded(&d.install()));
    assert_eq!(d.current("connector").as_deref(), Some("7.2.0"));
}

#[test]
fn a_folder_of_last_week_does_not_bring_back_what_was_withdrawn_since() {
    let d = download();
    assert!(succeeded(&d.install()));
    // This computer learns of a newer state, in which 7.3.0 is not any more.
    let newest = Release::script("connector", "7.3.1", "echo fixed");
    let next = d.vendor.next(&[d.updater.clone(), newest.clone()]);
    let elsewhere = d.dir.path().join("newer");
    next.folder(&elsewhere, &[&d.updater, &newest], None);
    assert!(succeeded(&install(&elsewhere, &d.root())));
    fs::remove_dir_all(d.root().join("opt/lockstep/connector")).unwrap();
    let said = d.refused();
    assert!(said.contains("the vendor has withdrawn connector 7.3.0 since"), "{said}");
    assert!(succeeded(&install(&elsewhere, &d.root())));
}

#[test]
fn a_version_that_does_not_work_here_is_not_switched_to() {
    let d = download();
    assert!(succeeded(&d.install()));
    let broken = b"#!/bin/sh\nexit 7\n";
    let broken = Release::of("connector", "7.3.1", &[("bin/lockstep-connector", 0o755, broken)]);
    let next = d.vendor.next(&[d.updater.clone(), broken.clone()]);
    d.replace_folder(&next, &[&d.updater, &broken], None);
    let said = d.refused();
    assert!(said.contains("connector 7.3.1 does not work on this computer") && said.contains('7'), "{said}");
    assert_eq!(d.current("connector").as_deref(), Some("7.3.0"));
}

/// Another user who owns the folder's payload, and exchanges everything in it as fast as possible until told to stop.
const SWAPPER: &str = r#"
import os, random, sys
payload, stop = sys.argv[1], sys.argv[2]
names = [line.strip() for line in open(payload + "/names")]
spare, away = payload + "/spare", payload + "/away"

def put(name, kind):
    if kind == "link":
        os.symlink("/etc/passwd", spare)
    else:
        os.link(payload + "/" + kind + "/" + name.replace("/", "|"), spare)
    os.rename(spare, payload + "/" + name)
    if os.path.lexists(spare):
        os.unlink(spare)  # It was the same file already.

swaps = 0
while not os.path.exists(stop):
    name = random.choice(names)
    for kind in random.choice([["evil"], ["link"], ["evil", "good", "evil"], ["link", "evil"]]) + ["good"]:
        put(name, kind)
        swaps += 1
    if random.random() < 0.1:
        part = payload + random.choice(["/targets", "/metadata"])
        os.rename(part, away)
        os.symlink("/etc", part)
        os.unlink(part)
        os.rename(away, part)
print(swaps)
"#;

#[test]
fn whoever_rewrites_the_folder_meanwhile_only_what_the_vendor_signed_is_installed() {
    needs_root();
    let d = download();
    let thief = Vendor::new("thief", &[d.updater.clone(), Release::script("connector", "7.3.0", "echo stolen")]);
    let mut names: Vec<String> = d.vendor.metadata().into_keys().map(|n| format!("metadata/{n}")).collect();
    names.push(format!("targets/{}", d.connector.path()));
    names.push(format!("targets/{}", d.updater.path()));
    for dir in ["good", "evil"] {
        fs::create_dir(d.payload(dir)).unwrap();
    }
    for name in &names {
        let evil = match name.strip_prefix("metadata/") {
            Some(name) => thief.metadata()[name].clone(),
            None => thief.releases[1].package.clone(),
        };
        let flat = name.replace('/', "|");
        fs::copy(d.payload(name), d.payload("good").join(&flat)).unwrap();
        fs::write(d.payload("evil").join(&flat), evil).unwrap();
    }
    fs::write(d.payload("names"), names.join("\n")).unwrap();
    let chown = Command::new("chown").args(["-R", "60001:60001"]).arg(d.payload("")).status().unwrap();
    assert!(chown.success());
    // The root is carried, so nothing in the folder says whom to trust.
    let mut program = fs::OpenOptions::new().append(true).open(d.folder().join("bin/lockstep-updater")).unwrap();
    program.write_all(&release::carried_root::trailer(&d.vendor.root()).unwrap()).unwrap();
    drop(program);

    let reference = d.dir.path().join("reference");
    assert!(succeeded(&install(&d.folder(), &reference)));
    let whole = relative(&reference);

    let stop = d.dir.path().join("stop");
    let swapper = Command::new("setpriv")
        .args(["--reuid=60001", "--regid=60001", "--clear-groups", "python3", "-c", SWAPPER])
        .args([d.payload("").as_os_str(), stop.as_os_str()])
        // Not one that only root could start.
        .env("PATH", "/usr/bin:/bin")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut installed, mut refused) = (0, 0);
    let rounds = if std::env::var_os("LOCKSTEP_SOAK").is_some() { 10_000 } else { 60 };
    for n in 0..rounds {
        let root = d.dir.path().join(format!("pc-{n}"));
        let output = install(&d.folder(), &root);
        if output.status.success() {
            assert_eq!(relative(&root), whole, "install {n}");
            installed += 1;
        } else {
            assert!(relative(&root).is_empty(), "install {n}: {}", said(&output));
            refused += 1;
        }
        fs::remove_dir_all(&root).unwrap_or_default();
    }
    fs::write(&stop, "").unwrap();
    let swaps = swapper.wait_with_output().unwrap();
    assert!(swaps.status.success(), "{swaps:?}");
    let swaps: u64 = String::from_utf8(swaps.stdout).unwrap().trim().parse().unwrap();
    println!(
        "soak: {rounds} installs while the folder is rewritten: {installed} installed, {refused} refused, {swaps} swaps"
    );
    assert!(swaps > 1000, "only {swaps} swaps");
    assert!(succeeded(&install(&d.folder(), &d.root())), "left alone, the folder is whole");
    assert_eq!(relative(&d.root()), whole);
}

/// What counts on a PC, by path below its root.
fn relative(root: &Path) -> std::collections::BTreeMap<PathBuf, (u32, String)> {
    state(root).into_iter().map(|(path, what)| (path.strip_prefix(root).unwrap().to_owned(), what)).collect()
}

/// Calls that change the disk, and how many of their occurrences are skipped between two that are killed.
const CALLS: [(&str, usize); 8] = [
    ("rename", 2),
    ("renameat2", 1),
    ("fsync", 13),
    ("symlink", 1),
    ("unlink", 5),
    ("unlinkat", 13),
    ("mkdir", 5),
    ("write", 23),
];

/// From nothing, and from an older version: killed anywhere, each product is what it was or what it will be, whole.
#[test]
fn killed_at_any_change_of_the_disk_the_machine_is_as_it_was_or_done_and_a_second_run_completes() {
    let strace = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(strace.is_ok_and(|s| s.success()), "this test needs strace: apt-get install strace");
    let d = download();
    let (old_updater, old_connector) =
        (Release::script("updater", "0.0.9", "echo old"), Release::script("connector", "7.2.0", "echo old"));
    let before = Vendor::new("vendor", &[old_updater.clone(), old_connector.clone()]);
    let before_folder = d.dir.path().join("before");
    before.folder(&before_folder, &[&old_updater, &old_connector], None);
    let now = d.vendor.next(&[d.updater.clone(), d.connector.clone(), old_updater, old_connector]);
    d.replace_folder(&now, &[&d.updater, &d.connector], None);

    let mut points = 0;
    for upgrade in [true, false] {
        let prepare = |root: &Path| {
            fs::remove_dir_all(root).unwrap_or_default();
            if upgrade {
                assert!(succeeded(&install(&before_folder, root)));
            }
        };
        let reference = d.dir.path().join("reference");
        prepare(&reference);
        let old = links(&reference);
        assert!(succeeded(&install(&d.folder(), &reference)));
        let (done, new) = (relative(&reference), links(&reference));
        for (call, stride) in CALLS {
            for n in (1..200).step_by(stride) {
                let root = d.dir.path().join("pc");
                prepare(&root);
                let killed = killed_at(call, n, &d.folder(), &root);
                let point = format!("{call} number {n}, upgrade {upgrade}");
                for (product, link) in links(&root) {
                    assert!(link == old[&product] || link == new[&product], "{point}: {product} is {link:?}");
                    assert_whole(&root, &product, link.as_deref(), &point);
                }
                assert!(succeeded(&install(&d.folder(), &root)), "{point}");
                assert_eq!(relative(&root), done, "{point}");
                assert!(!root.join("var/lib/lockstep/updater/install").exists(), "{point}");
                if !killed {
                    break;
                }
                points += 1;
            }
        }
    }
    println!("{points} points");
    assert!(points >= 40, "only {points} points were reached");
}

fn links(root: &Path) -> std::collections::BTreeMap<String, Option<PathBuf>> {
    let link = |product: &str| fs::read_link(root.join("opt/lockstep").join(product).join("current")).ok();
    ["updater", "connector"].map(|product| (product.to_owned(), link(product))).into()
}

fn assert_whole(root: &Path, product: &str, link: Option<&Path>, point: &str) {
    let Some(link) = link else { return };
    let version = root.join("opt/lockstep").join(product).join(link);
    let manifest: release::package::Manifest =
        serde_json::from_slice(&fs::read(version.join("manifest.json")).unwrap()).unwrap();
    for file in manifest.files {
        use sha2::{Digest, Sha256};
        let bytes = fs::read(version.join(&file.path)).unwrap_or_default();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), file.sha256, "{point}: {product} {}", file.path);
    }
}

/// Runs the installer, and kills it when it enters the call for the n-th time. `false`: it got to its end.
fn killed_at(call: &str, n: usize, folder: &Path, root: &Path) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
        .arg(folder.join("bin/lockstep-updater"))
        .args([OsStr::new("install"), OsStr::new("--root"), root.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(9), "the installer failed by itself: {status}");
    !status.success()
}
