//! `warning.log`: on demand, on schedule, and not without need.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{
    Site,
    pc::{Pc, Seat},
};
use crate::warning_log::tick;

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.dir.path().join("data/logs/warning.log")).unwrap_or_default()
}

#[tokio::test]
async fn each_affected_user_is_named_once_and_nobody_else() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-ready").await;
    pc.check_in(&site, &pc.device("pc-ready", "7.2.0", &[])).await;
    let alice = Seat::log_in(&site, "alice@localhost", "pc-ready").await;
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    let none = site.admin(Method::POST, "/v1/admin/warn", None).await;
    assert_eq!((&none["affected"], &none["report"]), (&json!([]), &Value::Null));
    assert_eq!(log(&site), "", "nothing is written when nobody is affected");

    for pc in ["desk", "laptop"] {
        Seat::log_in(&site, "admin@localhost", pc).await.check_in(&site, "7.2.0", None).await;
    }
    Seat::log_in(&site, "bob@localhost", "pc-bob").await.check_in(&site, "7.3.0", None).await;
    let warned = site.admin(Method::POST, "/v1/admin/warn", None).await;
    assert_eq!(warned["affected"], json!(["admin@localhost"]));
    assert_eq!(warned["report"], log(&site));
    let lines: Vec<String> = log(&site).lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines.len(), 6);
    assert!(lines[1].contains(&format!("Lockstep Updater ( {}/integration/updater )", site.base)), "{}", lines[1]);
    assert!(lines[2].ends_with("If you upgrade the mail server to 7.3 or newer, they will not be able to use email."));
    assert!(lines[5].ends_with(" User admin@localhost does not have installed Lockstep Updater."));
    let updater =
        site.client.get(format!("{}/integration/updater", site.base)).header("user-agent", "X11; Linux x86_64");
    let updater = updater.send().await.unwrap();
    assert_eq!(updater.headers()["location"], "/integration/lockstep-updater-0.1.0-linux-x86_64.tar.gz");
    site.stop().await;
}

#[tokio::test]
async fn a_release_that_nobody_can_reach_is_no_reason_to_ask_for_an_updater() {
    let site = Site::start().await;
    Seat::log_in(&site, "alice", "pc").await.check_in(&site, "7.2.0", None).await;
    site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "9.0.0"}))).await;
    assert_eq!(site.preflight("9.0.0").await["summary"]["cut_off"], 1);
    let warned = site.admin(Method::POST, "/v1/admin/warn", None).await;
    assert_eq!(warned["affected"], json!([]), "an updater would not help");
    site.stop().await;
}

#[tokio::test]
async fn the_report_comes_every_fourteen_days_and_a_restart_does_not_repeat_it() {
    let site = Site::start().await;
    Seat::log_in(&site, "alice", "pc").await.check_in(&site, "7.2.0", None).await;
    const DAY: i64 = 24 * 3600;
    tick(&site.app).await.unwrap();
    assert_eq!(log(&site), "", "not at the first start");
    site.pass(14 * DAY - 1);
    assert_eq!(tick(&site.app).await.unwrap().as_secs(), 1);
    assert_eq!(log(&site), "");
    site.pass(1);
    tick(&site.app).await.unwrap();
    assert_eq!(log(&site).lines().count(), 6);
    // The schedule lies in the database, so a second reader of it sees the same.
    let wait = tick(&site.app).await.unwrap();
    assert_eq!((wait.as_secs(), log(&site).lines().count()), (14 * DAY as u64, 6));
    site.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_in_the_logs_place_is_not_followed() {
    let site = Site::start().await;
    Seat::log_in(&site, "alice", "pc").await.check_in(&site, "7.2.0", None).await;
    let victim = site.dir.path().join("victim");
    std::fs::write(&victim, "canary").unwrap();
    std::fs::create_dir_all(site.dir.path().join("data/logs")).unwrap();
    std::os::unix::fs::symlink(&victim, site.dir.path().join("data/logs/warning.log")).unwrap();
    let request = site.client.post(format!("{}/v1/admin/warn", site.base)).bearer_auth(&site.token);
    assert_eq!(request.send().await.unwrap().status(), 500);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "canary");
    site.stop().await;
}
