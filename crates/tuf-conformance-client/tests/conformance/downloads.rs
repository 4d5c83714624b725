//! The suite's `test_file_download.py`.

use serde_json::json;

use crate::client::{begin, begun};

const CHANGED: [&str; 3] = ["targets", "snapshot", "timestamp"];

#[test]
fn client_downloads_expected_file() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"target file contents", "target_file.txt");
    repo.publish(&CHANGED);
    assert_eq!(client.refresh(), 0);
    client.has_downloaded(&[]);
    assert_eq!(client.download(&["target_file.txt"]), 0);
    client.has_downloaded(&[b"target file contents"]);
}

#[test]
fn client_downloads_expected_file_in_sub_dir() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"target file contents", "path/to/a/target_file.txt");
    repo.publish(&CHANGED);
    assert_eq!(client.download(&["path/to/a/target_file.txt"]), 0);
    client.has_downloaded(&[b"target file contents"]);
}

#[test]
fn several_targets_in_one_run() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"one", "one");
    repo.add_artifact("targets", b"two", "dir/two");
    repo.publish(&CHANGED);
    assert_eq!(client.download(&["one", "dir/two"]), 0);
    client.has_downloaded(&[b"one", b"two"]);
    assert_eq!(client.download(&["one", "missing"]), 1);
}

#[test]
fn artifact_cache() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"target file contents", "target_file.txt");
    repo.publish(&CHANGED);
    for _ in 0..2 {
        assert_eq!(client.download(&["target_file.txt"]), 0);
        assert_eq!(repo.published.lock().unwrap().asked_artifacts.len(), 1);
    }
}

#[test]
fn repository_substitutes_target_file() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"target file contents", "target_file.txt");
    repo.add_artifact("targets", b"content", "another_target_file.txt");
    repo.publish(&CHANGED);
    assert_eq!(client.download(&["target_file.txt"]), 0);
    for name in ["target_file.txt", "another_target_file.txt"] {
        repo.substitute(name, b"malicious data - should not download");
    }
    assert_eq!(client.download(&["target_file.txt"]), 0, "it lies there already");
    client.has_downloaded(&[b"target file contents"]);
    assert_eq!(client.download(&["another_target_file.txt"]), 1);
    client.has_downloaded(&[b"target file contents"]);
}

/// Of the same length as the signed one.
#[test]
fn substituted_by_bytes_of_the_same_length() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"content", "target");
    repo.publish(&CHANGED);
    for wrong in [&b"c0ntent"[..], b"content and more", b"conten", b""] {
        repo.substitute("target", wrong);
        assert_eq!(client.download(&["target"]), 1);
        client.has_downloaded(&[]);
    }
}

#[test]
fn multiple_changes_to_target() {
    let (client, mut repo) = begun();
    repo.add_artifact("targets", b"target file contents", "target_file.txt");
    repo.publish(&CHANGED);
    assert_eq!(client.download(&["target_file.txt"]), 0);
    let mut others: Vec<Vec<u8>> = Vec::new();
    for i in 0..11 {
        let modified = format!("modified file contents {i}").into_bytes();
        let new = format!("new file contents {i}").into_bytes();
        let name = format!("new-target-{i}");
        repo.add_artifact("targets", &modified, "target_file.txt");
        repo.add_artifact("targets", &new, &name);
        repo.publish(&CHANGED);
        if i % 5 != 0 {
            continue;
        }
        assert_eq!(client.download(&["target_file.txt"]), 0);
        assert_eq!(client.download(&[&name]), 0);
        others.push(new);
        let expected: Vec<&[u8]> = others.iter().chain([&modified]).map(Vec::as_slice).collect();
        client.has_downloaded(&expected);
        repo.substitute("target_file.txt", format!("malicious contents {i}").as_bytes());
        repo.publish(&CHANGED);
        client.download(&["target_file.txt"]);
        client.has_downloaded(&expected);
    }
}

cases! { download_with_hash_algorithms:
    download_with_sha256 => &["sha256"],
    download_with_sha512 => &["sha512"],
    download_with_both => &["sha256", "sha512"],
}

fn download_with_hash_algorithms(algorithms: &[&str]) {
    let (client, mut repo) = begin();
    repo.add_artifact_with("targets", b"target file contents", "target_file.txt", algorithms);
    repo.publish(&["targets", "snapshot", "timestamp", "root"]);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.download(&["target_file.txt"]), 0);
    let asked = repo.published.lock().unwrap().asked_artifacts.clone();
    assert_eq!(asked.len(), 1);
    let possible = repo.published.lock().unwrap().artifacts["target_file.txt"].1.clone();
    assert!(possible.contains(asked[0].1.as_ref().unwrap()));
    client.has_downloaded(&[b"target file contents"]);
}

/// One right hash does not make up for a wrong one.
#[test]
fn each_hash_must_match() {
    let (client, mut repo) = begun();
    repo.add_artifact_with("targets", b"content", "target", &["sha256", "sha512"]);
    repo.role("targets")["targets"]["target"]["hashes"]["sha512"] = "00".repeat(64).into();
    repo.publish(&CHANGED);
    assert_eq!(client.download(&["target"]), 1);
    client.has_downloaded(&[]);
}

#[test]
fn download_with_unknown_hash_algorithm() {
    let (client, mut repo) = begin();
    repo.add_artifact_with("targets", b"target file contents", "target_file.txt", &["unknown-hash"]);
    repo.publish(&CHANGED);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.download(&["target_file.txt"]), 1);
    client.has_downloaded(&[]);
}

/// Without consistent snapshots, neither metadata but roots nor targets carry anything in their names.
#[test]
fn consistent_snapshot_off() {
    let (client, mut repo) = begun();
    repo.root()["consistent_snapshot"] = json!(false);
    repo.published.lock().unwrap().consistent = false;
    repo.add_artifact("targets", b"content", "dir/target");
    repo.publish_all();
    assert_eq!(client.download(&["dir/target"]), 0);
    client.has_downloaded(&[b"content"]);
    let asked: Vec<_> = repo.asked();
    let plain = ["timestamp", "snapshot", "targets"].map(|role| (role.to_owned(), None));
    assert_eq!(asked[..2], [("root".to_owned(), Some(2)), ("root".to_owned(), Some(3))]);
    assert_eq!(asked[2..], plain);
    assert_eq!(repo.published.lock().unwrap().asked_artifacts, [("dir/target".to_owned(), None)]);
}
