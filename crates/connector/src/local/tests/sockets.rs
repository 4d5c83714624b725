//! What only shows on sockets: time, many connections, stopping.

use super::harness::{PASSWORD, Servers, USER};
use crate::local::MAX_CONNECTIONS;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(port: u16) -> Client {
        Client(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()))
    }

    async fn log_in(port: u16) -> Client {
        let mut client = Client::connect(port).await;
        client.line().await;
        let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
        client.say(&format!("a LOGIN {USER} \"{quoted}\"\r\n")).await;
        client
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line; empty at the end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(Duration::from_secs(10), self.0.read_line(&mut line)).await.expect("no answer").unwrap();
        line
    }

    /// The next line with these words.
    async fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.line().await;
            assert!(!line.is_empty(), "closed before \"{words}\"");
            if line.contains(words) {
                return line;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_hears_of_mail_and_notices_within_a_second() {
    let servers = Servers::start().await;
    servers.notices.send_replace(Some("You are offline: the updater is not installed.".into()));
    let mut client = Client::log_in(servers.imap).await;
    client.until("* OK [ALERT] You are offline").await;
    client.say("b SELECT INBOX\r\nc IDLE\r\n").await;
    client.until("+ idling").await;
    let inbox = servers.inbox;
    let told = Instant::now();
    servers
        .store
        .call(move |s| {
            let flags = mail_store::Flags::new();
            let remote = mail_store::RemoteMessage { uid: 900, flags: &flags, date: 1, body: b"Subject: new\r\n\r\n" };
            s.apply_remote_messages(inbox, &[remote])
        })
        .await
        .unwrap();
    client.until("12 EXISTS").await;
    servers.notices.send_replace(Some("You are online again.".into()));
    client.until("* OK [ALERT] You are online again.").await;
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    client.say("DONE\r\n").await;
    client.until("c OK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_told_to_come_back_and_room_is_made_again() {
    let servers = Servers::start().await;
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = Client::connect(servers.imap).await;
        assert!(client.line().await.starts_with("* OK"));
        open.push(client);
    }
    assert_eq!(Client::connect(servers.imap).await.line().await, "* BYE too many connections, try again later\r\n");
    assert!(Client::connect(servers.smtp).await.line().await.starts_with("220"), "the other server has its own limit");
    drop(open);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Client::connect(servers.imap).await.line().await.starts_with("* OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_says_good_bye_also_to_those_who_idle() {
    let servers = Servers::start().await;
    let mut idle = Client::log_in(servers.imap).await;
    idle.say("b IDLE\r\n").await;
    idle.until("+ idling").await;
    let mut waiting = Client::connect(servers.imap).await;
    waiting.line().await;
    let mut smtp = Client::connect(servers.smtp).await;
    smtp.line().await;
    servers.stop.send_replace(true);
    assert!(idle.until("* BYE").await.contains("restarting"));
    assert!(waiting.until("* BYE").await.contains("restarting"));
    assert!(smtp.until("421").await.contains("restarting"));
    assert_eq!(idle.line().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_search_does_not_hold_up_another_client() {
    let servers = Servers::start().await;
    let drafts = servers.store.call(|s| Ok(s.folder_by_name("Drafts")?.unwrap().id)).await.unwrap();
    servers
        .store
        .call(move |s| {
            let body = format!("Subject: big\r\n\r\n{}", "0123456789abcdef\r\n".repeat(30_000));
            for i in 0..60 {
                s.append(drafts, format!("X-Number: {i}\r\n{body}").as_bytes(), &mail_store::Flags::new(), 1, 1)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let mut slow = Client::log_in(servers.imap).await;
    slow.say("b SELECT Drafts\r\nc SEARCH BODY nowhere\r\n").await;
    slow.until("b OK").await;
    let mut quick = Client::log_in(servers.imap).await;
    let asked = Instant::now();
    quick.say("b STATUS INBOX (MESSAGES)\r\n").await;
    quick.until("b OK").await;
    let waited = asked.elapsed();
    slow.until("c OK").await;
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}
