//! What the gate has seen, in memory; the stories get a line of it now and then.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::client_id::Client;
use crate::{app::App, failure::chain, plain_text::printable, store::StoreError};

/// Logins, and refused users, that are remembered.
const MAX: usize = 50_000;

/// Ports that are remembered of the sessions of one client.
const MAX_PORTS: usize = 32;

/// One user's refusals make one line in so much time.
const TELL_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How often the stories get what is due.
const NAP: Duration = Duration::from_secs(2);

/// A login of one of our clients at the mail server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// The account, as the mail server names it.
    pub user: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// Which client.
    pub client: Client,
}

/// How often the mail server has asked, since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Logins asked about.
    pub asked: u64,
    /// Of those, refused.
    pub refused: u64,
    /// When it last asked.
    pub last_asked: Option<Timestamp>,
    /// When one was last refused.
    pub last_refused: Option<Timestamp>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Notes {
    counts: Mutex<Counts>,
    logins: Mutex<HashMap<Login, Vec<u16>>>,
    refusals: Mutex<HashMap<(String, Client), Refusals>>,
    strangers: AtomicU64,
    strange: AtomicBool,
}

#[derive(Debug, Default)]
struct Refusals {
    untold: u64,
    address: Option<IpAddr>,
    told: Option<Timestamp>,
}

/// A line that is due.
#[derive(Debug)]
struct Due {
    user: String,
    client: Client,
    times: u64,
    address: Option<IpAddr>,
}

impl Notes {
    /// How often.
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    pub(super) fn asked(&self, now: Timestamp) {
        let mut counts = lock(&self.counts);
        counts.asked += 1;
        counts.last_asked = Some(now);
    }

    /// Somebody asked with a wrong (`true`) or with the right secret; says whether that is another than before.
    pub(super) fn stranger(&self, strange: bool) -> bool {
        self.strangers.fetch_add(u64::from(strange), Ordering::Relaxed);
        self.strange.swap(strange, Ordering::Relaxed) != strange
    }

    pub(super) fn refused(&self, user: &str, address: Option<IpAddr>, client: &Client, now: Timestamp) {
        {
            let mut counts = lock(&self.counts);
            counts.refused += 1;
            counts.last_refused = Some(now);
        }
        let mut refusals = lock(&self.refusals);
        let key = (user.to_owned(), client.clone());
        if refusals.len() < MAX || refusals.contains_key(&key) {
            let one = refusals.entry(key).or_default();
            one.untold += 1;
            one.address = address;
        }
    }

    pub(super) fn logged_in(&self, login: Login, port: Option<u16>) {
        let mut logins = lock(&self.logins);
        if logins.len() < MAX || logins.contains_key(&login) {
            let ports = logins.entry(login).or_default();
            ports.retain(|known| Some(*known) != port);
            if ports.len() == MAX_PORTS {
                ports.remove(0);
            }
            ports.extend(port);
        }
    }

    /// Takes the logins of these clients out: their sessions are about to end.
    pub(super) fn take_logins(&self, of: impl Fn(&Client) -> bool) -> Vec<(Login, Vec<u16>)> {
        lock(&self.logins).extract_if(|login, _| of(&login.client)).collect()
    }

    fn due(&self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        let old = |told: Timestamp| now.duration_since(told).abs() >= TELL_EVERY;
        lock(&self.refusals).retain(|(user, client), one| {
            if one.told.is_some_and(|told| !old(told)) {
                return true;
            }
            if one.untold > 0 {
                let (user, client) = (user.clone(), client.clone());
                due.push(Due { user, client, times: one.untold, address: one.address });
            }
            let again = one.untold > 0;
            *one = Refusals { untold: 0, address: None, told: Some(now) };
            again
        });
        due
    }
}

/// Writes what is due into the stories, until the task is dropped.
pub async fn keep_notes(app: App) {
    while !app.stopping(NAP).await {
        if let Err(error) = tell(&app).await {
            tracing::error!(error = chain(&error), "refusals at the mail server cannot be noted");
        }
    }
}

/// Writes what is due now.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn tell(app: &App) -> Result<(), StoreError> {
    let now = app.now();
    for due in app.mail_gate.notes.due(now) {
        let naming = app.switches.naming().await;
        if !naming.on {
            continue;
        }
        let Due { user, client, times, address } = due;
        let from = address.map(|a| format!(" from {a}")).unwrap_or_default();
        let often = if times == 1 { String::new() } else { format!(", {times} times since the last note") };
        let Client { product, version } = &client;
        tracing::info!(user = printable(&user), %product, %version, times, "refused at the mail server");
        let text = format!("the mail server refused the login of {product} {version}{from}: it is too old{often}");
        tell_user(app, &user, &client, &text, now).await?;
    }
    Ok(())
}

/// Adds a line to the stories of a user's seats: those that run this very version, else all of them; without any, to the site's.
pub(super) async fn tell_user(
    app: &App,
    user: &str,
    client: &Client,
    text: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut seats = app.store.seats().await?;
    seats.retain(|s| s.user.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(user)));
    if seats.iter().any(|s| s.version.as_ref() == Some(&client.version)) {
        seats.retain(|s| s.version.as_ref() == Some(&client.version));
    }
    if seats.is_empty() {
        app.store.tell("site", &format!("{user}: {text}"), now).await?;
    }
    for seat in seats {
        app.store.tell(seat.id.as_str(), text, now).await?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
