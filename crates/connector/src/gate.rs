//! The gate between the local mailbox and the mail server: online, offline, or upgrading. A pure state machine; when it
//! is not online, nothing goes to or comes from the mail server.
//!
//! ```text
//!              first answer, or none            mail server reached
//!  starting ──────────────────────► permitted ─────────────────────► online
//!                    │                  ▲  ▲                            │ unreachable, login refused
//!                    │ incompatible     │  └──────── offline ◄──────────┘
//!                    ▼                  │ compatible
//!          offline / upgrading ─────────┘
//! ```
//!
//! It fails open: when the site's server cannot be asked, the last decision about *this version* counts, and where
//! there is none, mail goes. Only a decision that this version is incompatible closes it.

use jiff::Timestamp;
use protocol::{
    Decision, Directive, Version,
    device::{DeviceState, ProductState},
    message::Gate,
};
use serde::{Deserialize, Serialize};

use crate::{
    installer::state::{Installer, Stage},
    words::HERE,
};

/// The site's last decision about a version of this program. Kept on disk, so that a restart does not open the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version that was decided about.
    pub about: Version,
    /// Whether it cannot work with the mail server.
    pub incompatible: bool,
    /// The version that could, if there is one.
    #[serde(default)]
    pub needed: Option<Version>,
    /// Why, in the server's words.
    pub why: String,
    /// Where the installer is.
    #[serde(default)]
    pub integration_page: Option<String>,
    /// Where people read mail in a browser.
    #[serde(default)]
    pub webmail: Option<String>,
}

impl Verdict {
    /// What a directive means for the running version.
    pub fn of(directive: &Directive, running: &Version, integration_page: &str, webmail: Option<&str>) -> Self {
        // A decision to go to what runs already is about a version that is gone.
        let already = directive.decision.version() == Some(running);
        Self {
            about: running.clone(),
            incompatible: directive.decision.is_incompatible() && !already,
            needed: match &directive.decision {
                Decision::Required { version, .. } => Some(version.clone()),
                _ => None,
            },
            why: directive.why.clone(),
            integration_page: Some(integration_page.to_owned()).filter(|page| !page.is_empty()),
            webmail: webmail.map(str::to_owned),
        }
    }
}

/// How the mail server was found last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mail {
    /// Not tried since the gate let mail pass.
    #[default]
    Untried,
    /// It works.
    Reached,
    /// It does not; with the reason in words.
    Failing(String),
}

/// What the local updater is doing about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Updater {
    /// There is none on this PC.
    #[default]
    Missing,
    /// There is one, and this is what it says of the connector.
    Present(Box<ProductState>),
}

/// What a user who is cut off should know, however the installer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// The version that runs.
    pub running: Version,
    /// The version that is needed, if there is one.
    pub needed: Option<Version>,
    /// Why, in the server's words.
    pub why: String,
    /// What to do, in words.
    pub what_to_do: String,
    /// Where people read mail in a browser.
    pub webmail: Option<String>,
    /// Whether there is an updater on this PC, which may still mend it.
    pub updater: bool,
}

/// The gate's state, and all that it depends on.
#[derive(Debug, Clone)]
pub struct GateMachine {
    running: Version,
    verdict: Option<Verdict>,
    asked: bool,
    updater: Updater,
    installer: Option<Installer>,
    mail: Mail,
    gate: Gate,
    /// When `gate` last changed.
    since: Timestamp,
    last_online_at: Option<Timestamp>,
    last_offline_at: Option<Timestamp>,
    /// What is wrong on this PC besides, for as long as the program runs.
    trouble: Option<String>,
}

impl GateMachine {
    /// Closed until the site's server has been asked. `kept` is the decision that was kept from before; one about another
    /// version says nothing about this one.
    pub fn new(running: Version, kept: Option<Verdict>, now: Timestamp) -> Self {
        let verdict = kept.filter(|kept| kept.about == running);
        let gate = Gate::Offline;
        Self {
            running,
            verdict,
            asked: false,
            updater: Updater::Missing,
            installer: None,
            mail: Mail::Untried,
            gate,
            since: now,
            last_online_at: None,
            last_offline_at: None,
            trouble: None,
        }
    }

    /// Something is wrong on this PC that keeps no mail from passing, and that the user should know.
    #[must_use]
    pub fn with_trouble(mut self, trouble: Option<String>) -> Self {
        self.trouble = trouble;
        self
    }

    /// What is wrong on this PC besides.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes over when a run before this one was last online and last ceased to be.
    #[must_use]
    pub fn after(mut self, last_online_at: Option<Timestamp>, last_offline_at: Option<Timestamp>) -> Self {
        (self.last_online_at, self.last_offline_at) = (last_online_at, last_offline_at);
        self
    }

    /// The site's server has decided.
    pub fn decided(&mut self, verdict: Verdict, now: Timestamp) {
        self.asked = true;
        if verdict.incompatible {
            self.mail = Mail::Untried;
        }
        self.verdict = Some(verdict);
        self.settle(now);
    }

    /// The site's server cannot be asked: the last decision stays.
    pub fn not_decided(&mut self, now: Timestamp) {
        self.asked = true;
        self.settle(now);
    }

    /// What the local updater says.
    pub fn updater(&mut self, updater: Updater, now: Timestamp) {
        self.updater = updater;
        self.settle(now);
    }

    /// How the installer stands, on a PC without an updater.
    pub fn installer(&mut self, installer: Option<Installer>, now: Timestamp) {
        self.installer = installer;
        self.settle(now);
    }

    /// How the installer stands. `None`: there is an updater, or nothing to install.
    pub fn installer_state(&self) -> Option<&Installer> {
        self.installer.as_ref().filter(|_| self.updater == Updater::Missing)
    }

    /// Whether there is an updater on this PC.
    pub fn has_updater(&self) -> bool {
        self.updater != Updater::Missing
    }

    /// How the mail server was found. Ignored when no mail may pass: then it was found before the gate closed.
    pub fn mail(&mut self, mail: Mail, now: Timestamp) {
        if self.permits() {
            self.mail = mail;
            self.settle(now);
        }
    }

    /// Whether the connector may talk to the mail server.
    pub fn permits(&self) -> bool {
        self.asked && !self.is_incompatible()
    }

    /// Where the gate stands.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// The last decision, to be kept.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// When the gate last changed.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When it last became online.
    pub fn last_online_at(&self) -> Option<Timestamp> {
        self.last_online_at
    }

    /// When it last ceased to be online.
    pub fn last_offline_at(&self) -> Option<Timestamp> {
        self.last_offline_at
    }

    /// What the user should know: why the gate is not open, what to do, and where mail is meanwhile; and what is wrong besides.
    pub fn notice(&self) -> Option<String> {
        let parts: Vec<String> = self.why_closed().into_iter().chain(self.trouble.clone()).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    fn why_closed(&self) -> Option<String> {
        if self.gate == Gate::Online {
            return None;
        }
        if let Some(verdict) = self.verdict.as_ref().filter(|_| self.is_incompatible()) {
            return Some(self.incompatible_notice(verdict));
        }
        match &self.mail {
            Mail::Failing(reason) => Some(format!(
                "Offline: {reason}. Mail that is here can be read; changes and outgoing mail are kept and go out as soon \
                 as the mail server can be reached."
            )),
            Mail::Untried | Mail::Reached => None,
        }
    }

    /// What a user should know who cannot get at new mail because this version is outdated. `None`: that is not so, or an
    /// upgrade is under way.
    pub fn cut_off(&self) -> Option<CutOff> {
        let verdict = self.verdict.as_ref().filter(|_| self.is_incompatible() && self.gate == Gate::Offline)?;
        Some(CutOff {
            running: self.running.clone(),
            needed: verdict.needed.clone(),
            why: verdict.why.clone(),
            what_to_do: match &self.updater {
                Updater::Missing => by_hand(verdict),
                Updater::Present(_) => self.what_to_do(verdict),
            },
            webmail: verdict.webmail.clone(),
            updater: self.has_updater(),
        })
    }

    fn incompatible_notice(&self, verdict: &Verdict) -> String {
        let needs = match &verdict.needed {
            Some(version) => format!("version {version} is needed"),
            None => "there is no version for it yet".to_owned(),
        };
        let webmail = match &verdict.webmail {
            Some(url) => format!(" Meanwhile use the WebMail at {url} or any other mail program."),
            None => " Meanwhile use the WebMail or any other mail program.".to_owned(),
        };
        let kept = "Mail that is here can be read; changes and outgoing mail are kept and go out afterwards.";
        let installed = match &self.updater {
            Updater::Present(product) => product.installed.as_ref(),
            Updater::Missing => None,
        };
        // Another user of this computer has agreed to it: that restarts nobody else's connector.
        if self.gate == Gate::Upgrading
            && let Some(needed) = verdict.needed.as_ref().filter(|needed| installed == Some(*needed))
        {
            return format!(
                "Upgrading: the connector {} does not work with the mail server any more; {needed} is installed and takes \
                 over by itself, or at once when you want it: {}. {kept}",
                self.running, HERE.consent
            );
        }
        if self.gate == Gate::Upgrading {
            return format!(
                "Upgrading: the connector {} does not work with the mail server any more, {needs}, and it is being \
                 installed now. Nothing needs to be done. {kept}",
                self.running
            );
        }
        format!(
            "Offline: the connector {} does not work with the mail server any more ({}); {needs}. {} {kept}{webmail}",
            self.running,
            verdict.why,
            self.what_to_do(verdict),
        )
    }

    fn what_to_do(&self, verdict: &Verdict) -> String {
        match &self.updater {
            Updater::Missing => match &self.installer {
                Some(Installer { stage: Stage::Asking, .. }) => {
                    "The administrator's password is being asked for now, to install it.".to_owned()
                }
                Some(Installer { stage: Stage::Installed, .. }) => "It is installed; one moment.".to_owned(),
                Some(installer @ Installer { stage: Stage::Refused | Stage::Failed, .. }) => {
                    let again = match installer.next {
                        Some(next) => format!(" It is tried again on {}.", next.strftime("%d %b %Y at %H:%M UTC")),
                        None => String::new(),
                    };
                    format!("{}.{again} {}", installer.words(), by_hand(verdict))
                }
                _ => by_hand(verdict),
            },
            Updater::Present(state) if state.state == DeviceState::AwaitingConsent => {
                format!("It is ready on this computer and waits for your consent: {}.", HERE.consent)
            }
            Updater::Present(state) => match &state.detail {
                Some(detail) => format!("The updater could not install it: {detail}. Tell the administrator."),
                None => "The updater cannot install it now. Tell the administrator.".to_owned(),
            },
        }
    }

    fn is_incompatible(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.incompatible)
    }

    fn settle(&mut self, now: Timestamp) {
        let gate = self.where_it_stands();
        if gate == self.gate {
            return;
        }
        match (self.gate, gate) {
            (_, Gate::Online) => self.last_online_at = Some(now),
            (Gate::Online, _) => self.last_offline_at = Some(now),
            _ => {}
        }
        self.gate = gate;
        self.since = now;
    }

    fn where_it_stands(&self) -> Gate {
        if !self.is_incompatible() {
            return if self.permits() && self.mail == Mail::Reached { Gate::Online } else { Gate::Offline };
        }
        let upgradable = self.verdict.as_ref().is_some_and(|verdict| verdict.needed.is_some());
        match &self.updater {
            Updater::Present(product) if upgradable => match product.state {
                DeviceState::RolledBack | DeviceState::Failed | DeviceState::AwaitingConsent => Gate::Offline,
                _ => Gate::Upgrading,
            },
            _ => Gate::Offline,
        }
    }
}

/// What a user can do without an updater.
fn by_hand(verdict: &Verdict) -> String {
    if verdict.needed.is_none() {
        return "Ask the administrator.".to_owned();
    }
    match &verdict.integration_page {
        Some(page) => format!(
            "To go on, {}, or install it from {page} (both ask for the administrator's password).",
            HERE.upgrade
        ),
        None => format!("To go on, {} (it asks for the administrator's password).", HERE.upgrade),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn compatible() -> Verdict {
        Verdict {
            about: version("7.2.0"),
            incompatible: false,
            needed: None,
            why: "current".into(),
            integration_page: Some("https://server.example/integration".into()),
            webmail: Some("https://webmail.example".into()),
        }
    }

    fn incompatible() -> Verdict {
        Verdict {
            incompatible: true,
            needed: Some(version("7.3.0")),
            why: "the mail server is at 7.3.0".into(),
            ..compatible()
        }
    }

    fn present(state: DeviceState) -> Updater {
        Updater::Present(Box::new(ProductState { state, ..ProductState::default() }))
    }

    fn online() -> GateMachine {
        let mut gate = GateMachine::new(version("7.2.0"), None, at(0));
        gate.decided(compatible(), at(1));
        gate.mail(Mail::Reached, at(2));
        assert_eq!(gate.gate(), Gate::Online);
        gate
    }

    #[test]
    fn nothing_passes_before_the_server_was_asked() {
        let mut gate = GateMachine::new(version("7.2.0"), Some(compatible()), at(0));
        assert!(!gate.permits());
        gate.mail(Mail::Reached, at(1));
        assert_eq!(gate.gate(), Gate::Offline, "news from before the answer is not believed");
        gate.decided(compatible(), at(2));
        assert!(gate.permits());
        assert_eq!(gate.gate(), Gate::Offline, "online means that the mail server was reached");
        gate.mail(Mail::Reached, at(3));
        assert_eq!((gate.gate(), gate.since(), gate.last_online_at()), (Gate::Online, at(3), Some(at(3))));
        assert_eq!(gate.notice(), None);
    }

    #[test]
    fn it_fails_open_when_the_server_cannot_be_asked() {
        let mut gate = GateMachine::new(version("7.2.0"), None, at(0));
        gate.not_decided(at(1));
        assert!(gate.permits());
        gate.mail(Mail::Reached, at(2));
        gate.not_decided(at(3));
        assert_eq!(gate.gate(), Gate::Online);
    }

    #[test]
    fn an_incompatible_version_stays_offline_also_when_the_server_is_gone_or_the_program_restarts() {
        let mut gate = online();
        gate.decided(incompatible(), at(5));
        assert!(!gate.permits());
        assert_eq!((gate.gate(), gate.since(), gate.last_offline_at()), (Gate::Offline, at(5), Some(at(5))));
        gate.mail(Mail::Reached, at(6));
        gate.not_decided(at(7));
        assert!(!gate.permits());

        let mut restarted = GateMachine::new(version("7.2.0"), gate.verdict().cloned(), at(8));
        restarted.not_decided(at(9));
        assert!(!restarted.permits());

        let mut upgraded = GateMachine::new(version("7.3.0"), gate.verdict().cloned(), at(8));
        upgraded.not_decided(at(9));
        assert!(upgraded.permits(), "the decision was about the version before");
    }

    #[test]
    fn with_an_updater_it_is_upgrading_until_the_updater_gives_up() {
        for (state, expected) in [
            (DeviceState::Idle, Gate::Upgrading),
            (DeviceState::Staging, Gate::Upgrading),
            (DeviceState::Staged, Gate::Upgrading),
            (DeviceState::Activating, Gate::Upgrading),
            (DeviceState::Confirming, Gate::Upgrading),
            (DeviceState::AwaitingConsent, Gate::Offline),
            (DeviceState::RolledBack, Gate::Offline),
            (DeviceState::Failed, Gate::Offline),
        ] {
            let mut gate = online();
            gate.updater(present(state), at(4));
            gate.decided(incompatible(), at(5));
            assert_eq!(gate.gate(), expected, "{state:?}");
            assert!(!gate.permits());
        }
        let mut gate = online();
        gate.updater(present(DeviceState::Idle), at(4));
        gate.decided(Verdict { needed: None, ..incompatible() }, at(5));
        assert_eq!(gate.gate(), Gate::Offline, "there is nothing to upgrade to");
    }

    #[test]
    fn a_mail_server_that_fails_shows_and_mends() {
        let mut gate = online();
        gate.mail(Mail::Failing("the mail server does not answer".into()), at(5));
        assert_eq!((gate.gate(), gate.permits()), (Gate::Offline, true));
        assert!(gate.notice().unwrap().contains("does not answer"));
        gate.mail(Mail::Reached, at(9));
        assert_eq!(
            (gate.gate(), gate.last_offline_at(), gate.last_online_at()),
            (Gate::Online, Some(at(5)), Some(at(9)))
        );
    }

    #[test]
    fn the_notice_says_why_what_to_do_and_where_the_webmail_is() {
        let mut gate = online();
        gate.decided(incompatible(), at(5));
        insta::assert_snapshot!("notice_without_updater", gate.notice().unwrap());
        let refused = Installer {
            stage: Stage::Refused,
            version: Some(version("7.3.0")),
            at: at(1_700_000_000),
            next: Some(at(1_700_086_400)),
            detail: Some("the prompt was dismissed".into()),
        };
        gate.installer(Some(refused.clone()), at(5));
        insta::assert_snapshot!("notice_refused", gate.notice().unwrap());
        assert_eq!(gate.cut_off().unwrap().needed, Some(version("7.3.0")));
        assert!(!gate.cut_off().unwrap().what_to_do.contains("tried again"), "it holds for longer than a prompt");
        gate.installer(Some(Installer { stage: Stage::Asking, ..refused }), at(5));
        assert!(gate.notice().unwrap().contains("is being asked for now"));
        gate.installer(None, at(6));
        gate.updater(present(DeviceState::Staging), at(6));
        insta::assert_snapshot!("notice_upgrading", gate.notice().unwrap());
        let installed = ProductState { installed: Some(version("7.3.0")), ..ProductState::default() };
        gate.updater(Updater::Present(Box::new(installed)), at(6));
        let told = gate.notice().unwrap();
        assert!(told.contains("7.3.0 is installed and takes over by itself") && told.contains(HERE.consent), "{told}");
        gate.updater(present(DeviceState::AwaitingConsent), at(6));
        insta::assert_snapshot!("notice_awaiting_consent", gate.notice().unwrap());
        let failed = ProductState {
            state: DeviceState::Failed,
            detail: Some("cannot update: metadata expired on 2024-01-01".into()),
            ..ProductState::default()
        };
        gate.updater(Updater::Present(Box::new(failed)), at(6));
        insta::assert_snapshot!("notice_failed", gate.notice().unwrap());
    }
}
