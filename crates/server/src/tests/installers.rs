//! The integration page for people on Windows: the vendor's MSI, and what makes it know its site.

use std::{collections::BTreeMap, fs};

use reqwest::Method;

use super::site::Site;

const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0";

/// A site whose vendor has published MSIs of 7.2.0 and 7.3.0.
async fn site() -> (Site, Vec<u8>) {
    let site = Site::start().await;
    let msi = |version: &str| format!("an MSI of {version}: {}", "\u{0}x".repeat(100_000)).into_bytes();
    site.vendor.add_installer(("connector", "7.2.0", ">=7.2, <7.3"), &msi("7.2.0"));
    site.vendor.add_installer(("connector", "7.3.0", ">=7.3, <7.4"), &msi("7.3.0"));
    publish(&site, 2).await;
    (site, msi("7.2.0"))
}

async fn publish(site: &Site, n: u64) {
    let releases =
        [("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4"), ("updater", "0.1.0", "*")];
    site.vendor.publish(n, &releases);
    site.admin(Method::POST, "/v1/admin/refresh", None).await;
}

async fn page(site: &Site, path: &str) -> reqwest::Response {
    site.client.get(format!("{}{path}", site.base)).header("user-agent", WINDOWS).send().await.unwrap()
}

/// The files of a zip archive, read as a program does that knows nothing of ours: from the directory at its end.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let half = |at: usize| usize::from(u16::from_le_bytes(archive[at..at + 2].try_into().unwrap()));
    let word = |at: usize| u32::from_le_bytes(archive[at..at + 4].try_into().unwrap()) as usize;
    let end = archive.len() - 22;
    assert_eq!(&archive[end..end + 4], b"PK\x05\x06");
    let mut at = word(end + 16);
    let mut files = BTreeMap::new();
    for _ in 0..half(end + 10) {
        assert_eq!(&archive[at..at + 4], b"PK\x01\x02");
        let (crc, size, length, local) = (word(at + 16), word(at + 24), half(at + 28), word(at + 42));
        let name = String::from_utf8(archive[at + 46..at + 46 + length].to_vec()).unwrap();
        assert_eq!(&archive[local..local + 4], b"PK\x03\x04");
        let begin = local + 30 + half(local + 26) + half(local + 28);
        let content = archive[begin..begin + size].to_vec();
        let mut sum = flate2::Crc::new();
        sum.update(&content);
        assert_eq!(sum.sum() as usize, crc, "{name}");
        assert!(files.insert(name, content).is_none(), "each name once");
        at += 46 + length;
    }
    assert_eq!(at, end);
    files
}

#[tokio::test]
async fn a_visitor_with_windows_gets_the_signed_msi_and_what_makes_it_know_its_site() {
    let (site, msi) = site().await;
    let text = page(&site, "/integration").await.text().await.unwrap();
    let (windows, linux) = (text.find("Windows, 64 bits").unwrap(), text.find("Linux, x86_64").unwrap());
    assert!(windows < linux && text.matches("this computer</span>").count() == 1, "{text}");
    let archive = "lockstep-connector-7.2.0-windows-x86_64.zip";
    assert!(text.contains(archive) && !text.contains("7.3.0") && text.contains("/qn /norestart"), "{text}");
    for (fixed, leads) in [("connector", archive), ("updater", archive)] {
        let response = page(&site, &format!("/integration/{fixed}")).await;
        assert_eq!(response.headers()["location"], format!("/integration/{leads}"));
    }

    let response = page(&site, &format!("/integration/{archive}")).await;
    assert_eq!(response.headers()["content-type"], "application/zip");
    let bytes = response.bytes().await.unwrap();
    let files = unpacked(&bytes);
    let folder = "lockstep-connector-7.2.0";
    let names: Vec<_> = files.keys().map(|path| path.strip_prefix(&format!("{folder}/")).unwrap()).collect();
    assert_eq!(names, ["lockstep-connector-7.2.0-x64.msi", "root.json", "site.json"]);
    assert!(files[&format!("{folder}/lockstep-connector-7.2.0-x64.msi")] == msi, "byte for byte what was signed");
    assert_eq!(files[&format!("{folder}/root.json")], fs::read(site.vendor.root()).unwrap());
    let profile: protocol::site::SiteProfile = serde_json::from_slice(&files[&format!("{folder}/site.json")]).unwrap();
    assert_eq!(profile, site.app.profile);
    let alone = page(&site, "/integration/lockstep-connector-7.2.0-x64.msi").await;
    assert_eq!(alone.headers()["content-type"], "application/x-msi");
    assert!(alone.bytes().await.unwrap() == msi);

    fs::remove_dir_all(site.dir.path().join("data/downloads")).unwrap();
    let again = page(&site, &format!("/integration/{archive}")).await.bytes().await.unwrap();
    assert_eq!(again, bytes, "made again, the same bytes");
    for absent in ["lockstep-connector-7.3.0-windows-x86_64.zip", "lockstep-connector-7.3.0-x64.msi"] {
        assert_eq!(page(&site, &format!("/integration/{absent}")).await.status(), 404, "not for this server");
    }
    site.server_runs("7.3.0").await;
    let later = page(&site, "/integration").await.text().await.unwrap();
    assert!(later.contains("lockstep-connector-7.3.0-windows-x86_64.zip"), "{later}");
    site.stop().await;
}

#[tokio::test]
async fn an_msi_that_was_changed_on_the_mirror_or_on_this_server_is_given_to_nobody() {
    let (site, msi) = site().await;
    let name = "lockstep-connector-7.2.0-x64.msi";
    let archive = "/integration/lockstep-connector-7.2.0-windows-x86_64.zip";
    // Somebody with rights on this server: the same length, one byte other.
    let mut other = msi.clone();
    other[20] ^= 1;
    let of_ours = |content: &[u8]| {
        let targets = fs::read_dir(site.dir.path().join("data/mirror/targets")).unwrap();
        targets.flatten().map(|e| e.path()).find(|path| fs::read(path).unwrap() == content)
    };
    fs::write(of_ours(&msi).unwrap(), &other).unwrap();
    for path in [archive, &format!("/integration/{name}")] {
        let response = page(&site, path).await;
        assert_eq!(response.status(), 500, "{path}");
        let said = response.bytes().await.unwrap();
        assert!(!said.windows(6).any(|w| w == b"an MSI"), "none of it");
    }
    // The next look at the vendor puts it right.
    publish(&site, 3).await;
    assert!(page(&site, &format!("/integration/{name}")).await.bytes().await.unwrap() == msi);

    // Somebody between the vendor and this server: nothing of that state is taken, what was good stays.
    let new = site.vendor.add_installer(("connector", "7.2.1", ">=7.2, <7.3"), b"a newer MSI");
    fs::write(&new, b"another MSI").unwrap();
    site.vendor.publish(4, &[("connector", "7.2.0", ">=7.2, <7.3"), ("updater", "0.1.0", "*")]);
    let refreshed = site.client.post(format!("{}/v1/admin/refresh", site.base)).bearer_auth(&site.token);
    let refused = refreshed.send().await.unwrap();
    assert!(!refused.status().is_success());
    assert!(of_ours(b"another MSI").is_none());
    let text = page(&site, "/integration").await.text().await.unwrap();
    assert!(text.contains(archive) && !text.contains("7.2.1"), "{text}");
    site.stop().await;
}

#[tokio::test]
async fn an_msi_of_a_version_that_the_vendor_has_withdrawn_is_not_offered() {
    let (site, _) = site().await;
    let mut withdrawing = site.vendor.add_installer(("connector", "7.2.5", ">=7.2, <7.3"), b"MSI of 7.2.5");
    assert!(withdrawing.pop());
    site.vendor.withdraw(5, &[("connector", "7.2.6", ">=7.2, <7.3"), ("updater", "0.1.0", "*")], "7.2.5");
    site.admin(Method::POST, "/v1/admin/refresh", None).await;
    let text = page(&site, "/integration").await.text().await.unwrap();
    assert!(text.contains("lockstep-connector-7.2.0-windows-x86_64.zip") && !text.contains("7.2.5"), "{text}");
    site.stop().await;
}
