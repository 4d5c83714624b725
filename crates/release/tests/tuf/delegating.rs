//! Delegated roles: a product's own key, a channel's own key, hundreds of bins.

use std::collections::BTreeMap;

use release::tuf::{Error, Limits};
use serde_json::{Value, json};

use crate::vendor::{Client, Files, State, public, target, versions};

/// A release as somebody claims it: product and channel are what the path should say.
fn claim(product: &str, channel: &str, version: &str) -> Value {
    let mut target = target(version);
    target["custom"]["lockstep"]["product"] = product.into();
    target["custom"]["lockstep"]["channel"] = channel.into();
    target
}

/// One role of its own for some paths.
fn delegating(paths: &[&str], says: Value) -> State {
    let delegations = json!({ "keys": { "theirs": public("theirs") }, "roles": [
        { "name": "theirs", "keyids": ["theirs"], "threshold": 1, "terminating": true, "paths": paths } ] });
    State { delegations: Some(delegations), delegated: vec![("theirs", says, "theirs")], ..State::default() }
}

fn read(state: &State) -> release::tuf::Trusted {
    let mut files = Files::default();
    state.publish(&mut files);
    Client::new(state.root_bytes()).refresh(&files).unwrap()
}

#[test]
fn the_key_of_one_product_never_releases_another() {
    let state = delegating(
        &["mailer/*", "mailer/*/*"],
        json!({
            "mailer/m-1.0.0.lpk": claim("mailer", "stable", "1.0.0"),
            "mailer/beta/m-1.1.0.lpk": claim("mailer", "beta", "1.1.0"),
            // The path is theirs, what they say is not.
            "mailer/u-99.0.0.lpk": claim("updater", "stable", "99.0.0"),
            "mailer/connector/c-99.0.0.lpk": claim("connector", "stable", "99.0.0"),
            // Not even their path.
            "updater/u-99.0.1.lpk": claim("updater", "stable", "99.0.1"),
            "connector/c-7.2.0.lpk": claim("connector", "stable", "99.0.2"),
        }),
    );
    let trusted = read(&state);
    assert_eq!(versions(&trusted), ["7.2.0", "1.1.0", "1.0.0"]);
    let skipped: Vec<_> = trusted.skipped().iter().map(|s| s.target.as_str()).collect();
    assert_eq!(skipped, ["mailer/connector/c-99.0.0.lpk", "mailer/u-99.0.0.lpk"]);
    assert!(trusted.target("updater/u-99.0.1.lpk").is_none(), "nobody speaks for it");
}

#[test]
fn an_installer_is_never_a_release_and_the_key_of_one_product_offers_none_of_another() {
    let installer = |product: &str, version: &str| {
        let mut target = claim(product, "stable", version);
        target["custom"] = json!({ "lockstep-installer": target["custom"]["lockstep"] });
        target
    };
    let state = delegating(
        &["mailer/*"],
        json!({
            "mailer/m-1.0.0.lpk": claim("mailer", "stable", "1.0.0"),
            "mailer/m-1.0.0.msi": installer("mailer", "1.0.0"),
            "mailer/again.msi": installer("mailer", "1.0.0"),
            "mailer/c-99.0.0.msi": installer("connector", "99.0.0"),
        }),
    );
    let trusted = read(&state);
    assert_eq!(versions(&trusted), ["7.2.0", "1.0.0"], "what updaters install");
    let offered: Vec<_> = trusted.installers().iter().map(|e| e.target.as_str()).collect();
    assert_eq!(offered, ["mailer/again.msi"]);
    let skipped: Vec<_> = trusted.skipped().iter().map(|s| s.target.as_str()).collect();
    assert_eq!(skipped, ["mailer/c-99.0.0.msi", "mailer/m-1.0.0.msi"]);
    assert!(trusted.target("mailer/again.msi").is_some(), "mirrored like every target");
}

#[test]
fn the_key_of_one_channel_releases_in_no_other() {
    let state = delegating(
        &["connector/beta/*"],
        json!({
            "connector/beta/c-7.4.0.lpk": claim("connector", "beta", "7.4.0"),
            "connector/beta/c-7.5.0.lpk": claim("connector", "stable", "7.5.0"),
            "connector/c-7.6.0.lpk": claim("connector", "stable", "7.6.0"),
            "connector/stable/c-7.7.0.lpk": claim("connector", "stable", "7.7.0"),
        }),
    );
    assert_eq!(versions(&read(&state)), ["7.4.0", "7.2.0"]);
}

#[test]
fn a_floor_from_the_key_of_one_product_holds_for_that_product_alone() {
    let mut own = claim("mailer", "stable", "1.0.0");
    own["custom"]["lockstep"]["floor"] = "1.0.0".into();
    let mut foreign = claim("connector", "stable", "50.0.0");
    foreign["custom"]["lockstep"]["floor"] = "50.0.0".into();
    let says = json!({ "mailer/m-1.0.0.lpk": own, "mailer/c-50.0.0.lpk": foreign });
    let trusted = read(&delegating(&["mailer/*"], says));
    let floor = |product: &str| trusted.catalog().floor(&product.parse().unwrap(), "stable").map(ToString::to_string);
    assert_eq!((floor("mailer").as_deref(), floor("connector")), (Some("1.0.0"), None));
}

#[test]
fn a_floor_and_a_withdrawal_from_the_key_of_one_channel_hold_for_that_channel_alone() {
    let mut beta = claim("connector", "beta", "7.4.0");
    beta["custom"]["lockstep"]["floor"] = "7.4.0".into();
    beta["custom"]["lockstep"]["withdraws"] = json!(["7.2.0"]);
    let trusted = read(&delegating(&["connector/beta/*"], json!({ "connector/beta/c-7.4.0.lpk": beta })));
    let (product, version) = ("connector".parse().unwrap(), "7.2.0".parse().unwrap());
    let said = |channel: &str| {
        let catalog = trusted.catalog();
        (catalog.floor(&product, channel).is_some(), catalog.is_withdrawn(&product, channel, &version))
    };
    assert_eq!((said("stable"), said("beta")), ((false, false), (true, true)));
}

#[test]
fn a_delegated_role_is_refused_when_it_goes_back_or_another_key_signed_it() {
    let release = |version| json!({ "mailer/m.lpk": claim("mailer", "stable", version) });
    let first = delegating(&["mailer/*"], release("1.0.0"));
    let mut files = Files::default();
    first.publish(&mut files);
    let client = Client::new(first.root_bytes());
    client.refresh(&files).unwrap();
    let second = State { delegated: vec![("theirs", release("1.0.1"), "theirs")], ..first.next() };
    second.publish(&mut files);
    assert_eq!(versions(&client.refresh(&files).unwrap()), ["7.2.0", "1.0.1"]);

    // The online keys sign a newer state whose delegated role is the older one: also what was known is untouched.
    let mut back = State { versions: BTreeMap::from([("theirs", 1)]), ..first.next().next() };
    back.publish(&mut files);
    let error = client.refresh(&files).unwrap_err();
    assert_eq!(error.verdict(), release::tuf::Verdict::Older, "{error:?}");
    // Left out of the snapshot altogether.
    back = State { delegated: Vec::new(), ..second.next().next() };
    back.publish(&mut files);
    assert!(matches!(client.refresh(&files), Err(Error::Rejected { .. })));
    // The right version by another key.
    back = State { delegated: vec![("theirs", release("6.6.6"), "thief")], ..second.next().next().next() };
    back.publish(&mut files);
    assert!(matches!(client.refresh(&files), Err(Error::Rejected { .. })));
    assert_eq!(versions(&client.known().unwrap()), ["7.2.0", "1.0.1"]);
}

/// 256 bins by the first two digits of the path's hash, one release in each of the given ones.
fn binned(filled: &[(usize, &str)]) -> State {
    let name = |n: usize| -> &'static str { format!("bin-{n:02x}").leak() };
    let roles: Vec<_> = (0..256)
        .map(|n| {
            json!({ "name": name(n), "keyids": ["bins"], "threshold": 1, "terminating": false,
                          "path_hash_prefixes": [format!("{n:02x}")] })
        })
        .collect();
    let delegated = (0..256)
        .map(|n| {
            let found = filled.iter().filter(|(bin, _)| *bin == n);
            let targets: serde_json::Map<_, _> = found.map(|(n, v)| (in_bin(*n), target(v))).collect();
            (name(n), Value::Object(targets), "bins")
        })
        .collect();
    State {
        releases: json!({}),
        delegations: Some(json!({ "keys": { "bins": public("bins") }, "roles": roles })),
        delegated,
        versions: (0..256).map(|n| (name(n), 1)).collect(),
        ..State::default()
    }
}

/// A path whose hash begins with these two digits.
fn in_bin(bin: usize) -> String {
    use sha2::{Digest, Sha256};
    let mut paths = (0..).map(|n| format!("connector/c-{n}.lpk"));
    paths.find(|path| usize::from(Sha256::digest(path)[0]) == bin).unwrap()
}

#[test]
fn of_hundreds_of_bins_only_those_that_changed_are_fetched_again() {
    let first = binned(&[(0, "7.2.0"), (255, "7.2.1")]);
    let mut files = Files::default();
    first.publish(&mut files);
    let client = Client::new(first.root_bytes());
    assert_eq!(versions(&client.refresh(&files).unwrap()).len(), 2);
    assert_eq!(files.asked().len(), 4 + 256);
    client.refresh(&files).unwrap();
    assert_eq!(files.asked(), ["metadata/2.root.json", "metadata/timestamp.json"]);

    let mut second = State { targets: 1, ..binned(&[(0, "7.2.0"), (7, "7.3.0"), (255, "7.2.1")]).next() };
    second.versions.insert("bin-07", 2);
    second.publish(&mut files);
    let trusted = client.refresh(&files).unwrap();
    let expected = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.bin-07.json"];
    assert_eq!(files.asked(), expected.map(|n| format!("metadata/{n}")));
    let mut found = versions(&trusted);
    found.sort();
    assert_eq!(found, ["7.2.0", "7.2.1", "7.3.0"]);
    assert_eq!(client.known().unwrap().metadata(), trusted.metadata());
}

#[test]
fn a_bin_speaks_for_no_path_of_another_bin() {
    let mut state = binned(&[]);
    state.delegated[3].1 = json!({ in_bin(4): target("6.6.6"), in_bin(3): target("7.3.0") });
    assert_eq!(versions(&read(&state)), ["7.3.0"]);
}

#[test]
fn more_delegations_or_more_metadata_than_a_repository_needs_is_refused() {
    let state = binned(&[]);
    let mut files = Files::default();
    state.publish(&mut files);
    let client = Client::new(state.root_bytes());
    let few = Limits { delegations: 255, ..Limits::default() };
    let error = client.refresh_within(&files, few).unwrap_err();
    assert!(matches!(error, Error::TooMany { limit: 255, .. }), "{error:?}");
    assert_eq!(files.asked().len(), 4, "no bin is fetched");

    let small = Limits { all: 60_000, ..Limits::default() };
    let error = client.refresh_within(&files, small).unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 60_000, .. }), "{error:?}");
}

#[test]
fn roles_that_delegate_to_each_other_end() {
    let both = json!({ "keys": { "theirs": public("theirs") }, "roles": [
        { "name": "theirs", "keyids": ["theirs"], "threshold": 1, "terminating": false, "paths": ["mailer/*"] } ] });
    let mut state = delegating(&["mailer/*"], json!({ "mailer/m.lpk": claim("mailer", "stable", "1.0.0") }));
    let mut files = Files::default();
    state.delegations = Some(both.clone());
    state.publish(&mut files);
    // The role delegates to itself.
    let mut signed: Value = serde_json::from_slice(&files.files["metadata/1.theirs.json"]).unwrap();
    let mut signed = signed["signed"].take();
    signed["delegations"] = both;
    state.publish_delegated(&mut files, "theirs", &signed, "theirs");
    assert_eq!(versions(&Client::new(state.root_bytes()).refresh(&files).unwrap()), ["7.2.0", "1.0.0"]);
}
