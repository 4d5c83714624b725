//! What a client refuses, and what it still knows afterwards.

use std::fs;

use release::tuf::{Error, Limits, Repository};
use serde_json::json;

use crate::vendor::{Client, Files, State, public, sign, target, versions};

/// A repository with two states, the first of which a client has read.
fn informed() -> (State, Files, Client) {
    let (state, mut files) = (State::default(), Files::default());
    state.publish(&mut files);
    let client = Client::new(state.root_bytes());
    client.refresh(&files).unwrap();
    (state, files, client)
}

#[track_caller]
fn refused(result: Result<release::tuf::Trusted, Error>) {
    match result {
        Err(Error::Rejected { .. }) => {}
        Err(other) => panic!("failed for another reason: {other:?}"),
        Ok(state) => panic!("accepted {:?}", versions(&state)),
    }
}

#[test]
fn each_role_is_refused_when_another_key_signed_it() {
    for role in ["timestamp", "snapshot", "targets"] {
        let (state, mut files) = (State::default(), Files::default());
        let mut forged = state.clone();
        forged.keys[["root", "timestamp", "snapshot", "targets"].iter().position(|r| *r == role).unwrap()] = "thief";
        forged.publish(&mut files);
        files.put("1.root.json", state.root_bytes());
        refused(Client::new(state.root_bytes()).refresh(&files));
    }
}

#[test]
fn a_root_must_be_signed_by_the_one_before_and_by_itself_and_be_the_next() {
    let (state, files, client) = informed();
    let mut next = State { root: 2, ..state.clone() };
    next.keys[0] = "thief";
    let signed = next.root_signed();
    for keys in [&["thief"][..], &["root"], &["root", "root"]] {
        let mut files = Files { files: files.files.clone(), ..Files::default() };
        files.put("2.root.json", sign(&signed, keys));
        refused(client.refresh(&files));
    }
    let mut files = Files { files: files.files.clone(), ..Files::default() };
    files.put("2.root.json", State { root: 3, ..state.clone() }.root_bytes());
    refused(client.refresh(&files));
    assert_eq!(versions(&client.known().unwrap()), ["7.2.0"]);
}

#[test]
fn one_key_under_two_names_is_one_key() {
    let state = State::default();
    let mut root = state.root_signed();
    root["keys"]["alias"] = public("root");
    root["roles"]["root"] = json!({ "keyids": ["root", "alias"], "threshold": 2 });
    let mut bytes: serde_json::Value = serde_json::from_slice(&sign(&root, &["root"])).unwrap();
    let mut twin = bytes["signatures"][0].clone();
    twin["keyid"] = "alias".into();
    bytes["signatures"].as_array_mut().unwrap().push(twin);
    let dir = tempfile::tempdir().unwrap();
    let opened = Repository::open(dir.path(), &serde_json::to_vec(&bytes).unwrap());
    assert!(matches!(opened, Err(Error::PinnedRoot(_))));
}

#[test]
fn no_role_goes_back() {
    let (state, _, client) = informed();
    let next = state.next();
    let mut files = Files::default();
    next.publish(&mut files);
    client.refresh(&files).unwrap();
    for older in [
        State { timestamp: 1, ..next.clone() },
        State { timestamp: 3, snapshot: 1, ..next.clone() },
        State { timestamp: 3, snapshot: 3, targets: 1, ..next.clone() },
    ] {
        let mut files = Files::default();
        older.publish(&mut files);
        refused(client.refresh(&files));
    }
}

#[test]
fn a_refresh_that_broke_off_raised_the_floor_and_keeps_the_last_whole_state() {
    let (state, mut files, client) = informed();
    let next = State { targets: 2, ..state.next() };
    next.publish(&mut files);
    let targets = files.files.remove("metadata/2.targets.json").unwrap();
    assert!(matches!(client.refresh(&files), Err(Error::Missing { .. })));
    assert_eq!(versions(&client.known().unwrap()), ["7.2.0"]);
    // The new timestamp and the new snapshot were verified: neither the old state nor an older list is taken any more.
    let mut old = Files::default();
    state.publish(&mut old);
    refused(client.refresh(&old));
    let mut mixed = Files::default();
    State { timestamp: 3, snapshot: 3, targets: 1, ..state.clone() }.publish(&mut mixed);
    refused(client.refresh(&mixed));
    // The vendor goes on.
    let mut files = Files::default();
    State { timestamp: 4, snapshot: 4, ..next }.publish(&mut files);
    assert_eq!(files.files["metadata/2.targets.json"], targets);
    assert_eq!(client.refresh(&files).unwrap().version(), 4);
}

#[test]
fn a_snapshot_that_never_came_does_not_lower_the_floor_of_the_one_before() {
    let (state, _, client) = informed();
    let mut files = Files::default();
    let next = State { targets: 5, ..state.next() };
    next.publish(&mut files);
    client.refresh(&files).unwrap();
    // A thief of the online keys: first a timestamp whose snapshot is never served, then, after a restart, an older list.
    let mut files = Files::default();
    State { timestamp: 3, snapshot: 3, targets: 5, ..state.clone() }.publish(&mut files);
    files.files.remove("metadata/3.snapshot.json");
    assert!(matches!(client.refresh(&files), Err(Error::Missing { .. })));
    let mut files = Files::default();
    State { timestamp: 4, snapshot: 4, targets: 1, ..state.clone() }.publish(&mut files);
    refused(client.refresh(&files));
}

#[test]
fn new_online_keys_recover_from_versions_raised_to_the_sky() {
    for stolen in [1, 2] {
        let (state, _, client) = informed();
        let mut files = Files::default();
        let sky = State { timestamp: 1_000_000, snapshot: 1_000_000, ..state.clone() };
        sky.publish(&mut files);
        client.refresh(&files).unwrap();
        let mut back = State { root: 2, releases: json!({ "connector/c-7.3.0.lpk": target("7.3.0") }), ..state.next() };
        back.keys[stolen] = "fresh";
        let mut files = Files::default();
        back.publish(&mut files);
        assert_eq!(versions(&client.refresh(&files).unwrap()), ["7.3.0"], "key {stolen}");
    }
}

#[test]
fn a_new_root_with_the_same_online_keys_keeps_the_floor() {
    let (state, _, client) = informed();
    let mut files = Files::default();
    State { timestamp: 7, ..state.clone() }.publish(&mut files);
    client.refresh(&files).unwrap();
    let mut files = Files::default();
    State { root: 2, timestamp: 6, ..state.clone() }.publish(&mut files);
    refused(client.refresh(&files));
}

#[test]
fn a_directory_that_was_altered_counts_as_empty_and_is_made_good() {
    let (state, files, client) = informed();
    for name in ["timestamp.json", "complete-timestamp.json", "1.snapshot.json", "1.targets.json"] {
        for bad in [&b""[..], b"{}", b"\xff\xff", &[b'['; 100_000]] {
            fs::write(client.dir.path().join(name), bad).unwrap();
            if name != "timestamp.json" {
                assert!(client.known().is_none(), "{name}");
            }
            assert_eq!(versions(&client.refresh(&files).unwrap()), ["7.2.0"]);
            assert_eq!(versions(&client.known().unwrap()), ["7.2.0"]);
        }
    }
    fs::write(client.dir.path().join("2.root.json"), State { root: 2, ..state }.root_bytes()).unwrap();
    client.refresh(&files).unwrap();
}

#[test]
fn every_fetch_has_a_limit_and_more_is_refused() {
    let (state, mut files) = (State::default(), Files::default());
    state.publish(&mut files);
    let limits = Limits::default();
    let lengths = |files: &Files, name: &str| files.files[&format!("metadata/{name}")].len() as u64;
    let expected = [
        ("2.root.json", limits.root),
        ("timestamp.json", limits.timestamp),
        ("1.snapshot.json", lengths(&files, "1.snapshot.json")),
        ("1.targets.json", lengths(&files, "1.targets.json")),
    ];
    Client::new(state.root_bytes()).refresh(&files).unwrap();
    let asked = std::mem::take(&mut *files.asked.lock().unwrap());
    assert_eq!(asked, expected.map(|(name, limit)| (format!("metadata/{name}"), limit)));

    for (name, limit) in expected {
        let mut endless = Files { files: files.files.clone(), ..Files::default() };
        endless.put(name, vec![b' '; usize::try_from(limit).unwrap() + 1]);
        let error = Client::new(state.root_bytes()).refresh(&endless).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_signed_length_above_the_limit_is_not_even_fetched() {
    let (state, mut files) = (State::default(), Files::default());
    state.publish(&mut files);
    let client = Client::new(state.root_bytes());
    let error = client.refresh_within(&files, Limits { targets: 10, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert!(!files.asked().contains(&"metadata/1.targets.json".to_owned()));
}

#[test]
fn an_endless_chain_of_roots_is_cut_short() {
    let (state, mut files, client) = informed();
    for root in 2..=6 {
        files.put(&format!("{root}.root.json"), State { root, ..state.clone() }.root_bytes());
    }
    let limits = Limits { root_rotations: 3, ..Limits::default() };
    let error = client.refresh_within(&files, limits).unwrap_err();
    assert!(matches!(error, Error::TooMany { limit: 3, .. }), "{error:?}");
    // What was verified is kept, so the next time goes on from there.
    client.refresh_within(&files, limits).unwrap();
}

#[test]
fn metadata_of_another_type_or_a_later_specification_is_refused() {
    let (state, mut files, client) = informed();
    let timestamp = files.files["metadata/timestamp.json"].clone();
    files.put("timestamp.json", files.files["metadata/1.snapshot.json"].clone());
    refused(client.refresh(&files));
    let mut signed = serde_json::from_slice::<serde_json::Value>(&timestamp).unwrap()["signed"].take();
    signed["version"] = 2.into();
    signed["spec_version"] = "2.0.0".into();
    files.put_role(&signed, &["timestamp"]);
    refused(client.refresh(&files));
    assert_eq!(state.timestamp, 1);
}

#[test]
fn expired_metadata_says_which_role_and_when() {
    let (state, files, client) = informed();
    let mut files = Files { files: files.files, ..Files::default() };
    let mut signed: serde_json::Value = serde_json::from_slice(&files.files["metadata/timestamp.json"]).unwrap();
    let mut signed = signed["signed"].take();
    signed["version"] = 2.into();
    signed["expires"] = "2026-05-04T10:59:59Z".into();
    files.put_role(&signed, &["timestamp"]);
    let error = client.refresh(&files).unwrap_err();
    assert_eq!(error.to_string(), "the repository's timestamp metadata expired on 2026-05-04T10:59:59Z");
    assert!(error.expired().is_some());
    assert_eq!((state.timestamp, client.known().unwrap().version()), (1, 1));
}
