//! The tree of a message's parts, as ranges of its bytes (RFC 2046).

use super::{fields, parameters};
use std::ops::Range;

/// How deep parts may be nested; what lies deeper is a leaf.
const MAX_DEPTH: usize = 30;
/// How many parts one message may have.
const MAX_PARTS: usize = 5_000;

/// A part of a message, or the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its header with the empty line.
    pub(crate) header: Range<usize>,
    /// Its body: without the line end that belongs to the boundary after it.
    pub(crate) body: Range<usize>,
    /// Type and parameters from `Content-Type`, or the default.
    pub(crate) content_type: parameters::Value,
    /// What is inside.
    pub(crate) kind: Kind,
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Other parts; at least one.
    Multipart(Vec<Part>),
    /// A whole message (message/rfc822).
    Message(Box<Part>),
    /// Anything else.
    Leaf,
}

impl Part {
    /// Takes a whole message apart.
    pub(crate) fn parse(message: &[u8]) -> Part {
        Parser { message, parts: 0 }.part(0..message.len(), 0, "text/plain")
    }

    /// `text` of `text/plain`.
    pub(crate) fn main_type(&self) -> &[u8] {
        let word = &self.content_type.word;
        word.split(|&b| b == b'/').next().unwrap_or_default()
    }

    /// `plain` of `text/plain`.
    pub(crate) fn sub_type(&self) -> &[u8] {
        self.content_type.word.splitn(2, |&b| b == b'/').nth(1).unwrap_or_default()
    }
}

struct Parser<'a> {
    message: &'a [u8],
    parts: usize,
}

impl Parser<'_> {
    fn part(&mut self, range: Range<usize>, depth: usize, default_type: &str) -> Part {
        self.parts += 1;
        let header_end = range.start + fields::header_length(&self.message[range.clone()]);
        let header = range.start..header_end;
        let body = header_end..range.end;
        let mut content_type = fields::find(&self.message[header.clone()], "content-type")
            .map(|v| parameters::parse(&v))
            .filter(|v| is_media_type(&v.word))
            .unwrap_or_else(|| parameters::parse(default_type.as_bytes()));
        let kind = if depth >= MAX_DEPTH { Kind::Leaf } else { self.inside(&header, &body, &content_type, depth) };
        if matches!(kind, Kind::Leaf)
            && content_type.word.get(..10).is_some_and(|t| t.eq_ignore_ascii_case(b"multipart/"))
        {
            // A multipart without a boundary is no multipart.
            content_type = parameters::parse(b"text/plain");
        }
        Part { header, body, content_type, kind }
    }

    fn inside(
        &mut self,
        header: &Range<usize>,
        body: &Range<usize>,
        content_type: &parameters::Value,
        depth: usize,
    ) -> Kind {
        let media_type = content_type.word.to_ascii_lowercase();
        if media_type.starts_with(b"multipart/") {
            let Some(boundary) = content_type.parameter("boundary").filter(|b| !b.is_empty()) else {
                return Kind::Leaf;
            };
            let default_type = if media_type == b"multipart/digest" { "message/rfc822" } else { "text/plain" };
            let ranges = split(&self.message[..body.end], body.start, boundary, MAX_PARTS.saturating_sub(self.parts));
            return Kind::Multipart(ranges.into_iter().map(|r| self.part(r, depth + 1, default_type)).collect());
        }
        if media_type == b"message/rfc822" {
            let encoding = fields::find(&self.message[header.clone()], "content-transfer-encoding").unwrap_or_default();
            // RFC 2046, 5.2.1: only identity encodings are allowed; anything else is opaque.
            if !encoding.eq_ignore_ascii_case(b"base64") && !encoding.eq_ignore_ascii_case(b"quoted-printable") {
                return Kind::Message(Box::new(self.part(body.clone(), depth + 1, "text/plain")));
            }
        }
        Kind::Leaf
    }
}

fn is_media_type(word: &[u8]) -> bool {
    let mut halves = word.splitn(2, |&b| b == b'/');
    let ok = |half: Option<&[u8]>| half.is_some_and(|h| !h.is_empty() && h.iter().all(u8::is_ascii_graphic));
    ok(halves.next()) && ok(halves.next())
}

/// The parts between boundary lines from `start` to the end of `message`; one empty part if there are none.
fn split(message: &[u8], start: usize, boundary: &[u8], most: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = start;
    while at < message.len() {
        let end = fields::line_end(message, at);
        if let Some(last) = boundary_line(&message[at..end], boundary) {
            if let Some(from) = open.take() {
                parts.push(from..without_line_end(message, from, at));
            }
            if last {
                at = message.len();
                break;
            }
            if parts.len() + 1 >= most.max(1) {
                open = Some(end);
                at = message.len();
                break;
            }
            open = Some(end);
        }
        at = end;
    }
    if let Some(from) = open {
        parts.push(from..at);
    }
    if parts.is_empty() {
        parts.push(message.len()..message.len());
    }
    parts
}

/// Whether the line is `--boundary` (`Some(false)`) or `--boundary--` (`Some(true)`), white space after it allowed.
fn boundary_line(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (rest, last) = rest.strip_prefix(b"--").map_or((rest, false), |r| (r, true));
    // RFC 2046, 5.1.1: after the closing one anything may follow, in practice.
    (last || rest.trim_ascii().is_empty()).then_some(last)
}

/// The line end before a boundary belongs to the boundary.
fn without_line_end(message: &[u8], from: usize, to: usize) -> usize {
    let bytes = &message[from..to];
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    from + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NESTED: &[u8] = b"Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\n\r\nplain\r\n--a\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/alternative; boundary=ab\r\n\r\n\
        --ab\r\n\r\none\r\n--ab\r\nContent-Type: text/html\r\n\r\n<p>\r\n--ab--\r\n--a--\r\nepilogue\r\n";

    fn body<'a>(message: &'a [u8], part: &Part) -> &'a [u8] {
        &message[part.body.clone()]
    }

    #[test]
    fn parts_are_exact_byte_ranges_also_inside_an_enclosed_message() {
        let Kind::Multipart(parts) = Part::parse(NESTED).kind else { panic!("multipart") };
        assert_eq!(parts.len(), 2);
        assert_eq!(body(NESTED, &parts[0]), b"plain");
        let Kind::Message(inner) = &parts[1].kind else { panic!("message") };
        let Kind::Multipart(inner) = &inner.kind else { panic!("inner multipart") };
        assert_eq!(body(NESTED, &inner[0]), b"one");
        assert_eq!(body(NESTED, &inner[1]), b"<p>");
        assert_eq!(inner[1].sub_type(), b"html");
    }

    #[test]
    fn a_missing_end_or_boundary_still_gives_parts() {
        let open = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nto the end";
        let Kind::Multipart(parts) = Part::parse(open).kind else { panic!("multipart") };
        assert_eq!(body(open, &parts[0]), b"to the end");
        let none = Part::parse(b"Content-Type: multipart/mixed\r\n\r\nbody");
        assert_eq!((none.kind, none.content_type.word), (Kind::Leaf, b"text/plain".to_vec()));
        assert_eq!(Part::parse(b"").kind, Kind::Leaf);
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let deep = b"Content-Type: message/rfc822\r\n\r\n".repeat(1000);
        let (mut part, mut depth) = (Part::parse(&deep), 0);
        while let Kind::Message(inner) = part.kind {
            part = *inner;
            depth += 1;
        }
        assert_eq!(depth, MAX_DEPTH);
        let mut many = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n".to_vec();
        many.extend(b"--x\r\n".repeat(MAX_PARTS * 2));
        let Kind::Multipart(parts) = Part::parse(&many).kind else { panic!("multipart") };
        assert!(parts.len() <= MAX_PARTS, "{}", parts.len());
    }

    proptest! {
        #[test]
        fn every_range_lies_inside_its_parent(middle in "(--a\r\n|--a--\r\n|--b\r\n|x\r\n|\r\n|\n|Content-Type: multipart/x; boundary=b\r\n|Content-Type: message/rfc822\r\n){0,20}") {
            let message = format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{middle}");
            fn check(part: &Part, within: &Range<usize>) {
                assert!(part.header.start >= within.start && part.header.end == part.body.start);
                assert!(part.body.start <= part.body.end && part.body.end <= within.end);
                match &part.kind {
                    Kind::Multipart(parts) => parts.iter().for_each(|p| check(p, &part.body)),
                    Kind::Message(inner) => check(inner, &part.body),
                    Kind::Leaf => {}
                }
            }
            check(&Part::parse(message.as_bytes()), &(0..message.len()));
        }
    }
}
