//! Enrolment, check-ins, tickets and logins: who is believed, and what for.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{
    Site,
    pc::{CHECK_IN, Pc, Seat, try_log_in},
};

fn rows(table: &Value) -> Vec<(String, String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|r| (text(&r["user"]), text(&r["pc"]), text(&r["readiness"]))).collect()
}

fn row(user: &str, pc: &str, readiness: &str) -> (String, String, String) {
    (user.into(), pc.into(), readiness.into())
}

#[tokio::test]
async fn a_device_is_told_to_stage_and_after_the_flip_to_upgrade() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-1").await;
    let device = pc.device("pc-1", "7.2.0", &[]);
    let told = pc.check_in(&site, &device).await;
    assert_eq!(
        (&told["directives"][0]["decision"], &told["directives"][0]["version"]),
        (&json!("stage"), &json!("7.3.0"))
    );
    site.server_runs("7.3.0").await;
    let told = pc.check_in(&site, &device).await;
    assert_eq!(told["directives"][0]["decision"], "required");
    let page = site.page(&site.console().await, &format!("/console/pc/{}", pc.id)).await;
    assert!(page.contains("stage 7.3.0") && page.contains("upgrade to 7.3.0 required"), "{page}");
    site.stop().await;
}

#[tokio::test]
async fn a_replayed_check_in_is_refused_and_changes_nothing() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-1").await;
    let old = json!({"v": 1, "seq": 1, "device": pc.device("pc-1", "7.2.0", &[])}).to_string();
    assert_eq!(pc.send(&site, CHECK_IN, CHECK_IN, &old).await.status(), StatusCode::OK);
    pc.seq = 1;
    pc.check_in(&site, &pc.device("pc-1", "7.3.0", &[])).await;

    let before = site.app.store.dump().await;
    site.pass(60);
    assert_eq!(pc.send(&site, CHECK_IN, CHECK_IN, &old).await.status(), StatusCode::CONFLICT);
    let absurd = json!({"v": 1, "seq": u64::MAX, "device": pc.device("pc-1", "7.3.0", &[])}).to_string();
    assert_eq!(pc.send(&site, CHECK_IN, CHECK_IN, &absurd).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.app.store.dump().await, before);
    site.stop().await;
}

#[tokio::test]
async fn nobody_checks_in_for_another_device() {
    let site = Site::start().await;
    let (victim, attacker) = (Pc::enrol(&site, "victim").await, Pc::enrol(&site, "attacker").await);
    let before = site.app.store.dump().await;
    let body = json!({"v": 1, "seq": 1, "device": victim.device("victim", "7.3.0", &[])}).to_string();

    let forged = Pc { id: victim.id.clone(), key: attacker.key.clone(), seq: 0 };
    assert_eq!(forged.send(&site, CHECK_IN, CHECK_IN, &body).await.status(), StatusCode::UNAUTHORIZED, "the wrong key");
    assert_eq!(attacker.send(&site, CHECK_IN, CHECK_IN, &body).await.status(), StatusCode::FORBIDDEN, "about another");
    let unknown = Pc { id: "0".repeat(32), key: attacker.key.clone(), seq: 0 };
    let answer = unknown.send(&site, CHECK_IN, CHECK_IN, &body).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.text().await.unwrap().contains("enrol it again"));
    let own = json!({"v": 1, "seq": 1, "device": attacker.device("a", "7.3.0", &[])}).to_string();
    let wrong_purpose = attacker.send(&site, CHECK_IN, "/v1/push/device", &own).await;
    assert_eq!(wrong_purpose.status(), StatusCode::UNAUTHORIZED, "signed for another path");
    assert_eq!(site.app.store.dump().await, before);
    site.stop().await;
}

#[tokio::test]
async fn a_wrong_enrolment_key_or_a_weak_key_enrols_nobody() {
    let site = Site::start().await;
    let before = site.app.store.dump().await;
    for (enrolment_key, public_key, status) in [
        ("guess", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", StatusCode::FORBIDDEN),
        (
            site.app.profile.enrolment_key.as_str(),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            StatusCode::BAD_REQUEST,
        ),
        (site.app.profile.enrolment_key.as_str(), "short", StatusCode::BAD_REQUEST),
    ] {
        let body = json!({"v": 1, "enrolment_key": enrolment_key, "public_key": public_key, "hostname": "x", "os": "linux", "arch": "x86_64"});
        let answer = site.client.post(format!("{}/v1/enrol", site.base)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(site.app.store.dump().await, before);
    site.stop().await;
}

#[tokio::test]
async fn only_the_right_mail_password_opens_a_seat() {
    let site = Site::start().await;
    let seat = "0123456789abcdef0123456789abcdef";
    let before = site.app.store.dump().await;
    assert_eq!(try_log_in(&site, "alice", "wrong", seat, "pc").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(try_log_in(&site, "alice", "outage", seat, "pc").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(try_log_in(&site, "a\r\nb LOGOUT", "right", seat, "pc").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(try_log_in(&site, "alice", "right", "../../etc/passwd", "pc").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.app.store.dump().await, before);
    let answer = try_log_in(&site, "alice", "right", seat, "pc").await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["mail"]["submission"], "localhost:10587");
    assert!(answer["mail"]["certificate"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert!(!site.app.store.dump().await.contains("right"), "the password is stored nowhere");
    site.stop().await;
}

#[tokio::test]
async fn guessing_a_mail_password_is_stopped() {
    let site = Site::start().await;
    let mut last = StatusCode::OK;
    for _ in 0..15 {
        last = try_log_in(&site, "alice", "wrong", "0123456789abcdef", "pc").await.status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(try_log_in(&site, "bob", "right", "0123456789abcdef", "pc").await.status(), StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn a_ticket_ties_a_user_to_a_pc_and_a_forged_or_old_one_does_not() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-1").await;
    pc.check_in(&site, &pc.device("pc-1", "7.2.0", &["7.3.0"])).await;
    let alice = Seat::log_in(&site, "alice@example.test", "pc-1").await;

    let mut forged = pc.ticket(&site, 0);
    forged.claim = forged.claim.replace("1000", "1001");
    let other_key = Pc { id: pc.id.clone(), key: ed25519_dalek::SigningKey::from_bytes(&[9; 32]), seq: 0 };
    let unknown = Pc { id: "f".repeat(32), key: pc.key.clone(), seq: 0 };
    for bad in
        [forged, other_key.ticket(&site, 0), unknown.ticket(&site, 0), pc.ticket(&site, 601), pc.ticket(&site, -601)]
    {
        alice.check_in(&site, "7.2.0", Some(bad)).await;
        let table = site.preflight("7.3.0").await;
        assert_eq!(rows(&table), [row("alice@example.test", "pc-1", "cut-off"), row("-", "pc-1", "ready")]);
    }
    alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 30))).await;
    let table = site.preflight("7.3.0").await;
    assert_eq!(rows(&table), [row("alice@example.test", "pc-1", "ready")]);

    site.pass(500);
    alice.check_in(&site, "7.2.0", None).await;
    assert_eq!(rows(&site.preflight("7.3.0").await).len(), 1, "an updater that restarts is not taken for absent");
    site.pass(200);
    alice.check_in(&site, "7.2.0", None).await;
    let table = site.preflight("7.3.0").await;
    assert_eq!(rows(&table)[0], row("alice@example.test", "pc-1", "cut-off"), "one that stays away is");
    site.stop().await;
}

#[tokio::test]
async fn an_old_process_must_change_even_when_its_pc_has_switched() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc-1").await;
    let alice = Seat::log_in(&site, "alice", "pc-1").await;
    site.server_runs("7.3.0").await;
    pc.check_in(&site, &pc.device("pc-1", "7.3.0", &["7.3.0"])).await;
    let old = alice.check_in(&site, "7.2.0", Some(pc.ticket(&site, 0))).await;
    assert_eq!(old["directive"]["decision"], "required");
    let new = alice.check_in(&site, "7.3.0", Some(pc.ticket(&site, 0))).await;
    assert_eq!(new["directive"]["decision"], "current");
    assert!(new["integration_page"].as_str().unwrap().ends_with("/integration"));
    site.stop().await;
}

#[tokio::test]
async fn two_pcs_of_a_user_and_two_users_of_a_pc_are_kept_apart() {
    let site = Site::start().await;
    let mut shared = Pc::enrol(&site, "shared").await;
    shared.check_in(&site, &shared.device("shared", "7.2.0", &["7.3.0"])).await;
    let alice = Seat::log_in(&site, "alice", "shared").await;
    let bob = Seat::log_in(&site, "bob", "shared").await;
    let alice_at_home = Seat::log_in(&site, "alice", "home").await;
    alice.check_in(&site, "7.2.0", Some(shared.ticket(&site, 0))).await;
    bob.check_in(&site, "7.2.0", Some(shared.ticket(&site, 0))).await;
    alice_at_home.check_in(&site, "7.2.0", None).await;
    let table = site.preflight("7.3.0").await;
    assert_eq!(
        rows(&table),
        [row("alice", "home", "cut-off"), row("alice", "shared", "ready"), row("bob", "shared", "ready")]
    );
    site.stop().await;
}

#[tokio::test]
async fn a_seats_token_touches_that_seat_only_and_a_new_login_replaces_it() {
    let site = Site::start().await;
    let seat = "0123456789abcdef0123456789abcdef";
    let token = |answer: Value| answer["token"].as_str().unwrap().to_owned();
    let alice = token(try_log_in(&site, "alice", "right", seat, "pc").await.json().await.unwrap());
    let mallory = token(try_log_in(&site, "mallory", "right", seat, "pc").await.json().await.unwrap());
    let at = |token: &str| Seat { token: token.into(), hostname: "pc".into() };
    at(&alice).check_in(&site, "7.2.0", None).await;
    let line = |dump: String| dump.lines().filter(|l| l.contains("user=alice")).collect::<Vec<_>>().join("\n");
    let before = line(site.app.store.dump().await);
    site.pass(5);
    at(&mallory).check_in(&site, "7.3.0", None).await;
    assert_eq!(line(site.app.store.dump().await), before, "the same seat id of another user is another seat");

    // The name in the token cannot be exchanged: the whole token is what is known.
    let (_, secret) = mallory.split_once('.').unwrap();
    let (name, _) = alice.split_once('.').unwrap();
    let mixed = format!("{name}.{secret}");
    for stranger in [mixed.as_str(), "nonsense", ""] {
        let answer = site.client.get(format!("{}/v1/push/connector", site.base)).bearer_auth(stranger).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let renewed = token(try_log_in(&site, "alice", "right", seat, "pc").await.json().await.unwrap());
    let old = site.client.get(format!("{}/v1/push/connector", site.base)).bearer_auth(&alice).send().await.unwrap();
    assert_eq!(old.status(), StatusCode::UNAUTHORIZED);
    at(&renewed).check_in(&site, "7.2.0", None).await;
    site.stop().await;
}

#[tokio::test]
async fn a_client_cannot_change_the_site_and_absurd_reports_are_cut() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, &"h".repeat(60_000)).await;
    let mut device = pc.device(&"h".repeat(20_000), "7.2.0", &[]);
    device.policy = Some(protocol::policy::UpgradePolicy::Ask);
    device.updater = Some("999999.0.0".parse().unwrap());
    let status = site.admin(Method::GET, "/v1/admin/status", None).await;
    pc.check_in(&site, &device).await;
    let after = site.admin(Method::GET, "/v1/admin/status", None).await;
    assert_eq!(after["products"], status["products"]);
    let stored = site.app.store.device(&pc.id).await.unwrap().unwrap();
    assert_eq!(stored.device.hostname.len(), 256);

    let huge = json!({"v": 1, "seq": 99, "device": device, "more": "x".repeat(70_000)}).to_string();
    let answer = pc.send(&site, CHECK_IN, CHECK_IN, &huge).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    site.stop().await;
}
