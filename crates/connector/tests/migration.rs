//! Versions with different stores at one mail server: each works with it, and the next one goes on where it was.

#![cfg(unix)]

mod support;

use std::{path::Path, process::Command};

use mail_store::{FlagChange, Flags, NewOutgoing, RemoteMessage, Schema, Store};
use protocol::message::Gate;
use support::{
    Connector,
    mail_rig::{ALICE, BOB, MailRig},
    message, now,
    program::Pc,
    site::Site,
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_versions_store_is_kept_the_same_as_the_mail_server_through_upgrades_and_rollbacks() {
    let (rig, data) = (MailRig::start(), tempfile::tempdir().unwrap());
    rig.append(ALICE, "INBOX", &message("the first"));
    let turns = [Schema::One, Schema::Three, Schema::One, Schema::Two, Schema::Three, Schema::Two];
    for (turn, schema) in turns.into_iter().enumerate() {
        // Made while the gate was shut, and by the version before; then online.
        let connector = Connector::limited(&rig, ALICE, data.path(), schema);
        let inbox = connector.folder("INBOX").await;
        let sent = format!("sent {turn}");
        connector
            .call(move |store| {
                assert_eq!(store.schema(), schema);
                if let Some(first) = store.messages(inbox)?.first() {
                    let keyword = FlagChange::Add(Flags::parse(&format!("turn{turn}")));
                    store.change_flags(inbox, &[first.uid], &keyword, None, now())?;
                }
                store.append(inbox, &message(&format!("draft {turn}")), &Flags::parse("\\Draft"), now(), now())?;
                let (recipients, message) = ([BOB.to_owned()], message(&sent));
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
        rig.append(ALICE, "INBOX", &message(&format!("mail {turn}")));
        connector.decide(false);
        connector.wait_for_gate(Gate::Online).await;
        until("all is told", || async { connector.call(|store| store.pending_count()).await == 0 }).await;
        until("new mail is here", || async { connector.subjects("INBOX").await.contains(&format!("mail {turn}")) })
            .await;
        until("it was sent", || async { rig.count(BOB, "INBOX", &format!("SUBJECT \"sent {turn}\"")) == 1 }).await;
        let subjects = connector.subjects("INBOX").await;
        assert_eq!(subjects.len(), 1 + 2 * (turn + 1), "nothing is lost or doubled: {subjects:?}");
        assert_eq!(rig.count(ALICE, "INBOX", "ALL"), subjects.len());
        connector.kill().await;
    }
    for turn in 1..turns.len() {
        assert_eq!(rig.count(ALICE, "INBOX", &format!("KEYWORD turn{turn}")), 1);
    }
    assert_eq!(rig.count(BOB, "INBOX", "ALL"), turns.len());
}

/// A mailbox as 7.1 left it, with so many messages that are not on the mail server any more but in a draft's folder.
fn mailbox_of_7_1(path: &Path, messages: u32) {
    let mut store = Store::open_limited(path, Schema::One, &mut |_| {}).unwrap();
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    let bodies: Vec<Vec<u8>> = (0..messages).map(|n| message(&format!("old {n}"))).collect();
    let flags = Flags::new();
    let all: Vec<RemoteMessage> = (1..)
        .zip(&bodies)
        .map(|(uid, body)| RemoteMessage { uid, flags: &flags, date: 0, body: body.as_slice() })
        .collect();
    store.apply_remote_messages(inbox, &all).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_too_full_for_the_upgrade_is_told_to_the_user_and_to_the_site_and_mail_goes_on() {
    let rig = MailRig::start();
    let (site, pc) = (Site::start(rig.mail_server(), rig.password(ALICE)).await, Pc::new());
    site.install(&pc.root());
    std::fs::create_dir_all(pc.data()).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m,mode=700", "none"]).arg(pc.data()).status();
    assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a small file system, so it needs root");
    let made = pc.setup(ALICE, rig.password(ALICE));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let elsewhere = tempfile::tempdir().unwrap();
    let store = elsewhere.path().join("mail.sqlite");
    mailbox_of_7_1(&store, 3_000);
    std::fs::copy(&store, pc.data().join("mail.sqlite")).unwrap();

    let running = pc.start();
    let status = pc.wait_for("the notice", |status| status.running && status.notice.is_some());
    let notice = status.notice.unwrap();
    let told = notice.contains("cannot be upgraded") && notice.contains("MB") && notice.contains("free some space");
    assert!(told, "{notice}");
    pc.wait_for("online all the same", |status| status.gate == Gate::Online);
    let detail = || site.seen.lock().unwrap().iter().rev().find_map(|check_in| check_in.detail.clone());
    until("the site knows", || async { detail().is_some_and(|detail| detail.contains("cannot be upgraded")) }).await;
    running.stop();
    let stopped = Command::new("umount").arg(pc.data()).status();
    assert!(stopped.is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_upgrades_an_older_mailbox_at_its_start_and_says_so() {
    let rig = MailRig::start();
    let (site, pc) = (Site::start(rig.mail_server(), rig.password(ALICE)).await, Pc::new());
    site.install(&pc.root());
    let made = pc.setup(ALICE, rig.password(ALICE));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = pc.data().join("mail.sqlite");
    mailbox_of_7_1(&path, 50);
    let running = pc.start();
    pc.wait_for("online", |status| status.running && status.gate == Gate::Online);
    let log = pc.log();
    assert!(log.contains("taking bodies out of the index") && log.contains("to schema 3"), "{log}");
    // Online, and nobody here rolls it back by himself: what only 7.1 needs goes.
    until("it is contracted", || async { Store::open_limited(&path, Schema::One, &mut |_| {}).is_err() }).await;
    running.stop();
    assert_eq!(Store::open_limited(&path, Schema::Two, &mut |_| {}).unwrap().schema(), Schema::Two);
}
