//! The account that the mail server runs as.

use std::process::Command;

use anyhow::Result;

use crate::process::{is_root, must};

/// The account that the mail server runs as when we are root: it comes with Exim's package.
pub(crate) const MAIL_USER: &str = "Debian-exim";

/// Names and numbers of that account.
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) uid: String,
    pub(crate) gid: String,
}

impl Identity {
    pub(crate) fn of_mail() -> Result<Self> {
        let id = |flag: &str| -> Result<String> {
            let mut command = Command::new("id");
            command.arg(flag);
            if is_root() {
                command.arg(MAIL_USER);
            }
            Ok(must(&mut command)?.trim().to_owned())
        };
        Ok(Self { user: id("-un")?, group: id("-gn")?, uid: id("-u")?, gid: id("-g")? })
    }
}

/// A program that is to run as that account.
pub(crate) fn as_mail_user(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={MAIL_USER}"),
        &format!("--regid={MAIL_USER}"),
        "--init-groups",
        "--no-new-privs",
        program,
    ]);
    command
}
