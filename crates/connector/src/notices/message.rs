//! The one local message that tells a user who is cut off what has happened. It never goes to the mail server.

use jiff::Timestamp;

use crate::gate::CutOff;

/// Marks such a message.
pub const HEADER: &str = "X-Lockstep-Notice";

/// The message, as it will lie in INBOX. Whatever others have said is text, never a header.
pub fn compose(user: &str, cut_off: &CutOff, now: Timestamp) -> Vec<u8> {
    let CutOff { running, needed, why, what_to_do, webmail, .. } = cut_off;
    let needs = match needed {
        Some(version) => format!("Version {version} is needed."),
        None => "There is no version for it yet.".into(),
    };
    let webmail = match webmail {
        Some(url) => format!("the WebMail at {url}"),
        None => "the WebMail".into(),
    };
    let random = rand::random::<u64>();
    let id = format!("<{random:016x}.notice@lockstep.invalid>");
    let user: String = user.chars().filter(|c| !c.is_control()).collect();
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let body = [
        format!("The connector {running} on this computer does not work with the mail server any more:\n{why}.\n{needs}"),
        format!("WHAT TO DO\n\n{what_to_do}"),
        "MEANWHILE\n\nAll mail that is on this computer can be read. What you change, write and send is kept here and\n\
         goes out as soon as the connector is upgraded. New mail does not arrive here until then."
            .into(),
        format!("To read and send mail now, use {webmail} or any other mail program: nothing but this connector is held back."),
        "This message lies on this computer only. It goes away by itself when the connector is online again, and does\n\
         not come back if you delete it."
            .into(),
    ]
    .join("\n\n");
    let text = format!(
        "From: Lockstep Connector <lockstep-connector@localhost>\nTo: {user}\n\
         Subject: [Lockstep] You are offline: this connector must be upgraded\nDate: {date}\nMessage-ID: {id}\n\
         Auto-Submitted: auto-generated\n{HEADER}: offline\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}\n"
    );
    text.replace('\n', "\r\n").into_bytes()
}

/// The same in few words, for the desktop.
pub fn short(cut_off: &CutOff) -> String {
    let CutOff { running, what_to_do, webmail, .. } = cut_off;
    let webmail = webmail.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    format!(
        "The connector {running} does not work with the mail server any more. {what_to_do} Meanwhile use the \
         WebMail{webmail}; what you write here is kept."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_what_to_do_and_where_the_webmail_is() {
        let cut_off = CutOff {
            running: "7.2.0".parse().unwrap(),
            needed: Some("7.3.0".parse().unwrap()),
            why: "the mail server is at 7.3.0".into(),
            what_to_do: "To go on, run: lockstep-connector upgrade".into(),
            webmail: Some("https://webmail.example.test".into()),
            updater: false,
        };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let text = String::from_utf8(compose("alice@example.test\r\nBcc: eve@example.test", &cut_off, now)).unwrap();
        assert!(!text.contains("\nBcc:"), "{text}");
        let steady = text.lines().filter(|line| !line.starts_with("Message-ID:")).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!("offline_message", steady);
    }
}
