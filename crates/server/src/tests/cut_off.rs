//! Who is cut off now, since when and why; and which PCs report trouble.

use protocol::{device::DeviceState, product::ProductId};
use serde_json::{Value, json};

use super::site::{
    Site,
    pc::{Pc, Seat},
};

async fn status(site: &Site) -> Value {
    site.admin(reqwest::Method::GET, "/v1/admin/status", None).await
}

#[tokio::test]
async fn who_is_cut_off_is_shown_with_since_and_why_until_it_is_over() {
    let site = Site::start().await;
    let alice = Seat::log_in(&site, "alice", "pc-refuses").await;
    let bob = Seat::log_in(&site, "bob", "pc-away").await;
    alice.check_in(&site, "7.2.0", None).await;
    bob.check_in(&site, "7.2.0", None).await;
    assert_eq!(status(&site).await["cut_off_now"], json!([]));

    site.server_runs("7.3.0").await;
    alice.says(&site, json!({"gate": "online"})).await;
    site.pass(3);
    let since = site.now().round(jiff::Unit::Microsecond).unwrap();
    let refused = "the installer was refused\u{1b}[2J";
    alice.says(&site, json!({"gate": "offline", "outbox": 2, "detail": refused})).await;
    site.pass(600);
    alice.says(&site, json!({"gate": "offline", "outbox": 2, "detail": refused})).await;

    let now = status(&site).await;
    let one = &now["cut_off_now"][0];
    assert_eq!((now["cut_off_now"].as_array().unwrap().len(), &one["user"]), (1, &json!("alice")), "{now}");
    let told: jiff::Timestamp = one["since"].as_str().unwrap().parse().unwrap();
    assert!(told.duration_since(since).abs() < jiff::SignedDuration::from_secs(1), "{told} is not the last check-in");
    assert_eq!((&one["gate"], &one["outbox"]), (&json!("offline"), &json!(2)));
    assert!(one["why"].as_str().unwrap().contains("7.2.0 does not work with server 7.3.0"), "{one}");
    assert!(one["then"].as_str().unwrap().contains("integration page"), "{one}");
    assert_eq!(one["detail"], "the installer was refused\\u{1b}[2J");
    assert_eq!(now["cut_off_and_silent"], 1, "bob has not been heard of since");

    let cookie = site.console().await;
    let page = site.page(&cookie, "/console").await;
    for words in ["Cut off now: 1", "alice", "the installer was refused", "1 more user has not been heard of"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let of = format!("/console/pc/{}", one["subject"].as_str().unwrap());
    let page = site.page(&cookie, &of).await;
    for words in
        ["mail is offline, 2 waiting to be sent", "reports: the installer was refused", "upgrade to 7.3.0 required"]
    {
        assert_eq!(page.matches(words).count(), if words.starts_with("reports") { 2 } else { 1 }, "{words}: {page}");
    }

    alice.says(&site, json!({"version": "7.3.0", "gate": "online"})).await;
    assert_eq!(status(&site).await["cut_off_now"], json!([]));
    assert!(site.page(&cookie, "/console").await.contains("Nobody is cut off, as far as is known"));
    site.stop().await;
}

#[tokio::test]
async fn a_seat_that_is_offline_for_another_reason_is_not_cut_off() {
    let site = Site::start().await;
    let alice = Seat::log_in(&site, "alice", "pc").await;
    alice.says(&site, json!({"gate": "offline", "detail": "the mail server cannot be reached"})).await;
    assert_eq!(status(&site).await["cut_off_now"], json!([]));
    site.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_back_takes_its_clients_along_only_where_the_vendor_permits_it() {
    let site = Site::start().await;
    site.server_runs("7.3.0").await;
    let mut pc = Pc::enrol(&site, "pc").await;
    let alice = Seat::log_in(&site, "alice", "pc").await;
    pc.check_in(&site, &pc.device("pc", "7.3.0", &["7.2.0"])).await;
    alice.says(&site, json!({"version": "7.3.0", "ticket": pc.ticket(&site, 0)})).await;
    let foreseen = site.preflight("7.2.0").await;
    assert_eq!(foreseen["rows"][0]["readiness"], "cut-off", "{foreseen}");

    site.server_runs("7.2.0").await;
    let told = pc.check_in(&site, &pc.device("pc", "7.3.0", &["7.2.0"])).await;
    assert_eq!(told["directives"][0]["decision"], "blocked", "{told}");

    site.vendor.permit_downgrades(
        2,
        &[("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.3.0", ">=7.3, <7.4"), ("updater", "0.1.0", "*")],
    );
    crate::mirror_tasks::refresh(&site.app).await.unwrap();
    assert_eq!(site.preflight("7.2.0").await["rows"][0]["readiness"], "ready");
    let told = pc.check_in(&site, &pc.device("pc", "7.3.0", &["7.2.0"])).await;
    let directive = &told["directives"][0];
    assert_eq!((&directive["decision"], &directive["version"]), (&json!("required"), &json!("7.2.0")));
    assert_eq!(directive["why"], "7.3.0 does not work with server 7.2.0; 7.2.0 does");
    site.stop().await;
}

#[tokio::test]
async fn a_pc_that_refuses_what_is_not_signed_stands_out() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-one").await;
    let mut device = pc.device("pc-one", "7.2.0", &[]);
    let state = device.products.get_mut(&ProductId::connector()).unwrap();
    state.state = DeviceState::Failed;
    state.detail = Some("7.4.0 is not among the vendor's signed releases for this device".into());
    pc.check_in(&site, &device).await;
    let mut other = Pc::enrol(&site, "a-full-pc").await;
    let mut device = other.device("a-full-pc", "7.2.0", &[]);
    let state = device.products.get_mut(&ProductId::connector()).unwrap();
    (state.state, state.detail) = (DeviceState::Failed, Some("the disk is full".into()));
    other.check_in(&site, &device).await;

    let troubles = status(&site).await["troubles"].clone();
    assert_eq!((&troubles[0]["pc"], &troubles[0]["trust"]), (&json!("pc-one"), &json!(true)), "{troubles}");
    assert_eq!((&troubles[1]["pc"], &troubles[1]["trust"]), (&json!("a-full-pc"), &json!(false)), "{troubles}");
    let cookie = site.console().await;
    let page = site.page(&cookie, "/console").await;
    assert!(page.contains("not trusted") && page.contains("signed releases for this device"), "{page}");
    let story = site.page(&cookie, &format!("/console/pc/{}", pc.id)).await;
    assert!(story.contains("failed: 7.4.0 is not among"), "{story}");
    site.stop().await;
}

#[tokio::test]
async fn a_user_whose_pc_got_an_updater_vanishes_from_the_next_report() {
    let site = Site::start().await;
    let alice = Seat::log_in(&site, "alice", "pc-reinstalls").await;
    alice.check_in(&site, "7.2.0", None).await;
    let warned = site.admin(reqwest::Method::POST, "/v1/admin/warn", None).await;
    assert_eq!(warned["affected"], json!(["alice"]));
    let mut pc = Pc::enrol(&site, "pc-reinstalls").await;
    pc.check_in(&site, &pc.device("pc-reinstalls", "7.2.0", &[])).await;
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    let warned = site.admin(reqwest::Method::POST, "/v1/admin/warn", None).await;
    assert_eq!((&warned["affected"], &warned["report"]), (&json!([]), &Value::Null));
    site.server_runs("7.3.0").await;
    assert_eq!(
        site.preflight("7.3.0").await["rows"].as_array().unwrap().len(),
        1,
        "one row, no leftover of the time before"
    );
    site.stop().await;
}

#[tokio::test]
async fn after_the_flip_the_report_speaks_of_now() {
    let site = Site::start().await;
    Seat::log_in(&site, "alice", "pc").await.check_in(&site, "7.2.0", None).await;
    site.server_runs("7.3.0").await;
    let warned = site.admin(reqwest::Method::POST, "/v1/admin/warn", None).await;
    let report = warned["report"].as_str().unwrap();
    assert!(report.contains("Now that the mail server has version 7.3, they are not able to use email."), "{report}");
    site.stop().await;
}

#[tokio::test]
async fn names_that_are_wiped_take_what_was_said_with_them() {
    let site = Site::start().await;
    let alice = Seat::log_in(&site, "alice", "pc").await;
    alice.says(&site, json!({"detail": "alice's disk is full"})).await;
    site.admin(reqwest::Method::PUT, "/v1/admin/settings/readiness", Some(json!({"on": false}))).await;
    alice.says(&site, json!({"detail": "alice's disk is full"})).await;
    assert!(!site.app.store.dump().await.contains("disk is full"));
    site.stop().await;
}
