//! What dpkg has brought becomes a version; what somebody else could have brought does not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    install::{download, said},
    vendor::{Release, UPDATER, Vendor},
};

/// A directory that is root's alone, as dpkg's, with a PC's root beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        crate::fixture::needs_root();
        let place = Self(tempfile::Builder::new().prefix("dpkg-").tempdir_in("/tmp").unwrap());
        fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(place.dpkgs()).unwrap();
        place
    }

    fn dpkgs(&self) -> PathBuf {
        self.0.path().join("lib")
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn bring(&self, release: &Release) -> PathBuf {
        let path = self.dpkgs().join(format!("lockstep-{}.lpk", release.product));
        fs::write(&path, &release.package).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn adopt(&self, package: &Path) -> Output {
        Command::new(UPDATER).args(["adopt", "--root"]).arg(self.root()).arg(package).output().unwrap()
    }

    fn adopted(&self, package: &Path) -> String {
        let output = self.adopt(package);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn active(&self) -> Option<String> {
        let link = fs::read_link(self.root().join("opt/lockstep/connector/current")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }
}

fn connector(version: &str) -> Release {
    Release::script("connector", version, &format!("echo connector {version}"))
}

#[test]
fn a_newer_package_is_activated_the_same_is_repaired_and_an_older_one_changes_nothing() {
    let place = Place::new();
    let old = place.bring(&connector("7.2.0"));
    assert!(place.adopted(&old).contains("connector 7.2.0 is installed"));
    let new = place.bring(&connector("7.3.0"));
    assert!(place.adopted(&new).contains("in the place of 7.2.0"));
    assert!(place.adopted(&new).contains("was installed already"));
    let program = place.root().join("opt/lockstep/connector/versions/7.3.0/bin/lockstep-connector");
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    assert!(place.adopted(&new).contains("was damaged and is repaired"));
    let out = Command::new(&program).output().unwrap();
    assert_eq!(out.stdout, b"connector 7.3.0\n");

    let old = place.bring(&connector("7.2.0"));
    assert!(place.adopted(&old).contains("7.3.0 is active here, which is newer than the 7.2.0"));
    assert_eq!(place.active().as_deref(), Some("7.3.0"));
}

#[test]
fn a_file_that_somebody_else_could_have_made_or_could_change_is_refused() {
    let place = Place::new();
    let package = place.bring(&connector("7.2.0"));
    let refused = |package: &Path| {
        let output = place.adopt(package);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("cannot be"), "{}", said(&output));
        assert_eq!(place.active(), None);
    };
    fs::set_permissions(&package, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&package);
    fs::set_permissions(&package, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&package, Some(60001), None).unwrap();
    refused(&package);
    chown(&package, Some(0), None).unwrap();
    fs::set_permissions(place.dpkgs(), fs::Permissions::from_mode(0o777)).unwrap();
    refused(&package);
    fs::set_permissions(place.dpkgs(), fs::Permissions::from_mode(0o755)).unwrap();
    let link = place.dpkgs().join("link.lpk");
    symlink(&package, &link).unwrap();
    refused(&link);
    // By the very same words it is taken when it is root's alone again.
    assert!(place.adopted(&package).contains("connector 7.2.0 is installed"));
}

#[test]
fn what_is_no_package_is_cut_short_or_does_not_run_here_changes_nothing() {
    let place = Place::new();
    let good = place.bring(&connector("7.2.0"));
    place.adopted(&good);
    let mut garbage = connector("7.3.0");
    garbage.package = b"no package".to_vec();
    let mut cut = connector("7.4.0");
    cut.package.truncate(cut.package.len() - 7);
    let broken = Release::of("connector", "7.5.0", &[("bin/lockstep-connector", 0o755, b"#!/bin/sh\nexit 3\n")]);
    for (release, words) in [(garbage, "unpacked"), (cut, "unpacked"), (broken, "does not work")] {
        let package = place.bring(&release);
        let output = place.adopt(&package);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
        assert_eq!(place.active().as_deref(), Some("7.2.0"));
        let versions = fs::read_dir(place.root().join("opt/lockstep/connector/versions")).unwrap();
        assert_eq!(versions.count(), 1, "nothing is left of it");
    }
}

#[test]
fn a_version_that_the_vendor_has_withdrawn_or_that_was_rolled_back_here_does_not_come_back() {
    // Installed from a folder whose signed metadata has a floor; then everything but the memory of it is removed.
    let mut download = download();
    let raised = download.connector.clone().with("floor", "7.3.0");
    download.vendor = Vendor::new("vendor", &[download.updater.clone(), raised.clone()]);
    download.replace_folder(&download.vendor, &[&download.updater, &raised], None);
    let output = download.install();
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_dir_all(download.root().join("opt/lockstep/connector")).unwrap();

    let place = Place::new();
    let adopt = |release: &Release| {
        let package = place.bring(release);
        Command::new(UPDATER).args(["adopt", "--root"]).arg(download.root()).arg(package).output().unwrap()
    };
    let output = adopt(&connector("7.2.0"));
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("below 7.3.0"), "{}", said(&output));
    assert!(adopt(&connector("7.3.0")).status.success());

    let failed = json!({ "version": "7.4.0", "at": "2026-01-01T00:00:00Z", "reason": "its self-check failed" });
    let state = json!({ "v": 1, "products": { "connector": { "failed": [failed] } } });
    let path = download.root().join("var/lib/lockstep/updater/state.json");
    fs::write(&path, state.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = adopt(&connector("7.4.0"));
    assert!(output.status.success(), "dpkg has no fault of it: {}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("7.3.0 stays") && text.contains("its self-check failed"), "{text}");
}
