//! Asks the site's server "may I go online?": at the start, when it is pushed, when the gate changed (so that the server
//! knows), when the updater gives its first ticket, and from time to time.

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use lockstep_client::{ClientError, Updater as UpdaterClient};
use protocol::{
    Decision, Version,
    message::{ConnectorCheckIn, ConnectorDirective, MAX_TEXT, V},
    policy::UpgradePolicy,
    product::{Platform, ProductId},
};
use tokio::sync::{Notify, watch};

use crate::{
    backoff::{Backoff, draw},
    clock,
    gate::{Updater, Verdict},
    gatekeeper::{GateKeeper, GateState},
    installer::{Told, per_machine},
    live::Live,
    local::StoreHandle,
    server_client::{ServerClient, ServerError},
    sync::DISK_FULL,
};

/// Where the last decision is kept in the store.
pub const VERDICT: &str = "gate-verdict";

/// While the connector may not go online, it looks this often whether the updater got further.
const WHILE_CLOSED: Duration = Duration::from_secs(15);

/// Without a ticket of the updater's, it looks this often whether there is one now.
const WITHOUT_TICKET: Duration = Duration::from_secs(15);

/// The longest and the shortest pause that a server can ask for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const SHORTEST: Duration = Duration::from_secs(5);

/// Several reasons to ask that come together are one.
const GATHER: Duration = Duration::from_millis(150);

/// What a check-in has come to.
struct Asked {
    /// When to ask again.
    pause: Duration,
    /// Whether the server could see which updater is here.
    with_ticket: bool,
}

/// Who asks whom about what.
pub struct CheckIn {
    /// The site's server.
    pub server: ServerClient,
    /// The local updater.
    pub updater: UpdaterClient,
    /// What the answers change.
    pub gate: Arc<GateKeeper>,
    /// The token, and where the mail is.
    pub live: Arc<Live>,
    /// Where the last decision is kept.
    pub store: StoreHandle,
    /// The program's own version.
    pub version: Version,
    /// The PC's root directory.
    pub root: PathBuf,
    /// The PC's name.
    pub hostname: String,
    /// Set by the event stream: ask again, now.
    pub wake: Arc<Notify>,
    /// The machine's own policy, which goes before the site's.
    pub policy: Option<UpgradePolicy>,
    /// What the server said last, for whoever carries it out.
    pub told: watch::Sender<Option<Told>>,
    /// When the server last answered.
    pub answered: watch::Sender<Option<Timestamp>>,
}

impl CheckIn {
    /// Asks, for ever.
    pub async fn run(&self) -> Infallible {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut gate = self.gate.subscribe();
        loop {
            let told = gate.borrow_and_update().clone();
            let Asked { pause, with_ticket } = match self.once(&told).await {
                Ok(asked) => {
                    backoff.reset();
                    asked
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no decision from the site's server; the last one stays");
                    self.gate.change(|machine, now| machine.not_decided(now));
                    if error.is_unauthorized() {
                        self.read_secrets_again().await;
                    }
                    Asked { pause: backoff.next(draw()), with_ticket: true }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
                () = self.a_ticket(), if !with_ticket => {}
                // The gatekeeper lives as long as this future.
                _ = gate.wait_for(|state| state.gate != told.gate || detail(state) != detail(&told)) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Waits until the updater gives a ticket: it was installed, started or enrolled just now, and the administrator waits to see it.
    async fn a_ticket(&self) {
        loop {
            tokio::time::sleep(WITHOUT_TICKET).await;
            if self.updater.status().await.is_ok_and(|status| status.ticket.is_some()) {
                return;
            }
        }
    }

    /// Asks once.
    async fn once(&self, gate: &GateState) -> Result<Asked, ServerError> {
        let product = ProductId::connector();
        let updater = match self.updater.status().await {
            Ok(status) => Some(status),
            Err(ClientError::Missing { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "the updater gave no ticket");
                None
            }
        };
        let state = match &updater {
            Some(status) => Updater::Present(Box::new(status.products.get(&product).cloned().unwrap_or_default())),
            None => Updater::Missing,
        };
        self.gate.change(|machine, now| machine.updater(state, now));
        let outbox = self.store.call(|store| store.outbox()).await.map(|outbox| waiting(&outbox)).unwrap_or_default();
        let token = self.live.secrets().borrow().token.clone();
        let check_in = ConnectorCheckIn {
            v: V,
            product,
            version: self.version.clone(),
            gate: gate.gate,
            outbox,
            hostname: self.hostname.clone(),
            platform: Platform::current(),
            ticket: updater.as_ref().and_then(|status| status.ticket.clone()),
            // A stopped updater is not a missing one: whoever looks for it needs to know which.
            detail: detail(gate)
                .or_else(|| updater.is_none().then(|| per_machine::silent_updater(&self.root)).flatten()),
        };
        let with_ticket = check_in.ticket.is_some();
        let answer = self.server.check_in(&token, &check_in).await?;
        self.answered.send_replace(Some(clock::now()));
        self.take(&answer).await;
        let pause = Duration::from_secs(answer.next_check_in_seconds).clamp(SHORTEST, LONGEST);
        if !answer.directive.decision.is_incompatible() {
            return Ok(Asked { pause, with_ticket });
        }
        // The updater has its own push; asked here too, it acts at once even if that push was lost.
        if updater.is_some()
            && matches!(answer.directive.decision, Decision::Required { .. })
            && let Err(error) = self.updater.check_now().await
        {
            tracing::debug!(%error, "the updater was not asked to check in");
        }
        Ok(Asked { pause: pause.min(WHILE_CLOSED), with_ticket })
    }

    async fn take(&self, answer: &ConnectorDirective) {
        let page = &answer.integration_page;
        let verdict = Verdict::of(&answer.directive, &self.version, page, answer.mail.webmail.as_deref());
        if let Err(error) = self.live.mail_is_at(&answer.mail) {
            tracing::warn!(%error, "the mail server's new address is not used");
        }
        let changed = self.gate.change(|machine, now| {
            let changed = machine.verdict() != Some(&verdict);
            machine.decided(verdict.clone(), now);
            changed
        });
        if changed {
            self.keep(&verdict).await;
        }
        let mut directive = answer.directive.clone();
        directive.policy = self.policy.unwrap_or(directive.policy);
        let told = Told { directive, ask_again: answer.ask_again_seconds.map(Duration::from_secs) };
        self.told.send_if_modified(|known| known.replace(told.clone()).as_ref() != Some(&told));
    }

    async fn keep(&self, verdict: &Verdict) {
        let kept = match serde_json::to_string(verdict) {
            Ok(text) => {
                self.store.call(move |store| store.set_meta(VERDICT, Some(&text))).await.map_err(|e| e.to_string())
            }
            Err(e) => Err(e.to_string()),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "the decision cannot be kept; a restart without the site's server may forget it");
        }
    }

    async fn read_secrets_again(&self) {
        if let Err(error) = self.live.reload().await {
            tracing::warn!(%error, "the secrets cannot be read again");
        }
    }
}

/// What the administrator should know of this PC.
fn detail(gate: &GateState) -> Option<String> {
    let installer = gate.installer.as_ref().map(|installer| installer.report());
    let full = gate.notice.as_ref().filter(|notice| notice.contains(DISK_FULL)).map(|_| DISK_FULL.to_owned());
    let text: Vec<String> = installer.into_iter().chain(gate.trouble.clone()).chain(full).collect();
    (!text.is_empty()).then(|| text.join("; ").chars().take(MAX_TEXT).collect())
}

/// Listens to the site's server, for ever, and wakes the check-in.
pub async fn listen(server: &ServerClient, live: &Live, wake: &Notify) -> Infallible {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        let token = live.secrets().borrow().token.clone();
        let Err(error) = listen_once(server, &token, wake, &mut backoff).await;
        tracing::info!(error = %chain(&error), "the event stream of the site's server ended");
        tokio::time::sleep(backoff.next(draw())).await;
    }
}

async fn listen_once(
    server: &ServerClient,
    token: &str,
    wake: &Notify,
    backoff: &mut Backoff,
) -> Result<Infallible, ServerError> {
    let mut stream = server.push(token).await?;
    let opened = tokio::time::Instant::now();
    // What was pushed before the stream was open is made up for by asking once more.
    wake.notify_one();
    loop {
        let push = match stream.next().await {
            Ok(push) => push,
            Err(error) => {
                backoff.worked_for(opened.elapsed());
                return Err(error);
            }
        };
        tracing::info!(why = %push.why.escape_debug(), "the site's server says: check in again");
        wake.notify_one();
    }
}

/// Messages that wait to be sent.
pub fn waiting(outbox: &[mail_store::Outgoing]) -> u64 {
    use mail_store::OutboxState::{Queued, Sending};
    outbox.iter().filter(|message| matches!(message.state, Queued | Sending)).count() as u64
}

fn chain(error: &ServerError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
