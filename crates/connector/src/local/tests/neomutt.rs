//! neomutt under tmux: an interactive mail program, driven by keys and watched on its screen.

use super::harness::{PASSWORD, Servers, USER};
use mail_store::{Flags, RemoteMessage};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the screen may take to show what is expected.
const PATIENCE: Duration = Duration::from_secs(60);

/// neomutt on a terminal of its own; both end with this.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn start(servers: &Servers) -> Terminal {
        let terminal = Terminal { socket: servers.path("tmux") };
        let muttrc = servers.write("muttrc", muttrc(servers));
        servers.write(
            "editor",
            "#!/bin/sh\n{ cat \"$1\"; echo; echo written in the editor; } > \"$1.new\" && mv \"$1.new\" \"$1\"\n",
        );
        let program = format!("env HOME={} neomutt -n -F {}", servers.dir.path().display(), muttrc.display());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "140", "-y", "40", &program]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "screen")
            .output()
            .unwrap_or_else(|e| {
                panic!("tmux is needed for this test and cannot be started ({e}); install the package tmux")
            });
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    /// Presses keys; names such as `Enter` are keys too.
    fn press(&self, keys: &[&str]) {
        for key in keys {
            self.tmux(&["send-keys", key]);
        }
    }

    fn kind(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Waits until the screen shows this.
    async fn shows(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                return screen;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "neomutt does not show {text:?}:\n{screen}\n(is the package neomutt installed?)"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn muttrc(servers: &Servers) -> String {
    let (imap, smtp, dir) = (servers.imap, servers.smtp, servers.dir.path().display());
    let user = USER.replace('@', "%40");
    let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        r#"set folder = "imap://{user}@127.0.0.1:{imap}/"
set spool_file = "+INBOX"
set record = "+Sent"
set postponed = "+Drafts"
set imap_pass = "{password}"
set smtp_url = "smtp://{user}@127.0.0.1:{smtp}/"
set smtp_pass = "{password}"
set ssl_force_tls = no
set ssl_starttls = no
set imap_authenticators = "login"
set smtp_authenticators = "plain"
set imap_idle = yes
set from = "{USER}"
set real_name = "Alice"
set editor = "sh {dir}/editor"
set tmpdir = "{dir}"
set sort = mailbox-order
set mark_old = no
set delete = yes
set confirm_append = no
set fast_reply = yes
set include = yes
set pager_stop = yes
set wait_key = no
set quit = yes
set mail_check = 1
set timeout = 2
"#
    )
}

/// Waits until the store is as expected.
async fn until<F>(servers: &Servers, what: &str, is_so: F)
where
    F: Fn(&mut mail_store::Store) -> mail_store::Result<bool> + Send + Clone + 'static,
{
    let start = Instant::now();
    while !servers.store.call(is_so.clone()).await.unwrap() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neomutt_reads_flags_moves_deletes_replies_and_hears_of_new_mail() {
    let servers = Servers::start().await;
    let inbox = servers.inbox;
    let mutt = Terminal::start(&servers);

    // Reading.
    mutt.shows("with an attachment").await;
    mutt.press(&["1", "Enter", "Enter"]);
    mutt.shows("Hello Bob.").await;
    mutt.press(&["i"]);
    mutt.shows("with an attachment").await;

    // Flagging, moving and deleting.
    mutt.press(&["1", "Enter", "F", "2", "Enter", "s"]);
    mutt.shows("Save to mailbox").await;
    mutt.press(&["C-u"]);
    mutt.kind("=Trash");
    mutt.press(&["Enter", "3", "Enter", "d", "$"]);
    until(&servers, "the message is not flagged", move |s| {
        Ok(s.messages(inbox)?.first().is_some_and(|m| m.flags.contains("\\Flagged") && m.flags.contains("\\Seen")))
    })
    .await;
    until(&servers, "two messages are not gone", move |s| Ok(s.messages(inbox)?.len() == 9)).await;
    until(&servers, "the moved message is not in Trash", |s| {
        let trash = s.folder_by_name("Trash")?.unwrap().id;
        let moved = s.messages(trash)?;
        Ok(moved.len() == 1 && String::from_utf8_lossy(&s.body(&moved[0].body)?).contains("with an attachment"))
    })
    .await;

    // New mail shows by itself.
    servers
        .store
        .call(move |s| {
            let body = b"From: carol@z.org\r\nSubject: just arrived\r\nMessage-ID: <new@z.org>\r\n\r\nnews\r\n";
            s.apply_remote_messages(inbox, &[RemoteMessage { uid: 900, flags: &Flags::new(), date: 1, body }])
        })
        .await
        .unwrap();
    mutt.shows("just arrived").await;

    // Replying: sent through the local submission server, a copy in Sent, the original marked.
    mutt.press(&["10", "Enter", "r"]);
    mutt.shows("Subject: Re: just arrived").await;
    mutt.press(&["y"]);
    until(&servers, "the reply is not in the outbox", |s| {
        let outbox = s.outbox()?;
        let Some(sent) = outbox.first() else { return Ok(false) };
        let text = String::from_utf8_lossy(&s.body(&sent.body)?).into_owned();
        assert_eq!((sent.sender.as_str(), sent.recipients.as_slice()), (USER, &["carol@z.org".to_owned()][..]));
        assert!(text.contains("> news") && text.contains("written in the editor"), "{text}");
        Ok(true)
    })
    .await;
    until(&servers, "the reply is not in Sent", |s| {
        let sent = s.folder_by_name("Sent")?.unwrap().id;
        Ok(s.messages(sent)?.len() == 1)
    })
    .await;
    mutt.shows("just arrived").await;
    mutt.press(&["$"]);
    until(&servers, "the message is not marked as answered", move |s| {
        Ok(s.messages(inbox)?.last().is_some_and(|m| m.flags.contains("\\Answered")))
    })
    .await;
    mutt.press(&["q"]);
}
