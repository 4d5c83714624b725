//! LOGIN and AUTHENTICATE PLAIN (RFC 3501, section 6.2; RFC 4616; SASL-IR, RFC 4959).

use super::refusal::Refusal;
use super::session::{Answer, CAPABILITIES, Done, Session, State};
use imap_codec::imap_types::auth::AuthMechanism;
use imap_codec::imap_types::command::CommandBody;

impl Session {
    /// Commands of a client that has not logged in.
    pub(super) fn log_in(&mut self, body: CommandBody) -> Answer {
        match body {
            CommandBody::Login { username, password } => {
                self.check(username.as_ref(), password.declassify().as_ref(), "LOGIN completed")
            }
            CommandBody::Authenticate { mechanism: AuthMechanism::Plain, initial_response: None } => {
                Ok(Done::Authenticate)
            }
            CommandBody::Authenticate { mechanism: AuthMechanism::Plain, initial_response: Some(response) } => {
                self.plain_decoded(response.declassify())
            }
            CommandBody::Authenticate { .. } => {
                Err(Refusal::no("CANNOT", "only AUTHENTICATE PLAIN and LOGIN are offered"))
            }
            _ => Err(Refusal::bad("log in first")),
        }
    }

    /// The client's line after `+`: base64, or `*` to give up.
    pub(super) fn plain(&mut self, line: &[u8]) -> Answer {
        use base64::Engine;
        if line == b"*" {
            return Err(Refusal::bad("AUTHENTICATE cancelled"));
        }
        match base64::engine::general_purpose::STANDARD.decode(line) {
            Ok(message) => self.plain_decoded(&message),
            Err(_) => Err(Refusal::bad("not base64")),
        }
    }

    /// `authorisation NUL user NUL password` (RFC 4616).
    fn plain_decoded(&mut self, message: &[u8]) -> Answer {
        let parts: Vec<&[u8]> = message.split(|&b| b == 0).collect();
        match parts.as_slice() {
            [on_behalf, user, password] if on_behalf.is_empty() || on_behalf == user => {
                self.check(user, password, "AUTHENTICATE completed")
            }
            _ => Err(Refusal::bad("not a PLAIN message")),
        }
    }

    fn check(&mut self, user: &[u8], password: &[u8], text: &str) -> Answer {
        if !self.credentials.accept(user, password) {
            return Ok(Done::WrongPassword);
        }
        self.state = State::Authenticated;
        self.failures = 0;
        Ok(Done::Ok(format!("[CAPABILITY {CAPABILITIES}] {text}")))
    }
}
