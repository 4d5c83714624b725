//! What changes from one version of a role to the next, in words: whoever signs must see what it is.

use std::collections::BTreeSet;

use protocol::catalog::Release;
use release::tuf::{INSTALLER, RELEASE};
use serde_json::{Map, Value};

use super::{
    authority::{delegated_roles, name},
    delegations::is_bin,
    key_ring::ROLES,
};
use crate::terminal::{count, plain};

/// So many releases are listed one by one.
const LISTED: usize = 50;

/// The changes, and until when it is good. Text from the metadata is made harmless.
pub fn changes(before: Option<&Value>, now: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for role in ROLES {
        let entry = |signed: Option<&Value>| signed.and_then(|s| s.pointer(&format!("/roles/{role}")).cloned());
        if let Some(entry_now) = entry(Some(now)) {
            keys(role, entry(before).as_ref(), &entry_now, &mut lines);
        }
    }
    delegations(before, now, &mut lines);
    releases(before, now, &mut lines);
    if lines.is_empty() {
        lines.push("nothing but a new signature".into());
    }
    if let Some(expires) = now.get("expires").and_then(Value::as_str) {
        lines.push(format!("good until {}", plain(expires)));
    }
    lines
}

fn keys(role: &str, before: Option<&Value>, now: &Value, lines: &mut Vec<String>) {
    let ids = |entry: Option<&Value>| -> BTreeSet<String> {
        let ids = entry.and_then(|e| e.get("keyids")).and_then(Value::as_array);
        ids.into_iter().flatten().filter_map(Value::as_str).map(plain).collect()
    };
    let (old, new) = (ids(before), ids(Some(now)));
    lines.extend(new.difference(&old).map(|id| format!("{role}: the key {id} counts from now on")));
    lines.extend(old.difference(&new).map(|id| format!("{role}: the key {id} counts no more")));
    let threshold = |entry: Option<&Value>| entry.and_then(|e| e.get("threshold")).and_then(Value::as_u64);
    if let Some(must) = threshold(Some(now)).filter(|now| threshold(before) != Some(*now)) {
        lines.push(format!("{role}: {must} of {} must sign", count(new.len(), "key")));
    }
}

fn delegations(before: Option<&Value>, now: &Value, lines: &mut Vec<String>) {
    let entries = |signed: Option<&Value>| -> Map<String, Value> {
        let roles = signed.into_iter().flat_map(delegated_roles);
        roles.filter_map(|entry| Some((name(entry)?.to_owned(), entry.clone()))).collect()
    };
    let (old, new) = (entries(before), entries(Some(now)));
    let bins = |roles: &Map<String, Value>| roles.keys().filter(|role| is_bin(role)).count();
    if bins(&old) != bins(&new) {
        lines.push(format!("releases are spread over {}, instead of {}", count(bins(&new), "bin"), bins(&old)));
    }
    for (role, entry) in &new {
        if is_bin(role) && !role.ends_with("-00") && !role.ends_with("-0") {
            continue;
        }
        if !old.contains_key(role) && !is_bin(role) {
            let paths = entry.get("paths").map(|paths| plain(&paths.to_string())).unwrap_or_default();
            lines.push(format!("{}: speaks for {paths} from now on", plain(role)));
        }
        keys(&plain(role), old.get(role), entry, lines);
    }
    let gone = old.keys().filter(|role| !new.contains_key(*role) && !is_bin(role));
    lines.extend(gone.map(|role| format!("{}: speaks for nothing any more", plain(role))));
}

fn releases(before: Option<&Value>, now: &Value, lines: &mut Vec<String>) {
    let targets = |signed: Option<&Value>| -> Map<String, Value> {
        signed.and_then(|s| s.get("targets")).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (old, new) = (targets(before), targets(Some(now)));
    let mut changed = Vec::new();
    for (path, file) in new.iter().filter(|(path, file)| old.get(*path) != Some(file)) {
        let verb = if old.contains_key(path) { "says otherwise of" } else { "lists" };
        changed.push(format!("{verb} {}{}", plain(path), facts(file)));
    }
    changed.extend(old.keys().filter(|path| !new.contains_key(*path)).map(|p| format!("lists {} no more", plain(p))));
    let more = changed.len().saturating_sub(LISTED);
    lines.extend(changed.into_iter().take(LISTED));
    if more > 0 {
        lines.push(format!("and {} more like these", more));
    }
}

fn facts(file: &Value) -> String {
    let member = |kind| file.get("custom")?.get(kind).cloned().and_then(|r| serde_json::from_value::<Release>(r).ok());
    let (what, release) = match (member(RELEASE), member(INSTALLER)) {
        (Some(release), _) => ("", release),
        (None, Some(release)) => ("the installer of ", release),
        (None, None) => return " (not a release)".into(),
    };
    let sha256 = file.pointer("/hashes/sha256").and_then(Value::as_str).unwrap_or_default();
    let mut text = format!(
        ": {what}{} {} for {}, channel {}, servers {}, SHA-256 {}",
        release.product,
        release.version,
        release.platform,
        plain(&release.channel),
        release.server,
        plain(sha256)
    );
    text.push_str(&limits(&release));
    text
}

/// What a release says of other versions and of what it needs, each part after a comma.
pub fn limits(release: &Release) -> String {
    let mut text = String::new();
    let versions =
        [("floor", &release.floor), ("not from before", &release.upgrades_from), ("needs updater", &release.updater)];
    for (what, version) in versions {
        if let Some(version) = version {
            text.push_str(&format!(", {what} {version}"));
        }
    }
    if let Some(from) = &release.downgrade_from {
        text.push_str(&format!(", replaces {from} too"));
    }
    if !release.withdraws.is_empty() {
        let versions: Vec<String> = release.withdraws.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", withdraws {}", versions.join(" and ")));
    }
    if let Some(store) = &release.store {
        text.push_str(&format!(", store {} to {}", store.reads_from, store.writes));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_signs_sees_keys_thresholds_and_releases() {
        let before = json!({ "roles": { "root": { "keyids": ["a", "b"], "threshold": 1 } } });
        let now =
            json!({ "roles": { "root": { "keyids": ["b", "c"], "threshold": 2 } }, "expires": "2027-01-01T00:00:00Z" });
        let expected = [
            "root: the key c counts from now on",
            "root: the key a counts no more",
            "root: 2 of 2 keys must sign",
            "good until 2027-01-01T00:00:00Z",
        ];
        assert_eq!(changes(Some(&before), &now), expected);
        let said = changes(None, &json!({ "targets": { "a/\u{1b}[2J": { "length": 1 } } }));
        assert_eq!(said, ["lists a/\\u{1b}[2J (not a release)"]);
    }

    #[test]
    fn whoever_signs_a_release_sees_everything_that_it_does_to_others() {
        let release = json!({
            "product": "connector", "version": "7.3.1", "channel": "stable", "os": "linux", "arch": "x86_64", "server": ">=7.3, <7.4",
            "floor": "7.2.0", "upgrades_from": "7.1.0", "updater": "0.2.0", "downgrade_from": ">=7.4", "withdraws": ["7.3.0", "7.2.9"],
            "store": { "reads_from": 2, "writes": 3 },
        });
        let said = changes(None, &json!({ "targets": { "c": { "custom": { "lockstep": release } } } }));
        let limits = ", floor 7.2.0, not from before 7.1.0, needs updater 0.2.0, replaces >=7.4 too, withdraws 7.3.0 and 7.2.9, store 2 to 3";
        assert!(said[0].ends_with(limits), "{said:?}");
    }
}
