//! `BODY[…]` sections, byte for byte (RFC 3501, section 6.4.5).

use super::wire;
use crate::local::mime::{Kind, Part, fields};
use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::fetch::{Part as Numbers, Section};
use std::num::NonZeroU32;
use std::ops::Range;

/// Whether the message must be taken apart to find the section.
pub(super) fn needs_structure(section: &Section) -> bool {
    !matches!(
        section,
        Section::Header(None)
            | Section::Text(None)
            | Section::HeaderFields(None, _)
            | Section::HeaderFieldsNot(None, _)
    )
}

/// Writes `BODY[1.2]<0> {5}…`, or NIL if there is no such section.
pub(super) fn write(
    out: &mut Vec<u8>,
    section: Option<&Section>,
    partial: Option<(u32, NonZeroU32)>,
    message: &[u8],
    parsed: Option<&Part>,
) {
    out.extend(b"BODY[");
    if let Some(section) = section {
        name(out, section);
    }
    out.push(b']');
    if let Some((start, _)) = partial {
        out.extend(format!("<{start}>").as_bytes());
    }
    out.push(b' ');
    match content(section, message, parsed) {
        Some(content) => {
            let part = match partial {
                Some((start, length)) => {
                    let start = (start as usize).min(content.len());
                    &content[start..start.saturating_add(length.get() as usize).min(content.len())]
                }
                None => &content[..],
            };
            wire::literal(out, part);
        }
        None => out.extend(b"NIL"),
    }
}

/// The section as the client named it.
fn name(out: &mut Vec<u8>, section: &Section) {
    let numbers = |part: &Numbers| part.0.as_ref().iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    let (part, what, list) = match section {
        Section::Part(part) => (Some(part), "", None),
        Section::Mime(part) => (Some(part), "MIME", None),
        Section::Header(part) => (part.as_ref(), "HEADER", None),
        Section::Text(part) => (part.as_ref(), "TEXT", None),
        Section::HeaderFields(part, names) => (part.as_ref(), "HEADER.FIELDS", Some(names)),
        Section::HeaderFieldsNot(part, names) => (part.as_ref(), "HEADER.FIELDS.NOT", Some(names)),
    };
    let path: Vec<String> = part.map(numbers).into_iter().chain((!what.is_empty()).then(|| what.to_owned())).collect();
    out.extend(path.join(".").as_bytes());
    if let Some(names) = list {
        out.extend(b" (");
        for (i, field) in names.as_ref().iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            match field {
                AString::Atom(atom) => out.extend(atom.as_ref().as_bytes()),
                AString::String(_) => wire::string(out, field.as_ref()),
            }
        }
        out.push(b')');
    }
}

fn content<'a>(
    section: Option<&Section>,
    message: &'a [u8],
    parsed: Option<&Part>,
) -> Option<std::borrow::Cow<'a, [u8]>> {
    let range = match section {
        None => 0..message.len(),
        Some(Section::Header(None)) => 0..fields::header_length(message),
        Some(Section::Text(None)) => fields::header_length(message)..message.len(),
        Some(Section::Part(part)) => entity(parsed?, part)?.body.clone(),
        Some(Section::Mime(part)) => entity(parsed?, part)?.header.clone(),
        Some(Section::Header(Some(part))) => enclosed(parsed?, part)?.header.clone(),
        Some(Section::Text(Some(part))) => enclosed(parsed?, part)?.body.clone(),
        Some(Section::HeaderFields(part, names)) => {
            return Some(some_fields(message, header_of(part.as_ref(), message, parsed)?, names.as_ref(), true).into());
        }
        Some(Section::HeaderFieldsNot(part, names)) => {
            return Some(
                some_fields(message, header_of(part.as_ref(), message, parsed)?, names.as_ref(), false).into(),
            );
        }
    };
    Some(message[range].into())
}

fn header_of(part: Option<&Numbers>, message: &[u8], parsed: Option<&Part>) -> Option<Range<usize>> {
    match part {
        None => Some(0..fields::header_length(message)),
        Some(part) => Some(enclosed(parsed?, part)?.header.clone()),
    }
}

/// The fields in `names` (or all others) as they are, and an empty line.
fn some_fields(message: &[u8], range: Range<usize>, names: &[AString], wanted: bool) -> Vec<u8> {
    let named = |name: &[u8]| names.iter().any(|n| n.as_ref().eq_ignore_ascii_case(name));
    let mut out = Vec::new();
    let header = &message[range];
    for field in fields::fields(header).filter(|f| named(f.name) == wanted) {
        out.extend(field.raw);
        if !field.raw.ends_with(b"\n") {
            out.extend(b"\r\n");
        }
    }
    // RFC 3501, 6.4.5: the empty line is always there, "except in the case of a message which has no body and no blank line".
    if header.ends_with(b"\n\r\n") || header.ends_with(b"\n\n") || matches!(header, b"\r\n" | b"\n") {
        out.extend(b"\r\n");
    }
    out
}

/// What a part number has reached.
enum Place<'a> {
    /// A message, whose parts are counted next.
    Message(&'a Part),
    /// A part.
    Entity(&'a Part),
}

/// The part that numbers name. In a message that is not a multipart, part 1 is its body.
fn entity<'a>(root: &'a Part, numbers: &Numbers) -> Option<&'a Part> {
    let mut place = Place::Message(root);
    for number in numbers.0.as_ref() {
        let n = number.get() as usize;
        let inside = match place {
            Place::Message(part) => part,
            Place::Entity(part) => match &part.kind {
                Kind::Message(inner) => inner,
                Kind::Multipart(_) => part,
                Kind::Leaf => return None,
            },
        };
        place = match &inside.kind {
            Kind::Multipart(parts) => Place::Entity(parts.get(n - 1)?),
            _ if n == 1 => Place::Entity(inside),
            _ => return None,
        };
    }
    match place {
        Place::Entity(part) => Some(part),
        Place::Message(_) => None,
    }
}

/// The message enclosed in a message/rfc822 part: HEADER and TEXT of any other part do not exist.
fn enclosed<'a>(root: &'a Part, numbers: &Numbers) -> Option<&'a Part> {
    match &entity(root, numbers)?.kind {
        Kind::Message(inner) => Some(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap_codec::imap_types::core::Vec1;

    const MESSAGE: &[u8] = b"Subject: outer\r\nX-A: 1\r\n 2\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n";

    fn numbers(path: &[u32]) -> Numbers {
        let numbers: Vec<_> = path.iter().map(|&n| NonZeroU32::new(n).unwrap()).collect();
        Numbers(Vec1::try_from(numbers).unwrap())
    }

    fn shown(
        section: Option<&Section>,
        partial: Option<(u32, NonZeroU32)>,
        message: &[u8],
        parsed: Option<&Part>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, section, partial, message, parsed);
        out
    }

    fn get(section: Section) -> String {
        String::from_utf8(shown(Some(&section), None, MESSAGE, Some(&Part::parse(MESSAGE)))).unwrap()
    }

    #[test]
    fn parts_are_counted_as_the_rfc_counts_them() {
        assert_eq!(get(Section::Part(numbers(&[1]))), "BODY[1] {5}\r\nhello");
        assert_eq!(get(Section::Mime(numbers(&[1]))), "BODY[1.MIME] {28}\r\nContent-Type: text/plain\r\n\r\n");
        assert_eq!(get(Section::Header(Some(numbers(&[2])))), "BODY[2.HEADER] {18}\r\nSubject: inner\r\n\r\n");
        assert_eq!(get(Section::Text(Some(numbers(&[2])))), "BODY[2.TEXT] {4}\r\ntext");
        assert_eq!(get(Section::Part(numbers(&[2, 1]))), "BODY[2.1] {4}\r\ntext");
        for missing in [&[3][..], &[1, 1], &[2, 2], &[2, 1, 1]] {
            assert!(get(Section::Part(numbers(missing))).ends_with(" NIL"), "{missing:?}");
        }
        assert!(get(Section::Header(Some(numbers(&[1])))).ends_with(" NIL"));
    }

    #[test]
    fn a_message_that_is_no_multipart_has_part_one() {
        let plain = b"Subject: x\r\n\r\nbody";
        let part = Part::parse(plain);
        let got = shown(Some(&Section::Part(numbers(&[1]))), None, plain, Some(&part));
        assert_eq!(got, b"BODY[1] {4}\r\nbody");
    }

    #[test]
    fn header_fields_keep_their_folding_and_end_with_an_empty_line() {
        let names = Vec1::from(AString::try_from("x-a").unwrap());
        assert_eq!(
            get(Section::HeaderFields(None, names.clone())),
            "BODY[HEADER.FIELDS (x-a)] {14}\r\nX-A: 1\r\n 2\r\n\r\n"
        );
        let rest = get(Section::HeaderFieldsNot(None, names));
        assert!(rest.contains("Subject: outer") && !rest.contains("X-A"), "{rest}");
    }

    #[test]
    fn partials_are_cut_at_the_end_and_never_fail() {
        let cut = |start, length| {
            let partial = Some((start, NonZeroU32::new(length).unwrap()));
            String::from_utf8(shown(None, partial, b"0123456789", None)).unwrap()
        };
        assert_eq!(cut(2, 3), "BODY[]<2> {3}\r\n234");
        assert_eq!(cut(8, 100), "BODY[]<8> {2}\r\n89");
        assert_eq!(cut(u32::MAX, u32::MAX), format!("BODY[]<{}> {{0}}\r\n", u32::MAX));
    }
}
