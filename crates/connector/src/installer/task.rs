//! The part of the running connector that looks after its own upgrade on a PC without an updater, and makes room for the
//! machine's connector when that is there.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use protocol::{Decision, Directive, Version};
use tokio::sync::{Notify, watch};

use super::{
    Installation,
    elevation::{Denied, Terminal},
    memory,
    payload::{PrepareError, Workshop},
    per_machine,
    policy::{Answer, Attempt, Outcome, Question, decide},
    state::{Installer, Stage},
};
use crate::{
    backoff::{Backoff, draw},
    clock,
    gatekeeper::GateKeeper,
};

/// What the site's server said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What to do.
    pub directive: Directive,
    /// The site's word on how long a refusal counts.
    pub ask_again: Option<Duration>,
}

/// How often it is looked whether an administrator has installed something meanwhile.
const LOOK: Duration = Duration::from_secs(3);

/// How long the system's word that it would ask for a password counts. Asking it costs a process, and on some systems a
/// line in the administrator's log.
const PROBED: Duration = Duration::from_secs(3600);

/// What the task needs.
pub struct Task {
    /// Where, and how to get the administrator's rights.
    pub installation: Installation,
    /// What makes the folder to install from. `None`: the vendor's root is missing, so nothing can be verified.
    pub workshop: Option<Workshop>,
    /// The running program and its version.
    pub program: PathBuf,
    /// Its version.
    pub version: Version,
    /// Who is told how it stands.
    pub gate: Arc<GateKeeper>,
    /// What the site's server says.
    pub told: watch::Receiver<Option<Told>>,
    /// Told when the user says: now.
    pub users_word: Arc<Notify>,
}

/// Runs until the machine's connector is to take over.
pub async fn run(mut task: Task) {
    if per_machine::is_machines_own(&task.installation.root, &task.program) {
        // It was installed already, and the updater sees to the rest.
        return std::future::pending().await;
    }
    let mut probed = Probed::default();
    let mut troubled = Troubled::default();
    if let Some(last) = memory::load(&task.installation.data) {
        task.show(Some(Installer::after(&last, None)));
    }
    let mut by_user = false;
    loop {
        if task.is_relieved().await {
            return;
        }
        let told = task.told.borrow_and_update().clone();
        if !task.has_updater() {
            if std::mem::take(&mut by_user) {
                troubled.over();
                task.install_for_user(told.as_ref(), &mut troubled).await;
            } else {
                task.consider(told.as_ref(), &mut probed, &mut troubled).await;
            }
            if task.has_updater() {
                // It has just been installed: no need to wait.
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = task.users_word.notified() => by_user = true,
            // The check-in lives as long as this task.
            _ = task.told.changed() => {}
        }
    }
}

/// Whether the system would ask nobody, and when it said so.
#[derive(Debug, Default)]
struct Probed(Option<(Instant, bool)>);

/// Preparing failed, and when it is tried again.
#[derive(Debug)]
struct Troubled {
    backoff: Backoff,
    until: Option<Instant>,
    /// What was to be prepared: another decision is tried at once.
    about: Option<Decision>,
}

impl Default for Troubled {
    fn default() -> Self {
        Self { backoff: Backoff::new(Duration::from_secs(10), Duration::from_secs(1800)), until: None, about: None }
    }
}

impl Troubled {
    fn waits(&mut self, decision: &Decision) -> bool {
        if self.about.as_ref() != Some(decision) {
            self.over();
            self.about = Some(decision.clone());
        }
        self.until.is_some_and(|until| until > Instant::now())
    }

    fn has_failed(&self) -> bool {
        self.until.is_some()
    }

    fn again(&mut self) {
        self.until = Some(Instant::now() + self.backoff.next(draw()));
    }

    fn over(&mut self) {
        self.until = None;
        self.backoff.reset();
    }
}

impl Task {
    /// An updater that is installed but does not run is the administrator's affair: it may just be starting.
    fn has_updater(&self) -> bool {
        self.gate.subscribe().borrow().updater || per_machine::updater_is_installed(&self.installation.root)
    }

    /// Whether the machine's connector is there, is one that works, and can be started.
    async fn is_relieved(&self) -> bool {
        let root = &self.installation.root;
        let Some(machines) = per_machine::connector(root).filter(|_| per_machine::updater_is_installed(root)) else {
            return false;
        };
        // Before the site's server was asked it cannot be known which version works.
        let verdict = self.gate.change(|machine, _| machine.verdict().cloned());
        if (verdict.is_none() && self.told.borrow().is_none())
            || !per_machine::takes_over(&machines, &self.version, verdict.as_ref())
        {
            return false;
        }
        let mut launcher = tokio::process::Command::new(per_machine::launcher(root));
        launcher.arg("--version").kill_on_drop(true).stdin(std::process::Stdio::null());
        match tokio::time::timeout(Duration::from_secs(5), launcher.output()).await {
            Ok(Ok(output)) if output.status.success() => {
                tracing::info!(from = %self.version, to = %machines, "the connector that is installed for everybody takes over");
                true
            }
            problem => {
                tracing::warn!(?problem, "the installed launcher cannot be started");
                false
            }
        }
    }

    async fn consider(&self, told: Option<&Told>, probed: &mut Probed, troubled: &mut Troubled) {
        let Some(told) = told else { return };
        let (version, necessary) = match &told.directive.decision {
            Decision::Required { version, .. } => (version, true),
            Decision::Recommended { version } => (version, false),
            Decision::Stage { .. } => return self.fetch(told, troubled).await,
            Decision::Current | Decision::Blocked { .. } | Decision::Hold => return self.show(None),
        };
        let last = memory::load(&self.installation.data);
        let question = |quiet| Question {
            policy: told.directive.policy,
            version,
            necessary,
            quiet,
            last: last.as_ref(),
            by_user: false,
            ask_again: told.ask_again,
            now: clock::now(),
        };
        let mut answer = decide(&question(false));
        if !matches!(answer, Answer::WaitUntil(_)) {
            answer = decide(&question(self.is_quiet(probed).await));
        }
        match answer {
            Answer::Never => self.show(None),
            Answer::OnUsersWord => self.show(Some(self.at(Stage::WaitsForUser, version, None))),
            Answer::WaitUntil(next) => {
                self.show(last.filter(|last| last.version == *version).map(|last| Installer::after(&last, Some(next))));
            }
            Answer::Ask | Answer::AskQuietly if troubled.waits(&told.directive.decision) => {}
            Answer::Ask | Answer::AskQuietly => self.install(told, version, troubled).await,
        }
    }

    /// The user's word counts as much as the policy's: also for what was only to be staged.
    async fn install_for_user(&self, told: Option<&Told>, troubled: &mut Troubled) {
        let Some((told, version)) = told.and_then(|told| Some((told, told.directive.decision.version()?))) else {
            return;
        };
        let mut now = told.clone();
        if matches!(now.directive.decision, Decision::Stage { .. }) {
            now.directive.decision = Decision::Recommended { version: version.clone() };
        }
        self.install(&now, version, troubled).await;
    }

    async fn is_quiet(&self, probed: &mut Probed) -> bool {
        match probed.0 {
            Some((at, quiet)) if at.elapsed() < PROBED => quiet,
            _ => {
                let quiet = self.installation.elevation.is_quiet().await;
                probed.0 = Some((Instant::now(), quiet));
                quiet
            }
        }
    }

    /// Has everything here before it is needed.
    async fn fetch(&self, told: &Told, troubled: &mut Troubled) {
        let (Some(workshop), Some(version)) = (&self.workshop, told.directive.decision.version()) else { return };
        let ready =
            self.gate.subscribe().borrow().installer.as_ref().is_some_and(|installer| {
                installer.stage == Stage::Ready && installer.version.as_ref() == Some(version)
            });
        if ready || troubled.waits(&told.directive.decision) {
            return;
        }
        match workshop.fetch(&told.directive, clock::now()).await {
            Ok(_) => {
                troubled.over();
                self.show(Some(self.at(Stage::Ready, version, None)));
            }
            Err(error) => self.not_prepared(version, &error, troubled),
        }
    }

    async fn install(&self, told: &Told, version: &Version, troubled: &mut Troubled) {
        let Some(workshop) = &self.workshop else {
            let detail = "root.json is missing beside site.json, so nothing can be verified";
            return self.show(Some(self.at(Stage::Failed, version, Some(detail.into()))));
        };
        if !troubled.has_failed() {
            self.show(Some(self.at(Stage::Preparing, version, None)));
        }
        let payload = match workshop.prepare(&told.directive, clock::now()).await {
            Ok(Some(payload)) => payload,
            Ok(None) => return self.show(None),
            Err(error) => return self.not_prepared(version, &error, troubled),
        };
        troubled.over();
        self.show(Some(self.at(Stage::Asking, version, None)));
        tracing::info!(connector = %payload.connector, updater = %payload.updater, "starting the installer");
        match self.installation.install(&payload.program(), version, Terminal::None).await {
            Ok(said) => {
                tracing::info!(said, "installed");
                if self.has_updater() {
                    self.show(Some(self.at(Stage::Installed, version, None)));
                } else {
                    self.came_to_nothing(told, version);
                }
                if let Err(error) = workshop.clear() {
                    tracing::warn!(%error, "what was installed from cannot be removed");
                }
            }
            Err(Denied { outcome, detail }) => {
                tracing::warn!(?outcome, detail, "not installed");
                let attempt = Attempt { version: version.clone(), at: clock::now(), outcome, detail };
                self.show(Some(Installer::after(&attempt, self.next(told, &attempt))));
            }
        }
    }

    /// Remembered as a failure is: else the user would be asked again and again.
    fn came_to_nothing(&self, told: &Told, version: &Version) {
        let detail = "the installer ended well, and there is no Lockstep Updater".to_owned();
        tracing::error!(detail, "not installed");
        let attempt = Attempt { version: version.clone(), at: clock::now(), outcome: Outcome::Failed, detail };
        if let Err(error) = memory::save(&self.installation.data, &attempt) {
            tracing::error!(%error, "this cannot be kept; a restart may ask again sooner");
        }
        self.show(Some(Installer::after(&attempt, self.next(told, &attempt))));
    }

    fn next(&self, told: &Told, last: &Attempt) -> Option<Timestamp> {
        let necessary = told.directive.decision.is_incompatible();
        let (policy, now) = (told.directive.policy, clock::now());
        let (version, last, ask_again) = (&last.version, Some(last), told.ask_again);
        let question = Question { policy, version, necessary, quiet: false, last, by_user: false, ask_again, now };
        match decide(&question) {
            Answer::WaitUntil(next) => Some(next),
            _ => None,
        }
    }

    fn not_prepared(&self, version: &Version, error: &PrepareError, troubled: &mut Troubled) {
        let detail = chain(error);
        tracing::warn!(%version, detail, "the installation cannot be prepared");
        troubled.again();
        let attempt = Attempt { version: version.clone(), at: clock::now(), outcome: Outcome::Failed, detail };
        self.show(Some(Installer::after(&attempt, None)));
    }

    fn at(&self, stage: Stage, version: &Version, detail: Option<String>) -> Installer {
        Installer { stage, version: Some(version.clone()), at: clock::now(), next: None, detail }
    }

    /// Tells everybody, unless only the time is another one.
    fn show(&self, installer: Option<Installer>) {
        self.gate.change(|machine, now| {
            let before = machine.installer_state();
            let same = match (before, &installer) {
                (Some(before), Some(new)) => Installer { at: before.at, ..new.clone() } == *before,
                (None, None) => true,
                _ => false,
            };
            if !same {
                machine.installer(installer, now);
            }
        });
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
