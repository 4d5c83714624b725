//! Changes of keys, thresholds and delegations, and which role lists a release.
//!
//! ```text
//! targets ─┬─ mailer-beta   mailer/beta/*            the channel's own key
//!          ├─ mailer        mailer/*, mailer/*/*     the product's own key
//!          └─ bins-00 …     by the path's hash       everything else, where bins are on
//! ```
//! Each delegation ends the search, and the narrower one comes first: so one role alone is responsible for a path.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    authority::{delegated_roles, name},
    editor::{Edit, SPEC_VERSION, targets_of},
    key_ring::ROLES,
    keys::PublicKey,
    plan::Change,
    staging::Staging,
    state::State,
};

/// What bins are called, all of them together.
pub const BINS: &str = "bins";

/// From so many targets on, bins are worth their while.
pub const WORTH_BINS: usize = 2000;

/// Whether a role is one of the bins.
pub fn is_bin(role: &str) -> bool {
    role.strip_prefix(BINS).is_some_and(|rest| rest.starts_with('-'))
}

/// The name that people have for a role: all bins share one.
pub fn common_name(role: &str) -> &str {
    if is_bin(role) { BINS } else { role }
}

/// As many as devices take besides products and channels.
const MAX_BINS: u32 = 256;

/// The repository as it will be with the changes that wait, unverified: a hint for people, since what is signed is built anew from
/// what verifies. `None`: nothing has been published yet.
pub fn planned(repo: &Path, staging: &Staging) -> anyhow::Result<Option<Edit>> {
    let Some(state) = State::unverified(repo)? else {
        return Ok(None);
    };
    let mut edit = Edit::of(state)?;
    for change in &staging.plan()?.changes {
        apply(&mut edit, change)?;
    }
    Ok(Some(edit))
}

/// Carries one change out.
pub fn apply(edit: &mut Edit, change: &Change) -> anyhow::Result<()> {
    match change {
        Change::AddKey { role, key } => {
            let key = public(key)?;
            each(edit, role, &mut |entry, keys| {
                ensure!(!ids(entry).contains(&key.id()), "{} is a {role} key already", key.id());
                keys.insert(key.id(), key.to_json());
                list(entry)?.push(key.id().into());
                Ok(())
            })
        }
        Change::RemoveKey { role, id } => each(edit, role, &mut |entry, _| {
            let left = ids(entry).iter().filter(|known| *known != id).count();
            ensure!(left < ids(entry).len(), "{id} is not a {role} key; they are {}", ids(entry).join(", "));
            ensure!(
                left >= threshold(entry),
                "{} {role} keys must sign, and without this one there are {left}; add another first, or lower it with \
                 `lockstep role set {role} --threshold {left}`",
                threshold(entry)
            );
            list(entry)?.retain(|known| known.as_str() != Some(id));
            Ok(())
        }),
        Change::ReplaceKey { role, id, key } => {
            let key = public(key)?;
            each(edit, role, &mut |entry, keys| {
                keys.insert(key.id(), key.to_json());
                let slot = list(entry)?.iter_mut().find(|known| known.as_str() == Some(id));
                *slot.with_context(|| format!("{id} is not a {role} key of this repository"))? = key.id().into();
                Ok(())
            })
        }
        Change::Threshold { role, threshold } => each(edit, role, &mut |entry, _| {
            let there = ids(entry).len();
            ensure!(
                *threshold >= 1 && *threshold as usize <= there,
                "{threshold} of the {there} {role} keys cannot be asked for; add keys with `lockstep role add-key`"
            );
            entry["threshold"] = (*threshold).into();
            Ok(())
        }),
        Change::Renew { role } => {
            let known = ["root", "targets"].contains(&role.as_str()) || names(&edit.targets, role).next().is_some();
            ensure!(known, "there is no role {role} that offline keys sign");
            let roles: Vec<_> = names(&edit.targets, role).collect();
            roles.iter().chain([role]).for_each(|role| edit.renew(role));
            Ok(())
        }
        Change::Delegate { name, product, channel, keys, threshold } => {
            delegate(edit, name, product, channel.as_deref(), keys, *threshold)
        }
        Change::Undelegate { name } => {
            ensure!(names(&edit.targets, name).next().is_some(), "nothing is delegated to {name}");
            remove(edit, &|role| is(role, name))
        }
        Change::Bins { count, keys, threshold } => bins(edit, *count, keys, *threshold),
    }
}

fn delegate(
    edit: &mut Edit,
    role: &str,
    product: &str,
    channel: Option<&str>,
    keys: &[String],
    threshold: u32,
) -> anyhow::Result<()> {
    let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    ensure!(
        (1..=64).contains(&role.len()) && role.bytes().all(good) && !role.starts_with('-'),
        "{role:?} is not a name for a role: 1 to 64 characters of a-z, 0-9 and '-'"
    );
    ensure!(!ROLES.contains(&role) && !role.starts_with(BINS), "{role} is a name that has another meaning");
    ensure!(names(&edit.targets, role).next().is_none(), "something is delegated to {role} already");
    let paths = match channel {
        Some(channel) => json!([format!("{product}/{channel}/*")]),
        None => json!([format!("{product}/*"), format!("{product}/*/*")]),
    };
    let same = delegated_roles(&edit.targets).find(|entry| entry.get("paths") == Some(&paths)).and_then(name);
    ensure!(same.is_none(), "that is delegated to {} already", same.unwrap_or_default());
    let entry = json!({ "name": role, "paths": paths, "terminating": true });
    // A channel before its product, whose patterns cover the channel too.
    let at = if channel.is_some() { 0 } else { delegated_roles(&edit.targets).take_while(|e| is_channel(e)).count() };
    insert(edit, at, entry, keys, threshold)
}

fn is_channel(entry: &Value) -> bool {
    entry.get("paths").and_then(Value::as_array).is_some_and(|paths| paths.len() == 1)
}

fn bins(edit: &mut Edit, count: u32, keys: &[String], threshold: u32) -> anyhow::Result<()> {
    ensure!(
        count == 0 || (count.is_power_of_two() && (2..=MAX_BINS).contains(&count)),
        "{count} bins are not possible: 2, 4, 8, 16, 32, 64, 128 or 256 are, and 0 for none"
    );
    remove(edit, &|role| is(role, BINS))?;
    let digits: usize = if count <= 16 { 1 } else { 2 };
    let each = 16_u32.pow(u32::try_from(digits)?) / count.max(1);
    for bin in 0..count {
        let (first, last) = (bin * each, (bin + 1) * each - 1);
        let name = if each == 1 {
            format!("{BINS}-{first:0digits$x}")
        } else {
            format!("{BINS}-{first:0digits$x}-{last:0digits$x}")
        };
        let prefixes: Vec<_> = (first..=last).map(|prefix| format!("{prefix:0digits$x}")).collect();
        let entry = json!({ "name": name, "path_hash_prefixes": prefixes, "terminating": true });
        insert(edit, usize::MAX, entry, keys, threshold)?;
    }
    Ok(())
}

fn insert(edit: &mut Edit, at: usize, mut entry: Value, keys: &[String], threshold: u32) -> anyhow::Result<()> {
    ensure!(!keys.is_empty(), "give at least one --key");
    ensure!(
        threshold >= 1 && threshold as usize <= keys.len(),
        "--threshold {threshold} asks for more keys than the {} that are given",
        keys.len()
    );
    let keys = keys.iter().map(|key| public(key)).collect::<anyhow::Result<Vec<_>>>()?;
    entry["keyids"] = keys.iter().map(PublicKey::id).collect();
    entry["threshold"] = threshold.into();
    if edit.targets.get("delegations").is_none() {
        edit.targets["delegations"] = json!({ "keys": {}, "roles": [] });
    }
    let all = edit.targets.pointer_mut("/delegations/keys").and_then(Value::as_object_mut);
    all.context("delegations have keys")?.extend(keys.iter().map(|key| (key.id(), key.to_json())));
    let roles = edit.targets.pointer_mut("/delegations/roles").and_then(Value::as_array_mut);
    let roles = roles.context("delegations have roles")?;
    roles.insert(at.min(roles.len()), entry);
    Ok(())
}

fn remove(edit: &mut Edit, gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
    if let Some(roles) = edit.targets.pointer_mut("/delegations/roles").and_then(Value::as_array_mut) {
        roles.retain(|entry| !name(entry).is_some_and(gone));
        if roles.is_empty() {
            edit.targets.as_object_mut().context("targets are an object")?.remove("delegations");
        }
    }
    forget_unused_keys(edit);
    Ok(())
}

/// A change of a role's entry, and of the keys beside it.
type KeyChange<'a> = &'a mut dyn FnMut(&mut Value, &mut Map<String, Value>) -> anyhow::Result<()>;

/// Calls for the entry of a role, in the root or among the delegations, with the keys beside it.
fn each(edit: &mut Edit, role: &str, change: KeyChange<'_>) -> anyhow::Result<()> {
    let in_root = ROLES.contains(&role);
    let mut nothing = Value::Null;
    let place = if in_root { &mut edit.root } else { edit.targets.get_mut("delegations").unwrap_or(&mut nothing) };
    let mut keys = match place.get_mut("keys").map(Value::take) {
        Some(Value::Object(keys)) => keys,
        _ => bail!("{}", unknown(role)),
    };
    let mut entries: Vec<&mut Value> = if in_root {
        place.pointer_mut(&format!("/roles/{role}")).into_iter().collect()
    } else {
        let roles = place.get_mut("roles").and_then(Value::as_array_mut);
        roles.into_iter().flatten().filter(|entry| name(entry).is_some_and(|n| is(n, role))).collect()
    };
    let found = !entries.is_empty();
    let outcome = entries.iter_mut().try_for_each(|entry| change(entry, &mut keys));
    place["keys"] = Value::Object(keys);
    outcome?;
    ensure!(found, "{}", unknown(role));
    forget_unused_keys(edit);
    Ok(())
}

fn unknown(role: &str) -> String {
    format!(
        "there is no role {role}; the roles are root, targets, snapshot, timestamp and those of `lockstep delegation list`"
    )
}

fn forget_unused_keys(edit: &mut Edit) {
    let in_root: Vec<_> = ROLES.iter().filter_map(|role| edit.root.pointer(&format!("/roles/{role}"))).collect();
    let used: Vec<String> = in_root.into_iter().flat_map(ids).collect();
    if let Some(keys) = edit.root.get_mut("keys").and_then(Value::as_object_mut) {
        keys.retain(|id, _| used.contains(id));
    }
    let used: Vec<String> = delegated_roles(&edit.targets).flat_map(ids).collect();
    if let Some(keys) = edit.targets.pointer_mut("/delegations/keys").and_then(Value::as_object_mut) {
        keys.retain(|id, _| used.contains(id));
    }
}

/// Puts each release where the responsible role is, and sees to it that every delegated role has metadata.
pub fn settle(edit: &mut Edit) -> anyhow::Result<()> {
    let all: Vec<String> = delegated_roles(&edit.targets).filter_map(name).map(str::to_owned).collect();
    let empty = || json!({ "_type": "targets", "spec_version": SPEC_VERSION, "version": 0, "targets": {} });
    for role in &all {
        edit.delegated.entry(role.clone()).or_insert_with(empty);
    }
    let mut moving = Vec::new();
    let roles: Vec<String> = edit.delegated.keys().cloned().collect();
    for role in roles {
        let responsible = |path: &str| responsible(&edit.targets, path).is_some_and(|r| r == role);
        let there = edit.delegated.get(&role).and_then(|r| r.get("targets")).and_then(Value::as_object);
        let leaving: Vec<_> =
            there.into_iter().flat_map(Map::keys).filter(|path| !responsible(path)).cloned().collect();
        if let Some(signed) = edit.delegated.get_mut(&role) {
            let targets = targets_of(signed)?;
            moving.extend(leaving.into_iter().filter_map(|path| targets.remove(&path).map(|file| (path, file))));
        }
    }
    edit.delegated.retain(|role, _| all.contains(role));
    let top = targets_of(&mut edit.targets)?;
    moving.extend(std::mem::take(top));
    for (path, file) in moving {
        let role = responsible(&edit.targets, &path).map(str::to_owned);
        let to = role.and_then(|role| edit.delegated.get_mut(&role)).unwrap_or(&mut edit.targets);
        targets_of(to)?.insert(path, file);
    }
    Ok(())
}

/// The delegated role that is responsible for a path. `None`: the top-level targets are.
pub fn responsible<'a>(targets: &'a Value, path: &str) -> Option<&'a str> {
    let hash = hex::encode(Sha256::digest(path));
    delegated_roles(targets).find(|entry| covers(entry, path, &hash)).and_then(name)
}

fn covers(entry: &Value, path: &str, hash: &str) -> bool {
    let texts =
        |member: &str| entry.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    texts("path_hash_prefixes").any(|prefix| hash.starts_with(prefix)) || texts("paths").any(|p| matches(p, path))
}

/// `*` stands for one part of the path; the editor writes no other patterns.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(pattern, part)| *pattern == "*" || *pattern == part)
}

/// Whether a channel of a product has a role of its own, so that its releases lie in a directory of their own.
pub fn has_channel(targets: &Value, product: &str, channel: &str) -> bool {
    let paths = json!([format!("{product}/{channel}/*")]);
    delegated_roles(targets).any(|entry| entry.get("paths") == Some(&paths))
}

/// The delegated roles that a name stands for: itself, or all bins.
fn names(targets: &Value, role: &str) -> impl Iterator<Item = String> {
    delegated_roles(targets).filter_map(name).filter(move |n| is(n, role)).map(str::to_owned)
}

fn is(name: &str, role: &str) -> bool {
    name == role || (role == BINS && is_bin(name))
}

fn public(key: &str) -> anyhow::Result<PublicKey> {
    PublicKey::from_hex(key).with_context(|| format!("{key:?} is not an Ed25519 key"))
}

fn ids(entry: &Value) -> Vec<String> {
    let ids = entry.get("keyids").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list(entry: &mut Value) -> anyhow::Result<&mut Vec<Value>> {
    entry.get_mut("keyids").and_then(Value::as_array_mut).context("the role names no keys")
}

fn threshold(entry: &Value) -> usize {
    entry.get("threshold").and_then(Value::as_u64).and_then(|t| usize::try_from(t).ok()).unwrap_or(usize::MAX)
}
