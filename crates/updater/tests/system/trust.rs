//! The site's server is taken over: it has the TLS key, the database, and every device's trust, but no key of the vendor's.
//! The real service installs nothing of what it offers, says so in words, here and there, and recovers by itself.

use std::fs;

use protocol::product::Platform;
use serde_json::json;

use crate::{
    site::{Service, Site, place},
    vendor::{Release, Vendor},
};

struct Case {
    _dir: tempfile::TempDir,
    site: Site,
    pc: Service,
    vendor: Vendor,
}

/// A PC whose connector 7.3.0 is right for the server 7.3, and which knows the vendor's state number 5.
fn case() -> Case {
    let dir = place();
    let releases = [
        Release::script("updater", "0.1.0", "echo updater"),
        Release::script("connector", "7.2.0", "exec sleep 1000"),
        Release::script("connector", "7.3.0", "exec sleep 1000"),
    ];
    let mut vendor = Vendor::new("vendor", &releases);
    vendor.version = 5;
    let site = Site::start();
    site.honest(&vendor, "7.3.0");
    let pc = site.pc(&dir.path().join("pc"), &vendor, &[&releases[0], &releases[2]]);
    pc.until("it is content", |s| s["why"]["connector"].as_str().is_some_and(|w| w.contains("nothing to do")));
    Case { _dir: dir, site, pc, vendor }
}

impl Case {
    /// The device says this, at the PC and to the server, and has installed and staged nothing.
    fn refuses(&self, words: &[&str]) {
        self.pc.check();
        for words in words {
            self.pc.until(words, |s| s["why"]["connector"].as_str().is_some_and(|why| why.contains(words)));
            self.pc.wait(words, || self.site.was_told(words));
        }
        assert_eq!((self.pc.connector(), self.pc.versions()), ("7.3.0".into(), vec!["7.3.0".to_owned()]));
    }

    /// The server is honest again, and the vendor has a new release: it is taken.
    fn recovers(&self) {
        let mut releases = self.vendor.releases.clone();
        releases.push(Release::script("connector", "7.3.9", "exec sleep 1000"));
        let mut next = self.vendor.next(&releases);
        next.version = 9;
        self.site.honest(&next, "7.3.0");
        self.pc.check();
        self.pc.until("it has recovered", |s| {
            s["products"]["connector"]["installed"] == "7.3.9" && s["problem"].is_null()
        });
        self.pc.wait("it says so", || !self.site.was_told("cannot update"));
    }
}

#[test]
fn a_forged_version_signed_by_other_keys_is_not_installed() {
    let case = case();
    let mut releases = case.vendor.releases.clone();
    releases.push(Release::script("connector", "7.4.0", "echo forged"));
    let mut thief = Vendor::new("thief", &releases);
    thief.version = 6;
    case.site.honest(&thief, "7.4.0");
    case.site.orders("7.4.0");
    case.refuses(&[
        "the site offers 7.4.0, which the vendor has not signed",
        "cannot update: the site serves what the vendor has not signed",
    ]);
    // The vendor's own root in front of the thief's signatures changes nothing.
    case.site.world.lock().unwrap().metadata.insert("1.root.json".into(), case.vendor.root());
    case.refuses(&["the site serves what the vendor has not signed"]);
    case.recovers();
}

#[test]
fn signed_metadata_with_other_bytes_behind_it_installs_nothing() {
    let case = case();
    let signed = Release::script("connector", "7.4.0", "echo signed");
    let mut releases = case.vendor.releases.clone();
    releases.push(signed.clone());
    case.site.honest(&case.vendor.next(&releases), "7.4.0");
    let mut forged = signed.package.clone();
    *forged.last_mut().unwrap() ^= 1;
    case.site.world.lock().unwrap().targets.insert(signed.path(), forged);
    case.refuses(&["7.4.0 could not be made ready", "is not what the vendor signed"]);
    case.recovers();
}

#[test]
fn a_pc_takes_its_own_channel_and_what_another_channel_says_is_nothing_to_it() {
    let case = case();
    let mut releases = case.vendor.releases.clone();
    let mut beta = Release::script("connector", "7.4.0", "exec sleep 1000");
    beta.channel = "beta".into();
    beta.facts = json!({ "floor": "7.4.0", "withdraws": ["7.3.0"] });
    releases.push(beta);
    let vendor = case.vendor.next(&releases);
    case.site.honest(&vendor, "7.4.0");
    case.site.orders("7.4.0");
    case.refuses(&["the site offers 7.4.0, which the vendor has not signed"]);

    let (settings, root) = (case.pc.layout.settings(), case.pc.layout.root().to_owned());
    fs::write(&settings, "[policy]\nchannel = \"beta\"\n").unwrap();
    lockstep_updater::platform::set_mode(&settings, 0o644).unwrap();
    drop(case.pc);
    let pc = Service::start(&root, std::path::Path::new(crate::vendor::UPDATER));
    pc.wait("7.4.0 is active", || pc.connector() == "7.4.0");
    assert_eq!(case.site.last_report().unwrap().channel, "beta");
}

#[test]
fn an_older_version_or_an_older_state_is_not_installed() {
    let case = case();
    case.site.orders("7.2.0");
    case.refuses(&["7.2.0 is below 7.3.0", "the vendor has not permitted going back to it"]);

    // The state of last month, in which nobody had heard of 7.3.0.
    let mut old = Vendor::new("vendor", &case.vendor.releases[..2]);
    old.version = 4;
    case.site.honest(&old, "7.2.0");
    case.site.orders("7.2.0");
    case.refuses(&["the site serves an older state than this computer knows", "7.2.0 is below 7.3.0"]);
    case.recovers();
}

#[test]
fn stale_metadata_installs_nothing_and_is_reported() {
    let case = case();
    let mut releases = case.vendor.releases.clone();
    releases.push(Release::script("connector", "7.4.0", "echo late"));
    let mut expired = case.vendor.next(&releases);
    expired.expires = "2026-01-01T00:00:00Z".into();
    case.site.honest(&expired, "7.4.0");
    case.refuses(&["metadata expired on 2026-01-01"]);

    // Frozen: the state that the PC knows for ever, while a version is praised that only a newer one could name.
    case.site.honest(&case.vendor, "7.4.0");
    case.site.orders("7.4.0");
    case.refuses(&["the site offers 7.4.0, which the vendor has not signed"]);
    case.recovers();
}

#[test]
fn a_release_for_another_product_platform_or_channel_is_not_installed_under_the_right_name() {
    let case = case();
    let stranger = Release::script("stranger", "7.4.0", "echo stranger");
    let other = Release {
        platform: Platform { os: "linux".into(), arch: "s390x".into() },
        ..Release::script("connector", "7.4.0", "echo elsewhere")
    };
    let beta = Release { channel: "beta".into(), ..Release::script("connector", "7.5.0", "echo beta") };
    let mut releases = case.vendor.releases.clone();
    releases.extend([stranger.clone(), other, beta]);
    case.site.honest(&case.vendor.next(&releases), "7.4.0");
    for version in ["7.4.0", "7.5.0"] {
        case.site.orders(version);
        case.refuses(&[&format!("the site offers {version}, which the vendor has not signed for this computer")]);
    }
    // A signed release of this very product, and the stranger's bytes in its place.
    let ours = Release::script("connector", "7.6.0", "echo ours");
    releases.push(ours.clone());
    let mut next = case.vendor.next(&releases);
    next.version = 7;
    case.site.honest(&next, "7.6.0");
    case.site.world.lock().unwrap().targets.insert(ours.path(), stranger.package);
    case.refuses(&["7.6.0 could not be made ready", "what the vendor signed"]);
    case.recovers();
}

#[test]
fn the_server_goes_back_and_the_device_follows_where_the_vendor_signed_that() {
    let case = case();
    case.site.honest(&case.vendor, "7.2.0");
    case.refuses(&["the vendor has not permitted going back from 7.3.0"]);

    let mut releases = case.vendor.releases.clone();
    releases[1] = releases[1].clone().with("downgrade_from", ">=7.3, <7.4");
    case.site.honest(&case.vendor.next(&releases), "7.2.0");
    case.pc.check();
    case.pc.until("it has gone back", |s| s["products"]["connector"]["installed"] == "7.2.0");
    assert!(case.pc.versions().contains(&"7.3.0".to_owned()), "the way forward is kept");
    case.site.honest(&case.vendor.next(&releases), "7.3.0");
    case.pc.check();
    case.pc.until("it comes along again", |s| s["products"]["connector"]["installed"] == "7.3.0");
}
