//! What the suite lacks: endless data, slow retrieval, and limits.

use std::{fs, time::Instant};

use serde_json::json;

use crate::{
    client::{PATIENCE, begun},
    server::Manner,
};

cases! { a_hostile_file_ends_the_refresh:
    endless_root => ("2.root.json", Manner::Endless),
    endless_timestamp => ("timestamp.json", Manner::Endless),
    endless_snapshot => ("1.snapshot.json", Manner::Endless),
    endless_targets => ("1.targets.json", Manner::Endless),
    endless_chunks_of_a_timestamp => ("timestamp.json", Manner::EndlessChunks),
    endless_chunks_of_targets => ("1.targets.json", Manner::EndlessChunks),
    slow_root => ("2.root.json", Manner::Slow),
    slow_timestamp => ("timestamp.json", Manner::Slow),
    slow_snapshot => ("1.snapshot.json", Manner::Slow),
    stalling_targets => ("1.targets.json", Manner::Stalling),
    redirected_timestamp => ("timestamp.json", Manner::Redirect),
}

/// It is given up at the limit or at the deadline, and nothing of it is kept.
fn a_hostile_file_ends_the_refresh((file, manner): (&str, Manner)) {
    let (mut client, repo) = begun();
    client.deadline = Some(3);
    client.server.hostile(file, manner);
    let start = Instant::now();
    assert_eq!(client.refresh(), 1);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    let role = file.trim_end_matches(".json").rsplit('.').next().unwrap();
    if role == "root" {
        assert_eq!(client.bytes("root"), Some(repo.nth("root", 1)));
    } else {
        assert_eq!(client.bytes(role), None);
    }
    let kept: u64 = fs::read_dir(&client.metadata).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(kept < 1024 * 1024, "{kept} bytes");
}

cases! { a_hostile_target_is_given_up:
    endless_target => Manner::Endless,
    endless_chunks_of_a_target => Manner::EndlessChunks,
    slow_target => Manner::Slow,
    stalling_target => Manner::Stalling,
    redirected_target => Manner::Redirect,
}

fn a_hostile_target_is_given_up(manner: Manner) {
    let (mut client, mut repo) = begun();
    repo.add_artifact("targets", &[b' '; 10_000], "target");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    client.deadline = Some(3);
    client.server.hostile(".target", manner);
    let start = Instant::now();
    assert_eq!(client.download(&["target"]), 1);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    client.has_downloaded(&[]);
}

/// One byte more than the length that the snapshot names.
#[test]
fn one_byte_more_than_pinned() {
    let (client, mut repo) = begun();
    repo.pin_hashes = true;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    repo.published.lock().unwrap().metadata.get_mut("targets").unwrap().last_mut().unwrap().push(b' ');
    assert_eq!(client.refresh(), 1);
    client.trusts(&[("root", 1), ("snapshot", 2), ("timestamp", 2)]);
}

/// A length beyond the limit is refused before a byte is asked for.
#[test]
fn a_pinned_length_beyond_the_limit() {
    let (client, mut repo) = begun();
    repo.role("snapshot")["meta"]["targets.json"]["length"] = (u64::MAX / 2).into();
    repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(client.refresh(), 1);
    assert_eq!(repo.last_asked(), ("snapshot".into(), Some(2)));
}

/// Each root is followed, up to as many as one refresh takes.
#[test]
fn many_roots_are_followed() {
    let (client, mut repo) = begun();
    for _ in 0..100 {
        repo.publish(&["root"]);
    }
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(101));
}

/// A chain of delegations that never ends does end.
#[test]
fn a_long_chain_of_delegations() {
    let (client, mut repo) = begun();
    let names: Vec<String> = (0..40).map(|n| format!("role-{n}")).collect();
    let mut delegator = "targets".to_owned();
    for name in &names {
        repo.delegate(&delegator, name, json!({ "paths": ["*"] }));
        delegator.clone_from(name);
    }
    repo.add_artifact(&delegator, b"content", "target");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    repo.publish(&all);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.download(&["target"]), 0);
    client.has_downloaded(&[b"content"]);
}

/// Garbage on the disk counts as absent; the root alone must be whole.
#[test]
fn a_damaged_directory() {
    let (client, repo) = begun();
    assert_eq!(client.refresh(), 0);
    for file in ["timestamp.json", "snapshot.json", "targets.json", "complete-timestamp"] {
        fs::write(client.metadata.join(file), b"{\"half").unwrap();
    }
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.bytes("targets"), Some(repo.newest("targets")));
    fs::write(client.metadata.join("root.json"), b"{\"half").unwrap();
    assert_eq!(client.refresh(), 1);
}

/// Wrong usage is an error like any other: the suite knows 0 and 1.
#[test]
fn wrong_usage_exits_with_1() {
    let program = env!("CARGO_BIN_EXE_tuf-conformance-client");
    for arguments in [&[][..], &["--nonsense"], &["--metadata-dir", "/nonexistent", "refresh"]] {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}
