//! Ending the open sessions of connectors that a new server version has made too old.
//!
//! A connector that hears of it closes its own sessions; this is for one that does not hear. After a short grace, whoever logged in with
//! a version that does not work any more, and whose connector has not said since that it went offline, is put out.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use protocol::{message::Gate as Standing, product::ProductId};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::{
    aim,
    client_id::Client,
    notes::{Login, tell_user},
    verdict::outdated,
};
use crate::{app::App, config::EndSessions, failure::chain, plain_text::printable, store::SeatRow};

/// How long connectors may take to close their sessions by themselves.
const GRACE: Duration = Duration::from_secs(2);

/// A command that takes longer is killed.
const DEADLINE: Duration = Duration::from_secs(10);

/// Commands at the same time.
const AT_ONCE: usize = 4;

/// Exit codes that say that there was no such session (EX_NOUSER, EX_NOHOST of `sysexits.h`; `doveadm kick` ends with 68).
const NOBODY_THERE: [i32; 2] = [67, 68];

/// The version of a product's server is another one now.
pub fn server_flipped(app: &App, product: &ProductId) {
    let Some(end) = app.config.mail_gate.end_sessions.clone() else { return };
    let (app, product, flipped) = (app.clone(), product.clone(), app.now());
    tokio::spawn(async move {
        if !app.stopping(GRACE).await {
            end_outdated(&app, &end, &product, flipped).await;
        }
    });
}

async fn end_outdated(app: &App, end: &EndSessions, product: &ProductId, flipped: Timestamp) {
    let site = app.site.site();
    let Some(mirror) = app.mirror.current() else { return };
    let too_old = |client: &Client| outdated(client, &site, mirror.catalog(), flipped, app.site.seed()).is_some();
    let logins = app.mail_gate.notes.take_logins(|client| client.product == *product && too_old(client));
    let seats = match app.store.seats().await {
        Ok(seats) => seats,
        Err(error) => {
            tracing::error!(error = chain(&error), "it cannot be known who has gone offline; all are put out");
            Vec::new()
        }
    };
    let works = |seat: &SeatRow| {
        let client = seat.version.clone().map(|version| Client { product: product.clone(), version });
        client.is_some_and(|client| !too_old(&client))
    };
    let open = logins.into_iter().filter(|(login, _)| !has_closed(login, &seats, flipped, works));
    stream::iter(open)
        .for_each_concurrent(AT_ONCE, |(login, ports)| async move {
            let commands = aim::commands(end, &login, &ports);
            if commands.is_empty() {
                tracing::warn!(
                    user = printable(&login.user),
                    "its sessions are not ended: the name, or its ports, say too little"
                );
                return;
            }
            put_out(app, &login, commands).await;
        })
        .await;
}

/// Whether every seat of the user has said that it is offline, or runs a version that works. Nobody known: it has not.
fn has_closed(login: &Login, seats: &[SeatRow], flipped: Timestamp, works: impl Fn(&SeatRow) -> bool) -> bool {
    let mut own = seats
        .iter()
        .filter(|s| s.product.as_ref() == Some(&login.client.product))
        .filter(|s| s.user.as_deref().is_some_and(|user| user.eq_ignore_ascii_case(&login.user)))
        .peekable();
    own.peek().is_some()
        && own.all(|s| s.gate.is_some_and(|gate| gate != Standing::Online) || s.last_seen >= flipped && works(s))
}

async fn put_out(app: &App, login: &Login, commands: BTreeSet<Vec<String>>) {
    let mut ended = 0;
    for argv in commands {
        match run(&argv).await {
            Ok(true) => {
                app.set_problem("ending mail sessions", None);
                ended += 1;
            }
            Ok(false) => {}
            Err(problem) => {
                tracing::warn!(problem, user = printable(&login.user), "mail sessions could not be ended");
                app.set_problem("ending mail sessions", Some(problem));
            }
        }
    }
    if ended == 0 {
        return;
    }
    let Login { user, address, client: Client { product, version } } = login;
    tracing::info!(user = printable(user), %address, %product, %version, "ended its sessions at the mail server");
    let naming = app.switches.naming().await;
    if naming.on {
        let text =
            format!("ended the sessions of {product} {version} at the mail server, from {address}: it is too old");
        if let Err(error) = tell_user(app, user, &login.client, &text, app.now()).await {
            tracing::error!(error = chain(&error), "this cannot be noted");
        }
    }
}

/// Whether there was something to end.
async fn run(argv: &[String]) -> Result<bool, String> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(false) };
    let failed = |error: std::io::Error| format!("cannot run {program}: {error}");
    let running = async {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            stderr.take(4096).read_to_end(&mut said).await.map_err(failed)?;
        }
        let status = child.wait().await.map_err(failed)?;
        match status.code() {
            Some(0) => Ok(true),
            Some(code) if NOBODY_THERE.contains(&code) => Ok(false),
            _ => Err(format!("{program} ended with {status}: {}", printable(String::from_utf8_lossy(&said).trim()))),
        }
    };
    timeout(DEADLINE, running)
        .await
        .unwrap_or_else(|_elapsed| Err(format!("{program} did not end within {} seconds", DEADLINE.as_secs())))
}
