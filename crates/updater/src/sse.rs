//! Event streams (HTML standard, section 9.2.6), as a parser without I/O: bytes in, events out.
//!
//! | attack | answer |
//! |---|---|
//! | an endless line or event | [`TooLong`] beyond [`MAX_EVENT`] bytes |
//! | a forged event | an event carries no decision: it only says "ask again" |

/// Bytes of an event, and of a line.
pub const MAX_EVENT: usize = 16 * 1024;

/// A line or an event longer than [`MAX_EVENT`].
#[derive(Debug, thiserror::Error)]
#[error("the server's event is longer than {MAX_EVENT} bytes")]
pub struct TooLong;

/// Finds events in a stream of bytes.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    after_cr: bool,
}

impl Parser {
    /// Takes bytes as they come, and returns the data of each event that they complete. Comments, which keep the
    /// connection alive, complete none.
    ///
    /// # Errors
    /// [`TooLong`]; the connection must then be closed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()?),
                byte if self.line.len() < MAX_EVENT => self.line.push(*byte),
                _ => return Err(TooLong),
            }
            self.after_cr = *byte == b'\r';
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let mut data = std::mem::take(&mut self.data);
            return Ok(data.pop().map(|_| data));
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if self.data.len() + value.len() >= MAX_EVENT {
                return Err(TooLong);
            }
            self.data.extend_from_slice(value);
            self.data.push(b'\n');
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": alive\n\nevent: push\ndata: {\"v\":1}\n\ndata:a\r\ndata: b\r\rretry: 5\n\n:x\n";

    #[test]
    fn events_are_found_and_comments_are_not_events() {
        let events = Parser::default().push(STREAM).unwrap();
        assert_eq!(events, [b"{\"v\":1}".to_vec(), b"a\nb".to_vec()]);
    }

    #[test]
    fn endless_lines_and_events_are_given_up() {
        assert!(Parser::default().push(&[b'x'; MAX_EVENT + 1]).is_err());
        let mut parser = Parser::default();
        assert!((0..MAX_EVENT).any(|_| parser.push(b"data: abc\n").is_err()));
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_the_bytes_are_cut(cut in 1usize..STREAM.len()) {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in STREAM.chunks(cut) {
                events.extend(parser.push(piece).unwrap());
            }
            prop_assert_eq!(events, Parser::default().push(STREAM).unwrap());
        }

        #[test]
        fn no_bytes_crash_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(Parser::default().push(&bytes));
        }
    }
}
