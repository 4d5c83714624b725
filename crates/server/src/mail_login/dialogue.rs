//! An IMAP login (RFC 9051, sections 6.2.3 and 7), without I/O: takes bytes, gives bytes.
//!
//! | attack | answer |
//! |---|---|
//! | a name or password with CR, LF or quotes that smuggles in a command | both go as literals with their exact length (RFC 9051, section 4.3), sent only when the server asks for them |
//! | a NUL, which no literal may hold | refused before anything is sent |
//! | endless lines or an endless greeting | [`MAX_LINE`], [`MAX_LINES`] |
//! | a server that claims we are logged in before we said who we are (PREAUTH) | refused: that proves nothing |

/// Bytes of one line from the server.
const MAX_LINE: usize = 8192;

/// Lines from the server in the whole dialogue.
const MAX_LINES: usize = 64;

/// What the server thinks of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It let the user in.
    Accepted,
    /// It did not.
    Denied,
}

/// Why the dialogue came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Name or password have a character that IMAP cannot carry.
    #[error("the name or the password has a character that IMAP cannot carry")]
    Unsendable,
    /// The server closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// What came is not IMAP as we know it.
    #[error("it does not speak IMAP as expected: {0}")]
    NotImap(&'static str),
    /// The server cannot log anybody in at the moment (RFC 5530, UNAVAILABLE and its kind).
    #[error("it is not available at the moment")]
    Unavailable,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read more.
    Wait,
    /// Send these bytes, then read more.
    Send(Vec<u8>),
    /// It is known.
    Done(Verdict),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Greeting,
    UserAsked,
    PasswordAsked,
    Answer,
}

/// The dialogue.
pub struct Dialogue {
    state: State,
    buffer: Vec<u8>,
    lines: usize,
    user: String,
    password: String,
}

impl Dialogue {
    /// Of a user with a password.
    ///
    /// # Errors
    /// [`Refused::Unsendable`].
    pub fn new(user: &str, password: &str) -> Result<Self, Refused> {
        let unsendable = user.is_empty() || user.contains(['\0', '\r', '\n']) || password.contains('\0');
        if unsendable {
            return Err(Refused::Unsendable);
        }
        Ok(Self {
            state: State::Greeting,
            buffer: Vec::new(),
            lines: 0,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Takes what the server sent.
    ///
    /// # Errors
    /// [`Refused`]; the connection is of no more use.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Step, Refused> {
        self.buffer.extend_from_slice(bytes);
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.lines += 1;
            if line.len() > MAX_LINE || self.lines > MAX_LINES {
                return Err(Refused::NotImap("it says too much"));
            }
            let step = self.line(line.trim_ascii_end())?;
            if step != Step::Wait {
                return Ok(step);
            }
        }
        if self.buffer.len() > MAX_LINE {
            return Err(Refused::NotImap("a line is too long"));
        }
        Ok(Step::Wait)
    }

    fn line(&mut self, line: &[u8]) -> Result<Step, Refused> {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        match self.state {
            State::Greeting => self.greeting(&line),
            State::UserAsked if line.starts_with('+') => {
                self.state = State::PasswordAsked;
                Ok(Step::Send(format!("{} {{{}}}\r\n", self.user, self.password.len()).into_bytes()))
            }
            State::PasswordAsked if line.starts_with('+') => {
                self.state = State::Answer;
                let password = std::mem::take(&mut self.password);
                Ok(Step::Send([password.as_bytes(), b"\r\n"].concat()))
            }
            State::UserAsked | State::PasswordAsked | State::Answer => answer(&line),
        }
    }

    fn greeting(&mut self, line: &str) -> Result<Step, Refused> {
        match line.split_whitespace().take(2).collect::<Vec<_>>()[..] {
            ["*", "OK"] => {
                self.state = State::UserAsked;
                Ok(Step::Send(format!("a LOGIN {{{}}}\r\n", self.user.len()).into_bytes()))
            }
            ["*", "BYE"] => Err(Refused::Unavailable),
            ["*", "PREAUTH"] => Err(Refused::NotImap("it lets everybody in")),
            _ => Err(Refused::NotImap("there is no greeting")),
        }
    }
}

fn answer(line: &str) -> Result<Step, Refused> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some("A"), Some("OK")) => Ok(Step::Done(Verdict::Accepted)),
        (Some("A"), Some("NO")) => {
            let temporary = ["[UNAVAILABLE]", "[INUSE]", "[SERVERBUG]", "[LIMIT]", "[CONTACTADMIN]"];
            let said = words.next().unwrap_or_default();
            if temporary.contains(&said) { Err(Refused::Unavailable) } else { Ok(Step::Done(Verdict::Denied)) }
        }
        (Some("A"), _) => Err(Refused::NotImap("it did not understand LOGIN")),
        (Some("*"), Some("BYE")) => Err(Refused::Unavailable),
        (Some("*"), _) => Ok(Step::Wait),
        _ => Err(Refused::NotImap("an answer has no known tag")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(server: &[&str]) -> Result<(Verdict, Vec<String>), Refused> {
        let mut dialogue = Dialogue::new("alice\"@example.test", "p\r\na LOGOUT {3}").unwrap();
        let mut sent = Vec::new();
        for line in server {
            match dialogue.take(line.as_bytes())? {
                Step::Wait => {}
                Step::Send(bytes) => sent.push(String::from_utf8(bytes).unwrap()),
                Step::Done(verdict) => return Ok((verdict, sent)),
            }
        }
        panic!("no verdict");
    }

    #[test]
    fn name_and_password_are_literals_of_their_exact_length() {
        let (verdict, sent) = said(&[
            "* OK [CAPABILITY IMAP4rev1] ready\r\n",
            "+ go ahead\r\n",
            "+ go ahead\r\n",
            "* CAPABILITY IMAP4rev1\r\na OK [CAPABILITY] in\r\n",
        ])
        .unwrap();
        assert_eq!(verdict, Verdict::Accepted);
        assert_eq!(sent, ["a LOGIN {19}\r\n", "alice\"@example.test {15}\r\n", "p\r\na LOGOUT {3}\r\n"]);
    }

    #[test]
    fn a_no_is_a_no_and_an_outage_is_not() {
        let go = ["* OK hi\r\n", "+ \r\n", "+ \r\n"];
        let end = |last: &'static str| said(&[&go[..], &[last]].concat());
        assert_eq!(end("a NO [AUTHENTICATIONFAILED] no\r\n").unwrap().0, Verdict::Denied);
        assert_eq!(end("a NO\r\n").unwrap().0, Verdict::Denied);
        assert_eq!(end("a NO [UNAVAILABLE] later\r\n").unwrap_err(), Refused::Unavailable);
        assert_eq!(end("* BYE shutting down\r\n").unwrap_err(), Refused::Unavailable);
        assert!(matches!(end("a BAD what\r\n").unwrap_err(), Refused::NotImap(_)));
        assert!(matches!(end("z OK in\r\n").unwrap_err(), Refused::NotImap(_)));
    }

    #[test]
    fn a_server_that_proves_nothing_is_refused() {
        assert!(matches!(said(&["* PREAUTH welcome\r\n"]).unwrap_err(), Refused::NotImap(_)));
        assert!(matches!(said(&["220 smtp\r\n"]).unwrap_err(), Refused::NotImap(_)));
        let endless = "x".repeat(MAX_LINE + 1);
        assert!(matches!(said(&[&endless]).unwrap_err(), Refused::NotImap(_)));
        let chatty = "* OK hi\r\n".repeat(MAX_LINES + 2);
        assert!(matches!(said(&["* OK hi\r\n", &chatty]).unwrap_err(), Refused::NotImap(_)));
    }

    #[test]
    fn what_imap_cannot_carry_is_never_sent() {
        for (user, password) in [("a\0", "p"), ("a\r\nb LOGOUT", "p"), ("", "p"), ("a", "p\0")] {
            assert_eq!(Dialogue::new(user, password).err(), Some(Refused::Unsendable));
        }
    }
}
