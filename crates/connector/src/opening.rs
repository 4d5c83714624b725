//! Opening the mail store: which schema this version knows, the migration with its progress, and giving up what older
//! versions need once this one has proved healthy.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use lockstep_client::{ClientError, Updater as UpdaterClient};
use mail_store::{Progress, Schema, Store};
use protocol::{Version, message::Gate};
use tokio::sync::watch;

use crate::{
    gatekeeper::GateKeeper,
    local::StoreHandle,
    status::{Migration, Status},
};

/// How often the status is written while the store is migrated.
const TELL: Duration = Duration::from_millis(250);

/// How often it is looked whether the updater counts this version as healthy.
const LOOK: Duration = Duration::from_secs(2);

/// Messages that are made searchable at a time, and the pause after them.
const PIECE: u32 = 200;
const BREATH: Duration = Duration::from_millis(10);

/// The store's schema that a version reads and writes: 7.1 and before 1, 7.2 2, later ones 3. A build without a release's
/// number (0.x) has all that there is.
pub fn schema_of(version: &Version) -> Schema {
    match (version.major, version.minor) {
        (0, _) => Schema::NEWEST,
        (..7, _) | (7, ..2) => Schema::One,
        (7, 2) => Schema::Two,
        _ => Schema::Three,
    }
}

/// Where the store is.
pub fn path(data: &Path) -> PathBuf {
    data.join("mail.sqlite")
}

/// Opens the store, and migrates it before if need be; blocks. `status` is what others are told of the connector
/// meanwhile.
///
/// # Errors
/// What [`Store::open_limited`] says.
pub fn open(data: &Path, version: &Version, mut status: Status) -> mail_store::Result<Store> {
    let mut teller = Teller { data, status: &mut status, bar: None, told: None };
    let start = Instant::now();
    let store = Store::open_limited(&path(data), schema_of(version), &mut |progress| teller.tell(progress));
    teller.end(start.elapsed(), store.as_ref().ok());
    store
}

/// Tells the log, the terminal and `status.json` how far the migration is.
struct Teller<'a> {
    data: &'a Path,
    status: &'a mut Status,
    bar: Option<ProgressBar>,
    /// The step that was told last, and when.
    told: Option<(u32, Instant)>,
}

impl Teller<'_> {
    fn tell(&mut self, progress: &Progress) {
        let Progress { step, steps, what, done, total } = *progress;
        let new_step = self.told.is_none_or(|(told, _)| told != step);
        if new_step {
            tracing::info!(step, steps, messages = total, "upgrading the mailbox: {what}");
        }
        let bar = self.bar.get_or_insert_with(bar);
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(format!("Upgrading the mailbox, step {step} of {steps}: {what}"));
        if new_step || self.told.is_some_and(|(_, at)| at.elapsed() >= TELL) {
            self.told = Some((step, Instant::now()));
            self.status.migration = Some(Migration { step, steps, what: what.to_owned(), done, total });
            self.save();
        }
    }

    fn end(&mut self, took: Duration, store: Option<&Store>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.status.migration = None;
            self.save();
        }
        let Some(store) = store else { return };
        match store.postponed() {
            Some(error) => tracing::warn!(%error, "the mailbox stays on schema {} for now", store.schema()),
            None if self.told.is_some() => {
                tracing::info!(seconds = took.as_secs_f32(), "upgraded the mailbox to schema {}", store.schema());
            }
            None => {}
        }
    }

    fn save(&self) {
        if let Err(error) = self.status.save(self.data) {
            tracing::warn!(%error, "the status cannot be written");
        }
    }
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}").unwrap_or(ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

/// Tells the updater that this version works, and once it is online and no machine goes back by itself any more, lets the
/// store give up what only versions before the one before need.
pub(crate) async fn once_healthy(updater: UpdaterClient, gate: &GateKeeper, store: StoreHandle) {
    let counted = watch::Sender::new(None);
    let confirm = async {
        counted.send_replace(Some(updater.confirm_healthy().await));
    };
    tokio::join!(confirm, contract(&updater, gate, store, counted.subscribe()));
}

async fn contract(
    updater: &UpdaterClient,
    gate: &GateKeeper,
    store: StoreHandle,
    counted: watch::Receiver<Option<bool>>,
) {
    if gate.subscribe().wait_for(|state| state.gate == Gate::Online).await.is_err() {
        return;
    }
    loop {
        match *counted.borrow() {
            Some(true) => break,
            // Another version is the active one: this is not the time to give anything up.
            Some(false) => return,
            None => {}
        }
        if matches!(updater.status().await, Err(ClientError::Missing { .. })) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if let Err(error) = store.call(Store::contract).await {
        tracing::warn!(%error, "the mailbox keeps what older versions need; the next start tries again");
    }
}

/// Makes messages searchable that an older version brought, in pieces between which others get at the store.
pub(crate) async fn fill_search(store: StoreHandle) {
    let mut pieces = 0;
    loop {
        match store.call(|store| store.fill_search(PIECE)).await {
            Ok(true) => pieces += 1,
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(%error, "older messages are searched more slowly until the next start");
                return;
            }
        }
        tokio::time::sleep(BREATH).await;
    }
    if pieces > 0 {
        tracing::info!(pieces, "older messages can be searched quickly now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_its_schema_and_a_build_without_a_number_the_newest() {
        for (version, schema) in [
            ("7.0.9", Schema::One),
            ("7.1.0", Schema::One),
            ("7.1.12", Schema::One),
            ("7.2.0", Schema::Two),
            ("7.2.0-beta.1", Schema::Two),
            ("7.3.0", Schema::Three),
            ("7.4.1", Schema::Three),
            ("8.0.0", Schema::Three),
            ("0.1.0", Schema::Three),
        ] {
            assert_eq!(schema_of(&version.parse().unwrap()), schema, "{version}");
        }
    }
}
