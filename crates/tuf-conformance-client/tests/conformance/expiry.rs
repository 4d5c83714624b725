//! The suite's `test_expiration.py` and `test_delegated_expiration.py`.

use serde_json::json;

use crate::{
    client::{Client, begun},
    simulator::Repo,
};

#[test]
fn root_expired() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    repo.expires("root", -1);
    repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 3), ("snapshot", 1), ("targets", 1), ("timestamp", 1)]);
}

/// Only the last root's expiry counts: those between are steps.
#[test]
fn intermediate_root_expired() {
    let (client, mut repo) = begun();
    repo.expires("root", -1);
    repo.publish(&["root"]);
    repo.expires("root", 7);
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(3));
}

#[test]
fn timestamp_expired() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.expires("timestamp", -5);
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 1)]);
}

#[test]
fn snapshot_expired() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.expires("snapshot", -5);
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 2)]);
}

#[test]
fn targets_expired() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.expires("targets", -5);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 1), ("timestamp", 2)]);
}

/// The newer, expired targets that nobody published count for nothing.
#[test]
fn unpublished_targets_expired() {
    let (client, mut repo) = begun();
    assert_eq!(client.refresh(), 0);
    repo.expires("targets", -5);
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 1), ("timestamp", 2)]);
}

#[test]
fn expired_local_root() {
    let (client, mut repo) = begun();
    repo.expires("root", 7);
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    repo.expires("root", 21);
    repo.publish(&["root"]);
    assert_eq!(client.refresh_in(18), 0);
    assert_eq!(client.version("root"), Some(3));
}

#[test]
fn expired_local_timestamp() {
    let (client, mut repo) = begun();
    repo.expires("timestamp", 7);
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.expires("timestamp", 21);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh_in(18), 0);
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 2), ("timestamp", 3)]);
}

/// The same for snapshot and targets.
#[test]
fn expired_local_snapshot_and_targets() {
    let (client, mut repo) = begun();
    repo.expires("targets", 7);
    repo.expires("snapshot", 7);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.expires("targets", 21);
    repo.expires("snapshot", 21);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh_in(18), 0);
    client.trusts(&[("root", 1), ("snapshot", 3), ("targets", 3), ("timestamp", 3)]);
}

/// An expired timestamp on disk still keeps an older one out.
#[test]
fn expired_local_timestamp_is_a_floor() {
    let (client, mut repo) = begun();
    repo.expires("timestamp", 7);
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    repo.unpublish("timestamp");
    repo.role("timestamp")["version"] = 1.into();
    repo.expires("timestamp", 21);
    repo.publish(&["timestamp"]);
    assert_eq!(client.refresh_in(18), 1);
    assert_eq!(client.version("timestamp"), Some(2));
}

#[test]
fn delegated_targets_expired() {
    let (client, mut repo) = begun();
    repo.delegate("targets", "delegated", json!({ "paths": ["delegatedpath/*"] }));
    repo.expires("delegated", -1);
    repo.add_artifact("delegated", b"delegated content", "delegatedpath/target");
    repo.publish(&["delegated", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.download(&["delegatedpath/target"]), 1);
    client.has_downloaded(&[]);
    client.trusts(&[("root", 1), ("snapshot", 2), ("targets", 2), ("timestamp", 2)]);
}

fn delegated_for_a_week() -> (Client, Repo) {
    let (client, mut repo) = begun();
    repo.delegate("targets", "delegated", json!({ "paths": ["delegatedpath/*"] }));
    repo.expires("delegated", 7);
    repo.add_artifact("delegated", b"first", "delegatedpath/first");
    repo.add_artifact("delegated", b"second", "delegatedpath/second");
    repo.publish(&["delegated", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["delegatedpath/first"]), 0);
    client.has_downloaded(&[b"first"]);
    (client, repo)
}

#[test]
fn expired_local_delegated_targets() {
    let (client, _repo) = delegated_for_a_week();
    assert_eq!(client.download_in(&["delegatedpath/second"], 18), 1);
    client.has_downloaded(&[b"first"]);
}

#[test]
fn expired_local_delegated_targets_updates() {
    let (client, mut repo) = delegated_for_a_week();
    repo.expires("delegated", 21);
    repo.publish(&["delegated", "snapshot", "timestamp"]);
    assert_eq!(client.download_in(&["delegatedpath/second"], 18), 0);
    client.has_downloaded(&[b"first", b"second"]);
}
