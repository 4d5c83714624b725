//! The Debian packages, by the real dpkg.

use std::{collections::BTreeSet, fs, process::Command};

use xtask::{
    dist::{contents, deb::Compression},
    process::{must, run, wait_until},
    programs::{NEW, NEXT_UPDATER, OLD},
    story::play::UPDATER,
};

use crate::scene::{
    SOON, Scene, UNIT, active, as_alice, bring, files, shipped, updater_deb, wait_for_active, wait_for_service,
};

#[test]
fn the_package_is_installed_upgraded_removed_and_purged_and_nothing_stays_but_the_users_mail() {
    let scene = Scene::new().unwrap();
    let mut pc = scene.pc("pc-debian").unwrap();
    pc.boot().unwrap();
    let mail = "/home/alice/.local/share/lockstep/connector/mail.sqlite";
    pc.write(mail, "alice's mail").unwrap();
    let before = files(&pc).unwrap();

    // Installed without a word about the site: it is listed, says what is missing, and waits.
    let deb = updater_deb(&pc, UPDATER).unwrap();
    let said = pc.must(&["apt-get", "install", "--yes", "--no-install-recommends", &deb]).unwrap();
    assert!(said.contains("/etc/lockstep/site.json is missing"), "{said}");
    let listed = pc.must(&["dpkg", "-l", "lockstep-updater"]).unwrap();
    assert!(listed.lines().any(|l| l.starts_with("ii  lockstep-updater") && l.contains(UPDATER)), "{listed}");
    assert_eq!(pc.property(UNIT, "ActiveState").unwrap(), "inactive");
    assert_eq!(pc.property(UNIT, "ConditionResult").unwrap(), "no");
    assert_eq!(pc.property(UNIT, "UnitFileState").unwrap(), "enabled");
    assert_eq!(pc.property(UNIT, "NRestarts").unwrap(), "0", "it waits; it does not crash again and again");
    pc.must(&["dpkg", "--verify", "lockstep-updater"]).unwrap();

    // The administrator says which site: it starts by itself, checks in, and brings the connector.
    scene.configure(&pc).unwrap();
    wait_for_service(&pc, "active").unwrap();
    assert_eq!(pc.property(UNIT, "Type").unwrap(), "notify");
    wait_for_active(&pc, "connector", OLD).unwrap();
    let device = wait_until("the site knows the PC", SOON, || scene.seen("pc-debian")).unwrap();

    // The server moves; so does the PC.
    scene.vendor.add_connector(NEW, ">=7.3, <7.4").unwrap();
    scene.vendor.publish().unwrap();
    scene.site.must_lockstep(&["refresh"]).unwrap();
    scene.site.must_lockstep(&["server-version", "set", NEW]).unwrap();
    wait_for_active(&pc, "connector", NEW).unwrap();

    // A newer package; then an older one, which changes nothing.
    let newer = updater_deb(&pc, NEXT_UPDATER).unwrap();
    pc.must(&["apt-get", "install", "--yes", "--no-install-recommends", &newer]).unwrap();
    wait_for_service(&pc, "active").unwrap();
    let version = || as_alice(&pc, &["status", "--json"]).unwrap();
    wait_until("the new updater serves", SOON, || Ok(version().contains(NEXT_UPDATER).then_some(()))).unwrap();
    let said = pc.must(&["dpkg", "--install", "--force-downgrade", &deb]).unwrap();
    assert!(said.contains(&format!("updater {NEXT_UPDATER} is active here, which is newer")), "{said}");
    assert_eq!(active(&pc, "updater").as_deref(), Some(NEXT_UPDATER));
    wait_for_service(&pc, "active").unwrap();
    assert_eq!(active(&pc, "connector").as_deref(), Some(NEW), "it stays as the site wants it");

    // Damage to what it has made of the package is mended by installing that again.
    pc.must(&["dpkg", "--install", &newer]).unwrap();
    let program = pc.path(&format!("/opt/lockstep/updater/versions/{NEXT_UPDATER}/bin/lockstep-launcher"));
    fs::remove_file(&program).unwrap();
    let said = pc.must(&["dpkg", "--install", &newer]).unwrap();
    assert!(said.contains("was damaged and is repaired") && program.exists(), "{said}");

    // Removed: no service, no programs. Installed again: the same device.
    pc.must(&["apt-get", "remove", "--yes", "lockstep-updater"]).unwrap();
    wait_for_service(&pc, "inactive").unwrap();
    assert!(!pc.path("/opt/lockstep").exists());
    assert!(pc.path("/etc/lockstep/site.json").exists(), "what the administrator wrote stays until the purge");
    pc.must(&["dpkg", "--install", &newer]).unwrap();
    wait_for_service(&pc, "active").unwrap();
    wait_for_active(&pc, "connector", NEW).unwrap();
    assert_eq!(scene.seen("pc-debian").unwrap().unwrap()["device"], device["device"], "it is the same device");

    // Purged.
    pc.must(&["apt-get", "purge", "--yes", "lockstep-updater"]).unwrap();
    assert_eq!(fs::read_to_string(pc.path(mail)).unwrap(), "alice's mail");
    assert_eq!(pc.must(&["systemctl", "list-unit-files", "--no-legend", "lockstep*"]).unwrap_or_default(), "");
    let left: BTreeSet<String> = files(&pc).unwrap().difference(&before).cloned().collect();
    let of_the_system = |path: &String| {
        ["root/", "var/lib/dpkg/", "var/lib/apt/", "var/cache/", "var/lib/systemd/"].iter().any(|p| path.starts_with(p))
    };
    let left: Vec<String> = left.into_iter().filter(|path| !of_the_system(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    pc.shut_down().unwrap();
}

#[test]
fn an_image_with_both_packages_is_at_work_as_soon_as_it_is_switched_on() {
    let scene = Scene::new().unwrap();
    let mut pc = scene.pc("pc-image").unwrap();
    scene.configure(&pc).unwrap();
    let updater = updater_deb(&pc, UPDATER).unwrap();
    let connector = bring(&pc, &shipped(UPDATER, OLD, OLD).unwrap(), contents::connector).unwrap();
    must(&mut pc.command_when_off(&["dpkg", "--install", &updater, &connector])).unwrap();
    assert_eq!(
        active(&pc, "connector").as_deref(),
        Some(OLD),
        "the package's own version is there without any network"
    );
    pc.boot().unwrap();
    wait_for_service(&pc, "active").unwrap();
    wait_until("the site knows the PC", SOON, || scene.seen("pc-image")).unwrap();
    assert!(pc.must(&["lockstep-connector", "--version"]).unwrap().contains(OLD));

    // Removing the updater takes along what cannot be without it.
    let said = pc.must(&["apt-get", "purge", "--yes", "lockstep-updater"]).unwrap();
    assert!(said.contains("lockstep-connector"), "{said}");
    assert!(!pc.path("/opt/lockstep").exists() && !pc.path("/etc/lockstep").exists());
}

#[test]
fn the_packages_are_reproducible_and_debian_has_nothing_to_say_about_them() {
    let parts = [contents::updater, contents::connector, contents::server, contents::tools];
    let shipped = [UPDATER, OLD, UPDATER, UPDATER].map(|version| shipped(UPDATER, OLD, version).unwrap());
    let out = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    for (part, shipped) in parts.iter().zip(&shipped) {
        let once = part(shipped).unwrap().build(&out.path().join("once"), Compression::Quick).unwrap();
        // From a copy elsewhere, whose files have other rights, made later, and with names in another order on the disk.
        let elsewhere = out.path().join("elsewhere").join(&shipped.version);
        fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
        must(Command::new("cp").args(["--archive", "--no-target-directory"]).arg(&shipped.programs).arg(&elsewhere))
            .unwrap();
        must(Command::new("chmod").args(["-R", "go-rwx"]).arg(&elsewhere)).unwrap();
        let copy = contents::Shipped { version: shipped.version.clone(), programs: elsewhere };
        let again = part(&copy).unwrap().build(&out.path().join("again"), Compression::Quick).unwrap();
        assert!(fs::read(&once).unwrap() == fs::read(&again).unwrap(), "{} differs", once.display());
        made.push(once);
    }
    let names = made.iter().map(|p| p.file_name().unwrap().to_str().unwrap().split('_').next().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["lockstep-updater", "lockstep-connector", "lockstep-server", "lockstep"]);

    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--suppress-tags", NOT_IN_DEBIAN]);
    let said = run(lintian.args(&made)).unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
}

/// What matters to packages in Debian's own archive only: a bug number that the first upload closes.
const NOT_IN_DEBIAN: &str = "initial-upload-closes-no-bugs";
