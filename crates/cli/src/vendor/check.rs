//! `lockstep repo check`: whether a repository is whole, and for how long it is good.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use protocol::Timestamp;
use release::tuf::{DirectoryFetch, Mismatch, Trusted, Verifier, consistent_target_path};
use serde::Serialize;
use serde_json::json;

use super::{
    delegations::{WORTH_BINS, common_name, is_bin},
    facts::{RoleFacts, roles},
    source::Source,
};
use crate::terminal::{Reported, count, plain, table};

/// What to check.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The repository: its directory
    #[arg(required_unless_present = "repo", conflicts_with = "repo")]
    pub dir: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Fail when something expires within this time
    #[arg(long, value_name = "TIME", default_value = "7 days", value_parser = parse_time)]
    pub within: SignedDuration,
    /// Verify from this root.json, as your sites do; without it, from the repository's own 1.root.json
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    /// Something has to be done.
    problems: Vec<String>,
    /// Something could be better.
    advice: Vec<String>,
}

/// Checks. Fails when something has to be done.
pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let repo = args.dir.as_ref().or(args.repo.as_ref()).context("name the repository")?;
    let state = Source::Directory(repo.clone()).read(args.root.as_ref())?;
    let now = Timestamp::now();
    let roles = roles(&state)?;
    let mut findings = Findings::default();
    expiries(&roles, now, args.within, &mut findings);
    keys(&roles, &mut findings);
    targets(repo, &state, &roles, &mut findings);
    if args.json {
        println!(
            "{}",
            json!({ "v": 1, "good": findings.problems.is_empty(), "problems": findings.problems, "advice": findings.advice,
                    "version": state.version(), "expires": state.expires(), "targets": state.targets().len(),
                    "roles": roles })
        );
    } else {
        show(&roles, now, &state, &findings);
    }
    let what = match &findings.problems[..] {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("{} problems", many.len()),
    };
    bail!(Reported(format!("{} needs attention: {what}", repo.display())))
}

/// Such as `30 days`, `2 weeks`, `36 hours`.
fn parse_time(text: &str) -> Result<SignedDuration, String> {
    let wrong = |_| format!("{text:?} is not a time such as \"30 days\", \"2 weeks\" or \"36h\"");
    let span: Span = text.parse().map_err(wrong)?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    if time.is_negative() { Err(format!("{text:?} lies in the past")) } else { Ok(time) }
}

fn expiries(roles: &[RoleFacts], now: Timestamp, within: SignedDuration, findings: &mut Findings) {
    let limit = now.saturating_add(within).unwrap_or(Timestamp::MAX);
    let mut bins = 0;
    for facts in roles.iter().filter(|facts| facts.expires <= limit) {
        if is_bin(&facts.role) {
            bins += 1;
            if bins > 1 {
                continue;
            }
        }
        let how = match facts.role.as_str() {
            "snapshot" | "timestamp" => "`lockstep renew`".into(),
            "targets" => "`lockstep publish` with the targets key".into(),
            "root" => "`lockstep role renew root` and `lockstep publish` with the root keys".into(),
            role if is_bin(role) => "`lockstep role renew bins` and `lockstep publish` with the bins' key".into(),
            role => format!("`lockstep role renew {role}` and `lockstep publish` with its key"),
        };
        let when =
            if facts.expires <= now { "has expired".into() } else { format!("expires {}", left(facts.expires, now)) };
        findings.problems.push(format!("{} {when}: {how}", plain(&facts.role)));
    }
    if bins > 1 {
        findings.problems.push(format!("{} like it", count(bins - 1, "other bin")));
    }
}

fn keys(roles: &[RoleFacts], findings: &mut Findings) {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for facts in roles {
        let role = common_name(&facts.role);
        facts.keys.iter().for_each(|id| {
            used.entry(id).or_default().insert(role);
        });
        if facts.role == "root" && facts.threshold < 2 {
            findings.advice.push("one stolen root key is enough to take over: let two or more sign (`lockstep role set root --threshold 2`)".into());
        }
        if facts.role == "root" && facts.keys.len() == facts.threshold {
            findings.advice.push(
                "when one root key is lost, nobody can change anything any more: add one (`lockstep role add-key root`)".into(),
            );
        }
    }
    for (id, roles) in used.into_iter().filter(|(_, roles)| roles.len() > 1) {
        let online = roles.contains("snapshot") || roles.contains("timestamp");
        let offline = roles.iter().any(|role| !matches!(*role, "snapshot" | "timestamp"));
        let names = roles.iter().map(|role| plain(role)).collect::<Vec<_>>().join(" and ");
        if online && offline {
            findings.problems.push(format!(
                "the key {id} is both online and offline ({names}): whoever breaks into the machine that renews can sign releases; \
                 replace one (`lockstep key replace`)"
            ));
        } else if offline {
            findings.advice.push(format!("the key {id} signs for {names}: one leak is a leak of both"));
        }
    }
}

fn targets(repo: &Path, state: &Trusted, roles: &[RoleFacts], findings: &mut Findings) {
    let files = DirectoryFetch::new(repo);
    for (target, info) in state.targets() {
        let path = files.target(&consistent_target_path(target, &info.sha256));
        if let Err(why) = whole(&path, Verifier::new(info.length, &info.sha256)) {
            findings.problems.push(format!("{}: {why:#}; bring {} back from a copy", plain(target), path.display()));
        }
    }
    for skipped in state.skipped() {
        findings.problems.push(format!("{}: devices skip it: {}", plain(&skipped.target), plain(&skipped.why)));
    }
    if state.targets().len() >= WORTH_BINS && !roles.iter().any(|facts| is_bin(&facts.role)) {
        findings.advice.push(format!(
            "each PC fetches the whole list of {} targets when one is added: `lockstep delegation bins 64` spreads it",
            state.targets().len()
        ));
    }
}

fn whole(path: &Path, verifier: Verifier) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).context("its file is not there")?;
    verifier.read_whole(file)?.map_err(in_words)
}

fn in_words(mismatch: Mismatch) -> anyhow::Error {
    match mismatch {
        Mismatch::TooLong { expected } => anyhow!("its file has more than the signed {expected} bytes"),
        Mismatch::TooShort { expected, got } => anyhow!("its file has {got} of the signed {expected} bytes"),
        Mismatch::WrongHash { .. } => anyhow!("its file is not what was signed"),
    }
}

fn show(roles: &[RoleFacts], now: Timestamp, state: &Trusted, findings: &Findings) {
    println!("{}", role_table(roles, now));
    println!("\n{} in version {}.", count(state.targets().len(), "target"), state.version());
    findings.problems.iter().for_each(|line| println!("PROBLEM  {line}"));
    findings.advice.iter().for_each(|line| println!("advice   {line}"));
    if findings.problems.is_empty() {
        println!("Good: nothing has to be done now.");
    }
}

/// A line for each role; bins in one.
pub fn role_table(roles: &[RoleFacts], now: Timestamp) -> String {
    let mut rows = Vec::new();
    let row = |role: String, facts: &RoleFacts| {
        let keys = format!("{} of {}", facts.threshold, facts.keys.len());
        let expires = facts.expires.strftime("%Y-%m-%d %H:%M UTC").to_string();
        vec![role, facts.version.to_string(), keys, expires, left(facts.expires, now)]
    };
    let (bins, others): (Vec<_>, Vec<_>) = roles.iter().partition(|facts| is_bin(&facts.role));
    rows.extend(others.into_iter().map(|facts| row(plain(&facts.role), facts)));
    if let Some(first) = bins.iter().min_by_key(|facts| facts.expires) {
        rows.push(row(count(bins.len(), "bin"), first));
    }
    table(&["ROLE", "VERSION", "KEYS", "EXPIRES", "LEFT"], &rows)
}

fn left(expires: Timestamp, now: Timestamp) -> String {
    let hours = expires.duration_since(now).as_hours();
    match hours {
        i64::MIN..0 => "expired".into(),
        0..48 => format!("in {hours} hours"),
        _ => format!("in {} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (text, hours) in [("30 days", 720), ("2 weeks", 336), ("36h", 36), ("1 day 12 hours", 36)] {
            assert_eq!(parse_time(text).unwrap(), SignedDuration::from_hours(hours), "{text}");
        }
        for text in ["", "soon", "-3 days", "30"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
