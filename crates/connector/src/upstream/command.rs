//! Commands as they go to the mail server.
//!
//! | attack | answer |
//! |---|---|
//! | a folder name, flag or password that ends the command and begins another | [`Command::string`] quotes, or sends a literal; only what this program wrote itself goes through [`Command::raw`] |

use bytes::Bytes;

/// A piece of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Sent as it is.
    Text(Vec<u8>),
    /// Sent as a literal (RFC 9051, section 4.3).
    Literal(Bytes),
}

/// A command without its tag and line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    parts: Vec<Part>,
}

impl Command {
    /// Begins with the command's name and whatever else needs no quoting.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { parts: vec![] }.raw(text)
    }

    /// Adds text that needs no quoting.
    #[must_use]
    pub fn raw(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        debug_assert!(!text.contains(['\r', '\n']), "a command is one line");
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.extend_from_slice(text.as_bytes()),
            _ => self.parts.push(Part::Text(text.as_bytes().to_vec())),
        }
        self
    }

    /// Adds a blank and a string, quoted, or as a literal if it cannot be quoted.
    #[must_use]
    pub fn string(self, text: &str) -> Self {
        if text.len() > 1000 || text.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
            return self.literal(Bytes::copy_from_slice(text.as_bytes()));
        }
        self.raw(format!(" \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
    }

    /// Adds a blank and a folder's name (UTF-8), in modified UTF-7.
    #[must_use]
    pub fn folder(self, name: &str) -> Self {
        self.string(&mail_store::encode_utf7(name))
    }

    /// Adds a blank and bytes as a literal.
    #[must_use]
    pub fn literal(self, bytes: Bytes) -> Self {
        let mut command = self.raw(" ");
        command.parts.push(Part::Literal(bytes));
        command
    }

    /// The pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The command's first word, for messages: it never holds a secret.
    pub fn name(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => {
                std::str::from_utf8(text).unwrap_or_default().split(' ').next().unwrap_or_default()
            }
            _ => "",
        }
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The arguments may hold a password.
        write!(f, "Command({} …)", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_quoted_goes_as_a_literal() {
        let command = Command::new("LOGIN").string("a\"b\\c").string("pass\r\nA2 DELETE INBOX");
        let literal = Part::Literal(Bytes::from_static(b"pass\r\nA2 DELETE INBOX"));
        assert_eq!(command.parts(), [Part::Text(br#"LOGIN "a\"b\\c" "#.to_vec()), literal]);
        assert_eq!(
            Command::new("SELECT").folder("Entwürfe").parts(),
            [Part::Text(b"SELECT \"Entw&APw-rfe\"".to_vec())]
        );
    }

    #[test]
    fn a_printed_command_shows_no_arguments() {
        assert_eq!(format!("{:?}", Command::new("LOGIN").string("me").string("secret")), "Command(LOGIN …)");
    }
}
