//! Windows, deadlines, steps, second tries and the history, by the real driver on a real disk.

use lockstep_updater::{driver::Event, history};
use protocol::{
    Timestamp,
    device::DeviceState,
    ipc::What,
    policy::UpgradePolicy,
    site::{Retry, SiteProduct},
    terms::{Again, Whose},
    window::{Window, Windows},
};
use tokio::sync::oneshot;

use crate::{
    driver_rig::{BROKEN, Rig, WORKS, installed},
    fixture::{connector, eventually, version},
};

fn change(rig: &Rig, alter: impl FnOnce(&mut SiteProduct)) {
    alter(rig.world.site.lock().unwrap().products.get_mut(&connector()).unwrap());
}

/// A window of this week that is not open within the next hours, whatever the time is.
fn closed() -> Windows {
    let opens = Timestamp::now().checked_add(jiff::SignedDuration::from_hours(48)).unwrap();
    let day = opens.strftime("%a");
    let weekly: Vec<Window> = vec![format!("{day} 12:00-13:00").parse().unwrap()];
    Windows { weekly, zone: Some("UTC".into()), required_too: false }
}

#[tokio::test]
async fn what_is_recommended_waits_for_its_window_and_is_explained_and_what_is_required_does_not() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    change(&rig, |p| p.windows = closed());
    for number in ["7.2.1", "7.3.0"] {
        let (entry, path) = rig.pc.package(number, WORKS);
        rig.world.packages.lock().unwrap().insert(entry.target.clone(), path);
        rig.world.catalog.lock().unwrap().entries.push(entry);
    }
    rig.push().await;
    rig.until("7.2.1 is ready and waits", |p| {
        p.decisions.get(&connector()).is_some_and(|d| d.how.contains("maintenance window"))
    })
    .await;
    let told = rig.now().decisions[&connector()].clone();
    assert_eq!((told.by, told.until.is_some()), (Whose::Site, true), "{told:?}");
    assert_eq!(installed(&rig.now()), Some(version("7.2.0")));
    rig.flip("7.3.0").await;
    rig.until("nobody stays cut off for a window", |p| installed(p) == Some(version("7.3.0"))).await;
}

#[tokio::test]
async fn a_user_who_never_answers_is_upgraded_at_the_deadline_without_the_server() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", WORKS)]).await;
    rig.state(DeviceState::Staged).await;
    rig.policy(UpgradePolicy::Ask);
    change(&rig, |p| p.grace_seconds = Some(6));
    rig.flip("7.3.0").await;
    rig.state(DeviceState::AwaitingConsent).await;
    let asked = rig.last_report();
    *rig.world.away.lock().unwrap() = true;
    assert_eq!(asked.product(&connector()).installed, Some(version("7.2.0")));
    rig.until("it happens by itself", |p| installed(p) == Some(version("7.3.0"))).await;
}

#[tokio::test]
async fn barriers_are_crossed_in_steps_that_were_all_ready_before_the_flip() {
    let rig = Rig::new(&[("7.2.0", WORKS)]).await;
    for (number, from) in [("7.3.0", "7.2.0"), ("7.4.0", "7.3.0")] {
        let (mut entry, path) = rig.pc.package(number, WORKS);
        entry.release.upgrades_from = Some(version(from));
        rig.world.packages.lock().unwrap().insert(entry.target.clone(), path);
        rig.world.catalog.lock().unwrap().entries.push(entry);
    }
    rig.push().await;
    eventually("both steps are ready", || rig.versions() == ["7.2.0", "7.3.0", "7.4.0"].map(version)).await;
    // Packages are not needed any more.
    rig.world.packages.lock().unwrap().clear();
    rig.flip("7.4.0").await;
    rig.until("7.4.0 is active", |p| installed(p) == Some(version("7.4.0"))).await;
    let switched: Vec<_> =
        rig.now().history.iter().filter(|h| h.what == What::Switched).filter_map(|h| h.version.clone()).collect();
    assert_eq!(switched, ["7.2.0", "7.3.0", "7.4.0"].map(version));
}

#[tokio::test]
async fn a_version_that_was_rolled_back_is_tried_again_when_root_or_the_administrator_says_so_and_once() {
    let rig = Rig::new(&[("7.2.0", WORKS), ("7.3.0", BROKEN)]).await;
    rig.state(DeviceState::Staged).await;
    rig.flip("7.3.0").await;
    let failures = |rig: &Rig| rig.last_report().product(&connector()).failed;
    eventually("the server knows it", || failures(&rig).len() == 1).await;
    let first = failures(&rig)[0].clone();

    // The administrator of the site names that very failure.
    let failure = Again { version: version("7.3.0"), failed_at: first.at };
    let device = rig.last_report().id;
    change(&rig, |p| p.retries = vec![Retry { device, failure }]);
    rig.push().await;
    eventually("it failed again", || failures(&rig).first().is_some_and(|f| f.times == 2 && !f.again)).await;
    rig.push().await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(failures(&rig)[0].times, 2, "one wish is one try");

    // Root of this machine.
    let (answer, said) = oneshot::channel();
    rig.events.send(Event::Retry(answer)).await.unwrap();
    assert!(said.await.unwrap().unwrap().contains("7.3.0"));
    eventually("it failed a third time", || failures(&rig)[0].times == 3).await;
    assert_eq!(rig.pc.current(), Some(version("7.2.0")));

    let kept = history::read(&std::fs::read(rig.pc.layout.history()).unwrap());
    let rolled_back = kept.iter().filter(|h| h.what == What::RolledBack).count();
    assert_eq!(rolled_back, 3, "{kept:?}");
    assert!(kept.iter().any(|h| h.what == What::Staged && h.version == Some(version("7.3.0"))), "{kept:?}");
}
