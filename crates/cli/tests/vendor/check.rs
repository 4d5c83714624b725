//! `lockstep repo check`: what expires when, and what is wrong.

use std::fs;

use release::tuf::consistent_target_path;
use serde_json::Value;

use crate::bench::Bench;

const PUBLISH: &str = "publish --repo repo --offline offline --online online";

#[test]
fn what_expires_within_the_given_time_is_a_failure_that_says_what_to_do() {
    let bench = Bench::published();
    let said = bench.line("repo check repo --root offline/root.json");
    assert!(
        said.contains("timestamp  1        1 of 1") && said.contains("Good: nothing has to be done now."),
        "{said}"
    );
    for (time, failing) in [("20 days", 0), ("31 days", 1), ("13 weeks", 2), ("200 days", 3), ("2 years", 4)] {
        let output = bench.run(&["repo", "check", "repo", "--within", time, "--json"]);
        if failing == 4 {
            assert!(!output.status.success(), "{time}: years are not of one length, so they are not taken");
            continue;
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(failing > 0)), "{time}");
        assert_eq!(report["problems"].as_array().unwrap().len(), failing, "{time}: {report}");
        assert_eq!(report["good"], failing == 0);
    }
    let output = bench.run(&["repo", "check", "repo", "--within", "13 weeks"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("PROBLEM  snapshot expires in 89 days: `lockstep renew`"), "{said}");
}

#[test]
fn what_has_expired_is_said_and_can_be_made_good() {
    let bench = Bench::published();
    bench.line("role set timestamp --days 1 --repo repo");
    bench.line("renew --repo repo --online online");
    let why = bench.line_fails("repo check repo");
    assert!(why.contains("timestamp expires in 23 hours: `lockstep renew`"), "{why}");
    bench.line("renew --repo repo --online online --timestamp-days 30");
    bench.line("repo check repo");
}

#[test]
fn a_target_that_is_missing_or_changed_is_found() {
    let bench = Bench::published();
    let state = bench.read(&bench.client("client")).unwrap();
    let entry = &state.catalog().entries[0];
    let file = bench.repo().join("targets").join(consistent_target_path(&entry.target, &entry.sha256));
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&file, &bad).unwrap();
    assert!(bench.line_fails("repo check repo").contains("its file is not what was signed"));
    fs::write(&file, &good[1..]).unwrap();
    assert!(bench.line_fails("repo check repo").contains("of the signed"));
    fs::remove_file(&file).unwrap();
    assert!(bench.line_fails("repo check repo").contains("its file is not there"));
    fs::write(&file, &good).unwrap();
    bench.line("repo check repo");
    fs::write(bench.repo().join("metadata/1.targets.json"), "{}").unwrap();
    assert!(bench.line_fails("repo check repo").contains("does not verify"));
    assert!(bench.line_fails("repo check nowhere").contains("nowhere"));
}

#[test]
fn keys_in_the_wrong_place_are_found() {
    let bench = Bench::published();
    bench.line("role add-key targets online/timestamp.pem --repo repo");
    bench.line(PUBLISH);
    let why = bench.line_fails("repo check repo");
    assert!(why.contains("is both online and offline (targets and timestamp)"), "{why}");

    let single = Bench::bare();
    single.line("key init --offline offline --online online --online-unencrypted --root-keys 1 --root-threshold 1");
    single.line(PUBLISH);
    let report: Value = serde_json::from_str(&single.line("repo check repo --json")).unwrap();
    let advice: Vec<_> = report["advice"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(
        advice[0].starts_with("one stolen root key") && advice[1].starts_with("when one root key is lost"),
        "{advice:?}"
    );
}
