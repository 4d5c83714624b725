//! "Ask again, now": what a stream brings, and when.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::json;
use tokio::time::timeout;

use super::site::{
    Site,
    pc::{Pc, Seat},
};

async fn event(stream: &mut Response) -> String {
    let chunk = timeout(Duration::from_secs(10), stream.chunk()).await.expect("an event comes").unwrap().unwrap();
    String::from_utf8(chunk.to_vec()).unwrap()
}

async fn silent(stream: &mut Response) -> bool {
    timeout(Duration::from_millis(300), stream.chunk()).await.is_err()
}

async fn listen(site: &Site, seat: &Seat) -> Response {
    let request = site.client.get(format!("{}/v1/push/connector", site.base)).bearer_auth(&seat.token);
    let stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    stream
}

#[tokio::test]
async fn a_server_that_changes_wakes_everybody_at_once() {
    let site = Site::start().await;
    let seat = Seat::log_in(&site, "alice", "pc").await;
    seat.check_in(&site, "7.2.0", None).await;
    let mut connector = listen(&site, &seat).await;
    let mut pc = Pc::enrol(&site, "pc").await;
    pc.check_in(&site, &pc.device("pc", "7.2.0", &[])).await;
    let hello = json!({"v": 1, "seq": 2}).to_string();
    let mut device = pc.send(&site, "/v1/push/device", "/v1/push/device", &hello).await;
    assert!(silent(&mut connector).await && silent(&mut device).await, "nothing has changed since the check-ins");

    let status = site.admin(Method::GET, "/v1/admin/status", None).await;
    assert_eq!((&status["seats"][0]["connected"], &status["seats"][0]["gate"]), (&json!(true), &json!("online")));
    site.server_runs("7.3.0").await;
    for stream in [&mut connector, &mut device] {
        let event = event(stream).await;
        assert!(event.starts_with("data: {") && event.contains("7.3.0"), "{event}");
    }
    let status = site.admin(Method::GET, "/v1/admin/status", None).await;
    assert!(status["seats"][0]["gate"].is_null(), "what it said before the flip no longer counts");
    let replay = pc.send(&site, "/v1/push/device", "/v1/push/device", &hello).await;
    assert_eq!(replay.status(), 409);
    site.stop().await;
}

#[tokio::test]
async fn news_between_check_in_and_stream_are_not_lost() {
    let site = Site::start().await;
    let seat = Seat::log_in(&site, "alice", "pc").await;
    seat.check_in(&site, "7.2.0", None).await;
    site.server_runs("7.3.0").await;
    let mut stream = listen(&site, &seat).await;
    assert!(event(&mut stream).await.contains("news"));
    site.stop().await;
}

#[tokio::test]
async fn new_releases_a_cut_over_and_a_switch_are_pushed_and_streams_end_with_the_server() {
    let site = Site::start().await;
    let seat = Seat::log_in(&site, "alice", "pc").await;
    seat.check_in(&site, "7.2.0", None).await;
    let mut stream = listen(&site, &seat).await;
    site.admin(Method::POST, "/v1/admin/cut-over", Some(json!({"to": "7.3.0"}))).await;
    assert!(event(&mut stream).await.contains("announced"));
    site.vendor.publish(2, &[("connector", "7.2.0", ">=7.2, <7.3"), ("connector", "7.2.1", ">=7.2, <7.3")]);
    site.admin(Method::POST, "/v1/admin/refresh", None).await;
    assert!(event(&mut stream).await.contains("releases"));
    site.admin(Method::PUT, "/v1/admin/settings/readiness", Some(json!({"on": false}))).await;
    assert!(event(&mut stream).await.contains("readiness"));
    timeout(Duration::from_secs(5), site.stop())
        .await
        .expect("a listening client does not keep the server from stopping");
    assert!(stream.chunk().await.map_or(true, |rest| rest.is_none()));
}
