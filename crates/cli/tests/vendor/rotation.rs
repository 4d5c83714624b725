//! Keys are added and removed, thresholds change, and clients follow.

use std::fs;

use crate::{
    bench::{Bench, versions},
    python,
};

const PUBLISH: &str = "publish --repo repo --offline offline --online online";

#[test]
fn keys_are_added_and_thresholds_raised_and_every_client_follows() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    python::follow(&bench, &[]);
    for (role, key) in
        [("targets", "offline/targets2.pem"), ("root", "offline/root4.pem"), ("timestamp", "online/timestamp2.pem")]
    {
        bench.ok(&["key", "new", key, "--unencrypted"]);
        bench.ok(&["role", "add-key", role, &key.replace(".pem", ".pub"), "--repo", "repo"]);
    }
    bench.line("role set targets --threshold 2 --repo repo");
    bench.line("role set root --threshold 3 --repo repo");
    let said = bench.line("role set timestamp --threshold 2 --repo repo");
    assert!(said.contains("timestamp: 2 of 2 keys must sign"), "{said}");
    let waiting = bench.line("staging status --repo repo");
    assert!(waiting.contains("root: 3 of 4 keys must sign"), "{waiting}");
    bench.line(PUBLISH);

    let root: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.repo().join("metadata/2.root.json")).unwrap()).unwrap();
    assert_eq!(root["signed"]["roles"]["root"]["threshold"], 3);
    assert_eq!(root["signatures"].as_array().unwrap().len(), 3, "two old keys would not do for the new root");
    let targets: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.repo().join("metadata/2.targets.json")).unwrap()).unwrap();
    assert_eq!(targets["signatures"].as_array().unwrap().len(), 2);
    for client in [&client, &bench.client("fresh")] {
        assert_eq!(versions(&bench.read(client).unwrap()), ["7.2.0"]);
    }
    assert_eq!(python::follow(&bench, &["connector/connector-7.2.0-linux-x86_64.lpk"]), (2, 2));
    assert!(bench.line("staging status --repo repo").contains("Nothing waits"));

    // One of the two is not enough any more.
    fs::rename(bench.path("offline/targets2.pem"), bench.path("elsewhere.pem")).unwrap();
    bench.add("7.3.0", &[]);
    let why = bench.line_fails(PUBLISH);
    assert!(why.contains("3.targets.json: 2 targets keys must sign, but only 1 did; missing: "), "{why}");
    bench.line("publish --repo repo --offline offline --online online --key elsewhere.pem");
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0", "7.3.0"]);
}

#[test]
fn a_removed_key_signs_nothing_any_more() {
    let bench = Bench::published();
    bench.line("key new offline/targets2.pem --unencrypted");
    bench.line("role add-key targets offline/targets2.pub --repo repo");
    let shown: serde_json::Value = serde_json::from_str(&bench.ok(&["inspect", "repo", "--json"])).unwrap();
    let old = shown["roles"][1]["keys"][0].as_str().unwrap().to_owned();
    bench.line(&format!("role remove-key targets {} --repo repo", &old[..12]));
    bench.line(PUBLISH);
    let client = bench.client("client");
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"], "what it had signed is signed anew");
    fs::remove_file(bench.path("offline/targets2.pem")).unwrap();
    bench.add("7.3.0", &[]);
    let why = bench.line_fails(PUBLISH);
    assert!(
        why.contains(&format!("the key {old} in offline/targets.pem is not a targets key of this repository")),
        "{why}"
    );
}

#[test]
fn what_would_lock_the_vendor_out_is_refused_before_it_is_planned() {
    let bench = Bench::published();
    let root: serde_json::Value = serde_json::from_str(&bench.ok(&["inspect", "repo", "--json"])).unwrap();
    let targets_key = root["roles"][1]["keys"][0].as_str().unwrap();
    for (line, why) in [
        ("role set root --threshold 4 --repo repo", "4 of the 3 root keys cannot be asked for"),
        ("role set root --threshold 0 --repo repo", "0 of the 3 root keys cannot be asked for"),
        (&format!("role remove-key targets {targets_key} --repo repo"), "without this one there are 0"),
        ("role remove-key targets ffffffffffff --repo repo", "no key's id begins with"),
        ("role add-key mirror 00 --repo repo", "neither a key file"),
        ("role set mirror --threshold 1 --repo repo", "there is no role mirror"),
        ("role set timestamp --days 0 --repo repo", "1..=3650"),
        ("role renew snapshot --repo repo", "there is no role snapshot that offline keys sign"),
        ("role set root --threshold 2 --repo nowhere", "there is no repository nowhere"),
    ] {
        let said = bench.line_fails(line);
        assert!(said.contains(why), "{line}: {said}");
    }
    assert!(bench.line("staging status --repo repo").contains("Nothing waits"));
    assert!(!bench.path("nowhere").exists(), "a mistyped name makes no repository");
}

#[test]
fn days_that_are_set_hold_for_every_later_signature() {
    let bench = Bench::published();
    bench.line("role set timestamp --days 3 --repo repo");
    bench.line("role set targets --days 20 --repo repo");
    bench.line(PUBLISH);
    bench.line("renew --repo repo --online online");
    let shown: serde_json::Value = serde_json::from_str(&bench.ok(&["inspect", "repo", "--json"])).unwrap();
    let days = |n: usize| {
        let expires: jiff::Timestamp = shown["roles"][n]["expires"].as_str().unwrap().parse().unwrap();
        (expires.duration_since(jiff::Timestamp::now()).as_hours() + 1) / 24
    };
    assert_eq!([days(1), days(2), days(3)], [20, 90, 3]);
}
