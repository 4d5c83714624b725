use super::*;

const ANN: &str = "ann@example.test";
const BEN: &str = "ben@example.test";

fn rig(change: impl FnOnce(&mut Setup)) -> (tempfile::TempDir, MailRig) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let accounts = vec![(ANN.into(), "ann \"pw\" \\ é".into()), (BEN.into(), "ben-secret".into())];
    let mut setup = Setup { version: "7.2.0".into(), accounts, ..Setup::default() };
    change(&mut setup);
    let rig = MailRig::with(&dir.path().join("mail"), setup).unwrap();
    (dir, rig)
}

#[test]
fn mail_goes_through_and_the_greeting_tells_the_version() {
    let (_dir, mut rig) = rig(|_| ());
    let probe = |rig: &MailRig| must(Command::new("sh").arg("-c").arg(rig.version_probe())).unwrap();
    assert_eq!(probe(&rig).trim(), "7.2.0");
    let (ann, ben) = (MailClient::direct(&rig, ANN), MailClient::direct(&rig, BEN));
    ann.send(BEN, "hello", "How are you?").unwrap();
    ben.wait_for("INBOX", "hello", Duration::from_secs(20)).unwrap();
    rig.become_version("7.3.0").unwrap();
    assert_eq!(probe(&rig).trim(), "7.3.0");
    assert!(ben.can_log_in());
    assert_eq!(ben.count("INBOX", "hello").unwrap(), 1);
    assert_eq!(rig.undelivered().unwrap(), 0);
}

#[test]
fn what_is_stored_can_be_counted_and_added_without_a_server() {
    let (_dir, mut rig) = rig(|_| ());
    let ann = MailClient::direct(&rig, ANN);
    ann.imap("", "CREATE Work/Old").unwrap();
    ann.append("Work/Old", b"Subject: kept\r\n\r\nby a client\r\n").unwrap();
    ann.imap("Work/Old", "UID STORE 1 +FLAGS (\\Flagged \\Seen)").unwrap();
    let stored = rig.stored(ANN, "Work/Old").unwrap();
    assert_eq!((stored.len(), stored[0].flags.as_str()), (1, "FS"));
    assert_eq!(stored[0].text, b"Subject: kept\n\nby a client\n");
    rig.cut_power();
    rig.deliver(ANN, "INBOX", b"Subject: delivered\r\n\r\nmeanwhile\r\n").unwrap();
    rig.deliver(BEN, "INBOX", b"Subject: first\r\n\r\never\r\n").unwrap();
    rig.power_on().unwrap();
    assert_eq!(ann.count("INBOX", "delivered").unwrap(), 1);
    assert_eq!(MailClient::direct(&rig, BEN).count("INBOX", "first").unwrap(), 1);
    let folders = rig.stored_folders(ANN).unwrap();
    assert!(folders[0] == "INBOX" && folders.contains(&"Work/Old".to_owned()), "{folders:?}");
}

#[test]
fn a_changed_password_counts_at_once() {
    let (_dir, mut rig) = rig(|_| ());
    let before = MailClient::direct(&rig, BEN);
    assert!(before.can_log_in());
    rig.set_password(BEN, "another one").unwrap();
    wait_until("the new password", Duration::from_secs(10), || {
        Ok(MailClient::direct(&rig, BEN).can_log_in().then_some(()))
    })
    .unwrap();
    assert!(!before.can_log_in());
}

#[test]
fn an_administrator_sees_and_ends_sessions() {
    let (_dir, rig) = rig(|_| ());
    // A client that logs in and stays.
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", rig.imaps)]);
    let mut client = client
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"a LOGIN ben@example.test ben-secret\r\n").unwrap();
    let seen = |rig: &MailRig| rig.doveadm(&["who"]).unwrap().contains(BEN);
    wait_until("the session", Duration::from_secs(20), || Ok(seen(&rig).then_some(()))).unwrap();
    rig.doveadm(&["kick", BEN]).unwrap();
    wait_until("no session", Duration::from_secs(20), || Ok((!seen(&rig)).then_some(()))).unwrap();
    drop(input);
    client.wait().unwrap();
}

#[test]
fn raw_lines_reach_both_configurations() {
    let (_dir, rig) = rig(|setup| {
        setup.dovecot = "login_greeting = Overridden.".into();
        setup.exim_main = "acl_smtp_data = acl_data".into();
        setup.exim_acl = "acl_data:\n  deny message = not today".into();
    });
    let probe = format!("curl -skv --max-time 5 imaps://127.0.0.1:{}/ 2>&1 || true", rig.imaps);
    assert!(must(Command::new("sh").arg("-c").arg(probe)).unwrap().contains("Overridden."));
    let refused = MailClient::direct(&rig, ANN).send(BEN, "no", "no").unwrap_err();
    assert!(rig.exim_log().contains("not today"), "{refused:#}\n{}", rig.exim_log());
}

#[test]
fn a_message_that_is_submitted_twice_arrives_once_and_two_that_look_alike_arrive_both() {
    let (_dir, rig) = rig(Setup::keep_one_of_each_submission);
    let submit = |id: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--ssl-reqd", "--max-time", "20", "--cacert"]).arg(rig.certificate());
        curl.args(["--user", &format!("{ANN}:{}", rig.password(ANN)), "--mail-from", ANN, "--mail-rcpt", BEN]);
        let file = rig.dir().join("message");
        fs::write(&file, format!("{id}Subject: alike\r\n\r\nthe same\r\n")).unwrap();
        must(curl.arg("-T").arg(file).arg(format!("smtp://127.0.0.1:{}", rig.submission))).unwrap();
    };
    for id in ["X-Lockstep-Submission: 1\r\n", "X-Lockstep-Submission: 1\r\n", "X-Lockstep-Submission: 2\r\n", "", ""] {
        submit(id);
    }
    let alike = || rig.stored(BEN, "INBOX").unwrap();
    wait_until("all are delivered", Duration::from_secs(20), || {
        Ok((alike().len() >= 4 && rig.undelivered()? == 0).then_some(()))
    })
    .unwrap();
    assert_eq!((alike().len(), rig.dropped_again()), (4, 1), "{}", rig.exim_log());
    let told = |message: &maildir::Stored| String::from_utf8_lossy(&message.text).contains("X-Lockstep-Submission");
    assert!(!alike().iter().any(told), "the id is nobody else's business");
}
