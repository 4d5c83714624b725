//! An installer beside the running service.

use std::{fs, path::Path, process::Command};

use lockstep_updater::platform::file_id;

use crate::{
    fixture::needs_root,
    install::{Download, said, succeeded, with},
    site::Service,
    vendor::{LAUNCHER, Release},
};

/// A connector that notes who runs, and where it was told to.
fn noting(version: &str) -> Release {
    Release::script("connector", version, &format!("echo {version} >> \"$2\"; exec sleep 1000"))
}

fn service_of(download: &Download) -> Service {
    Service::start(&download.root(), &download.root().join("opt/lockstep/updater/current/bin/lockstep-updater"))
}

fn runs_from(service: &Service, version: &str) -> bool {
    let program = service.layout.root().join(format!("opt/lockstep/updater/versions/{version}/bin/lockstep-updater"));
    let runs = file_id(Path::new(&format!("/proc/{}/exe", service.process.id())));
    matches!((runs, file_id(&program)), (Ok(runs), Ok(there)) if runs == there)
}

#[test]
fn the_running_service_becomes_the_installed_one_and_running_programs_the_installed_version() {
    needs_root();
    let download = with(Release::real_updater("0.1.0"), noting("7.2.0"));
    assert!(succeeded(&download.install()));
    let service = service_of(&download);
    let notes = download.dir.path().join("notes");
    let mut launcher = Command::new(LAUNCHER);
    launcher.arg("--root").arg(download.root()).args(["connector", "--", "run"]).arg(&notes);
    let mut launcher = launcher.spawn().unwrap();
    let ran = |version: &str| fs::read_to_string(&notes).is_ok_and(|n| n.lines().last() == Some(version));
    service.wait("7.2.0 runs", || ran("7.2.0"));

    let (updater, connector) = (Release::real_updater("0.2.0"), noting("7.3.0"));
    let next = download.vendor.next(&[updater.clone(), connector.clone()]);
    download.replace_folder(&next, &[&updater, &connector], None);
    let output = download.install();
    assert!(succeeded(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the service was running"), "{}", said(&output));
    service.wait("the same process runs the new program", || runs_from(&service, "0.2.0"));
    service.until("it knows the connector", |s| s["products"]["connector"]["installed"] == "7.3.0");
    service.wait("the user's program is the new one", || ran("7.3.0"));
    assert_eq!(service.versions(), ["7.2.0", "7.3.0"], "the way back is kept until the new version is confirmed");

    // Repaired under the same number: the service does not go on with a program that is not there any more.
    let spare = download.root().join("opt/lockstep/updater/versions/0.2.0/bin/lockstep-launcher");
    fs::write(&spare, "damaged").unwrap();
    assert!(succeeded(&download.install()));
    service.wait("the same process runs the repaired program", || runs_from(&service, "0.2.0"));
    service.until("it answers", |s| s["products"]["connector"]["installed"] == "7.3.0");
    // Asked to end, it ends its program too.
    lockstep_updater::platform::terminate(launcher.id());
    launcher.wait().unwrap();
}
