//! The Windows service on a whole PC: made, started with Windows, stopped, removed; and what Group Policy says to it.

use std::fs;

use wine_rig::{Key, Value};

use super::pc::{Computer, connector, updater};
use crate::{site::Site, vendor::Vendor};

/// The program of the updater on a whole PC.
const PROGRAM: &str = r"C:\Program Files\Lockstep\updater\versions\0.1.0\bin\lockstep-updater.exe";

#[test]
fn the_service_starts_with_windows_follows_group_policy_and_is_removed() {
    let site = Site::start();
    let (u, old) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let mut pc = Computer::on("served");
    pc.root = "/".into();
    let policy = r"HKLM\Software\Policies\Lockstep";
    let set = |pc: &Computer, name: &str, value: &str| {
        pc.pc.must("reg", &["add", policy, "/v", name, "/t", "REG_SZ", "/d", value, "/f"]).unwrap();
    };
    set(&pc, "UpgradePolicy", "necessary-ask");
    set(&pc, "DowngradePolicy", "perhaps");
    let ran = pc.install(&site, &vendor, &[&u, &old]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("started"), "{}", ran.stdout);
    let status = |pc: &Computer| -> Option<serde_json::Value> {
        let ran = pc.pc.run(PROGRAM, &["status", "--json"]).ok()?;
        fs::write(pc.log(), &ran.stderr).ok()?;
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    };
    pc.wait("the service answers", || status(&pc).is_some());
    let said = status(&pc).unwrap().to_string();
    assert!(said.contains("Group Policy: DowngradePolicy is not accepted"), "{said}");
    pc.wait("the site has heard of it", || site.last_report().is_some());
    assert_eq!(site.last_report().unwrap().policy.map(|p| format!("{p:?}")).as_deref(), Some("NecessaryAsk"));

    let config = pc.pc.must("reg", &["query", r"HKLM\SYSTEM\CurrentControlSet\Services\LockstepUpdater"]).unwrap();
    for part in [r#""C:\Program Files\Lockstep\supervisor\lockstep-supervisor.exe""#, "Lockstep Updater", "LocalSystem"]
    {
        assert!(config.contains(part), "{part} in {config}");
    }
    assert!(config.lines().any(|l| l.contains("Start") && l.trim().ends_with("0x2")), "it starts by itself: {config}");

    pc.pc.power_cut().unwrap();
    pc.pc.power_on().unwrap();
    pc.wait("it has started with Windows", || status(&pc).is_some());
    pc.pc.must(PROGRAM, &["stop-wait"]).unwrap();
    assert!(status(&pc).is_none(), "it has ended, and the updater with it");
    pc.pc.must(PROGRAM, &["service-uninstall"]).unwrap();
    pc.pc.must(PROGRAM, &["stop-wait"]).unwrap();
}

/// What is said of the updater in the list of installed programs.
fn listed(pc: &Computer) -> Vec<Key> {
    let all = pc.pc.registry(r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall").unwrap();
    let ours = |key: &Key| key.get("DisplayName") == Some(&Value::Text("Lockstep Updater".into()));
    all.into_values().filter(ours).collect()
}

#[test]
fn without_a_package_it_is_among_the_installed_programs_and_is_removed_from_there() {
    const LAUNCHER: &str = r"C:\Program Files\Lockstep\launcher\lockstep-launcher.exe";
    let site = Site::start();
    let (u, connector) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), connector.clone()]);
    site.honest(&vendor, "7.2.0");
    let mut pc = Computer::on("listed");
    pc.root = "/".into();
    assert!(listed(&pc).is_empty());
    let ran = pc.install(&site, &vendor, &[&u, &connector]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // What it is called, whose it is, how big, and how it goes.
    let entry = listed(&pc);
    let [entry] = &entry[..] else { panic!("one entry: {entry:?}") };
    let uninstall = format!("\"{LAUNCHER}\" --once updater -- uninstall");
    for (name, value) in [
        ("DisplayVersion", "0.1.0"),
        ("Publisher", "Lockstep"),
        ("InstallLocation", r"C:\Program Files\Lockstep"),
        ("DisplayIcon", LAUNCHER),
        ("UninstallString", &uninstall),
        ("QuietUninstallString", &format!("{uninstall} --quiet")),
    ] {
        assert_eq!(entry.get(name), Some(&Value::Text(value.into())), "{name} in {entry:?}");
    }
    assert!(entry.contains_key("URLInfoAbout"), "{entry:?}");
    for name in ["NoModify", "NoRepair"] {
        assert_eq!(entry.get(name), Some(&Value::Number(1)), "{name} in {entry:?}");
    }
    assert!(matches!(entry.get("EstimatedSize"), Some(Value::Number(1..))), "{entry:?}");

    // A user's connector runs meanwhile.
    fs::write(pc.pc.path(r"C:\mail.txt"), "a user's mail").unwrap();
    let log = pc.log();
    let running = pc.pc.spawn("the connector", LAUNCHER, &["connector", "--", "run"], &log).unwrap();
    let notes = || fs::read_to_string(pc.pc.path(r"C:\notes.txt")).unwrap_or_default();
    pc.wait("the connector runs", || notes().contains("started 7.2.0"));

    // As Windows runs it.
    let ran = pc.pc.run(LAUNCHER, &["--once", "updater", "--", "uninstall", "--quiet"]).unwrap();
    assert_eq!(ran.code, 0, "{}{}{}", ran.stdout, ran.stderr, fs::read_to_string(&log).unwrap_or_default());
    assert!(notes().contains("ended 7.2.0"), "it was asked to end: {}", notes());
    drop(running);
    assert!(listed(&pc).is_empty(), "{:?}", listed(&pc));
    let gone = pc.pc.run("reg", &["query", r"HKLM\SYSTEM\CurrentControlSet\Services\LockstepUpdater"]).unwrap();
    assert_ne!(gone.code, 0, "the service is gone: {}", gone.stdout);
    // What ran it goes at the next start.
    pc.pc.power_cut().unwrap();
    pc.pc.power_on().unwrap();
    pc.wait("nothing is left of the programs", || !pc.pc.path(r"C:\Program Files\Lockstep").exists());
    assert!(!pc.pc.path(r"C:\ProgramData\Lockstep").exists());
    assert_eq!(fs::read_to_string(pc.pc.path(r"C:\mail.txt")).unwrap(), "a user's mail");
}
