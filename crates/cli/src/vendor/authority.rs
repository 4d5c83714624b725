//! Who says whose keys count for a role.

use anyhow::Context;
use serde_json::Value;

use super::envelope::{Authority, version};

/// What a root says about one of the four roles.
pub fn authorities(root: &Value, role: &str, by: &str) -> anyhow::Result<Authority> {
    let entry = root.pointer(&format!("/roles/{role}")).with_context(|| format!("the root names no {role} keys"))?;
    Ok(Authority::read(format!("{by} {}", version(root)?), entry, root.get("keys").unwrap_or(&Value::Null)))
}

/// What the top-level targets say about a delegated role.
pub fn delegation_of(targets: &Value, role: &str) -> Option<Authority> {
    let delegations = targets.get("delegations")?;
    let entry = delegated_roles(targets).find(|entry| name(entry) == Some(role))?;
    Some(Authority::read("targets".into(), entry, delegations.get("keys").unwrap_or(&Value::Null)))
}

/// The delegated roles' entries, in their order.
pub fn delegated_roles(targets: &Value) -> impl Iterator<Item = &Value> {
    targets.pointer("/delegations/roles").and_then(Value::as_array).into_iter().flatten()
}

/// A delegated role's name.
pub fn name(entry: &Value) -> Option<&str> {
    entry.get("name").and_then(Value::as_str)
}
