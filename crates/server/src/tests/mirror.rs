//! The mirror: whole or not at all, and exactly the bytes that were signed.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::site::Site;

const TWO: [(&str, &str, &str); 2] = [("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4")];

async fn target(site: &Site, path: &str, metadata: &str) -> (String, Value) {
    let targets: Value = site.get(&format!("/tuf/metadata/{metadata}.targets.json")).await.json().await.unwrap();
    let target = &targets["signed"]["targets"][path];
    let sha256 = target["hashes"]["sha256"].as_str().unwrap();
    let (dir, name) = path.rsplit_once('/').unwrap();
    (format!("/tuf/targets/{dir}/{sha256}.{name}"), target.clone())
}

#[tokio::test]
async fn what_is_served_is_what_was_signed_whole_or_from_the_middle() {
    let site = Site::with(&TWO).await;
    let (path, info) = target(&site, "connector/connector-7.3.0-linux-x86_64.lpk", "1").await;
    let bytes = site.get(&path).await.bytes().await.unwrap();
    assert_eq!(hex::encode(Sha256::digest(&bytes)), info["hashes"]["sha256"].as_str().unwrap());
    let rest = site.client.get(format!("{}{path}", site.base)).header("range", "bytes=100-").send().await.unwrap();
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.headers()["content-range"], format!("bytes 100-{}/{}", bytes.len() - 1, bytes.len()).as_str());
    assert_eq!(rest.bytes().await.unwrap(), bytes.slice(100..));
    let root = site.get("/tuf/metadata/1.root.json").await.bytes().await.unwrap();
    assert_eq!(root, std::fs::read(site.vendor.root()).unwrap());
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_was_changed_on_the_servers_disk_is_not_served_again_and_the_console_says_so() {
    let site = Site::with(&TWO).await;
    let (path, info) = target(&site, "connector/connector-7.3.0-linux-x86_64.lpk", "1").await;
    let signed = site.get(&path).await.bytes().await.unwrap();
    let file = site.dir.path().join("data/mirror/targets").join(info["hashes"]["sha256"].as_str().unwrap());
    let mut forged = std::fs::read(&file).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &forged).unwrap();
    assert_eq!(site.get(&path).await.bytes().await.unwrap(), forged, "until it is found out; PCs check by themselves");

    // The vendor cannot be reached: nothing is better than something else.
    let repository = site.vendor.repository();
    std::fs::rename(&repository, repository.with_extension("away")).unwrap();
    assert!(crate::mirror_tasks::refresh(&site.app).await.is_err());
    assert_eq!(site.get(&path).await.status(), 404);
    let problems = site.app.problems().join("; ");
    assert!(
        problems.contains("mirror: changed on this server's disk") && problems.contains("connector-7.3.0"),
        "{problems}"
    );

    std::fs::rename(repository.with_extension("away"), &repository).unwrap();
    crate::mirror_tasks::refresh(&site.app).await.unwrap();
    assert_eq!(site.get(&path).await.bytes().await.unwrap(), signed);
    assert!(!site.app.problems().join("; ").contains("changed on"), "it is over");
    let story = site.admin(Method::GET, "/v1/admin/story?of=site", None).await.to_string();
    assert!(story.contains("the mirror's files were changed on this server's disk"), "{story}");
    site.stop().await;
}

#[tokio::test]
async fn no_path_leaves_the_mirror() {
    let site = Site::with(&TWO).await;
    for path in [
        "/tuf/targets/../../lockstep.sqlite",
        "/tuf/targets/..%2f..%2flockstep.sqlite",
        "/tuf/targets/%2e%2e/%2e%2e/server.toml",
        "/tuf/targets//etc/passwd",
        "/tuf/metadata/..%2f..%2fserver.toml",
        "/tuf/metadata/complete-timestamp.json",
        "/tuf/targets/connector/connector-7.3.0-linux-x86_64.lpk",
        "/integration/..%2fserver.toml",
        "/integration/%2fetc%2fpasswd",
    ] {
        assert_eq!(site.get(path).await.status(), 404, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_state_with_a_damaged_package_is_never_served() {
    let site = Site::with(&TWO[..1]).await;
    let before = site.get("/tuf/metadata/timestamp.json").await.bytes().await.unwrap();
    site.vendor.publish(2, &TWO);
    let dir = site.vendor.repository().join("targets/connector");
    let damaged = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_string_lossy().contains("7.3.0"))
        .unwrap();
    let good = std::fs::read(&damaged).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for content in [bad, good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat()] {
        std::fs::write(&damaged, content).unwrap();
        let request = site.client.post(format!("{}/v1/admin/refresh", site.base)).bearer_auth(&site.token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 502);
        assert!(answer.text().await.unwrap().contains("7.3.0"));
        assert_eq!(site.get("/tuf/metadata/timestamp.json").await.bytes().await.unwrap(), before);
        let status = site.admin(Method::GET, "/v1/admin/status", None).await;
        assert!(status["problems"][0].as_str().unwrap().contains("what the vendor signed"), "{status}");
        assert_eq!(status["mirror"]["version"], 1);
    }
    std::fs::write(&damaged, good).unwrap();
    let answer = site.admin(Method::POST, "/v1/admin/refresh", None).await;
    assert_eq!(answer, json!({"v": 1, "changed": true, "releases": 2}));
    let answer = site.admin(Method::POST, "/v1/admin/refresh", None).await;
    assert_eq!(answer["changed"], false);
    let status = site.admin(Method::GET, "/v1/admin/status", None).await;
    assert_eq!((&status["problems"], &status["mirror"]["version"]), (&json!([]), &json!(2)));
    site.stop().await;
}

#[tokio::test]
async fn what_was_mirrored_is_served_again_after_a_restart_without_the_vendor() {
    let site = Site::with(&TWO).await;
    let source = crate::mirror::Source::new(&"/nonexistent".parse().unwrap()).unwrap();
    let root = std::fs::read(site.vendor.root()).unwrap();
    let again = crate::mirror::Mirror::open(&site.dir.path().join("data/mirror"), source, &root).unwrap();
    assert_eq!(again.current().unwrap().catalog().entries.len(), 2);
    let again = std::sync::Arc::new(again);
    assert!(again.refresh_on_its_own_thread(site.now()).await.is_err());
    assert_eq!(again.current().unwrap().catalog().entries.len(), 2, "and stays so while the vendor is away");
    site.stop().await;
}

#[tokio::test]
async fn a_repository_signed_by_somebody_else_is_not_mirrored() {
    let site = Site::with(&TWO).await;
    let other = site.dir.path().join("other");
    let stranger = super::site::vendor::Vendor::with_key(&other, [8; 32]);
    stranger.publish(5, &TWO);
    let source = crate::mirror::Source::new(&stranger.repository().to_str().unwrap().parse().unwrap()).unwrap();
    let root = std::fs::read(site.vendor.root()).unwrap();
    let mirror = crate::mirror::Mirror::open(&site.dir.path().join("fresh"), source, &root).unwrap();
    let mirror = std::sync::Arc::new(mirror);
    assert!(mirror.refresh_on_its_own_thread(site.now()).await.is_err());
    assert!(mirror.current().is_none());
    site.stop().await;
}
