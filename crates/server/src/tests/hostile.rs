//! What clients say is data: on pages, in answers and in the log.

use reqwest::Method;

use super::site::{
    Site,
    pc::{Pc, Seat},
};
use crate::plain_text::acts;

const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
const TERMINAL: &str = "\u{1b}]0;owned\u{7}\u{9b}2J\r\n[01/Jan/2030 00:00:00] forged\u{202e}gpj.exe";

#[tokio::test]
async fn hostile_names_are_inert_everywhere() {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, MARKUP).await;
    let mut device = pc.device(&format!("{MARKUP}{TERMINAL}"), "7.2.0", &[]);
    let state = device.products.get_mut(&protocol::product::ProductId::connector()).unwrap();
    state.detail = Some(format!("{TERMINAL}{MARKUP}"));
    pc.check_in(&site, &device).await;
    let users = ["<b>eve</b>", "../../../../bin/cp", "'; DROP TABLE seats; --", "\u{202e}evil", "=HYPERLINK(\"x\")"];
    for user in users {
        let seat = Seat::log_in(&site, user, &format!("{TERMINAL}{MARKUP}")).await;
        seat.check_in(&site, "7.2.0", None).await;
    }

    let cookie = site.console().await;
    let table = site.preflight("7.3.0").await;
    assert_eq!(table["rows"].as_array().unwrap().len(), users.len() + 1, "every name is its own row");
    let mut pages = vec![site.page(&cookie, "/console").await, site.page(&cookie, "/console/settings").await];
    for row in table["rows"].as_array().unwrap() {
        let subject = row["subject"].as_str().unwrap();
        pages.push(site.page(&cookie, &format!("/console/pc/{subject}")).await);
    }
    for page in &pages {
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>eve"), "{page}");
        assert!(!page.chars().any(|c| acts(c) && c != '\n'), "{page:?}");
    }
    assert!(pages[0].contains("&#60;b&#62;eve&#60;/b&#62;") || pages[0].contains("&lt;b&gt;eve"), "{}", pages[0]);
    let refused = site.client.get(format!("{}/console", site.base)).send().await.unwrap();
    let policy = refused.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(refused.headers()["x-content-type-options"], "nosniff");

    let warned = site.admin(Method::POST, "/v1/admin/warn", None).await;
    assert_eq!(warned["affected"].as_array().unwrap().len(), users.len());
    let log = std::fs::read_to_string(site.dir.path().join("data/logs/warning.log")).unwrap();
    assert_eq!(log.lines().count(), 5 + users.len());
    for line in log.lines() {
        assert!(line.starts_with('[') && !line.chars().any(acts), "{line:?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn bad_utf8_and_garbage_are_refused() {
    let site = Site::start().await;
    let before = site.app.store.dump().await;
    for body in [&b"\xff\xfe{"[..], b"[]", b"null", b"{\"v\":1}", b""] {
        for path in ["/v1/enrol", "/v1/login"] {
            let answer = site.client.post(format!("{}{path}", site.base)).body(body.to_vec()).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{path}");
        }
    }
    assert_eq!(site.app.store.dump().await, before);
    site.stop().await;
}
