//! One client's submission session: a state machine from lines to replies, without sockets and clocks.
//!
//! ```text
//! Start ─ EHLO ─► Greeted ─ AUTH ─► Ready ─ MAIL ─► Mail ─ RCPT ─► Mail with recipients ─ DATA ─► (message) ─► Ready
//! ```

use super::address;
use crate::local::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a message (64 MiB).
pub(super) const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Most recipients of a message.
const MAX_RECIPIENTS: usize = 500;
/// Wrong commands before the connection is closed.
const MAX_ERRORS: u32 = 20;

/// A message's envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) body8bit: bool,
    pub(super) smtputf8: bool,
}

/// What to do after a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send this reply.
    Reply(String),
    /// Send this reply after a pause: a wrong password costs time.
    Pause(Duration, String),
    /// Send this reply after a pause, and close.
    PauseAndClose(Duration, String),
    /// Send this reply and close.
    Close(String),
    /// Send this reply, then read a message.
    Data(String),
}

/// A session.
pub(super) struct Session {
    credentials: Arc<Credentials>,
    version: Arc<str>,
    greeted: bool,
    authenticated: bool,
    expecting: Expecting,
    mail: Option<Envelope>,
    errors: u32,
    failures: u32,
}

/// What the next line is.
enum Expecting {
    Command,
    PlainResponse,
    LoginUser,
    LoginPassword(Vec<u8>),
}

type Reply = Result<Action, &'static str>;

fn reply(text: impl Into<String>) -> Reply {
    Ok(Action::Reply(text.into()))
}

impl Session {
    pub(super) fn new(credentials: Arc<Credentials>, version: Arc<str>) -> Session {
        Session {
            credentials,
            version,
            greeted: false,
            authenticated: false,
            expecting: Expecting::Command,
            mail: None,
            errors: 0,
            failures: 0,
        }
    }

    /// The first line.
    pub(super) fn greeting(&self) -> String {
        let version: String = self.version.chars().filter(|c| c.is_ascii_graphic()).collect();
        format!("220 localhost ESMTP lockstep-connector {version}\r\n")
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Takes a line without its CRLF.
    pub(super) fn line(&mut self, line: &[u8]) -> Action {
        let result = match std::mem::replace(&mut self.expecting, Expecting::Command) {
            Expecting::Command => self.command(line),
            _ if line == b"*" => Err("501 5.7.0 authentication cancelled"),
            Expecting::PlainResponse => self.plain(line),
            Expecting::LoginUser => STANDARD.decode(line).map_err(|_| "501 5.5.2 not base64").map(|user| {
                self.expecting = Expecting::LoginPassword(user);
                Action::Reply("334 UGFzc3dvcmQ6".into())
            }),
            Expecting::LoginPassword(user) => {
                STANDARD.decode(line).map_err(|_| "501 5.5.2 not base64").map(|password| self.check(&user, &password))
            }
        };
        result.unwrap_or_else(|error| self.error(error))
    }

    /// A line that is no line: too long, or with a bare CR or LF.
    pub(super) fn bad_line(&mut self) -> Action {
        self.error("500 5.5.2 lines end with CRLF and have at most 4096 bytes")
    }

    /// The envelope of the message that has just been read; the session is ready for the next one.
    pub(super) fn take_mail(&mut self) -> Envelope {
        self.mail.take().unwrap_or_default()
    }

    fn error(&mut self, text: &'static str) -> Action {
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            return Action::Close("421 4.7.0 too many errors".into());
        }
        Action::Reply(text.into())
    }

    fn command(&mut self, line: &[u8]) -> Reply {
        let line = std::str::from_utf8(line).map_err(|_| "500 5.5.2 not UTF-8")?;
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.hello(rest, true),
            "HELO" => self.hello(rest, false),
            "AUTH" => self.auth(rest),
            "MAIL" => self.mail(rest),
            "RCPT" => self.rcpt(rest),
            "DATA" => self.data(rest),
            "RSET" => {
                self.mail = None;
                reply("250 2.0.0 flushed")
            }
            "NOOP" => reply("250 2.0.0 OK"),
            "VRFY" => reply("252 2.5.0 send some mail, I will try my best"),
            "HELP" => reply("214 2.0.0 see RFC 6409"),
            "QUIT" => Ok(Action::Close("221 2.0.0 good-bye".into())),
            "STARTTLS" => Err("502 5.5.1 not needed: this never leaves the PC"),
            "EXPN" => Err("502 5.5.1 not offered"),
            _ => Err("500 5.5.1 unknown command"),
        }
    }

    fn hello(&mut self, name: &str, extended: bool) -> Reply {
        if name.trim().is_empty() {
            return Err("501 5.5.4 say your name");
        }
        self.greeted = true;
        self.mail = None;
        if !extended {
            return reply("250 localhost");
        }
        reply(format!(
            "250-localhost\r\n250-PIPELINING\r\n250-SIZE {MAX_MESSAGE}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
             250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN"
        ))
    }

    fn auth(&mut self, rest: &str) -> Reply {
        if !self.greeted || self.mail.is_some() {
            return Err("503 5.5.1 not now");
        }
        if self.authenticated {
            return Err("503 5.5.1 already authenticated");
        }
        let (mechanism, initial) = rest.split_once(' ').map_or((rest, None), |(m, i)| (m, Some(i.trim())));
        match (mechanism.to_ascii_uppercase().as_str(), initial) {
            ("PLAIN", Some(response)) => self.plain(response.as_bytes()),
            ("PLAIN", None) => {
                self.expecting = Expecting::PlainResponse;
                reply("334 ")
            }
            ("LOGIN", None) => {
                self.expecting = Expecting::LoginUser;
                reply("334 VXNlcm5hbWU6")
            }
            ("LOGIN", Some(user)) => {
                let user = STANDARD.decode(user).map_err(|_| "501 5.5.2 not base64")?;
                self.expecting = Expecting::LoginPassword(user);
                reply("334 UGFzc3dvcmQ6")
            }
            _ => Err("504 5.5.4 only PLAIN and LOGIN are offered"),
        }
    }

    /// `authorisation NUL user NUL password`, base64 (RFC 4616).
    fn plain(&mut self, response: &[u8]) -> Reply {
        let message = STANDARD.decode(response).map_err(|_| "501 5.5.2 not base64")?;
        let parts: Vec<&[u8]> = message.split(|&b| b == 0).collect();
        match parts.as_slice() {
            [on_behalf, user, password] if on_behalf.is_empty() || on_behalf == user => Ok(self.check(user, password)),
            _ => Err("501 5.5.2 not a PLAIN message"),
        }
    }

    fn check(&mut self, user: &[u8], password: &[u8]) -> Action {
        if self.credentials.accept(user, password) {
            self.authenticated = true;
            self.failures = 0;
            return Action::Reply("235 2.7.0 welcome".into());
        }
        self.failures += 1;
        let own = Duration::from_secs(u64::from(self.failures.min(5)));
        let pause = own.max(self.credentials.refused(std::time::Instant::now()));
        if self.failures >= 5 {
            return Action::PauseAndClose(pause, "421 4.7.0 too many wrong passwords".into());
        }
        Action::Pause(pause, "535 5.7.8 wrong user name or password".into())
    }

    fn mail(&mut self, rest: &str) -> Reply {
        if !self.authenticated {
            return Err("530 5.7.0 log in first");
        }
        if self.mail.is_some() {
            return Err("503 5.5.1 the message before has not ended");
        }
        let path = after(rest, "FROM:").and_then(address::parse).ok_or("501 5.1.7 not an address")?;
        let mut mail = Envelope { sender: path.address, ..Envelope::default() };
        for (key, value) in path.parameters {
            match (key.as_str(), value.as_deref()) {
                ("SIZE", Some(size)) => match size.parse::<u64>() {
                    Ok(size) if size > MAX_MESSAGE as u64 => return Err("552 5.3.4 messages can have up to 64 MiB"),
                    Ok(_) => {}
                    Err(_) => return Err("501 5.5.4 SIZE wants a number"),
                },
                ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => mail.body8bit = true,
                ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => {}
                ("SMTPUTF8", None) => mail.smtputf8 = true,
                // RFC 4954, 5: who the client says submitted it first; nothing here uses it.
                ("AUTH", Some(_)) => {}
                _ => return Err("555 5.5.4 unknown parameter"),
            }
        }
        if path.is_utf8 && !mail.smtputf8 {
            return Err("553 5.6.7 an address beyond ASCII needs SMTPUTF8");
        }
        self.mail = Some(mail);
        reply("250 2.1.0 sender OK")
    }

    fn rcpt(&mut self, rest: &str) -> Reply {
        let Some(mail) = &mut self.mail else { return Err("503 5.5.1 MAIL first") };
        let path = after(rest, "TO:").and_then(address::parse).ok_or("501 5.1.3 not an address")?;
        if path.address.is_empty() {
            return Err("501 5.1.3 not an address");
        }
        if !path.parameters.is_empty() {
            return Err("555 5.5.4 unknown parameter");
        }
        if path.is_utf8 && !mail.smtputf8 {
            return Err("553 5.6.7 an address beyond ASCII needs SMTPUTF8");
        }
        if mail.recipients.len() >= MAX_RECIPIENTS {
            // Not an error of the client: it sends the rest with another message.
            return reply("452 4.5.3 too many recipients");
        }
        if !mail.recipients.contains(&path.address) {
            mail.recipients.push(path.address);
        }
        reply("250 2.1.5 recipient OK")
    }

    fn data(&mut self, rest: &str) -> Reply {
        match &self.mail {
            _ if !rest.is_empty() => Err("501 5.5.4 DATA takes no arguments"),
            None => Err("503 5.5.1 MAIL first"),
            Some(mail) if mail.recipients.is_empty() => Err("554 5.5.1 no recipients"),
            Some(_) => Ok(Action::Data("354 end with CRLF.CRLF".into())),
        }
    }
}

fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.get(..prefix.len()).filter(|p| p.eq_ignore_ascii_case(prefix)).map(|p| &text[p.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Arc::new(Credentials::new("alice", "secret")), "7.3.0".into())
    }

    fn logged_in() -> Session {
        let mut s = session();
        assert!(say(&mut s, "EHLO me").starts_with("250-"));
        assert!(say(&mut s, &format!("AUTH PLAIN {}", STANDARD.encode("\0alice\0secret"))).starts_with("235"));
        s
    }

    fn say(session: &mut Session, line: &str) -> String {
        match session.line(line.as_bytes()) {
            Action::Reply(r)
            | Action::Pause(_, r)
            | Action::PauseAndClose(_, r)
            | Action::Close(r)
            | Action::Data(r) => r,
        }
    }

    #[test]
    fn nothing_is_taken_before_login() {
        let mut s = session();
        assert!(say(&mut s, "MAIL FROM:<a@x>").starts_with("530"));
        assert!(say(&mut s, "AUTH PLAIN").starts_with("503"), "EHLO first");
        say(&mut s, "EHLO me");
        let wrong = s.line(format!("AUTH PLAIN {}", STANDARD.encode("\0alice\0Secret")).as_bytes());
        assert!(matches!(wrong, Action::Pause(d, r) if r.starts_with("535") && d >= Duration::from_secs(1)));
        assert!(say(&mut s, "MAIL FROM:<a@x>").starts_with("530"));
    }

    #[test]
    fn login_works_in_two_steps_too_and_can_be_cancelled() {
        let mut s = session();
        say(&mut s, "EHLO me");
        assert_eq!(say(&mut s, "AUTH LOGIN"), "334 VXNlcm5hbWU6");
        assert!(say(&mut s, "*").starts_with("501"));
        say(&mut s, "AUTH LOGIN");
        assert_eq!(say(&mut s, &STANDARD.encode("alice")), "334 UGFzc3dvcmQ6");
        assert!(say(&mut s, &STANDARD.encode("secret")).starts_with("235"));
    }

    #[test]
    fn a_transaction_gives_its_envelope_once() {
        let mut s = logged_in();
        assert!(say(&mut s, "DATA").starts_with("503"));
        assert!(say(&mut s, "mail from:<a@x> BODY=8BITMIME SIZE=100").starts_with("250"));
        assert!(say(&mut s, "DATA").starts_with("554"));
        assert!(say(&mut s, "RCPT TO:<b@y>").starts_with("250"));
        assert!(say(&mut s, "RCPT TO:<b@y>").starts_with("250"));
        assert!(say(&mut s, "RCPT TO:<>").starts_with("501"));
        assert!(say(&mut s, "DATA").starts_with("354"));
        let envelope = s.take_mail();
        assert_eq!((envelope.sender.as_str(), envelope.recipients.as_slice()), ("a@x", &["b@y".to_owned()][..]));
        assert!(envelope.body8bit && !envelope.smtputf8);
        assert!(say(&mut s, "RCPT TO:<b@y>").starts_with("503"));
    }

    #[test]
    fn limits_hold() {
        let mut s = logged_in();
        assert!(say(&mut s, "MAIL FROM:<a@x> SIZE=67108865").starts_with("552"));
        assert!(say(&mut s, "MAIL FROM:<ü@x>").starts_with("553"));
        say(&mut s, "MAIL FROM:<a@x>");
        for i in 0..MAX_RECIPIENTS {
            assert!(say(&mut s, &format!("RCPT TO:<r{i}@y>")).starts_with("250"));
        }
        assert!(say(&mut s, "RCPT TO:<more@y>").starts_with("452"));
        for _ in 0..MAX_ERRORS {
            say(&mut s, "BOGUS");
        }
        assert!(matches!(s.line(b"BOGUS"), Action::Close(r) if r.starts_with("421")));
    }
}
