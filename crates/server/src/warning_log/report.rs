//! The report's text. Each line is an event: a time stamp, then one printable line.

use std::collections::BTreeSet;

use jiff::Zoned;
use protocol::Version;

use crate::plain_text::printable;

const RULE: &str = "**************************************************************************************************";

/// What a report says.
#[derive(Debug)]
pub struct Report<'a> {
    /// What the client program is called.
    pub client: &'a str,
    /// What the administrator calls the server.
    pub server: &'a str,
    /// The server version that would cut users off.
    pub to: &'a Version,
    /// Whether the server has that version already.
    pub is_there: bool,
    /// Where the updater can be downloaded.
    pub updater_address: &'a str,
    /// Where the installers are.
    pub integration_page: &'a str,
    /// Who is affected; one line each.
    pub users: &'a BTreeSet<String>,
}

impl Report<'_> {
    /// The text, with a line end after every line. The time stamp is local, as in `[08/Sep/2011 11:25:17]`.
    pub fn text(&self, now: &Zoned) -> String {
        let stamp = now.strftime("[%d/%b/%Y %H:%M:%S]").to_string();
        let Self { client, server, to, is_there, updater_address, integration_page, users } = self;
        let (client, server) = (printable(client), printable(server));
        let mut lines = vec![
            format!("{stamp}{RULE}"),
            format!("{stamp} {client} of some users doesn't have Lockstep Updater ( {updater_address} ) installed."),
            if *is_there {
                format!(
                    "{stamp} Now that {server} has version {}.{}, they are not able to use email.",
                    to.major, to.minor
                )
            } else {
                format!(
                    "{stamp} If you upgrade {server} to {}.{} or newer, they will not be able to use email.",
                    to.major, to.minor
                )
            },
            format!("{stamp} To fix this, reinstall {client} ( {integration_page} ) on affected users' computers."),
            format!("{stamp}{RULE}"),
        ];
        let user =
            |user: &String| format!("{stamp} User {} does not have installed Lockstep Updater.", printable(user));
        lines.extend(users.iter().map(user));
        lines.push(String::new());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain_text::acts;

    fn text(users: &[&str]) -> String {
        report(users, false)
    }

    fn report(users: &[&str], is_there: bool) -> String {
        let users = users.iter().map(|u| (*u).to_owned()).collect();
        let report = Report {
            client: "Lockstep Connector",
            server: "the mail server",
            to: &Version::new(7, 3, 0),
            is_there,
            updater_address: "https://server.domain.local/integration/updater",
            integration_page: "https://server.domain.local/integration",
            users: &users,
        };
        report.text(&"2011-09-08T11:25:17+02:00[Europe/Prague]".parse().unwrap())
    }

    #[test]
    fn the_report_has_the_lines_of_the_description_in_their_order() {
        insta::assert_snapshot!(text(&["bob@localhost", "admin@localhost"]));
    }

    #[test]
    fn when_the_server_is_there_already_it_says_so() {
        let text = report(&["bob"], true);
        let line = text.lines().nth(2).unwrap();
        assert!(
            line.ends_with("] Now that the mail server has version 7.3, they are not able to use email."),
            "{line}"
        );
    }

    #[test]
    fn a_hostile_name_stays_one_printable_capped_line() {
        let flood = "x".repeat(1 << 20);
        let text =
            text(&["a\r\n[08/Sep/2011 11:25:17] User eve", "\u{1b}]0;owned\u{7}\u{9b}2J", "\u{202e}gpj", &flood]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5 + 4);
        for line in lines {
            assert!(line.starts_with("[08/Sep/2011 11:25:17]") && line.len() < 400, "{line}");
            assert!(!line.chars().any(acts), "{line:?}");
        }
    }
}
