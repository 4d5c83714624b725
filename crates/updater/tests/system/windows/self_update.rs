//! The updater's own next version on Windows, under the real supervisor: it takes over and proves itself, or is left.

use super::pc::{Computer, broken_updater, connector, updater};
use crate::{site::Site, vendor::Vendor};

#[test]
fn a_newer_updater_takes_over_and_one_that_ends_at_once_is_left() {
    let site = Site::start();
    let (u, old) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("renewed");
    assert_eq!(pc.install(&site, &vendor, &[&u, &old]).code, 0);
    let mut supervisor = pc.supervise(60);
    pc.wait("it answers", || pc.status().is_some());
    let on_trial = || pc.file(r"var\lib\lockstep\updater\trial").exists();

    let next = updater("0.2.0");
    let vendor = vendor.next(&[u.clone(), next.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    pc.check();
    pc.wait("the new version has come up", || pc.active("updater").as_deref() == Some("0.2.0") && !on_trial());
    pc.wait("it serves", || pc.status().is_some_and(|status| status["updater"] == "0.2.0"));

    let broken = broken_updater("0.3.0", "int main(void) { return 7; }");
    site.honest(&vendor.next(&[u, next, old, broken]), "7.2.0");
    pc.check();
    pc.wait("the broken one was left, and that is reported", || {
        let failed = site.last_report().map(|device| device.product(&protocol::product::ProductId::updater()).failed);
        failed.is_some_and(|failed| failed.iter().any(|f| f.version.to_string() == "0.3.0"))
    });
    assert_eq!(pc.active("updater").as_deref(), Some("0.2.0"));
    assert!(!on_trial());
    pc.wait("the good one serves", || pc.status().is_some_and(|status| status["updater"] == "0.2.0"));
    assert!(supervisor.is_running(), "it is the same one");
}
