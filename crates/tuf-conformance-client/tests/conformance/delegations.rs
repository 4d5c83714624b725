//! The suite's `test_updater_delegation_graphs.py`.

use std::rc::Rc;

use serde_json::json;

use crate::{
    client::{Client, begun},
    simulator::Repo,
};

/// Delegator, role, whether it ends the search, and for which paths.
type Edge = (&'static str, &'static str, bool, &'static [&'static str]);

const ALL: &[&str] = &["*"];

const fn to(delegator: &'static str, role: &'static str) -> Edge {
    (delegator, role, false, ALL)
}

cases! { graph_traversal:
    basic_delegation => (&[to("targets", "A")][..], &["A"][..]),
    single_level_delegations => (&[to("targets", "A"), to("targets", "B")], &["A", "B"]),
    two_level_delegations => (&[to("targets", "A"), to("targets", "B"), to("B", "C")], &["A", "B", "C"]),
    two_level_dfs_order => (
        &[to("targets", "A"), to("targets", "B"), to("A", "C"), to("A", "D")],
        &["A", "C", "D", "B"],
    ),
    three_level_dfs_order => (
        &[to("targets", "A"), to("targets", "B"), to("A", "C"), to("C", "D")],
        &["A", "C", "D", "B"],
    ),
    two_level_terminating_ignores_all_but_roles_descendants => (
        &[to("targets", "A"), to("targets", "B"), ("A", "C", true, ALL), to("A", "D")],
        &["A", "C"],
    ),
    three_level_terminating_ignores_all_but_roles_descendants => (
        &[to("targets", "A"), to("targets", "B"), ("A", "C", true, ALL), to("C", "D")],
        &["A", "C", "D"],
    ),
    two_level_ignores_all_branches_not_matching_paths => (
        &[("targets", "A", false, &["*.py"]), to("targets", "B"), to("A", "C")],
        &["B"],
    ),
    three_level_ignores_all_branches_not_matching_paths => (
        &[to("targets", "A"), to("targets", "B"), ("A", "C", false, &["*.py"]), to("C", "D")],
        &["A", "B"],
    ),
    cyclic_graph => (
        &[to("targets", "A"), to("targets", "B"), to("B", "C"), to("C", "D"), to("D", "B")],
        &["A", "B", "C", "D"],
    ),
    two_roles_delegating_to_a_third => (
        &[to("targets", "A"), to("targets", "B"), to("B", "C"), to("A", "C")],
        &["A", "C", "B"],
    ),
    two_roles_delegating_to_a_third_different_paths => (
        &[to("targets", "A"), to("targets", "B"), to("B", "C"), ("A", "C", false, &["*.py"])],
        &["A", "B", "C"],
    ),
}

fn delegate_all(repo: &mut Repo, edges: &[Edge]) {
    let mut roles = Vec::new();
    for (delegator, role, terminating, paths) in edges {
        // The simulator gives every delegation a key of its own; where two roles delegate to a third, both sign.
        repo.delegate(delegator, role, json!({ "terminating": terminating, "paths": paths }));
        if !roles.contains(role) {
            roles.push(role);
        }
    }
    repo.publish(&roles);
    repo.publish(&["targets", "snapshot", "timestamp"]);
}

/// Which roles were asked for after the top-level ones.
fn visited(repo: &Repo) -> Vec<(String, Option<u64>)> {
    repo.asked().split_off(4)
}

fn first_versions(roles: &[&str]) -> Vec<(String, Option<u64>)> {
    roles.iter().map(|role| ((*role).to_owned(), Some(1))).collect()
}

fn graph_traversal((edges, order): (&[Edge], &[&str])) {
    let (client, mut repo) = begun();
    delegate_all(&mut repo, edges);
    assert_eq!(client.download(&["missingpath"]), 1);
    assert_eq!(visited(&repo), first_versions(order));
    // Nothing of it is asked for again.
    assert_eq!(client.download(&["missingpath"]), 1);
    assert_eq!(repo.asked()[4 + order.len()..], [("root".to_owned(), Some(2)), ("timestamp".to_owned(), None)]);
}

fn tree() -> (Client, Repo) {
    let (client, mut repo) = begun();
    for (role, delegator, paths) in [
        ("A", "targets", &["*.doc", "*.md"][..]),
        ("B", "targets", &["releases/*/*"]),
        ("C", "B", &["releases/x/*"]),
        ("D", "B", &["releases/y/*.zip"]),
    ] {
        repo.delegate(delegator, role, json!({ "paths": paths }));
    }
    repo.add_artifact("targets", b"targetfile content", "targetfile");
    repo.add_artifact("A", b"README by A", "README.md");
    repo.add_artifact("C", b"x release by C", "releases/x/x_v1");
    repo.add_artifact("D", b"y release by D", "releases/y/y_v1.zip");
    repo.add_artifact("D", b"z release by D", "releases/z/z_v1.zip");
    repo.publish(&["A", "B", "C", "D", "targets", "snapshot", "timestamp"]);
    (client, repo)
}

cases! { targetfile_search:
    no_delegations => ("targetfile", true, &[][..]),
    targetpath_matches_wildcard => ("README.md", true, &["A"]),
    targetpath_with_separators_x => ("releases/x/x_v1", true, &["B", "C"]),
    targetpath_with_separators_y => ("releases/y/y_v1.zip", true, &["B", "D"]),
    targetpath_is_not_delegated_by_all_roles_in_the_chain => ("releases/z/z_v1.zip", false, &["B"]),
}

fn targetfile_search((path, found, order): (&str, bool, &[&str])) {
    let (client, repo) = tree();
    assert_eq!(client.download(&[path]), i32::from(!found));
    if found {
        client.has_downloaded(&[&repo.published.lock().unwrap().artifacts[path].0]);
    } else {
        client.has_downloaded(&[]);
    }
    assert_eq!(visited(&repo), first_versions(order));
}

/// Bins by the hash of the path.
#[test]
fn hash_bins() {
    let (client, mut repo) = begun();
    for digit in 0..16 {
        let bin = format!("bin-{digit:x}");
        repo.delegate("targets", &bin, json!({ "path_hash_prefixes": [format!("{digit:x}")] }));
        repo.publish(&[&bin]);
    }
    // SHA-256 of "file1.txt" begins with 5.
    repo.add_artifact("bin-5", b"content", "file1.txt");
    repo.publish(&["bin-5", "targets", "snapshot", "timestamp"]);
    let found = client.download(&["file1.txt"]);
    let asked = visited(&repo);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((found, asked[0].0.as_str()), (0, "bin-5"), "{asked:?}");
}

/// A role that its delegator's keys did not sign ends the search: nobody may speak in its stead.
#[test]
fn a_role_that_somebody_else_signed() {
    let (client, mut repo) = begun();
    repo.delegate("targets", "A", json!({ "paths": ["*"] }));
    repo.delegate("targets", "B", json!({ "paths": ["*"] }));
    repo.add_artifact("B", b"content", "target");
    let stranger = Rc::clone(&repo.signers["B"][0]);
    repo.signers.insert("A".into(), vec![stranger]);
    repo.publish(&["A", "B", "targets", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["target"]), 1);
    client.has_downloaded(&[]);
    assert_eq!(client.version("A"), None);
}

/// A threshold of a delegation counts keys, not their ids.
#[test]
fn one_key_twice_in_a_delegation() {
    let (client, mut repo) = begun();
    let signer = repo.delegate("targets", "A", json!({ "paths": ["*"], "threshold": 2 }));
    let delegations = &mut repo.role("targets")["delegations"];
    delegations["keys"]["another-id"] = signer.public.clone();
    delegations["roles"][0]["keyids"].as_array_mut().unwrap().push("another-id".into());
    repo.add_artifact("A", b"content", "target");
    repo.publish(&["A", "targets", "snapshot", "timestamp"]);
    repo.replace("A", |md| {
        let mut again = md["signatures"][0].clone();
        again["keyid"] = "another-id".into();
        md["signatures"].as_array_mut().unwrap().push(again);
    });
    assert_eq!(client.download(&["target"]), 1);
    client.has_downloaded(&[]);
}

/// A delegated role may not take the name of one of the repository's own.
#[test]
fn a_role_called_root() {
    let (client, mut repo) = begun();
    let before = client.bytes("root");
    let targets = repo.role("targets");
    targets["delegations"] = json!({ "keys": {}, "roles": [
        { "name": "root", "keyids": [], "threshold": 1, "terminating": false, "paths": ["*"] },
    ] });
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["target"]), 1);
    assert_eq!(client.bytes("root"), before);
}
