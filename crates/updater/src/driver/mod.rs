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
//! | `carry` | the machine's effects |
//! | `prune` | which versions are not needed any more |
//! | `running` | running instances: self-check, restart, health |
//! | `own` | the updater itself, on trial |
//! | `beside` | what an installer does at the same time |
//! | `policies` | what is kept of policies, failures and happenings |
//! | `refused` | what the disk refused, and is tried again |
//! | `users` | what the users of this PC say |
//! | `vigil` | signs of life for whoever restarts a service that hangs |

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    Admission, Directive, Timestamp, Version, admit,
    device::Device,
    explain::Explained,
    ipc::PcStatus,
    message::{DeviceDirectives, MAX_TEXT},
    policy::UpgradePolicy,
    product::{Platform, ProductId},
    terms::MachinePolicy,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::{
    download::room::free_for,
    history::History,
    layout::Layout,
    machine::{Recovered, State, Step},
    platform,
    record::{Record, RecordFile},
    services::Systemd,
    slots::{Observed, SlotError, Slots, is_of_the_service, recover::Interrupted},
    source::{Metadata, Source, Trouble},
    texts::cut,
    words,
};

mod beside;
pub(crate) mod carry;
mod own;
mod policies;
mod prune;
mod refused;
pub mod report;
mod running;
pub mod schedule;
mod users;
mod vigil;

pub use report::Published;
use schedule::{Refresh, Schedule};
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
    /// A user agrees to what is waiting. The answer is for that user.
    Consent(oneshot::Sender<Result<String, String>>),
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

    /// Puts right what an earlier run was killed in. Runs before anything else.
    ///
    /// # Errors
    /// Whatever the disk says; then the service must not go on.
    pub async fn recover(&mut self) -> Result<(), SlotError> {
        let slots = self.setup.slots.clone();
        let mine = if self.setup.supervised { |_: &ProductId| true } else { is_of_the_service };
        let interrupted = blocking(move || slots.recover(mine)).await?;
        for product in self.installed_products() {
            self.observe(&product).await?;
            let link = interrupted.iter().find(|i| i.product == product);
            let mut found = self.what_was_found(&product, link);
            if self.is_own(&product) {
                found = self.own_found(&product, found);
            }
            if matches!(found, Recovered::Quiet | Recovered::Broken { .. }) {
                if let Some(Interrupted { to: Some(to), switched: true, .. }) = link
                    && matches!(found, Recovered::Broken { .. })
                {
                    // Killed after switching back: the version that failed may run still.
                    self.restart_service(&product, to).await;
                }
                let slots = self.setup.slots.clone();
                let of = product.clone();
                blocking(move || slots.settle(&of)).await?;
            } else {
                tracing::warn!(%product, ?found, "an earlier run was interrupted");
            }
            let (state, effects) = State::recovered(found);
            self.tracked.entry(product.clone()).or_default().state = state;
            self.carry(&product, effects).await;
            self.note_active(&product).await;
        }
        self.publish();
        Ok(())
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
            Event::Consent(answer) => {
                let said = self.consent().await;
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

    async fn decide_all(&mut self, only_switches: bool) {
        let products: Vec<_> = self.tracked.keys().cloned().collect();
        for product in products {
            self.decide(&product, only_switches).await;
        }
    }

    /// Decides about one product anew, from the directive in force. Changes nothing when nothing has changed.
    async fn decide(&mut self, product: &ProductId, only_switches: bool) {
        if !self.is_mine(product) || self.must_wait(product) {
            return;
        }
        let now = self.now();
        let mut device = self.device();
        if self.is_own(product) {
            // The machine's policy is about the programs of people; this one disturbs nobody.
            device.policy = None;
        }
        let Some(metadata) = &self.setup.metadata else {
            return;
        };
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        let Some(directive) = tracked.directive.as_ref() else {
            return;
        };
        let admission = admit(&metadata.catalog, &device, directive, now);
        let switch = matches!(admission, Admission::Activate { .. });
        if only_switches && !switch || is_switching(&tracked.state) {
            return;
        }
        let (local, directive) = (device.product(product), directive.clone());
        let ready = directive.decision.version().filter(|v| local.staged.contains(v)).cloned();
        self.decided(&device, &directive, &admission, now).await;
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        let before = tracked.state.device_state();
        let next = std::mem::take(&mut tracked.state).directed(admission, ready, local.installed, now);
        if let Ok((state, _)) = &next
            && state.device_state() != before
        {
            tracing::info!(%product, from = ?before, to = ?state.device_state(), why = directive.why, "decided");
        }
        self.advance(product, next.map_err(|e| e.to_string())).await;
    }

    /// Decides anew where the wait after a failure is over.
    async fn retry(&mut self) {
        let now = self.now();
        let is_over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let over = self.tracked.iter().filter(|(_, t)| is_over(t.state.retry_at()) || is_over(t.look_again));
        let products: Vec<_> = over.map(|(product, _)| product.clone()).collect();
        for product in products {
            self.decide(&product, false).await;
        }
    }

    async fn staged(&mut self, product: &ProductId, version: &Version, result: Result<(), String>) {
        if let Err(error) = self.observe(product).await {
            tracing::error!(%product, error = %words(&error), "the versions cannot be looked at");
        }
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        // What was given up meanwhile says nothing any more.
        if !matches!(&tracked.state, State::Staging { entry, .. } if entry.release.version == *version) {
            return;
        }
        tracked.staging = None;
        let state = std::mem::take(&mut tracked.state);
        let next = match result {
            Ok(()) => state.staged(),
            Err(reason) => {
                tracing::warn!(%product, %version, reason, "staging failed");
                state.stage_failed(reason, now)
            }
        };
        self.advance(product, next.map_err(|e| e.to_string())).await;
        self.decide(product, false).await;
    }

    async fn checked(&mut self, product: &ProductId, version: &Version, result: Result<(), String>) {
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        if !matches!(&tracked.state, State::Confirming { version: v, .. } if v == version) {
            return;
        }
        let state = std::mem::take(&mut tracked.state);
        let next = match result {
            Ok(()) => state.healthy(),
            Err(reason) => {
                tracing::error!(%product, %version, reason, "the new version does not work here; rolling back");
                state.unhealthy(reason)
            }
        };
        self.advance(product, next.map_err(|e| e.to_string())).await;
        self.decide(product, false).await;
        // It waits while others are being switched.
        self.decide(&ProductId::updater(), false).await;
    }

    /// What recovery found of a product, in the machine's words.
    fn what_was_found(&self, product: &ProductId, link: Option<&Interrupted>) -> Recovered {
        let record = self.setup.record.product(product);
        let tracked = self.tracked.get(product);
        let current = tracked.and_then(|t| t.observed.current.clone());
        // One that is being tried again is checked as if it were new.
        let failure = |version: &Version| record.failed.iter().find(|f| f.version == *version && !f.again);
        if let Some(broken) = current.as_ref().and_then(failure) {
            let (version, reason) = (broken.version.clone(), broken.reason.clone());
            let before = link.and_then(|i| if i.switched { i.from.clone() } else { i.to.clone() });
            let there = |v: &Version| tracked.is_some_and(|t| t.observed.versions.contains(v)) && failure(v).is_none();
            // A roll-back that the disk refused has closed its entry in the journal, and `previous` is the one before a
            // version that kept its health rule. Then what is next below is the way back: better than no version at all.
            let below = || tracked?.observed.versions.range(..&version).rfind(|v| there(v)).cloned();
            let to = before.or(record.previous.clone()).filter(there).or_else(below);
            return Recovered::BrokenActive { version, to, reason };
        }
        match link {
            Some(Interrupted { to: Some(to), from, restart, switched: true, .. })
                if from.as_ref().and_then(failure).is_none() =>
            {
                Recovered::Switched { version: to.clone(), previous: from.clone(), restart: *restart }
            }
            _ => match record.failed.last().filter(|f| !f.again && current.as_ref().is_none_or(|c| f.version > *c)) {
                Some(f) => Recovered::Broken { version: f.version.clone(), reason: f.reason.clone() },
                None => Recovered::Quiet,
            },
        }
    }

    async fn advance(&mut self, product: &ProductId, next: Result<Step, String>) {
        match next {
            Ok((state, effects)) => {
                if let Some(tracked) = self.tracked.get_mut(product) {
                    tracked.state = state;
                }
                self.carry(product, effects).await;
            }
            // An error of this program. The state is idle now, and the next decision starts from what the disk shows.
            Err(error) => tracing::error!(%product, error, "an event came at the wrong time"),
        }
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

    fn device(&self) -> Device {
        let products = self.tracked.iter().filter(|(p, _)| self.is_mine(p));
        report::device(
            report::Pc {
                hostname: &self.setup.hostname,
                platform: Platform::current(),
                channel: &self.setup.channel,
                updater: &self.setup.version,
                policy: self.setup.policy,
                machine: &self.setup.machine,
                now: self.now(),
                disk_free: free_for(&self.setup.layout.products()),
                metadata_expires: self.setup.metadata.as_ref().map(|m| m.expires),
                problem: self.metadata_problem.as_deref(),
                updater_directive: self.tracked.get(&ProductId::updater()).and_then(|t| t.directive.as_ref()),
            },
            products.map(|(product, t)| (product, &t.state, &t.observed, self.setup.record.product(product))),
        )
    }

    fn publish(&self) {
        let device = self.device();
        let (now, at) = (self.now(), Instant::now());
        let pc = PcStatus {
            next_check_in: self.schedule.due_in(at).and_then(|wait| now.checked_add(wait).ok()),
            busy: self.schedule.is_busy() || self.refreshing,
            check_ins: self.check_ins,
            metadata_expires: device.metadata_expires,
            disk_free: device.disk_free,
            policy: device.policy,
            machine: device.machine.clone(),
        };
        let directives = self.tracked.iter().filter_map(|(p, t)| Some((p.clone(), t.directive.as_ref()?)));
        let explained = self.tracked.iter().filter_map(|(p, t)| Some((p.clone(), t.explained.clone()?))).collect();
        let elsewhere = || {
            self.contact_problem.as_ref().or(self.metadata_problem.as_ref()).or(self.settings_problem.as_ref()).cloned()
        };
        let problem = self.refused.in_words().or_else(elsewhere);
        let mut next = report::published(device, directives.collect(), explained, &self.setup.record, problem);
        next.pc = pc;
        next.history = self.history.shown().to_vec();
        self.published.send_if_modified(|old| {
            let changed = *old != next;
            *old = next;
            changed
        });
    }

    fn alarm(&self) -> Instant {
        let now = self.now();
        // One that is past could not be done then, and waits for the next check-in.
        let times = self.tracked.values().flat_map(|t| [t.state.retry_at(), t.look_again]);
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
