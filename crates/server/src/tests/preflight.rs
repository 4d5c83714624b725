//! The preflight table, and the cut-over that it foretells.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{
    Site,
    pc::{Pc, Seat},
};

/// The PCs of the story: ready, two without updater, one that has been away.
async fn story() -> (Site, Pc, Seat) {
    let site = Site::with(&[("connector", "7.2.0", ">=7.2, <7.3"), ("updater", "0.1.0", "*")]).await;
    site.server_runs("7.2.0").await;
    let mut away = Pc::enrol(&site, "pc-away").await;
    away.check_in(&site, &away.device("pc-away", "7.2.0", &[])).await;
    let dave = Seat::log_in(&site, "dave@example.test", "pc-away").await;
    dave.check_in(&site, "7.2.0", Some(away.ticket(&site, 0))).await;
    site.pass(3600);
    site.vendor.publish(
        2,
        &[("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4"), ("updater", "0.1.0", "*")],
    );
    site.admin(Method::POST, "/v1/admin/refresh", None).await;
    site.pass(60);
    let mut ready = Pc::enrol(&site, "pc-ready").await;
    ready.check_in(&site, &ready.device("pc-ready", "7.2.0", &["7.3.0"])).await;
    let alice = Seat::log_in(&site, "alice@example.test", "pc-ready").await;
    alice.check_in(&site, "7.2.0", Some(ready.ticket(&site, 0))).await;
    for (user, pc) in [("bob@example.test", "pc-refuses"), ("carol@example.test", "pc-accepts")] {
        Seat::log_in(&site, user, pc).await.check_in(&site, "7.2.0", None).await;
    }
    (site, ready, alice)
}

fn told(table: &Value) -> Vec<String> {
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|r| format!("{} {} {}", word(r, "user"), word(r, "pc"), word(r, "readiness"))).collect()
}

#[tokio::test]
async fn the_table_tells_who_is_ready_who_is_away_and_who_would_be_cut_off() {
    let (site, ready, _) = story().await;
    let table = site.preflight("7.3.0").await;
    assert_eq!(
        told(&table),
        [
            "bob@example.test pc-refuses cut-off",
            "carol@example.test pc-accepts cut-off",
            "dave@example.test pc-away not-seen",
            "alice@example.test pc-ready ready",
        ]
    );
    assert_eq!(
        table["summary"],
        json!({"ready": 1, "staged": 1, "would_ask": 0, "would_wait": 0, "not_seen": 1, "cut_off": 2, "current": 0})
    );
    assert_eq!((&table["known"], &table["server"], &table["to"]), (&json!(true), &json!("7.2.0"), &json!("7.3.0")));
    let (bob, alice) = (&table["rows"][0], &table["rows"][3]);
    assert_eq!(bob["reason"], "updater not installed");
    assert!(bob["remedy"].as_str().unwrap().contains("integration page") && bob["updater"].is_null());
    assert_eq!(
        (&alice["staged"], &alice["updater"], &alice["subject"]),
        (&json!(true), &json!("0.1.0"), &json!(ready.id))
    );
    site.stop().await;
}

#[tokio::test]
async fn the_prediction_is_the_decision() {
    let (site, mut ready, alice) = story().await;
    let predicted = site.preflight("7.3.0").await;
    site.server_runs("7.3.0").await;
    let decided = ready.check_in(&site, &ready.device("pc-ready", "7.2.0", &["7.3.0"])).await;
    assert_eq!(decided["directives"][0]["decision"], "required");
    assert_eq!(alice.check_in(&site, "7.2.0", Some(ready.ticket(&site, 0))).await["directive"]["decision"], "required");
    assert_eq!(told(&site.preflight("7.3.0").await), told(&predicted));
    site.stop().await;
}

#[tokio::test]
async fn a_cut_over_is_announced_staged_for_and_completed_by_what_the_source_shows() {
    let (site, mut ready, _) = story().await;
    site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "7.3"}))).await;
    let product = |status: Value| status["products"][0].clone();
    let status = product(site.admin(Method::GET, "/v1/admin/status", None).await);
    assert_eq!(
        (&status["server"], &status["expected"], &status["next"]),
        (&json!("7.2.0"), &json!("7.3.0"), &json!("7.3.0"))
    );
    let staged = ready.check_in(&site, &ready.device("pc-ready", "7.2.0", &[])).await;
    assert_eq!(staged["directives"][0]["decision"], "stage");

    let body = json!({"product": "connector", "version": "7.3.0"});
    let answer = site.admin(Method::POST, "/v1/admin/server-version", Some(body)).await;
    assert_eq!(answer["completes_cut_over"], true);
    let status = product(site.admin(Method::GET, "/v1/admin/status", None).await);
    assert_eq!((&status["server"], &status["expected"]), (&json!("7.3.0"), &Value::Null));
    let again = site
        .client
        .post(format!("{}/v1/admin/cut-over", site.base))
        .bearer_auth(&site.token)
        .json(&json!({"to": "7.3.0"}))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 409);
    site.stop().await;
}

#[tokio::test]
async fn a_product_that_is_not_managed_and_a_version_that_is_none_are_named() {
    let site = Site::start().await;
    for (query, status, hint) in [
        ("to=7.3.0&product=shop", 404, "connector"),
        ("to=seven", 400, "7.3.0"),
        ("to=7.3.0&product=../x", 400, "product name"),
    ] {
        let url = format!("{}/v1/admin/preflight?{query}", site.base);
        let answer = site.client.get(url).bearer_auth(&site.token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{query}");
        assert!(answer.text().await.unwrap().contains(hint), "{query}");
    }
    site.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_cut_over_completes_soon_after_the_probe_shows_it() {
    let shown = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(shown.path(), "7.2.0\n").unwrap();
    let probe = format!("/bin/cat '{}'", shown.path().display());
    let releases = [("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4")];
    let site = Site::with_probe(&releases, Some(probe)).await;
    let product = async || site.admin(Method::GET, "/v1/admin/status", None).await["products"][0].clone();
    let until = async |version: &str, tries: u32| {
        for _ in 0..tries {
            if product().await["server"] == version {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        false
    };
    assert!(until("7.2.0", 100).await);
    let by_hand = site
        .client
        .post(format!("{}/v1/admin/server-version", site.base))
        .bearer_auth(&site.token)
        .json(&json!({"product": "connector", "version": "9.9.9"}))
        .send()
        .await
        .unwrap();
    assert_eq!(by_hand.status(), 409, "a version has one source");
    site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "7.3.0"}))).await;
    std::fs::write(shown.path(), "7.3.0\n").unwrap();
    assert!(until("7.3.0", 30).await, "sooner than the probe's usual five seconds");
    assert_eq!(product().await["expected"], Value::Null);
    site.stop().await;
}

#[tokio::test]
async fn a_cut_over_is_withdrawn_by_going_where_the_server_is() {
    let (site, ..) = story().await;
    site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "73.0.0"}))).await;
    let product = protocol::product::ProductId::connector();
    assert!(site.app.site.expected(&product).is_some());
    let said = site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "7.2.0"}))).await;
    assert!(said["expected"].is_null(), "{said}");
    assert_eq!(site.app.site.expected(&product), None);
    assert_eq!(site.app.site.product(&product).unwrap().next, None);
    site.stop().await;
}
