//! What the server and this PC's users are told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Decision, Directive, Timestamp, Version,
    device::{Device, ProductState},
    explain::{self, Explained},
    ipc::{Happening, PcStatus},
    policy::UpgradePolicy,
    product::{Platform, ProductId},
    terms::{self, MachinePolicy},
};

use crate::{
    machine::State,
    record::{ProductRecord, Record},
    slots::Observed,
};

/// What is true of the whole PC.
#[derive(Debug)]
pub struct Pc<'a> {
    /// Its name for people.
    pub hostname: &'a str,
    /// What it runs on.
    pub platform: Platform,
    /// The channel whose releases it takes.
    pub channel: &'a str,
    /// This program's version.
    pub updater: &'a Version,
    /// The machine's policy.
    pub policy: Option<UpgradePolicy>,
    /// The rest of it.
    pub machine: &'a MachinePolicy,
    /// The effective time.
    pub now: Timestamp,
    /// Bytes.
    pub disk_free: Option<u64>,
    /// When what was verified expires.
    pub metadata_expires: Option<Timestamp>,
    /// Why nothing new can be verified.
    pub problem: Option<&'a str>,
    /// What the server wants of the updater itself.
    pub updater_directive: Option<&'a Directive>,
}

/// Where things stand, for the users of this PC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// By product.
    pub products: BTreeMap<ProductId, ProductState>,
    /// Why things are as they are, by product.
    pub why: BTreeMap<ProductId, String>,
    /// The version that running programs should restart into, by product.
    pub restart: BTreeMap<ProductId, Version>,
    /// The version that the programs of these users alone should restart into, by product.
    pub restart_for: BTreeMap<ProductId, (Version, BTreeSet<String>)>,
    /// What went wrong last.
    pub problem: Option<String>,
    /// When the server was last reached.
    pub last_contact: Option<Timestamp>,
    /// What is decided, in words, by product.
    pub decisions: BTreeMap<ProductId, Explained>,
    /// What is true of the whole PC.
    pub pc: PcStatus,
    /// What happened last.
    pub history: Vec<Happening>,
}

impl Published {
    /// The version that a user's program should restart into.
    pub fn restart_of(&self, product: &ProductId, user: &str) -> Option<&Version> {
        let own =
            || self.restart_for.get(product).filter(|(_, users)| users.contains(user)).map(|(version, _)| version);
        self.restart.get(product).or_else(own)
    }
}

/// The report to the server, which is also what this PC decides on. The id is filled in when it is sent.
pub fn device<'a>(
    pc: Pc<'_>,
    products: impl Iterator<Item = (&'a ProductId, &'a State, &'a Observed, ProductRecord)>,
) -> Device {
    let mut reported = BTreeMap::from([(ProductId::updater(), updater(&pc))]);
    for (product, state, observed, record) in products {
        let broken = |v: &Version| record.failed.iter().any(|f| f.version == *v && f.bars(pc.now));
        let staged = observed.versions.iter().filter(|v| Some(*v) != observed.current.as_ref() && !broken(v));
        let product_state = ProductState {
            installed: observed.current.clone(),
            staged: staged.cloned().collect(),
            floor: record.floor.clone(),
            failed: record.failed.clone(),
            consented: record.consented.clone(),
            put_off_since: record.put_off_since,
            state: state.device_state(),
            detail: detail(state, pc.problem),
        };
        reported.insert(product.clone(), product_state);
    }
    Device {
        id: String::new(),
        hostname: pc.hostname.to_owned(),
        platform: pc.platform,
        channel: pc.channel.into(),
        updater: Some(pc.updater.clone()),
        policy: pc.policy,
        machine: pc.machine.clone(),
        disk_free: pc.disk_free,
        metadata_expires: pc.metadata_expires,
        products: reported,
    }
}

/// What a product's own state says, and what stands in the way of anything new.
fn detail(state: &State, problem: Option<&str>) -> Option<String> {
    let words: Vec<String> = state.detail().into_iter().chain(problem.map(str::to_owned)).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// The updater where no supervisor would start another version of it: it cannot replace itself there, and says so. Under a
/// supervisor it is a product like any other.
fn updater(pc: &Pc<'_>) -> ProductState {
    let wanted = pc.updater_directive.and_then(|d| d.decision.version()).filter(|v| *v != pc.updater);
    ProductState {
        installed: Some(pc.updater.clone()),
        detail: wanted.map(|v| {
            format!(
                "{v} is refused: this updater runs without its supervisor, and so does not replace itself; install {v} from the site's integration page"
            )
        }),
        ..ProductState::default()
    }
}

/// What users see, from the report and what is behind it.
pub fn published(
    device: Device,
    directives: BTreeMap<ProductId, &Directive>,
    decisions: BTreeMap<ProductId, Explained>,
    record: &Record,
    problem: Option<String>,
) -> Published {
    let mut why = BTreeMap::new();
    let mut restart = BTreeMap::new();
    let mut restart_for = BTreeMap::new();
    for (product, state) in &device.products {
        let decided = decisions.get(product).map(Explained::sentence);
        let said = decided.or_else(|| directives.get(product).map(|d| explain(d, &device)));
        // A refusal by the server says nothing new after the server's own words.
        let detail = state.detail.clone().filter(|d| said.as_ref().is_none_or(|said| !said.contains(d.as_str())));
        let words: Vec<_> = said.into_iter().chain(detail).collect();
        if !words.is_empty() {
            why.insert(product.clone(), words.join("; "));
        }
        let Some(record) = record.products.get(product) else { continue };
        if let Some(version) = record.restart.clone().filter(|v| Some(v) == state.installed.as_ref()) {
            restart.insert(product.clone(), version);
        }
        if let Some(version) = state.installed.clone().filter(|_| !record.restart_for.is_empty()) {
            restart_for.insert(product.clone(), (version, record.restart_for.clone()));
        }
    }
    let last_contact = record.last_contact;
    Published {
        products: device.products,
        why,
        restart,
        restart_for,
        problem,
        last_contact,
        decisions,
        ..Published::default()
    }
}

/// A directive in a sentence, where nothing could be decided about it yet.
fn explain(directive: &Directive, device: &Device) -> String {
    let decision = explain::what(&directive.decision);
    let necessary = match directive.decision {
        Decision::Recommended { .. } => false,
        Decision::Required { .. } => true,
        _ => return format!("{decision}: {}", directive.why),
    };
    let (policy, whose) = terms::upgrade(device, directive.policy);
    format!("{decision}: {}; by {} policy {}", directive.why, whose.policy_of(), how(policy, necessary))
}

fn how(policy: UpgradePolicy, necessary: bool) -> &'static str {
    use protocol::policy::Timing;
    match policy.timing(necessary) {
        Timing::Now { restart: true } => "it is activated at once and the program restarts",
        Timing::Now { restart: false } => "it is activated silently and used at the program's next start",
        Timing::AskFirst { may_refuse: true } => "the user is asked and may refuse",
        Timing::AskFirst { may_refuse: false } => "the user is asked when",
        Timing::NotNow => "it waits until it is necessary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directive(decision: Decision) -> Directive {
        Directive {
            product: ProductId::connector(),
            decision,
            policy: UpgradePolicy::SilentAtStart,
            terms: Default::default(),
            server: None,
            why: "because".into(),
        }
    }

    #[test]
    fn every_decision_is_explained() {
        let version = Version::new(7, 3, 0);
        let deadline = Timestamp::UNIX_EPOCH;
        let site = Device::unknown(Platform::current(), "stable");
        let machine = Device { policy: Some(UpgradePolicy::Ask), ..site.clone() };
        let words: Vec<_> = [
            Decision::Current,
            Decision::Stage { version: version.clone() },
            Decision::Recommended { version: version.clone() },
            Decision::Required { version, deadline },
            Decision::Blocked { reason: protocol::Blocked::NoRelease },
            Decision::Hold,
        ]
        .into_iter()
        .flat_map(|d| [explain(&directive(d.clone()), &site), explain(&directive(d), &machine)])
        .collect();
        insta::assert_snapshot!(words.join("\n"));
    }

    #[test]
    fn without_a_supervisor_the_updater_says_that_it_does_not_replace_itself() {
        let version = Version::new(0, 1, 0);
        let wanted = directive(Decision::Recommended { version: Version::new(0, 2, 0) });
        let pc = Pc {
            hostname: "pc",
            channel: "stable",
            platform: Platform::current(),
            updater: &version,
            policy: None,
            machine: &MachinePolicy::default(),
            now: Timestamp::UNIX_EPOCH,
            disk_free: None,
            metadata_expires: None,
            problem: None,
            updater_directive: Some(&wanted),
        };
        let device = device(pc, std::iter::empty());
        let state = device.product(&ProductId::updater());
        assert_eq!(state.installed, Some(version));
        assert!(state.detail.unwrap().contains("0.2.0 is refused"));
    }
}
