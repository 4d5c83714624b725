//! Replies of a submission server, and the doubling of dots. No I/O.
//!
//! | attack | answer |
//! |---|---|
//! | an endless reply | [`BadReply`] at [`MAX_REPLY`] bytes |

/// Bytes of a reply, all its lines together, at most.
pub const MAX_REPLY: usize = 64 * 1024;

/// What the server sent is not a reply (RFC 5321, section 4.2).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mail server sent something that is not a submission reply")]
pub struct BadReply;

/// A reply, its lines put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits: 2xx done, 3xx go on, 4xx not now, 5xx never.
    pub code: u16,
    /// The text of each line.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether the server took it, or waits for the rest.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Whether trying again makes no sense.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The code and the text for people, in one line.
    pub fn text(&self) -> String {
        let text: String = self.lines.join(" ").chars().filter(|c| !c.is_control()).take(500).collect();
        format!("{} {text}", self.code)
    }

    /// The arguments of an extension in an EHLO reply (RFC 5321, section 4.1.1.1).
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (keyword, arguments) = line.split_once(' ').unwrap_or((line, ""));
            keyword.eq_ignore_ascii_case(name).then_some(arguments)
        })
    }
}

/// Takes a whole reply off the front of `bytes`; gives it with its length in bytes. `None`: more is needed.
///
/// # Errors
/// [`BadReply`].
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, BadReply> {
    let (mut lines, mut start, mut code) = (Vec::new(), 0, None);
    loop {
        let Some(end) = bytes[start..].iter().position(|b| *b == b'\n').map(|i| start + i) else {
            return if bytes.len() > MAX_REPLY { Err(BadReply) } else { Ok(None) };
        };
        let line = String::from_utf8_lossy(&bytes[start..end]);
        let line = line.trim_end_matches('\r');
        let number: u16 = line.get(..3).and_then(|digits| digits.parse().ok()).ok_or(BadReply)?;
        if !(200..600).contains(&number) || *code.get_or_insert(number) != number {
            return Err(BadReply);
        }
        let (separator, text) = (line.as_bytes().get(3), line.get(4..).unwrap_or_default());
        lines.push(text.to_owned());
        start = end + 1;
        match separator {
            None | Some(b' ') => return Ok(Some((Reply { code: number, lines }, start))),
            Some(b'-') => {}
            Some(_) => return Err(BadReply),
        }
    }
}

/// The line with a lone dot that ends a message.
pub const END: &[u8] = b".\r\n";

/// A message as it goes after DATA: lines end with CRLF, a dot at the start of a line is doubled (RFC 5321, section
/// 4.5.2). [`END`] ends it.
pub fn lines(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 64 + 16);
    let mut rest = message;
    while !rest.is_empty() {
        // A bare CR or LF could be read as the end of a line by one server and not by the next: both become CRLF.
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = after.strip_prefix(b"\r\n").unwrap_or(after.get(1..).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(message: &[u8]) -> Vec<u8> {
        [&lines(message), END].concat()
    }

    #[test]
    fn replies_of_one_and_of_many_lines_are_read() {
        let (reply, length) =
            parse(b"250-mail.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n220 next").unwrap().unwrap();
        assert_eq!((reply.code, length), (250, 55));
        assert_eq!(reply.extension("auth"), Some("PLAIN LOGIN"));
        assert_eq!(reply.extension("SMTPUTF8"), None);
        assert_eq!(parse(b"250-mail\r\n250").unwrap(), None);
        assert_eq!(parse(b"250\r\n").unwrap().unwrap().0.lines, [""]);
        for bad in [b"hello\r\n".as_slice(), b"250-a\r\n550 b\r\n", b"999 x\r\n", b"250_x\r\n", b"\r\n"] {
            assert_eq!(parse(bad), Err(BadReply));
        }
        assert_eq!(parse(&vec![b'2'; MAX_REPLY + 1]), Err(BadReply));
    }

    #[test]
    fn a_message_cannot_end_itself_early() {
        assert_eq!(data(b"a\r\n.\r\nb\r\n"), b"a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(data(b"a\n.\nb"), b"a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(data(b"a\r.\rb"), b"a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(data(b""), b".\r\n");
        assert_eq!(data(b"\r\n\r\nx"), b"\r\n\r\nx\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn what_the_other_side_reads_is_the_message(lines in prop::collection::vec("[.a-z]{0,5}", 0..20)) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let sent = String::from_utf8(data(message.as_bytes())).unwrap();
            let mut read = String::new();
            for line in sent.split_inclusive("\r\n") {
                if line == ".\r\n" { break }
                read.push_str(line.strip_prefix('.').unwrap_or(line));
            }
            prop_assert_eq!(read, message);
        }

        #[test]
        fn no_bytes_crash_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            // Either outcome is fine; a panic is not.
            let _either = parse(&bytes);
        }
    }
}
