//! `lockstep preflight`: who would be ready, and who would be cut off, by name.

use anyhow::Context;
use protocol::{
    Timestamp, Version,
    preflight::Readiness,
    product::{ProductId, parse_version},
};
use serde::Deserialize;
use serde_json::Value;

use super::{DataArgs, Outcome, client::Server};
use crate::{
    runtime::wait,
    terminal::{PC_WIDTH, plain, plain_within, table},
};

/// Which server version to look ahead to.
#[derive(Debug, Clone, clap::Args)]
pub struct PreflightArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Server version that the site would go to
    #[arg(long, value_parser = parse_version)]
    pub to: Version,
    /// Product whose server it is
    #[arg(long, default_value = "connector")]
    pub product: ProductId,
    /// Print the server's answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// The server's answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub product: ProductId,
    #[serde(default)]
    pub server: Option<Version>,
    pub to: Version,
    /// Whether readiness is known at all.
    pub known: bool,
    #[serde(default)]
    pub why_unknown: Option<String>,
    pub rows: Vec<Row>,
    pub summary: Summary,
}

/// One user on one PC.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    #[serde(default)]
    pub user: Option<String>,
    pub pc: String,
    #[serde(default)]
    pub installed: Option<Version>,
    #[serde(default)]
    pub updater: Option<Version>,
    #[serde(flatten)]
    pub readiness: Readiness,
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
}

/// How many of which.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub current: u64,
    pub ready: u64,
    pub staged: u64,
    pub would_ask: u64,
    #[serde(default)]
    pub would_wait: u64,
    pub not_seen: u64,
    pub cut_off: u64,
}

/// Shows it. [`Outcome::CutOff`] when users would be.
pub fn preflight(args: &PreflightArgs) -> anyhow::Result<Outcome> {
    let server = args.data.server()?;
    let answer = wait(ask(&server, &args.product, &args.to))??;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    }
    let report: Report = serde_json::from_value(answer).context("lockstep-server's answer cannot be read")?;
    if !args.json {
        print!("{}", render(&report, Timestamp::now()));
    }
    Ok(outcome(&report))
}

/// Asks the server.
pub async fn fetch(server: &Server, product: &ProductId, to: &Version) -> anyhow::Result<Report> {
    let answer = ask(server, product, to).await?;
    serde_json::from_value(answer).context("lockstep-server's answer cannot be read")
}

async fn ask(server: &Server, product: &ProductId, to: &Version) -> anyhow::Result<Value> {
    // A version may hold a `+`, which means a space in a query.
    let to = to.to_string().replace('+', "%2B");
    server.get(&format!("/v1/admin/preflight?to={to}&product={product}")).await
}

/// What the answer means for a script.
pub fn outcome(report: &Report) -> Outcome {
    match report {
        Report { known: false, .. } => Outcome::Unknown,
        Report { summary, .. } if summary.cut_off > 0 => Outcome::CutOff,
        _ => Outcome::Good,
    }
}

/// The answer for people.
pub fn render(report: &Report, now: Timestamp) -> String {
    let from = report.server.as_ref().map_or("of unknown version".into(), Version::to_string);
    let mut text = format!("{}: server {from} → {}\n\n", report.product, report.to);
    if !report.known {
        let why = report.why_unknown.as_deref().unwrap_or("the server does not say why");
        text += &format!("Cannot know who would be cut off: {}\n", plain(why));
        return text;
    }
    let mut rows: Vec<&Row> = report.rows.iter().collect();
    rows.sort_by_cached_key(|r| (r.readiness.urgency(), r.user.clone(), r.pc.clone()));
    if rows.is_empty() {
        text += "No PC has checked in yet.\n";
    } else {
        let cells: Vec<_> = rows.iter().map(|r| cells(r, now)).collect();
        text += &table(&["USER", "PC", "INSTALLED", "UPDATER", "READINESS", "SEEN"], &cells);
        text.push('\n');
    }
    text += &format!("\n{}\n", summary(report));
    for row in rows {
        if let Readiness::CutOff { reason, remedy } = &row.readiness {
            text += &format!("  {}: {} → {}\n", who(row), plain(reason), plain(remedy));
        }
    }
    text
}

/// The whole answer in one line.
fn summary(report: &Report) -> String {
    let s = &report.summary;
    let mut parts = Vec::new();
    if s.current > 0 {
        parts.push(format!("{} current", s.current));
    }
    parts.push(format!("{} ready ({} staged)", s.ready, s.staged));
    if s.would_ask > 0 {
        parts.push(format!("{} would ask the user", s.would_ask));
    }
    if s.would_wait > 0 {
        parts.push(format!("{} would wait for a maintenance window", s.would_wait));
    }
    parts.push(format!("{} would be cut off", s.cut_off));
    if s.not_seen > 0 {
        parts.push(format!("{} not seen", s.not_seen));
    }
    let colon = if s.cut_off > 0 { ":" } else { "." };
    format!("To {}: {}{colon}", report.to, parts.join(", "))
}

fn cells(row: &Row, now: Timestamp) -> Vec<String> {
    let version = |v: &Option<Version>| v.as_ref().map_or("–".into(), |v| plain(&v.to_string()));
    let readiness = match &row.readiness {
        Readiness::Current => "current".into(),
        Readiness::Ready { staged: true } => "ready, staged".into(),
        Readiness::Ready { staged: false } => "ready, not staged".into(),
        Readiness::WouldAsk { staged: true } => "would ask, staged".into(),
        Readiness::WouldAsk { staged: false } => "would ask, not staged".into(),
        Readiness::WouldWait { until, .. } => format!("would wait until {until:.0}"),
        Readiness::NotSeen { since } => format!("not seen since {}", since.strftime("%Y-%m-%d")),
        Readiness::CutOff { .. } => "WOULD BE CUT OFF".into(),
    };
    vec![
        row.user.as_deref().map_or("–".into(), plain),
        plain_within(&row.pc, PC_WIDTH),
        version(&row.installed),
        version(&row.updater),
        readiness,
        row.last_seen.map_or("–".into(), |seen| ago(seen, now)),
    ]
}

fn who(row: &Row) -> String {
    match &row.user {
        Some(user) => format!("{} on {}", plain(user), plain(&row.pc)),
        None => plain(&row.pc),
    }
}

/// How long ago, in the largest unit that is not zero.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(value: serde_json::Value) -> Report {
        serde_json::from_value(value).unwrap()
    }

    fn site() -> Report {
        report(json!({
            "v": 1, "product": "connector", "server": "7.2.0", "to": "7.3.0", "known": true, "why_unknown": null,
            "rows": [
                { "user": "carol@example.test", "pc": "pc-ready", "installed": "7.2.0", "updater": "0.1.0",
                  "readiness": "ready", "staged": true, "last_seen": "2026-05-04T10:59:30Z" },
                { "user": "alice@example.test", "pc": "pc-bare", "installed": "7.2.0", "updater": null,
                  "readiness": "cut-off", "reason": "updater not installed", "remedy": "reinstall the connector",
                  "last_seen": "2026-05-04T10:30:00Z" },
                { "user": "mallory\u{1b}[2J", "pc": "pc\nFAKE ROW", "installed": "7.1.0", "updater": "0.1.0",
                  "readiness": "cut-off", "reason": "no release", "remedy": "ask the vendor",
                  "last_seen": "2026-05-04T02:00:00Z" },
                { "user": null, "pc": "pc-away", "installed": "7.2.0", "updater": "0.1.0",
                  "readiness": "not-seen", "since": "2026-03-01T08:00:00Z", "last_seen": "2026-03-01T08:00:00Z" }
            ],
            "summary": { "ready": 1, "staged": 1, "would_ask": 0, "not_seen": 1, "cut_off": 2, "current": 0 }
        }))
    }

    #[test]
    fn those_who_would_be_cut_off_come_first_with_reason_and_remedy() {
        let text = render(&site(), "2026-05-04T11:00:00Z".parse().unwrap());
        insta::assert_snapshot!(text);
        assert!(!text.contains('\u{1b}') && !text.contains("\nFAKE"));
        assert_eq!(outcome(&site()), Outcome::CutOff);
    }

    #[test]
    fn nobody_cut_off_is_good_and_unknown_is_neither() {
        let mut good = site();
        good.rows.retain(|r| !r.readiness.is_cut_off());
        good.summary.cut_off = 0;
        assert_eq!(outcome(&good), Outcome::Good);
        insta::assert_snapshot!(render(&good, "2026-05-04T11:00:00Z".parse().unwrap()));

        let mut unknown = site();
        unknown.known = false;
        unknown.why_unknown = Some("readiness data is switched off".into());
        assert_eq!(outcome(&unknown), Outcome::Unknown);
        insta::assert_snapshot!(render(&unknown, Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn an_answer_with_fields_of_a_later_release_is_read() {
        let later = report(json!({
            "v": 1, "product": "connector", "to": "7.3.0", "known": true, "rows": [], "extra": 1,
            "summary": { "ready": 0, "moon_phase": 3 }
        }));
        assert_eq!(outcome(&later), Outcome::Good);
    }
}
