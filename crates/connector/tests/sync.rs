//! Both sides become the same: against a real Dovecot, watched by a second mail program (curl).

#![cfg(unix)]

mod support;

use mail_store::Flags;
use protocol::message::Gate;
use support::{
    Connector,
    mail_rig::{ALICE, MailRig},
    message, now, until,
};

fn data() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_synchronisation_brings_every_folder_and_message() {
    let (rig, data) = (MailRig::start(), data());
    rig.append(ALICE, "INBOX", &message("one"));
    rig.append(ALICE, "INBOX", &message("two"));
    rig.imap(ALICE, "", "CREATE \"Work/Entw&APw-rfe\"");
    rig.append(ALICE, "Work/Entw%26APw-rfe", &message("umlaut"));
    rig.imap(ALICE, "INBOX", "UID STORE 2 +FLAGS (\\Flagged $label)");

    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    assert_eq!(connector.subjects("INBOX").await, ["one", "two"]);
    assert_eq!(connector.subjects("Work/Entwürfe").await, ["umlaut"]);
    let flags = connector.messages("INBOX").await[1].flags.clone();
    assert!(flags.contains("\\Flagged") && flags.contains("$label"), "{flags:?}");
    let body = connector.messages("INBOX").await[0].body;
    assert_eq!(connector.call(move |store| store.body(&body)).await, message("one"));
    let drafts = connector.call(|store| store.folder_by_name("Drafts")).await.unwrap();
    assert_eq!((drafts.special_use.as_deref(), drafts.subscribed), (Some("\\Drafts"), true));
    let said = "ID sent: name=lockstep-connector, version=7.2.0: user=<>";
    assert!(rig.log().contains(said), "it names itself before it logs in:\n{}", rig.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_and_large_messages_come_whole_while_changes_made_here_go_out() {
    let (rig, data) = (MailRig::start(), data());
    let mut large = message("large");
    large.extend((0..400_000u32).flat_map(|n| format!("{n:012}\r\n").into_bytes()));
    large.extend_from_slice("Grüße, in eight bits\r\n".as_bytes());
    rig.imap(ALICE, "", "CREATE Big");
    rig.append(ALICE, "Big", &large);
    for n in 0..20 {
        rig.append(ALICE, "Big", &[message(&format!("m{n:02}")), vec![b'x'; 900], b"\r\n".repeat(200_000)].concat());
    }
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    until("the first are here", || async { !connector.messages("Big").await.is_empty() }).await;
    let drafts = connector.folder("Drafts").await;
    connector.call(move |store| store.append(drafts, &message("draft"), &Flags::new(), 0, now())).await;
    connector.wait_for_sync().await;
    let here = connector.messages("Big").await;
    assert_eq!(here.len(), 21);
    let body = here[0].body;
    assert!(connector.call(move |store| store.body(&body)).await == large, "every byte");
    assert_eq!(rig.count(ALICE, "Drafts", "ALL"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_mail_and_changes_made_elsewhere_are_here_within_seconds() {
    let (rig, data) = (MailRig::start(), data());
    rig.append(ALICE, "INBOX", &message("first"));
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;

    rig.append(ALICE, "INBOX", &message("news"));
    let took = until("the new message is here", || async { connector.subjects("INBOX").await.len() == 2 }).await;
    assert!(took.as_secs() < 5, "{took:?}");

    rig.imap(ALICE, "INBOX", "UID STORE 1 +FLAGS (\\Seen)");
    until("the flag is here", || async { connector.messages("INBOX").await[0].flags.contains("\\Seen") }).await;

    rig.imap(ALICE, "INBOX", "UID STORE 1 +FLAGS (\\Deleted)");
    rig.imap(ALICE, "INBOX", "EXPUNGE");
    until("the deletion is here", || async { connector.subjects("INBOX").await == ["news"] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_made_here_are_there_within_seconds() {
    let (rig, data) = (MailRig::start(), data());
    for subject in ["a", "b", "c", "d"] {
        rig.append(ALICE, "INBOX", &message(subject));
    }
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    let inbox = connector.folder("INBOX").await;
    let uids: Vec<u32> = connector.messages("INBOX").await.iter().map(|m| m.uid).collect();

    let (a, b, c) = (uids[0], uids[1], uids[2]);
    connector
        .call(move |store| {
            store.change_flags(inbox, &[a], &mail_store::FlagChange::Add(Flags::parse("\\Seen work")), None, now())?;
            store.change_flags(inbox, &[b], &mail_store::FlagChange::Add(Flags::parse("\\Deleted")), None, now())?;
            store.expunge(inbox, None, now())?;
            let archive = store.create_folder("Archive/2024", now())?;
            store.copy(inbox, &[a], archive, now())?;
            store.move_messages(inbox, &[c], archive, now())?;
            let drafts = store.folder_by_name("Drafts")?.unwrap().id;
            store.append(drafts, &message("draft"), &Flags::parse("\\Draft"), 1_700_000_000, now())
        })
        .await;
    until("everything is told", || async { connector.call(|store| store.pending_count()).await == 0 }).await;
    assert_eq!(rig.count(ALICE, "INBOX", "KEYWORD work SEEN"), 1);
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 2, "b is gone, c has moved");
    assert_eq!(rig.count(ALICE, "Archive/2024", "ALL"), 2);
    assert_eq!(rig.count(ALICE, "Archive/2024", "SUBJECT a KEYWORD work"), 1, "a copy keeps its flags");
    assert_eq!(rig.count(ALICE, "Drafts", "DRAFT SUBJECT draft ON 14-Nov-2023"), 1);

    connector
        .call(move |store| {
            let archive = store.folder_by_name("Archive/2024")?.unwrap().id;
            store.rename_folder(archive, "Archive/old", now())?;
            let sent = store.folder_by_name("Sent")?.unwrap().id;
            store.delete_folder(sent, now())
        })
        .await;
    until("the folders are told", || async { connector.call(|store| store.pending_count()).await == 0 }).await;
    assert_eq!(rig.count(ALICE, "Archive/old", "ALL"), 2);
    let listed = rig.imap(ALICE, "", "LIST \"\" *");
    assert!(!listed.contains("2024"), "{listed}");
    // A second pass finds nothing to do: what was placed is known by its number.
    assert_eq!(connector.subjects("Archive/old").await, ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_gate_lets_nothing_through_and_an_open_one_everything() {
    let (rig, data) = (MailRig::start(), data());
    rig.append(ALICE, "INBOX", &message("before"));
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;

    connector.decide(true);
    connector.wait_for_gate(Gate::Offline).await;
    // A login that was under way when the gate closed may still be noted.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let ended = || rig.log().lines().filter(|l| l.contains(" imap(alice@") && l.contains(": Disconnected: ")).count();
    until("every session is closed", || async { ended() == rig.logins() }).await;
    let logins = rig.logins();
    let drafts = connector.folder("Drafts").await;
    connector.call(move |store| store.append(drafts, &message("kept"), &Flags::new(), 0, now())).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(rig.logins(), logins, "nobody logged in:\n{}", rig.log());
    rig.append(ALICE, "INBOX", &message("meanwhile"));
    assert_eq!(rig.count(ALICE, "Drafts", "ALL"), 0);
    assert_eq!(connector.subjects("INBOX").await, ["before"]);

    connector.decide(false);
    until("the draft is there", || async { rig.count(ALICE, "Drafts", "SUBJECT kept") == 1 }).await;
    until("the mail is here", || async { connector.subjects("INBOX").await == ["before", "meanwhile"] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything_and_doubles_nothing() {
    let (mut rig, data) = (MailRig::start(), data());
    for n in 0..30 {
        rig.append(ALICE, "INBOX", &message(&format!("m{n:02}")));
    }
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    until("some are here", || async { !connector.subjects("INBOX").await.is_empty() }).await;
    connector.kill().await;
    rig.power_off();
    rig.power_on();

    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    let before: Vec<(u32, String)> = {
        let uids = connector.messages("INBOX").await.iter().map(|m| m.uid).collect::<Vec<_>>();
        uids.into_iter().zip(connector.subjects("INBOX").await).collect()
    };
    assert_eq!(before.len(), 30);
    connector.kill().await;

    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    let uids = connector.messages("INBOX").await.iter().map(|m| m.uid).collect::<Vec<_>>();
    let after: Vec<(u32, String)> = uids.into_iter().zip(connector.subjects("INBOX").await).collect();
    assert_eq!(before, after, "also the local numbers stay");
}

/// As a run leaves it that was killed after the mail server's answer to an upload and before its own note: the upload of
/// the last change of the journal has begun.
fn begun_before_it_was_there(store: &mut mail_store::Store) -> mail_store::Result<()> {
    let seq = store.pending(10)?.last().unwrap().seq;
    let drafts = store.folder_by_name("Drafts")?.unwrap();
    let (validity, next) = (drafts.remote_uidvalidity.unwrap(), drafts.remote_uidnext.unwrap());
    let note = format!(r#"{{"{seq}":{{"uidvalidity":{validity},"uidnext":{next},"begun":true}}}}"#);
    store.set_meta("uploads", Some(&note))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_made_before_a_kill_is_not_made_again() {
    let (rig, data) = (MailRig::start(), data());
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    connector.kill().await;

    let connector = Connector::shut(&rig, ALICE, data.path());
    let drafts = connector.folder("Drafts").await;
    connector
        .call(move |store| {
            store.append(drafts, &message("once"), &Flags::parse("\\Draft"), 0, now())?;
            begun_before_it_was_there(store)
        })
        .await;
    rig.append(ALICE, "Drafts", &message("once"));
    connector.decide(false);
    until("the upload is done", || async { connector.call(|store| store.pending_count()).await == 0 }).await;
    connector.wait_for_sync().await;
    assert_eq!(rig.count(ALICE, "Drafts", "ALL"), 1);
    assert_eq!(connector.subjects("Drafts").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_made_before_a_kill_is_not_made_again_behind_one_that_is_refused() {
    let (rig, data) = (MailRig::start(), data());
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    connector.kill().await;

    let connector = Connector::shut(&rig, ALICE, data.path());
    let drafts = connector.folder("Drafts").await;
    connector
        .call(move |store| {
            // No file system keeps a name of this length: the mail server never takes this folder or what is in it.
            let refused = store.create_folder(&"x".repeat(300), now())?;
            store.append(refused, &message("refused"), &Flags::new(), 0, now())?;
            store.append(drafts, &message("once"), &Flags::parse("\\Draft"), 0, now())?;
            begun_before_it_was_there(store)
        })
        .await;
    rig.append(ALICE, "Drafts", &message("once"));
    connector.decide(false);
    connector.wait_for_sync().await;
    assert_eq!(rig.count(ALICE, "Drafts", "ALL"), 1);
    assert_eq!(connector.subjects("Drafts").await, ["once"]);
    assert_eq!(connector.subjects(&"x".repeat(300)).await, ["refused"], "nobody else has it: it stays here");
    assert_eq!(connector.call(|store| store.pending_count()).await, 1, "and is tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_there_and_flagged_here_is_gone_and_moved_here_is_kept() {
    let (rig, data) = (MailRig::start(), data());
    rig.append(ALICE, "INBOX", &message("flagged"));
    rig.append(ALICE, "INBOX", &message("moved"));
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    connector.decide(true);
    connector.wait_for_gate(Gate::Offline).await;
    let inbox = connector.folder("INBOX").await;
    let uids: Vec<u32> = connector.messages("INBOX").await.iter().map(|m| m.uid).collect();
    connector
        .call(move |store| {
            store.change_flags(
                inbox,
                &uids[..1],
                &mail_store::FlagChange::Add(Flags::parse("\\Flagged")),
                None,
                now(),
            )?;
            let kept = store.create_folder("Kept", now())?;
            store.move_messages(inbox, &uids[1..], kept, now())
        })
        .await;
    rig.imap(ALICE, "INBOX", "UID STORE 1:2 +FLAGS (\\Deleted)");
    rig.imap(ALICE, "INBOX", "EXPUNGE");

    connector.decide(false);
    until("it is settled", || async { connector.call(|store| store.pending_count()).await == 0 }).await;
    until("the flagged one is gone", || async { connector.subjects("INBOX").await.is_empty() }).await;
    assert_eq!(rig.count(ALICE, "Kept", "SUBJECT moved"), 1);
    assert_eq!(connector.subjects("Kept").await, ["moved"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_starts_anew_keeps_its_messages_and_local_numbers() {
    let (rig, data) = (MailRig::start(), data());
    rig.imap(ALICE, "", "CREATE Box");
    rig.append(ALICE, "Box", &message("one"));
    rig.append(ALICE, "Box", &message("two"));
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    let before: Vec<u32> = connector.messages("Box").await.iter().map(|m| m.uid).collect();
    connector.kill().await;

    rig.imap(ALICE, "", "DELETE Box");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    rig.imap(ALICE, "", "CREATE Box");
    rig.append(ALICE, "Box", &message("two"));
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    connector.wait_for_sync().await;
    let after = connector.messages("Box").await;
    assert_eq!(connector.subjects("Box").await, ["two"]);
    assert_eq!(after[0].uid, before[1], "found again by its content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_and_a_dead_server_show_as_offline_with_the_reason() {
    let (mut rig, data) = (MailRig::start(), data());
    let connector = Connector::with_password(&rig, ALICE, "wrong", data.path());
    connector.decide(false);
    let notice = || async { connector.gate.subscribe().borrow().notice.clone().unwrap_or_default() };
    until("the refusal shows", || async { notice().await.contains("refused the login") }).await;
    assert_eq!(connector.gate.subscribe().borrow().gate, Gate::Offline);
    connector.kill().await;

    let data = self::data();
    let connector = Connector::online(&rig, ALICE, data.path()).await;
    rig.power_off();
    connector.wait_for_gate(Gate::Offline).await;
    rig.power_on();
    connector.wait_for_gate(Gate::Online).await;
}
