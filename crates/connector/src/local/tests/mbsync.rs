//! mbsync (isync 1.4): a whole mailbox to Maildir and back.

use super::harness::{PASSWORD, Servers, USER, run};
use super::samples;
use mail_store::{Message, PendingOp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn configuration(servers: &Servers) -> PathBuf {
    let (maildir, port) = (servers.path("maildir"), servers.imap);
    std::fs::create_dir_all(&maildir).unwrap();
    let maildir = maildir.display();
    let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    servers.write(
        "mbsyncrc",
        format!(
            "IMAPStore far\nHost 127.0.0.1\nPort {port}\nUser {USER}\nPass \"{password}\"\nSSLType None\nAuthMechs LOGIN\n\n\
             MaildirStore near\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
        ),
    )
}

async fn mbsync(servers: &Servers) {
    let configuration = configuration(servers);
    run("mbsync", "isync", &["-c", configuration.to_str().unwrap(), "all"], servers.dir.path()).await;
}

/// The Maildir's messages by content.
fn files(folder: &Path) -> BTreeMap<Vec<u8>, PathBuf> {
    let mut found = BTreeMap::new();
    for part in ["cur", "new"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            found.insert(without_tuid(&std::fs::read(&path).unwrap()), path);
        }
    }
    found
}

/// mbsync marks what it has copied with a header line of its own.
fn without_tuid(message: &[u8]) -> Vec<u8> {
    message.split_inclusive(|&b| b == b'\n').filter(|line| !line.starts_with(b"X-TUID: ")).flatten().copied().collect()
}

/// As mbsync writes it into a Maildir.
fn in_maildir(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for (i, &b) in message.iter().enumerate() {
        if !(b == b'\r' && message.get(i + 1) == Some(&b'\n')) {
            out.push(b);
        }
    }
    out
}

fn with_flags(path: &Path, flags: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let base = name.split(":2,").next().unwrap();
    path.parent().unwrap().parent().unwrap().join("cur").join(format!("{base}:2,{flags}"))
}

async fn inbox(servers: &Servers) -> Vec<(Message, Vec<u8>)> {
    let inbox = servers.inbox;
    let read = servers.store.call(move |s| s.messages(inbox)?.into_iter().map(|m| Ok((s.body(&m.body)?, m))).collect());
    let messages: Vec<(Vec<u8>, Message)> = read.await.unwrap();
    messages.into_iter().map(|(body, message)| (message, body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_goes_to_maildir_and_changes_come_back() {
    let servers = Servers::start().await;
    mbsync(&servers).await;

    // Everything arrived, byte for byte, in folders with their real names.
    let near = servers.path("maildir/INBOX");
    let pulled = files(&near);
    for (name, message) in samples::all() {
        assert!(pulled.contains_key(&in_maildir(&message)), "{name} is not in the Maildir as it was");
    }
    assert_eq!(pulled.len(), samples::all().len());
    let folders: Vec<_> = std::fs::read_dir(servers.path("maildir")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        folders.iter().any(|f| f == "Drafts") && folders.iter().any(|f| f.to_string_lossy().starts_with("Entw")),
        "{folders:?}"
    );
    assert_eq!(servers.store.call(|s| s.pending_count()).await.unwrap(), 0, "pulling changes nothing");

    // Flag one, delete one, add one here; one arrives there.
    let sample = |name: &str| samples::all().into_iter().find(|(n, _)| *n == name).unwrap().1;
    let flagged = &pulled[&in_maildir(&sample("nested"))];
    std::fs::rename(flagged, with_flags(flagged, "FRS")).unwrap();
    let deleted = &pulled[&in_maildir(&sample("8bit"))];
    std::fs::rename(deleted, with_flags(deleted, "T")).unwrap();
    let draft = "Subject: from the Maildir\nMessage-ID: <new@x>\n\nGr\u{fc}\u{df}e\n";
    std::fs::write(servers.path("maildir/INBOX/cur/1.new.host:2,S"), draft).unwrap();
    servers
        .store
        .call({
            let inbox = servers.inbox;
            move |s| {
                let flags = mail_store::Flags::new();
                let body = b"Subject: arrived meanwhile\r\n\r\n";
                s.apply_remote_messages(inbox, &[mail_store::RemoteMessage { uid: 500, flags: &flags, date: 1, body }])
            }
        })
        .await
        .unwrap();
    mbsync(&servers).await;

    let after = inbox(&servers).await;
    let find = |body: &[u8]| after.iter().find(|(_, b)| b == body).map(|(m, _)| m.clone());
    assert_eq!(find(&sample("nested")).unwrap().flags.to_text(), "\\Answered \\Flagged \\Seen");
    assert!(find(&sample("8bit")).is_none(), "deleted and expunged");
    let (added, _) =
        after.iter().find(|(_, b)| b.windows(17).any(|w| w == b"from the Maildir\r")).expect("the new message");
    assert_eq!((added.flags.to_text().as_str(), added.remote_uid), ("\\Seen", None));
    assert!(files(&near).contains_key(&b"Subject: arrived meanwhile\n\n"[..]));

    // The journal holds exactly what the mail server has to hear, in order.
    let journal = servers.store.call(|s| s.pending(100)).await.unwrap();
    let place = |op: &PendingOp| match op {
        PendingOp::Flags { place, add, .. } => Some((place.remote_uid, add.clone())),
        PendingOp::Expunge { place } => Some((place.remote_uid, "expunge".into())),
        PendingOp::Append { flags, .. } => Some((None, format!("append {flags}"))),
        _ => None,
    };
    let mut told: Vec<_> = journal.iter().map(|p| place(&p.op).unwrap_or_else(|| panic!("{p:?}"))).collect();
    told.sort();
    assert!(told.contains(&(None, "append \\Seen".into())), "{told:?}");
    assert!(
        told.contains(&(Some(104), "\\Deleted".into())) && told.contains(&(Some(104), "expunge".into())),
        "{told:?}"
    );
    let added: Vec<_> = told.iter().filter(|(uid, _)| *uid == Some(103)).map(|(_, f)| f.as_str()).collect::<Vec<_>>();
    assert_eq!(mail_store::Flags::parse(&added.join(" ")).to_text(), "\\Answered \\Flagged \\Seen");

    // And a third run finds nothing to do.
    mbsync(&servers).await;
    assert_eq!(servers.store.call(|s| s.pending_count()).await.unwrap(), journal.len() as u64);
}
