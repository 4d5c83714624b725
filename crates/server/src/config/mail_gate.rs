//! `[mail_gate]`: where the mail server asks about logins, and how sessions are ended.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::Deserialize;

/// The whole section. Without `listen` there is no gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailGate {
    /// Where the mail server asks. `None`: it does not.
    pub listen: Option<Loopback>,
    /// How the sessions of an outdated connector are ended when the server's version flips. `None`: they are not.
    pub end_sessions: Option<EndSessions>,
}

/// An address of this machine's own, such as `127.0.0.1:4480`: what is asked there is plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Loopback(SocketAddr);

impl Loopback {
    /// As the standard library's type.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Loopback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.trim().parse().map_err(|_| {
            format!("{text:?} is not accepted; write an address of this machine and a port, such as 127.0.0.1:4480")
        })?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(format!(
                "{text:?} is not accepted: the mail gate speaks plain HTTP, so it listens on 127.0.0.1 or [::1] only. For a mail \
                 server on another machine, bring the port there through a tunnel, such as ssh -R or stunnel"
            ))
        }
    }
}

impl TryFrom<String> for Loopback {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is put in a placeholder's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{user}`: the mail account, as the mail server names it.
    User,
    /// `{address}`: where the session comes from.
    Address,
    /// `{port}`: the session's port there.
    Port,
}

/// A program and its arguments, some of them placeholders; it is run without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct EndSessions(Vec<Result<Placeholder, String>>);

impl EndSessions {
    /// Each word: a placeholder, or itself.
    pub fn words(&self) -> impl Iterator<Item = Result<Placeholder, &str>> {
        self.0.iter().map(|word| word.as_ref().copied().map_err(String::as_str))
    }

    /// Whether a placeholder is among the words.
    pub fn has(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Ok(placeholder))
    }
}

impl TryFrom<Vec<String>> for EndSessions {
    type Error = String;

    fn try_from(argv: Vec<String>) -> Result<Self, String> {
        let words = argv.into_iter().map(|word| match word.as_str() {
            "{user}" => Ok(Ok(Placeholder::User)),
            "{address}" => Ok(Ok(Placeholder::Address)),
            "{port}" => Ok(Ok(Placeholder::Port)),
            _ if ["{user}", "{address}", "{port}"].iter().any(|p| word.contains(p)) => Err(format!(
                "end_sessions: {word:?} is not accepted; a placeholder is an argument of its own, so that no name can change the rest"
            )),
            _ => Ok(Err(word)),
        });
        let this = Self(words.collect::<Result<_, _>>()?);
        let program = matches!(this.0.first(), Some(Err(program)) if !program.is_empty());
        let aimed = this.has(Placeholder::User) || this.has(Placeholder::Address) && this.has(Placeholder::Port);
        if program && aimed {
            return Ok(this);
        }
        Err("end_sessions is a program and its arguments, with {user} or both {address} and {port} among them, such as \
             [\"doveadm\", \"kick\", \"{user}\", \"{address}\"]"
            .into())
    }
}
