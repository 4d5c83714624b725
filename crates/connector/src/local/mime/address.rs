//! Address lists (RFC 5322, section 3.4), not decoded: ENVELOPE shows them as they are.

/// One entry of an ENVELOPE address list (RFC 3501, section 7.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A mailbox.
    Address {
        /// Display name.
        name: Option<Vec<u8>>,
        /// Source route (`@a,@b`), an antique.
        route: Option<Vec<u8>>,
        /// Local part.
        mailbox: Vec<u8>,
        /// Domain, empty if missing.
        host: Vec<u8>,
    },
    /// `name:` begins a group.
    GroupStart(Vec<u8>),
    /// `;` ends it.
    GroupEnd,
}

/// Most entries shown of one field.
const MAX_ENTRIES: usize = 10_000;

/// Reads an unfolded address list; what cannot be understood is shown as well as possible.
pub(crate) fn parse(value: &[u8]) -> Vec<Entry> {
    let mut list = List::default();
    let mut rest = value;
    while let Some(&b) = rest.first() {
        if list.entries.len() >= MAX_ENTRIES {
            break;
        }
        match b {
            b'"' => {
                let word = quoted(&mut rest);
                list.word(word, true);
                continue;
            }
            b'(' => {
                list.comment = Some(comment(&mut rest));
                continue;
            }
            b'<' => {
                list.angle(&mut rest);
                continue;
            }
            b'@' => list.at(),
            b',' => list.end_address(),
            b';' => list.end_group(),
            b':' if list.host.is_none() => list.start_group(),
            b' ' | b'\t' => list.gap = true,
            _ => {
                let end = rest.iter().position(|b| b" \t\"(<@,;:".contains(b)).unwrap_or(rest.len()).max(1);
                list.word(rest[..end].to_vec(), false);
                rest = &rest[end..];
                continue;
            }
        }
        rest = &rest[1..];
    }
    list.end_address();
    if list.in_group {
        list.entries.push(Entry::GroupEnd);
    }
    list.entries
}

/// The list read so far, and the entry being read.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    /// Words before any `@` or `<`.
    words: Vec<Vec<u8>>,
    /// White space since the last word.
    gap: bool,
    /// After `@` outside angle brackets: the domain.
    host: Option<Vec<u8>>,
    comment: Option<Vec<u8>>,
    /// What stood in angle brackets.
    angle: Option<Angle>,
    in_group: bool,
}

struct Angle {
    route: Option<Vec<u8>>,
    mailbox: Vec<u8>,
    host: Vec<u8>,
}

impl List {
    fn word(&mut self, word: Vec<u8>, is_quoted: bool) {
        if let Some(host) = &mut self.host {
            host.extend(word);
            return;
        }
        match self.words.last_mut() {
            Some(last) if !self.gap || (!is_quoted && word.starts_with(b".")) => last.extend(word),
            _ => self.words.push(word),
        }
        self.gap = false;
    }

    fn at(&mut self) {
        self.host.get_or_insert_default();
    }

    /// Reads `<@route:mailbox@host>`; `rest` starts with `<`.
    fn angle(&mut self, rest: &mut &[u8]) {
        *rest = &rest[1..];
        let mut inside = Vec::new();
        // Where in `inside` the last `@` and the last `:` outside quotes are.
        let (mut at, mut colon) = (None, None);
        while let Some(&b) = rest.first() {
            match b {
                b'"' => {
                    inside.extend(quoted(rest));
                    continue;
                }
                b'(' => {
                    comment(rest);
                    continue;
                }
                b'>' => {
                    *rest = &rest[1..];
                    break;
                }
                b' ' | b'\t' => {}
                _ => {
                    if b == b'@' {
                        at = Some(inside.len());
                    }
                    if b == b':' && inside.first() == Some(&b'@') && colon.is_none() {
                        colon = Some(inside.len());
                        at = None;
                    }
                    inside.push(b);
                }
            }
            *rest = &rest[1..];
        }
        let route = colon.map(|c| inside[..c].to_vec());
        let start = colon.map_or(0, |c| c + 1);
        let end = at.unwrap_or(inside.len());
        let host = inside.get(end + 1..).unwrap_or_default().to_vec();
        let mailbox = inside[start.min(end)..end].to_vec();
        self.angle = Some(Angle { route, mailbox, host });
    }

    fn end_address(&mut self) {
        let mut words = std::mem::take(&mut self.words);
        let (host, comment, angle) = (self.host.take(), self.comment.take(), self.angle.take());
        self.gap = false;
        let phrase = |words: &[Vec<u8>]| Some(words.join(&b' ')).filter(|w| !w.is_empty());
        if let Some(Angle { route, mailbox, host }) = angle {
            if !(mailbox.is_empty() && host.is_empty() && words.is_empty()) {
                self.entries.push(Entry::Address { name: phrase(&words).or(comment), route, mailbox, host });
            }
        } else if host.is_some() || !words.is_empty() {
            let mut mailbox = words.pop().unwrap_or_default();
            // RFC 5322, 4.4, allows white space around the dots of a local part.
            while host.is_some() && words.last().is_some_and(|w| w.ends_with(b".") || mailbox.starts_with(b".")) {
                mailbox = [words.pop().unwrap_or_default(), mailbox].concat();
            }
            let name = phrase(&words).or(comment);
            self.entries.push(Entry::Address { name, route: None, mailbox, host: host.unwrap_or_default() });
        }
    }

    fn start_group(&mut self) {
        let name = std::mem::take(&mut self.words).join(&b' ');
        self.gap = false;
        self.comment = None;
        if self.in_group {
            self.entries.push(Entry::GroupEnd);
        }
        self.entries.push(Entry::GroupStart(name));
        self.in_group = true;
    }

    fn end_group(&mut self) {
        self.end_address();
        if std::mem::take(&mut self.in_group) {
            self.entries.push(Entry::GroupEnd);
        }
    }
}

/// Reads a quoted string without its quotes and backslashes; `rest` starts with `"`.
pub(super) fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = rest[1..].iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'"' => break,
            b'\\' => text.extend(bytes.next()),
            _ => text.push(b),
        }
    }
    *rest = bytes.as_slice();
    text
}

/// Reads a comment without its outer parentheses; `rest` starts with `(`.
pub(super) fn comment(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut depth = 1_usize;
    let mut bytes = rest[1..].iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'\\' => {
                text.extend(bytes.next());
                continue;
            }
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        text.push(b);
    }
    *rest = bytes.as_slice();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &str) -> Vec<String> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        parse(value.as_bytes())
            .iter()
            .map(|e| match e {
                Entry::Address { name, route, mailbox, host } => {
                    let name = name.as_deref().map_or("-".into(), text);
                    let route = route.as_deref().map_or(String::new(), |r| format!("[{}]", text(r)));
                    format!("{name} {route}{}|{}", text(mailbox), text(host))
                }
                Entry::GroupStart(name) => format!("{}:", text(name)),
                Entry::GroupEnd => ";".into(),
            })
            .collect()
    }

    #[test]
    fn the_usual_and_the_antique_forms() {
        assert_eq!(shown("a@b.c"), ["- a|b.c"]);
        assert_eq!(shown("Ann Other <ann@x.org>, b@y"), ["Ann Other ann|x.org", "- b|y"]);
        assert_eq!(shown("\"Smith, \\\"J\\\" \" <j.s@x>"), ["Smith, \"J\"  j.s|x"]);
        assert_eq!(shown("j@x (Jane Doe)"), ["Jane Doe j|x"]);
        assert_eq!(shown("John Q. Public <@a,@b:jqp@c>"), ["John Q. Public [@a,@b]jqp|c"]);
        assert_eq!(shown("=?utf-8?q?J=C3=BC?= <j@x>"), ["=?utf-8?q?J=C3=BC?= j|x"]);
        assert_eq!(shown("\"odd @ local\"@x"), ["- odd @ local|x"]);
        assert_eq!(shown("e . f @ x . org"), ["- e.f|x.org"]);
    }

    #[test]
    fn groups_begin_and_end() {
        assert_eq!(shown("Friends: a@x, b@y;, c@z"), ["Friends:", "- a|x", "- b|y", ";", "- c|z"]);
        assert_eq!(shown("undisclosed-recipients:;"), ["undisclosed-recipients:", ";"]);
        assert_eq!(shown("open: a@x"), ["open:", "- a|x", ";"]);
    }

    #[test]
    fn nonsense_is_shown_as_well_as_possible() {
        assert_eq!(shown("root"), ["- root|"]);
        assert_eq!(shown(""), Vec::<String>::new());
        assert_eq!(shown(", ,<>,;"), Vec::<String>::new());
        assert_eq!(shown("a <b@c"), ["a b|c"]);
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(value in "[ -~]{0,40}|[\"<>@,;:()a \\\\.]{0,30}") {
            parse(value.as_bytes());
        }
    }
}
