//! The driver on a real disk with real programs; only the server's answers are given by this test, from the same
//! `directive()` that the server calls.

use std::{
    fs::{self, File},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use lockstep_updater::{
    driver::{Event, Published, Why},
    platform,
    record::RecordFile,
    slots::RealDisk,
};
use protocol::{Timestamp, device::DeviceState, policy::UpgradePolicy, product::ProductId, site::SiteProduct};

use crate::{
    driver_rig::{BROKEN, Rig, WORKS, World, installed, restart},
    fixture::{Pc, connector, eventually, needs_root, version},
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_version_is_staged_before_the_flip_and_activated_by_it_at_once() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    assert_eq!(rig.versions(), [version("7.2.0"), version("7.3.0")]);
    eventually("the server knows it", || rig.last_report().product(&connector()).state == DeviceState::Staged).await;
    assert_eq!(installed(&rig.now()), Some(version("7.2.0")), "nothing is switched before the flip");

    let began = Instant::now();
    rig.flip("7.3.0").await;
    rig.until("running programs are told", |p| restart(p) == Some(version("7.3.0"))).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(rig.pc.current(), Some(version("7.3.0")));
    eventually("the server knows it", || {
        let state = rig.last_report().product(&connector());
        (state.installed, state.state) == (Some(version("7.3.0")), DeviceState::Idle)
    })
    .await;
}

#[tokio::test]
async fn a_version_that_fails_its_self_check_is_rolled_back_and_not_tried_again() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", BROKEN)]).await;
    rig.state(DeviceState::Staged).await;
    rig.flip("7.3.0").await;
    rig.state(DeviceState::RolledBack).await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));
    assert_ne!(restart(&rig.now()), Some(version("7.3.0")), "no running program is disturbed");
    eventually("the server knows it", || {
        let failed = rig.last_report().product(&connector()).failed;
        failed.len() == 1 && failed[0].version == version("7.3.0") && failed[0].reason.contains('7')
    })
    .await;

    let rig = rig.restart().await;
    rig.push().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.now().products[&connector()].state, DeviceState::RolledBack);
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));

    // The vendor's next release is taken.
    let (entry, path) = rig.pc.package("7.3.1", WORKS);
    rig.world.packages.lock().unwrap().insert(entry.target.clone(), path);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.push().await;
    rig.until("7.3.1 is active", |p| restart(p) == Some(version("7.3.1"))).await;
    assert_eq!(rig.pc.current(), Some(version("7.3.1")));
}

#[tokio::test]
async fn a_package_that_ends_the_service_each_time_is_left_alone_and_tried_again_later() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    let (entry, path) = rig.pc.package("7.3.0", WORKS);
    let tries = rig.pc.layout.downloads().join(format!("{}.tries", entry.sha256));
    fs::create_dir_all(rig.pc.layout.downloads()).unwrap();
    fs::write(&tries, "3\n").unwrap();
    rig.world.publish(entry, path);
    rig.push().await;
    rig.state(DeviceState::Failed).await;
    let detail = rig.now().products[&connector()].detail.clone().unwrap();
    assert!(detail.contains("the service ended 3 times while it unpacked this package"), "{detail}");
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));

    File::options().write(true).open(&tries).unwrap().set_modified(SystemTime::now() - HOUR).unwrap();
    let rig = rig.restart().await;
    rig.push().await;
    rig.state(DeviceState::Staged).await;
    assert!(!tries.exists());
}

#[tokio::test]
async fn a_computer_on_which_no_version_works_condemns_none_and_hides_none() {
    // As where a user has taken all processes, or all memory: 7.2.0 has worked, and does not now either.
    let short = tempfile::tempdir_in("/tmp").unwrap();
    platform::set_mode(short.path(), 0o755).unwrap();
    let flag = short.path().join("short");
    let works = format!("[ ! -e {} ] || exit 101", flag.display());
    for (script, after, state) in [(&*works, "7.3.0", DeviceState::Idle), (BROKEN, "7.2.0", DeviceState::RolledBack)] {
        let rig = Rig::new(&[("7.2.0", &works), ("7.3.0", script)]).await;
        rig.state(DeviceState::Staged).await;
        fs::write(&flag, "").unwrap();
        rig.flip("7.3.0").await;
        let doubted = |p: &Published| {
            let detail = p.products[&connector()].detail.clone().unwrap_or_default();
            detail.contains("cannot be told yet") && detail.contains("7.2.0, which worked, fails as well")
        };
        rig.until("it is doubted", doubted).await;
        assert_eq!(rig.now().products[&connector()].failed, []);
        assert_eq!(restart(&rig.now()), None, "nobody is moved to a version that is not known to work");

        fs::remove_file(&flag).unwrap();
        rig.until("it is decided", |p| installed(p) == Some(version(after)) && p.products[&connector()].state == state)
            .await;
        assert_eq!(restart(&rig.now()) == Some(version("7.3.0")), after == "7.3.0");
    }
}

#[tokio::test]
async fn killed_between_the_switch_and_the_self_check_a_start_checks_it_then() {
    for (script, after, state) in [(WORKS, "7.3.0", DeviceState::Idle), (BROKEN, "7.2.0", DeviceState::RolledBack)] {
        let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", script)]).await;
        rig.state(DeviceState::Staged).await;
        rig.running.abort();
        rig.pc.slots.activate(&connector(), Some(&version("7.3.0")), Some(&version("7.2.0")), true, 5).unwrap();
        let rig = rig.restart().await;
        rig.until("it is decided", |p| installed(p) == Some(version(after)) && p.products[&connector()].state == state)
            .await;
        assert_eq!(restart(&rig.now()) == Some(version("7.3.0")), after == "7.3.0");
    }
}

#[tokio::test]
async fn killed_between_the_verdict_and_the_roll_back_a_start_rolls_back() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", BROKEN)]).await;
    rig.state(DeviceState::Staged).await;
    rig.running.abort();
    rig.pc.slots.activate(&connector(), Some(&version("7.3.0")), Some(&version("7.2.0")), true, 5).unwrap();
    let file = RecordFile::new(rig.pc.layout.state(), Arc::new(RealDisk));
    let mut record = file.read().unwrap();
    record.product_mut(&connector()).remember_failure(version("7.3.0"), "exit 7".into(), Timestamp::now());
    file.write(&record).unwrap();
    let rig = rig.restart().await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));
    assert_eq!(rig.now().products[&connector()].state, DeviceState::RolledBack);
}

#[tokio::test]
async fn a_roll_back_that_the_journal_has_forgotten_still_finds_the_version_before() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", BROKEN)]).await;
    rig.state(DeviceState::Staged).await;
    rig.running.abort();
    rig.pc.slots.activate(&connector(), Some(&version("7.3.0")), Some(&version("7.2.0")), true, 5).unwrap();
    rig.pc.slots.settle(&connector()).unwrap();
    let file = RecordFile::new(rig.pc.layout.state(), Arc::new(RealDisk));
    let mut record = file.read().unwrap();
    record.product_mut(&connector()).remember_failure(version("7.3.0"), "exit 7".into(), Timestamp::now());
    record.product_mut(&connector()).previous = None;
    file.write(&record).unwrap();
    let rig = rig.restart().await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));
    assert_eq!(rig.now().products[&connector()].state, DeviceState::RolledBack);
}

#[tokio::test]
async fn a_clock_that_was_ahead_at_the_start_and_was_put_right_is_believed_then() {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    fn clock() -> Timestamp {
        let first = LOOKS.fetch_add(1, Ordering::SeqCst) == 0;
        if first { "2090-01-01T00:00:00Z".parse().unwrap() } else { Timestamp::now() }
    }
    needs_root();
    assert!(clock() > Timestamp::now());
    LOOKS.store(0, Ordering::SeqCst);
    let world = Arc::new(World::default());
    *world.expires.lock().unwrap() = "2089-01-01T00:00:00Z".parse().unwrap();
    let rig = Rig::start_with_clock(Pc::new(), world, clock).await;
    rig.push().await;
    rig.push().await;
    rig.until("the server is reached", |p| p.last_contact.is_some()).await;
    rig.until("the time is right", |p| p.last_contact.is_some_and(|at| at <= Timestamp::now())).await;
}

#[tokio::test]
async fn the_version_before_is_kept_until_the_new_one_is_confirmed_and_nothing_runs_it() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    // A program of the old version still runs: a copy of a real one, so that /proc shows its file.
    let sleeper = rig.pc.layout.version(&connector(), &version("7.2.0")).join("bin/sleeper");
    std::fs::copy("/bin/sleep", &sleeper).unwrap();
    let mut running = std::process::Command::new(&sleeper).arg("1000").spawn().unwrap();

    rig.flip("7.3.0").await;
    rig.until("it is active", |p| restart(p) == Some(version("7.3.0"))).await;
    rig.events.send(Event::Wanted(Why::Asked)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.versions().len(), 2, "silence removes nothing");

    rig.confirm("7.2.0").await;
    rig.confirm("7.9.0").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.versions().len(), 2, "only the active version can be confirmed");

    rig.confirm("7.3.0").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.versions().len(), 2, "a process still runs the old one");

    running.kill().unwrap();
    running.wait().unwrap();
    rig.events.send(Event::Wanted(Why::Asked)).await.unwrap();
    eventually("the old version is removed", || rig.versions() == [version("7.3.0")]).await;
}

#[tokio::test]
async fn where_the_policy_asks_the_users_consent_decides() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    assert!(rig.consent().await.is_err(), "nothing waits yet");
    rig.policy(UpgradePolicy::AskMustAccept);
    rig.flip("7.3.0").await;
    rig.state(DeviceState::AwaitingConsent).await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));
    assert!(rig.consent().await.unwrap().contains("7.3.0"));
    rig.until("it is active", |p| restart(p) == Some(version("7.3.0"))).await;
    assert!(rig.consent().await.is_err(), "nothing waits any more");
}

#[tokio::test]
async fn a_silent_switch_tells_nobody_until_a_user_wants_it() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    rig.policy(UpgradePolicy::SilentAtStart);
    let (entry, path) = rig.pc.package("7.2.1", WORKS);
    rig.world.packages.lock().unwrap().insert(entry.target.clone(), path);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.push().await;
    rig.until("it is switched", |p| installed(p) == Some(version("7.2.1"))).await;
    rig.state(DeviceState::Idle).await;
    assert_eq!(restart(&rig.now()), None, "a recommended version waits for the program's next start");
    assert!(rig.consent().await.unwrap().contains("restarts as 7.2.1"));
    rig.until("running programs are told", |p| restart(p) == Some(version("7.2.1"))).await;
    assert!(rig.consent().await.is_err());
}

#[tokio::test]
async fn what_was_staged_while_metadata_was_fresh_is_activated_after_it_expired_and_nothing_new_is_staged() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    let (entry, path) = rig.pc.package("7.4.0", WORKS);
    rig.world.packages.lock().unwrap().insert(entry.target.clone(), path);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.push().await;
    rig.until("7.4.0 is staged", |p| p.products[&connector()].staged.len() == 2).await;

    // A new release that nobody could verify in time.
    let (entry, _) = rig.pc.package("7.5.0", WORKS);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    *rig.world.expires.lock().unwrap() = Timestamp::now();
    let rig = rig.restart().await;
    rig.flip("7.4.0").await;
    rig.until("7.4.0 is active", |p| installed(p) == Some(version("7.4.0"))).await;
    rig.until("it says so", |p| p.problem.as_ref().is_some_and(|p| p.contains("metadata expired"))).await;
    rig.until("the administrator is told", |p| {
        p.products[&connector()].detail.as_ref().is_some_and(|d| d.contains("metadata expired"))
    })
    .await;
    assert!(!rig.versions().contains(&version("7.5.0")));
}

#[tokio::test]
async fn a_package_that_cannot_be_had_is_reported_and_the_old_version_goes_on() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    let (entry, _) = rig.pc.package("7.3.0", WORKS);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.push().await;
    rig.state(DeviceState::Failed).await;
    eventually("the server knows it", || {
        rig.last_report().product(&connector()).detail.is_some_and(|d| d.contains("no such package"))
    })
    .await;
    assert_eq!(rig.versions(), [version("7.2.0")]);
}

#[tokio::test]
async fn a_package_for_another_version_than_its_signed_facts_is_refused() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    let (entry, _) = rig.pc.package("7.3.0", WORKS);
    let old = rig.pc.dir.path().join("7.2.0.lpk");
    rig.world.packages.lock().unwrap().insert(entry.target.clone(), old);
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.push().await;
    rig.state(DeviceState::Failed).await;
    assert!(rig.now().why[&connector()].contains("it holds connector 7.2.0"));
    assert_eq!(rig.versions(), [version("7.2.0")]);
}

#[tokio::test]
async fn a_server_that_is_away_changes_nothing_and_is_said_to_be_away() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    *rig.world.away.lock().unwrap() = true;
    rig.push().await;
    rig.until("it says so", |p| p.problem.as_deref() == Some("away")).await;
    assert_eq!(rig.now().products[&connector()].state, DeviceState::Staged);
    *rig.world.away.lock().unwrap() = false;
    rig.flip("7.3.0").await;
    rig.until("it goes on", |p| installed(p) == Some(version("7.3.0")) && p.problem.is_none()).await;
}

#[tokio::test]
async fn the_updater_reports_itself_and_refuses_to_replace_itself() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    let mut entry = rig.world.catalog.lock().unwrap().entries[0].clone();
    entry.target = "updater/updater-0.2.0.lpk".into();
    entry.release.product = ProductId::updater();
    entry.release.version = version("0.2.0");
    entry.release.server = "*".parse().unwrap();
    rig.world.catalog.lock().unwrap().entries.push(entry);
    rig.world.site.lock().unwrap().products.insert(ProductId::updater(), SiteProduct::default());
    rig.push().await;
    eventually("the server knows it", || {
        let state = rig.last_report().product(&ProductId::updater());
        state.installed == Some(version("0.1.0")) && state.detail.is_some_and(|d| d.contains("0.2.0 is refused"))
    })
    .await;
}

/// The catalog's 7.2.0 may replace 7.3 from now on.
fn permit_going_back(rig: &Rig) {
    let mut catalog = rig.world.catalog.lock().unwrap();
    let old = catalog.entries.iter_mut().find(|e| e.release.version == version("7.2.0")).unwrap();
    old.release.downgrade_from = Some(">=7.3, <7.4".parse().unwrap());
}

#[tokio::test]
async fn when_the_server_goes_back_programs_are_taken_along_where_the_vendor_permits_it() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    rig.flip("7.3.0").await;
    rig.until("7.3.0 is active", |p| restart(p) == Some(version("7.3.0"))).await;
    rig.confirm("7.3.0").await;
    eventually("7.2.0 is let go", || rig.versions() == [version("7.3.0")]).await;

    rig.flip("7.2.0").await;
    rig.until("it says why it stays", |p| p.why[&connector()].contains("not permitted going back from 7.3.0")).await;
    assert_eq!(installed(&rig.now()), Some(version("7.3.0")));

    permit_going_back(&rig);
    rig.push().await;
    rig.until("running programs are told", |p| restart(p) == Some(version("7.2.0"))).await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));
    rig.confirm("7.2.0").await;
    rig.until("7.3.0 is kept for the server's next move", |p| {
        p.products[&connector()].state == DeviceState::Staged && p.products[&connector()].staged == [version("7.3.0")]
    })
    .await;
    rig.flip("7.3.0").await;
    rig.until("it comes along again", |p| restart(p) == Some(version("7.3.0"))).await;
}

#[tokio::test]
async fn a_version_that_is_still_there_is_gone_back_to_without_a_download() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    rig.flip("7.3.0").await;
    rig.until("7.3.0 is active", |p| restart(p) == Some(version("7.3.0"))).await;
    // Not confirmed, so the way back is on the disk; and the site cannot give it again.
    rig.world.packages.lock().unwrap().clear();
    permit_going_back(&rig);
    rig.flip("7.2.0").await;
    rig.until("running programs are told", |p| restart(p) == Some(version("7.2.0"))).await;
    assert_eq!(rig.versions(), [version("7.2.0"), version("7.3.0")]);
}
