//! From the installer to the next release: enrol, fetch, verify, stage, activate, check; and back.

use super::pc::{Computer, connector, updater};
use crate::{site::Site, vendor::Vendor};

#[test]
fn a_windows_pc_is_installed_enrols_and_is_upgraded() {
    let site = Site::start();
    let (u, old, new) = (updater("0.1.0"), connector("7.2.0"), connector("7.3.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("upgraded");
    let ran = pc.install(&site, &vendor, &[&u, &old]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!((pc.active("connector").as_deref(), pc.active("updater").as_deref()), (Some("7.2.0"), Some("0.1.0")));
    let _service = pc.start();
    pc.wait("it answers over its pipe", || pc.status().is_some());
    pc.wait("the site has heard of it", || site.last_report().is_some());
    let report = site.last_report().unwrap();
    assert_eq!(report.platform.to_string(), "windows-x86_64");

    let vendor = vendor.next(&[u, old, new]);
    site.honest(&vendor, "7.3.0");
    let checked = pc.check();
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    pc.wait("the new version is active, and nothing is under way", || {
        pc.active("connector").as_deref() == Some("7.3.0") && pc.is_quiet()
    });
    assert!(pc.is_whole());
    assert!(pc.versions("connector").iter().all(|name| !name.starts_with('.')), "{:?}", pc.versions("connector"));
    let status = pc.status().unwrap();
    assert_eq!(status["products"]["connector"]["installed"], "7.3.0", "{status}");
    let history = pc.pc.must(&pc.active_program(), &["history", "--root", &pc.root]).unwrap();
    assert!(history.contains("7.3.0"), "{history}");
}
