//! Downgrades, windows, deadlines, steps, withdrawals, holds and second tries, as tables: what the server answers, what the device
//! makes of it, and how that is explained.

#[allow(dead_code, reason = "each test file uses a part of the fixture")]
mod fixture;

use fixture::*;
use protocol::{
    Admission, Blocked, Decision, Directive, Refusal, Timestamp, admit,
    catalog::Catalog,
    device::Device,
    directive,
    explain::explain,
    hold::SiteHold,
    look_again,
    policy::{DowngradePolicy, UpgradePolicy},
    preflight::{Readiness, readiness},
    product::ProductId,
    site::{Retry, Site, SiteProduct},
    terms::{Again, Whose},
    window::Windows,
};

/// Sunday, at noon.
fn decide(site: &Site, catalog: &Catalog, device: &Device) -> Directive {
    directive(&ProductId::connector(), site, catalog, device, now(), 1)
}

fn chosen(site: &mut Site) -> &mut SiteProduct {
    site.products.get_mut(&ProductId::connector()).unwrap()
}

fn recommended(v: &str) -> Decision {
    Decision::Recommended { version: version(v) }
}

fn activate(v: &str, restart: bool) -> Admission {
    Admission::Activate { version: version(v), restart }
}

fn staged(installed: &str, staged: &str) -> Device {
    let mut device = device(Some(installed));
    state(&mut device).staged.push(version(staged));
    device
}

fn saturday_night() -> Windows {
    Windows {
        weekly: vec!["Sat 02:00-05:00".parse().unwrap()],
        zone: Some("Europe/Prague".into()),
        required_too: false,
    }
}

/// 7.2.0 may be gone back to from 7.3.
fn with_a_way_back() -> Catalog {
    let mut old = release("7.2.0", ">=7.2, <7.3");
    old.downgrade_from = Some(">=7.3, <7.4".parse().unwrap());
    catalog([old, release("7.3.0", ">=7.3, <7.4")])
}

#[test]
fn a_permitted_downgrade_follows_the_downgrade_policy_and_the_machines_first() {
    let wait = Admission::AwaitConsent { version: version("7.2.0"), may_refuse: false };
    let never = |whose| {
        Admission::Refused(Refusal::NeverDown { version: version("7.2.0"), installed: version("7.3.0"), whose })
    };
    for (at_site, here, expected) in [
        (DowngradePolicy::Silent, None, activate("7.2.0", true)),
        (DowngradePolicy::Ask, None, wait.clone()),
        (DowngradePolicy::Never, None, never(Whose::Site)),
        (DowngradePolicy::Never, Some(DowngradePolicy::Silent), activate("7.2.0", true)),
        (DowngradePolicy::Silent, Some(DowngradePolicy::Ask), wait),
        (DowngradePolicy::Silent, Some(DowngradePolicy::Never), never(Whose::Machine)),
    ] {
        let mut device = staged("7.3.0", "7.2.0");
        // The upgrade policy has no say in it.
        device.policy = Some(UpgradePolicy::NecessaryAsk);
        device.machine.downgrade = here;
        let mut site = site(Some("7.2.0"));
        chosen(&mut site).downgrade = at_site;
        let order = decide(&site, &with_a_way_back(), &device);
        if matches!(expected, Admission::Refused(_)) {
            assert_eq!(order.decision, Decision::Blocked { reason: Blocked::Held });
            assert!(order.why.contains("policy never goes back from 7.3.0"), "{}", order.why);
            // A server that asks for it all the same is refused.
            let mut forced = order;
            forced.decision = Decision::Required { version: version("7.2.0"), deadline: now() };
            assert_eq!(admit(&with_a_way_back(), &device, &forced, now()), expected);
        } else {
            assert_eq!(admit(&with_a_way_back(), &device, &order, now()), expected, "{at_site:?} {here:?}");
        }
    }
}

#[test]
fn a_window_holds_back_what_is_recommended_but_nobody_stays_cut_off_for_it() {
    let catalog = two_minors();
    let (mut relaxed, mut urgent) = (site(Some("7.2.0")), site(Some("7.3.0")));
    for site in [&mut relaxed, &mut urgent] {
        chosen(site).policy = UpgradePolicy::Silent;
        chosen(site).windows = saturday_night();
    }
    let opens = time("2026-03-07T01:00:00Z");
    let device = staged("7.2.0", "7.2.1");
    let order = decide(&relaxed, &catalog, &device);
    let waiting = Admission::Wait { version: version("7.2.1"), until: opens };
    assert_eq!(admit(&catalog, &device, &order, now()), waiting);
    assert_eq!(look_again(&device, &order, now()), Some(opens));
    assert_eq!(admit(&catalog, &device, &order, opens), activate("7.2.1", true));
    assert_eq!(
        admit(&catalog, &device, &order, time("2026-03-07T04:00:00Z")),
        Admission::Wait { version: version("7.2.1"), until: time("2026-03-14T01:00:00Z") }
    );

    let device = staged("7.2.0", "7.3.0");
    assert_eq!(admit(&catalog, &device, &decide(&urgent, &catalog, &device), now()), activate("7.3.0", true));
    assert!(matches!(
        admit(&catalog, &self::device(None), &decide(&urgent, &catalog, &self::device(None)), now()),
        Admission::Stage(_)
    ));
}

#[test]
fn a_window_for_all_ends_at_the_deadline_and_preflight_says_who_would_wait() {
    let catalog = two_minors();
    let mut site = site(Some("7.3.0"));
    chosen(&mut site).policy = UpgradePolicy::Silent;
    chosen(&mut site).windows = Windows { required_too: true, ..saturday_night() };
    let mut device = staged("7.2.0", "7.3.0");
    let order = decide(&site, &catalog, &device);
    let deadline = time("2026-03-02T12:00:00Z");
    let waiting = Admission::Wait { version: version("7.3.0"), until: time("2026-03-07T01:00:00Z") };
    assert_eq!(admit(&catalog, &device, &order, now()), waiting);
    assert_eq!(look_again(&device, &order, now()), Some(deadline));
    assert_eq!(admit(&catalog, &device, &order, deadline), activate("7.3.0", true));
    let predict = |device: &Device| {
        readiness(&ProductId::connector(), &version("7.3.0"), &site, &catalog, device, now(), None, now(), 1)
    };
    assert_eq!(predict(&device), Readiness::WouldWait { staged: true, until: deadline });
    // The machine's own windows go first: it has none of its own here, which is "at any time".
    device.machine.windows = Some(Windows::default());
    assert_eq!(predict(&device), Readiness::Ready { staged: true });
}

#[test]
fn an_agreement_waits_for_the_window_like_everything_else() {
    let catalog = two_minors();
    let mut site = site(Some("7.2.0"));
    chosen(&mut site).policy = UpgradePolicy::Ask;
    chosen(&mut site).windows = saturday_night();
    let mut device = staged("7.2.0", "7.2.1");
    let order = decide(&site, &catalog, &device);
    assert!(matches!(admit(&catalog, &device, &order, now()), Admission::AwaitConsent { may_refuse: true, .. }));
    state(&mut device).consented = Some(version("7.2.1"));
    assert!(matches!(admit(&catalog, &device, &order, now()), Admission::Wait { .. }));
    assert_eq!(admit(&catalog, &device, &order, time("2026-03-07T01:00:00Z")), activate("7.2.1", true));
}

#[test]
fn the_deadline_counts_from_the_first_question_and_then_nobody_is_asked() {
    let catalog = two_minors();
    for policy in [UpgradePolicy::Ask, UpgradePolicy::AskMustAccept, UpgradePolicy::NecessaryAsk] {
        let mut site = site(Some("7.3.0"));
        chosen(&mut site).policy = policy;
        chosen(&mut site).grace_seconds = Some(3600);
        let mut device = staged("7.2.0", "7.3.0");
        let order = decide(&site, &catalog, &device);
        let deadline = |order: &Directive| match order.decision {
            Decision::Required { deadline, .. } => deadline,
            _ => panic!("{order:?}"),
        };
        assert_eq!(deadline(&order), time("2026-03-01T13:00:00Z"));
        assert!(matches!(admit(&catalog, &device, &order, now()), Admission::AwaitConsent { .. }));
        // Asked half an hour ago: the deadline stands, however often the server is asked again.
        state(&mut device).put_off_since = Some(time("2026-03-01T11:30:00Z"));
        let order = decide(&site, &catalog, &device);
        assert_eq!(deadline(&order), time("2026-03-01T12:30:00Z"));
        assert_eq!(
            admit(&catalog, &device, &order, time("2026-03-01T12:30:00Z")),
            activate("7.3.0", true),
            "{policy:?}"
        );
        // A device whose clock is ahead gains nothing by it.
        state(&mut device).put_off_since = Some(time("2036-03-01T11:30:00Z"));
        assert_eq!(deadline(&decide(&site, &catalog, &device)), time("2026-03-01T13:00:00Z"));
    }
}

/// 7.3.0 needs 7.2, 7.2.0 and 7.2.1 need 7.1.
fn with_barriers() -> Catalog {
    let step = |of: &str, server: &str, from: &str| {
        let mut r = release(of, server);
        r.upgrades_from = Some(version(from));
        r
    };
    catalog([
        release("7.1.0", ">=7.1, <7.2"),
        step("7.2.0", ">=7.2, <7.3", "7.1.0"),
        step("7.2.1", ">=7.2, <7.3", "7.1.0"),
        step("7.3.0", ">=7.3, <7.4", "7.2.0"),
    ])
}

#[test]
fn a_version_behind_barriers_is_reached_in_steps_that_are_all_made_ready_before() {
    let catalog = with_barriers();
    let mut ahead = site(Some("7.1.0"));
    chosen(&mut ahead).next = Some(version("7.3.0"));
    let mut device = device(Some("7.1.0"));
    for step in ["7.2.1", "7.3.0"] {
        let order = decide(&ahead, &catalog, &device);
        assert_eq!(order.decision, Decision::Stage { version: version(step) });
        assert_eq!(order.terms.way.len(), 1, "the other step is kept: {order:?}");
        let Admission::Stage(entry) = admit(&catalog, &device, &order, now()) else { panic!("{step} is staged") };
        state(&mut device).staged.push(entry.release.version);
    }
    let predicted =
        readiness(&ProductId::connector(), &version("7.3.0"), &ahead, &catalog, &device, now(), None, now(), 1);
    assert_eq!(predicted, Readiness::Ready { staged: true });

    let flipped = site(Some("7.3.0"));
    for (from, to) in [("7.1.0", "7.2.1"), ("7.2.1", "7.3.0")] {
        assert_eq!(state(&mut device).installed, Some(version(from)));
        let order = decide(&flipped, &catalog, &device);
        assert_eq!(admit(&catalog, &device, &order, now()), activate(to, true), "{order:?}");
        state(&mut device).installed = Some(version(to));
    }
    assert_eq!(decide(&flipped, &catalog, &device).decision, Decision::Current);
}

#[test]
fn a_step_cannot_be_skipped_only_because_it_is_staged() {
    let catalog = with_barriers();
    let mut device = staged("7.1.0", "7.2.1");
    state(&mut device).staged.push(version("7.3.0"));
    let mut order = decide(&site(Some("7.3.0")), &catalog, &device);
    order.decision = Decision::Required { version: version("7.3.0"), deadline: now() };
    let barrier = Refusal::Barrier { version: version("7.3.0"), oldest: version("7.2.0") };
    assert_eq!(admit(&catalog, &device, &order, now()), Admission::Refused(barrier));
}

#[test]
fn a_step_in_between_that_was_rolled_back_or_is_held_is_gone_around_or_blocks_the_way() {
    let catalog = with_barriers();
    let mut device = device(Some("7.1.0"));
    state(&mut device).failed.push(failed("7.2.1"));
    let order = decide(&site(Some("7.3.0")), &catalog, &device);
    assert_eq!(order.decision.version(), Some(&version("7.2.0")));
    device.machine.holds.push("connector 7.2".parse().unwrap());
    let order = decide(&site(Some("7.3.0")), &catalog, &device);
    assert_eq!(order.decision, Decision::Blocked { reason: Blocked::Unreachable });
}

#[test]
fn a_withdrawn_version_is_never_installed_anew_and_is_left() {
    let mut newer = release("7.2.2", ">=7.2, <7.3");
    newer.withdraws = vec![version("7.2.1")];
    let mut with_fix = two_minors();
    with_fix.entries.push(entry(newer));
    let relaxed = site(Some("7.2.0"));
    // Not for someone who could go there.
    assert_eq!(decide(&relaxed, &with_fix, &device(Some("7.2.0"))).decision, recommended("7.2.2"));
    // Not even if it is staged, or a server asks for it.
    let ready = staged("7.2.0", "7.2.1");
    let mut forced = decide(&relaxed, &with_fix, &ready);
    forced.decision = Decision::Required { version: version("7.2.1"), deadline: now() };
    let withdrawn = Refusal::Withdrawn { version: version("7.2.1") };
    assert_eq!(admit(&with_fix, &ready, &forced, now()), Admission::Refused(withdrawn));
    // Who has it leaves it, with a deadline, though it still works, and whatever the policy.
    let mut site = relaxed;
    chosen(&mut site).policy = UpgradePolicy::NecessaryAsk;
    let mut has_it = staged("7.2.1", "7.2.2");
    let order = decide(&site, &with_fix, &has_it);
    assert_eq!((&order.decision, order.terms.by), (&recommended("7.2.2"), Some(time("2026-03-02T12:00:00Z"))));
    assert!(order.why.contains("withdrawn 7.2.1"), "{}", order.why);
    assert!(matches!(admit(&with_fix, &has_it, &order, now()), Admission::AwaitConsent { may_refuse: false, .. }));
    state(&mut has_it).put_off_since = Some(time("2026-02-28T12:00:00Z"));
    let order = decide(&site, &with_fix, &has_it);
    assert_eq!(admit(&with_fix, &has_it, &order, now()), activate("7.2.2", true));
}

#[test]
fn a_withdrawn_version_without_a_successor_is_left_downwards_where_that_is_permitted() {
    let mut old = release("7.2.0", ">=7.2, <7.3");
    old.withdraws = vec![version("7.2.1")];
    let mut permitted = old.clone();
    permitted.downgrade_from = Some("=7.2.1".parse().unwrap());
    let bad = release("7.2.1", ">=7.2, <7.3");
    let site = site(Some("7.2.0"));
    let stuck = decide(&site, &catalog([old, bad.clone()]), &device(Some("7.2.1")));
    assert_eq!(stuck.decision, Decision::Current);
    assert!(stuck.why.contains("withdrawn 7.2.1, but offers nothing"), "{}", stuck.why);
    let catalog = catalog([permitted, bad]);
    let device = staged("7.2.1", "7.2.0");
    let order = decide(&site, &catalog, &device);
    assert_eq!(order.decision, recommended("7.2.0"));
    assert_eq!(admit(&catalog, &device, &order, now()), activate("7.2.0", true));
}

#[test]
fn a_version_below_the_vendors_floor_is_left_too() {
    let mut fixed = release("7.2.1", ">=7.2, <7.3");
    fixed.floor = Some(version("7.2.1"));
    let catalog = catalog([release("7.2.0", ">=7.2, <7.3"), fixed]);
    let mut site = site(Some("7.2.0"));
    chosen(&mut site).policy = UpgradePolicy::NecessarySilent;
    let device = staged("7.2.0", "7.2.1");
    let order = decide(&site, &catalog, &device);
    assert_eq!(admit(&catalog, &device, &order, now()), activate("7.2.1", true), "{order:?}");
}

fn held(what: &str, pcs: Option<&str>, until: Option<Timestamp>) -> SiteHold {
    SiteHold {
        what: what.parse().unwrap(),
        pcs: pcs.map(|p| vec![p.to_owned()]),
        until,
        reason: "printing breaks".into(),
    }
}

#[test]
fn a_hold_of_the_site_is_for_what_it_names() {
    let (past, future) = (time("2026-03-01T11:00:00Z"), time("2026-03-01T13:00:00Z"));
    for (hold, expected) in [
        (held("connector", None, None), Decision::Hold),
        (held("*", None, None), Decision::Hold),
        (held("connector", Some("pc-*"), None), Decision::Hold),
        (held("connector", Some("lab-*"), None), recommended("7.2.1")),
        (held("connector 7.2.1", None, Some(future)), Decision::Stage { version: version("7.3.0") }),
        (held("connector 7.2.1", None, Some(past)), recommended("7.2.1")),
        (held("updater", None, None), recommended("7.2.1")),
    ] {
        let mut site = site(Some("7.2.0"));
        let words = hold.words();
        chosen(&mut site).holds = vec![hold];
        let order = decide(&site, &two_minors(), &device(Some("7.2.0")));
        assert_eq!(order.decision, expected, "{words}");
        if expected == Decision::Hold {
            assert!(order.why.contains("printing breaks"), "{}", order.why);
        }
    }
    let mut site = site(Some("7.3.0"));
    chosen(&mut site).holds = vec![held("connector 7.3.0", None, None)];
    let order = decide(&site, &two_minors(), &device(Some("7.2.0")));
    assert_eq!(order.decision, Decision::Blocked { reason: Blocked::Held });
}

#[test]
fn a_machines_own_hold_is_known_to_the_server_and_kept_against_it() {
    let mut here = staged("7.2.0", "7.2.1");
    here.machine.holds = vec!["connector 7.2.1".parse().unwrap()];
    let order = decide(&site(Some("7.2.0")), &two_minors(), &here);
    assert_ne!(order.decision.version(), Some(&version("7.2.1")));
    let ignorant = decide(&site(Some("7.2.0")), &two_minors(), &device(Some("7.2.0")));
    let refusal = Refusal::Held { version: version("7.2.1"), hold: "connector =7.2.1".into() };
    assert_eq!(admit(&two_minors(), &here, &ignorant, now()), Admission::Refused(refusal));
    here.machine.holds = vec!["*".parse().unwrap()];
    let order = decide(&site(Some("7.3.0")), &two_minors(), &here);
    assert_eq!(order.decision, Decision::Hold);
    let predicted = readiness(
        &ProductId::connector(),
        &version("7.3.0"),
        &site(Some("7.2.0")),
        &two_minors(),
        &here,
        now(),
        None,
        now(),
        1,
    );
    assert!(predicted.is_cut_off(), "{predicted:?}");
}

#[test]
fn a_version_that_was_rolled_back_comes_again_after_a_wait_that_doubles() {
    let days = |n: i64| now().checked_add(jiff::SignedDuration::from_hours(24 * n)).unwrap();
    for (times, wait) in [(1, 7), (2, 14), (3, 28), (4, 56), (9, 56)] {
        let mut device = device(Some("7.2.1"));
        let mut failure = failed("7.3.0");
        failure.times = times;
        state(&mut device).failed.push(failure);
        let at =
            |now| directive(&ProductId::connector(), &site(Some("7.3.0")), &two_minors(), &device, now, 1).decision;
        let just_before = days(wait).checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
        assert_eq!(at(just_before), Decision::Blocked { reason: Blocked::FailedHere }, "{times}");
        assert_eq!(at(days(wait)).version(), Some(&version("7.3.0")), "{times}");
    }
}

#[test]
fn an_administrators_wish_for_another_try_counts_for_one_failure_only() {
    let mut device = staged("7.2.1", "7.3.0");
    state(&mut device).failed.push(failed("7.3.0"));
    let mut site = site(Some("7.3.0"));
    let failure = Again { version: version("7.3.0"), failed_at: now() };
    chosen(&mut site).retries = vec![Retry { device: "pc-2".into(), failure: failure.clone() }];
    assert_eq!(decide(&site, &two_minors(), &device).decision, Decision::Blocked { reason: Blocked::FailedHere });
    chosen(&mut site).retries = vec![Retry { device: "pc-1".into(), failure }];
    let order = decide(&site, &two_minors(), &device);
    assert_eq!(admit(&two_minors(), &device, &order, now()), activate("7.3.0", true));
    // It fails again: the same wish does not bring it back.
    state(&mut device).failed[0].at = time("2026-03-01T12:05:00Z");
    assert_eq!(decide(&site, &two_minors(), &device).decision, Decision::Blocked { reason: Blocked::FailedHere });
    assert!(matches!(admit(&two_minors(), &device, &order, now()), Admission::Refused(Refusal::FailedHere { .. })));
    // The machine's own administrator needs no server for it.
    state(&mut device).failed[0].again = true;
    let order = decide(&site, &two_minors(), &device);
    assert_eq!(admit(&two_minors(), &device, &order, now()), activate("7.3.0", true));
}

#[test]
fn each_decision_is_explained_by_what_is_done() {
    let mut lines = Vec::new();
    let mut say = |site: &Site, catalog: &Catalog, device: &Device| {
        let order = decide(site, catalog, device);
        let told = explain(device, &order, &admit(catalog, device, &order, now()));
        let until = told.until.map_or(String::new(), |at| format!(" [until {at}]"));
        lines.push(format!("{:?}: {}{until}", told.by, told.sentence()));
    };
    let (two, back) = (two_minors(), with_a_way_back());
    let relaxed = site(Some("7.2.0"));
    say(&relaxed, &two, &device(Some("7.2.0")));
    say(&relaxed, &two, &staged("7.2.0", "7.2.1"));
    let mut machine = staged("7.2.0", "7.2.1");
    machine.policy = Some(UpgradePolicy::NecessaryAsk);
    say(&relaxed, &two, &machine);
    machine.policy = Some(UpgradePolicy::Ask);
    say(&relaxed, &two, &machine);
    state(&mut machine).consented = Some(version("7.2.1"));
    say(&relaxed, &two, &machine);
    let mut windowed = site(Some("7.2.0"));
    chosen(&mut windowed).windows = saturday_night();
    say(&windowed, &two, &staged("7.2.0", "7.2.1"));
    let urgent = site(Some("7.3.0"));
    let mut asking = staged("7.2.0", "7.3.0");
    asking.policy = Some(UpgradePolicy::AskMustAccept);
    say(&urgent, &two, &asking);
    say(&relaxed, &back, &staged("7.3.0", "7.2.0"));
    say(&urgent, &with_barriers(), &device(Some("7.1.0")));
    let mut broken = device(Some("7.2.1"));
    state(&mut broken).failed.push(failed("7.3.0"));
    say(&urgent, &two, &broken);
    let mut full = device(Some("7.2.0"));
    full.disk_free = Some(1);
    say(&urgent, &two, &full);
    let mut holding = device(Some("7.2.0"));
    holding.machine.holds = vec!["connector 7.2.1".parse().unwrap()];
    say(&relaxed, &catalog([release("7.2.0", ">=7.2, <7.3"), release("7.2.1", ">=7.2, <7.3")]), &holding);
    assert_eq!(lines.join("\n"), include_str!("policies_explained.txt").trim_end());
}
