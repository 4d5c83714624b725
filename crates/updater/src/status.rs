//! `lockstep-updater status`: what the service says, for people and for scripts.

use protocol::{
    Timestamp,
    device::FailedVersion,
    explain::{Explained, downgrade_name, upgrade_name},
    ipc::{Happening, PcStatus, Status},
    product::{Platform, ProductId},
    terms::Whose,
};

use crate::install::{Done, Product};

/// The status for people: a table, and why.
pub fn table(status: &Status, now: Timestamp) -> String {
    let mut rows = vec![["PRODUCT", "INSTALLED", "STATE", "BESIDE IT"].map(str::to_owned)];
    for (product, state) in &status.products {
        let installed = state.installed.as_ref().map_or("-".into(), ToString::to_string);
        let staged: Vec<_> = state.staged.iter().map(ToString::to_string).collect();
        let staged = if staged.is_empty() { "-".into() } else { staged.join(", ") };
        // The state's own JSON name: one vocabulary everywhere.
        let name = serde_json::to_value(state.state).ok().and_then(|v| v.as_str().map(str::to_owned));
        rows.push([product.to_string(), installed, name.unwrap_or_default(), staged]);
    }
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for (product, why) in &status.why {
        match status.decisions.get(product) {
            Some(decision) => out.push_str(&decided(product, decision, now)),
            None => out.push_str(&format!("\n{product}: {}\n", printable(why))),
        }
        // What goes on or went wrong is told where the decision does not say it already.
        let told = status.decisions.get(product).map(Explained::sentence).unwrap_or_else(|| why.clone());
        let detail = status.products.get(product).and_then(|p| p.detail.as_deref());
        if let Some(detail) = detail.filter(|d| !told.contains(*d)) {
            out.push_str(&format!("  now    {}\n", printable(detail)));
        }
    }
    for (product, state) in &status.products {
        state.failed.iter().for_each(|f| out.push_str(&failed(product, f, now)));
    }
    out.push_str(&format!("\nupdater   {} ({})\n", status.updater, Platform::current()));
    out.push_str(&format!("site      {}\n", printable(&status.server)));
    out.push_str(&format!("device    {}\n", status.device.as_deref().map_or("not enrolled yet".into(), printable)));
    out.push_str(&format!("contact   {}\n", contact(status.last_contact, now)));
    out.push_str(&whole_pc(&status.pc, now));
    if let Some(problem) = &status.problem {
        out.push_str(&format!("problem   {}\n", printable(problem)));
    }
    out
}

/// A decision, explained line by line.
fn decided(product: &ProductId, decision: &Explained, now: Timestamp) -> String {
    let mut out = format!("\n{product}: {}\n  why    {}\n", printable(&decision.what), printable(&decision.why));
    if !decision.how.is_empty() {
        out.push_str(&format!("  how    {}\n", printable(&decision.how)));
    }
    if let Some(until) = decision.until {
        out.push_str(&format!("  until  {until:.0}, {}\n", away(until, now)));
    }
    let by = match decision.by {
        Whose::Vendor => "the vendor's signed limits",
        Whose::Machine => "this computer",
        Whose::Site => "the site",
        Whose::User => "a user of this computer",
    };
    out + &format!("  by     {by}\n")
}

/// How a person gets a second try. On Windows no program of ours is in a terminal's search path, and the launcher finds the active version.
const RETRY: &str = if cfg!(windows) {
    "\"%ProgramFiles%\\Lockstep\\launcher\\lockstep-launcher\" --once updater -- retry (as an administrator)"
} else {
    "lockstep-updater retry"
};

fn failed(product: &ProductId, failed: &FailedVersion, now: Timestamp) -> String {
    let times = if failed.times > 1 { format!(", {} times", failed.times) } else { String::new() };
    let again = if failed.again {
        "it is tried again at the next opportunity".to_owned()
    } else {
        format!("it is tried again after {:.0}, {}", failed.retry_at(), away(failed.retry_at(), now))
    };
    let (version, at, reason) = (&failed.version, failed.at, printable(&failed.reason));
    format!("\n{product} {version} was rolled back on {at:.0}{times}: {reason}\n  {again}; at once with: {RETRY}\n")
}

fn whole_pc(pc: &PcStatus, now: Timestamp) -> String {
    let mut out = String::new();
    match pc.next_check_in {
        Some(next) => out.push_str(&format!("next      {} ({next:.0}), or when the server says so\n", away(next, now))),
        None if pc.busy => out.push_str("next      asking the server now\n"),
        None => {}
    }
    if let Some(expires) = pc.metadata_expires {
        out.push_str(&format!("metadata  expires {} ({expires:.0})\n", away(expires, now)));
    }
    if let Some(free) = pc.disk_free {
        out.push_str(&format!("disk      {} MB free\n", free / 1_000_000));
    }
    let mut own = Vec::new();
    own.extend(pc.policy.map(|p| format!("upgrades {}", upgrade_name(p))));
    own.extend(pc.machine.downgrade.map(|p| format!("downgrades {}", downgrade_name(p))));
    own.extend(pc.machine.windows.as_ref().map(|w| format!("maintenance {w}")));
    own.extend(pc.machine.holds.iter().map(|h| format!("holds {h}")));
    if !own.is_empty() {
        out.push_str(&format!("policy    this computer's own: {}\n", printable(&own.join("; "))));
    }
    out
}

/// "in 3 h" or "5 min ago".
fn away(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let amount = match seconds.abs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    };
    if seconds < 0 { format!("{amount} ago") } else { format!("in {amount}") }
}

/// What happened, one line each, the newest last.
pub fn happenings(entries: &[Happening]) -> String {
    let mut out = String::new();
    for e in entries {
        let what = serde_json::to_value(e.what).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let version = e.version.as_ref().map_or("-".into(), ToString::to_string);
        let before = e.before.as_ref().map_or(String::new(), |b| format!("from {b}: "));
        out.push_str(&format!(
            "{:.0}  {:<10} {what:<12} {version:<8} {before}{}\n",
            e.at,
            e.product.as_str(),
            printable(&e.why)
        ));
    }
    out
}

/// What an installer did about a product.
pub fn installed(product: &Product) -> String {
    let Product { product, version, before, done } = product;
    match (done, before) {
        (Done::Unchanged, _) => format!("{product} {version} was installed already"),
        (Done::Repaired, _) => format!("{product} {version} was damaged and is repaired"),
        (Done::Installed, Some(before)) => format!("{product} {version} is installed, in the place of {before}"),
        (Done::Installed, None) => format!("{product} {version} is installed"),
    }
}

/// The status for scripts: what the socket says, without the ticket, which is not for keeping.
///
/// # Errors
/// Never for values that came over the socket.
pub fn json(status: &Status) -> serde_json::Result<String> {
    let status = Status { ticket: None, ..status.clone() };
    serde_json::to_string_pretty(&status)
}

fn contact(at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        None => "never since the start of the service".into(),
        Some(at) => {
            let ago = now.duration_since(at).as_secs().max(0);
            format!("{ago} s ago ({at:.0})")
        }
    }
}

/// Texts come from the server and from programs: nothing in them may steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_format(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that turn or hide the text around them (Unicode bidirectional controls, zero-width characters).
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{
        Version,
        device::{DeviceState, ProductState},
        ipc::What,
    };

    use super::*;

    fn status() -> Status {
        let staged = ProductState {
            installed: Some(Version::new(7, 2, 0)),
            staged: vec![Version::new(7, 3, 0)],
            state: DeviceState::Staged,
            ..ProductState::default()
        };
        let updater = ProductState { installed: Some(Version::new(0, 1, 0)), ..ProductState::default() };
        let why = "7.3.0 is made ready: made ready for server 7.3.0, before it comes; 7.3.0 is verified and ready";
        Status {
            updater: Version::new(0, 1, 0),
            device: Some("d-1".into()),
            server: "https://mail.example.test:4443".into(),
            products: BTreeMap::from([(ProductId::connector(), staged), (ProductId::updater(), updater)]),
            why: BTreeMap::from([(ProductId::connector(), why.into())]),
            ticket: None,
            fetching: BTreeMap::new(),
            problem: None,
            last_contact: Some(Timestamp::UNIX_EPOCH),
            decisions: BTreeMap::new(),
            pc: PcStatus::default(),
            history: vec![],
        }
    }

    #[test]
    fn the_table_says_what_is_installed_what_is_ready_and_why() {
        let now = "1970-01-01T00:00:05Z".parse().unwrap();
        let table = table(&status(), now).replace(&Platform::current().to_string(), "linux-x86_64");
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_decision_is_explained_with_what_why_how_until_when_and_by_whom() {
        let (mut status, at) = (status(), |text: &str| text.parse::<Timestamp>().unwrap());
        status.decisions.insert(
            ProductId::connector(),
            Explained {
                what: "7.3.0 is recommended".into(),
                why: "7.3.0 replaces 7.2.0, which still works".into(),
                how: "it is ready and waits for the site's maintenance window (Sat 02:00-05:00)".into(),
                until: Some(at("1970-01-03T02:00:00Z")),
                by: Whose::Site,
            },
        );
        let connector = status.products.get_mut(&ProductId::connector()).unwrap();
        connector.detail = Some("7.3.0 is verified and ready".into());
        let mut broken =
            FailedVersion::new(Version::new(7, 2, 9), Timestamp::UNIX_EPOCH, "the self-check failed".into());
        broken.times = 2;
        connector.failed.push(broken);
        status.pc = PcStatus {
            next_check_in: Some(at("1970-01-01T00:05:00Z")),
            metadata_expires: Some(at("1970-01-08T00:00:00Z")),
            disk_free: Some(5_000_000_000),
            policy: Some(protocol::policy::UpgradePolicy::Ask),
            machine: protocol::terms::MachinePolicy {
                holds: vec!["connector 7.3.1".parse().unwrap()],
                ..Default::default()
            },
            ..PcStatus::default()
        };
        let table =
            table(&status, at("1970-01-01T00:00:05Z")).replace(&Platform::current().to_string(), "linux-x86_64");
        let expected = "\
PRODUCT    INSTALLED  STATE   BESIDE IT
connector  7.2.0      staged  7.3.0
updater    0.1.0      idle    -

connector: 7.3.0 is recommended
  why    7.3.0 replaces 7.2.0, which still works
  how    it is ready and waits for the site's maintenance window (Sat 02:00-05:00)
  until  1970-01-03T02:00:00Z, in 2 days
  by     the site
  now    7.3.0 is verified and ready

connector 7.2.9 was rolled back on 1970-01-01T00:00:00Z, 2 times: the self-check failed
  it is tried again after 1970-01-15T00:00:00Z, in 13 days; at once with: lockstep-updater retry

updater   0.1.0 (linux-x86_64)
site      https://mail.example.test:4443
device    d-1
contact   5 s ago (1970-01-01T00:00:00Z)
next      in 4 min (1970-01-01T00:05:00Z), or when the server says so
metadata  expires in 6 days (1970-01-08T00:00:00Z)
disk      5000 MB free
policy    this computer's own: upgrades ask; holds connector =7.3.1
";
        // 49 h and 55 s are told as whole days; two days less five seconds would be hours.
        assert_eq!(table, expected);
    }

    #[test]
    fn the_history_is_one_line_each() {
        let entry = Happening {
            at: Timestamp::UNIX_EPOCH,
            product: ProductId::connector(),
            what: What::Switched,
            version: Some(Version::new(7, 3, 0)),
            before: Some(Version::new(7, 2, 0)),
            why: "the server\nflipped".into(),
        };
        let line = "1970-01-01T00:00:00Z  connector  switched     7.3.0    from 7.2.0: the server\u{fffd}flipped\n";
        assert_eq!(happenings(&[entry]), line);
    }

    #[test]
    fn nothing_in_a_text_steers_the_terminal() {
        let mut status = status();
        status.problem = Some("\u{1b}[2Jgone\u{202e}\r\nnext".into());
        let table = table(&status, Timestamp::UNIX_EPOCH);
        assert!(table.chars().all(|c| c == '\n' || !c.is_control() && !is_format(c)));
        assert!(table.contains("[2Jgone"));
    }

    #[test]
    fn a_ticket_is_not_for_scripts() {
        let mut status = status();
        status.ticket = Some(protocol::message::Ticket { claim: "c".into(), signature: "s".into() });
        assert!(json(&status).unwrap().contains(r#""ticket": null"#));
    }
}
