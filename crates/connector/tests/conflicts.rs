//! What happens when both sides changed while the connector was held back (docs/user.md): no version of a message is lost.

#![cfg(unix)]

mod support;

use std::time::Duration;

use mail_store::{FlagChange, Flags};
use protocol::message::Gate;
use support::{
    Connector,
    mail_rig::{ALICE, MailRig},
    message, now, until_within,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connector that knows this mailbox and is held back.
async fn held_back(rig: &MailRig) -> (Connector, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let connector = Connector::online(rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    connector.decide(true);
    connector.wait_for_gate(Gate::Offline).await;
    (connector, data)
}

async fn let_go(connector: &Connector) {
    connector.decide(false);
    until_within(PATIENCE, "it is settled", || async { connector.call(|store| store.pending_count()).await == 0 })
        .await;
}

async fn flag(connector: &Connector, folder: &str, subject: &str) {
    let place = connector.subjects(folder).await.iter().position(|s| s == subject).unwrap();
    let (uid, id) = (connector.messages(folder).await[place].uid, connector.folder(folder).await);
    let change = FlagChange::Add(Flags::parse("\\Flagged"));
    connector.call(move |store| store.change_flags(id, &[uid], &change, None, now())).await;
}

async fn append(connector: &Connector, folder: &str, subject: &str) {
    let (id, message) = (connector.folder(folder).await, message(subject));
    connector.call(move |store| store.append(id, &message, &Flags::new(), now(), now())).await;
}

fn expunge_there(rig: &MailRig, folder: &str, subject: &str) {
    let uid = rig.search(ALICE, folder, &format!("SUBJECT \"{subject}\"")).pop().unwrap();
    rig.imap(ALICE, folder, &format!("UID STORE {uid} +FLAGS (\\Deleted)"));
    rig.imap(ALICE, folder, "EXPUNGE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_marked_here_and_deleted_there_is_in_the_trash_once() {
    let rig = MailRig::start();
    for subject in ["expunged", "trashed", "read"] {
        rig.append(ALICE, "INBOX", &message(subject));
    }
    let (connector, _data) = held_back(&rig).await;
    flag(&connector, "INBOX", "expunged").await;
    flag(&connector, "INBOX", "trashed").await;
    let (uid, inbox) = (connector.messages("INBOX").await[2].uid, connector.folder("INBOX").await);
    connector
        .call(move |store| store.change_flags(inbox, &[uid], &FlagChange::Add(Flags::parse("\\Seen")), None, now()))
        .await;
    let uid = rig.search(ALICE, "INBOX", "SUBJECT trashed").pop().unwrap();
    rig.imap(ALICE, "INBOX", &format!("UID MOVE {uid} Trash"));
    expunge_there(&rig, "INBOX", "expunged");
    expunge_there(&rig, "INBOX", "read");

    let_go(&connector).await;
    until_within(PATIENCE, "INBOX is empty here", || async { connector.subjects("INBOX").await.is_empty() }).await;
    until_within(PATIENCE, "it is in the trash", || async { rig.count(ALICE, "Trash", "SUBJECT expunged") == 1 }).await;
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 0, "the deletion counts");
    assert_eq!(rig.count(ALICE, "Trash", "SUBJECT trashed"), 1, "it was there already");
    assert_eq!(rig.count(ALICE, "Trash", "ALL"), 2, "to have read a message does not keep it");
    assert_eq!(rig.search(ALICE, "Trash", "FLAGGED SUBJECT expunged").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_was_changed_on_both_sides_is_there_in_both_versions() {
    let rig = MailRig::start();
    rig.append(ALICE, "Drafts", &message("as it was"));
    let (connector, _data) = held_back(&rig).await;
    // As mail programs change a draft: the new version is put beside the old one, which is removed.
    append(&connector, "Drafts", "as changed here").await;
    let (uid, drafts) = (connector.messages("Drafts").await[0].uid, connector.folder("Drafts").await);
    connector
        .call(move |store| {
            store.change_flags(drafts, &[uid], &FlagChange::Add(Flags::parse("\\Deleted")), None, now())?;
            store.expunge(drafts, Some(&[uid]), now())
        })
        .await;
    rig.append(ALICE, "Drafts", &message("as changed there"));
    expunge_there(&rig, "Drafts", "as it was");

    let_go(&connector).await;
    until_within(PATIENCE, "both are here", || async {
        let mut here = connector.subjects("Drafts").await;
        here.sort();
        here == ["as changed here", "as changed there"]
    })
    .await;
    for subject in ["as changed here", "as changed there"] {
        assert_eq!(rig.count(ALICE, "Drafts", &format!("SUBJECT \"{subject}\"")), 1, "{subject}");
    }
    assert_eq!(rig.stored(ALICE, "Drafts").unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_renamed_there_takes_the_flags_along_and_is_made_again_for_what_was_put_into_it_here() {
    let rig = MailRig::start();
    rig.imap(ALICE, "", "CREATE Work");
    rig.append(ALICE, "Work", &message("old one"));
    rig.append(ALICE, "INBOX", &message("filed here"));
    let (connector, _data) = held_back(&rig).await;
    flag(&connector, "Work", "old one").await;
    append(&connector, "Work", "new one").await;
    let (inbox, work) = (connector.folder("INBOX").await, connector.folder("Work").await);
    let uid = connector.messages("INBOX").await[0].uid;
    connector.call(move |store| store.move_messages(inbox, &[uid], work, now())).await;
    rig.imap(ALICE, "", "RENAME Work Projects");

    let_go(&connector).await;
    until_within(PATIENCE, "the flag follows", || async {
        rig.count(ALICE, "Projects", "FLAGGED SUBJECT \"old one\"") == 1
    })
    .await;
    until_within(PATIENCE, "here as there", || async {
        let mut work = connector.subjects("Work").await;
        work.sort();
        connector.subjects("Projects").await == ["old one"] && work == ["filed here", "new one"]
    })
    .await;
    let stored = |folder| rig.stored(ALICE, folder).unwrap().len();
    assert_eq!([stored("Projects"), stored("Work"), stored("INBOX"), stored("Trash")], [1, 2, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_deleted_there_keeps_what_was_marked_or_added_here() {
    let rig = MailRig::start();
    rig.imap(ALICE, "", "CREATE Work");
    for subject in ["marked", "not marked"] {
        rig.append(ALICE, "Work", &message(subject));
    }
    let (connector, _data) = held_back(&rig).await;
    flag(&connector, "Work", "marked").await;
    rig.imap(ALICE, "", "DELETE Work");

    let_go(&connector).await;
    until_within(PATIENCE, "it is in the trash", || async { rig.count(ALICE, "Trash", "FLAGGED SUBJECT marked") == 1 })
        .await;
    until_within(PATIENCE, "the folder is gone here", || async {
        connector.call(|store| store.folder_by_name("Work")).await.is_none()
    })
    .await;
    assert_eq!(rig.stored(ALICE, "Trash").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_numbers_there_with_changes_waiting_here_lose_and_double_nothing() {
    let rig = MailRig::start();
    rig.imap(ALICE, "", "CREATE Work");
    for subject in ["stays", "flagged", "removed", "moved"] {
        rig.append(ALICE, "Work", &message(subject));
    }
    let (connector, _data) = held_back(&rig).await;
    flag(&connector, "Work", "flagged").await;
    append(&connector, "Work", "added").await;
    let (work, inbox) = (connector.folder("Work").await, connector.folder("INBOX").await);
    let uids: Vec<u32> = connector.messages("Work").await.iter().map(|m| m.uid).collect();
    connector
        .call(move |store| {
            store.move_messages(work, &uids[3..4], inbox, now())?;
            store.change_flags(work, &uids[2..3], &FlagChange::Add(Flags::parse("\\Deleted")), None, now())?;
            store.expunge(work, Some(&uids[2..3]), now())
        })
        .await;
    // The folder of the same name and messages, made anew: restored from a backup, say.
    rig.imap(ALICE, "", "DELETE Work");
    std::thread::sleep(Duration::from_millis(1100));
    rig.imap(ALICE, "", "CREATE Work");
    for subject in ["moved", "removed", "flagged", "stays"] {
        rig.append(ALICE, "Work", &message(subject));
    }

    let_go(&connector).await;
    until_within(PATIENCE, "here as there", || async {
        let mut here = connector.subjects("Work").await;
        here.sort();
        let mut there: Vec<String> = rig.stored(ALICE, "Work").unwrap().iter().map(|m| subject_of(&m.text)).collect();
        there.sort();
        here == there && connector.call(|store| store.pending_count()).await == 0
    })
    .await;
    let count = |folder: &str, subject: &str| rig.count(ALICE, folder, &format!("SUBJECT {subject}"));
    assert_eq!([count("Work", "stays"), count("Work", "flagged"), count("Work", "added")], [1, 1, 1]);
    assert_eq!(rig.search(ALICE, "Work", "FLAGGED SUBJECT flagged").len(), 1);
    assert_eq!(count("INBOX", "moved"), 1, "moved");
    println!("after new numbers: removed {}, moved {}", count("Work", "removed"), count("Work", "moved"));
}

fn subject_of(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned()
}
