//! curl as an IMAP and SMTP client.

use super::harness::{PASSWORD, Servers, USER, run};
use super::samples;

async fn curl(servers: &Servers, arguments: &[&str]) -> String {
    let login = format!("{USER}:{PASSWORD}");
    let all: Vec<&str> = ["--silent", "--show-error", "--user", &login].iter().chain(arguments).copied().collect();
    run("curl", "curl", &all, servers.dir.path()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_lists_fetches_searches_and_appends() {
    let servers = Servers::start().await;
    let root = format!("imap://127.0.0.1:{}", servers.imap);
    let folders = curl(&servers, &[&root]).await;
    assert!(folders.contains("* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\""), "{folders}");
    let out = servers.path("fetched");
    for (number, (name, message)) in samples::all().iter().enumerate() {
        curl(&servers, &["--output", out.to_str().unwrap(), &format!("{root}/INBOX;MAILINDEX={}", number + 1)]).await;
        assert!(std::fs::read(&out).unwrap() == *message, "{name} did not arrive byte for byte");
    }
    let found = curl(&servers, &["--request", "SEARCH SUBJECT nested", &format!("{root}/INBOX")]).await;
    assert_eq!(found.trim(), "* SEARCH 3");
    let draft = servers.write("draft", "Subject: by curl\r\n\r\nbody\r\n");
    curl(&servers, &["--upload-file", draft.to_str().unwrap(), &format!("{root}/Drafts")]).await;
    let drafts = servers.store.call(|s| s.messages(s.folder_by_name("Drafts")?.unwrap().id)).await.unwrap();
    assert_eq!(drafts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_submits_a_message() {
    let servers = Servers::start().await;
    let url = format!("smtp://127.0.0.1:{}/client.example", servers.smtp);
    let mail = servers.write("mail", "From: alice\r\nSubject: by curl\r\n\r\n.\r\nbody\r\n");
    let arguments = ["--mail-from", USER, "--mail-rcpt", "bob@y.org", "--upload-file", mail.to_str().unwrap(), &url];
    curl(&servers, &arguments).await;
    let body = servers.store.call(|s| s.body(&s.outbox()?[0].body)).await.unwrap();
    assert!(String::from_utf8(body).unwrap().ends_with("From: alice\r\nSubject: by curl\r\n\r\n.\r\nbody\r\n"));
}
