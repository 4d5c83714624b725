//! PCs without an updater, with a real mail server, real accounts and real sudo: refused, accepted, later, an
//! administrator's own PC, and a site's server that was taken over. (The installer is a script here; the real one takes
//! part in the whole-system tests.)

#![cfg(target_os = "linux")]

mod support;

use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use elevation_rig::Answer;
use lockstep_connector::installer::state::Stage;
use protocol::{Decision, Refusal, message::Gate, policy::UpgradePolicy};
use support::{
    mail_rig::{ALICE, BOB, MailRig},
    message,
    persons_pc::{PersonsPc, VENDOR},
    site::Site,
};

async fn site_of(rig: &MailRig) -> Arc<Site> {
    let mut mail = rig.mail_server();
    mail.webmail = Some("https://webmail.example.test".into());
    Site::start(mail, rig.password(ALICE)).await
}

fn required(version: &str) -> Decision {
    Decision::Required { version: version.parse().unwrap(), deadline: "2030-01-01T00:00:00Z".parse().unwrap() }
}

/// Connections of anybody to the mail server that stand at this moment.
fn connections(rig: &MailRig) -> usize {
    let ends = [rig.imaps, rig.submission].map(|port| format!(":{port:04X}"));
    let all = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap()).concat();
    let fields = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|f| f.len() > 3 && f[3] == "01" && ends.iter().any(|end| f[2].ends_with(end))).count()
}

/// What the mail server has noted about anybody, but not what it does by itself.
fn visits(rig: &MailRig) -> Vec<String> {
    let all = rig.log() + &rig.exim_log();
    all.lines().filter(|line| !line.contains(" queue run: ")).map(str::to_owned).collect()
}

/// As above, once everybody has left.
async fn everybody_has_left(rig: &MailRig) -> Vec<String> {
    let start = Instant::now();
    loop {
        let before = visits(rig);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if connections(rig) == 0 && before == visits(rig) {
            return before;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "somebody stays at the mail server:\n{}", rig.log());
    }
}

const CHANGES: &str = r#"
imap = imaplib.IMAP4(host, imap_port)
ok(imap.login(user, password))
ok(imap.select('INBOX'))
alerts = imap.response('ALERT')[1]
numbers = {}
for n in ok(imap.search(None, 'ALL'))[0].split():
    text = ok(imap.fetch(n, '(BODY.PEEK[])'))[0][1].decode()
    numbers[re.search('Subject: (.*?)\r', text).group(1)] = n
    assert 'end' in text or 'X-Lockstep-Notice' in text, text
assert {'to flag', 'to move', 'to delete', 'to keep'} <= set(numbers), numbers
ok(imap.store(numbers['to flag'], '+FLAGS', '(\\Flagged \\Seen)'))
ok(imap.create('Made offline'.join('""')))
ok(imap.copy(numbers['to move'], '"Made offline"'))
ok(imap.store(numbers['to move'], '+FLAGS', '(\\Deleted)'))
ok(imap.store(numbers['to delete'], '+FLAGS', '(\\Deleted)'))
ok(imap.expunge())
draft = b'From: alice@example.test\r\nSubject: draft\r\nMessage-ID: <draft@example.test>\r\n\r\nnot finished\r\nend\r\n'
ok(imap.append('Drafts', '(\\Draft)', None, draft))
imap.logout()
smtp = smtplib.SMTP(host, smtp_port)
smtp.login(user, password)
refused = smtp.sendmail(user, ['bob@example.test'], 'Subject: queued\r\nMessage-ID: <queued@example.test>\r\n\r\nhello\r\n')
assert refused == {}, refused
smtp.quit()
"#;

/// Prints how things are at the local server.
const LOOK: &str = r#"
imap = imaplib.IMAP4(host, imap_port)
ok(imap.login(user, password))
for folder in ('INBOX', 'Drafts', '"Made offline"'):
    ok(imap.select(folder, readonly=True))
    found = []
    for n in ok(imap.search(None, 'ALL'))[0].split():
        answer = ok(imap.fetch(n, '(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])'))
        text = b' '.join(part for one in answer if one for part in (one if isinstance(one, tuple) else [one])).decode()
        flags = ' '.join(sorted(flag for flag in re.search(r'FLAGS \((.*?)\)', text).group(1).split() if flag != '\\Recent'))
        found.append('%s [%s]' % (re.search('Subject: (.*?)\r', text).group(1), flags))
    print(folder.strip('"') + ': ' + ', '.join(sorted(found)))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_it_works_offline_and_later_everything_arrives() {
    let rig = MailRig::start();
    for subject in ["to flag", "to move", "to delete", "to keep"] {
        rig.append(ALICE, "INBOX", &message(subject));
    }
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_801, Some(Answer::Refuse));
    let mut running = pc.start();
    pc.wait_for("mail", |s| s.gate == Gate::Online && s.folders.get("INBOX").is_some_and(|f| f.messages == 4));
    assert_eq!(pc.asked(), 0, "nothing needs to be installed");

    // The flip: asked once, refused, offline.
    site.decide(required("7.3.0"));
    let status =
        pc.wait_for("refused", |s| s.installer.as_ref().is_some_and(|installer| installer.stage == Stage::Refused));
    assert_eq!((status.gate, status.updater, pc.asked()), (Gate::Offline, Some(false), 1));
    let installer = status.installer.unwrap();
    let day = installer.next.unwrap().duration_since(installer.at);
    assert_eq!(day.as_secs(), 24 * 3600, "as the policy says: {installer:?}");
    let notice = status.notice.unwrap();
    for part in ["7.3.0", "lockstep-connector upgrade", "/integration", "https://webmail.example.test", "not permitted"]
    {
        assert!(notice.contains(part), "{part}: {notice}");
    }
    let told = || site.seen.lock().unwrap().last().and_then(|seen| seen.detail.clone()).unwrap_or_default();
    support::until("the console is told", || async {
        told().contains("no updater; the installation of 7.3.0 was not permitted")
    })
    .await;

    // From here on nobody talks to the mail server.
    let silence = everybody_has_left(&rig).await;
    let alert = pc.mail_program("imap = imaplib.IMAP4(host, imap_port)\nimap.login(user, password)\nprint(imap.untagged_responses.get('ALERT'), imap.response('ALERT'), imap.untagged_responses)");
    assert!(alert.contains("Offline"), "{alert}");
    pc.mail_program(CHANGES);
    let look = pc.mail_program(LOOK);
    let notice = "[Lockstep] You are offline: this connector must be upgraded []";
    let expected = format!(
        "INBOX: {notice}, to flag [\\Flagged \\Seen], to keep [\\Seen]\nDrafts: draft [\\Draft]\nMade offline: to move [\\Seen]\n"
    );
    assert_eq!(look, expected);

    // Started again it asks nobody, and has kept it all.
    running.stop();
    let mut running = pc.start();
    let again = pc.wait_for("refused", |s| s.running && s.installer.as_ref().is_some_and(|i| i.next.is_some()));
    assert_eq!((again.gate, again.outbox), (Gate::Offline, 1));
    assert!(again.pending > 0);
    assert_eq!(pc.mail_program(LOOK), expected);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pc.asked(), 1, "{}", pc.elevation.log());
    assert_eq!(visits(&rig), silence, "nothing went to or came from the mail server");
    assert_eq!(connections(&rig), 0);

    // Killed and without the site's server, it is as before.
    running.kill();
    let profile = fs::read_to_string(pc.path("app/site.json")).unwrap();
    fs::write(pc.path("app/site.json"), profile.replace(&site.url, "https://localhost:1")).unwrap();
    let mut running = pc.start();
    pc.wait_for("offline", |s| s.running && s.gate == Gate::Offline && s.notice.is_some());
    assert_eq!(pc.mail_program(LOOK), expected);
    assert_eq!(visits(&rig), silence);
    fs::write(pc.path("app/site.json"), profile).unwrap();
    running.stop();
    let running = pc.start();
    pc.wait_for("refused", |s| s.running && s.installer.as_ref().is_some_and(|i| i.next.is_some()));

    // Later: an administrator installs; the connector makes room by itself, and everything arrives, once.
    let folder = pc.path("data/installer/payload");
    let installed =
        Command::new(folder.join("bin/lockstep-updater")).args(["install", "--root"]).arg(pc.path("root")).output();
    assert!(installed.unwrap().status.success());
    pc.wait_until_taken_over(&running);
    site.decide(Decision::Current);
    pc.wait_for("online, and nothing waits", |s| {
        s.running && s.gate == Gate::Online && s.outbox == 0 && s.pending == 0 && s.last_sync.is_some()
    });
    support::until("the message arrives", || async { rig.count(BOB, "INBOX", "SUBJECT queued") == 1 }).await;
    assert_eq!(rig.count(ALICE, "INBOX", "FLAGGED SEEN SUBJECT flag"), 1);
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 2);
    assert_eq!(rig.count(ALICE, "Made%20offline", "SUBJECT move"), 1);
    assert_eq!(rig.count(ALICE, "Drafts", "SUBJECT draft DRAFT"), 1);
    let look = pc.mail_program(LOOK);
    assert_eq!(look, expected.replace(&format!("{notice}, "), ""), "the notice goes by itself");
    assert_eq!(rig.count(ALICE, "INBOX", "SUBJECT Lockstep"), 0, "it never was on the server");
    assert_eq!(pc.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_after_a_wrong_password_it_becomes_the_machines_and_is_online() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_811, Some(Answer::Wrong));
    let running = pc.start();
    pc.wait_for_gate(Gate::Online);
    site.decide(required("7.3.0"));
    let wrong = pc.wait_for("a wrong password", |s| s.installer.as_ref().is_some_and(|i| i.stage == Stage::Refused));
    assert!(wrong.installer.unwrap().detail.unwrap().contains("wrong password"));
    assert!(!pc.path("root/opt").exists());

    // The user asks for it, and refuses; then the right password is typed.
    pc.answer(Answer::Refuse);
    let refused = pc.upgrade();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("not installed: no password was given") && said.contains("sudo -A"), "{said}");
    pc.answer(Answer::Right);
    let upgraded = pc.upgrade();
    assert!(upgraded.status.success(), "{}", String::from_utf8_lossy(&upgraded.stderr));
    assert!(String::from_utf8_lossy(&upgraded.stdout).contains("connector 7.3.0"));
    assert_eq!(pc.asked(), 3);
    pc.wait_until_taken_over(&running);
    site.decide(Decision::Current);
    let online = pc.wait_for_gate(Gate::Online);
    assert_eq!(online.folders["INBOX"].messages, 1, "the store came along: {:?}", online.folders);
    assert!(!pc.path("data/installer").exists(), "what it was installed from is gone");
    let environment = fs::read_to_string(pc.path("root/installers-environment")).unwrap();
    assert!(!environment.contains("CARGO"), "{environment}");
    let done = pc.upgrade();
    assert!(String::from_utf8_lossy(&done.stdout).contains("need no password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_comes_again_when_the_site_says_so_and_its_acceptance_counts() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_821, Some(Answer::Refuse));
    site.policy(UpgradePolicy::default(), Some(8));
    // What is to come is here before it is needed.
    site.decide(Decision::Stage { version: "7.3.0".parse().unwrap() });
    let running = pc.start();
    let ready = pc.wait_for("ready", |s| s.installer.as_ref().is_some_and(|i| i.stage == Stage::Ready));
    assert!(ready.gate != Gate::Upgrading && ready.notice.is_none_or(|notice| !notice.contains("7.3.0")));
    assert_eq!(fs::read_dir(pc.path("data/installer/downloads")).unwrap().count(), 2);
    assert_eq!(pc.asked(), 0);

    site.decide(required("7.3.0"));
    pc.wait_for("refused", |s| s.installer.as_ref().is_some_and(|i| i.stage == Stage::Refused));
    pc.answer(Answer::Right);
    pc.wait_until_taken_over(&running);
    assert_eq!(pc.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_gets_the_updater_with_a_recommended_upgrade_and_is_asked_nothing() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_831, None);
    let running = pc.start();
    pc.wait_for_gate(Gate::Online);
    site.decide(Decision::Recommended { version: "7.3.0".parse().unwrap() });
    pc.wait_until_taken_over(&running);
    site.decide(Decision::Current);
    pc.wait_for_gate(Gate::Online);
    assert_eq!(pc.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_else_is_not_bothered_with_a_recommended_upgrade() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_841, Some(Answer::Right));
    let _running = pc.start();
    pc.wait_for_gate(Gate::Online);
    let seen = site.seen.lock().unwrap().len();
    site.decide(Decision::Recommended { version: "7.3.0".parse().unwrap() });
    support::until("told", || async { site.seen.lock().unwrap().len() > seen }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pc.asked(), 0);
    assert_eq!(pc.status().unwrap().installer, None);
    // A policy that asks does ask.
    site.policy(UpgradePolicy::Ask, None);
    site.decide(Decision::Recommended { version: "7.3.0".parse().unwrap() });
    support::until("asked", || async { pc.asked() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_was_taken_over_gets_nobody_to_type_a_password() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_851, Some(Answer::Right));
    let _running = pc.start();
    pc.wait_for_gate(Gate::Online);
    let vendor = pc.vendor(VENDOR);
    let thief = pc.vendor([66; 32]);
    thief.publish(9, &["7.4.0"], &["9.9.9"], &pc.program());
    let failed = |text: &str| {
        pc.wait_for(text, |s| {
            let detail = s.installer.as_ref().filter(|i| i.stage == Stage::Failed).and_then(|i| i.detail.clone());
            detail.is_some_and(|detail| detail.contains(text))
        })
    };
    let version = |text: &str| text.parse().unwrap();
    let never_signed = Refusal::NotInCatalog { version: version("7.5.0") }.to_string();
    let older = Refusal::BelowFloor { version: version("0.0.9"), floor: version("0.1.0") }.to_string();

    // Signed by somebody else.
    site.mirror(&thief.repository());
    site.decide(required("7.4.0"));
    failed("is refused");
    // Never signed by the vendor.
    site.mirror(&vendor.repository());
    site.decide(required("7.5.0"));
    failed(&never_signed);
    // An older one than what runs, which is 0.1.0 here.
    vendor.publish(2, &["0.0.9"], &["0.1.0"], &pc.program());
    site.decide(required("0.0.9"));
    failed(&older);
    // Other bytes than were signed.
    vendor.publish(3, &["7.6.0"], &["0.1.0"], &pc.program());
    let packages = vendor.repository().join("targets/connector");
    for package in fs::read_dir(&packages).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&package).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&package, bytes).unwrap();
    }
    site.decide(required("7.6.0"));
    failed("not what the vendor signed");
    assert_eq!(pc.asked(), 0, "{}", pc.elevation.log());
    assert!(!pc.path("root/opt").exists());
    let told = site.seen.lock().unwrap().iter().filter_map(|seen| seen.detail.clone()).collect::<Vec<_>>().join("\n");
    assert!(told.contains(&never_signed), "the console is told: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polkit_is_the_usual_way_and_its_answers_are_understood() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::with_polkit(&rig, &site, 60_861, Some(Answer::Refuse));
    let mut running = pc.start();
    pc.wait_for_gate(Gate::Online);
    site.decide(required("7.3.0"));
    let stage = |s: &lockstep_connector::status::Status| {
        s.installer.as_ref().map(|i| (i.stage, i.detail.clone().unwrap_or_default()))
    };
    pc.wait_for("refused", |s| stage(s) == Some((Stage::Refused, "the prompt was dismissed".into())));
    assert_eq!(pc.asked(), 1);
    pc.answer(Answer::Wrong);
    let wrong = pc.upgrade();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not authorised"), "{wrong:?}");

    // A prompt that is open when the connector is stopped is taken back, and comes again.
    pc.answer(Answer::LeaveOpen);
    site.decide(required("7.2.0"));
    support::until("asked for another version", || async { pc.asked() == 3 }).await;
    running.stop();
    pc.answer(Answer::Right);
    let running = pc.start();
    site.decide(required("7.3.0"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pc.asked(), 3, "7.3.0 was refused a moment ago");
    let right = pc.upgrade();
    assert!(right.status.success(), "{}\n{}", String::from_utf8_lossy(&right.stderr), pc.elevation.log());
    pc.wait_until_taken_over(&running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polkit_lets_an_administrator_upgrade_without_a_word() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::with_polkit(&rig, &site, 60_871, None);
    let running = pc.start();
    pc.wait_for_gate(Gate::Online);
    site.decide(Decision::Recommended { version: "7.3.0".parse().unwrap() });
    pc.wait_until_taken_over(&running);
    assert_eq!(pc.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn install_starts_the_installer_of_the_download_that_it_lies_in() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let pc = PersonsPc::new(&rig, &site, 60_881, Some(Answer::Right));
    let running = pc.start();
    pc.wait_for_gate(Gate::Online);
    let install = |program: &std::path::Path| {
        let mut command = pc.elevation.as_person("person", program).unwrap();
        command.args(["install", "--elevation", "sudo -A", "--root"]).arg(pc.path("root")).output().unwrap()
    };
    let bare = install(&pc.program());
    let said = String::from_utf8_lossy(&bare.stderr).into_owned();
    assert!(!bare.status.success() && said.contains("integration page"), "{said}");

    // The download: the program and the payload in one folder.
    site.decide(Decision::Stage { version: "7.3.0".parse().unwrap() });
    pc.wait_for("ready", |s| s.installer.as_ref().is_some_and(|i| i.stage == Stage::Ready));
    site.decide(required("7.3.0"));
    pc.answer(Answer::Refuse);
    pc.wait_for("refused", |s| s.installer.as_ref().is_some_and(|i| i.stage == Stage::Refused));
    let download = pc.path("download");
    let copied =
        Command::new("cp").arg("-r").args([pc.path("data/installer/payload"), download.clone()]).status().unwrap();
    assert!(copied.success());
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(&download).status().unwrap().success());
    fs::copy(pc.program(), download.join("bin/lockstep-connector")).unwrap();
    pc.answer(Answer::Right);
    let installed = install(&download.join("bin/lockstep-connector"));
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    pc.wait_until_taken_over(&running);
}
