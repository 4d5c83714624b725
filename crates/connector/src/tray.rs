//! What the icon beside the clock shows, where there is one: a picture, a line of text, a menu, a small window. Pure; drawing it
//! is [`crate::platform`]'s.

use jiff::{Timestamp, tz::TimeZone};
use protocol::message::Gate;

use crate::{
    installer::state::Stage,
    status::{Migration, Status},
};

/// What the picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Mail goes both ways.
    Online,
    /// What is here can be read and changed; the rest waits.
    Offline,
    /// The mailbox or the program is being upgraded.
    Upgrading,
}

/// What the user asks for in the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Everything the same on both sides, now.
    Synchronise,
    /// The version that the mail server needs, now.
    Upgrade,
    /// A file for whoever helps.
    Diagnostics,
    /// The connector taken away from this account; first it is asked what becomes of the mail.
    Remove,
    /// The end of the program.
    Quit,
}

/// All that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What the picture says.
    pub state: State,
    /// The line beside the picture, at most [`TIP`] units of UTF-16.
    pub tip: String,
    /// What the window says: what, and how it is.
    pub rows: Vec<(&'static str, String)>,
    /// What the user should know; may be long.
    pub notice: String,
}

/// Units of UTF-16 that the system shows beside a picture, without the zero at the end (`NOTIFYICONDATA`).
pub const TIP: usize = 127;

impl View {
    /// Before anything is known.
    pub fn starting(version: &str) -> Self {
        Self {
            state: State::Offline,
            tip: "Lockstep Connector: starting".into(),
            rows: vec![("State", "Starting".into()), ("Version", version.into())],
            notice: String::new(),
        }
    }

    /// How things stand; times are shown in `zone`.
    pub fn of(status: &Status, zone: &TimeZone) -> Self {
        let time = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let state = state(status);
        let word = match state {
            State::Online => "Online",
            State::Offline => "Offline",
            State::Upgrading => "Upgrading",
        };
        let mut rows = vec![
            ("Account", status.user.clone()),
            ("State", format!("{word} since {}", time(status.since))),
            ("Synchronised", status.last_sync.map_or_else(|| "Not yet".into(), time)),
            ("Waiting", waiting(status)),
            ("Mail program", format!("127.0.0.1, IMAP port {}, SMTP port {}", status.imap_port, status.smtp_port)),
            ("Version", status.version.clone()),
            ("Updater", updater(status.updater).into()),
        ];
        if let Some(installer) = &status.installer {
            rows.push(("Upgrade", installer.words()));
        }
        let migration = status.migration.as_ref().map(|Migration { step, steps, what, done, total }| {
            format!("Upgrading the mailbox, step {step} of {steps}: {what} ({done} of {total} messages).")
        });
        let notice: Vec<_> = migration.into_iter().chain(status.notice.clone()).chain(status.problem.clone()).collect();
        Self {
            state,
            tip: shortened(&format!("Lockstep Connector: {word}\n{}", status.user), TIP),
            rows,
            notice: notice.join(" "),
        }
    }
}

fn state(status: &Status) -> State {
    let busy = status
        .installer
        .as_ref()
        .is_some_and(|installer| matches!(installer.stage, Stage::Preparing | Stage::Asking | Stage::Installed));
    match status.gate {
        Gate::Online => State::Online,
        Gate::Upgrading => State::Upgrading,
        Gate::Offline if busy || status.migration.is_some() => State::Upgrading,
        Gate::Offline => State::Offline,
    }
}

fn waiting(status: &Status) -> String {
    let Status { outbox, pending, failed, .. } = status;
    let undeliverable = if *failed == 0 { String::new() } else { format!(", {failed} not deliverable") };
    match (outbox, pending) {
        (0, 0) => format!("Nothing{undeliverable}"),
        _ => format!("{outbox} to be sent, {pending} changes{undeliverable}"),
    }
}

fn updater(there: Option<bool>) -> &'static str {
    match there {
        Some(true) => "Installed: upgrades need no password",
        Some(false) => "None: an upgrade asks for the administrator's password",
        None => "Not looked for yet",
    }
}

/// Cut to so many units of UTF-16, at the end of a character.
pub fn shortened(text: &str, units: usize) -> String {
    if text.encode_utf16().count() <= units {
        return text.to_owned();
    }
    let mut left = units.saturating_sub(1);
    let fits = |letter: &char| {
        let enough = left >= letter.len_utf16();
        left = left.saturating_sub(letter.len_utf16());
        enough
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(gate: &str) -> Status {
        serde_json::from_value(serde_json::json!({
            "v": 1, "running": true, "version": "7.2.0", "user": "alice@example.test", "gate": gate,
            "since": "2026-05-04T11:00:00Z", "last_online_at": null, "last_offline_at": null, "notice": null,
            "updater": false, "installer": null, "problem": null, "outbox": 0, "failed": 0, "pending": 0,
            "last_sync": "2026-05-04T11:05:00Z", "last_check_in": null, "folders": {}, "imap_port": 1143,
            "smtp_port": 1587, "pid": 1
        }))
        .unwrap()
    }

    #[test]
    fn the_picture_says_whether_mail_goes() {
        for (gate, state) in [("online", State::Online), ("offline", State::Offline), ("upgrading", State::Upgrading)] {
            assert_eq!(View::of(&status(gate), &TimeZone::UTC).state, state);
        }
        let mut migrating = status("offline");
        migrating.migration = Some(Migration { step: 1, steps: 2, what: "sorting".into(), done: 1, total: 2 });
        let view = View::of(&migrating, &TimeZone::UTC);
        assert_eq!(view.state, State::Upgrading);
        assert_eq!(view.notice, "Upgrading the mailbox, step 1 of 2: sorting (1 of 2 messages).");
    }

    #[test]
    fn the_window_says_how_things_stand() {
        let mut offline = status("offline");
        (offline.outbox, offline.pending, offline.failed) = (2, 3, 1);
        offline.notice = Some("Offline: version 7.3.0 is needed.".into());
        insta::assert_debug_snapshot!(View::of(&offline, &TimeZone::UTC));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("shorter", 5), "shor…");
        assert_eq!(shortened("🐴🐴🐴", 5), "🐴🐴…");
        let mut long = status("online");
        long.user = format!("{}@example.test", "x".repeat(300));
        assert_eq!(View::of(&long, &TimeZone::UTC).tip.encode_utf16().count(), TIP);
    }
}
