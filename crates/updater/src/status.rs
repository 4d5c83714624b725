//! `lockstep-updater status`: what the service says, for people and for scripts.

use protocol::{Timestamp, ipc::Status, product::Platform};

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
        out.push_str(&format!("\n{product}: {}\n", printable(why)));
    }
    out.push_str(&format!("\nupdater   {} ({})\n", status.updater, Platform::current()));
    out.push_str(&format!("site      {}\n", printable(&status.server)));
    out.push_str(&format!("device    {}\n", status.device.as_deref().map_or("not enrolled yet".into(), printable)));
    out.push_str(&format!("contact   {}\n", contact(status.last_contact, now)));
    if let Some(problem) = &status.problem {
        out.push_str(&format!("problem   {}\n", printable(problem)));
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
        product::ProductId,
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
