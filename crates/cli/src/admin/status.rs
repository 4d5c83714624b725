//! `lockstep status`: the site, its PCs and its users.

use std::collections::BTreeMap;

use protocol::{Timestamp, Version, device::DeviceState, message::Gate, product::ProductId};
use serde::Deserialize;

use super::{DataArgs, client::Server, preflight::ago};
use crate::{
    runtime::wait,
    terminal::{PC_WIDTH, plain, plain_within, table},
};

/// What to show.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Print the server's answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// The server's answer, as far as this tool uses it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub products: Vec<Product>,
    pub seats: Vec<Seat>,
    pub switches: BTreeMap<String, bool>,
    /// What does not work at the moment, in words.
    pub problems: Vec<String>,
}

/// A product and its server.
#[derive(Debug, Clone, Deserialize)]
pub struct Product {
    pub product: ProductId,
    #[serde(default)]
    pub server: Option<Version>,
    #[serde(default)]
    pub expected: Option<Version>,
}

/// A user on a PC.
#[derive(Debug, Clone, Deserialize)]
pub struct Seat {
    /// Its key.
    #[serde(default)]
    pub seat: String,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub pc: Option<String>,
    #[serde(default)]
    pub product: Option<ProductId>,
    #[serde(default)]
    pub version: Option<Version>,
    #[serde(default)]
    pub gate: Option<Gate>,
    /// Whether the program is connected now.
    #[serde(default)]
    pub connected: bool,
    #[serde(default)]
    pub state: Option<DeviceState>,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
}

/// Shows it.
pub fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let server = args.data.server()?;
    let answer: serde_json::Value = wait(server.get("/v1/admin/status"))??;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    print!("{}", render(&serde_json::from_value(answer)?, Timestamp::now()));
    Ok(())
}

/// Asks the server.
pub async fn fetch(server: &Server) -> anyhow::Result<Status> {
    server.get("/v1/admin/status").await
}

fn render(status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    for p in &status.products {
        let version = p.server.as_ref().map_or("of unknown version".into(), Version::to_string);
        text += &format!("{}: server {version}", p.product);
        if let Some(expected) = &p.expected {
            text += &format!(", {expected} is announced");
        }
        text.push('\n');
    }
    text.push('\n');
    if status.seats.is_empty() {
        text += "No user has checked in yet.\n";
    } else {
        let rows: Vec<_> = status.seats.iter().map(|seat| cells(seat, now)).collect();
        text += &table(&["USER", "PC", "VERSION", "MAIL", "UPDATER", "SEEN", ""], &rows);
        text.push('\n');
    }
    for problem in &status.problems {
        text += &format!("\nPROBLEM: {}", plain(problem));
    }
    for (name, on) in &status.switches {
        text += &format!("\n{}: {}", plain(name), if *on { "on" } else { "off" });
    }
    if !status.switches.is_empty() || !status.problems.is_empty() {
        text.push('\n');
    }
    text
}

fn cells(seat: &Seat, now: Timestamp) -> Vec<String> {
    let dash = || "–".to_owned();
    let word = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(word)) => word,
        _ => dash(),
    };
    vec![
        seat.user.as_deref().map_or_else(dash, plain),
        seat.pc.as_deref().map_or_else(dash, |pc| plain_within(pc, PC_WIDTH)),
        seat.version.as_ref().map_or_else(dash, |v| plain(&v.to_string())),
        word(seat.gate.and_then(|g| serde_json::to_value(g).ok())),
        word(seat.state.and_then(|s| serde_json::to_value(s).ok())),
        seat.last_seen.map_or_else(dash, |seen| ago(seen, now)),
        plain(&seat.detail),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_site_is_shown_with_its_problems_and_hostile_names_are_harmless() {
        let status: Status = serde_json::from_value(json!({
            "v": 1, "site": "Example",
            "products": [{ "product": "connector", "server": "7.2.0", "expected": "7.3.0", "policy": "silent" }],
            "seats": [
                { "seat": "a1", "user": "alice@example.test", "pc": "pc-one", "product": "connector", "version": "7.2.0",
                  "gate": "online", "connected": true, "state": "staged", "detail": "7.3.0 is ready",
                  "last_seen": "2026-05-04T10:59:30Z", "outbox": 0 },
                { "seat": "b2", "user": "bob\u{1b}]0;x\u{7}", "pc": null, "version": null, "gate": null,
                  "connected": false, "state": null, "detail": "", "last_seen": null }
            ],
            "switches": { "readiness": true, "statistics": false },
            "problems": ["the vendor's repository cannot be reached"]
        }))
        .unwrap();
        insta::assert_snapshot!(render(&status, "2026-05-04T11:00:00Z".parse().unwrap()));
    }
}
