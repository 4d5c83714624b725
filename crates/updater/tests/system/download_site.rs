//! The real service, whose site and whose administrator say where packages are and when they are fetched.

use std::fs;

use lockstep_updater::platform;
use protocol::{Decision, message::Downloads, product::ProductId};

use crate::{
    site::{Site, place},
    vendor::{Release, Vendor},
};

fn releases() -> [Release; 3] {
    let script = "exec sleep 1000";
    [
        Release::real_updater(env!("CARGO_PKG_VERSION")),
        Release::script("connector", "7.2.0", script),
        Release::script("connector", "7.3.0", script),
    ]
}

#[test]
fn an_alternate_address_takes_the_downloads_off_the_mail_server() {
    let dir = place();
    let releases = releases();
    let vendor = Vendor::new("acme", &releases);
    let (site, cdn) = (Site::start(), Site::start());
    site.honest(&vendor, "7.2.0");
    cdn.honest(&vendor, "7.2.0");
    let root = dir.path().join("pc");
    site.installs(&root, &vendor, &[&releases[0], &releases[1]]);
    let certificates = root.join("etc/lockstep/cdn.pem");
    fs::write(&certificates, &cdn.certificate).unwrap();
    let settings = root.join("etc/lockstep/updater.toml");
    fs::write(&settings, format!("[download]\ncertificates = \"{}\"\n", certificates.display())).unwrap();
    platform::set_mode(&settings, 0o644).unwrap();
    let alternate = vec![format!("{}/tuf/targets", cdn.address)];
    site.world.lock().unwrap().downloads = Downloads { alternate, start_jitter_seconds: None };
    site.honest(&vendor, "7.3.0");
    let pc = crate::site::Service::start(&root, std::path::Path::new(crate::vendor::UPDATER));
    pc.wait("7.3.0 is active", || pc.connector() == "7.3.0");
    assert_eq!((site.world.lock().unwrap().asked, cdn.world.lock().unwrap().asked), (0, 1));
}

#[test]
fn what_is_made_ready_waits_its_turn_and_what_is_required_does_not() {
    let dir = place();
    let releases = releases();
    let vendor = Vendor::new("acme", &releases);
    let site = Site::start();
    site.honest(&vendor, "7.2.0");
    let downloads = Downloads { alternate: vec![], start_jitter_seconds: Some(24 * 3600) };
    site.world.lock().unwrap().downloads = downloads;
    let stage = Decision::Stage { version: "7.3.0".parse().unwrap() };
    site.world.lock().unwrap().orders = Some(stage);
    let pc = site.pc(&dir.path().join("pc"), &vendor, &[&releases[0], &releases[1]]);
    let connector = ProductId::connector();
    pc.until("it is staging", |status| status["products"][connector.as_str()]["state"] == "staging");
    std::thread::sleep(std::time::Duration::from_secs(2));
    // One in tens of thousands that the turn came by chance.
    assert_eq!((site.world.lock().unwrap().asked, pc.versions().len()), (0, 1));
    site.orders("7.3.0");
    pc.check();
    pc.wait("7.3.0 is active", || pc.connector() == "7.3.0");
}

#[test]
fn a_service_does_not_start_with_settings_that_others_could_have_written() {
    let dir = place();
    let releases = releases();
    let vendor = Vendor::new("acme", &releases);
    let site = Site::start();
    site.honest(&vendor, "7.2.0");
    let root = dir.path().join("pc");
    site.installs(&root, &vendor, &[&releases[0], &releases[1]]);
    let settings = root.join("etc/lockstep/updater.toml");
    let run = || {
        let mut command = std::process::Command::new(crate::vendor::UPDATER);
        let output = command.args(["run", "--root"]).arg(&root).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(&settings, "[download]\nproxy = \"http://proxy:3128\"\n").unwrap();
    platform::set_mode(&settings, 0o666).unwrap();
    let (code, said) = run();
    assert!(code == Some(1) && said.contains("updater.toml cannot be trusted") && said.contains("0666"), "{said}");
    platform::set_mode(&settings, 0o600).unwrap();
    fs::write(&settings, "[download]\nproxi = \"http://kim:secret@proxy:3128\"\n").unwrap();
    let (code, said) = run();
    assert!(code == Some(1) && said.contains("line 2") && said.contains("proxi") && !said.contains("secret"), "{said}");
}
