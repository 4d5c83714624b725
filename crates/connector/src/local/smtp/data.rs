//! The bytes after DATA: found their end, dots undone (RFC 5321, sections 2.3.8 and 4.5.2).

/// Why a message's bytes cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataError {
    /// More than the limit.
    TooBig,
    /// A CR or LF on its own.
    BareLineEnd,
    /// Other connections hold too much.
    NoRoom,
}

/// Reads a message up to `CRLF.CRLF`.
#[derive(Debug)]
pub(super) struct DataReader {
    message: Vec<u8>,
    limit: usize,
    state: State,
    error: Option<DataError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    /// A dot at the start of the line, not yet taken over.
    Dot,
    /// That dot and a CR.
    DotCr,
    Line,
    Cr,
}

impl DataReader {
    /// A reader for messages of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> DataReader {
        DataReader { message: Vec::new(), limit, state: State::LineStart, error: None }
    }

    /// Takes bytes; gives how many of them belong to the message, and the message once it is whole. A message that cannot be taken is
    /// still read to its end, so that the client hears of it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, Option<Result<Vec<u8>, DataError>>) {
        for (i, &b) in bytes.iter().enumerate() {
            self.state = match (self.state, b) {
                (State::LineStart, b'.') => State::Dot,
                (State::Dot, b'\r') => State::DotCr,
                (State::DotCr, b'\n') => {
                    let message = std::mem::take(&mut self.message);
                    return (i + 1, Some(self.error.map_or(Ok(message), Err)));
                }
                (State::DotCr, _) => {
                    // ".\r" and no LF: a bare CR.
                    self.error = Some(DataError::BareLineEnd);
                    State::Line
                }
                (State::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    State::LineStart
                }
                (State::Cr, b'\r') | (_, b'\n') => {
                    self.error = Some(DataError::BareLineEnd);
                    if b == b'\r' { State::Cr } else { State::Line }
                }
                (State::Cr, _) => {
                    self.error = Some(DataError::BareLineEnd);
                    State::Line
                }
                (_, b'\r') => State::Cr,
                (_, b) => {
                    self.keep(&[b]);
                    State::Line
                }
            };
        }
        (bytes.len(), None)
    }

    /// Bytes kept so far.
    pub(super) fn kept(&self) -> usize {
        self.message.len()
    }

    /// Keeps nothing more; the end is still looked for.
    pub(super) fn give_up(&mut self, error: DataError) {
        self.error.get_or_insert(error);
        self.message = Vec::new();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        if self.message.len() + bytes.len() > self.limit {
            self.give_up(DataError::TooBig);
            return;
        }
        self.message.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> (usize, Option<Result<Vec<u8>, DataError>>) {
        DataReader::new(1000).push(bytes)
    }

    #[test]
    fn dots_are_undone_and_the_end_is_found() {
        let (used, message) = read(b"a\r\n..b\r\n.c\r\n\r\n.\r\nQUIT\r\n");
        assert_eq!(message.unwrap().unwrap(), b"a\r\n.b\r\nc\r\n\r\n");
        assert_eq!(used, 17);
        assert_eq!(read(b".\r\n").1, Some(Ok(vec![])));
        assert_eq!(read(b"a\r\n.").1, None);
    }

    #[test]
    fn no_other_end_of_data_is_believed() {
        for smuggled in [&b"a\n.\n"[..], b"a\n.\r\n", b"a\r.\r", b"a\r\n.\n", b"a\r\n.\rx", b"a\r\r\n.\n", b"\r.\r\n"] {
            assert_eq!(read(smuggled).1, None, "{:?}", String::from_utf8_lossy(smuggled));
            let whole = [smuggled, b"MAIL FROM:<x@y>\r\n.\r\n"].concat();
            assert_eq!(read(&whole), (whole.len(), Some(Err(DataError::BareLineEnd))));
        }
    }

    #[test]
    fn a_message_too_big_is_read_to_its_end_and_refused() {
        let mut reader = DataReader::new(10);
        assert_eq!(reader.push(&[b'x'; 5000]).1, None);
        assert!(reader.message.is_empty());
        assert_eq!(reader.push(b"\r\n.\r\n").1, Some(Err(DataError::TooBig)));
    }

    proptest! {
        #[test]
        fn stuffing_undone_is_the_message_however_it_is_cut(
            lines in proptest::collection::vec("[.a ]{0,6}", 0..8),
            cut in 1usize..7,
        ) {
            let message: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
            let stuffed: String = lines.iter().map(|l| format!("{}{l}\r\n", if l.starts_with('.') { "." } else { "" })).collect();
            let mut reader = DataReader::new(1000);
            let mut end = None;
            for piece in format!("{stuffed}.\r\n").as_bytes().chunks(cut) {
                prop_assert!(end.is_none());
                end = reader.push(piece).1;
            }
            prop_assert_eq!(end, Some(Ok(message.into_bytes())));
        }
    }
}
