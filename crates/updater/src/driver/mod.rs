//! Carries out what the machine says, and tells it what came of it.
//!
//! One loop owns everything; whatever takes time runs beside it and comes back as an [`Event`]. Nothing that triggers a
//! check-in carries a decision: a push, a timer, a user's `check_now` and the service's own start all run the same path,
//! which may be run at any time and as often as wanted.
//!
//! | module | room for |
//! |---|---|
//! | [`report`] | pure: what the server and the users are told |
//! | [`schedule`] | pure: when the next check-in is |
//! | `recovery` | what an earlier run was killed in |
//! | `decide` | the machine's events |
//! | `carry` | the machine's effects |
//! | `prune` | which versions are not needed any more |
//! | `running` | running instances: self-check, restart, health |
//! | `own` | the updater itself, on trial |
//! | `beside` | what an installer does at the same time |
//! | `policies` | what is kept of policies, failures and happenings |
//! | `refused` | what the disk refused, and is tried again |
//! | `tell` | the server and the users of this PC, from what `report` makes |
//! | `tries` | packages at which the service itself came to its end |
//! | `users` | what the users of this PC say |
//! | `vigil` | signs of life for whoever restarts a service that hangs |

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    Directive, Timestamp, Version,
    device::Device,
    explain::Explained,
    message::{DeviceDirectives, MAX_TEXT},
    policy::UpgradePolicy,
    product::ProductId,
    terms::MachinePolicy,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::{
    history::History,
    layout::Layout,
    machine::State,
    platform,
    record::{Record, RecordFile},
    services::Systemd,
    slots::{Observed, SlotError, Slots},
    source::{Metadata, Source, Trouble},
    texts::cut,
};

mod beside;
pub(crate) mod carry;
mod decide;
mod own;
mod policies;
mod prune;
mod recovery;
mod refused;
pub mod report;
mod running;
pub mod schedule;
mod tell;
mod tries;
mod users;
mod vigil;

pub use report::Published;
use schedule::{Refresh, Schedule};
pub use users::Word;
use vigil::Vigil;

/// A server that speaks of more products than this is not heard to the end.
const MAX_PRODUCTS: usize = 64;

/// Why a check-in is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is time.
    Due,
    /// The server said so.
    Pushed,
    /// A push stream stands again, after a time without.
    Connected,
    /// A user asked.
    Asked,
}

/// What the driver learns.
#[derive(Debug)]
pub enum Event {
    /// A check-in is wanted.
    Wanted(Why),
    /// The server has answered, or not, a check-in with this report.
    CheckedIn(Box<Device>, Result<DeviceDirectives, Trouble>),
    /// Metadata was verified, or not.
    Refreshed(Result<Metadata, Trouble>),
    /// Staging has ended.
    Staged(ProductId, Version, Result<(), String>),
    /// The health rule has been checked.
    Checked(ProductId, Version, Result<(), String>),
    /// The health rule cannot be judged at the moment, for this reason; it is checked again.
    Undecided(ProductId, Version, String),
    /// A user agrees to what is waiting. The answer is for that user.
    Consent(Word, oneshot::Sender<Result<String, String>>),
    /// Root wants another try at what was rolled back. The answer is for root.
    Retry(oneshot::Sender<Result<String, String>>),
    /// A program of the active version says that it works; the kernel has vouched for it.
    Confirmed(ProductId, Version),
}

/// What a driver is made of.
pub struct Setup<S> {
    /// Where everything lies.
    pub layout: Layout,
    /// The versions.
    pub slots: Slots,
    /// Where the record is kept.
    pub file: RecordFile,
    /// What was remembered.
    pub record: Record,
    /// What was verified in an earlier run.
    pub metadata: Option<Metadata>,
    /// The world outside.
    pub source: Arc<S>,
    /// This program's version.
    pub version: Version,
    /// The PC's name.
    pub hostname: String,
    /// The channel whose releases the PC takes.
    pub channel: String,
    /// The machine's policy.
    pub policy: Option<UpgradePolicy>,
    /// The rest of it.
    pub machine: MachinePolicy,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
    /// The machine's services.
    pub systemd: Systemd,
    /// Whether a supervisor would start another version of this program.
    pub supervised: bool,
}

/// One product, as far as it is known.
#[derive(Debug, Default)]
struct Tracked {
    state: State,
    directive: Option<Directive>,
    observed: Observed,
    /// What is done about the directive, in words.
    explained: Option<Explained>,
    /// When that may change by itself.
    look_again: Option<Timestamp>,
    staging: Option<AbortHandle>,
    /// A version that was confirmed by its program before its self-check had ended.
    confirmed_early: Option<Version>,
}

/// The loop that owns everything.
pub struct Driver<S> {
    setup: Setup<S>,
    tracked: BTreeMap<ProductId, Tracked>,
    schedule: Schedule,
    vigil: Vigil,
    /// A time that is known to have been, and when that was on a clock that nobody sets.
    known: Option<(Timestamp, std::time::Instant)>,
    contact_problem: Option<String>,
    metadata_problem: Option<String>,
    /// What of the machine's settings does not hold, for people.
    settings_problem: Option<String>,
    /// Whether metadata is being refreshed.
    refreshing: bool,
    /// Check-ins that have ended.
    check_ins: u64,
    history: History,
    refused: refused::Refused,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    published: watch::Sender<Published>,
    /// Whether another program stands in the place of this one.
    replaced: watch::Sender<bool>,
    /// Whether the server has answered since this process was started.
    contact: watch::Sender<bool>,
}

impl<S: Source> Driver<S> {
    /// A driver that has not done anything yet.
    pub fn new(setup: Setup<S>) -> Self {
        let (events, inbox) = mpsc::channel(64);
        Self {
            known: setup.record.trusted_time.map(|then| (then, std::time::Instant::now())),
            history: History::open(setup.layout.history(), setup.file.disk()),
            setup,
            tracked: BTreeMap::new(),
            schedule: Schedule::new(Instant::now()),
            vigil: Vigil::new(platform::watchdog(), Instant::now()),
            contact_problem: None,
            metadata_problem: None,
            settings_problem: None,
            refreshing: false,
            check_ins: 0,
            refused: refused::Refused::default(),
            events,
            inbox,
            published: watch::Sender::new(Published::default()),
            replaced: watch::Sender::new(false),
            contact: watch::Sender::new(false),
        }
    }

    /// Takes events from elsewhere.
    pub fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Where things stand, for the users of this PC.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Whether another program was installed in the place of this one, which should become it.
    pub fn replaced(&self) -> watch::Receiver<bool> {
        self.replaced.subscribe()
    }

    /// Some of the machine's settings do not hold: people are told, and everything goes on without them.
    pub fn complain(&mut self, complaints: &[String]) {
        self.settings_problem = (!complaints.is_empty()).then(|| complaints.join("; "));
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        loop {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let alarm = self.alarm();
        let event = tokio::select! {
            event = self.inbox.recv() => event,
            () = sleep_until(alarm) => Some(Event::Wanted(Why::Due)),
            () = self.vigil.due() => None,
        };
        if self.vigil.sign(Instant::now()) {
            platform::notify_alive();
        }
        // The channel cannot be closed, this driver holds a sender of its own: nothing means that a sign of life was due.
        if let Some(event) = event {
            self.handle(event).await;
        }
        self.restart_the_others().await;
        self.note_history().await;
        self.begin_check_in();
        self.publish();
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Wanted(why) => {
                self.schedule.want(why, Instant::now());
                if why != Why::Pushed {
                    self.look_around().await;
                    self.finish_roll_backs().await;
                    self.try_refused_again().await;
                    self.prune().await;
                    self.retry().await;
                }
            }
            Event::CheckedIn(sent, Ok(answer)) => {
                self.check_ins += 1;
                self.directed(*sent, answer).await;
            }
            Event::CheckedIn(_, Err(trouble)) => {
                self.check_ins += 1;
                tracing::warn!(error = %trouble, "check-in failed");
                self.schedule.failed(Instant::now(), rand::random());
                self.contact_problem = Some(trouble.0);
            }
            Event::Refreshed(result) => {
                self.refreshing = false;
                self.refreshed(result).await;
            }
            Event::Staged(product, version, result) => self.staged(&product, &version, result).await,
            Event::Checked(product, version, result) => self.checked(&product, &version, result).await,
            Event::Undecided(product, version, why) => self.undecided(&product, &version, why).await,
            Event::Consent(word, answer) => {
                let said = self.consent(&word).await;
                // The user may have gone meanwhile; what they agreed to counts all the same.
                drop(answer.send(said));
            }
            Event::Retry(answer) => {
                let said = self.retry_all().await;
                if said.is_ok() {
                    self.schedule.want(Why::Asked, Instant::now());
                }
                // What root wants counts, also when root has gone meanwhile.
                drop(answer.send(said));
            }
            Event::Confirmed(product, version) => self.confirmed(&product, &version).await,
        }
    }

    fn begin_check_in(&mut self) {
        let device = self.device();
        if !self.schedule.begin(&device) {
            return;
        }
        let (source, events) = (self.setup.source.clone(), self.events.clone());
        tokio::spawn(async move {
            let answer = source.check_in(device.clone()).await;
            // Fails only when the driver is gone, and the process with it.
            drop(events.send(Event::CheckedIn(Box::new(device), answer)).await);
        });
    }

    async fn directed(&mut self, sent: Device, answer: DeviceDirectives) {
        self.contact_problem = None;
        self.contact.send_replace(true);
        self.setup.record.last_contact = Some(self.now());
        let refresh = self.schedule.succeeded(sent, answer.next_check_in_seconds, Instant::now(), rand::random());
        let mut named = Vec::new();
        for mut directive in answer.directives.into_iter().take(MAX_PRODUCTS) {
            // An answer may be a megabyte, and these words go into the history and to every user.
            cut(&mut directive.why, MAX_TEXT);
            let product = directive.product.clone();
            self.forgive_named(&directive).await;
            self.tracked.entry(product.clone()).or_default().directive = Some(directive);
            named.push(product);
        }
        for (product, tracked) in &mut self.tracked {
            if !named.contains(product) {
                (tracked.directive, tracked.explained, tracked.look_again) = (None, None, None);
            }
        }
        // A switch to what is staged waits for nothing; everything else waits for the newest metadata.
        self.decide_all(refresh != Refresh::No).await;
        if refresh == Refresh::Now {
            self.begin_refresh();
        }
    }

    fn begin_refresh(&mut self) {
        self.refreshing = true;
        let (source, events, now) = (self.setup.source.clone(), self.events.clone(), self.now());
        tokio::spawn(async move {
            let metadata = source.refresh(now).await;
            // Fails only when the driver is gone, and the process with it.
            drop(events.send(Event::Refreshed(metadata)).await);
        });
    }

    async fn refreshed(&mut self, result: Result<Metadata, Trouble>) {
        match result {
            Ok(metadata) => {
                self.metadata_problem = None;
                self.schedule.refresh_succeeded();
                let now = self.now();
                self.setup.record.trusted_time = Some(now);
                self.known = Some((now, std::time::Instant::now()));
                let products: Vec<_> = metadata.catalog.entries.iter().map(|e| e.release.product.clone()).collect();
                for product in products {
                    let floor = metadata.catalog.floor(&product, &self.setup.channel).cloned();
                    let remembered = self.setup.record.product_mut(&product);
                    remembered.floor = remembered.floor.take().max(floor);
                }
                self.setup.metadata = Some(metadata);
                self.save().await;
                self.prune_downloads().await;
            }
            Err(trouble) => {
                tracing::warn!(error = %trouble, "metadata could not be refreshed");
                self.schedule.refresh_failed(Instant::now(), rand::random());
                self.metadata_problem = Some(trouble.0);
            }
        }
        self.decide_all(false).await;
    }

    async fn observe(&mut self, product: &ProductId) -> Result<(), SlotError> {
        let (slots, of) = (self.setup.slots.clone(), product.clone());
        let looking = |source| SlotError::Disk { what: "looking at the installed versions".into(), source };
        let observed = blocking(move || slots.observe(&of)).await.map_err(looking)?;
        self.tracked.entry(product.clone()).or_default().observed = observed;
        Ok(())
    }

    fn installed_products(&self) -> Vec<ProductId> {
        self.setup.slots.products().into_iter().filter(|product| self.is_mine(product)).collect()
    }

    fn alarm(&self) -> Instant {
        let now = self.now();
        // One that is past could not be done then, and waits for the next check-in.
        let everybody = self.setup.record.products.values().map(|record| record.everybody_at);
        let times = self.tracked.values().flat_map(|t| [t.state.retry_at(), t.look_again]).chain(everybody);
        let retry = times.flatten().filter(|at| *at > now).min();
        let wait = retry.and_then(|at| std::time::Duration::try_from(at.duration_since(now)).ok());
        let alarm = self.schedule.alarm(wait.map(|wait| Instant::now() + wait));
        self.refused.again_at().map_or(alarm, |again| again.min(alarm))
    }

    /// The effective time. It goes on even when the system's clock was set back to before what is known to have been. What
    /// the system's clock said earlier is not known to have been: it may have been far ahead until it was set.
    fn now(&self) -> Timestamp {
        let now = self.setup.record.effective_now((self.setup.clock)());
        let since = self.known.and_then(|(then, at)| then.checked_add(at.elapsed()).ok());
        since.map_or(now, |since| since.max(now))
    }
}

fn is_checking(state: &State, which: &Version) -> bool {
    matches!(state, State::Confirming { version, .. } if version == which)
}

fn is_switching(state: &State) -> bool {
    matches!(state, State::Activating { .. } | State::Confirming { .. } | State::RollingBack { .. })
}

/// Runs what waits for the disk where it keeps nobody else waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The runtime does not cancel blocking work while the driver runs, so this is the work's own panic.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
