//! Every route that changes something: whoever may not is denied, and nothing changes.

use reqwest::{Method, StatusCode};

use super::site::{
    Site,
    pc::{Pc, Seat},
};

/// Method, path, body, and content type of every route that changes something.
const ROUTES: [(&str, &str, &str, &str); 12] = [
    ("POST", "/v1/enrol", "{}", "application/json"),
    ("POST", "/v1/check-in/device", "{}", "application/json"),
    ("POST", "/v1/push/device", "{}", "application/json"),
    ("POST", "/v1/login", "{}", "application/json"),
    ("POST", "/v1/check-in/connector", "{}", "application/json"),
    ("POST", "/v1/admin/warn", "", "application/json"),
    ("POST", "/v1/admin/server-version", r#"{"product":"connector","version":"7.3.0"}"#, "application/json"),
    ("POST", "/v1/admin/cut-over", r#"{"product":"connector","to":"7.3.0"}"#, "application/json"),
    ("POST", "/v1/admin/refresh", "", "application/json"),
    ("PUT", "/v1/admin/settings/readiness", r#"{"on":false}"#, "application/json"),
    ("POST", "/console/settings", "setting=readiness&on=false&form=x", "application/x-www-form-urlencoded"),
    ("POST", "/console/logout", "form=x", "application/x-www-form-urlencoded"),
];

async fn prepared() -> (Site, String, String) {
    let site = Site::start().await;
    let mut pc = Pc::enrol(&site, "pc").await;
    pc.check_in(&site, &pc.device("pc", "7.2.0", &[])).await;
    let seat = Seat::log_in(&site, "alice", "pc").await;
    seat.check_in(&site, "7.2.0", None).await;
    let cookie = site.console().await;
    (site, seat.token, cookie)
}

async fn state(site: &Site) -> (String, String, bool) {
    let data = site.dir.path().join("data");
    let config = std::fs::read_to_string(data.join("server.toml")).unwrap();
    (site.app.store.dump().await, config, data.join("logs").exists())
}

#[tokio::test]
async fn whoever_may_not_is_denied_and_nothing_changes() {
    let (site, seat, cookie) = prepared().await;
    let before = state(&site).await;
    for (method, path, body, kind) in ROUTES {
        let request = |method: Method| {
            site.client
                .request(method, format!("{}{path}", site.base))
                .header("content-type", kind)
                .body(body.to_owned())
        };
        let own: Method = method.parse().unwrap();
        let look_alike = site.base.replace("localhost", "localhost.evil.example");
        let attempts = [
            ("nothing", request(own.clone())),
            ("a made-up token", request(own.clone()).bearer_auth("guess")),
            ("a user's token", request(own.clone()).bearer_auth(&seat)),
            (
                "a console session, but no form token",
                request(own.clone()).header("cookie", &cookie).header("origin", &site.base),
            ),
            ("a console session and no origin", request(own.clone()).header("cookie", &cookie)),
            (
                "another site's page",
                request(own.clone())
                    .bearer_auth(&site.token)
                    .header("cookie", &cookie)
                    .header("origin", "https://evil.example"),
            ),
            (
                "a look-alike",
                request(own.clone()).bearer_auth(&site.token).header("cookie", &cookie).header("origin", look_alike),
            ),
            (
                "a sandboxed page",
                request(own.clone()).bearer_auth(&site.token).header("cookie", &cookie).header("origin", "null"),
            ),
            ("a link", request(Method::GET)),
        ];
        for (who, attempt) in attempts {
            let status = attempt.send().await.unwrap().status();
            let page = path == "/console/settings" && who == "a link";
            assert!(status.is_client_error() || status == StatusCode::SEE_OTHER, "{who}: {method} {path}: {status}");
            assert!(!page || status == StatusCode::SEE_OTHER, "without a session the page leads to the login");
        }
    }
    assert_eq!(state(&site).await, before);
    site.stop().await;
}

#[tokio::test]
async fn the_form_token_of_one_session_is_worth_nothing_in_another() {
    let (site, _, mine) = prepared().await;
    let theirs = site.console().await;
    let form =
        |page: String| page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let token = form(site.page(&mine, "/console/settings").await);
    let send = |cookie: &str| {
        site.client
            .post(format!("{}/console/settings", site.base))
            .header("cookie", cookie)
            .header("origin", &site.base)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("setting=statistics&on=true&form={token}"))
            .send()
    };
    let before = state(&site).await;
    assert_eq!(send(&theirs).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(state(&site).await, before);
    assert_eq!(send(&mine).await.unwrap().status(), StatusCode::SEE_OTHER);
    assert!(state(&site).await.1.contains("contribute = true"));
    site.stop().await;
}

#[tokio::test]
async fn a_wrong_console_password_opens_nothing_and_guessing_is_stopped() {
    let site = Site::start().await;
    let mut last = StatusCode::OK;
    for i in 0..12 {
        let name = if i % 2 == 0 { "admin" } else { "' OR 1=1 --" };
        let response = site
            .client
            .post(format!("{}/console/login", site.base))
            .header("origin", &site.base)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("name={name}&password=guess{i}"))
            .send()
            .await
            .unwrap();
        assert!(response.headers().get("set-cookie").is_none());
        last = response.status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    site.stop().await;
}

#[tokio::test]
async fn a_session_that_was_left_is_over() {
    let (site, _, cookie) = prepared().await;
    let page = site.page(&cookie, "/console").await;
    let form = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let left = site
        .client
        .post(format!("{}/console/logout", site.base))
        .header("cookie", &cookie)
        .header("origin", &site.base)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("form={form}"))
        .send()
        .await
        .unwrap();
    assert_eq!(left.status(), StatusCode::SEE_OTHER);
    let again = site.client.get(format!("{}/console", site.base)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(again.headers()["location"], "/console/login");
    site.stop().await;
}
