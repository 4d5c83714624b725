//! Event streams as in the HTML standard (section 9.2, "Server-sent events"). Takes bytes, gives events; does no I/O.
//!
//! | attack | answer |
//! |---|---|
//! | an endless line or event | [`SseError::TooLong`] at [`MAX_EVENT`] bytes, and the connection is closed |
//! | an event that carries a decision | there is none to carry: an event only means "check in again" |

/// Bytes of one event, or of one line, at most.
pub const MAX_EVENT: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `event:` field; empty for the default kind.
    pub kind: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// Why a stream is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// More than [`MAX_EVENT`] bytes without an end.
    #[error("an event is longer than {MAX_EVENT} bytes")]
    TooLong,
}

/// Collects bytes into events.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    event: Event,
    has_data: bool,
}

impl SseParser {
    /// Adds bytes as they come, and gives the events that they complete.
    ///
    /// # Errors
    /// [`SseError`]; the connection must then be closed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        for byte in bytes {
            // A line ends with CR LF, LF or CR: an LF right after a CR belongs to it.
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_of_line(&String::from_utf8_lossy(&line)));
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
            if self.line.len() + self.event.data.len() > MAX_EVENT {
                return Err(SseError::TooLong);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.kind = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment (an empty field name), `id`, `retry` and whatever comes later mean nothing here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<Event> {
        SseParser::default().push(bytes).unwrap()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let event = |kind: &str, data: &str| Event { kind: kind.into(), data: data.into() };
        assert_eq!(all(b"data: {\"v\":1}\n\n"), [event("", "{\"v\":1}")]);
        assert_eq!(all(b"event: push\r\ndata:a\r\ndata: b\r\n\r\n"), [event("push", "a\nb")]);
        assert_eq!(all(b": keep-alive\n\n"), [], "a comment is a sign of life and nothing more");
        assert_eq!(all(b"event: x\n\n"), [], "an event without data is dropped");
        assert_eq!(all(b"data\n\nid: 7\rdata: z\r\r"), [event("", ""), event("", "z")]);
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut parser = SseParser::default();
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT + 1]), Err(SseError::TooLong));
        let mut parser = SseParser::default();
        let line = [b"data: ".as_slice(), &[b'x'; 1000], b"\n"].concat();
        assert!((0..100).any(|_| parser.push(&line).is_err()));
    }

    proptest! {
        #[test]
        fn events_are_found_however_the_bytes_are_cut(
            data in prop::collection::vec("[a-z{}: ]{0,20}", 0..6),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cut in 1usize..20,
        ) {
            let text: String = data.iter().map(|d| format!(": life{end}data: {d}{end}{end}")).collect();
            let mut parser = SseParser::default();
            let mut got = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                got.extend(parser.push(piece).unwrap());
            }
            prop_assert_eq!(got.into_iter().map(|e| e.data).collect::<Vec<_>>(), data);
        }
    }
}
