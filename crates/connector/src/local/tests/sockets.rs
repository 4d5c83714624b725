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
        // A connection that was cut off has ended too.
        let read = tokio::time::timeout(Duration::from_secs(60), self.0.read_line(&mut line)).await.expect("no answer");
        if let Err(error) = read {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
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
        let mut client = Client::log_in(servers.imap).await;
        client.until("a OK").await;
        open.push(client);
    }
    assert_eq!(Client::connect(servers.imap).await.line().await, "* BYE too many connections, try again later\r\n");
    assert!(Client::connect(servers.smtp).await.line().await.starts_with("220"), "the other server has its own limit");
    drop(open);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Client::connect(servers.imap).await.line().await.starts_with("* OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_keep_the_user_out() {
    let servers = Servers::start().await;
    let mut user = Client::log_in(servers.imap).await;
    user.until("a OK").await;
    let mut strangers = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        let mut stranger = Client::connect(servers.imap).await;
        assert!(stranger.line().await.starts_with("* OK"));
        strangers.push(stranger);
    }
    assert_eq!(strangers[0].line().await, "", "the oldest stranger made room");
    let mut again = Client::log_in(servers.imap).await;
    again.until("a OK").await;
    user.say("b NOOP\r\n").await;
    user.until("b OK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wrong_passwords_wait_longer_and_the_right_one_does_not_wait() {
    let servers = Servers::start().await;
    let guess = || async {
        let mut client = Client::connect(servers.imap).await;
        client.line().await;
        let asked = Instant::now();
        client.say("a LOGIN alice@example.test wrong\r\n").await;
        let answer = tokio::time::timeout(Duration::from_secs(60), client.until("a NO")).await.unwrap();
        assert!(answer.contains("[AUTHENTICATIONFAILED]"), "{answer}");
        asked.elapsed()
    };
    let waited = futures_util::future::join_all((0..30).map(|_| guess())).await;
    assert!(waited.iter().max().unwrap() >= &Duration::from_secs(3), "{waited:?}");
    let asked = Instant::now();
    Client::log_in(servers.imap).await.until("a OK").await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_a_big_message_in_many_ways_is_answered_piece_by_piece() {
    let servers = Servers::start().await;
    let drafts = servers.store.call(|s| Ok(s.folder_by_name("Drafts")?.unwrap().id)).await.unwrap();
    let body = format!("Subject: big\r\n\r\n{}", "0123456789abcdef".repeat(65_536));
    servers.store.call(move |s| s.append(drafts, body.as_bytes(), &mail_store::Flags::new(), 1, 1)).await.unwrap();
    let mut client = Client::log_in(servers.imap).await;
    let items: Vec<String> = (0..1_000).map(|i| format!("BODY.PEEK[]<{i}.2000000>")).collect();
    client.say(&format!("b SELECT Drafts\r\nc FETCH 1 ({})\r\n", items.join(" "))).await;
    client.until("BODY[]<0> {").await;
    // A gigabyte is on its way; another client is served meanwhile, and the notice comes when the answer is whole.
    let mut other = Client::log_in(servers.imap).await;
    other.say("b NOOP\r\n").await;
    other.until("b OK").await;
    servers.notices.send_replace(Some("not inside an answer".into()));
    let mut read = 0_usize;
    let mut buffer = vec![0; 1 << 20];
    while read < 50_000_000 {
        read += tokio::io::AsyncReadExt::read(&mut client.0, &mut buffer).await.unwrap();
        assert!(!buffer.windows(7).any(|w| w == b"[ALERT]"));
    }
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
