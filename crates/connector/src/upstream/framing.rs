//! Cuts the mail server's bytes into whole responses: a line with the literals that belong to it (RFC 9051, section
//! 2.2). Takes bytes, gives bytes; does no I/O.
//!
//! | attack | answer |
//! |---|---|
//! | an endless line | [`FramingError::TooLong`] at [`MAX_TEXT`] bytes outside literals |
//! | a literal that claims to be endless | [`FramingError::TooLong`] at [`MAX_RESPONSE`] bytes, before any of it is awaited |

use bytes::{Bytes, BytesMut};

/// Bytes of a response outside its literals, at most. A list of a million message numbers fits.
pub const MAX_TEXT: usize = 16 * 1024 * 1024;

/// Bytes of a whole response, at most: the largest message that can be fetched.
pub const MAX_RESPONSE: usize = 256 * 1024 * 1024;

/// Why a connection is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A response is longer than the limits.
    #[error("the mail server sent a response that is too long")]
    TooLong,
}

/// Collects bytes into responses.
#[derive(Debug, Default)]
pub struct ResponseReader {
    buffer: BytesMut,
    /// Start of the line that is being read, after the last literal.
    line: usize,
    /// No line end before this. Beyond the buffer's end while a literal is awaited.
    searched: usize,
    literals: usize,
}

impl ResponseReader {
    /// Where to read bytes into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole response with its line end, if there is one.
    ///
    /// # Errors
    /// [`FramingError`]; the connection must then be closed.
    pub fn take(&mut self) -> Result<Option<Bytes>, FramingError> {
        loop {
            let Some(unread) = self.buffer.get(self.searched..) else { return Ok(None) };
            let Some(end) = unread.iter().position(|b| *b == b'\n').map(|i| self.searched + i) else {
                self.searched = self.buffer.len();
                let text = self.buffer.len() - self.literals;
                return if text > MAX_TEXT { Err(FramingError::TooLong) } else { Ok(None) };
            };
            match announced_literal(&self.buffer[self.line..end]) {
                Some(length) => {
                    let after = (end + 1).checked_add(length).filter(|n| *n <= MAX_RESPONSE);
                    self.line = after.ok_or(FramingError::TooLong)?;
                    self.searched = self.line;
                    self.literals += length;
                }
                None => {
                    let response = self.buffer.split_to(end + 1).freeze();
                    (self.line, self.searched, self.literals) = (0, 0, 0);
                    return Ok(Some(response));
                }
            }
        }
    }
}

/// The length that a line's end `{42}` announces.
fn announced_literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let digits = &line[line.iter().rposition(|b| *b == b'{')? + 1..];
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().or(Some(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut reader = ResponseReader::default();
        let mut got = Vec::new();
        for piece in pieces {
            reader.buffer().extend_from_slice(piece);
            while let Some(response) = reader.take()? {
                got.push(response.to_vec());
            }
        }
        Ok(got)
    }

    #[test]
    fn a_response_ends_after_its_last_literal() {
        let one = b"* 1 FETCH (BODY[] {7}\r\nab\r\ncd\n UID 5)\r\n".as_slice();
        assert_eq!(read(&[one, b"A1 OK done\r\n"]).unwrap(), [one, b"A1 OK done\r\n"]);
        assert_eq!(read(&[b"* X {0}\r\n", b"\r\n"]).unwrap(), [b"* X {0}\r\n\r\n"]);
    }

    #[test]
    fn an_endless_response_is_given_up() {
        assert_eq!(read(&[b"* X {99999999999999999999999}\r\n"]), Err(FramingError::TooLong));
        assert_eq!(read(&[b"* X {300000000}\r\n"]), Err(FramingError::TooLong));
        let endless = vec![b'x'; MAX_TEXT + 1];
        assert_eq!(read(&[&endless]), Err(FramingError::TooLong));
    }

    proptest! {
        #[test]
        fn responses_are_found_however_the_bytes_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
            cut in 1usize..17,
        ) {
            let sent: Vec<Vec<u8>> = bodies
                .iter()
                .map(|b| [format!("* 1 FETCH (BODY[] {{{}}}\r\n", b.len()).as_bytes(), b, b" UID 1)\r\n"].concat())
                .collect();
            let all = sent.concat();
            let pieces: Vec<&[u8]> = all.chunks(cut).collect();
            prop_assert_eq!(read(&pieces).unwrap(), sent);
        }

        #[test]
        fn no_bytes_crash_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Either outcome is fine; a panic is not.
            let _either = read(&[&bytes]);
        }
    }
}
