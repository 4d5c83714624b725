//! Cutting the client's bytes into commands: lines and literals (RFC 3501, section 4.3; LITERAL+, RFC 7888).
//!
//! | Attack | Defence |
//! |---|---|
//! | a line that never ends | [`MAX_LINE`] for all lines of a command together; then the connection is closed |
//! | `{4294967295}` before or after login | limits by what is allowed now; a synchronising literal is refused before a byte of it is sent, another is skipped without being kept |
//! | a literal announced and never sent | memory grows only with what arrives |
//! | many literals in one command | all of them count together |
//! | many connections with big literals | one allowance for all ([`Room`]) |

use crate::local::room::{Room, Taken};

/// Most bytes of a command outside literals.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// Most bytes of all literals of a command other than APPEND.
pub(super) const MAX_ARGUMENTS: usize = 256 * 1024;
/// Most bytes of an appended message (64 MiB).
pub(super) const MAX_APPEND: usize = 64 * 1024 * 1024;
/// Most bytes of all literals before login.
pub(super) const MAX_BEFORE_LOGIN: usize = 4 * 1024;
/// Literals up to this size do not count against the allowance of all connections.
const SMALL: usize = 64 * 1024;
/// The longest non-synchronising literal that is skipped; a longer one closes the connection.
const MAX_SKIP: usize = 1024 * 1024 * 1024;

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole command, with its literals and its final line end.
    Command(Vec<u8>),
    /// One line without its line end, where a command is not expected (AUTHENTICATE, IDLE).
    Line(Vec<u8>),
    /// The client waits for permission to send a literal.
    Continue,
    /// A command of this tag had a literal that is too big; it has been skipped.
    TooBig(String),
    /// A command of this tag had a literal that is too big for now, because of other connections; it has been skipped.
    NoRoom(String),
    /// The line limit is exceeded: the connection cannot be saved.
    Overflow,
}

/// What the session expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// A command.
    Command {
        /// After login larger literals are allowed.
        authenticated: bool,
    },
    /// A single line.
    Line,
}

/// The bytes received and not yet given out.
#[derive(Debug)]
pub(super) struct Framer {
    input: Vec<u8>,
    /// Bytes of `input` already given out: removed once at each `push`.
    consumed: usize,
    /// The command being put together.
    command: Vec<u8>,
    /// Bytes of the present literal still to come.
    literal_left: usize,
    /// Bytes of `command` that came in literals.
    literals: usize,
    /// The present command cannot be taken: throw it away to its end.
    skipping: Option<Why>,
    /// What the big literals of the present command hold of the allowance of all connections.
    taken: Taken,
}

/// Why a command is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    TooBig,
    NoRoom,
}

impl Framer {
    pub(super) fn new(room: &Room) -> Framer {
        Framer {
            input: Vec::new(),
            consumed: 0,
            command: Vec::new(),
            literal_left: 0,
            literals: 0,
            skipping: None,
            taken: room.nothing(),
        }
    }

    /// Takes what came from the client.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        self.input.extend_from_slice(bytes);
    }

    /// The next frame, or `None` if more bytes are needed.
    pub(super) fn next(&mut self, expect: Expect) -> Option<Frame> {
        if self.command.is_empty() && self.literal_left == 0 {
            // The command before has been carried out.
            self.taken.give_back();
        }
        loop {
            if self.literal_left > 0 {
                let take = self.literal_left.min(self.input.len() - self.consumed);
                if self.skipping.is_none() {
                    self.command.extend_from_slice(&self.input[self.consumed..self.consumed + take]);
                }
                self.consumed += take;
                self.literal_left -= take;
                if self.literal_left > 0 {
                    return None;
                }
            }
            let waiting = &self.input[self.consumed..];
            let Some(end) = waiting.iter().position(|&b| b == b'\n') else {
                let line = waiting.len() + self.command.len() - self.literals;
                if line <= MAX_LINE {
                    return None;
                }
                return Some(self.overflow());
            };
            let line = &waiting[..=end];
            self.consumed += end + 1;
            if line.len() + self.command.len() - self.literals > MAX_LINE {
                return Some(self.overflow());
            }
            let Expect::Command { authenticated } = expect else {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                return Some(Frame::Line(line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
            };
            self.command.extend_from_slice(line);
            let Some((length, synchronising)) = announced_literal(line) else {
                return Some(self.finish());
            };
            let limit = match authenticated {
                false => MAX_BEFORE_LOGIN,
                true if is_append(&self.command) => MAX_APPEND,
                true => MAX_ARGUMENTS,
            };
            if self.skipping.is_none() && self.literals.saturating_add(length) > limit {
                self.skipping = Some(Why::TooBig);
            }
            if self.skipping.is_none() && length > SMALL && !self.taken.grow(length) {
                self.skipping = Some(Why::NoRoom);
            }
            match (self.skipping.is_some(), synchronising) {
                (false, true) => {
                    self.expect_literal(length);
                    return Some(Frame::Continue);
                }
                (false, false) => self.expect_literal(length),
                // Refused: the client will not send the literal, nor the rest of the command.
                (true, true) => return Some(self.finish()),
                (true, false) if length > MAX_SKIP => return Some(self.overflow()),
                (true, false) => self.literal_left = length,
            }
        }
    }

    fn expect_literal(&mut self, length: usize) {
        self.literal_left = length;
        self.literals += length;
    }

    fn finish(&mut self) -> Frame {
        self.literals = 0;
        let command = std::mem::take(&mut self.command);
        match self.skipping.take() {
            Some(Why::TooBig) => Frame::TooBig(tag_of(&command)),
            Some(Why::NoRoom) => Frame::NoRoom(tag_of(&command)),
            None => Frame::Command(command),
        }
    }

    /// Forgets everything.
    fn overflow(&mut self) -> Frame {
        self.taken.give_back();
        (self.input, self.command, self.skipping) = (Vec::new(), Vec::new(), None);
        (self.consumed, self.literal_left, self.literals) = (0, 0, 0);
        Frame::Overflow
    }
}

/// The tag of a command, or `*` if it has none that could be repeated to the client.
pub(super) fn tag_of(command: &[u8]) -> String {
    let tag = command.split(|b| matches!(b, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
    let fine = !tag.is_empty()
        && tag.len() <= 200
        && tag.iter().all(|&b| b.is_ascii_graphic() && !b"(){%*\"\\+]".contains(&b));
    if fine { String::from_utf8_lossy(tag).into_owned() } else { "*".to_owned() }
}

fn is_append(command: &[u8]) -> bool {
    command.split(|&b| b == b' ').nth(1).is_some_and(|verb| verb.eq_ignore_ascii_case(b"APPEND"))
}

/// `{n}` (synchronising) or `{n+}` at the end of a line.
fn announced_literal(line: &[u8]) -> Option<(usize, bool)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    let number = &line[open + 1..];
    let (number, synchronising) = number.strip_suffix(b"+").map_or((number, true), |n| (n, false));
    if number.is_empty() || number.len() > 12 || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok().map(|n| (n, synchronising))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPEN: Expect = Expect::Command { authenticated: true };
    const LOGIN: Expect = Expect::Command { authenticated: false };

    fn frames(input: &[u8], expect: Expect) -> Vec<Frame> {
        let mut framer = Framer::new(&Room::default());
        framer.push(input);
        std::iter::from_fn(|| framer.next(expect)).take(100).collect()
    }

    #[test]
    fn literals_belong_to_their_command() {
        let input = b"a LOGIN {3}\r\nbob {2+}\r\nhi\r\nb NOOP\r\n";
        let found = frames(input, LOGIN);
        assert_eq!(found[0], Frame::Continue);
        assert_eq!(found[1], Frame::Command(b"a LOGIN {3}\r\nbob {2+}\r\nhi\r\n".to_vec()));
        assert_eq!(found[2], Frame::Command(b"b NOOP\r\n".to_vec()));
    }

    #[test]
    fn a_literal_too_big_is_refused_before_it_is_sent() {
        assert_eq!(frames(b"a LOGIN {5000}\r\n", LOGIN), [Frame::TooBig("a".into())]);
        assert_eq!(frames(b"a APPEND x {67108865}\r\n", OPEN), [Frame::TooBig("a".into())]);
        assert_eq!(frames(b"a APPEND x {67108864}\r\n", OPEN), [Frame::Continue]);
    }

    #[test]
    fn a_non_synchronising_literal_too_big_is_skipped_and_the_next_command_is_read() {
        let mut input = b"a LOGIN {5000+}\r\n".to_vec();
        input.extend([b'x'; 5000]);
        input.extend(b" {1+}\r\ny\r\nb NOOP\r\n");
        assert_eq!(frames(&input, LOGIN), [Frame::TooBig("a".into()), Frame::Command(b"b NOOP\r\n".to_vec())]);
    }

    #[test]
    fn big_literals_of_all_connections_share_one_allowance() {
        let room = Room::of(150_000);
        let (mut one, mut two) = (Framer::new(&room), Framer::new(&room));
        one.push(b"a APPEND x {100000}\r\n");
        assert_eq!(one.next(OPEN), Some(Frame::Continue));
        two.push(b"b APPEND x {100000}\r\nc APPEND x {60000}\r\n");
        assert_eq!(two.next(OPEN), Some(Frame::NoRoom("b".into())));
        assert_eq!(two.next(OPEN), Some(Frame::Continue), "a small one does not count");
        one.push(&[b'x'; 100_000]);
        one.push(b"\r\n");
        assert!(matches!(one.next(OPEN), Some(Frame::Command(_))));
        assert_eq!(one.next(OPEN), None, "the next command is waited for: the last one has been carried out");
        let mut three = Framer::new(&room);
        three.push(b"d APPEND x {100000}\r\n");
        assert_eq!(three.next(OPEN), Some(Frame::Continue));
    }

    #[test]
    fn endless_lines_are_not_kept() {
        assert_eq!(frames(&[b'a'; MAX_LINE + 1], OPEN)[0], Frame::Overflow);
        let mut many = Vec::new();
        for _ in 0..9000 {
            many.extend(b"aaaaaa{1+}\r\nx");
        }
        assert_eq!(frames(&many, OPEN)[0], Frame::Overflow);
    }

    #[test]
    fn a_line_is_a_line_even_if_it_looks_like_a_literal() {
        assert_eq!(frames(b"AGFiYw=={3}\r\nDONE\r\n", Expect::Line)[0], Frame::Line(b"AGFiYw=={3}".to_vec()));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(cuts in proptest::collection::vec(1usize..9, 1..40)) {
            let input = b"a LOGIN {3}\r\nbob {2+}\r\nhi\r\nb NOOP\r\nc APPEND x {4+}\r\nab\r\n\r\n".as_slice();
            let mut framer = Framer::new(&Room::default());
            let (mut found, mut rest) = (Vec::new(), input);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                framer.push(now);
                while let Some(frame) = framer.next(OPEN) {
                    found.push(frame);
                }
                rest = later;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(found, frames(input, OPEN));
        }
    }
}
