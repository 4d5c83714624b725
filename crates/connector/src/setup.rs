//! Makes an account on this PC: proves the mail password to the site's server once, and prepares the local servers.

use std::{net::TcpListener, path::Path};

use protocol::{
    message::{Login, V},
    product::Platform,
    site::SiteProfile,
};
use serde::Serialize;

use crate::{
    account::{Account, AccountError, new_seat},
    files, platform,
    secrets::{self, Place, Secrets, SecretsError, new_local_password},
    server_client::{ServerClient, ServerError},
};

/// Where the local IMAP server of a PC's first user listens, if that port is free.
pub const IMAP_PORT: u16 = 1143;

/// Where the local submission server of a PC's first user listens, if that port is free.
pub const SMTP_PORT: u16 = 1587;

/// Ports after the usual one that are tried.
const PORTS_TRIED: u16 = 200;

/// So many users of one PC have usual ports of their own, which is all that there is between the two above.
const USERS: u16 = 400;

/// Why the account was not made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The user name is not one.
    #[error("{0:?} is not a mail account; write it as you@your.domain")]
    BadUser(String),
    /// The data directory.
    #[error("cannot use the data directory {0}")]
    Data(std::path::PathBuf, #[source] std::io::Error),
    /// The site's server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The account file.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The account on this PC is another one's.
    #[error("this data directory belongs to {0}; use another --data directory for another account")]
    OtherUser(String),
    /// A port is taken.
    #[error("port {0} is taken by another program; choose another one, or 0 for any free one")]
    PortTaken(u16),
    /// No port is free.
    #[error("no free port was found")]
    NoPort,
}

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct SetupOptions {
    /// The mail account.
    pub user: String,
    /// A port for the local IMAP server; 0 for any free one. `None`: the usual one, or the first free one after it.
    pub imap_port: Option<u16>,
    /// A port for the local submission server, likewise.
    pub smtp_port: Option<u16>,
    /// The PC's name.
    pub hostname: String,
    /// The command that gets the administrator's rights. `None`: what was set up before.
    pub elevation: Option<Vec<String>>,
}

/// How to set up the mail program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailProgram {
    /// Format version, 1.
    pub v: u32,
    /// The machine of both servers.
    pub host: &'static str,
    /// IMAP, without TLS: it never leaves the machine.
    pub imap_port: u16,
    /// Submission, without TLS.
    pub smtp_port: u16,
    /// The user name for both.
    pub user: String,
    /// The password for both: not the mail password.
    pub password: String,
    /// Where the secrets are kept.
    pub secrets: Place,
}

impl MailProgram {
    /// For people.
    pub fn report(&self) -> String {
        let Self { host, imap_port, smtp_port, user, password, .. } = self;
        let kept = match self.secrets {
            Place::Keyring => "in the system's keyring",
            Place::File => "in a file that only you can read",
        };
        format!(
            "This connector is set up for {user}. In your mail program use:\n\
             \n\
             \x20 incoming mail (IMAP)   server {host}, port {imap_port}, no encryption\n\
             \x20 outgoing mail (SMTP)   server {host}, port {smtp_port}, no encryption\n\
             \x20 user name              {user}\n\
             \x20 password               {password}\n\
             \n\
             The password is for this computer only. Your mail password is kept {kept}.\n\
             Mail between this computer and the mail server is always encrypted."
        )
    }
}

/// Makes the account, or renews it: a second run keeps seat, ports and local password.
///
/// # Errors
/// [`SetupError`].
pub async fn run(
    data: &Path,
    profile: &SiteProfile,
    options: &SetupOptions,
    password: &str,
    version: &str,
) -> Result<MailProgram, SetupError> {
    let user = options.user.trim();
    let shaped = user.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
    if !shaped || user.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(SetupError::BadUser(user.chars().take(100).collect()));
    }
    files::private_directory(data).map_err(|e| SetupError::Data(data.into(), e))?;
    let before = match Account::load(data) {
        Ok(account) if account.user != user => return Err(SetupError::OtherUser(account.user)),
        Ok(account) => Some(account),
        Err(AccountError::NotSetUp) => None,
        Err(AccountError::Damaged { .. }) => {
            tracing::warn!("the damaged account file is replaced");
            None
        }
        Err(e) => return Err(e.into()),
    };
    let own = users_own(platform::user_number());
    let imap_port = choose_port(options.imap_port, before.as_ref().map(|a| a.imap_port), IMAP_PORT + own, 0)?;
    let smtp_port = choose_port(options.smtp_port, before.as_ref().map(|a| a.smtp_port), SMTP_PORT + own, imap_port)?;

    let seat = before.as_ref().map_or_else(new_seat, |account| account.seat.clone());
    let login = Login {
        v: V,
        user: user.to_owned(),
        password: password.to_owned(),
        seat: seat.clone(),
        hostname: options.hostname.clone(),
        platform: Platform::current(),
    };
    let answer = ServerClient::new(profile, version)?.login(&login).await?;

    let local_password = match &before {
        Some(account) => match secrets::load(data, &seat, account.secrets).await {
            Ok(secrets) => secrets.local_password,
            Err(error) => {
                tracing::warn!(%error, "the mail program needs a new password");
                new_local_password()
            }
        },
        None => new_local_password(),
    };
    let secrets = Secrets { token: answer.token, mail_password: password.to_owned(), local_password };
    let place = secrets::save(data, &seat, &secrets).await?;
    let account = Account {
        v: 1,
        user: user.to_owned(),
        seat,
        imap_port,
        smtp_port,
        mail: answer.mail,
        secrets: place,
        elevation: options.elevation.clone().or_else(|| before.and_then(|account| account.elevation)),
    };
    account.save(data)?;
    Ok(MailProgram {
        v: 1,
        host: "127.0.0.1",
        imap_port,
        smtp_port,
        user: user.to_owned(),
        password: secrets.local_password,
        secrets: place,
    })
}

/// How far a user's usual ports are from the first user's: on a terminal server a port that is free now may be somebody's who has not
/// signed in today.
fn users_own(number: u32) -> u16 {
    let nth = number.saturating_sub(platform::FIRST_USER) % u32::from(USERS);
    u16::try_from(nth).unwrap_or_default()
}

/// A port of 127.0.0.1 that is not `taken`. One that was chosen before stays, also while the connector uses it.
fn choose_port(wish: Option<u16>, before: Option<u16>, usual: u16, taken: u16) -> Result<u16, SetupError> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|l| l.local_addr()).map(|a| a.port()).ok();
    match (wish, before) {
        (Some(0), _) => (0..10).filter_map(|_| free(0)).find(|port| *port != taken).ok_or(SetupError::NoPort),
        (Some(port), Some(before)) if port == before => Ok(port),
        (Some(port), _) if port != taken => free(port).ok_or(SetupError::PortTaken(port)),
        (Some(port), _) => Err(SetupError::PortTaken(port)),
        (None, Some(before)) => Ok(before),
        (None, None) => {
            (usual..usual + PORTS_TRIED).filter(|port| *port != taken).find_map(free).ok_or(SetupError::NoPort)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_usual_ones_or_the_first_free_and_stay() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = held.local_addr().unwrap().port();
        assert!(matches!(choose_port(Some(busy), None, 1143, 0), Err(SetupError::PortTaken(_))));
        assert_eq!(choose_port(Some(busy), Some(busy), 1143, 0).unwrap(), busy, "the connector itself may hold it");
        assert_eq!(choose_port(None, Some(busy), 1143, 0).unwrap(), busy);
        let next = choose_port(None, None, busy, 0).unwrap();
        assert!(next > busy && next < busy + PORTS_TRIED);
        let any = choose_port(Some(0), None, 1143, 0).unwrap();
        assert_ne!(any, 0);
        assert!(matches!(choose_port(Some(any), None, 1143, any), Err(SetupError::PortTaken(_))));
    }

    #[test]
    fn users_of_one_computer_have_usual_ports_of_their_own() {
        let first = platform::FIRST_USER;
        assert_eq!([0, first, first + 1, first + 399].map(users_own), [0, 0, 1, 399]);
        assert!(IMAP_PORT + users_own(u32::MAX) < SMTP_PORT, "no one's IMAP port is another's for submission");
        assert!((0..2000).all(|n| IMAP_PORT + users_own(first + n) < SMTP_PORT));
    }

    #[test]
    fn the_user_is_told_how_to_set_up_the_mail_program() {
        let program = MailProgram {
            v: 1,
            host: "127.0.0.1",
            imap_port: 1143,
            smtp_port: 1587,
            user: "alice@example.test".into(),
            password: "abcdefghjkmnpqrstuvwxyz2".into(),
            secrets: Place::Keyring,
        };
        insta::assert_snapshot!("mail_program", program.report());
        insta::assert_json_snapshot!("mail_program_json", program);
    }

    #[tokio::test]
    async fn what_is_not_a_mail_account_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let profile = serde_json::from_str(r#"{"v":1,"server":"https://127.0.0.1:1","enrolment_key":"k"}"#).unwrap();
        for bad in ["alice", "@x", "a@", "a b@c", "a@b\n"] {
            let (user, hostname) = (bad.into(), "pc".into());
            let options = SetupOptions { user, imap_port: None, smtp_port: None, hostname, elevation: None };
            let trimmed_is_good = bad.trim() == "a@b";
            let result = run(&data, &profile, &options, "pw", "7.2.0").await;
            assert_eq!(matches!(result, Err(SetupError::BadUser(_))), !trimmed_is_good, "{bad:?}");
        }
    }
}
