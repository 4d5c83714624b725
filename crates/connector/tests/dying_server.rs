//! A mail server that dies, or whose line breaks, in the middle of a message: nothing is lost, nothing is doubled, and one
//! message that it cannot digest does not hold up the others.

#![cfg(unix)]

mod support;

use std::time::Duration;

use mail_store::{Flags, NewOutgoing, OutboxState};
use protocol::message::MailServer;
use support::{
    Connector,
    mail_rig::{ALICE, BOB, MailRig},
    message, now,
    proxy::{Cut, Proxy},
    until_within,
};

/// Long enough for a message, on a busy machine, that is tried again after a quarter of a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a big message.
const BIG: usize = 300_000;

fn big(subject: &str) -> Vec<u8> {
    let line = format!("{}\r\n", "x".repeat(98));
    [message(subject), line.repeat(BIG / 100).into_bytes()].concat()
}

struct Line {
    imap: Proxy,
    submission: Proxy,
}

async fn through_proxies(rig: &MailRig) -> (Line, MailServer) {
    let line = Line { imap: Proxy::to(rig.imaps).await, submission: Proxy::to(rig.submission).await };
    let mail = MailServer {
        imap: format!("localhost:{}", line.imap.port),
        submission: format!("localhost:{}", line.submission.port),
        ..rig.mail_server()
    };
    (line, mail)
}

async fn connected(rig: &MailRig) -> (Line, Connector, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let (line, mail) = through_proxies(rig).await;
    let connector = Connector::at(mail, ALICE, rig.password(ALICE), data.path());
    connector.decide(false);
    connector.wait_for_sync().await;
    (line, connector, data)
}

async fn submit(connector: &Connector, subject: &str) {
    let message = [b"X-Lockstep-Submission: 0123\r\n".to_vec(), big(subject)].concat();
    connector
        .call(move |store| {
            let recipients = [BOB.to_owned()];
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
}

async fn state(connector: &Connector) -> OutboxState {
    connector.call(|store| store.outbox()).await[0].state
}

async fn arrives_once(rig: &MailRig, connector: &Connector, subject: &str) {
    until_within(PATIENCE, "it is sent", || async { state(connector).await == OutboxState::Sent }).await;
    until_within(PATIENCE, "it arrives", || async { rig.undelivered().unwrap() == 0 }).await;
    until_within(PATIENCE, "it is there", || async { rig.count(BOB, "INBOX", "ALL") > 0 }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.count(BOB, "INBOX", &format!("SUBJECT {subject}")), 1, "{}", rig.exim_log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_in_the_middle_of_data_sends_nothing_and_the_message_goes_later() {
    let rig = MailRig::start();
    let (line, connector, _data) = connected(&rig).await;
    line.submission.cut(Cut::After(BIG as u64 / 2));
    submit(&connector, "half").await;
    until_within(PATIENCE, "the line breaks", || async { line.submission.cuts() > 0 }).await;
    // Queued; or Sending if the line broke so late that the dot was on its way into it.
    assert_ne!(state(&connector).await, OutboxState::Sent);
    line.submission.cut(Cut::Never);
    arrives_once(&rig, &connector, "half").await;
    assert_eq!(rig.dropped_again(), 0, "the mail server never had it before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_between_the_last_dot_and_the_reply_is_no_second_message() {
    let rig = MailRig::start();
    let (line, connector, _data) = connected(&rig).await;
    line.submission.cut(Cut::Reply(BIG as u64));
    submit(&connector, "whole").await;
    until_within(PATIENCE, "the line breaks", || async { line.submission.cuts() > 0 }).await;
    let outbox = connector.call(|store| store.outbox()).await;
    assert_eq!(outbox[0].state, OutboxState::Sending, "whether the mail server has it is not known");
    line.submission.cut(Cut::Never);
    arrives_once(&rig, &connector, "whole").await;
    assert_eq!(rig.dropped_again(), 1, "it came twice, and was kept once:\n{}", rig.exim_log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_killed_in_the_middle_of_data_or_before_its_reply_gets_the_message_once() {
    for cut in [Cut::After(BIG as u64 / 2), Cut::Reply(BIG as u64)] {
        let mut rig = MailRig::start();
        let (line, connector, _data) = connected(&rig).await;
        line.submission.cut(cut);
        submit(&connector, "killed").await;
        until_within(PATIENCE, "the moment", || async { line.submission.cuts() > 0 }).await;
        rig.cut_power();
        line.submission.cut(Cut::Never);
        rig.power_on();
        arrives_once(&rig, &connector, "killed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_cut_in_its_middle_or_before_its_answer_is_there_once() {
    // With and without UIDPLUS and MOVE: without, nobody says which number an upload has got.
    for capabilities in ["", "imap_capability = IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CONDSTORE\n"] {
        for cut in [Cut::After(BIG as u64 / 2), Cut::Reply(BIG as u64)] {
            let mut rig = MailRig::with(|setup| setup.dovecot = capabilities.into());
            let (line, connector, _data) = connected(&rig).await;
            line.imap.cut(cut);
            append(&connector, "Drafts", big("upload")).await;
            until_within(PATIENCE, "the moment", || async { line.imap.cuts() > 0 }).await;
            // The mail server's processes die, too.
            rig.cut_power();
            line.imap.cut(Cut::Never);
            rig.power_on();
            until_within(PATIENCE, "it is done", || async { connector.call(|s| s.pending_count()).await == 0 }).await;
            assert_eq!(rig.stored(ALICE, "Drafts").unwrap().len(), 1, "{cut:?} {capabilities:?}\n{}", rig.log());
            assert_eq!(connector.subjects("Drafts").await, ["upload"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_at_which_the_connection_always_breaks_is_set_aside_and_the_others_go() {
    let rig = MailRig::start();
    let (line, connector, _data) = connected(&rig).await;
    line.imap.cut(Cut::After(BIG as u64 / 2));
    append(&connector, "Drafts", big("poison")).await;
    append(&connector, "Drafts", message("behind it")).await;
    rig.append(ALICE, "INBOX", &message("new mail"));
    until_within(PATIENCE, "the others go", || async {
        rig.count(ALICE, "Drafts", "SUBJECT \"behind it\"") == 1
            && connector.subjects("INBOX").await.iter().any(|s| s == "new mail")
    })
    .await;
    let told = connector.subjects("INBOX").await;
    assert!(told.contains(&"[Lockstep] A change cannot be brought to the mail server".to_owned()), "{told:?}");
    let problem = connector.progress.problem.subscribe();
    until_within(PATIENCE, "the status says it", || async { problem.borrow().is_some() }).await;
    assert_eq!(connector.subjects("Drafts").await.len(), 2, "the user still has it");
    let cuts = line.imap.cuts();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(line.imap.cuts(), cuts, "it is not tried again at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_is_not_sent_the_same_message_again_and_again() {
    let rig = MailRig::with(|setup| {
        setup.dovecot =
            "protocol imap {\n  mail_plugins = $mail_plugins quota\n}\nplugin {\n  quota = maildir:User quota\n  \
                         quota_rule = *:storage=150K\n  quota_grace = 0\n}\n"
                .into();
    });
    let (line, connector, _data) = connected(&rig).await;
    append(&connector, "Drafts", big("too big")).await;
    let problem = connector.progress.problem.subscribe();
    until_within(PATIENCE, "the refusal shows", || async { problem.borrow().is_some() }).await;
    let refusals = || rig.log().matches("Quota exceeded").count();
    let before = refusals();
    for n in 0..5 {
        append(&connector, "Drafts", message(&format!("small {n}"))).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    until_within(PATIENCE, "small ones go", || async { rig.count(ALICE, "Drafts", "SUBJECT small") == 5 }).await;
    assert_eq!(refusals(), before, "each change made here is no occasion to try the big one again");
    assert_eq!(connector.call(|store| store.pending_count()).await, 1, "it waits");
    assert_eq!(line.imap.cuts(), 0);
}

async fn append(connector: &Connector, folder: &str, message: Vec<u8>) {
    let folder = connector.folder(folder).await;
    connector.call(move |store| store.append(folder, &message, &Flags::new(), 1_700_000_000, now())).await;
}
