//! The suite's `test_rollback.py`.

use crate::client::begun;

#[test]
fn simple_snapshot_rollback() {
    let (client, mut repo) = begun();
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.publish(&["snapshot"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("snapshot"), Some(2));
    assert_eq!(repo.last_asked(), ("timestamp".into(), None));
}

#[test]
fn new_timestamp_version_rollback() {
    let (client, mut repo) = begun();
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("timestamp"), Some(2));
    repo.unpublish("timestamp");
    repo.role("timestamp")["version"] = 1.into();
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("timestamp"), Some(2));
    assert_eq!(repo.last_asked(), ("timestamp".into(), None));
}

cases! { snapshot_rollback: snapshot_rollback_basic => false, snapshot_rollback_with_hashes => true }

fn snapshot_rollback(pin_hashes: bool) {
    let (client, mut repo) = begun();
    repo.pin_hashes = pin_hashes;
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.unpublish("snapshot");
    repo.role("snapshot")["version"] = 1.into();
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("timestamp"), Some(2));
    assert_eq!(client.version("snapshot"), Some(2));
    assert_eq!(repo.last_asked(), ("timestamp".into(), None));
}

#[test]
fn new_targets_fast_forward_recovery() {
    let (client, mut repo) = begun();
    for _ in 0..99 {
        repo.publish(&["targets"]);
    }
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("targets"), Some(100));
    repo.rotate("snapshot");
    repo.unpublish("targets");
    repo.role("targets")["version"] = 1.into();
    repo.publish(&["root", "targets", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("targets"), Some(2));
}

#[test]
fn new_snapshot_fast_forward_recovery() {
    let (client, mut repo) = begun();
    for _ in 0..99 {
        repo.publish(&["snapshot"]);
    }
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("snapshot"), Some(100));
    repo.rotate("snapshot");
    repo.rotate("timestamp");
    repo.unpublish("snapshot");
    repo.role("snapshot")["version"] = 1.into();
    repo.publish_all();
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("snapshot"), Some(1));
}

#[test]
fn new_snapshot_version_mismatch() {
    let (client, mut repo) = begun();
    repo.publish(&["snapshot"]);
    repo.role("timestamp")["meta"]["snapshot.json"]["version"] = 1.into();
    repo.publish(&["root", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    client.trusts(&[("root", 2), ("snapshot", 1), ("targets", 1), ("timestamp", 2)]);
}

#[test]
fn new_timestamp_fast_forward_recovery() {
    let (client, mut repo) = begun();
    for _ in 0..99 {
        repo.publish(&["timestamp"]);
    }
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("timestamp"), Some(100));
    repo.rotate("timestamp");
    repo.publish(&["root", "targets", "snapshot"]);
    repo.unpublish("timestamp");
    repo.role("timestamp")["version"] = 1.into();
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("timestamp"), Some(1));
}

cases! { targets_rollback: targets_rollback_basic => false, targets_rollback_with_hashes => true }

fn targets_rollback(pin_hashes: bool) {
    let (client, mut repo) = begun();
    repo.pin_hashes = pin_hashes;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.unpublish("targets");
    repo.role("targets")["version"] = 1.into();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), Some(2));
    assert_eq!(client.version("targets"), Some(2));
}

/// A refresh that broke off between timestamp and snapshot leaves no gap: the snapshot before it still is the floor.
#[test]
fn targets_rollback_after_a_refresh_that_broke_off() {
    let (client, mut repo) = begun();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    // A timestamp whose snapshot is not there.
    repo.role("timestamp")["meta"]["snapshot.json"]["version"] = 3.into();
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 2), ("timestamp", 3)]);
    repo.unpublish("targets");
    repo.role("targets")["version"] = 1.into();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("targets"), Some(2));
    assert_eq!(client.version("snapshot"), Some(2));
}

/// A role may not vanish from the snapshot either.
#[test]
fn a_role_that_vanishes_from_the_snapshot() {
    let (client, mut repo) = begun();
    repo.delegate("targets", "delegated", serde_json::json!({ "paths": ["*"] }));
    repo.publish(&["delegated", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.role("snapshot")["meta"].as_object_mut().unwrap().remove("delegated.json");
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), Some(2));
}

/// A delegated role goes back no more than the others.
#[test]
fn delegated_rollback() {
    let (client, mut repo) = begun();
    repo.delegate("targets", "delegated", serde_json::json!({ "paths": ["*"] }));
    repo.add_artifact("delegated", b"content", "target");
    repo.publish(&["delegated", "delegated", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["target"]), 0);
    assert_eq!(client.version("delegated"), Some(2));
    repo.unpublish("delegated");
    repo.role("delegated")["version"] = 1.into();
    repo.publish(&["delegated", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["target"]), 1);
    assert_eq!(client.version("delegated"), Some(2));
}
