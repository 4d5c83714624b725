//! What somebody between the vendor and a client can do: everything but forge.

use std::fs;

use jiff::SignedDuration;
use protocol::Timestamp;
use release::tuf::{Error, Repository};
use serde_json::Value;

use crate::bench::{Bench, copy_dir, read, versions};

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// Changes a metadata file and leaves its signatures as they are.
fn alter(bench: &Bench, name: &str, change: impl FnOnce(&mut Value)) {
    let path = bench.repo().join("metadata").join(name);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

#[test]
fn metadata_that_was_altered_is_refused() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 4] = [
        ("timestamp.json", |v| v["signed"]["version"] = 9.into()),
        ("timestamp.json", |v| v["signatures"] = serde_json::json!([])),
        ("1.snapshot.json", |v| v["signed"]["expires"] = "2099-01-01T00:00:00Z".into()),
        ("1.targets.json", |v| v["signed"]["targets"] = serde_json::json!({})),
    ];
    for (name, edit) in edits {
        let bench = Bench::published();
        alter(&bench, name, edit);
        let error = bench.read(&bench.client("client")).unwrap_err();
        assert!(matches!(error, Error::Rejected { .. } | Error::TooLong { .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_repository_signed_with_other_keys_is_refused() {
    let (bench, attacker) = (Bench::published(), Bench::published());
    let client = bench.client("client");
    let error = read(&client, &attacker.repo(), Timestamp::now()).unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    // Also to a client that knows the real one, and with the attacker's higher versions.
    bench.read(&client).unwrap();
    attacker.publish();
    assert!(read(&client, &attacker.repo(), Timestamp::now()).is_err());
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);
}

#[test]
fn a_pinned_root_with_too_few_signatures_or_none_of_its_own_is_refused() {
    let bench = Bench::published();
    let mut root: Value = serde_json::from_slice(&bench.root()).unwrap();
    assert_eq!(root["signatures"].as_array().unwrap().len(), 2);
    root["signatures"].as_array_mut().unwrap().pop();
    let one = serde_json::to_vec(&root).unwrap();
    assert!(matches!(Repository::open(&bench.path("x"), &one), Err(Error::PinnedRoot(_))));
    // The same signature twice is one signature.
    let first = root["signatures"][0].clone();
    root["signatures"].as_array_mut().unwrap().push(first);
    let twice = serde_json::to_vec(&root).unwrap();
    assert!(matches!(Repository::open(&bench.path("x"), &twice), Err(Error::PinnedRoot(_))));
    assert!(matches!(Repository::open(&bench.path("x"), b"{}"), Err(Error::PinnedRoot(_))));
}

#[test]
fn an_older_state_is_refused_also_after_a_restart() {
    let bench = Bench::published();
    copy_dir(&bench.repo(), &bench.path("old"));
    bench.add("7.3.0", &[]);
    bench.publish();
    bench.read(&bench.client("client")).unwrap();
    // Opened anew: what it knows is on disk.
    let client = bench.client("client");
    let error = read(&client, &bench.path("old"), Timestamp::now()).unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert_eq!(versions(&client.known().unwrap().unwrap()), ["7.2.0", "7.3.0"]);
}

#[test]
fn an_older_snapshot_under_a_newer_timestamp_is_refused() {
    let bench = Bench::published();
    let old_snapshot = fs::read(bench.repo().join("metadata/1.snapshot.json")).unwrap();
    bench.publish();
    fs::write(bench.repo().join("metadata/2.snapshot.json"), old_snapshot).unwrap();
    let client = bench.client("client");
    assert!(matches!(bench.read(&client), Err(Error::Rejected { .. })));
    assert!(client.known().unwrap().is_none());
}

#[test]
fn expired_metadata_is_refused_by_the_time_that_is_passed_in_and_still_known() {
    let bench = Bench::published();
    let client = bench.client("client");
    let now = Timestamp::now();
    let state = read(&client, &bench.repo(), now).unwrap();
    assert!(!state.is_expired(now + days(29)) && state.is_expired(now + days(31)));
    for (later, role) in [(31, "timestamp"), (400, "root")] {
        match read(&client, &bench.repo(), now + days(later)).unwrap_err() {
            Error::Expired { role: expired, .. } => assert_eq!(expired, role),
            other => panic!("{other:?}"),
        }
    }
    let known = client.known().unwrap().unwrap();
    assert_eq!((versions(&known), known.expires()), (vec!["7.2.0".into()], state.expires()));
}

#[test]
fn a_vendor_does_not_sign_over_a_repository_that_was_altered_or_set_back() {
    let bench = Bench::published();
    copy_dir(&bench.repo(), &bench.path("old"));
    bench.add("7.3.0", &[]);
    bench.publish();
    let publish = ["publish", "--repo", "repo", "--offline", "offline", "--online", "online"];

    copy_dir(&bench.repo(), &bench.path("good"));
    let altered = |name: &str, change: fn(&mut Value)| {
        alter(&bench, name, change);
        let why = bench.fails(&publish);
        assert!(why.contains("is not as it was published, and nothing was changed"), "{name}: {why}");
        let good = bench.path("good/metadata").join(name);
        fs::copy(good, bench.repo().join("metadata").join(name)).unwrap();
    };
    // A release smuggled into the list that is signed next.
    altered("2.targets.json", |v| {
        let stolen = v["signed"]["targets"]["connector/connector-7.3.0-linux-x86_64.lpk"].clone();
        v["signed"]["targets"]["connector/connector-9.9.9-linux-x86_64.lpk"] = stolen;
    });
    altered("timestamp.json", |v| v["signed"]["version"] = 9.into());
    bench.publish();
    assert_eq!(versions(&bench.read(&bench.client("client")).unwrap()), ["7.2.0", "7.3.0"]);

    fs::remove_dir_all(bench.repo()).unwrap();
    copy_dir(&bench.path("old"), &bench.repo());
    let why = bench.fails(&publish);
    assert!(why.contains("is not as it was published, and nothing was changed"), "{why}");
    fs::remove_dir_all(bench.repo()).unwrap();
    let why = bench.fails(&publish);
    assert!(why.contains("bring it back from a copy"), "{why}");
}
