//! Requests that no mail server would send: whatever they are, everybody else is answered.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{ALICE, PASSWORD, connector},
    site::Site,
};

#[tokio::test]
async fn whatever_is_not_understood_lets_everybody_in() {
    let site = Site::start().await;
    site.server_runs("7.3.0").await;
    let old = json!({"device_id": connector("7.2.0"), "login": ALICE, "remote": "192.0.2.7", "port": "5"});
    let refused: Value = site.ask("allow", &site.secret, old.to_string()).await.unwrap().json().await.unwrap();
    assert_eq!(refused["status"], -1);
    for body in [
        String::new(),
        "{".into(),
        "[]".into(),
        "null".into(),
        "\u{0}\u{1}\u{ffff}".into(),
        json!({"device_id": 7, "login": [], "remote": {}}).to_string(),
        json!({"device_id": "\"name\" \"lockstep-connector\" \"version\""}).to_string(),
        json!({"device_id": "\"name\" \"lockstep-connector\" \"version\" \"seven\""}).to_string(),
        format!("{{\"device_id\":\"{}\"}}", "\\\"".repeat(30_000)),
        "[".repeat(60_000),
    ] {
        let answer = site.ask("allow", &site.secret, body.clone()).await.unwrap();
        assert_eq!(answer.status(), 200, "{}", &body[..body.len().min(60)]);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], 0, "{}", &body[..body.len().min(60)]);
    }
    for command in ["report", "", "drop", "%61llow", "report&command=allow"] {
        let answer: Value = site.ask(command, &site.secret, old.to_string()).await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], 0, "{command}");
    }
    // Too long: an error, which Dovecot takes for "let it in".
    let long = site.ask("allow", &site.secret, "x".repeat(1 << 20)).await;
    assert!(long.is_err() || !long.unwrap().status().is_success());
    // Odd values in an otherwise good request are still one refused client.
    let odd =
        json!({"device_id": connector("7.2.0"), "login": "\u{1b}[2J*".repeat(999), "remote": "nowhere", "port": "x"});
    let refused: Value = site.ask("allow", &site.secret, odd.to_string()).await.unwrap().json().await.unwrap();
    assert_eq!(refused["status"], -1);
}

#[tokio::test]
async fn without_the_secret_nothing_is_told_and_the_administrator_is() {
    let site = Site::start().await;
    let body = || json!({"device_id": connector("7.1.0")}).to_string();
    for secret in ["", "guess", &format!("{}x", site.secret), &site.secret[1..]] {
        assert_eq!(site.ask("allow", secret, body()).await.unwrap().status(), 401, "{secret}");
    }
    assert!(site.status().await["problems"].to_string().contains("mail gate: somebody asks it with a wrong secret"));
    assert_eq!(site.ask("allow", &site.secret, body()).await.unwrap().status(), 200);
    assert!(!site.status().await["problems"].to_string().contains("wrong secret"));
}

#[tokio::test]
async fn connections_that_say_nothing_hold_up_nobody() {
    let site = Site::start().await;
    site.server_runs("7.3.0").await;
    let mut silent = Vec::new();
    for i in 0..400 {
        let mut tcp = TcpStream::connect(("127.0.0.1", site.gate)).await.unwrap();
        let head =
            if i % 2 == 0 { "" } else { "POST /?command=allow HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n{" };
        tcp.write_all(head.as_bytes()).await.unwrap();
        silent.push(tcp);
    }
    assert!(site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.is_err(), "it still decides");
    // With every place taken, whoever comes is sent away at once, so Dovecot lets its client in without waiting.
    for _ in 0..300 {
        silent.push(TcpStream::connect(("127.0.0.1", site.gate)).await.unwrap());
    }
    let start = Instant::now();
    let mut one_too_many = TcpStream::connect(("127.0.0.1", site.gate)).await.unwrap();
    let end = one_too_many.read(&mut [0; 16]).await;
    assert!(end.is_err() || end.unwrap() == 0);
    assert!(start.elapsed() < Duration::from_secs(5));
    site.login(ALICE, PASSWORD, None).await.expect("a plain client");
}
