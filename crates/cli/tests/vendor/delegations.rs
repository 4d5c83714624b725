//! A product's own key, a channel's own key.

use std::fs;

use crate::{
    bench::{Bench, offers, versions},
    python,
};

const PUBLISH: &str = "publish --repo repo --offline offline --online online";
const MAILER: &str = "mailer/mailer-1.0.0-linux-x86_64.lpk";

/// A desk where a team of its own has the key of the product mailer.
fn with_mailer() -> Bench {
    let bench = Bench::published();
    fs::create_dir(bench.path("team")).unwrap();
    bench.line("key new team/mailer.pem --unencrypted");
    bench.line("delegation add mailer --product mailer --key team/mailer.pub --repo repo");
    bench.line(&format!("{PUBLISH} --key team/mailer.pem"));
    bench
}

fn listed(bench: &Bench, file: &str) -> Vec<String> {
    let file = fs::read(bench.repo().join("metadata").join(file)).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
    value["signed"]["targets"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_product_is_released_with_its_own_key_and_the_online_keys_alone() {
    let bench = with_mailer();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    fs::rename(bench.path("offline"), bench.path("in the safe")).unwrap();
    let said = bench.add_of("mailer", "1.0.0", &[]);
    assert!(said.contains("The keys of mailer sign it"), "{said}");
    let why = bench.line_fails("publish --repo repo --online online");
    assert!(why.contains("2.mailer.json: 1 mailer key must sign, but none did"), "{why}");
    bench.line("publish --repo repo --offline team --online online");
    assert_eq!(listed(&bench, "2.mailer.json"), [MAILER]);
    assert!(!bench.repo().join("metadata/3.targets.json").exists(), "the targets key was not needed");

    let pinned = fs::read(bench.path("online/root.json")).unwrap();
    let fresh = release::tuf::Repository::open(&bench.path("fresh"), &pinned).unwrap();
    for client in [&client, &fresh] {
        let state = bench.read(client).unwrap();
        assert_eq!(offers(&state, "mailer"), [("1.0.0".into(), MAILER.into())]);
        assert_eq!(offers(&state, "connector").len(), 1);
        assert!(state.skipped().is_empty());
    }
    python::follow(&bench, &[MAILER, "connector/connector-7.2.0-linux-x86_64.lpk"]);
    bench.ok(&["repo", "check", "repo"]);
}

#[test]
fn the_key_of_a_product_cannot_publish_another_product() {
    let bench = with_mailer();
    fs::rename(bench.path("offline"), bench.path("in the safe")).unwrap();
    bench.add("7.3.0", &[]);
    let why = bench.line_fails("publish --repo repo --offline team --online online");
    assert!(why.contains("3.targets.json: 1 targets key must sign, but none did"), "{why}");
    assert_eq!(listed(&bench, "2.targets.json").len(), 1);
}

#[test]
fn a_channel_has_a_directory_and_keys_of_its_own() {
    let bench = Bench::published();
    for key in ["a", "b", "c"] {
        bench.ok(&["key", "new", &format!("offline/connector-beta-{key}.pem"), "--unencrypted"]);
    }
    bench.line(
        "delegation add connector-beta --product connector --channel beta --threshold 2 --repo repo \
         --key offline/connector-beta-a.pub --key offline/connector-beta-b.pub --key offline/connector-beta-c.pub",
    );
    let said = bench.add("7.4.0", &["--channel", "beta"]);
    assert!(said.contains("Added connector/beta/connector-7.4.0-linux-x86_64.lpk"), "{said}");
    bench.line(PUBLISH);
    let client = bench.client("client");
    let state = bench.read(&client).unwrap();
    assert_eq!(versions(&state), ["7.2.0", "7.4.0"]);
    assert_eq!(listed(&bench, "1.connector-beta.json"), ["connector/beta/connector-7.4.0-linux-x86_64.lpk"]);
    python::follow(&bench, &["connector/beta/connector-7.4.0-linux-x86_64.lpk"]);
    // What was tried becomes stable: the same bytes, by the targets key.
    bench.add("7.4.0", &["--channel", "stable"]);
    bench.line(PUBLISH);
    let state = bench.read(&client).unwrap();
    let channels: Vec<_> = state.catalog().entries.iter().map(|e| e.release.channel.as_str()).collect();
    assert_eq!((versions(&state).len(), channels), (3, vec!["beta", "stable", "stable"]));
}

#[test]
fn what_a_product_has_already_moves_to_its_role_and_back() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    bench.line("key new offline/connector.pem --unencrypted");
    bench.line("delegation add connector --product connector --key offline/connector.pub --repo repo");
    let shown = bench.line("delegation list --repo repo");
    assert!(shown.contains("connector  speaks for") && shown.contains("waits for the next publication"), "{shown}");
    bench.line(PUBLISH);
    assert_eq!(listed(&bench, "2.targets.json"), Vec::<String>::new());
    assert_eq!(listed(&bench, "1.connector.json").len(), 1);
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);
    python::follow(&bench, &["connector/connector-7.2.0-linux-x86_64.lpk"]);

    bench.line("delegation remove connector --repo repo");
    bench.line(PUBLISH);
    assert_eq!(listed(&bench, "3.targets.json").len(), 1);
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);
    python::follow(&bench, &["connector/connector-7.2.0-linux-x86_64.lpk"]);
    // A role that comes back goes on where it was: clients would refuse an older version.
    bench.line("delegation add connector --product connector --key offline/connector.pub --repo repo");
    bench.line(PUBLISH);
    assert_eq!(listed(&bench, "2.connector.json").len(), 1);
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);
    python::follow(&bench, &["connector/connector-7.2.0-linux-x86_64.lpk"]);
}

#[test]
fn delegations_that_make_no_sense_are_refused() {
    let bench = with_mailer();
    for (line, why) in [
        (
            "delegation add mailer --product other --key team/mailer.pub --repo repo",
            "something is delegated to mailer already",
        ),
        (
            "delegation add again --product mailer --key team/mailer.pub --repo repo",
            "that is delegated to mailer already",
        ),
        ("delegation add targets --product x --key team/mailer.pub --repo repo", "has another meaning"),
        ("delegation add bins-00 --product x --key team/mailer.pub --repo repo", "has another meaning"),
        ("delegation add ../x --product x --key team/mailer.pub --repo repo", "is not a name for a role"),
        ("delegation add x --product ../x --key team/mailer.pub --repo repo", "--product"),
        ("delegation add x --product x --channel B! --key team/mailer.pub --repo repo", "is not a channel"),
        (
            "delegation add x --product x --key team/mailer.pub --threshold 2 --repo repo",
            "asks for more keys than the 1",
        ),
        ("delegation add x --product x --key nowhere.pub --repo repo", "nowhere.pub"),
        ("delegation remove nobody --repo repo", "nothing is delegated to nobody"),
        ("delegation bins 48 --key team/mailer.pub --repo repo", "48 bins are not possible"),
    ] {
        let said = bench.line_fails(line);
        assert!(said.contains(why), "{line}: {said}");
    }
    assert!(bench.line("staging status --repo repo").contains("Nothing waits"));
}
