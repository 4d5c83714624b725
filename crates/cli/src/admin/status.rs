//! `lockstep status`: the site, its PCs and its users.

use std::collections::BTreeMap;

use protocol::{Timestamp, Version, device::DeviceState, message::Gate, product::ProductId};
use serde::Deserialize;

use super::{DataArgs, client::Server, preflight::ago};
use crate::{
    runtime::wait,
    terminal::{PC_WIDTH, count, plain, plain_within, table},
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
    /// Users whose program is too old or too new for the server as it is.
    pub cut_off_now: Vec<CutOff>,
    /// How many more have not been heard of since the server changed.
    pub cut_off_and_silent: usize,
    /// PCs that report that something failed.
    pub troubles: Vec<Trouble>,
    /// What the mail server has asked.
    pub mail_gate: MailGate,
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
    /// The policy in force, one line each.
    #[serde(default)]
    pub words: Vec<String>,
}

/// A user who is cut off now.
#[derive(Debug, Clone, Deserialize)]
pub struct CutOff {
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub pc: String,
    pub version: Version,
    pub gate: Gate,
    pub since: Timestamp,
    #[serde(default)]
    pub why: String,
    #[serde(default)]
    pub then: String,
    #[serde(default)]
    pub detail: Option<String>,
}

/// A PC on which something failed.
#[derive(Debug, Clone, Deserialize)]
pub struct Trouble {
    #[serde(default)]
    pub pc: String,
    pub product: ProductId,
    #[serde(default)]
    pub detail: String,
    /// Whether it is about what the vendor has signed.
    #[serde(default)]
    pub trust: bool,
}

/// The mail gate's counts since the server's start.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MailGate {
    pub listen: Option<String>,
    pub counts: Counts,
}

/// How often.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub asked: u64,
    pub refused: u64,
    pub last_asked: Option<Timestamp>,
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
        p.words.iter().for_each(|line| text += &format!("  {}\n", plain(line)));
    }
    text += &cut_off_now(status, now);
    for t in &status.troubles {
        let kind = if t.trust { "NOT TRUSTED" } else { "FAILED" };
        text += &format!("\n{kind} on {}: {}: {}\n", plain_within(&t.pc, PC_WIDTH), t.product, plain(&t.detail));
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
    if let Some(listen) = &status.mail_gate.listen {
        let Counts { asked, refused, last_asked } = &status.mail_gate.counts;
        let last = last_asked.map_or("the mail server has not asked since the start".into(), |at| {
            format!("asked {}, {refused} refused, last {}", times(*asked), ago(at, now))
        });
        text += &format!("\nmail gate: {}: {last}", plain(listen));
    }
    for (name, on) in &status.switches {
        text += &format!("\n{}: {}", plain(name), if *on { "on" } else { "off" });
    }
    if !status.switches.is_empty() || !status.problems.is_empty() {
        text.push('\n');
    }
    text
}

fn cut_off_now(status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    if !status.cut_off_now.is_empty() {
        text += &format!("\nCUT OFF NOW: {}\n", count(status.cut_off_now.len(), "user"));
        for c in &status.cut_off_now {
            let gate = if c.gate == Gate::Upgrading { "upgrading" } else { "offline" };
            let user = c.user.as_deref().map_or("(not stored)".into(), plain);
            let pc = plain_within(&c.pc, PC_WIDTH);
            let since = ago(c.since, now);
            let since = since.strip_suffix(" ago").unwrap_or(&since);
            text += &format!(
                "  {user} on {pc}: {} is {gate} for {since}; {}\n    {}\n",
                c.version,
                plain(&c.why),
                plain(&c.then)
            );
            if let Some(detail) = &c.detail {
                text += &format!("    reports: {}\n", plain(detail));
            }
        }
    }
    if status.cut_off_and_silent > 0 {
        let many = status.cut_off_and_silent;
        text += &format!("\nNot heard of since the server changed, and not fit for it yet: {}\n", count(many, "user"));
    }
    text
}

fn times(n: u64) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
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
            "cut_off_now": [
                { "user": "carol@example.test", "pc": "pc-old\u{1b}[2J", "subject": "c3", "product": "connector", "version": "7.1.0",
                  "gate": "offline", "since": "2026-05-04T09:00:00Z", "why": "7.1.0 does not work with server 7.2.0; 7.2.0 does",
                  "then": "updater not installed: reinstall the connector from the integration page", "detail": "the installer was refused",
                  "outbox": 1, "last_seen": "2026-05-04T10:59:30Z" }
            ],
            "cut_off_and_silent": 2,
            "troubles": [
                { "pc": "pc-one", "subject": "d1", "product": "connector", "state": "failed", "trust": true,
                  "detail": "7.4.0 is not among the vendor's signed releases for this device", "last_seen": "2026-05-04T10:59:30Z" }
            ],
            "mail_gate": { "listen": "127.0.0.1:4480",
                           "counts": { "asked": 12, "refused": 3, "last_asked": "2026-05-04T10:59:50Z", "last_refused": null } },
            "switches": { "readiness": true, "statistics": false },
            "problems": ["the vendor's repository cannot be reached"]
        }))
        .unwrap();
        insta::assert_snapshot!(render(&status, "2026-05-04T11:00:00Z".parse().unwrap()));
    }
}
