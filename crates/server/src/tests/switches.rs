//! The two switches: in the file, in the API, in the console; and what is known without readiness reports.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{
    Site,
    pc::{Pc, Seat},
};
use crate::config::Config;

fn config(site: &Site) -> Config {
    Config::read(&site.dir.path().join("data/server.toml")).unwrap()
}

#[tokio::test]
async fn a_switch_is_the_same_in_the_file_the_api_and_the_console() {
    let site = Site::start().await;
    let cookie = site.console().await;
    assert!(site.page(&cookie, "/console/settings").await.contains("Contribute to usage statistics"));
    assert!(!config(&site).statistics.contribute);
    site.admin(Method::PUT, "/v1/admin/settings/statistics", Some(json!({"on": true}))).await;
    assert!(config(&site).statistics.contribute);
    assert!(site.page(&cookie, "/console/settings").await.contains("Stop contributing"));
    let status = site.admin(Method::GET, "/v1/admin/status", None).await;
    assert_eq!(status["switches"], json!({"readiness": true, "statistics": true}));
    let text = std::fs::read_to_string(site.dir.path().join("data/server.toml")).unwrap();
    assert!(text.contains("# Allow anonymous data"), "comments stay");
    site.stop().await;
}

#[tokio::test]
async fn without_readiness_reports_no_name_is_stored_and_decisions_stay_right() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "secret-pc").await;
    pc.check_in(&site, &pc.device("secret-pc", "7.2.0", &["7.3.0"])).await;
    let alice = Seat::log_in(&site, "secret-alice", "secret-pc").await;
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    assert!(site.app.store.dump().await.contains("secret-"));

    site.admin(Method::PUT, "/v1/admin/settings/readiness", Some(json!({"on": false}))).await;
    assert!(!config(&site).readiness.enabled);
    let nowhere = |when: &'static str, dump: String| assert!(!dump.contains("secret-"), "{when}: {dump}");
    nowhere("after the switch", site.app.store.dump().await);
    for file in ["lockstep.sqlite", "lockstep.sqlite-wal"] {
        let bytes = std::fs::read(site.dir.path().join("data").join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|w| w == b"secret-"), "{file} still holds a name");
    }

    site.server_runs("7.3.0").await;
    let mut device = pc.device("secret-pc", "7.2.0", &["7.3.0"]);
    device.products.values_mut().for_each(|s| s.detail = Some("secret-detail".into()));
    assert_eq!(pc.check_in(&site, &device).await["directives"][0]["decision"], "required");
    assert_eq!(alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await["directive"]["decision"], "required");
    let bob = Seat::log_in(&site, "secret-bob", "secret-pc-2").await;
    assert_eq!(bob.check_in(&site, "7.2.0", None).await["directive"]["decision"], "required");
    Pc::enrol(&site, "secret-pc-3").await;
    nowhere("after check-ins", site.app.store.dump().await);

    let table = site.preflight("7.3.0").await;
    assert_eq!((&table["known"], &table["rows"]), (&json!(false), &json!([])));
    assert!(table["why_unknown"].as_str().unwrap().contains("switched off"));
    let warned = site.admin(Method::POST, "/v1/admin/warn", None).await;
    assert_eq!((&warned["affected"], &warned["report"]), (&json!([]), &Value::Null));
    assert!(!site.dir.path().join("data/logs").exists());

    site.admin(Method::PUT, "/v1/admin/settings/readiness", Some(json!({"on": true}))).await;
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    let table = site.preflight("7.4.0").await;
    let users: Vec<&str> = table["rows"].as_array().unwrap().iter().filter_map(|r| r["user"].as_str()).collect();
    assert_eq!(users, ["secret-alice"], "the next check-in brings its name back, without a login");
    site.stop().await;
}
