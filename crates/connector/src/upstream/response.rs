//! What the connector understands of the mail server's responses. Everything else is let pass.

use std::ops::RangeInclusive;

use mail_store::Flags;

use super::value::{Value, values};

/// `OK`, `NO`, `BAD`, `BYE` or `PREAUTH` (RFC 9051, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It worked.
    Ok,
    /// It was refused.
    No,
    /// It was not understood.
    Bad,
    /// The server closes the connection.
    Bye,
    /// Logged in already.
    PreAuth,
}

/// A condition, its response code, and its text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How it went.
    pub condition: Condition,
    /// The code between brackets, such as `ALERT` or `COPYUID 1 2 3`; empty where there is none.
    pub code: String,
    /// For people.
    pub text: String,
}

impl Status {
    /// The arguments of the code, if it is this one.
    pub fn code_arguments(&self, name: &str) -> Option<&str> {
        let (code, arguments) = self.code.split_once(' ').unwrap_or((&self.code, ""));
        code.eq_ignore_ascii_case(name).then_some(arguments)
    }

    /// `APPENDUID uidvalidity uid` (RFC 4315).
    pub fn append_uid(&self) -> Option<(u32, u32)> {
        let (validity, uid) = self.code_arguments("APPENDUID")?.split_once(' ')?;
        Some((validity.parse().ok()?, uid.parse().ok()?))
    }

    /// `COPYUID uidvalidity source destination` (RFC 4315) of one single message: UIDVALIDITY and its new UID.
    pub fn copy_uid(&self) -> Option<(u32, u32)> {
        let mut words = self.code_arguments("COPYUID")?.split(' ');
        let validity = words.next()?.parse().ok()?;
        let destination = parse_uid_set(words.nth(1)?)?;
        match destination.as_slice() {
            [one] if one.start() == one.end() => Some((validity, *one.start())),
            _ => None,
        }
    }
}

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// The answer to the command with this tag.
    Tagged(&'a str, Status),
    /// `+`: the server waits for more.
    Continue(&'a [u8]),
    /// A condition of no command in particular.
    Untagged(Status),
    /// Data.
    Data(Data<'a>),
}

/// The data that the connector asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Upper-case names.
    Capability(Vec<String>),
    /// `LIST` or `LSUB`.
    List(Listed),
    /// `STATUS`: the folder's name as on the wire, and its counts by upper-case name.
    Status(String, Vec<(String, u64)>),
    /// `SEARCH`.
    Search(Vec<u32>),
    /// How many messages the selected folder has.
    Exists(u32),
    /// A message of the selected folder is gone.
    Expunge(u32),
    /// About a message of the selected folder.
    Fetch(Fetched<'a>),
    /// Something else.
    Other,
}

/// A folder of a `LIST` or `LSUB` response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Such as `\Noselect` and `\Sent`.
    pub attributes: Vec<String>,
    /// Hierarchy delimiter, or empty.
    pub delimiter: String,
    /// As on the wire: in modified UTF-7.
    pub name: String,
}

/// What a `FETCH` response says of a message; only what was asked for is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fetched<'a> {
    /// UID.
    pub uid: Option<u32>,
    /// Flags.
    pub flags: Option<Flags>,
    /// INTERNALDATE in Unix seconds.
    pub date: Option<i64>,
    /// Bytes.
    pub size: Option<u64>,
    /// The whole message.
    pub body: Option<std::borrow::Cow<'a, [u8]>>,
}

/// Reads one response. `None` when it has not the shape of one.
pub fn parse(bytes: &[u8]) -> Option<Response<'_>> {
    let line = bytes.strip_suffix(b"\r\n").or(bytes.strip_suffix(b"\n"))?;
    if let Some(rest) = line.strip_prefix(b"+") {
        return Some(Response::Continue(rest.trim_ascii_start()));
    }
    if let Some(rest) = line.strip_prefix(b"* ") {
        return Some(match status(rest) {
            Some(status) => Response::Untagged(status),
            None => Response::Data(data(values(rest)?)),
        });
    }
    let space = line.iter().position(|b| *b == b' ')?;
    Some(Response::Tagged(std::str::from_utf8(&line[..space]).ok()?, status(&line[space + 1..])?))
}

fn status(line: &[u8]) -> Option<Status> {
    let text = String::from_utf8_lossy(line);
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let condition = match word.to_ascii_uppercase().as_str() {
        "OK" => Condition::Ok,
        "NO" => Condition::No,
        "BAD" => Condition::Bad,
        "BYE" => Condition::Bye,
        "PREAUTH" => Condition::PreAuth,
        _ => return None,
    };
    let (code, text) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((code, text)) => (code, text.trim_start()),
        None => ("", rest),
    };
    Some(Status { condition, code: code.into(), text: text.into() })
}

fn data(values: Vec<Value<'_>>) -> Data<'_> {
    interpret(values).unwrap_or(Data::Other)
}

fn interpret(mut values: Vec<Value<'_>>) -> Option<Data<'_>> {
    let first = values.first()?;
    if first.is("CAPABILITY") {
        let names = values[1..].iter().filter_map(|v| v.text()).map(|n| n.to_ascii_uppercase());
        return Some(Data::Capability(names.collect()));
    }
    if first.is("LIST") || first.is("LSUB") {
        let attributes = values.get(1)?.list()?.iter().filter_map(|v| Some(v.text()?.into_owned())).collect();
        let delimiter = values.get(2).filter(|v| !v.is("NIL")).and_then(Value::text).unwrap_or_default().into_owned();
        return Some(Data::List(Listed { attributes, delimiter, name: values.get(3)?.text()?.into_owned() }));
    }
    if first.is("STATUS") {
        let counts = values.get(2)?.list()?.chunks_exact(2);
        let counts = counts.filter_map(|pair| Some((pair[0].text()?.to_ascii_uppercase(), pair[1].number()?)));
        return Some(Data::Status(values.get(1)?.text()?.into_owned(), counts.collect()));
    }
    if first.is("SEARCH") {
        return Some(Data::Search(values[1..].iter().filter_map(Value::number).collect()));
    }
    let number: u32 = first.number()?;
    let kind = values.get(1)?;
    if kind.is("EXISTS") {
        return Some(Data::Exists(number));
    }
    if kind.is("EXPUNGE") {
        return Some(Data::Expunge(number));
    }
    if kind.is("FETCH") {
        let Value::List(items) = values.swap_remove(2) else { return None };
        return Some(Data::Fetch(fetched(items)));
    }
    None
}

fn fetched(items: Vec<Value<'_>>) -> Fetched<'_> {
    let mut fetched = Fetched::default();
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        if name.is("UID") {
            fetched.uid = value.number();
        } else if name.is("FLAGS") {
            fetched.flags =
                value.list().map(|flags| flags.iter().filter_map(|f| Some(f.text()?.into_owned())).collect());
        } else if name.is("INTERNALDATE") {
            fetched.date = value.text().and_then(|text| super::date::parse(&text));
        } else if name.is("RFC822.SIZE") {
            fetched.size = value.number();
        } else if name.is("BODY[]")
            && let Value::String(body) = value
        {
            fetched.body = Some(body);
        }
    }
    fetched
}

/// Reads a set such as `3,5:9` (RFC 9051, `sequence-set` without `*`).
pub fn parse_uid_set(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    text.split(',')
        .map(|member| {
            let (first, last) = member.split_once(':').unwrap_or((member, member));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            Some(first.min(last)..=first.max(last))
        })
        .collect()
}

/// Writes UIDs as a set, runs put together; `uids` must ascend.
pub fn uid_set(uids: &[u32]) -> String {
    let mut set = String::new();
    let mut rest = uids;
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(*first..=u32::MAX).take_while(|(uid, expected)| **uid == *expected).count();
        let separator = if set.is_empty() { "" } else { "," };
        match run {
            1 => set.push_str(&format!("{separator}{first}")),
            _ => set.push_str(&format!("{separator}{first}:{}", rest[run - 1])),
        }
        rest = &rest[run..];
    }
    set
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data_of(line: &str) -> Data<'_> {
        match parse(line.as_bytes()) {
            Some(Response::Data(data)) => data,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn conditions_have_codes_and_text() {
        let Some(Response::Tagged("A7", status)) = parse(b"A7 NO [ALERT] 7.2.0 is outdated\r\n") else { panic!() };
        assert_eq!((status.condition, status.text.as_str()), (Condition::No, "7.2.0 is outdated"));
        assert_eq!(status.code_arguments("alert"), Some(""));
        let Some(Response::Untagged(status)) = parse(b"* OK [COPYUID 9 4 17] Moved\r\n") else { panic!() };
        assert_eq!(status.copy_uid(), Some((9, 17)));
        let Some(Response::Tagged(_, status)) = parse(b"A8 OK [APPENDUID 9 18] Done\r\n") else { panic!() };
        assert_eq!(status.append_uid(), Some((9, 18)));
        assert_eq!(
            parse(b"* OK\r\n"),
            Some(Response::Untagged(Status { condition: Condition::Ok, code: String::new(), text: String::new() }))
        );
        assert_eq!(parse(b"+ \r\n"), Some(Response::Continue(b"")));
    }

    #[test]
    fn data_is_read() {
        assert_eq!(
            data_of("* CAPABILITY imap4rev1 IDLE\r\n"),
            Data::Capability(vec!["IMAP4REV1".into(), "IDLE".into()])
        );
        let listed = |a: &[&str], d: &str, n: &str| {
            Data::List(Listed {
                attributes: a.iter().map(|s| s.to_string()).collect(),
                delimiter: d.into(),
                name: n.into(),
            })
        };
        assert_eq!(
            data_of("* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent mail\"\r\n"),
            listed(&["\\HasNoChildren", "\\Sent"], "/", "Sent mail")
        );
        assert_eq!(data_of("* LIST () NIL INBOX\r\n"), listed(&[], "", "INBOX"));
        assert_eq!(
            data_of("* STATUS x (MESSAGES 3 UIDNEXT 9)\r\n"),
            Data::Status("x".into(), vec![("MESSAGES".into(), 3), ("UIDNEXT".into(), 9)])
        );
        assert_eq!(data_of("* SEARCH\r\n"), Data::Search(vec![]));
        assert_eq!(data_of("* SEARCH 2 5\r\n"), Data::Search(vec![2, 5]));
        assert_eq!(data_of("* 3 EXISTS\r\n"), Data::Exists(3));
        assert_eq!(data_of("* X-NEW (a b)\r\n"), Data::Other);
        let Data::Fetch(fetched) = data_of(
            "* 1 FETCH (UID 4 X-NEW (1 (2)) FLAGS (\\Seen) INTERNALDATE \"01-Jan-2024 00:00:10 +0000\" BODY[] {2}\r\nab)\r\n",
        ) else {
            panic!()
        };
        assert_eq!(
            (fetched.uid, fetched.date, fetched.body.as_deref()),
            (Some(4), Some(1_704_067_210), Some(b"ab".as_slice()))
        );
        assert!(fetched.flags.unwrap().contains("\\seen"));
        // A server that has no date for a message must not stop the rest.
        let Data::Fetch(fetched) = data_of("* 1 FETCH (INTERNALDATE NIL UID 4)\r\n") else { panic!() };
        assert_eq!((fetched.date, fetched.uid), (None, Some(4)));
    }

    #[test]
    fn sets_are_written_short() {
        assert_eq!(uid_set(&[]), "");
        assert_eq!(uid_set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(uid_set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
    }

    proptest! {
        #[test]
        fn sets_are_read_back(uids in prop::collection::btree_set(1u32..200, 0..40)) {
            let uids: Vec<u32> = uids.into_iter().collect();
            let set = uid_set(&uids);
            let read: Vec<u32> = if set.is_empty() { vec![] } else { parse_uid_set(&set).unwrap().into_iter().flatten().collect() };
            prop_assert_eq!(read, uids);
        }

        #[test]
        fn no_bytes_crash_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let line = [b"* ".as_slice(), &bytes, b"\r\n"].concat();
            // Either outcome is fine; a panic is not.
            let _either = parse(&line);
        }
    }
}
