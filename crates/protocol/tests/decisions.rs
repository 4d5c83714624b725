//! The decisions as tables: what the server answers, and what the device makes of it.

#[allow(dead_code, reason = "each test file uses a part of the fixture")]
mod fixture;

use fixture::*;
use protocol::{
    Admission, Blocked, Decision, Directive, Refusal, admit, directive, next_server_version,
    policy::UpgradePolicy,
    preflight::{AWAY_SECONDS, Readiness, readiness},
    product::ProductId,
    site::Rollout,
};

fn decide(
    site: &protocol::site::Site,
    catalog: &protocol::catalog::Catalog,
    device: &protocol::device::Device,
) -> Decision {
    directive(&ProductId::connector(), site, catalog, device, now(), 1).decision
}

fn stage(v: &str) -> Decision {
    Decision::Stage { version: version(v) }
}

fn recommended(v: &str) -> Decision {
    Decision::Recommended { version: version(v) }
}

fn required(v: &str) -> Decision {
    Decision::Required { version: version(v), deadline: time("2026-03-02T12:00:00Z") }
}

#[test]
fn the_server_decides_by_what_works_with_it() {
    for (server, installed, expected) in [
        (None, Some("7.2.0"), Decision::Hold),
        (Some("7.2.0"), Some("7.2.0"), recommended("7.2.1")),
        (Some("7.2.0"), Some("7.2.1"), stage("7.3.0")),
        (Some("7.2.9"), Some("7.2.1"), stage("7.3.0")),
        (Some("7.3.0"), Some("7.2.1"), required("7.3.0")),
        (Some("7.3.0"), Some("7.3.0"), Decision::Current),
        (Some("7.3.0"), None, required("7.3.0")),
        (Some("7.2.0"), None, required("7.2.1")),
        (Some("7.4.0"), Some("7.3.0"), Decision::Blocked { reason: Blocked::NoRelease }),
        (Some("7.4.0"), None, Decision::Hold),
        // The server went back, and no release permits the downgrade.
        (Some("7.2.0"), Some("7.3.0"), Decision::Blocked { reason: Blocked::Unreachable }),
    ] {
        let got = decide(&site(server), &two_minors(), &device(installed));
        assert_eq!(got, expected, "server {server:?}, installed {installed:?}");
    }
}

#[test]
fn clients_follow_a_server_that_goes_back_where_the_vendor_permits() {
    let mut old = release("7.2.1", ">=7.2, <7.3");
    old.downgrade_from = Some(">=7.3, <7.4".parse().unwrap());
    let catalog = catalog([old, release("7.3.0", ">=7.3, <7.4")]);
    assert_eq!(decide(&site(Some("7.2.0")), &catalog, &device(Some("7.3.0"))), required("7.2.1"));
}

#[test]
fn a_version_the_catalog_forgot_counts_as_made_for_its_own_minor() {
    let catalog = catalog([release("7.3.0", ">=7.3, <7.4")]);
    assert_eq!(decide(&site(Some("7.2.0")), &catalog, &device(Some("7.2.5"))), stage("7.3.0"));
    assert_eq!(decide(&site(Some("7.3.0")), &catalog, &device(Some("7.2.5"))), required("7.3.0"));
}

#[test]
fn a_version_that_was_rolled_back_here_is_not_offered_again() {
    let mut device = device(Some("7.2.1"));
    state(&mut device).failed.push(failed("7.3.0"));
    assert_eq!(decide(&site(Some("7.2.0")), &two_minors(), &device), Decision::Current);
    let blocked = decide(&site(Some("7.3.0")), &two_minors(), &device);
    assert_eq!(blocked, Decision::Blocked { reason: Blocked::FailedHere });
    let mut fixed = two_minors();
    fixed.entries.push(entry(release("7.3.1", ">=7.3, <7.4")));
    assert_eq!(decide(&site(Some("7.3.0")), &fixed, &device), required("7.3.1"));
}

#[test]
fn a_barrier_is_crossed_in_steps() {
    let mut bridge_needed = release("7.3.1", ">=7.3, <7.4");
    bridge_needed.upgrades_from = Some(version("7.3.0"));
    let catalog = catalog([release("7.2.0", ">=7.2, <7.3"), release("7.3.0", ">=7.3, <7.4"), bridge_needed]);
    assert_eq!(decide(&site(Some("7.3.1")), &catalog, &device(Some("7.2.0"))), required("7.3.0"));
    assert_eq!(decide(&site(Some("7.3.1")), &catalog, &device(Some("7.3.0"))), recommended("7.3.1"));
}

#[test]
fn other_platforms_and_channels_are_never_offered() {
    let mut windows = release("7.3.0", ">=7.3, <7.4");
    windows.platform.os = "windows".into();
    let mut beta = release("7.3.1", ">=7.3, <7.4");
    beta.channel = "beta".into();
    let catalog = catalog([windows, beta]);
    let blocked = decide(&site(Some("7.3.0")), &catalog, &device(Some("7.2.0")));
    assert_eq!(blocked, Decision::Blocked { reason: Blocked::NoRelease });
}

#[test]
fn what_the_device_would_refuse_is_not_asked_for_where_something_else_is_eligible() {
    let mut new_updater = release("7.3.1", ">=7.3, <7.4");
    new_updater.updater = Some(version("0.2.0"));
    let catalog = catalog([release("7.3.0", ">=7.3, <7.4"), new_updater]);
    assert_eq!(decide(&site(Some("7.3.0")), &catalog, &device(Some("7.2.0"))), required("7.3.0"));
    let mut never_below = device(Some("7.2.0"));
    state(&mut never_below).floor = Some(version("7.3.1"));
    let blocked = decide(&site(Some("7.3.0")), &catalog, &never_below);
    assert_eq!(blocked, Decision::Blocked { reason: Blocked::Unreachable });
}

#[test]
fn a_hold_and_an_unmanaged_product_offer_nothing() {
    let mut held = site(Some("7.3.0"));
    held.products.get_mut(&ProductId::connector()).unwrap().hold = true;
    assert_eq!(decide(&held, &two_minors(), &device(Some("7.2.0"))), Decision::Hold);
    let unmanaged = protocol::site::Site::default();
    assert_eq!(decide(&unmanaged, &two_minors(), &device(Some("7.2.0"))), Decision::Hold);
}

#[test]
fn a_rollout_spreads_what_is_optional_and_never_delays_what_is_required() {
    let mut site = site(Some("7.2.0"));
    let start = now();
    site.products.get_mut(&ProductId::connector()).unwrap().rollout = Some(Rollout { start, over_seconds: 1000 });
    let turns: Vec<i64> = (0..200)
        .map(|n| {
            let mut device = device(Some("7.2.0"));
            device.id = format!("pc-{n}");
            let comes = |after: i64| {
                let at = start.checked_add(jiff::SignedDuration::from_secs(after)).unwrap();
                let d = directive(&ProductId::connector(), &site, &two_minors(), &device, at, 7).decision;
                matches!(d, Decision::Recommended { .. })
            };
            assert!(comes(1000), "everybody's turn has come at the end");
            (0..=1000).find(|after| comes(*after)).unwrap()
        })
        .collect();
    let early = turns.iter().filter(|t| **t < 500).count();
    assert!((60..140).contains(&early), "about half in the first half, not {early} of 200");
    site.products.get_mut(&ProductId::connector()).unwrap().server = Some(version("7.3.0"));
    assert_eq!(decide(&site, &two_minors(), &device(Some("7.2.0"))), required("7.3.0"));
}

#[test]
fn the_next_server_version_is_what_the_newest_release_is_made_for() {
    let product = ProductId::connector();
    let next = |server| next_server_version(&product, "stable", None, &site(server), &two_minors());
    assert_eq!(next(Some("7.2.0")), Some(version("7.3.0")));
    assert_eq!(next(Some("7.3.0")), None);
    assert_eq!(next(None), None);
}

fn order(decision: Decision) -> Directive {
    Directive {
        product: ProductId::connector(),
        decision,
        policy: UpgradePolicy::Silent,
        terms: Default::default(),
        server: None,
        why: "because".into(),
    }
}

#[test]
fn the_device_stages_first_and_activates_only_what_is_staged() {
    let mut device = device(Some("7.2.0"));
    let catalog = two_minors();
    for decision in [stage("7.3.0"), required("7.3.0"), recommended("7.2.1")] {
        let Admission::Stage(entry) = admit(&catalog, &device, &order(decision.clone()), now()) else {
            panic!("{decision:?} is staged first");
        };
        assert_eq!(Some(&entry.release.version), decision.version());
    }
    state(&mut device).staged.push(version("7.3.0"));
    assert_eq!(admit(&catalog, &device, &order(stage("7.3.0")), now()), Admission::Nothing);
    assert_eq!(
        admit(&catalog, &device, &order(required("7.3.0")), now()),
        Admission::Activate { version: version("7.3.0"), restart: true }
    );
}

#[test]
fn the_device_refuses_what_the_vendors_metadata_does_not_allow() {
    let mut old = release("7.1.0", ">=7.1, <7.2");
    let mut new_updater = release("7.4.0", ">=7.4, <7.5");
    new_updater.updater = Some(version("0.2.0"));
    let mut behind_bridge = release("7.5.0", ">=7.5, <7.6");
    behind_bridge.upgrades_from = Some(version("7.4.0"));
    old.floor = None;
    let catalog = catalog([old, release("7.3.0", ">=7.3, <7.4"), new_updater, behind_bridge]);
    let mut device = device(Some("7.2.0"));
    state(&mut device).failed.push(failed("7.3.0"));
    for (asked, expected) in [
        ("9.9.9", Refusal::NotInCatalog { version: version("9.9.9") }),
        ("7.1.0", Refusal::BelowFloor { version: version("7.1.0"), floor: version("7.2.0") }),
        ("7.3.0", Refusal::FailedHere { version: version("7.3.0"), reason: "the self-check failed".into() }),
        ("7.4.0", Refusal::UpdaterTooOld { version: version("7.4.0"), needed: version("0.2.0") }),
        ("7.5.0", Refusal::Barrier { version: version("7.5.0"), oldest: version("7.4.0") }),
    ] {
        let got = admit(&catalog, &device, &order(required(asked)), now());
        assert_eq!(got, Admission::Refused(expected), "{asked}");
    }
}

#[test]
fn a_floor_outlasts_the_release_that_set_it_and_a_lost_installation() {
    let mut device = device(None);
    state(&mut device).floor = Some(version("7.3.0"));
    let got = admit(&two_minors(), &device, &order(required("7.2.1")), now());
    let expected = Refusal::BelowFloor { version: version("7.2.1"), floor: version("7.3.0") };
    assert_eq!(got, Admission::Refused(expected));
}

#[test]
fn a_floor_that_a_thief_has_set_is_passed_by_a_release_that_permits_it() {
    let mut device = device(Some("7.2.1"));
    state(&mut device).floor = Some(version("99.0.0"));
    let mut next = release("7.3.0", ">=7.3, <7.4");
    let refused = Refusal::BelowFloor { version: version("7.3.0"), floor: version("99.0.0") };
    let got = admit(&catalog([next.clone()]), &device, &order(required("7.3.0")), now());
    assert_eq!(got, Admission::Refused(refused));
    next.downgrade_from = Some("*".parse().unwrap());
    let catalog = catalog([next]);
    let got = admit(&catalog, &device, &order(required("7.3.0")), now());
    assert_eq!(got, Admission::Stage(Box::new(catalog.entries[0].clone())));
}

#[test]
fn expired_metadata_stops_staging_but_not_what_is_staged() {
    let mut device = device(Some("7.2.0"));
    let expired = time("2026-02-28T00:00:00Z");
    device.metadata_expires = Some(expired);
    let got = admit(&two_minors(), &device, &order(required("7.3.0")), now());
    assert_eq!(got, Admission::Refused(Refusal::MetadataExpired { expired }));
    assert!(Refusal::MetadataExpired { expired }.to_string().starts_with("cannot update: metadata expired"));
    state(&mut device).staged.push(version("7.3.0"));
    let got = admit(&two_minors(), &device, &order(required("7.3.0")), now());
    assert_eq!(got, Admission::Activate { version: version("7.3.0"), restart: true });
}

#[test]
fn a_full_disk_is_said_before_anything_is_fetched() {
    let mut device = device(Some("7.2.0"));
    device.disk_free = Some(3999);
    let got = admit(&two_minors(), &device, &order(stage("7.3.0")), now());
    assert_eq!(got, Admission::Refused(Refusal::DiskFull { needed: 4000, free: 3999 }));
}

#[test]
fn without_an_updater_only_a_required_upgrade_asks_for_the_administrator() {
    let mut device = device(Some("7.2.0"));
    device.updater = None;
    let catalog = two_minors();
    assert_eq!(admit(&catalog, &device, &order(recommended("7.2.1")), now()), Admission::Nothing);
    assert_eq!(
        admit(&catalog, &device, &order(required("7.3.0")), now()),
        Admission::NeedsElevation { version: version("7.3.0") }
    );
}

#[test]
fn asking_policies_wait_for_consent_and_the_machines_policy_goes_first() {
    let mut device = device(Some("7.2.0"));
    state(&mut device).staged.push(version("7.3.0"));
    device.policy = Some(UpgradePolicy::AskMustAccept);
    let wait = Admission::AwaitConsent { version: version("7.3.0"), may_refuse: false };
    assert_eq!(admit(&two_minors(), &device, &order(required("7.3.0")), now()), wait);
    state(&mut device).consented = Some(version("7.3.0"));
    assert_eq!(
        admit(&two_minors(), &device, &order(required("7.3.0")), now()),
        Admission::Activate { version: version("7.3.0"), restart: true }
    );
}

#[test]
fn preflight_names_who_is_ready_who_is_not_and_who_is_away() {
    let product = ProductId::connector();
    let available = Some(time("2026-03-01T11:00:00Z"));
    let predict = |device: &protocol::device::Device, last_seen| {
        readiness(
            &product,
            &version("7.3.0"),
            &site(Some("7.2.0")),
            &two_minors(),
            device,
            last_seen,
            available,
            now(),
            1,
        )
    };
    let seen = time("2026-03-01T11:59:00Z");
    let before = time("2026-03-01T10:00:00Z");
    let mut ready = device(Some("7.2.0"));
    assert_eq!(predict(&ready, seen), Readiness::Ready { staged: false });
    assert_eq!(predict(&ready, before), Readiness::NotSeen { since: before });
    state(&mut ready).staged.push(version("7.3.0"));
    assert_eq!(predict(&ready, seen), Readiness::Ready { staged: true });
    assert_eq!(predict(&ready, before), Readiness::Ready { staged: true });
    let long_ago = now().checked_sub(jiff::SignedDuration::from_secs(AWAY_SECONDS + 1)).unwrap();
    assert_eq!(predict(&ready, long_ago), Readiness::NotSeen { since: long_ago });
    ready.policy = Some(UpgradePolicy::Ask);
    assert_eq!(predict(&ready, seen), Readiness::WouldAsk { staged: true });

    // Its metadata ran out while it was away, which says nothing of what it does when it is back.
    let mut away = device(Some("7.2.0"));
    away.metadata_expires = Some(time("2026-02-20T00:00:00Z"));
    assert_eq!(predict(&away, long_ago), Readiness::NotSeen { since: long_ago });
    assert!(predict(&away, seen).is_cut_off(), "it is here, and cannot refresh its metadata");

    let mut without = device(Some("7.2.0"));
    without.updater = None;
    let Readiness::CutOff { reason, remedy } = predict(&without, before) else { panic!("cut off") };
    assert_eq!(reason, "updater not installed");
    assert!(remedy.contains("integration page"), "{remedy}");
    assert_eq!(predict(&device(Some("7.3.0")), seen), Readiness::Current);

    let mut full = device(Some("7.2.0"));
    full.disk_free = Some(100);
    let Readiness::CutOff { reason, remedy } = predict(&full, seen) else { panic!("cut off") };
    assert!(reason.contains("disk space") && remedy.contains("disk space"), "{reason}: {remedy}");
}

#[test]
fn a_policy_that_asks_is_predicted_before_the_version_is_staged() {
    let mut device = device(Some("7.2.0"));
    device.policy = Some(UpgradePolicy::Ask);
    let verdict = readiness(
        &ProductId::connector(),
        &version("7.3.0"),
        &site(Some("7.2.0")),
        &two_minors(),
        &device,
        now(),
        None,
        now(),
        1,
    );
    assert_eq!(verdict, Readiness::WouldAsk { staged: false });
}

#[test]
fn preflight_names_a_downgrade_that_the_vendor_permits_and_one_that_it_does_not() {
    let going_back = |permit: Option<&str>, staged: bool| {
        let mut old = release("7.2.0", ">=7.2, <7.3");
        old.downgrade_from = permit.map(|p| p.parse().unwrap());
        let mut device = device(Some("7.3.0"));
        if staged {
            state(&mut device).staged = vec![version("7.2.0")];
        }
        let (catalog, site) = (catalog([old, release("7.3.0", ">=7.3, <7.4")]), site(Some("7.3.0")));
        readiness(&ProductId::connector(), &version("7.2.0"), &site, &catalog, &device, now(), None, now(), 1)
    };
    assert_eq!(going_back(Some(">=7.3, <7.4"), false), Readiness::Ready { staged: false });
    assert_eq!(going_back(Some(">=7.3, <7.4"), true), Readiness::Ready { staged: true });
    for permit in [None, Some("=7.2.5")] {
        let Readiness::CutOff { reason, remedy } = going_back(permit, true) else { panic!("it would be cut off") };
        assert_eq!(reason, "the vendor has not permitted going back from 7.3.0 for server 7.2.0");
        assert!(remedy.contains("a permit to go back"), "{remedy}");
    }
}
