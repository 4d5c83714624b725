//! What a submission server may add (RFC 6409, section 8): `Date` and `Message-ID`, if they are missing.
//!
//! No `Received`: the mail server that takes the message from us writes the first one, and this PC's name is nobody's business.

use crate::local::mime::fields;

/// The message with `Date` and `Message-ID`. `now` is in Unix seconds; `unique` makes the id unlike any other.
pub(super) fn complete(message: Vec<u8>, sender: &str, now: i64, unique: u128) -> Vec<u8> {
    let header = &message[..fields::header_length(&message)];
    let has = |name| fields::find(header, name).is_some_and(|v| !v.is_empty());
    let mut added = String::new();
    if !has("message-id") {
        let domain = sender.rsplit_once('@').map(|(_, d)| d).filter(|d| is_id_right(d)).unwrap_or("localhost");
        added.push_str(&format!("Message-ID: <{unique:032x}@{domain}>\r\n"));
    }
    if !has("date") {
        let time = jiff::Timestamp::from_second(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        added.push_str(&format!("Date: {}\r\n", time.strftime("%a, %d %b %Y %H:%M:%S +0000")));
    }
    if added.is_empty() {
        return message;
    }
    // Without any field, the first line is text: our fields must not swallow it.
    let first = fields::fields(header).next();
    if first.is_some_and(|f| f.name.is_empty() || f.name.contains(&b' ')) {
        added.push_str("\r\n");
    }
    let mut whole = added.into_bytes();
    whole.extend(message);
    whole
}

fn is_id_right(domain: &str) -> bool {
    !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str, sender: &str) -> String {
        String::from_utf8(complete(message.as_bytes().to_vec(), sender, 1_767_259_800, 7)).unwrap()
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let whole = "Message-ID: <1@x>\r\nDate: today\r\n\r\nbody\r\n";
        assert_eq!(text(whole, "a@x"), whole);
    }

    #[test]
    fn what_is_missing_is_added_on_top() {
        assert_eq!(
            text("Subject: s\r\n\r\nbody\r\n", "a@x.org"),
            "Message-ID: <00000000000000000000000000000007@x.org>\r\nDate: Thu, 01 Jan 2026 09:30:00 +0000\r\nSubject: s\r\n\r\nbody\r\n"
        );
        assert!(
            text("Date: x\r\n\r\n", "")
                .starts_with("Message-ID: <00000000000000000000000000000007@localhost>\r\nDate: x")
        );
    }

    #[test]
    fn a_message_without_a_header_keeps_its_first_line_as_text() {
        assert!(text("hello there\r\n", "a@x").ends_with("+0000\r\n\r\nhello there\r\n"));
        assert!(text("\r\nhello\r\n", "a@x").ends_with("+0000\r\n\r\nhello\r\n"));
    }
}
