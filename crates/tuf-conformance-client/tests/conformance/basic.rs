//! The suite's `test_basic.py`.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::{
    client::{begin, begun},
    signer::Signer,
};

fn first_requests() -> Vec<(String, Option<u64>)> {
    [("root", Some(2)), ("timestamp", None), ("snapshot", Some(1)), ("targets", Some(1))]
        .map(|(role, version)| (role.to_owned(), version))
        .to_vec()
}

#[test]
fn basic_refresh_requests() {
    let (client, repo) = begun();
    assert!(repo.asked().is_empty(), "no request during init");
    assert_eq!(client.refresh(), 0);
    assert_eq!(repo.asked(), first_requests());
}

#[test]
fn basic_refresh_trusted_data() {
    let (client, repo) = begun();
    assert_eq!(client.refresh(), 0);
    for role in crate::simulator::TOP {
        assert_eq!(client.bytes(role), Some(repo.newest(role)));
    }
    client.trusts(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 1)]);
}

#[test]
fn implicit_refresh() {
    let (client, repo) = begun();
    assert_eq!(client.download(&["nonexistent artifact"]), 1);
    assert_eq!(repo.asked(), first_requests());
    for role in crate::simulator::TOP {
        assert_eq!(client.bytes(role), Some(repo.newest(role)));
    }
}

#[test]
fn invalid_initial_root() {
    let (client, repo) = begin();
    let mut root: Value = serde_json::from_slice(&repo.nth("root", 1)).unwrap();
    root["signed"].as_object_mut().unwrap().remove("version");
    assert_eq!(client.init(&serde_json::to_vec(&root).unwrap()), 1);
    assert_eq!(client.refresh(), 1);
    assert!(repo.asked().is_empty());
}

#[test]
fn unsigned_initial_root() {
    let (client, repo) = begin();
    let mut root: Value = serde_json::from_slice(&repo.nth("root", 1)).unwrap();
    let other = Signer::new().sign(&root["signed"]);
    root["signatures"][0]["sig"] = other["sig"].clone();
    assert_eq!(client.init(&serde_json::to_vec(&root).unwrap()), 1);
    assert_eq!(client.refresh(), 1);
    assert!(repo.asked().is_empty());
}

cases! { unsigned_metadata:
    unsigned_root => ("root", &[("root", 1)]),
    unsigned_timestamp => ("timestamp", &[("root", 2)]),
    unsigned_snapshot => ("snapshot", &[("root", 2), ("timestamp", 2)]),
    unsigned_targets => ("targets", &[("root", 2), ("snapshot", 2), ("timestamp", 2)]),
}

fn unsigned_metadata((role, trusted): (&str, &[(&str, u64)])) {
    let (client, mut repo) = begin();
    repo.signers.get_mut(role).unwrap().pop();
    repo.publish_all();
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.refresh(), 1);
    client.trusts(trusted);
}

cases! { url_and_metadata_version_mismatch:
    version_mismatch_root => ("root", &[("root", 1)]),
    version_mismatch_snapshot => ("snapshot", &[("root", 2), ("timestamp", 2)]),
    version_mismatch_targets => ("targets", &[("root", 2), ("snapshot", 2), ("timestamp", 2)]),
}

/// What lies under version 2's name says that it is version 3.
fn url_and_metadata_version_mismatch((role, trusted): (&str, &[(&str, u64)])) {
    let (client, mut repo) = begin();
    let version = repo.version(role) + 1;
    repo.role(role)["version"] = version.into();
    repo.publish_all();
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.refresh(), 1);
    client.trusts(trusted);
}

#[test]
fn timestamp_content_changes() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    let before = client.bytes("timestamp");
    repo.role("timestamp")["meta"]["snapshot.json"]["version"] = 100.into();
    repo.unpublish("timestamp");
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(repo.last_asked(), ("timestamp".into(), None));
    assert_eq!(client.bytes("timestamp"), before);
}

#[test]
fn basic_metadata_hash_support() {
    let (client, mut repo) = begin();
    repo.pin_hashes = true;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.refresh(), 0);

    repo.publish(&["targets"]);
    let wrong = "46419349341cfb2d95f6ae3d4cd5c3d3dd7f4673985dad42a45130be5e0531a0";
    repo.role("snapshot")["meta"]["targets.json"]["hashes"]["sha256"] = wrong.into();
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), Some(3));
    assert_eq!(client.version("targets"), Some(2));
}

#[test]
fn metadata_bytes_match() {
    let (client, repo) = begun();
    let unusual = {
        let mut published = repo.published.lock().unwrap();
        let newest = published.metadata.get_mut("timestamp").unwrap().last_mut().unwrap();
        newest.push(b' ');
        newest.clone()
    };
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.bytes("timestamp"), Some(unusual));
}

#[test]
fn custom_fields() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    let mut signer = Signer::new();
    signer.public["extra-field"] = json!({ "a": 1, "b": 2 });
    repo.root()["custom-field"] = "value".into();
    repo.add_key("root", Rc::new(signer));
    repo.root()["roles"]["root"]["another-field"] = "value".into();
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(2));
}

#[test]
fn deprecated_keyid_hash_algorithms() {
    let (client, mut repo) = begun();
    let mut signer = Signer::new();
    signer.public["keyid_hash_algorithms"] = "md5".into();
    repo.clear_keys("snapshot");
    repo.add_key("snapshot", Rc::new(signer));
    repo.publish(&["root", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(2));
    assert_eq!(client.version("snapshot"), Some(2));
}

#[test]
fn snapshot_404() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.role("timestamp")["meta"]["snapshot.json"]["version"] = 2.into();
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(repo.last_asked(), ("snapshot".into(), Some(2)));
    client.trusts(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 2)]);
}

#[test]
fn targets_404() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.role("snapshot")["meta"]["targets.json"]["version"] = 2.into();
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(repo.last_asked(), ("targets".into(), Some(2)));
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 1), ("timestamp", 2)]);
}

#[test]
fn timestamp_404() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.unpublish("timestamp");
    assert_eq!(client.refresh(), 1);
    assert_eq!(repo.last_asked(), ("timestamp".into(), None));
}

/// A snapshot that would do as a timestamp, signed by the timestamp's key.
#[test]
fn incorrect_metadata_type() {
    let (client, mut repo) = begun();
    let signer = Rc::clone(&repo.signers["timestamp"][0]);
    repo.add_key("snapshot", signer);
    repo.role("snapshot")["meta"] = json!({ "snapshot.json": { "version": 1 } });
    repo.publish(&["root", "snapshot"]);
    {
        let mut published = repo.published.lock().unwrap();
        let snapshot = published.metadata.get_mut("snapshot").unwrap().pop().unwrap();
        published.metadata.get_mut("timestamp").unwrap().push(snapshot);
    }
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 2)]);
}

#[test]
fn faketime() {
    let (client, mut repo) = begun();
    repo.expires("root", 7);
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.refresh_in(8), 1);
}
