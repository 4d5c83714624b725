//! Open sessions, when the server's version flips.

use std::time::Duration;

use crate::{
    client::{ALICE, BOB, PASSWORD, connector},
    site::Site,
};

const SOON: Duration = Duration::from_secs(40);

#[tokio::test]
async fn an_outdated_connectors_open_session_is_ended_at_the_flip_and_others_stay() {
    let site = Site::with("KICK").await;
    let seat = site.seat(ALICE).await;
    site.check_in(&seat, "7.2.0", "online").await;
    let mut old = site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.unwrap().idle().await;
    let mut plain = site.login(BOB, PASSWORD, None).await.unwrap().idle().await;
    let mut ready = site.login(BOB, PASSWORD, Some(&connector("7.2.5"))).await.unwrap().idle().await;
    site.server_runs("7.3.0").await;
    assert!(old.ends_within(SOON).await, "{}", site.log());
    assert!(!plain.ends_within(Duration::from_secs(2)).await, "another user's plain session");
    assert!(!ready.ends_within(Duration::from_millis(100)).await, "a connector that works");
    assert!(site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.is_err(), "and it stays out");
}

#[tokio::test]
async fn a_connector_that_went_offline_by_itself_takes_nobody_with_it() {
    let site = Site::with("KICK").await;
    let seat = site.seat(ALICE).await;
    site.check_in(&seat, "7.2.0", "online").await;
    drop(site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.unwrap().idle().await);
    let mut plain = site.login(ALICE, PASSWORD, None).await.unwrap().idle().await;
    site.server_runs("7.3.0").await;
    site.check_in(&seat, "7.2.0", "offline").await;
    assert!(!plain.ends_within(Duration::from_secs(5)).await, "the same user's plain session, from the same address");
}

#[tokio::test]
async fn a_command_that_aims_at_the_port_spares_the_same_users_other_sessions() {
    let site = Site::with(r#"["ss", "-K", "dst", "{address}", "dport", "=", "{port}"]"#).await;
    let seat = site.seat(ALICE).await;
    site.check_in(&seat, "7.2.0", "online").await;
    let mut old = site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.unwrap().idle().await;
    let mut plain = site.login(ALICE, PASSWORD, None).await.unwrap().idle().await;
    site.server_runs("7.3.0").await;
    assert!(old.ends_within(SOON).await, "{}", site.log());
    assert!(!plain.ends_within(Duration::from_secs(2)).await, "the same user's plain session, from the same address");
}

#[tokio::test]
async fn a_command_that_fails_is_a_problem_that_is_shown() {
    let site = Site::with(r#"["/bin/false", "{user}"]"#).await;
    let mut old = site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.unwrap().idle().await;
    site.server_runs("7.3.0").await;
    assert!(!old.ends_within(Duration::from_secs(4)).await);
    let mut problems = String::new();
    for _ in 0..100 {
        problems = site.status().await["problems"].to_string();
        if problems.contains("/bin/false ended with") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{problems}");
}
