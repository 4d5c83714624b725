//! What must hold for every catalog, site and device.

#[allow(dead_code, reason = "each test file uses a part of the fixture")]
mod fixture;

use fixture::*;
use proptest::prelude::*;
use protocol::{
    Admission, Decision, Refusal, Timestamp, Version, admit,
    catalog::{Catalog, Release},
    device::{Device, FailedVersion},
    directive,
    hold::{Hold, SiteHold},
    policy::{DowngradePolicy, UpgradePolicy},
    preflight::{Readiness, readiness},
    product::ProductId,
    site::Site,
    terms::{MachinePolicy, Terms},
    window::Windows,
};

fn versions() -> impl Strategy<Value = Version> {
    (6u64..9, 0u64..4, 0u64..3).prop_map(|(a, b, c)| Version::new(a, b, c))
}

fn releases() -> impl Strategy<Value = Release> {
    let facts = (versions(), any::<bool>(), any::<bool>(), prop::option::of(versions()), prop::option::of(versions()));
    // Withdrawals and floors are rare, or nothing would be left to decide about.
    let withdraws = prop_oneof![9 => Just(vec![]), 1 => prop::collection::vec(versions(), 1..3)];
    (facts, any::<bool>(), prop::option::of((6u64..9, 0u64..4)), withdraws).prop_map(
        |((of, windows, beta, from, floor), any_server, down, withdraws)| {
            let next = of.minor + 1;
            let server =
                if any_server { "*".into() } else { format!(">={}.{}, <{}.{next}", of.major, of.minor, of.major) };
            let mut r = release(&of.to_string(), &server);
            r.upgrades_from = from;
            r.floor = floor;
            r.withdraws = withdraws;
            r.downgrade_from = down.map(|(major, minor)| format!("~{major}.{minor}").parse().unwrap());
            if windows {
                r.platform.os = "windows".into();
            }
            if beta {
                r.channel = "beta".into();
            }
            r
        },
    )
}

fn catalogs() -> impl Strategy<Value = Catalog> {
    prop::collection::vec(releases(), 0..12).prop_map(|mut all| {
        all.sort_by(|a, b| (&a.version, &a.platform, &a.channel).cmp(&(&b.version, &b.platform, &b.channel)));
        all.dedup_by(|a, b| (&a.version, &a.platform, &a.channel) == (&b.version, &b.platform, &b.channel));
        catalog(all)
    })
}

fn hour_windows() -> impl Strategy<Value = Windows> {
    let weekly =
        prop::sample::select(vec!["Sat 02:00-05:00", "Sun 11:00-13:00", "daily 00:00-24:00", "Mon-Fri 22:00-02:00"]);
    (prop::collection::vec(weekly, 0..3), any::<bool>()).prop_map(|(weekly, required_too)| Windows {
        weekly: weekly.into_iter().map(|w| w.parse().unwrap()).collect(),
        zone: None,
        required_too,
    })
}

fn holds() -> impl Strategy<Value = Hold> {
    prop_oneof![
        1 => Just("connector".parse().unwrap()),
        1 => Just("updater".parse().unwrap()),
        8 => versions().prop_map(|v| format!("connector {v}").parse().unwrap()),
    ]
}

fn machines() -> impl Strategy<Value = MachinePolicy> {
    let downgrade = prop::option::of(prop::sample::select(DowngradePolicy::ALL.to_vec()));
    let zone = prop::option::of(prop::sample::select(vec!["Europe/Prague".to_owned(), "nowhere".to_owned()]));
    (downgrade, prop::option::of(hour_windows()), prop::collection::vec(holds(), 0..2), zone)
        .prop_map(|(downgrade, windows, holds, zone)| MachinePolicy { downgrade, windows, holds, zone })
}

/// What the site's administrator says of the connector, on a server of this version.
fn sites() -> impl Strategy<Value = Site> {
    let policy = prop::sample::select(UpgradePolicy::ALL.to_vec());
    let downgrade = prop::sample::select(DowngradePolicy::ALL.to_vec());
    let held = prop::collection::vec((holds(), any::<bool>(), any::<bool>()), 0..3);
    (versions(), policy, downgrade, hour_windows(), held).prop_map(|(server, policy, downgrade, windows, held)| {
        let mut site = site(Some(&server.to_string()));
        let chosen = site.products.get_mut(&ProductId::connector()).unwrap();
        (chosen.policy, chosen.downgrade, chosen.windows) = (policy, downgrade, windows);
        let hold = |(what, mine, over): (Hold, bool, bool)| SiteHold {
            what,
            pcs: Some(vec![if mine { "pc-*".into() } else { "other".into() }]),
            until: over.then(now),
            reason: String::new(),
        };
        chosen.holds = held.into_iter().map(hold).collect();
        site
    })
}

fn devices() -> impl Strategy<Value = Device> {
    let state = (prop::option::of(versions()), prop::collection::vec(versions(), 0..3), prop::option::of(versions()));
    let bad = prop::option::of((versions(), 1u32..4, any::<bool>()));
    (state, prop::option::of(0usize..6), any::<bool>(), bad, machines()).prop_map(
        |((installed, staged, floor), policy, updater, bad, machine)| {
            let mut d = device(None);
            d.machine = machine;
            d.policy = policy.map(|i| UpgradePolicy::ALL[i]);
            d.updater = updater.then(|| version("0.1.0"));
            let s = state_of(&mut d);
            s.installed = installed;
            s.staged = staged;
            s.floor = floor;
            let failure =
                |(v, times, again): (Version, u32, bool)| FailedVersion { times, again, ..failed(&v.to_string()) };
            s.failed = bad.map(failure).into_iter().collect();
            d
        },
    )
}

/// What became of a device that did what it was told.
#[derive(Debug)]
struct Ended {
    /// Whether its version works with the server, as far as the server says.
    works: bool,
    /// Whether a user was asked on the way.
    asked: bool,
    /// Whether a window was waited for.
    waited: bool,
    /// What was active, in order.
    steps: Vec<Version>,
}

/// A small simulator: the server decides, the device decides, and what it decides happens at once.
fn live(product: &ProductId, site: &Site, catalog: &Catalog, mut device: Device, now: Timestamp, seed: u64) -> Ended {
    let mut ended = Ended { works: false, asked: false, waited: false, steps: vec![] };
    ended.steps.extend(device.product(product).installed);
    for _ in 0..100 {
        let order = directive(product, site, catalog, &device, now, seed);
        ended.works = !order.decision.is_incompatible() && order.decision != Decision::Hold;
        if !order.decision.is_incompatible() {
            return ended;
        }
        match admit(catalog, &device, &order, now) {
            Admission::Stage(entry) => state_of(&mut device).staged.push(entry.release.version),
            Admission::AwaitConsent { version, .. } => {
                ended.asked = true;
                state_of(&mut device).consented = Some(version);
            }
            Admission::Wait { version, .. } => {
                ended.waited = true;
                device.machine.windows = Some(Windows::default());
                state_of(&mut device).consented = Some(version);
            }
            Admission::Activate { version, .. } => {
                ended.steps.push(version.clone());
                state_of(&mut device).installed = Some(version);
            }
            Admission::Nothing | Admission::NeedsElevation { .. } | Admission::Refused(_) => return ended,
        }
    }
    panic!("no end: {ended:?}");
}

fn state_of(device: &mut Device) -> &mut protocol::device::ProductState {
    state(device)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a directive says, only a release of this device's own platform and channel is ever staged, never one
    /// below the floor that was not permitted, and only something staged is ever activated.
    #[test]
    fn nothing_is_installed_that_was_not_signed_for_this_device(
        catalog in catalogs(), device in devices(), asked in versions(), necessary in any::<bool>(),
    ) {
        let decision = if necessary {
            Decision::Required { version: asked.clone(), deadline: now() }
        } else {
            Decision::Recommended { version: asked.clone() }
        };
        let order = protocol::Directive {
            product: ProductId::connector(), decision, policy: UpgradePolicy::Silent, terms: Default::default(), server: None, why: String::new(),
        };
        let state = device.product(&ProductId::connector());
        let chosen = match admit(&catalog, &device, &order, now()) {
            Admission::Stage(entry) => entry.release.version,
            Admission::Activate { version, .. } | Admission::AwaitConsent { version, .. } => {
                prop_assert!(state.staged.contains(&version));
                version
            }
            _ => return Ok(()),
        };
        let entry = catalog.find(&ProductId::connector(), &linux(), "stable", &chosen);
        prop_assert!(entry.is_some());
        let release = &entry.unwrap().release;
        prop_assert!(state.failed.iter().all(|f| f.version != chosen || f.again));
        prop_assert!(!catalog.is_withdrawn(&ProductId::connector(), &device.channel, &chosen));
        prop_assert!(device.machine.holds.iter().all(|h| !h.covers(&ProductId::connector(), &chosen)));
        let permitted = state.installed.as_ref().is_some_and(|i| release.permits_downgrade_from(i));
        for floor in [state.installed.as_ref(), state.floor.as_ref(), catalog.floor(&ProductId::connector(), &device.channel)].into_iter().flatten() {
            prop_assert!(chosen >= *floor || permitted, "{chosen} below {floor}");
        }
    }

    /// The prediction is the decision: what preflight says of a device is what the two functions do once the
    /// server has really moved, the device has staged what it was told to, its users have agreed, and windows have opened.
    #[test]
    fn preflight_predicts_what_then_happens(
        catalog in catalogs(), device in devices(), before in sites(), to in versions(), seed in any::<u64>(),
    ) {
        let product = ProductId::connector();
        let predicted = readiness(&product, &to, &before, &catalog, &device, now(), None, now(), seed);
        let mut after = before.clone();
        after.products.get_mut(&product).unwrap().server = Some(to.clone());
        let ended = live(&product, &after, &catalog, device.clone(), now(), seed);
        prop_assert_eq!(ended.works, !predicted.is_cut_off(), "{:?} but {:?}", predicted, ended);
        if ended.works && !matches!(predicted, Readiness::Current) {
            prop_assert_eq!(matches!(predicted, Readiness::WouldWait { .. }), ended.waited);
            prop_assert_eq!(matches!(predicted, Readiness::WouldAsk { .. }), ended.asked && !ended.waited);
        }
        prop_assert!(!matches!(predicted, Readiness::NotSeen { .. }), "it was seen just now");
    }

    /// Whatever the catalog, with steps in between or without: a device that does what it is told gets to where it is told
    /// nothing more that is urgent, by versions that all lead in one direction, and none of them twice.
    #[test]
    fn steps_lead_to_an_end(catalog in catalogs(), device in devices(), site in sites(), seed in any::<u64>()) {
        let ended = live(&ProductId::connector(), &site, &catalog, device, now(), seed);
        prop_assert!(ended.steps.len() < 12, "{:?}", ended);
        let up = ended.steps.windows(2).all(|w| w[0] < w[1]);
        let down = ended.steps.windows(2).all(|w| w[0] > w[1]);
        prop_assert!(up || down, "{:?}", ended);
    }

    /// A user who never answers cannot keep a machine from what is necessary: at the deadline it happens, whatever the policies
    /// and the windows are.
    #[test]
    fn at_the_deadline_nobodys_silence_counts(catalog in catalogs(), device in devices(), site in sites(), seed in any::<u64>()) {
        let product = ProductId::connector();
        let mut device = device;
        state_of(&mut device).put_off_since = Some(now());
        let later = now().checked_add(jiff::SignedDuration::from_hours(24)).unwrap();
        let order = directive(&product, &site, &catalog, &device, later, seed);
        let Decision::Required { version, deadline } = &order.decision else { return Ok(()) };
        prop_assert!(*deadline <= later);
        state_of(&mut device).staged.push(version.clone());
        match admit(&catalog, &device, &order, later) {
            Admission::Activate { version: v, restart } => prop_assert!(v == *version && restart),
            Admission::NeedsElevation { .. } => prop_assert!(device.updater.is_none()),
            Admission::Refused(Refusal::NeverDown { .. } | Refusal::DiskFull { .. }) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// When nothing else changes, a decision changes only at the moment that was foretold.
    #[test]
    fn a_decision_changes_when_it_was_said_to(
        catalog in catalogs(), device in devices(), site in sites(), necessary in any::<bool>(), after in 1i64..2_000_000,
    ) {
        let product = ProductId::connector();
        let Some(entry) = catalog.entries.first() else { return Ok(()) };
        let version = entry.release.version.clone();
        let mut device = device;
        state_of(&mut device).staged.push(version.clone());
        let deadline = now().checked_add(jiff::SignedDuration::from_hours(24)).unwrap();
        let decision = if necessary { Decision::Required { version, deadline } } else { Decision::Recommended { version } };
        let chosen = &site.products[&product];
        let terms = Terms { windows: chosen.windows.clone(), downgrade: chosen.downgrade, ..Terms::default() };
        let order = protocol::Directive {
            product, decision, policy: chosen.policy, terms, server: None, why: String::new(),
        };
        let then = now().checked_add(jiff::SignedDuration::from_secs(after)).unwrap();
        let foretold = protocol::look_again(&device, &order, now());
        let kind = |at| match admit(&catalog, &device, &order, at) {
            // Only its "until" moves on.
            Admission::Wait { version, .. } => format!("wait {version}"),
            other => format!("{other:?}"),
        };
        if foretold.is_none_or(|at| then < at) {
            prop_assert_eq!(kind(now()), kind(then));
        }
    }

    /// A recommended version always works with the server that asks for it, and so does the end of the way that begins with
    /// a required one.
    #[test]
    fn what_the_server_asks_for_works_with_it(catalog in catalogs(), device in devices(), site in sites(), seed in any::<u64>()) {
        let product = ProductId::connector();
        let server = site.products[&product].server.clone().unwrap();
        let d = directive(&product, &site, &catalog, &device, now(), seed);
        let asked: Vec<_> = match &d.decision {
            Decision::Required { version, .. } => vec![d.terms.way.last().unwrap_or(version)],
            Decision::Recommended { version } => d.terms.way.iter().chain([version]).collect(),
            _ => vec![],
        };
        for version in asked {
            let entry = catalog.find(&product, &linux(), "stable", version).unwrap();
            prop_assert!(entry.release.works_with(&server));
        }
    }
}
