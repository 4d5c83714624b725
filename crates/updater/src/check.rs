//! `lockstep-updater check`: asks the server now, and shows what comes of it until nothing more does.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{
    device::DeviceState,
    ipc::{Reply, Status, Verb},
    product::ProductId,
};
use tokio::time::sleep;

use crate::{ipc::client::ask, status::printable};

/// How often the service is asked how far it is.
const PACE: Duration = Duration::from_millis(400);

/// Asks, and shows. Ends when there is nothing more to be done, with the status then.
///
/// # Errors
/// The service is not running or refuses; the server or the vendor's metadata could not be used; or it took longer than `limit`.
pub async fn check(socket: &Path, limit: Duration, quiet: bool) -> anyhow::Result<Status> {
    let before = status(socket).await?;
    match ask(socket, Verb::CheckNow).await? {
        Reply::Ok { .. } => {}
        Reply::Refused { error } => bail!("{}", printable(&error)),
        other => bail!("the updater gave an answer that does not fit: {other:?}"),
    }
    let mut view = View::new(quiet);
    view.line(&format!("asking {}", printable(&before.server)))?;
    let end = Instant::now() + limit;
    let mut asked = before.pc.check_ins;
    loop {
        let now = match status(socket).await {
            Ok(now) => now,
            // A service that gives way to its next version is away for a moment, and asks the server when it is back.
            Err(_) if Instant::now() < end => {
                asked = 0;
                sleep(PACE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if now.updater != before.updater {
            asked = asked.min(now.pc.check_ins.saturating_sub(1));
        }
        view.show(&now)?;
        if now.pc.check_ins > asked && !now.pc.busy && !is_working(&now) {
            view.finish();
            return match &now.problem {
                Some(problem) => bail!("{}", printable(problem)),
                None => Ok(now),
            };
        }
        if Instant::now() > end {
            view.finish();
            bail!(
                "not finished after {} seconds; it goes on by itself, as the command `status` shows",
                limit.as_secs()
            );
        }
        sleep(PACE).await;
    }
}

/// How things stand.
///
/// # Errors
/// The service is not running, or does not answer.
pub async fn status(socket: &Path) -> anyhow::Result<Status> {
    match ask(socket, Verb::Status).await? {
        Reply::Status(status) => Ok(*status),
        other => bail!("the updater gave another answer than a status: {other:?}"),
    }
}

/// Whether something is being fetched, switched or checked, which ends by itself.
fn is_working(status: &Status) -> bool {
    let working =
        |s: DeviceState| matches!(s, DeviceState::Staging | DeviceState::Activating | DeviceState::Confirming);
    status.products.values().any(|p| working(p.state))
}

/// What is shown: a bar on a terminal while something is fetched, and one line for each thing that changes.
struct View {
    quiet: bool,
    bar: Option<ProgressBar>,
    terminal: bool,
    told: Vec<(ProductId, String)>,
}

impl View {
    fn new(quiet: bool) -> Self {
        Self { quiet, bar: None, terminal: std::io::stdout().is_terminal(), told: Vec::new() }
    }

    fn line(&self, text: &str) -> anyhow::Result<()> {
        if self.quiet {
            return Ok(());
        }
        match &self.bar {
            Some(bar) => bar.println(text),
            None => writeln!(std::io::stdout(), "{text}").context("cannot write to the standard output")?,
        }
        Ok(())
    }

    fn show(&mut self, status: &Status) -> anyhow::Result<()> {
        for (product, why) in &status.why {
            let told = (product.clone(), why.clone());
            if self.told.contains(&told) {
                continue;
            }
            self.line(&format!("{product}: {}", printable(why)))?;
            self.told.push(told);
        }
        let (done, total) = status.fetching.values().fold((0, 0), |(done, total), f| (done + f.done, total + f.total));
        if total == 0 || self.quiet || !self.terminal {
            self.finish();
            return Ok(());
        }
        let bar = self.bar.get_or_insert_with(|| bar(total));
        bar.set_length(total);
        bar.set_position(done.min(total));
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    // Without a valid template the plain bar is good enough.
    if let Ok(style) = ProgressStyle::with_template("  fetching [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style);
    }
    bar
}
