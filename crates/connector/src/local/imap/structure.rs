//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501, section 7.4.2).

use super::wire::{nstring, string};
use crate::local::mime::address::{self, Entry};
use crate::local::mime::{Kind, Part, fields, parameters};

/// Addresses shown of one message with all that are enclosed in it: a mail of 64 MiB could else have an answer of gigabytes.
const MAX_ADDRESSES: usize = 50_000;

/// `(date subject from sender reply-to to cc bcc in-reply-to message-id)`, fields not decoded.
pub(super) fn envelope(out: &mut Vec<u8>, header: &[u8]) {
    envelope_within(out, header, &mut { MAX_ADDRESSES });
}

fn envelope_within(out: &mut Vec<u8>, header: &[u8], left: &mut usize) {
    let field = |name| fields::find(header, name);
    out.push(b'(');
    nstring(out, field("date").as_deref());
    out.push(b' ');
    nstring(out, field("subject").as_deref());
    let from = field("from");
    let or_from = |name| field(name).filter(|v| !v.is_empty()).or_else(|| from.clone());
    for list in [from.clone(), or_from("sender"), or_from("reply-to"), field("to"), field("cc"), field("bcc")] {
        out.push(b' ');
        addresses(out, list.as_deref(), left);
    }
    out.push(b' ');
    nstring(out, field("in-reply-to").as_deref());
    out.push(b' ');
    nstring(out, field("message-id").as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: Option<&[u8]>, left: &mut usize) {
    let mut entries = list.filter(|_| *left > 0).map(address::parse).unwrap_or_default();
    entries.truncate(*left);
    *left -= entries.len();
    if entries.is_empty() {
        out.extend(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in &entries {
        let (name, route, mailbox, host) = match entry {
            Entry::Address { name, route, mailbox, host } => {
                (name.as_deref(), route.as_deref(), Some(mailbox.as_slice()), Some(host.as_slice()))
            }
            Entry::GroupStart(name) => (None, None, Some(name.as_slice()), None),
            Entry::GroupEnd => (None, None, None, None),
        };
        out.push(b'(');
        for (i, text) in [name, route, mailbox, host].into_iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            nstring(out, text);
        }
        out.push(b')');
    }
    out.push(b')');
}

/// BODYSTRUCTURE of a part; without `extended`, BODY.
pub(super) fn body(out: &mut Vec<u8>, message: &[u8], part: &Part, extended: bool) {
    body_within(out, message, part, extended, &mut { MAX_ADDRESSES });
}

fn body_within(out: &mut Vec<u8>, message: &[u8], part: &Part, extended: bool, left: &mut usize) {
    let header = &message[part.header.clone()];
    out.push(b'(');
    if let Kind::Multipart(parts) = &part.kind {
        for inner in parts {
            body_within(out, message, inner, extended, left);
        }
        out.push(b' ');
        string(out, part.sub_type());
        if extended {
            out.push(b' ');
            parameter_list(out, &part.content_type);
            disposition_language_location(out, header);
        }
    } else {
        single(out, message, part, header, extended, left);
    }
    out.push(b')');
}

fn single(out: &mut Vec<u8>, message: &[u8], part: &Part, header: &[u8], extended: bool, left: &mut usize) {
    let content = &message[part.body.clone()];
    string(out, part.main_type());
    out.push(b' ');
    string(out, part.sub_type());
    out.push(b' ');
    let is_text = part.main_type().eq_ignore_ascii_case(b"text");
    if is_text && part.content_type.parameter("charset").is_none() {
        // RFC 2045, 5.2: the default charset.
        let mut content_type = part.content_type.clone();
        content_type.parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
        parameter_list(out, &content_type);
    } else {
        parameter_list(out, &part.content_type);
    }
    for name in ["content-id", "content-description"] {
        out.push(b' ');
        nstring(out, fields::find(header, name).as_deref());
    }
    out.push(b' ');
    let encoding = fields::find(header, "content-transfer-encoding").map(|value| parameters::parse(&value).word);
    string(out, encoding.as_deref().filter(|e| !e.is_empty()).unwrap_or(b"7bit"));
    out.extend(format!(" {}", content.len()).as_bytes());
    let lines = || content.iter().filter(|&&b| b == b'\n').count();
    match &part.kind {
        Kind::Message(inner) => {
            out.push(b' ');
            envelope_within(out, &message[inner.header.clone()], left);
            out.push(b' ');
            body_within(out, message, inner, extended, left);
            out.extend(format!(" {}", lines()).as_bytes());
        }
        _ if is_text => out.extend(format!(" {}", lines()).as_bytes()),
        // An encoded message/rfc822 is opaque, but its grammar still wants an envelope, a body and lines.
        _ if part.content_type.word.eq_ignore_ascii_case(b"message/rfc822") => {
            out.push(b' ');
            envelope(out, b"");
            out.extend(b" (\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0");
            out.extend(format!(") {}", lines()).as_bytes());
        }
        _ => {}
    }
    if extended {
        out.push(b' ');
        nstring(out, fields::find(header, "content-md5").as_deref());
        disposition_language_location(out, header);
    }
}

fn disposition_language_location(out: &mut Vec<u8>, header: &[u8]) {
    out.push(b' ');
    match fields::find(header, "content-disposition").map(|v| parameters::parse(&v)).filter(|d| !d.word.is_empty()) {
        Some(disposition) => {
            out.push(b'(');
            string(out, &disposition.word);
            out.push(b' ');
            parameter_list(out, &disposition);
            out.push(b')');
        }
        None => out.extend(b"NIL"),
    }
    for name in ["content-language", "content-location"] {
        out.push(b' ');
        nstring(out, fields::find(header, name).as_deref());
    }
}

fn parameter_list(out: &mut Vec<u8>, value: &parameters::Value) {
    if value.parameters.is_empty() {
        out.extend(b"NIL");
        return;
    }
    out.push(b'(');
    for (i, (name, text)) in value.parameters.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        string(out, name);
        out.push(b' ');
        string(out, text);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap_codec::ResponseCodec;
    use imap_codec::decode::Decoder;
    use proptest::prelude::*;

    fn structure_of(message: &[u8]) -> String {
        let mut out = Vec::new();
        body(&mut out, message, &Part::parse(message), true);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_plain_message() {
        assert_eq!(
            structure_of(b"Subject: x\r\n\r\none\r\ntwo\r\n"),
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn a_multipart_with_an_attachment() {
        let message = b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\
            Content-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=\"a b.png\"\r\nContent-ID: <1@x>\r\n\r\nAAAA\r\n--b--\r\n";
        assert_eq!(
            structure_of(message),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 2 0 NIL NIL NIL NIL)\
             (\"image\" \"png\" (\"name\" \"a b.png\") \"<1@x>\" NIL \"base64\" 4 NIL (\"attachment\" (\"filename\" \"a b.png\")) NIL NIL) \
             \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
        );
    }

    #[test]
    fn many_enclosed_messages_with_many_addresses_do_not_make_a_huge_answer() {
        let inner = format!("Content-Type: message/rfc822\r\n\r\nFrom: {}\r\n\r\nx\r\n", "a,".repeat(10_000));
        let part = format!("--b\r\n{inner}");
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", part.repeat(50));
        assert!(structure_of(message.as_bytes()).len() < 2_000_000, "1 MB of mail must not become 25 MB of answer");
    }

    #[test]
    fn the_envelope_repeats_from_and_shows_groups() {
        let mut out = Vec::new();
        envelope(&mut out, b"Date: today\r\nFrom: A <a@x>\r\nTo: g: b@y;\r\nMessage-ID: <1@x>\r\n\r\n");
        let a = "((\"A\" NIL \"a\" \"x\"))";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "(\"today\" NIL {a} {a} {a} ((NIL NIL \"g\" NIL)(NIL NIL \"b\" \"y\")(NIL NIL NIL NIL)) NIL NIL NIL \"<1@x>\")"
            )
        );
    }

    proptest! {
        /// Whatever the message, a strict client can read the answer.
        #[test]
        fn an_independent_parser_reads_the_answer(
            header in "((From|To|Subject|Date|Content-Type|Content-Disposition): [ -~]{0,30}\r\n){0,6}",
            middle in "(--b\r\n|--b--\r\n|\r\n|Content-Type: (message/rfc822|text/html|multipart/digest; boundary=b|message/rfc822; x=\"y)\r\n|Content-Transfer-Encoding: (base64|8bit)\r\n|[ -~]{0,10}\r\n){0,12}",
        ) {
            let message = format!("{header}Content-Type: multipart/mixed; boundary=b\r\n\r\n{middle}");
            let mut out = b"* 1 FETCH (BODYSTRUCTURE ".to_vec();
            body(&mut out, message.as_bytes(), &Part::parse(message.as_bytes()), true);
            out.extend(b" ENVELOPE ");
            envelope(&mut out, header.as_bytes());
            out.extend(b")\r\n");
            let read = ResponseCodec::default().decode(&out);
            prop_assert!(matches!(&read, Ok((rest, _)) if rest.is_empty()), "{:?}\n{}", read, String::from_utf8_lossy(&out));
        }
    }
}
