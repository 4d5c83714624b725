//! What a submission server may add (RFC 6409, section 8): `Date` and `Message-ID`, if they are missing; and
//! `X-Lockstep-Submission`, by which a mail server can tell that it has a message already (docs/adr/0007). It is random,
//! says nothing about the user or the PC, and stays the same however often the message has to be sent again.
//!
//! No `Received`: the mail server that takes the message from us writes the first one, and this PC's name is nobody's business.

use crate::local::mime::fields;

/// The header that carries a submission's id.
const SUBMISSION: &str = "X-Lockstep-Submission";

/// The message with `Date`, `Message-ID` and the id of this submission. `now` is in Unix seconds; `unique` makes both ids
/// unlike any other.
pub(super) fn complete(message: Vec<u8>, sender: &str, now: i64, unique: u128) -> Vec<u8> {
    let message = without_submission(message);
    let header = &message[..fields::header_length(&message)];
    let has = |name| fields::find(header, name).is_some_and(|v| !v.is_empty());
    let mut added = format!("{SUBMISSION}: {unique:032x}\r\n");
    if !has("message-id") {
        let domain = sender.rsplit_once('@').map(|(_, d)| d).filter(|d| is_id_right(d)).unwrap_or("localhost");
        added.push_str(&format!("Message-ID: <{unique:032x}@{domain}>\r\n"));
    }
    if !has("date") {
        let time = jiff::Timestamp::from_second(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        added.push_str(&format!("Date: {}\r\n", time.strftime("%a, %d %b %Y %H:%M:%S +0000")));
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

/// A message that is sent on by hand may still carry the id of its first submission; it is another submission now.
fn without_submission(message: Vec<u8>) -> Vec<u8> {
    let length = fields::header_length(&message);
    let is_id = |field: &fields::Field<'_>| field.name.eq_ignore_ascii_case(SUBMISSION.as_bytes());
    if !fields::fields(&message[..length]).any(|field| is_id(&field)) {
        return message;
    }
    let kept = fields::fields(&message[..length]).filter(|field| !is_id(field));
    let mut whole: Vec<u8> = kept.flat_map(|field| field.raw.iter().copied()).collect();
    let fields_length: usize = fields::fields(&message[..length]).map(|field| field.raw.len()).sum();
    whole.extend_from_slice(&message[fields_length..]);
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

    /// The submission's id with the seven of these tests.
    const ID: &str = "X-Lockstep-Submission: 00000000000000000000000000000007\r\n";

    #[test]
    fn what_is_there_is_left_alone() {
        let whole = "Message-ID: <1@x>\r\nDate: today\r\n\r\nbody\r\n";
        assert_eq!(text(whole, "a@x"), format!("{ID}{whole}"));
    }

    #[test]
    fn a_message_that_is_sent_on_is_another_submission() {
        let before =
            "Received: x\r\nx-lockstep-submission: 1\r\n 2\r\nMessage-ID: <1@x>\r\nDate: today\r\n\r\nbody\r\n";
        let after = "Received: x\r\nMessage-ID: <1@x>\r\nDate: today\r\n\r\nbody\r\n";
        assert_eq!(text(before, "a@x"), format!("{ID}{after}"));
    }

    #[test]
    fn what_is_missing_is_added_on_top() {
        assert_eq!(
            text("Subject: s\r\n\r\nbody\r\n", "a@x.org"),
            format!(
                "{ID}Message-ID: <00000000000000000000000000000007@x.org>\r\nDate: Thu, 01 Jan 2026 09:30:00 +0000\r\n\
                 Subject: s\r\n\r\nbody\r\n"
            )
        );
        let nobody = text("Date: x\r\n\r\n", "");
        assert_eq!(nobody, format!("{ID}Message-ID: <00000000000000000000000000000007@localhost>\r\nDate: x\r\n\r\n"));
    }

    #[test]
    fn a_message_without_a_header_keeps_its_first_line_as_text() {
        assert!(text("hello there\r\n", "a@x").ends_with("+0000\r\n\r\nhello there\r\n"));
        assert!(text("\r\nhello\r\n", "a@x").ends_with("+0000\r\n\r\nhello\r\n"));
    }
}
