//! The Windows service on a whole PC: made, started with Windows, stopped, removed; and what Group Policy says to it.

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
        std::fs::write(pc.log(), &ran.stderr).ok()?;
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
