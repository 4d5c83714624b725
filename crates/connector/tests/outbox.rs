//! Outgoing mail: accepted locally, sent once, never dropped in silence.

#![cfg(unix)]

mod support;

use std::{process::Command, sync::Arc};

use lockstep_connector::local::{self, Credentials, LocalContext};
use mail_store::{NewOutgoing, OutboxState};
use protocol::message::Gate;
use support::{
    Connector,
    mail_rig::{ALICE, BOB, MailRig},
    message, now, until,
};
use tokio::{net::TcpListener, sync::watch};

async fn queue(connector: &Connector, to: &[&str], subject: &str) {
    let (recipients, message) = (to.iter().map(|s| s.to_string()).collect::<Vec<_>>(), message(subject));
    connector
        .call(move |store| {
            let new = NewOutgoing {
                sender: ALICE,
                recipients: &recipients,
                message: &message,
                body8bit: false,
                smtputf8: false,
            };
            store.queue(&new, now())
        })
        .await;
}

async fn states(connector: &Connector) -> Vec<OutboxState> {
    connector.call(|store| store.outbox()).await.into_iter().map(|message| message.state).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mail_program_submits_arrives_once_and_whole() {
    let (rig, data) = (MailRig::start(), tempfile::tempdir().unwrap());
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_stop, stopping) = watch::channel(false);
    let context = LocalContext {
        store: connector.store.clone(),
        credentials: Arc::new(Credentials::new(ALICE, "local")),
        notices: connector.gate.notices(),
        version: "7.2.0".into(),
    };
    tokio::spawn(local::serve_submission(listener, context, stopping));

    let file = data.path().join("message.eml");
    std::fs::write(&file, message("by submission")).unwrap();
    let sent = tokio::task::spawn_blocking(move || {
        Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--user",
                &format!("{ALICE}:local"),
                "--mail-from",
                ALICE,
                "--mail-rcpt",
                BOB,
            ])
            .arg("--upload-file")
            .arg(file)
            .arg(format!("smtp://127.0.0.1:{port}"))
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    until("it arrives", || async { rig.count(BOB, "INBOX", "SUBJECT \"by submission\"") == 1 }).await;
    assert_eq!(states(&connector).await, [OutboxState::Sent]);
    let uid = &rig.search(BOB, "INBOX", "ALL")[0];
    let text = rig.imap(BOB, "INBOX", &format!("UID FETCH {uid} BODY[TEXT]"));
    // "by submission", a line with a lone dot, "end": 23 bytes.
    assert!(text.contains("BODY[TEXT] {23}"), "{text}");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rig.count(BOB, "INBOX", "ALL"), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_gate_keeps_mail_and_an_open_one_sends_it_once() {
    let (rig, data) = (MailRig::start(), tempfile::tempdir().unwrap());
    let connector = Connector::shut(&rig, ALICE, data.path());
    connector.decide(true);
    queue(&connector, &[BOB], "waits").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rig.logins(), 0, "{}", rig.log());
    assert_eq!(states(&connector).await, [OutboxState::Queued]);
    // Killed and started again it still waits, and is sent once.
    connector.kill().await;
    let connector = Connector::shut(&rig, ALICE, data.path());
    connector.decide(false);
    connector.wait_for_gate(Gate::Online).await;
    until("it arrives", || async { rig.count(BOB, "INBOX", "SUBJECT waits") > 0 }).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rig.count(BOB, "INBOX", "ALL"), 1);
    assert_eq!(states(&connector).await, [OutboxState::Sent]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_waits_for_a_mail_server_that_is_away() {
    let (mut rig, data) = (MailRig::start(), tempfile::tempdir().unwrap());
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    rig.power_off();
    connector.wait_for_gate(Gate::Offline).await;
    queue(&connector, &[BOB], "patient").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(states(&connector).await, [OutboxState::Queued]);
    rig.power_on();
    until("it arrives", || async { rig.count(BOB, "INBOX", "SUBJECT patient") == 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_mail_server_will_never_take_comes_back_to_the_user() {
    let (rig, data) = (MailRig::start(), tempfile::tempdir().unwrap());
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    queue(&connector, &["nobody@elsewhere.test"], "lost cause").await;
    queue(&connector, &["nobody@elsewhere.test", BOB], "half a cause").await;
    until("both are settled", || async {
        states(&connector).await.iter().all(|state| matches!(state, OutboxState::Failed | OutboxState::Sent))
    })
    .await;
    assert_eq!(states(&connector).await, [OutboxState::Failed, OutboxState::Sent]);
    until("Bob has his", || async { rig.count(BOB, "INBOX", "SUBJECT half") == 1 }).await;
    let notices = connector.messages("INBOX").await;
    assert_eq!(connector.subjects("INBOX").await, ["[Lockstep] Your message was not delivered"; 2]);
    assert!(notices.iter().all(|notice| notice.local_only));
    let body = notices[0].body;
    let text = String::from_utf8(connector.call(move |store| store.body(&body)).await).unwrap();
    assert!(text.contains("nobody@elsewhere.test: ") && text.contains("relay not permitted"), "{text}");
    assert!(text.contains("Subject: lost cause"), "the message itself is in it");
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 0, "a local message stays local");
}
