//! Holds the one [`GateMachine`] of the program, and tells everybody when it changes.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use protocol::message::Gate;
use tokio::sync::watch;

use crate::{
    gate::{CutOff, GateMachine},
    installer::state::Installer,
};

/// The gate as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateState {
    /// Whether the connector may talk to the mail server.
    pub permits: bool,
    /// Where the gate stands.
    pub gate: Gate,
    /// When that changed last.
    pub since: Timestamp,
    /// When it last became online.
    pub last_online_at: Option<Timestamp>,
    /// When it last ceased to be online.
    pub last_offline_at: Option<Timestamp>,
    /// What the user should know.
    pub notice: Option<String>,
    /// Why this version is cut off, if it is and nothing is under way.
    pub cut_off: Option<CutOff>,
    /// How the installer stands, on a PC without an updater.
    pub installer: Option<Installer>,
    /// Whether there is an updater on this PC.
    pub updater: bool,
    /// What is wrong on this PC besides.
    pub trouble: Option<String>,
}

impl GateState {
    fn of(machine: &GateMachine) -> Self {
        Self {
            permits: machine.permits(),
            gate: machine.gate(),
            since: machine.since(),
            last_online_at: machine.last_online_at(),
            last_offline_at: machine.last_offline_at(),
            notice: machine.notice(),
            cut_off: machine.cut_off(),
            installer: machine.installer_state().cloned(),
            updater: machine.has_updater(),
            trouble: machine.trouble().map(str::to_owned),
        }
    }
}

/// The gate's only door.
#[derive(Debug)]
pub struct GateKeeper {
    machine: Mutex<GateMachine>,
    state: watch::Sender<GateState>,
    notices: watch::Sender<Option<String>>,
}

impl GateKeeper {
    /// Takes the machine over.
    pub fn new(machine: GateMachine) -> Self {
        let state = GateState::of(&machine);
        let notices = watch::Sender::new(state.notice.clone());
        Self { machine: Mutex::new(machine), state: watch::Sender::new(state), notices }
    }

    /// Changes the machine, and tells of it if anything others see is different now. Gives what `change` gives.
    pub fn change<T>(&self, change: impl FnOnce(&mut GateMachine, Timestamp) -> T) -> T {
        // The machine is whole even if a holder of the lock panicked: its methods do not panic half way.
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut machine, crate::clock::now());
        let state = GateState::of(&machine);
        self.notices.send_if_modified(|notice| replace(notice, &state.notice));
        let was = self.state.borrow().gate;
        if was != state.gate {
            tracing::info!(from = ?was, to = ?state.gate, notice = state.notice.as_deref(), "the gate changed");
        }
        self.state.send_if_modified(|known| replace(known, &state));
        result
    }

    /// The gate as it stands, and as it will stand.
    pub fn subscribe(&self) -> watch::Receiver<GateState> {
        self.state.subscribe()
    }

    /// What the user should know, as it changes.
    pub fn notices(&self) -> watch::Receiver<Option<String>> {
        self.notices.subscribe()
    }
}

fn replace<T: Clone + PartialEq>(known: &mut T, new: &T) -> bool {
    let changed = known != new;
    if changed {
        *known = new.clone();
    }
    changed
}
