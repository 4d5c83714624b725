use std::collections::BTreeSet;

use protocol::{
    catalog::Release,
    product::{Platform, ProductId},
};

use super::*;

const DRAWING: &str = include_str!("../../../../docs/dev/updater-machine.md");

fn v(minor: u64) -> Version {
    Version::new(7, minor, 0)
}

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn entry(version: Version) -> Box<Entry> {
    let release = Release {
        product: ProductId::connector(),
        version,
        channel: "stable".into(),
        platform: Platform::current(),
        server: "*".parse().unwrap(),
        store: None,
        upgrades_from: None,
        updater: None,
        floor: None,
        downgrade_from: None,
        withdraws: vec![],
    };
    Box::new(Entry { target: "connector/c.lpk".into(), length: 1, sha256: "00".into(), release })
}

/// One state of each kind, and variants where they behave differently.
fn states() -> Vec<State> {
    let reason = || "because".to_owned();
    vec![
        State::default(),
        State::Staging { entry: entry(v(3)), failures: 0 },
        State::Staged { version: v(3) },
        State::AwaitingConsent { version: v(3), may_refuse: true },
        State::Activating { version: v(3), previous: Some(v(2)), restart: true, failures: 0 },
        State::Confirming { version: v(3), previous: Some(v(2)), restart: true, doubt: None },
        State::RollingBack { version: v(3), to: Some(v(2)), reason: reason(), failures: 0 },
        State::RolledBack { version: v(3), reason: reason() },
        State::Failed { version: v(3), reason: reason(), failures: 1, retry_at: now() },
    ]
}

/// Everything that can happen, with everything that `admit()` can say.
fn happenings() -> Vec<(Event, Happening)> {
    let mut all: Vec<(Event, Happening)> = vec![
        (Event::Staged, Box::new(State::staged)),
        (Event::StageFailed, Box::new(|s| s.stage_failed("no".into(), now()))),
        (Event::Activated, Box::new(State::activated)),
        (Event::ActivationFailed, Box::new(|s| s.activation_failed("no".into(), now()))),
        (Event::Healthy, Box::new(State::healthy)),
        (Event::Undecided, Box::new(|s| s.undecided("no memory".into()))),
        (Event::Unhealthy, Box::new(|s| s.unhealthy("no".into()))),
        (Event::RolledBack, Box::new(State::rolled_back)),
        (Event::RollBackFailed, Box::new(State::roll_back_failed)),
    ];
    let admissions = [
        Admission::Nothing,
        Admission::Stage(entry(v(3))),
        Admission::Stage(entry(v(4))),
        Admission::Activate { version: v(3), restart: true },
        Admission::AwaitConsent { version: v(3), may_refuse: true },
        Admission::NeedsElevation { version: v(3) },
        Admission::Refused(Refusal::FailedHere { version: v(3), reason: "because".into() }),
        Admission::Refused(Refusal::MetadataExpired { expired: now() }),
    ];
    for admission in admissions {
        for ready in [None, Some(v(3))] {
            let (admission, ready) = (admission.clone(), ready.clone());
            let directed = move |s: State| s.directed(admission.clone(), ready.clone(), Some(v(2)), now());
            all.push((Event::Directed, Box::new(directed)));
        }
    }
    all
}

type Happening = Box<dyn Fn(State) -> Result<Step, Misplaced>>;

#[test]
fn the_table_is_exactly_what_the_machine_does() {
    let mut done = BTreeSet::new();
    for state in states() {
        for (event, happen) in happenings() {
            let from = Phase::of(&state);
            if let Ok((next, _)) = happen(state.clone())
                && Phase::of(&next) != from
            {
                done.insert((from, event, Phase::of(&next)));
            }
        }
    }
    assert_eq!(done, TRANSITIONS.iter().copied().collect());
}

#[test]
fn the_drawing_shows_exactly_the_table() {
    let drawn: BTreeSet<String> =
        DRAWING.lines().map(str::trim).filter(|l| l.contains("-->") && !l.contains("[*]")).map(str::to_owned).collect();
    let table: BTreeSet<String> =
        TRANSITIONS.iter().map(|(from, event, to)| format!("{from:?} --> {to:?}: {event:?}")).collect();
    assert_eq!(drawn, table);
}

#[test]
fn a_switch_under_way_is_never_disturbed() {
    for state in states() {
        let switching = matches!(Phase::of(&state), Phase::Activating | Phase::Confirming | Phase::RollingBack);
        let refused = state.directed(Admission::Nothing, None, None, now()).is_err();
        assert_eq!(refused, switching);
    }
}

#[test]
fn an_upgrade_goes_from_staging_to_a_restart() {
    let (state, effects) = State::default().directed(Admission::Stage(entry(v(3))), None, Some(v(2)), now()).unwrap();
    assert_eq!(effects, [Effect::Stage(entry(v(3)))]);
    let (state, _) = state.staged().unwrap();
    let activate = Admission::Activate { version: v(3), restart: true };
    let (state, effects) = state.directed(activate, Some(v(3)), Some(v(2)), now()).unwrap();
    assert_eq!(effects, [Effect::Activate { version: v(3), previous: Some(v(2)), restart: true }]);
    let (state, effects) = state.activated().unwrap();
    assert_eq!(effects, [Effect::CheckHealth { version: v(3) }]);
    let (state, effects) = state.healthy().unwrap();
    assert_eq!(effects, [Effect::Settle { version: v(3), previous: Some(v(2)), restart: true }]);
    assert_eq!(state, State::default());
}

#[test]
fn an_unhealthy_version_is_left_for_the_one_before_it() {
    let confirming = State::Confirming { version: v(3), previous: Some(v(2)), restart: true, doubt: None };
    let (state, effects) = confirming.unhealthy("exit 1".into()).unwrap();
    assert_eq!(effects, [Effect::RollBack { version: v(3), to: Some(v(2)), reason: "exit 1".into() }]);
    let (state, _) = state.roll_back_failed().unwrap();
    assert_eq!(state.unfinished(), Some(effects[0].clone()), "a roll-back is never given up");
    let (state, effects) = state.rolled_back().unwrap();
    assert_eq!((state.device_state(), effects), (DeviceState::RolledBack, vec![]));
}

#[test]
fn a_version_that_cannot_be_judged_yet_stays_and_people_are_told_why() {
    let confirming = State::Confirming { version: v(3), previous: Some(v(2)), restart: true, doubt: None };
    let (state, effects) = confirming.clone().undecided("no memory".into()).unwrap();
    assert_eq!((Phase::of(&state), effects), (Phase::Confirming, vec![]));
    assert!(state.detail().unwrap().ends_with("cannot be told yet: no memory"));
    assert_eq!(state.healthy().unwrap(), confirming.healthy().unwrap());
}

#[test]
fn staging_that_fails_is_tried_again_later_and_later() {
    let mut state = State::Staging { entry: entry(v(3)), failures: 0 };
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (failed, _) = state.stage_failed("broke off".into(), now()).unwrap();
        let at = failed.retry_at().unwrap();
        waits.push(at.duration_since(now()).as_secs());
        let early = failed.clone().directed(Admission::Stage(entry(v(3))), None, None, now()).unwrap();
        assert_eq!(early, (failed.clone(), vec![]), "not before its time");
        let (again, effects) = failed.directed(Admission::Stage(entry(v(3))), None, None, at).unwrap();
        assert_eq!(effects.len(), 1);
        state = again;
    }
    assert!(waits.is_sorted());
    assert_eq!((waits[0], waits[1], waits[19]), (5, 10, 5 << 9));
}

#[test]
fn another_version_does_not_wait_for_the_one_that_failed() {
    let failed = State::Failed { version: v(3), reason: "no".into(), failures: 9, retry_at: Timestamp::MAX };
    let (_, effects) = failed.directed(Admission::Stage(entry(v(4))), None, None, now()).unwrap();
    assert_eq!(effects, [Effect::Stage(entry(v(4)))]);
}

#[test]
fn a_switch_does_not_wait_for_a_download() {
    let staging = State::Staging { entry: entry(v(4)), failures: 0 };
    let activate = Admission::Activate { version: v(3), restart: true };
    let (_, effects) = staging.directed(activate, Some(v(3)), Some(v(2)), now()).unwrap();
    assert!(matches!(&effects[..], [Effect::StopStaging, Effect::Activate { .. }]));
}

#[test]
fn a_start_after_a_kill_goes_on_where_it_was() {
    let switched = Recovered::Switched { version: v(3), previous: Some(v(2)), restart: true };
    let (state, effects) = State::recovered(switched);
    assert_eq!(Phase::of(&state), Phase::Confirming);
    assert_eq!(effects, [Effect::CheckHealth { version: v(3) }]);
    let broken = Recovered::BrokenActive { version: v(3), to: Some(v(2)), reason: "exit 1".into() };
    let (state, effects) = State::recovered(broken);
    assert_eq!(Phase::of(&state), Phase::RollingBack);
    assert!(matches!(&effects[..], [Effect::RollBack { .. }]));
}

#[test]
fn a_switch_that_the_disk_refuses_is_tried_again_later_and_later() {
    let activate = || Admission::Activate { version: v(3), restart: true };
    let (mut state, _) = State::default().directed(activate(), Some(v(3)), Some(v(2)), now()).unwrap();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (failed, _) = state.activation_failed("read-only".into(), now()).unwrap();
        let at = failed.retry_at().unwrap();
        waits.push(at.duration_since(now()).as_secs());
        (state, _) = failed.directed(activate(), Some(v(3)), Some(v(2)), at).unwrap();
    }
    assert_eq!((waits[0], waits[1], waits[11]), (5, 10, 5 << 9));
}

#[test]
fn staging_is_not_given_up_for_the_room_that_it_takes_itself() {
    let staging = State::Staging { entry: entry(v(3)), failures: 0 };
    let full = Admission::Refused(Refusal::DiskFull { needed: 400, free: 300 });
    assert_eq!(staging.clone().directed(full.clone(), None, Some(v(2)), now()).unwrap(), (staging, vec![]));
    let (state, _) = State::default().directed(full, None, Some(v(2)), now()).unwrap();
    assert!(state.detail().unwrap().contains("disk space"), "it is not begun either");
}

#[test]
fn an_old_failure_does_not_hide_what_stands_in_the_way_of_the_next_version() {
    let broken = State::RolledBack { version: v(3), reason: "exit 7".into() };
    let blocked = Admission::Refused(Refusal::Blocked("the release was rolled back on this machine".into()));
    assert_eq!(broken.clone().directed(blocked, None, Some(v(2)), now()).unwrap().0, broken);
    let full = Admission::Refused(Refusal::DiskFull { needed: 400, free: 300 });
    let (state, _) = broken.directed(full, None, Some(v(2)), now()).unwrap();
    assert!(state.detail().unwrap().contains("disk space"));
}
