//! A mail server that lets everybody in but this version of the connector (Dovecot's auth policy): the connector does not
//! hammer, and nobody else at its address is slowed down.

#![cfg(unix)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use support::{
    Connector,
    mail_rig::{ALICE, MailRig},
    message, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers Dovecot's questions: no to the connector, yes to everybody else. Counts the former.
async fn policy_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = refused.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                // Dovecot's body is one JSON object, and it keeps the connection.
                while let Ok(read) = stream.read(&mut piece).await
                    && read > 0
                {
                    request.extend_from_slice(&piece[..read]);
                    if !request.ends_with(b"}") {
                        continue;
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let connector = text.contains("lockstep-connector") && text.contains("command=allow");
                    counter.fetch_add(usize::from(connector), Ordering::SeqCst);
                    let body = if connector {
                        r#"{"status":-1,"msg":"Lockstep Connector 7.2.0 does not work with this server"}"#
                    } else {
                        r#"{"status":0,"msg":""}"#
                    };
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                    let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                    request.clear();
                }
            });
        }
    });
    (port, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_connector_that_the_mail_server_refuses_backs_off_and_others_log_in_at_once() {
    let (port, refused) = policy_server().await;
    let rig = tokio::task::spawn_blocking(move || {
        MailRig::with(|setup| {
            setup.dovecot = format!(
                "auth_policy_server_url = http://127.0.0.1:{port}/\nauth_policy_hash_nonce = n\n\
                 auth_policy_request_attributes = login=%{{user}} remote=%{{rip}} device_id=%{{client_id}} protocol=%s\n\
                 auth_policy_check_before_auth = no\nauth_policy_check_after_auth = yes\n\
                 auth_policy_report_after_auth = no\n"
            );
        })
    });
    let rig = rig.await.unwrap();
    rig.append(ALICE, "INBOX", &message("hello"));
    let data = tempfile::tempdir().unwrap();
    let connector = Connector::shut(&rig, ALICE, data.path());
    connector.decide(false);
    until("refused", || async { refused.load(Ordering::SeqCst) > 0 }).await;
    let notice = || connector.gate.subscribe().borrow().notice.clone().unwrap_or_default();
    until("the user is told", || async { notice().contains("does not work with this server") }).await;

    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let login = Instant::now();
        assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 1);
        assert!(login.elapsed() < Duration::from_secs(1), "{:?}", login.elapsed());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(refused.load(Ordering::SeqCst), 1, "one login in the first half minute:\n{}", rig.log());
    connector.kill().await;
}
