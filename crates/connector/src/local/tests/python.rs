//! Python's imaplib and smtplib: the scripts stand beside this file and assert for themselves.

use super::harness::{PASSWORD, Servers, USER, run};
use mail_store::PendingOp;

async fn script(servers: &Servers, script: &str, port: u16) -> String {
    let (file, port) = (servers.write("client.py", script), port.to_string());
    let arguments = [file.to_str().unwrap(), &port, USER, PASSWORD];
    run("python3", "python3", &arguments, servers.dir.path()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn imaplib_reads_searches_changes_and_idles() {
    let servers = Servers::start().await;
    let printed = script(&servers, include_str!("imaplib_client.py"), servers.imap).await;
    assert!(printed.ends_with("all well\n"), "{printed}");
    let journal = servers.store.call(|s| s.pending(1000)).await.unwrap();
    let count = |wanted: fn(&PendingOp) -> bool| journal.iter().filter(|p| wanted(&p.op)).count();
    assert_eq!(count(|op| matches!(op, PendingOp::Append { .. })), 2);
    assert_eq!(count(|op| matches!(op, PendingOp::Copy { .. })), 1);
    assert_eq!(count(|op| matches!(op, PendingOp::Move { .. })), 1);
    assert_eq!(count(|op| matches!(op, PendingOp::Expunge { .. })), 1);
    assert_eq!(count(|op| matches!(op, PendingOp::CreateFolder { name, .. } if name == "Neu & schön")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn smtplib_submits_and_what_was_accepted_is_in_the_outbox() {
    let servers = Servers::start().await;
    let printed = script(&servers, include_str!("smtplib_client.py"), servers.smtp).await;
    assert!(printed.ends_with("all well\n"), "{printed}");
    let (outbox, bodies) = servers
        .store
        .call(|s| {
            let outbox = s.outbox()?;
            let bodies = outbox.iter().map(|o| s.body(&o.body)).collect::<Result<Vec<_>, _>>()?;
            Ok((outbox, bodies))
        })
        .await
        .unwrap();
    assert_eq!(outbox.len(), 3);
    assert_eq!((outbox[0].sender.as_str(), outbox[0].recipients.as_slice()), (USER, &["bob@y.org".to_owned()][..]));
    let first = String::from_utf8_lossy(&bodies[0]);
    assert!(
        first.contains("\r\n.\r\n..two dots\r\n") && first.contains("Message-ID: <") && first.contains("Date: "),
        "{first}"
    );
    assert_eq!(outbox[1].recipients.len(), 150);
    assert!(outbox[2].body8bit && outbox[2].smtputf8 && outbox[2].sender == "jürgen@example.test", "{:?}", outbox[2]);
    assert!(String::from_utf8_lossy(&bodies[2]).contains("Grüße"));
}
