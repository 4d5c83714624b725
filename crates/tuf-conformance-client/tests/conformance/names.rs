//! The suite's `test_quoting_issues.py`.

use serde_json::json;

use crate::client::begin;

cases! { unusual_role_name:
    role_question_mark => ("?", "%3F"),
    role_number_sign => ("#", "%23"),
    role_with_a_slash => ("/delegatedrole", "%2Fdelegatedrole"),
    role_that_climbs => ("../delegatedrole", "..%2Fdelegatedrole"),
    role_with_a_percent_sign => ("%2e%2e", "%252e%252e"),
    role_beyond_ascii => ("ünïcode", "%C3%BCn%C3%AFcode"),
}

fn unusual_role_name((role, quoted): (&str, &str)) {
    let (client, mut repo) = begin();
    repo.delegate("targets", role, json!({ "paths": ["*"] }));
    repo.publish(&[role, "targets", "snapshot", "timestamp"]);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.download(&["nonexistent target"]), 1);
    assert!(repo.asked().contains(&(quoted.to_owned(), Some(1))), "{:?}", repo.asked());
    let mut expected = vec![(quoted, 1), ("root", 1), ("snapshot", 2), ("targets", 2), ("timestamp", 2)];
    expected.sort_unstable();
    client.trusts(&expected);
}

/// A target's name never becomes a path outside the directory.
#[test]
fn a_target_that_climbs() {
    let (client, mut repo) = begin();
    repo.add_artifact("targets", b"content", "../climbed");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.download(&["../climbed"]), 1);
    client.has_downloaded(&[]);
    assert!(!client.targets.with_file_name("climbed").exists());
}
