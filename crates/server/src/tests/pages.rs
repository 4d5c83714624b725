//! Console and integration page, as a browser gets them.

use std::{collections::BTreeMap, io::Read};

use super::site::{
    Site,
    pc::{Pc, Seat},
};

#[tokio::test]
async fn the_first_console_page_is_the_preflight_table_behind_a_login() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-ready").await;
    pc.check_in(&site, &pc.device("pc-ready", "7.2.0", &["7.3.0"])).await;
    let alice = Seat::log_in(&site, "alice@example.test", "pc-ready").await;
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    Seat::log_in(&site, "bob@example.test", "pc-old").await.check_in(&site, "7.2.0", None).await;
    assert_eq!(site.get("/").await.headers()["location"], "/console");
    assert_eq!(site.get("/console").await.headers()["location"], "/console/login");
    let login = site.get("/console/login").await.text().await.unwrap();
    assert!(!login.contains("alice"), "{login}");

    let cookie = site.console().await;
    let page = site.page(&cookie, "/console").await;
    let rows: Vec<&str> = page.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].contains("bob@example.test") && rows[0].contains("would be cut off: updater not installed"));
    assert!(rows[1].contains("alice@example.test") && rows[1].contains("ready, staged"));
    assert!(page.contains("had version 7.3.0 now") && page.contains("scope=\"col\"") && page.contains("lang=\"en\""));
    assert!(site.page(&cookie, "/console?to=7.2.5").await.contains("works as it is"));
    assert!(site.page(&cookie, "/console?to=soon").await.contains("is not a version"));
    site.stop().await;
}

#[tokio::test]
async fn the_integration_page_offers_what_fits_the_visitor_and_the_server() {
    let site = Site::start().await;
    let page = async |agent: &str| {
        let request = site.client.get(format!("{}/integration", site.base)).header("user-agent", agent);
        request.send().await.unwrap().text().await.unwrap()
    };
    let linux = page("Mozilla/5.0 (X11; Linux x86_64)").await;
    insta::assert_snapshot!(linux);
    assert!(linux.contains("this computer") && linux.contains("lockstep-updater-0.1.0-linux-x86_64.tar.gz"));
    assert!(linux.contains("lockstep-connector-7.2.0-linux-x86_64.tar.gz") && !linux.contains("7.3.0"));
    let windows = page("Mozilla/5.0 (Windows NT 10.0; Win64; x64)").await;
    assert!(windows.contains("no package for Windows here") && windows.contains("webmail.example.test"));
    site.server_runs("7.3.0").await;
    assert!(page("Linux").await.contains("lockstep-connector-7.3.0-linux-x86_64.tar.gz"));
    site.stop().await;
}

/// The files of a downloaded archive: mode and content by path. All of them as old as time itself.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(bytes)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let (mode, path) = (header.mode().unwrap(), entry.path().unwrap().display().to_string());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(files.insert(path, (mode, content)).is_none(), "each path once");
    }
    files
}

async fn fetch(site: &Site, file: &str) -> Vec<u8> {
    let response = site.get(&format!("/integration/{file}")).await;
    assert_eq!(response.status(), 200, "{file}");
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn a_download_is_the_verified_package_with_the_site_profile_beside_it() {
    let site = Site::start().await;
    let bytes = fetch(&site, "lockstep-updater-0.1.0-linux-x86_64.tar.gz").await;
    let files = unpacked(&bytes);
    let top = "lockstep-updater-0.1.0";
    assert_eq!(files[&format!("{top}/bin/lockstep-updater")], (0o755, b"#!/bin/sh\necho updater 0.1.0\n".to_vec()));
    assert_eq!(files[&format!("{top}/root.json")].1, std::fs::read(site.vendor.root()).unwrap());
    let profile: protocol::site::SiteProfile = serde_json::from_slice(&files[&format!("{top}/site.json")].1).unwrap();
    assert_eq!((profile.server.as_str(), &profile), (site.base.as_str(), &site.app.profile));
    assert!(profile.certificate.unwrap().contains("BEGIN CERTIFICATE"));

    std::fs::remove_dir_all(site.dir.path().join("data/downloads")).unwrap();
    assert_eq!(fetch(&site, "lockstep-updater-0.1.0-linux-x86_64.tar.gz").await, bytes, "made again, the same bytes");
    assert_eq!(site.get("/integration/lockstep-connector-7.3.0-linux-x86_64.tar.gz").await.status(), 404);
    site.stop().await;
}

#[tokio::test]
async fn the_folder_of_a_download_is_a_repository_that_a_pc_verifies_without_any_network() {
    let site = Site::start().await;
    for (file, programs, packages) in [
        ("lockstep-updater-0.1.0", &["lockstep-updater"][..], &["updater-0.1.0"][..]),
        (
            "lockstep-connector-7.2.0",
            &["lockstep-connector", "lockstep-updater"],
            &["connector-7.2.0", "updater-0.1.0"],
        ),
    ] {
        let files = unpacked(&fetch(&site, &format!("{file}-linux-x86_64.tar.gz")).await);
        let bin: Vec<&str> = files.keys().filter_map(|p| p.strip_prefix(&format!("{file}/bin/"))).collect();
        assert_eq!(bin, programs);

        let folder = tempfile::tempdir().unwrap();
        for (path, (_, content)) in &files {
            let path = folder.path().join(path.strip_prefix(&format!("{file}/")).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let root = std::fs::read(folder.path().join("root.json")).unwrap();
        let repository = release::tuf::Repository::open(&folder.path().join("verified"), &root).unwrap();
        let payload = release::tuf::DirectoryFetch::new(folder.path().join("payload"));
        let trusted = repository.refresh(&payload, protocol::Timestamp::now()).await.unwrap();
        let mut found = Vec::new();
        for entry in &trusted.catalog().entries {
            let path = payload.target(&release::tuf::consistent_target_path(&entry.target, &entry.sha256));
            if let Ok(bytes) = std::fs::read(path) {
                let mut verifier = release::tuf::Verifier::new(entry.length, &entry.sha256);
                verifier.update(&bytes).unwrap();
                verifier.finish().unwrap();
                found.push(format!("{}-{}", entry.release.product, entry.release.version));
            }
        }
        found.sort();
        assert_eq!(found, packages, "exactly what is to be installed");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_the_vendor_signs_anew_is_in_the_next_download_and_the_old_archive_is_gone() {
    let site = Site::start().await;
    let file = "lockstep-updater-0.1.0-linux-x86_64.tar.gz";
    let timestamp = "lockstep-updater-0.1.0/payload/metadata/timestamp.json";
    let before = unpacked(&fetch(&site, file).await);
    site.vendor.publish(7, &[("updater", "0.1.0", "*"), ("connector", "7.2.0", ">=7.2, <7.3")]);
    site.admin(reqwest::Method::POST, "/v1/admin/refresh", None).await;
    let after = unpacked(&fetch(&site, file).await);
    assert_ne!(before[timestamp], after[timestamp]);
    let kept = std::fs::read_dir(site.dir.path().join("data/downloads")).unwrap().count();
    assert_eq!(kept, 1);
    site.stop().await;
}

#[tokio::test]
async fn people_get_errors_as_pages_and_programs_get_them_as_json() {
    let site = Site::start().await;
    for path in ["/integration/nothing.tar.gz", "/nothing", "/v1/admin/status"] {
        let url = format!("{}{path}", site.base);
        let browser = site.client.get(&url).header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
        let program = site.get(path).await;
        assert_eq!(browser.status(), program.status(), "{path}");
        assert!(browser.headers().contains_key("content-security-policy"), "{path}");
        let page = browser.text().await.unwrap();
        let told: serde_json::Value = program.json().await.unwrap();
        // The page escapes quotation marks.
        let words = told["error"].as_str().unwrap().split('\'').next().unwrap();
        assert!(page.contains("<!doctype html>") && page.contains(words), "{page}");
    }
    site.stop().await;
}
