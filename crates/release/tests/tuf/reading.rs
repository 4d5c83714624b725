//! What a client reads, keeps and hands on.

use serde_json::json;

use crate::vendor::{Client, Files, State, public, target, versions};

#[test]
fn what_is_known_is_not_fetched_again() {
    let (state, mut files) = (State::default(), Files::default());
    state.publish(&mut files);
    let client = Client::new(state.root_bytes());
    client.refresh(&files).unwrap();
    assert_eq!(
        files.asked(),
        ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"].map(|n| format!("metadata/{n}"))
    );
    client.refresh(&files).unwrap();
    assert_eq!(files.asked(), ["metadata/2.root.json", "metadata/timestamp.json"]);
    let next = State { releases: json!({ "connector/c-7.3.0.lpk": target("7.3.0") }), ..state.next() };
    next.publish(&mut files);
    assert_eq!(versions(&client.refresh(&files).unwrap()), ["7.3.0"]);
}

#[test]
fn the_directory_holds_one_state_and_all_roots() {
    let (mut state, mut files) = (State::default(), Files::default());
    let client = Client::new(state.root_bytes());
    for root in 1..=3 {
        state = State { root, ..state.next() };
        state.publish(&mut files);
    }
    let trusted = client.refresh(&files).unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(client.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let kept = [
        "2.root.json",
        "3.root.json",
        "4.snapshot.json",
        "4.targets.json",
        "complete-timestamp.json",
        "timestamp.json",
    ];
    assert_eq!(names, kept);
    let served: Vec<_> = trusted.metadata().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        served,
        ["1.root.json", "2.root.json", "3.root.json", "4.snapshot.json", "4.targets.json", "timestamp.json"]
    );
    for file in trusted.metadata() {
        assert_eq!(file.bytes, files.files[&format!("metadata/{}", file.name)], "{}", file.name);
    }
}

#[test]
fn targets_that_cannot_be_used_are_skipped_and_the_others_are_not() {
    let mut broken = target("7.4.0");
    broken["custom"]["lockstep"]["version"] = "seven".into();
    let mut hashless = target("7.5.0");
    hashless["hashes"] = json!({ "sha512": "00" });
    let mut upper = target("7.6.0");
    upper["hashes"]["sha256"] = upper["hashes"]["sha256"].as_str().unwrap().to_uppercase().into();
    let mut foreign = target("1.0.0");
    foreign["custom"] = json!({ "somebody": "else" });
    let state = State {
        releases: json!({
            "connector/c-7.3.0.lpk": target("7.3.0"), "connector/copy-of-7.3.0.lpk": target("7.3.0"),
            "connector/broken.lpk": broken, "../../etc/cron.d/x": target("9.9.9"), "C:x": target("9.9.8"),
            "connector/hashless.lpk": hashless, "connector/upper.lpk": upper, "other/readme.txt": foreign,
        }),
        ..State::default()
    };
    let mut files = Files::default();
    state.publish(&mut files);
    let trusted = Client::new(state.root_bytes()).refresh(&files).unwrap();
    assert_eq!(versions(&trusted), ["7.3.0"]);
    let skipped: Vec<_> = trusted.skipped().iter().map(|s| s.target.as_str()).collect();
    let expected = [
        "../../etc/cron.d/x",
        "C:x",
        "connector/broken.lpk",
        "connector/copy-of-7.3.0.lpk",
        "connector/hashless.lpk",
        "connector/upper.lpk",
    ];
    assert_eq!(skipped, expected);
    assert!(trusted.target("other/readme.txt").is_some() && trusted.target("connector/broken.lpk").is_some());
    assert!(trusted.target("../../etc/cron.d/x").is_none());
}

#[test]
fn a_delegated_role_speaks_for_its_own_paths_only() {
    let delegations = json!({
        "keys": { "beta": public("beta"), "last": public("last") },
        "roles": [
            { "name": "beta/team", "keyids": ["beta"], "threshold": 1, "terminating": true, "paths": ["connector/beta/*"] },
            { "name": "last", "keyids": ["last"], "threshold": 1, "terminating": false, "paths": ["*/*", "*/*/*"] },
        ],
    });
    let of_beta = |version| {
        let mut target = target(version);
        target["custom"]["lockstep"]["channel"] = "beta".into();
        target
    };
    let (beta, late) = (of_beta("7.4.0"), of_beta("6.6.8"));
    let state = State {
        delegations: Some(delegations),
        delegated: vec![
            (
                "beta/team",
                json!({ "connector/beta/b.lpk": beta, "connector/c-7.2.0.lpk": target("6.6.6"),
                                  "other/x.lpk": target("6.6.7") }),
                "beta",
            ),
            // After a terminating delegation nobody else speaks for connector/beta/*.
            ("last", json!({ "connector/beta/late.lpk": late, "connector/y.lpk": target("7.5.0") }), "last"),
        ],
        ..State::default()
    };
    let mut files = Files::default();
    state.publish(&mut files);
    let client = Client::new(state.root_bytes());
    let trusted = client.refresh(&files).unwrap();
    assert_eq!(versions(&trusted), ["7.4.0", "7.2.0", "7.5.0"]);
    assert!(trusted.metadata().iter().any(|f| f.name == "1.beta%2Fteam.json"));
    assert_eq!(versions(&client.known().unwrap()), versions(&trusted));
}

#[test]
fn a_delegated_role_that_does_not_verify_fails_the_refresh() {
    let delegations = json!({ "keys": { "beta": public("beta") },
        "roles": [{ "name": "beta", "keyids": ["beta"], "threshold": 1, "terminating": false, "paths": ["beta/*"] }] });
    let state = State {
        delegations: Some(delegations),
        delegated: vec![("beta", json!({}), "somebody else")],
        ..State::default()
    };
    let mut files = Files::default();
    state.publish(&mut files);
    assert!(Client::new(state.root_bytes()).refresh(&files).is_err());
}
