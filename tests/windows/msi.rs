//! The table of the MSI packages: install, upgrade, repair, modify, remove, by the versions that were there before; on PCs of their
//! own, with the real programs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use wine_rig::{Key, Pc, Value};
use xtask::{
    dist::windows::read_table,
    process::wait_until,
    programs::{Profile, Programs},
    story::vendor::Vendor,
};

use crate::shelf;

const UNINSTALL: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall";
const RUN: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Run";
const OURS: &str = r"HKLM\Software\Lockstep";
const SERVICE: &str = r"HKLM\System\CurrentControlSet\Services\LockstepUpdater";
const EVENTS: &str = r"HKLM\System\CurrentControlSet\Services\EventLog\Application\Lockstep Updater";
const PROGRAMS: &str = r"C:\Program Files\Lockstep";
const STATE: &str = r"C:\ProgramData\Lockstep";
/// Nobody is there: the service goes on asking.
const SERVER: &str = "https://mail.example.test:4443";
/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A PC that is on.
struct Desk(Pc);

impl Desk {
    fn new(name: &str) -> Self {
        let mut pc = Pc::new(name).unwrap();
        pc.power_on().unwrap();
        Self(pc)
    }

    /// Installs, and gives the exit code and the log.
    fn install(&self, msi: &Path, properties: &str) -> (u32, String) {
        self.msiexec(&format!("/i {} {properties}", self.0.windows(msi)))
    }

    fn msiexec(&self, line: &str) -> (u32, String) {
        let code = self.0.msiexec(&format!(r"{line} /qn /l*v C:\msi.log")).unwrap();
        let log = fs::read(self.0.path(r"C:\msi.log")).unwrap_or_default();
        (code, String::from_utf8_lossy(&log).into_owned())
    }

    /// Installed programs of ours by name, with their versions.
    fn listed(&self) -> Vec<(String, String)> {
        let all = self.0.registry(UNINSTALL).unwrap();
        let ours = all.values().filter(|key| key.contains_key("DisplayName"));
        let mut listed: Vec<_> = ours.map(|key| (text(key, "DisplayName"), text(key, "DisplayVersion"))).collect();
        listed.sort();
        listed
    }

    /// Which version is active, as the pointer says.
    fn active(&self, product: &str) -> Option<String> {
        let pointer = fs::read_to_string(self.0.path(&format!(r"{PROGRAMS}\{product}\current"))).ok()?;
        Some(pointer.trim_end().to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        self.0.path(path).exists()
    }

    /// Whether there is the service, and the program that it should start.
    fn has_service(&self) -> bool {
        let image = self.0.registry_text(SERVICE, "ImagePath").unwrap();
        if let Some(image) = &image {
            // Windows Installer quotes it, Wine's does not.
            assert_eq!(image.trim_matches('"'), format!(r"{PROGRAMS}\supervisor\lockstep-supervisor.exe"));
        }
        image.is_some()
    }

    /// The service answers a user's question.
    fn answers(&self) {
        let version = self.active("updater").expect("the updater is there");
        let program = format!(r"{PROGRAMS}\updater\versions\{version}\bin\lockstep-updater.exe");
        let status = wait_until("the service answers", LONG, || {
            let ran = self.0.run(&program, &["status", "--json"])?;
            Ok((ran.code == 0).then_some(ran.stdout))
        });
        assert!(!status.unwrap().contains("\"setup\""), "what Windows Installer keeps is no product");
    }

    fn site(&self) -> String {
        fs::read_to_string(self.0.path(&format!(r"{STATE}\etc\site.json"))).unwrap()
    }

    fn kept(&self, name: &str) -> Option<String> {
        self.0.registry_text(OURS, name).unwrap()
    }

    /// Everything below Lockstep's two folders, each file with its bytes' number.
    fn everything(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        for top in [PROGRAMS, STATE] {
            walk(&self.0.path(top), &mut found);
        }
        found.sort();
        found
    }

    /// Nothing of ours is left.
    fn is_clean(&self) {
        assert_eq!(self.listed(), []);
        assert_eq!(self.everything(), []);
        for folder in [PROGRAMS, STATE] {
            assert!(!self.exists(folder), "{folder} is left");
        }
        assert!(!self.has_service());
        for key in [OURS, SERVICE, EVENTS] {
            assert!(self.0.registry(key).unwrap().is_empty(), "{key} is left");
        }
        assert_eq!(self.0.registry_text(RUN, "LockstepConnector").unwrap(), None);
    }
}

fn walk(dir: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(&entry.path(), found),
            Ok(meta) => found.push((entry.path(), meta.len())),
            // It was replaced meanwhile.
            Err(_) => {}
        }
    }
}

fn text(key: &Key, name: &str) -> String {
    match key.get(name) {
        Some(Value::Text(text) | Value::Expand(text)) => text.clone(),
        other => panic!("{name}: {other:?} in {key:?}"),
    }
}

fn pair(name: &str, version: &str) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

fn product_code(msi: &Path) -> String {
    let rows = read_table(msi, "Property").unwrap();
    rows.iter().find(|row| row[0] == "ProductCode").unwrap()[1].clone()
}

/// Which condition refused the installation. Windows Installer says its text in the log (`package.rs` holds it); Wine's says only what
/// it has found.
fn refusal(msi: &Path, log: &str) -> String {
    assert!(
        log.contains("LaunchConditions. Return value 0") || log.contains("LaunchConditions. Return value 3"),
        "{log}"
    );
    let conditions = read_table(msi, "LaunchCondition").unwrap();
    let found = |property: &&str| log.contains(&format!("Property(S): {property} = {{"));
    let found = ["WIX_DOWNGRADE_DETECTED", "CONNECTORFOUND"].into_iter().find(found).expect("a reason");
    conditions.into_iter().map(|row| row[0].clone()).find(|condition| condition.contains(found)).unwrap()
}

/// What "Apps & features" shows of the connector's package, and of the updater that it has brought.
fn is_listed_in_full(desk: &Desk, msi: &Path) {
    let all = desk.0.registry(UNINSTALL).unwrap();
    let connector = &all[&product_code(msi)];
    let home = env!("CARGO_PKG_REPOSITORY");
    for (name, wanted) in [
        ("Publisher", "Lockstep"),
        ("URLInfoAbout", home),
        ("HelpLink", &format!("{home}/blob/main/docs/group-policy.md")),
        ("URLUpdateInfo", &format!("{home}/blob/main/CHANGELOG.md")),
    ] {
        assert_eq!(text(connector, name), wanted, "{name}");
    }
    assert!(!text(connector, "UninstallString").is_empty());
    // Windows shows this size; Wine does not take it over.
    let properties = read_table(msi, "Property").unwrap();
    let kilobytes: u64 = properties.iter().find(|row| row[0] == "ARPSIZE").unwrap()[1].parse().unwrap();
    let all_files = desk.everything().into_iter();
    let brought = all_files.filter(|(path, _)| path.components().all(|part| part.as_os_str() != "versions"));
    let brought = brought.map(|(_, bytes)| bytes).sum::<u64>() / 1024;
    assert!((brought..brought * 2).contains(&kilobytes), "{kilobytes} KB, where {brought} were brought");
    let updater = &all["LockstepUpdater"];
    assert_eq!(text(updater, "Publisher"), "Lockstep");
    assert_eq!(updater.get("NoRemove"), Some(&Value::Number(1)), "it goes with the connector");
    let icon = text(updater, "DisplayIcon");
    assert!(desk.exists(&icon), "{icon}");
}

#[test]
fn the_connector_is_installed_upgraded_repaired_modified_and_removed() {
    let desk = Desk::new("msi-connector");
    let (old, new) = (shelf::connector("7.2.0"), shelf::connector("7.3.0"));
    let vendor = Vendor::new(desk.0.c().join("vendor"), &Programs::built(Profile::Dev).unwrap()).unwrap();
    vendor.publish().unwrap();
    let root = desk.0.windows(&vendor.root());

    let properties = format!("SERVERURL={SERVER} ENROLLMENTKEY=opensesame POLICY=silent ROOTJSON={root}");
    let (code, log) = desk.install(&old, &properties);
    assert_eq!(code, 0, "{log}");
    let listed = |connector: &str| [pair("Lockstep Connector", connector), pair("Lockstep Updater", "0.1.0")];
    assert_eq!(desk.listed(), listed("7.2.0"));
    is_listed_in_full(&desk, &old);
    assert_eq!(desk.active("connector").as_deref(), Some("7.2.0"));
    assert_eq!(desk.active("updater").as_deref(), Some("0.1.0"));
    assert!(desk.exists(&format!(r"{PROGRAMS}\connector\versions\7.2.0\bin\lockstep-connector.exe")));
    assert!(desk.has_service());
    desk.answers();
    let site = desk.site();
    assert!([SERVER, "opensesame", "silent"].iter().all(|given| site.contains(given)), "{site}");
    let pinned = || fs::read(desk.0.path(&format!(r"{STATE}\etc\root.json"))).unwrap();
    assert!(pinned() == fs::read(vendor.root()).unwrap(), "the vendor's root is pinned");
    assert_eq!((desk.kept("ServerUrl").as_deref(), desk.kept("Policy").as_deref()), (Some(SERVER), Some("silent")));
    let ours = desk.0.registry(OURS).unwrap();
    assert!(!format!("{ours:?}").contains("opensesame"), "users can read the registry");
    let starts = format!("\"{PROGRAMS}\\launcher\\lockstep-launcher.exe\" connector -- run");
    assert_eq!(desk.0.registry_text(RUN, "LockstepConnector").unwrap().as_deref(), Some(starts.as_str()));

    // Upgrade, with the service running; nothing is given again.
    let (code, log) = desk.install(&new, "");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), listed("7.3.0"), "one entry, not two");
    assert_eq!(desk.active("connector").as_deref(), Some("7.3.0"));
    assert!(desk.has_service());
    desk.answers();
    assert_eq!((desk.site(), pinned() == fs::read(vendor.root()).unwrap()), (site, true), "kept");
    assert_eq!((desk.kept("ServerUrl").as_deref(), desk.kept("Policy").as_deref()), (Some(SERVER), Some("silent")));

    // The way back is refused with a reason, and changes nothing.
    let (code, log) = desk.install(&old, "");
    assert_eq!(code, 1603, "{log}");
    assert_eq!(refusal(&old, &log), "NOT WIX_DOWNGRADE_DETECTED", "{log}");
    assert_eq!(desk.listed(), listed("7.3.0"));
    assert_eq!(desk.active("connector").as_deref(), Some("7.3.0"));
    desk.answers();

    let code_of_new = product_code(&new);
    let damaged = [r"setup\lockstep-connector.lpk", r"launcher\lockstep-launcher.exe"];
    for file in damaged {
        fs::remove_file(desk.0.path(&format!(r"{PROGRAMS}\{file}"))).unwrap();
    }
    let (code, log) = desk.msiexec(&format!("/i {code_of_new} REINSTALL=ALL REINSTALLMODE=vomus"));
    assert_eq!(code, 0, "{log}");
    assert!(damaged.iter().all(|file| desk.exists(&format!(r"{PROGRAMS}\{file}"))), "repaired");
    desk.answers();

    assert_eq!(desk.msiexec(&format!("/i {code_of_new} REMOVE=SignIn")).0, 0);
    assert_eq!(desk.0.registry_text(RUN, "LockstepConnector").unwrap(), None);
    assert_eq!(desk.msiexec(&format!("/i {code_of_new} ADDLOCAL=SignIn")).0, 0);
    assert!(desk.0.registry_text(RUN, "LockstepConnector").unwrap().is_some());
    assert_eq!(desk.active("connector").as_deref(), Some("7.3.0"));

    // Somebody's mail.
    let mail = desk.0.path(r"C:\users\root\AppData\Local").join("Lockstep/Connector/mail.sqlite");
    fs::create_dir_all(mail.parent().unwrap()).unwrap();
    fs::write(&mail, "mail").unwrap();
    let (code, log) = desk.msiexec(&format!("/x {code_of_new}"));
    assert_eq!(code, 0, "{log}");
    desk.is_clean();
    assert_eq!(fs::read_to_string(&mail).unwrap(), "mail", "mail stays");
}

#[test]
fn the_updater_alone_gives_way_to_the_connectors_package_and_not_the_other_way_round() {
    let desk = Desk::new("msi-updater");
    let (first, second) = (shelf::updater("0.1.0"), shelf::updater("0.2.0"));
    let connector = shelf::connector("7.2.0");
    let (code, log) = desk.install(&first, &format!("SERVERURL={SERVER} ENROLLMENTKEY=k"));
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), [pair("Lockstep Updater", "0.1.0")]);
    let (code, log) = desk.install(&second, "");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), [pair("Lockstep Updater", "0.2.0")]);
    assert_eq!(desk.active("updater").as_deref(), Some("0.2.0"));
    let (code, log) = desk.install(&first, "");
    assert_eq!(code, 1603, "an older one: {log}");
    assert_eq!(refusal(&first, &log), "NOT WIX_DOWNGRADE_DETECTED", "{log}");

    let (code, log) = desk.install(&connector, "");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), [pair("Lockstep Connector", "7.2.0"), pair("Lockstep Updater", "0.1.0")]);
    assert_eq!(desk.active("updater").as_deref(), Some("0.2.0"), "what runs is never an older one");
    assert_eq!(desk.kept("ServerUrl").as_deref(), Some(SERVER));
    let (code, log) = desk.install(&second, "");
    assert_eq!(code, 1603, "{log}");
    assert_eq!(refusal(&second, &log), "NOT CONNECTORFOUND OR Installed", "{log}");
    assert_eq!(desk.listed().len(), 2);
    assert_eq!(desk.msiexec(&format!("/x {}", product_code(&connector))).0, 0);
    desk.is_clean();
}

#[test]
fn what_is_given_wrongly_installs_nothing() {
    let desk = Desk::new("msi-wrong");
    let updater = shelf::updater("0.1.0");
    fs::write(desk.0.c().join("root.json"), "{}").unwrap();
    for wrong in [
        "SERVERURL=http://mail.example.test ENROLLMENTKEY=k",
        "SERVERURL=https://mail.example.test",
        "SERVERURL=https://mail.example.test ENROLLMENTKEY=k POLICY=loud",
        r"SERVERURL=https://mail.example.test ENROLLMENTKEY=k ROOTJSON=C:\root.json",
    ] {
        let (code, log) = desk.install(&updater, wrong);
        // Windows says 1603, Wine 1627.
        assert!([1603, 1627].contains(&code), "{wrong}: {code} {log}");
        assert_eq!(desk.listed(), [], "{wrong}");
        assert!(!desk.has_service(), "{wrong}");
        assert_eq!(desk.active("updater"), None, "{wrong}");
        assert!(!desk.exists(STATE), "{wrong}");
    }
    // What looks like another argument is part of its own.
    let (code, log) = desk.install(&updater, &format!(r#"SERVERURL={SERVER} ENROLLMENTKEY="k --root=C:\evil""#));
    assert_eq!(code, 0, "{log}");
    assert!(desk.site().contains(r"k --root=C:\\evil") && !desk.exists(r"C:\evil"), "{}", desk.site());
}
