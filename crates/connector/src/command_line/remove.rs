//! `remove`: asks what becomes of the mail, and takes the connector away.

use std::process::ExitCode;

use anyhow::{Result, bail};
use lockstep_connector::{
    platform,
    removal::{self, Mail},
};

use super::{Remove, log_to_stderr, runtime};

pub(super) fn remove(options: &Remove, version: &str) -> Result<ExitCode> {
    log_to_stderr("warn");
    let data = options.places.data()?;
    let version = protocol::product::parse_version(version)?;
    let said = options.keep_mail || options.delete_mail;
    let mail = match options {
        Remove { delete_mail: true, even_unsent: true, .. } => Mail::DeleteUnsent,
        Remove { delete_mail: true, .. } => Mail::Delete,
        Remove { keep_mail: true, .. } => Mail::Keep,
        _ => match platform::ask_yes_or_no(&question(&data), true) {
            Some(true) => Mail::Keep,
            Some(false) => Mail::Delete,
            None if is_asked() => bail!("nothing was removed"),
            // A script that says nothing loses nothing.
            None => Mail::Keep,
        },
    };
    let removed = runtime()?.block_on(removal::remove(&data, &version, mail));
    #[cfg(windows)]
    if let (Err(error), false) = (&removed, said) {
        // Nobody may see what is printed.
        platform::tell(&format!("{:#}", anyhow::anyhow!("{error}")));
    }
    let removed = removed?;
    let place = data.display();
    if removed.mail_is_kept {
        println!("The connector is removed from your account. Your mail is still in {place}.");
        if !said {
            println!("To delete it later: lockstep-connector remove --delete-mail, or delete that folder.");
        }
    } else {
        println!("The connector and the mail on this computer are removed. The mail on the mail server is as it was.");
    }
    if !removed.mail_is_kept && !removed.left.is_empty() {
        println!("Left in {place}, since it is not the connector's: {}", removed.left.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn question(data: &std::path::Path) -> String {
    format!(
        "Lockstep Connector is being removed from your account.\n\nKeep the mail that is on this computer ({})?\n\
         What is on the mail server stays there in any case.",
        data.display()
    )
}

/// Whether somebody was there to be asked, and has not answered.
#[cfg(unix)]
fn is_asked() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal()
}

/// A window that was closed is no answer; a session that cannot show one has nobody to ask.
#[cfg(windows)]
fn is_asked() -> bool {
    platform::can_show_windows()
}
