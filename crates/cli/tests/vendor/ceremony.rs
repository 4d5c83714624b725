//! Signing in steps, on different machines.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    bench::{Bench, copy_dir, versions},
    python,
};

/// Moves a key to another machine: a directory of its own.
fn carry_away(bench: &Bench, key: &str) -> String {
    fs::create_dir_all(bench.path(&format!("machine-{key}"))).unwrap();
    let away = format!("machine-{key}/{key}.pem");
    fs::rename(bench.path(&format!("offline/{key}.pem")), bench.path(&away)).unwrap();
    away
}

fn timestamp(bench: &Bench) -> Vec<u8> {
    fs::read(bench.repo().join("metadata/timestamp.json")).unwrap()
}

fn copy(from: &Path, to: &Path) {
    copy_dir(from, to);
}

#[test]
fn root_and_targets_are_signed_on_three_machines_and_published_on_a_fourth() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    let keys = ["root1", "root2", "root3", "targets"].map(|key| carry_away(&bench, key));
    fs::rename(bench.path("offline"), bench.path("in the safe")).unwrap();
    let before = timestamp(&bench);

    bench.add("7.3.0", &[]);
    bench.line("key new spare.pem");
    bench.line("role add-key root spare.pub --repo repo");
    let said = bench.line("prepare --repo repo --keys online");
    for text in
        ["2.root.json", "counts from now on", "2.targets.json", "lists connector/connector-7.3.0", "channel stable"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    // What is being signed does not change any more.
    let why = bench.line_fails("role set root --threshold 3 --repo repo");
    assert!(why.contains("a state is prepared and being signed"), "{why}");
    let why = bench.line_fails("publish --repo repo --online online");
    assert!(
        why.contains("2.root.json: 2 root keys must sign, but none did") && why.contains("lockstep staging status"),
        "{why}"
    );

    // One after the other on the same stick, and one at the same time on a copy.
    copy(&bench.path("repo/.staging/signing"), &bench.path("stick"));
    copy(&bench.path("repo/.staging/signing"), &bench.path("mail"));
    let why = bench.line_fails(&format!("sign stick --key {}", keys[0]));
    assert!(why.contains("nobody to ask") && why.contains("--yes"), "{why}");
    let said = bench.line(&format!("sign stick --yes --key {}", keys[0]));
    assert!(said.contains("signed 2.root.json") && said.contains("2 root keys must sign, but only 1 did"), "{said}");
    bench.line(&format!("sign mail --yes --key {}", keys[3]));
    bench.line("key new stranger.pem --unencrypted");
    let why = bench.line_fails("sign stick --yes --key stranger.pem");
    assert!(why.contains("may sign none of these files"), "{why}");
    bench.line(&format!("sign stick --yes --key {}", keys[2]));
    assert!(bench.line("staging collect stick --repo repo").contains("2 new signatures taken over"));
    let status: Value = serde_json::from_str(&bench.line("staging status --repo repo --json")).unwrap();
    assert_eq!((status["complete"].as_bool(), status["missing"].as_array().unwrap().len()), (Some(false), 1));
    assert_eq!(status["missing"][0]["file"], "2.targets.json");
    assert_eq!(timestamp(&bench), before);
    let said = bench.line("staging collect mail --repo repo");
    assert!(said.contains("1 new signature taken over") && said.contains("Everything is signed"), "{said}");
    assert!(bench.line("staging collect mail --repo repo").contains("0 new signatures"));

    bench.line("publish --repo repo --online online");
    let pinned = fs::read(bench.path("online/root.json")).unwrap();
    let fresh = release::tuf::Repository::open(&bench.path("fresh"), &pinned).unwrap();
    for client in [&client, &fresh] {
        assert_eq!(versions(&bench.read(client).unwrap()), ["7.2.0", "7.3.0"]);
    }
    assert_eq!(python::follow(&bench, &["connector/connector-7.3.0-linux-x86_64.lpk"]), (2, 2));
    assert!(bench.line("staging status --repo repo").contains("Nothing waits"));
}

#[test]
fn a_first_publication_can_be_a_ceremony_too() {
    let bench = Bench::new();
    bench.add("7.2.0", &[]);
    let keys = ["root2", "root3", "targets"].map(|key| carry_away(&bench, key));
    fs::remove_file(bench.path("offline/root1.pem")).unwrap();
    bench.line("prepare --repo repo --keys offline");
    for key in &keys {
        bench.line(&format!("sign --repo repo --yes --key {key}"));
    }
    bench.line("publish --repo repo --online online --offline offline");
    assert_eq!(versions(&bench.read(&bench.client("client")).unwrap()), ["7.2.0"]);
    python::follow(&bench, &["connector/connector-7.2.0-linux-x86_64.lpk"]);
}

#[test]
fn a_copy_that_was_altered_on_the_way_is_not_collected_and_what_is_altered_here_not_published() {
    let bench = Bench::published();
    bench.add("7.3.0", &[]);
    bench.line("prepare --repo repo --keys online");
    let signing = bench.path("repo/.staging/signing");
    copy(&signing, &bench.path("stick"));
    let alter = |folder: &Path| {
        let path = folder.join("to-sign/2.targets.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("7.3.0", "6.6.6")).unwrap();
    };
    alter(&bench.path("stick"));
    let why = bench.line_fails("staging collect stick --repo repo");
    assert!(why.contains("is not a copy of what was prepared here"), "{why}");

    bench.line("sign --repo repo --yes --key offline/targets.pem");
    alter(&signing);
    let why = bench.line_fails("publish --repo repo --online online");
    assert!(why.contains("1 targets key must sign, but none did"), "{why}");
    fs::write(signing.join("to-sign/2.targets.json"), "{}").unwrap();
    assert!(bench.line_fails("publish --repo repo --online online").contains("cannot use"));
    bench.line("staging drop --repo repo");
    bench.line("publish --repo repo --offline offline --online online");
    assert_eq!(versions(&bench.read(&bench.client("client")).unwrap()), ["7.2.0", "7.3.0"]);
}

#[test]
fn what_was_prepared_for_an_older_state_is_not_published() {
    let bench = Bench::published();
    bench.add("7.3.0", &[]);
    bench.line("prepare --repo repo --keys online");
    copy(&bench.path("repo/.staging/signing"), &bench.path("kept"));
    bench.line("staging drop --repo repo");
    bench.line("publish --repo repo --offline offline --online online");
    copy(&bench.path("kept"), &bench.path("repo/.staging/signing"));
    let why = bench.line_fails("publish --repo repo --offline offline --online online");
    assert!(why.contains("what is published has changed since this was prepared"), "{why}");
}

#[test]
fn a_renewal_in_between_does_not_spoil_a_ceremony() {
    let bench = Bench::published();
    bench.add("7.3.0", &[]);
    bench.line("prepare --repo repo --keys online");
    bench.line("sign --repo repo --yes --key offline/targets.pem");
    bench.line("renew --repo repo --online online");
    assert!(bench.path("repo/.staging/signing").exists());
    bench.line("publish --repo repo --online online");
    assert_eq!(versions(&bench.read(&bench.client("client")).unwrap()), ["7.2.0", "7.3.0"]);
}
