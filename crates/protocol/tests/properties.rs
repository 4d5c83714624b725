//! What must hold for every catalog, site and device.

#[allow(dead_code, reason = "each test file uses a part of the fixture")]
mod fixture;

use fixture::*;
use proptest::prelude::*;
use protocol::{
    Admission, Decision, Version, admit,
    catalog::{Catalog, Release},
    device::Device,
    directive,
    policy::UpgradePolicy,
    preflight::{Readiness, readiness},
    product::ProductId,
};

fn versions() -> impl Strategy<Value = Version> {
    (6u64..9, 0u64..4, 0u64..3).prop_map(|(a, b, c)| Version::new(a, b, c))
}

fn releases() -> impl Strategy<Value = Release> {
    let facts = (versions(), any::<bool>(), any::<bool>(), prop::option::of(versions()), prop::option::of(versions()));
    (facts, any::<bool>(), prop::option::of((6u64..9, 0u64..4))).prop_map(
        |((of, windows, beta, from, floor), any_server, down)| {
            let next = of.minor + 1;
            let server =
                if any_server { "*".into() } else { format!(">={}.{}, <{}.{next}", of.major, of.minor, of.major) };
            let mut r = release(&of.to_string(), &server);
            r.upgrades_from = from;
            r.floor = floor;
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

fn devices() -> impl Strategy<Value = Device> {
    let state = (prop::option::of(versions()), prop::collection::vec(versions(), 0..3), prop::option::of(versions()));
    (state, prop::option::of(0usize..6), any::<bool>(), prop::option::of(versions())).prop_map(
        |((installed, staged, floor), policy, updater, bad)| {
            let mut d = device(None);
            d.policy = policy.map(|i| UpgradePolicy::ALL[i]);
            d.updater = updater.then(|| version("0.1.0"));
            let s = state_of(&mut d);
            s.installed = installed;
            s.staged = staged;
            s.floor = floor;
            s.failed = bad.iter().map(|v| failed(&v.to_string())).collect();
            d
        },
    )
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
            product: ProductId::connector(), decision, policy: UpgradePolicy::Silent, server: None, why: String::new(),
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
        prop_assert!(state.failed.iter().all(|f| f.version != chosen));
        let permitted = state.installed.as_ref().is_some_and(|i| release.permits_downgrade_from(i));
        for floor in [state.installed.as_ref(), state.floor.as_ref(), catalog.floor(&ProductId::connector())].into_iter().flatten() {
            prop_assert!(chosen >= *floor || permitted, "{chosen} below {floor}");
        }
    }

    /// The prediction is the decision: what preflight says of a device is what the two functions do once the
    /// server has really moved and the device has staged what it was told to.
    #[test]
    fn preflight_predicts_what_then_happens(catalog in catalogs(), device in devices(), from in versions(), to in versions(), seed in any::<u64>()) {
        let product = ProductId::connector();
        let before = site(Some(&from.to_string()));
        let predicted = readiness(&product, &to, &before, &catalog, &device, now(), None, now(), seed);
        let after = site(Some(&to.to_string()));
        let d = directive(&product, &after, &catalog, &device, now(), seed);
        let mut staged = device.clone();
        let mut admission = admit(&catalog, &staged, &d, now());
        if let Admission::Stage(entry) = &admission {
            state(&mut staged).staged.push(entry.release.version.clone());
            admission = admit(&catalog, &staged, &d, now());
        }
        let goes_on = match (&d.decision, &admission) {
            (Decision::Hold, _) => false,
            (decision, _) if !decision.is_incompatible() => true,
            (_, Admission::NeedsElevation { .. } | Admission::Refused(_)) => false,
            _ => true,
        };
        prop_assert_eq!(goes_on, !predicted.is_cut_off(), "{:?} but {:?} {:?}", predicted, d, admission);
        prop_assert!(!matches!(predicted, Readiness::NotSeen { .. }), "it was seen just now");
    }

    /// A required or recommended version always works with the server that asks for it.
    #[test]
    fn what_the_server_asks_for_works_with_it(catalog in catalogs(), device in devices(), server in versions(), seed in any::<u64>()) {
        let d = directive(&ProductId::connector(), &site(Some(&server.to_string())), &catalog, &device, now(), seed);
        if let Decision::Required { version, .. } | Decision::Recommended { version } = &d.decision {
            let entry = catalog.find(&ProductId::connector(), &linux(), "stable", version).unwrap();
            prop_assert!(entry.release.works_with(&server));
        }
    }
}
