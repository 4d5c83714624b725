//! The administrator's policies, holds and second tries: stored, in force, told to PCs, foretold, and shown.

use protocol::{device::FailedVersion, product::ProductId};
use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Site, pc::Pc};

async fn site() -> (Site, Pc) {
    let releases =
        [("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4"), ("updater", "0.1.0", "*")];
    let site = Site::with(&releases).await;
    site.server_runs("7.2.0").await;
    let pc = Pc::enrol(&site, "lab-7").await;
    (site, pc)
}

fn told(answer: &Value) -> Value {
    let directives = answer["directives"].as_array().unwrap();
    directives.iter().find(|d| d["product"] == "connector").unwrap().clone()
}

#[tokio::test]
async fn a_policy_is_stored_told_and_shown_and_what_is_not_named_stays() {
    let (site, mut pc) = site().await;
    let change = json!({
        "product": "connector", "upgrade": "ask", "downgrade": "never", "deadline_seconds": 7200,
        "maintenance": ["Sat 02:00-05:00"], "time_zone": "Europe/Prague", "required_too": true,
    });
    site.admin(Method::PUT, "/v1/admin/policy", Some(change)).await;
    site.admin(Method::PUT, "/v1/admin/policy", Some(json!({"product": "connector", "upgrade": "ask-must-accept"})))
        .await;
    let device = pc.device("lab-7", "7.2.0", &[]);
    let order = told(&pc.check_in(&site, &device).await);
    assert_eq!(order["policy"], "ask-must-accept");
    assert_eq!(order["terms"]["downgrade"], "never");
    let windows = json!({"weekly": ["Sat 02:00-05:00"], "zone": "Europe/Prague", "required_too": true});
    assert_eq!(order["terms"]["windows"], windows);
    let stored = crate::wishes::Wishes::load(&site.app.store, &ProductId::connector()).await.unwrap();
    assert_eq!(stored.grace_seconds, Some(7200), "it outlives the server");
    let page = site.page(&site.console().await, "/console/settings").await;
    assert!(page.contains("upgrades: ask-must-accept") && page.contains("Sat 02:00-05:00"), "{page}");
    let shown = site.admin(Method::GET, "/v1/admin/policy", None).await.to_string();
    assert!(shown.contains("downgrades: never") && shown.contains("for 2 h"), "{shown}");
    site.admin(Method::PUT, "/v1/admin/policy", Some(json!({"product": "connector", "upgrade": null}))).await;
    assert_eq!(told(&pc.check_in(&site, &device).await)["policy"], "silent-at-start");
    site.stop().await;
}

#[tokio::test]
async fn a_hold_for_some_pcs_is_foretold_for_them_and_can_be_taken_back() {
    let (site, mut pc) = site().await;
    let mut other = Pc::enrol(&site, "office-1").await;
    pc.check_in(&site, &pc.device("lab-7", "7.2.0", &[])).await;
    other.check_in(&site, &other.device("office-1", "7.2.0", &[])).await;
    let hold = json!({"what": "connector 7.3.0", "pcs": ["lab-*"], "reason": "printing breaks"});
    site.admin(Method::POST, "/v1/admin/holds", Some(hold)).await;
    let verdicts = |table: &Value| -> Vec<(String, String)> {
        let rows = table["rows"].as_array().unwrap().iter();
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        rows.map(|r| (word(&r["pc"]), word(&r["readiness"]))).collect()
    };
    let pair = |pc: &str, verdict: &str| (pc.to_owned(), verdict.to_owned());
    let table = site.preflight("7.3.0").await;
    assert_eq!(verdicts(&table), [pair("lab-7", "cut-off"), pair("office-1", "ready")]);
    assert!(table["rows"][0]["reason"].as_str().unwrap().contains("printing breaks"), "{table}");
    site.admin(Method::POST, "/v1/admin/holds", Some(json!({"what": "connector 7.3.0", "remove": true}))).await;
    assert_eq!(verdicts(&site.preflight("7.3.0").await), [pair("lab-7", "ready"), pair("office-1", "ready")]);
    site.stop().await;
}

#[tokio::test]
async fn a_second_try_names_the_failure_that_the_pc_reported() {
    let (site, mut pc) = site().await;
    site.server_runs("7.3.0").await;
    let mut device = pc.device("lab-7", "7.2.0", &[]);
    let failure = FailedVersion::new("7.3.0".parse().unwrap(), site.now(), "exit 7".into());
    device.products.get_mut(&ProductId::connector()).unwrap().failed.push(failure);
    let order = told(&pc.check_in(&site, &device).await);
    assert_eq!((&order["decision"], &order["blocked"]), (&json!("blocked"), &json!("failed-here")));
    let asked = json!({"whom": "lab-7", "version": "7.3.0", "product": "connector"});
    let answer = site.admin(Method::POST, "/v1/admin/retry", Some(asked)).await;
    assert_eq!(answer["pcs"], json!(["lab-7"]));
    let order = told(&pc.check_in(&site, &device).await);
    assert_eq!((&order["decision"], &order["version"]), (&json!("required"), &json!("7.3.0")));
    assert_eq!(order["terms"]["again"][0]["version"], "7.3.0");
    site.stop().await;
}
