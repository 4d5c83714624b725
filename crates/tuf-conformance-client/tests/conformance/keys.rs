//! The suite's `test_keys.py`.

use std::rc::Rc;

use serde_json::json;

use crate::{
    client::{begin, begun},
    signer::Signer,
};

#[test]
fn snapshot_does_not_meet_threshold() {
    let (client, mut repo) = begin();
    repo.threshold("snapshot", 3);
    for _ in 0..2 {
        repo.add_key("snapshot", Rc::new(Signer::new()));
    }
    repo.publish_all();
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.refresh(), 0);
    repo.signers.get_mut("snapshot").unwrap().pop();
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), Some(2));
}

#[test]
fn snapshot_has_too_few_keys() {
    let (client, mut repo) = begun();
    for _ in 0..4 {
        repo.add_key("snapshot", Rc::new(Signer::new()));
    }
    repo.threshold("snapshot", 6);
    repo.publish(&["root", "snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("root"), Some(2));
    assert_eq!(client.version("snapshot"), None);
}

/// One key id many times, in the role and among the signatures.
#[test]
fn duplicate_keys() {
    let (client, mut repo) = begun();
    let signer = Rc::new(Signer::new());
    for _ in 0..9 {
        repo.name_key("snapshot", &signer);
    }
    repo.add_signer("snapshot", Rc::clone(&signer));
    repo.threshold("snapshot", 6);
    repo.publish(&["root", "snapshot", "timestamp"]);
    repo.replace("snapshot", |md| {
        let signatures = md["signatures"].as_array_mut().unwrap();
        let ours = signatures.iter().find(|s| s["keyid"] == signer.id()).unwrap().clone();
        signatures.extend(std::iter::repeat_n(ours, 8));
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), None);
}

/// One key under many ids, each with a signature of its own.
#[test]
fn one_key_under_many_ids() {
    let (client, mut repo) = begun();
    repo.clear_keys("snapshot");
    let signer = Rc::new(Signer::new());
    for n in 0..3 {
        let root = repo.root();
        root["keys"][format!("id-{n}")] = signer.public.clone();
        root["roles"]["snapshot"]["keyids"].as_array_mut().unwrap().push(format!("id-{n}").into());
    }
    repo.add_signer("snapshot", Rc::clone(&signer));
    repo.threshold("snapshot", 3);
    repo.publish(&["root", "snapshot", "timestamp"]);
    repo.replace("snapshot", |md| {
        let sig = md["signatures"][0]["sig"].clone();
        md["signatures"] = (0..3).map(|n| json!({ "keyid": format!("id-{n}"), "sig": sig })).collect();
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), None);
}

#[test]
fn duplicate_sig_keyids() {
    let (client, mut repo) = begun();
    repo.replace("snapshot", |md| {
        let first = md["signatures"][0].clone();
        md["signatures"].as_array_mut().unwrap().push(first);
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("snapshot"), None);
}

cases! { keytype_and_scheme:
    keytype_rsa => "rsa",
    keytype_ecdsa => "ecdsa",
    keytype_ed25519 => "ed25519",
}

fn keytype_and_scheme(kind: &str) {
    let (client, mut repo) = begun();
    let signer = Rc::new(Signer::of(kind));
    repo.add_key("root", Rc::clone(&signer));
    repo.threshold("root", 2);
    repo.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(2));

    repo.publish(&["root"]);
    let wrong = signer.sign(&json!({ "not": "this root" }))["sig"].clone();
    repo.replace("root", |md| {
        let signatures = md["signatures"].as_array_mut().unwrap();
        let ours = signatures.iter_mut().find(|s| s["keyid"] == signer.id()).unwrap();
        ours["sig"] = wrong;
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.version("root"), Some(2));
}

#[test]
fn invalid_sig_in_valid_metadata() {
    let (client, mut repo) = begun();
    repo.add_key("timestamp", Rc::new(Signer::new()));
    let wrong = repo.signers["timestamp"][0].sign(&json!({ "not": "this timestamp" }))["sig"].clone();
    for sig in [wrong, "".into(), "not hexadecimal".into()] {
        repo.publish(&["root", "timestamp"]);
        repo.replace("timestamp", |md| md["signatures"][0]["sig"] = sig);
        assert_eq!(client.refresh(), 0);
        assert_eq!(client.version("timestamp"), Some(repo.version("timestamp")));
    }
}
