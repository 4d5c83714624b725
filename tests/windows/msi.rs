//! The table of the MSI packages: install, upgrade, repair, modify, remove, by the versions that were there before; on real prefixes,
//! with the real programs.

use std::path::{Path, PathBuf};

use wine_rig::{Key, Pc, Value};
use xtask::dist::windows::{Kind, read_table};

use crate::shipped;

const UNINSTALL: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall";
const RUN: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Run";
const OURS: &str = r"HKLM\Software\Lockstep";
const SERVICES: &str = r"HKLM\System\CurrentControlSet\Services\LockstepUpdater";
const PROGRAMS: &str = r"C:\Program Files\Lockstep";
const STATE: &str = r"C:\ProgramData\Lockstep";

/// The packages, and a PC that is on.
struct Desk {
    pc: Pc,
    packages: tempfile::TempDir,
}

impl Desk {
    fn new(name: &str) -> Self {
        let mut pc = Pc::new(name).unwrap();
        pc.power_on().unwrap();
        Self { pc, packages: tempfile::tempdir().unwrap() }
    }

    fn updater(&self, version: &str) -> PathBuf {
        shipped(version, "7.2.0").msi(Kind::Updater, self.packages.path()).unwrap()
    }

    fn connector(&self, version: &str) -> PathBuf {
        shipped("0.1.0", version).msi(Kind::Connector, self.packages.path()).unwrap()
    }

    /// Installs, and gives the exit code and the log.
    fn install(&self, msi: &Path, properties: &str) -> (u32, String) {
        self.msiexec(&format!("/i {} {properties}", self.pc.windows(msi)))
    }

    fn msiexec(&self, line: &str) -> (u32, String) {
        let code = self.pc.msiexec(&format!(r"{line} /qn /l*v C:\msi.log")).unwrap();
        let log = std::fs::read(self.pc.path(r"C:\msi.log")).unwrap_or_default();
        (code, String::from_utf8_lossy(&log).into_owned())
    }

    /// Installed programs of ours by name, with their versions.
    fn listed(&self) -> Vec<(String, String)> {
        let text = |key: &Key, name: &str| match key.get(name) {
            Some(Value::Text(text) | Value::Expand(text)) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let all = self.pc.registry(UNINSTALL).unwrap();
        let ours = all.values().filter(|key| key.contains_key("DisplayName"));
        let mut listed: Vec<_> = ours
            .inspect(|key| assert_eq!(text(key, "Publisher"), "Lockstep"))
            .map(|key| (text(key, "DisplayName"), text(key, "DisplayVersion")))
            .collect();
        listed.sort();
        listed
    }

    /// Which version is active, as the pointer says.
    fn active(&self, product: &str) -> Option<String> {
        let pointer = std::fs::read_to_string(self.pc.path(&format!(r"{PROGRAMS}\{product}\current"))).ok()?;
        Some(pointer.trim_end().to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        self.pc.path(path).exists()
    }

    fn service(&self) -> bool {
        let image = self.pc.registry_text(SERVICES, "ImagePath").unwrap();
        if let Some(image) = &image {
            // Windows Installer quotes it, Wine's does not.
            assert_eq!(image.trim_matches('"'), format!(r"{PROGRAMS}\supervisor\lockstep-supervisor.exe"));
        }
        image.is_some()
    }
}

fn pair(name: &str, version: &str) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

fn product_code(msi: &Path) -> String {
    let rows = read_table(msi, "Property").unwrap();
    rows.iter().find(|row| row[0] == "ProductCode").unwrap()[1].clone()
}

#[test]
fn the_connector_is_installed_upgraded_repaired_modified_and_removed() {
    let desk = Desk::new("msi-connector");
    let (old, new) = (desk.connector("7.2.0"), desk.connector("7.3.0"));
    let properties = "SERVERURL=https://mail.example.test:4443 ENROLLMENTKEY=opensesame POLICY=silent";
    let (code, log) = desk.install(&old, properties);
    assert_eq!(code, 0, "{log}");
    let listed = |connector: &str| [pair("Lockstep Connector", connector), pair("Lockstep Updater", "0.1.0")];
    assert_eq!(desk.listed(), listed("7.2.0"));
    assert_eq!(desk.active("connector").as_deref(), Some("7.2.0"));
    assert_eq!(desk.active("updater").as_deref(), Some("0.1.0"));
    assert!(desk.exists(&format!(r"{PROGRAMS}\connector\versions\7.2.0\bin\lockstep-connector.exe")));
    assert!(desk.service());
    let site = std::fs::read_to_string(desk.pc.path(&format!(r"{STATE}\etc\site.json"))).unwrap();
    assert!(site.contains("https://mail.example.test:4443") && site.contains("opensesame"), "{site}");
    let ours = desk.pc.registry(OURS).unwrap();
    let said = |name: &str| ours[""].get(name).cloned();
    assert_eq!(said("ServerUrl"), Some(Value::Text("https://mail.example.test:4443".into())));
    assert_eq!(said("Policy"), Some(Value::Text("silent".into())));
    assert!(!format!("{ours:?}").contains("opensesame"), "users can read the registry");
    let starts = format!("\"{PROGRAMS}\\launcher\\lockstep-launcher.exe\" connector -- run");
    assert_eq!(desk.pc.registry_text(RUN, "LockstepConnector").unwrap().as_deref(), Some(starts.as_str()));

    // Upgrade, with the service as it is; nothing is given again.
    let (code, log) = desk.install(&new, "");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), listed("7.3.0"), "one entry, not two");
    assert_eq!(desk.active("connector").as_deref(), Some("7.3.0"));
    assert!(desk.service());
    assert_eq!(desk.pc.registry_text(OURS, "ServerUrl").unwrap().as_deref(), Some("https://mail.example.test:4443"));
    assert_eq!(std::fs::read_to_string(desk.pc.path(&format!(r"{STATE}\etc\site.json"))).unwrap(), site, "kept");

    // The way back is refused, and changes nothing.
    let (code, log) = desk.install(&old, "");
    assert_eq!(code, 1603, "{log}");
    assert_eq!(desk.listed(), listed("7.3.0"));
    // The same again is no change.
    assert_eq!(desk.install(&new, "").0, 0);

    let code_of_new = product_code(&new);
    for damaged in [r"setup\lockstep-connector.lpk", r"launcher\lockstep-launcher.exe"] {
        std::fs::remove_file(desk.pc.path(&format!(r"{PROGRAMS}\{damaged}"))).unwrap();
    }
    let (code, log) = desk.msiexec(&format!("/i {code_of_new} REINSTALL=ALL REINSTALLMODE=vomus"));
    assert_eq!(code, 0, "{log}");
    assert!(desk.exists(&format!(r"{PROGRAMS}\setup\lockstep-connector.lpk")));
    assert!(desk.exists(&format!(r"{PROGRAMS}\launcher\lockstep-launcher.exe")));

    assert_eq!(desk.msiexec(&format!("/i {code_of_new} REMOVE=SignIn")).0, 0);
    assert_eq!(desk.pc.registry_text(RUN, "LockstepConnector").unwrap(), None);
    assert_eq!(desk.msiexec(&format!("/i {code_of_new} ADDLOCAL=SignIn")).0, 0);
    assert!(desk.pc.registry_text(RUN, "LockstepConnector").unwrap().is_some());

    // Somebody's mail.
    let mail = desk.pc.path(r"C:\users\root\AppData\Local").join("Lockstep/Connector/mail.sqlite");
    std::fs::create_dir_all(mail.parent().unwrap()).unwrap();
    std::fs::write(&mail, "mail").unwrap();
    let (code, log) = desk.msiexec(&format!("/x {code_of_new}"));
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), []);
    assert!(!desk.exists(PROGRAMS) && !desk.exists(STATE), "{log}");
    assert!(!desk.service());
    assert!(desk.pc.registry(OURS).unwrap().is_empty());
    assert!(mail.exists(), "mail stays");
}

#[test]
fn the_updater_alone_gives_way_to_the_connectors_package_and_not_the_other_way_round() {
    let desk = Desk::new("msi-updater");
    let (first, second, connector) = (desk.updater("0.1.0"), desk.updater("0.2.0"), desk.connector("7.2.0"));
    let (code, log) = desk.install(&first, "SERVERURL=https://mail.example.test ENROLLMENTKEY=k");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), [pair("Lockstep Updater", "0.1.0")]);
    assert_eq!(desk.install(&second, "").0, 0);
    assert_eq!(desk.listed(), [pair("Lockstep Updater", "0.2.0")]);
    assert_eq!(desk.active("updater").as_deref(), Some("0.2.0"));
    assert_eq!(desk.install(&first, "").0, 1603, "an older one");

    let (code, log) = desk.install(&connector, "");
    assert_eq!(code, 0, "{log}");
    assert_eq!(desk.listed(), [pair("Lockstep Connector", "7.2.0"), pair("Lockstep Updater", "0.1.0")]);
    assert_eq!(desk.active("updater").as_deref(), Some("0.2.0"), "what runs is never an older one");
    assert_eq!(desk.pc.registry_text(OURS, "ServerUrl").unwrap().as_deref(), Some("https://mail.example.test"));
    let (code, log) = desk.install(&second, "");
    assert_eq!(code, 1603, "{log}");
    assert_eq!(desk.listed().len(), 2);
    assert_eq!(desk.msiexec(&format!("/x {}", product_code(&connector))).0, 0);
    assert!(!desk.exists(PROGRAMS) && !desk.exists(STATE));
}

#[test]
fn what_is_given_wrongly_installs_nothing() {
    let desk = Desk::new("msi-wrong");
    let updater = desk.updater("0.1.0");
    for wrong in [
        "SERVERURL=http://mail.example.test ENROLLMENTKEY=k",
        "SERVERURL=https://mail.example.test",
        "SERVERURL=https://mail.example.test ENROLLMENTKEY=k POLICY=loud",
        // It would end its argument and begin another one.
        r#"SERVERURL=https://mail.example.test ENROLLMENTKEY="k"" ""--root=C:\evil""#,
    ] {
        let (code, log) = desk.install(&updater, wrong);
        // Windows says 1603, Wine 1627.
        assert!([1603, 1627].contains(&code), "{wrong}: {code} {log}");
        assert_eq!(desk.listed(), [], "{wrong}");
        assert!(!desk.service(), "{wrong}");
    }
}
