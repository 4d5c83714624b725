//! Console and integration page, as a browser gets them.

use std::io::Read;

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
    assert!(windows.contains("Packages for Windows come with a later release"));
    site.server_runs("7.3.0").await;
    assert!(page("Linux").await.contains("lockstep-connector-7.3.0-linux-x86_64.tar.gz"));
    site.stop().await;
}

#[tokio::test]
async fn a_download_is_the_verified_package_with_the_site_profile_beside_it() {
    let site = Site::start().await;
    let fetch = async |file: &str| site.get(&format!("/integration/{file}")).await.bytes().await.unwrap();
    let bytes = fetch("lockstep-updater-0.1.0-linux-x86_64.tar.gz").await;
    let mut files = std::collections::BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mode, time) = (entry.header().mode().unwrap(), entry.header().mtime().unwrap());
        assert_eq!(time, 0);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), (mode, content));
    }
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "lockstep-updater-0.1.0/bin/lockstep-updater",
            "lockstep-updater-0.1.0/root.json",
            "lockstep-updater-0.1.0/site.json"
        ]
    );
    assert_eq!(files[names[0]], (0o755, b"#!/bin/sh\necho updater 0.1.0\n".to_vec()));
    assert_eq!(files[names[1]].1, std::fs::read(site.vendor.root()).unwrap());
    let profile: protocol::site::SiteProfile = serde_json::from_slice(&files[names[2]].1).unwrap();
    assert_eq!((profile.server.as_str(), &profile), (site.base.as_str(), &site.app.profile));
    assert!(profile.certificate.unwrap().contains("BEGIN CERTIFICATE"));

    std::fs::remove_dir_all(site.dir.path().join("data/downloads")).unwrap();
    assert_eq!(fetch("lockstep-updater-0.1.0-linux-x86_64.tar.gz").await, bytes, "made again, the same bytes");
    let connector = fetch("lockstep-connector-7.2.0-linux-x86_64.tar.gz").await;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&connector[..]));
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert!(names.contains(&"lockstep-connector-7.2.0/bin/lockstep-connector".into()), "{names:?}");
    assert!(names.contains(&"lockstep-connector-7.2.0/updater/bin/lockstep-updater".into()), "{names:?}");
    assert_eq!(site.get("/integration/lockstep-connector-7.3.0-linux-x86_64.tar.gz").await.status(), 404);
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
