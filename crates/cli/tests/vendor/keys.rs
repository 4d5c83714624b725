//! Keys: made, refused, replaced.

use std::fs;

use crate::bench::{Bench, PASSPHRASE, versions};

#[test]
fn keys_are_encrypted_private_and_never_overwritten() {
    let bench = Bench::bare();
    bench.ok(&["key", "init", "--offline", "offline", "--online", "online"]);
    for name in
        ["offline/root1.pem", "offline/root2.pem", "offline/root3.pem", "offline/targets.pem", "online/timestamp.pem"]
    {
        let pem = fs::read_to_string(bench.path(name)).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    let why = bench.fails(&["key", "init", "--offline", "offline", "--online", "elsewhere"]);
    assert!(why.contains("never overwritten"), "{why}");
    assert!(!bench.path("elsewhere").exists());
}

#[test]
fn a_wrong_passphrase_or_foreign_keys_sign_nothing() {
    let bench = Bench::published_encrypted();
    let before = fs::read(bench.repo().join("metadata/timestamp.json")).unwrap();
    fs::write(bench.path("wrong"), "something else\n").unwrap();
    let publish = ["publish", "--repo", "repo", "--offline", "offline", "--online", "online"];
    let why = bench.fails(&[&publish[..], &["--passphrase-file", "wrong"]].concat());
    assert!(why.contains("the passphrase does not open"), "{why}");

    fs::write(bench.path("right"), format!("{PASSPHRASE}\n")).unwrap();
    bench.ok(&["key", "init", "--offline", "foreign", "--online", "foreign-online", "--passphrase-file", "right"]);
    fs::copy(bench.path("foreign/targets.pem"), bench.path("offline/targets.pem")).unwrap();
    let why = bench.fails(&publish);
    assert!(why.contains("is not a targets key of this repository"), "{why}");
    let why = bench.fails(&["publish", "--repo", "repo", "--offline", "foreign", "--online", "foreign-online"]);
    assert!(why.contains("these are not the keys it was made with"), "{why}");
    assert_eq!(fs::read(bench.repo().join("metadata/timestamp.json")).unwrap(), before);
}

#[test]
fn the_first_root_needs_two_of_three_root_keys() {
    let bench = Bench::new();
    fs::remove_file(bench.path("offline/root1.pem")).unwrap();
    fs::rename(bench.path("offline/root2.pem"), bench.path("root2.pem")).unwrap();
    let publish = ["publish", "--repo", "repo", "--offline", "offline", "--online", "online"];
    let why = bench.fails(&publish);
    assert!(why.contains("2 root keys must sign, but only 1"), "{why}");
    assert!(!bench.repo().join("metadata").exists());
    fs::rename(bench.path("root2.pem"), bench.path("offline/root2.pem")).unwrap();
    bench.ok(&publish);
}

#[test]
fn clients_follow_the_replacement_of_every_key() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    for (n, key) in ["timestamp", "snapshot", "targets", "root1", "root2", "root3"].iter().enumerate() {
        let old = fs::read(bench.path(if n < 2 { "online" } else { "offline" }).join(format!("{key}.pem"))).unwrap();
        bench.ok(&["key", "replace", key, "--repo", "repo", "--offline", "offline", "--online", "online"]);
        let new = fs::read(bench.path(if n < 2 { "online" } else { "offline" }).join(format!("{key}.pem"))).unwrap();
        assert_ne!(old, new, "{key}");
        let state = bench.read(&client).unwrap();
        assert!(state.metadata().iter().any(|f| f.name == format!("{}.root.json", n + 2)), "{key}");
    }
    bench.add("7.3.0", &[]);
    bench.publish();
    // The one that followed, and one that starts from the very first root.
    for client in [client, bench.client("fresh")] {
        assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0", "7.3.0"]);
    }
}

#[test]
fn a_lost_root_key_is_replaced_by_its_id() {
    let bench = Bench::published();
    let root: serde_json::Value = serde_json::from_slice(&bench.root()).unwrap();
    let draft: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("offline/root-draft.json")).unwrap()).unwrap();
    let third = draft["keys"]["root"][2].as_str().unwrap();
    let keys = root["signed"]["keys"].as_object().unwrap();
    let id = keys.iter().find(|(_, key)| key["keyval"]["public"] == third).unwrap().0;
    fs::remove_file(bench.path("offline/root3.pem")).unwrap();
    let why = bench.fails(&["key", "replace", "root3", "--repo", "repo", "--offline", "offline", "--online", "online"]);
    assert!(why.contains("--old-key-id") && why.contains(id.as_str()), "{why}");
    bench.ok(&[
        "key",
        "replace",
        "root3",
        "--old-key-id",
        id,
        "--repo",
        "repo",
        "--offline",
        "offline",
        "--online",
        "online",
    ]);
    assert!(bench.path("offline/root3.pem").exists());
    bench.read(&bench.client("client")).unwrap();
}

#[test]
fn a_replacement_that_was_killed_is_finished_by_the_next_run() {
    let bench = Bench::published();
    let replace = ["key", "replace", "timestamp", "--repo", "repo", "--offline", "offline", "--online", "online"];
    bench.ok(&replace);
    // As if it had been killed when the new state was out and the files not yet renamed.
    fs::rename(bench.path("online/timestamp.pem"), bench.path("online/timestamp-new.pem")).unwrap();
    fs::rename(bench.path("online/timestamp-until-root-2.pem"), bench.path("online/timestamp.pem")).unwrap();
    let why = bench.fails(&["renew", "--repo", "repo", "--online", "online"]);
    assert!(why.contains("is not a timestamp key"), "{why}");
    bench.ok(&replace);
    bench.ok(&["renew", "--repo", "repo", "--online", "online"]);
    let state = bench.read(&bench.client("client")).unwrap();
    assert_eq!(state.metadata().iter().filter(|f| f.name.ends_with(".root.json")).count(), 2);
}
