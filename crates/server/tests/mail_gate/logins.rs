//! Who gets in, what a refused one is told, and how long everybody waits.

use std::time::Duration;

use serde_json::Value;

use crate::{
    client::{ALICE, BOB, PASSWORD, connector},
    site::Site,
};

#[tokio::test]
async fn the_mail_server_refuses_an_outdated_connector_and_nobody_else() {
    let site = Site::start().await;
    let old = connector("7.2.0");
    site.login(ALICE, PASSWORD, Some(&old)).await.expect("it works with 7.2.0");
    site.server_runs("7.3.0").await;

    for _ in 0..5 {
        let refused = site.login(ALICE, PASSWORD, Some(&old)).await.unwrap_err();
        let text = refused.answer;
        assert!(text.starts_with("NO [ALERT] Lockstep Connector 7.2.0 does not work with the mail server"), "{text}");
        assert!(text.contains("has version 7.3.0") && text.contains("/integration"), "{text}");
        assert!(text.contains("read your mail at https://webmail.example.test"), "{text}");
    }
    // A penalty for the address would be four seconds and more; the best of three tries tells it from a busy machine.
    let mut took = Vec::new();
    for _ in 0..3 {
        took.push(site.login(ALICE, PASSWORD, None).await.expect("a plain client").took);
        took.push(site.login(BOB, PASSWORD, Some("\"name\" \"mbsync\" \"version\" \"7.2.0\"")).await.unwrap().took);
    }
    eprintln!("plain logins after five refusals from the same address: {took:?}");
    assert!(
        took.iter().min().unwrap() < &Duration::from_secs(1) && took.iter().max().unwrap() < &Duration::from_secs(4),
        "{took:?}"
    );
    site.login(ALICE, PASSWORD, Some(&connector("7.3.0"))).await.expect("a current connector");
    site.login(ALICE, PASSWORD, Some("NIL")).await.expect("a client without a name");

    let status = site.status().await;
    let gate = &status["mail_gate"];
    assert_eq!(gate["counts"]["refused"], 5, "{gate}");
    assert!(gate["counts"]["asked"].as_u64().unwrap() >= 12, "{gate}");
}

#[tokio::test]
async fn a_wrong_password_is_slowed_down_as_before_and_not_told_to_lockstep_server() {
    let site = Site::start().await;
    let before = site.status().await["mail_gate"]["counts"]["asked"].clone();
    let refused = site.login(ALICE, "wrong", Some(&connector("7.2.0"))).await.unwrap_err();
    assert!(refused.answer.starts_with("NO [AUTHENTICATIONFAILED]"), "{}", refused.answer);
    // One second and twice that are Dovecot's own delays; what is added for an address that guesses begins at four.
    let again = site.login(ALICE, "wrong too", Some(&connector("7.2.0"))).await.unwrap_err();
    assert!(again.took > Duration::from_secs(3), "{:?}, then {:?}", refused.took, again.took);
    assert_eq!(site.status().await["mail_gate"]["counts"]["asked"], before);
}

#[tokio::test]
async fn with_lockstep_server_hung_or_down_mail_goes_on() {
    let mut site = Site::start().await;
    site.server_runs("7.3.0").await;
    let normal = site.login(ALICE, PASSWORD, None).await.unwrap().took;

    site.signal("STOP");
    for id in [None, Some(connector("7.2.0"))] {
        let took = site.login(ALICE, PASSWORD, id.as_deref()).await.expect("it is let in").took;
        eprintln!("normal {normal:?}, hung {took:?}");
        assert!(took > Duration::from_secs(1), "it was not asked at all");
        assert!(took < normal + Duration::from_secs(2), "{took:?}");
    }
    site.signal("CONT");
    let back = site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await;
    assert!(back.is_err(), "it decides again");

    site.kill();
    let took = site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.expect("it is let in").took;
    eprintln!("down {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_refusal_is_in_the_users_story_once_and_not_a_flood() {
    let site = Site::start().await;
    let seat = site.seat(ALICE).await;
    site.check_in(&seat, "7.2.0", "online").await;
    site.server_runs("7.3.0").await;
    for _ in 0..20 {
        site.login(ALICE, PASSWORD, Some(&connector("7.2.0"))).await.unwrap_err();
    }
    let story = story_with(&site, "refused the login").await;
    let lines: Vec<&str> =
        story.iter().map(|l| l.as_str().unwrap()).filter(|l| l.contains("refused the login")).collect();
    assert_eq!(lines.len(), 1, "{story:?}");
    assert!(lines[0].contains("connector 7.2.0 from 127.0.0.1"), "{lines:?}");
    assert!(site.log().lines().filter(|line| line.contains("refused")).count() <= 2, "{}", site.log());
}

/// The story of the only seat, when it has such a line.
async fn story_with(site: &Site, words: &str) -> Vec<Value> {
    for _ in 0..200 {
        let status = site.status().await;
        let of = format!("/v1/admin/story?of={}", status["seats"][0]["seat"].as_str().unwrap());
        let story = site.admin(reqwest::Method::GET, &of, None).await["story"].as_array().cloned().unwrap();
        let story: Vec<Value> = story.into_iter().map(|event| event["text"].clone()).collect();
        if story.iter().any(|line| line.as_str().unwrap().contains(words)) {
            return story;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no {words:?} in the story");
}
