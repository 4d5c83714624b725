//! Why a command was not carried out, as the client is told.

use mail_store::Error;

/// A tagged NO or BAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// BAD (the command is wrong) rather than NO (it cannot be done).
    pub(super) bad: bool,
    /// A response code without its brackets, or empty.
    pub(super) code: &'static str,
    /// For people.
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn no(code: &'static str, text: impl Into<String>) -> Refusal {
        Refusal { bad: false, code, text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> Refusal {
        Refusal { bad: true, code: "", text: text.into() }
    }

    /// The tagged line.
    pub(super) fn line(&self, tag: &str) -> String {
        let verdict = if self.bad { "BAD" } else { "NO" };
        let code = if self.code.is_empty() { String::new() } else { format!("[{}] ", self.code) };
        format!("{tag} {verdict} {code}{}\r\n", super::wire::line(&self.text))
    }
}

/// Response codes are those of RFC 3501, RFC 5530 and RFC 4315.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match &error {
            Error::NoSuchFolder(_) | Error::NoSuchMessage(_) => "NONEXISTENT",
            Error::FolderExists(_) => "ALREADYEXISTS",
            Error::BadFolderName(_) | Error::InboxIsFixed => "CANNOT",
            Error::OutOfUids => "LIMIT",
            e if e.is_disk_full() => "OVERQUOTA",
            Error::Database(_)
            | Error::NoRoom { .. }
            | Error::NewerSchema { .. }
            | Error::NotAStore(_)
            | Error::Damaged(_) => "SERVERBUG",
        };
        if error.is_disk_full() {
            return Refusal::no(
                code,
                "the disk of this PC is full: nothing was changed; free some space and try again",
            );
        }
        if code == "SERVERBUG" {
            tracing::error!(error = &error as &dyn std::error::Error, "the mail store refused an IMAP command");
        }
        Refusal::no(code, error.to_string())
    }
}
