//! The program as its user and the updater know it: commands, exit codes, files, how fast it starts and stops.

#![cfg(unix)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mail_rig::process::is_root;
use protocol::{
    Decision, ipc,
    message::{Gate, Ticket},
};
use support::{
    mail_rig::{ALICE, MailRig},
    message,
    program::{PROGRAM, Pc, mode_of, with_input},
    site::Site,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn site_of(rig: &MailRig) -> Arc<Site> {
    Site::start(rig.mail_server(), rig.password(ALICE)).await
}

fn required() -> Decision {
    Decision::Required { version: "7.3.0".parse().unwrap(), deadline: "2030-01-01T00:00:00Z".parse().unwrap() }
}

/// curl as the user's mail program at the local IMAP server.
fn local_imap(port: u16, password: &str, command: &str) -> Result<String, String> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "10", "--user", &format!("{ALICE}:{password}")]);
    let output = curl.args([&format!("imap://127.0.0.1:{port}/INBOX"), "-X", command]).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn the_self_check_needs_no_rights_no_environment_and_no_files() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    if is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM]);
    }
    let output = command.arg("self-check").env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("can run here\n"));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

/// Whoever takes the ports of the loopback, all or all but a few, neither makes a good version look broken nor hides a broken one.
#[test]
fn the_self_check_needs_no_network_at_all() {
    assert!(is_root(), "a network of its own needs root");
    // In a new network not even the loopback is up (network_namespaces(7)).
    let output = Command::new("unshare").args(["--net", PROGRAM, "self-check"]).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_says_its_version_and_refuses_what_it_does_not_know() {
    let version = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("lockstep-connector "));
    let unknown = Command::new(PROGRAM).arg("explode").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let nothing = Command::new(PROGRAM).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    let pc = Pc::new();
    for command in ["status", "run"] {
        let output = pc.command(command).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("lockstep-connector setup --user"), "{command} says what to do: {said}");
    }
}

/// Whatever the user's mailbox has become, the administrator hears of it, with the user's name: the token says whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_cannot_be_opened_is_told_to_the_site_and_to_the_user() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    assert!(pc.setup(ALICE, rig.password(ALICE)).status.success());
    let store = pc.data().join("mail.sqlite");
    std::fs::write(&store, "this was a mailbox once").unwrap();
    let ended = pc.command("run").output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("cannot be opened"), "{said}");
    let seen = site.seen.lock().unwrap().last().cloned().unwrap();
    let detail = seen.detail.unwrap();
    assert!(detail.starts_with("the mailbox cannot be opened: "), "{detail}");
    assert!(!detail.contains(pc.data().to_str().unwrap()), "no path of the user's leaves the PC: {detail}");
    assert_eq!((seen.gate, seen.hostname.as_str()), (Gate::Offline, "pc-test"));
    let status = pc.status().unwrap();
    assert_eq!((status.running, status.problem), (false, Some(detail)));
    assert_eq!(std::fs::read(&store).unwrap(), b"this was a mailbox once", "nothing is made in its place");

    // Mended, it says no more of it.
    std::fs::remove_file(&store).unwrap();
    let running = pc.start();
    pc.wait_for("online", |s| s.running && s.gate == Gate::Online && s.problem.is_none());
    running.stop();
}

/// `remove`, as a user gives it while the connector runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connector_is_removed_from_the_account_and_mail_only_when_that_is_said() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    assert!(pc.setup(ALICE, rig.password(ALICE)).status.success());
    let mut running = pc.start();
    pc.wait_for("mail", |s| s.folders.get("INBOX").is_some_and(|inbox| inbox.messages == 1));

    // Nobody to ask, and nothing said: the mail is kept.
    let kept = pc.command("remove").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&kept.stdout).into_owned();
    assert!(kept.status.success() && said.contains("Your mail is still in"), "{said}");
    assert!(running.0.wait().unwrap().success(), "it was asked to end");
    assert!(pc.data().join("mail.sqlite").exists() && !pc.data().join("secrets.json").exists());
    assert!(!pc.data().join("status.json").exists());

    // A later setup goes on with it; another account does not get it.
    let other = pc.setup("eve@example.test", "x");
    assert!(String::from_utf8_lossy(&other.stderr).contains("belongs to"), "{other:?}");
    assert!(pc.setup(ALICE, rig.password(ALICE)).status.success());
    let both = pc.command("remove").args(["--keep-mail", "--delete-mail"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
    let gone = pc.command("remove").arg("--delete-mail").output().unwrap();
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert!(!pc.data().exists());
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 1, "the mail on the mail server is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_run_flip_and_back() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());

    let wrong = pc.setup(ALICE, "wrong");
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("does not know this password"));
    assert!(!pc.data().join("account.json").exists());

    let made = pc.setup(ALICE, rig.password(ALICE));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let program: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(program["secrets"], "file");
    for file in ["account.json", "secrets.json"] {
        assert_eq!(mode_of(&pc.data().join(file)), 0o600, "{file}");
    }
    assert_eq!(mode_of(&pc.data()), 0o700);
    let account = std::fs::read_to_string(pc.data().join("account.json")).unwrap();
    assert!(!account.contains("alice \\\"pw"), "no secret in the account");
    let again: serde_json::Value = serde_json::from_slice(&pc.setup(ALICE, rig.password(ALICE)).stdout).unwrap();
    assert_eq!(again["password"], program["password"], "a second setup keeps what the mail program knows");
    let port = again["imap_port"].as_u64().unwrap() as u16;
    let password = again["password"].as_str().unwrap().to_owned();

    let started = Instant::now();
    let running = pc.start();
    let online = pc.wait_for("online", |s| s.running && s.gate == Gate::Online);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!((online.notice.as_deref(), online.user.as_str()), (None, ALICE));
    pc.wait_for("mail", |s| s.folders.get("INBOX").is_some_and(|inbox| inbox.messages == 1));
    assert!(local_imap(port, &password, "UID SEARCH ALL").unwrap().contains("* SEARCH 1"));
    assert!(local_imap(port, "wrong", "NOOP").is_err());
    let told = || site.seen.lock().unwrap().last().map(|c| (c.gate, c.hostname.clone(), c.ticket.is_none()));
    let start = Instant::now();
    while told() != Some((Gate::Online, "pc-test".into(), true)) {
        assert!(start.elapsed() < Duration::from_secs(5), "the site is told of the gate: {:?}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // A second connector for the same data says so and leaves the first alone.
    let second = pc.command("run").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("already runs"));

    let flipped = Instant::now();
    site.decide(required());
    let offline = pc.wait_for("offline", |s| s.gate == Gate::Offline);
    assert!(flipped.elapsed() < Duration::from_secs(2), "{:?}", flipped.elapsed());
    let notice = offline.notice.unwrap();
    assert!(notice.contains("7.3.0") && notice.contains("/integration"), "{notice}");
    assert!(local_imap(port, &password, "UID SEARCH ALL").unwrap().contains("* SEARCH 1"), "local mail stays readable");

    // Killed and started again without the site's server it remembers; nothing passes.
    let took = running.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!pc.status().unwrap().running);
    let logins = rig.logins();
    let profile = pc.root().join("etc/lockstep/site.json");
    let kept = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, kept.replace(&site.url, "https://localhost:1")).unwrap();
    let running = pc.start();
    let still = pc.wait_for("offline", |s| s.running && s.notice.is_some());
    assert_eq!(still.gate, Gate::Offline);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.logins(), logins, "{}", rig.log());
    running.stop();

    std::fs::write(&profile, kept).unwrap();
    site.decide(Decision::Current);
    let running = pc.start();
    pc.wait_for("online again", |s| s.running && s.gate == Gate::Online);
    let memory = resident(running.0.id());
    println!("resident memory (test build): {memory} kB");
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_site_hears_soon_of_an_updater_that_comes_later() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    assert!(pc.setup(ALICE, rig.password(ALICE)).status.success());
    let running = pc.start();
    pc.wait_for("online", |s| s.running && s.gate == Gate::Online);
    let told = || site.seen.lock().unwrap().last().and_then(|check_in| check_in.ticket.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(), None);

    let ticket = Ticket { claim: "the user".into(), signature: "the updater's".into() };
    updater(&pc.root(), ticket.clone());
    let start = Instant::now();
    while told().as_ref() != Some(&ticket) {
        // Far less than the five minutes after which the site wants to be asked again.
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", told());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.stop();
}

/// An updater that says to everybody how things stand, with this ticket.
fn updater(root: &Path, ticket: Ticket) {
    let status = serde_json::json!({ "updater": "0.1.0", "device": "d1", "server": "https://site", "products": {}, "ticket": ticket });
    let status: ipc::Status = serde_json::from_value(status).unwrap();
    let answer = ipc::frame(&ipc::Reply::Status(Box::new(status)));
    std::fs::create_dir_all(root.join("run/lockstep")).unwrap();
    let listener = tokio::net::UnixListener::bind(root.join("run/lockstep/updater.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 512];
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(&answer).await);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_sites_server_mail_goes_on() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    assert!(pc.setup(ALICE, rig.password(ALICE)).status.success());
    std::fs::remove_file(pc.root().join("etc/lockstep/site.json")).unwrap();
    let running = pc.start();
    pc.wait_for("online", |s| s.running && s.gate == Gate::Online);
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secrets_go_to_the_keyring_where_there_is_one() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    let home = tempfile::tempdir().unwrap();
    // A session with a real keyring, unlocked with the password "login"; setup runs twice in it.
    let script = r#"printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
        "$@" < "$HOME/password" && "$@" < "$HOME/password""#;
    std::fs::write(home.path().join("password"), rig.password(ALICE)).unwrap();
    let mut session = Command::new("dbus-run-session");
    session.args(["--", "sh", "-c", script, "sh", PROGRAM, "setup", "--user", ALICE, "--password-stdin", "--json"]);
    session.args(["--imap-port", "0", "--smtp-port", "0", "--root"]).arg(pc.root()).arg("--data").arg(pc.data());
    session
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("XDG_DATA_HOME", home.path().join("share"));
    let output = tokio::task::spawn_blocking(move || session.stdin(Stdio::null()).output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let programs: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(programs.len(), 2);
    assert_eq!(programs[0]["secrets"], "keyring", "{said}");
    assert_eq!(programs[0]["password"], programs[1]["password"], "the second setup read the first one's keyring");
    assert!(!pc.data().join("secrets.json").exists());
    let files = std::fs::read_dir(pc.data()).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let content = std::fs::read(&file).unwrap();
        let secret = programs[0]["password"].as_str().unwrap().as_bytes();
        assert!(!content.windows(secret.len()).any(|w| w == secret), "{} holds a secret", file.display());
    }

    // Without the keyring the connector says what to do, and soon.
    let start = Instant::now();
    let output = with_input(&mut pc.command("run"), "");
    assert!(!output.status.success() && start.elapsed() < Duration::from_secs(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("keyring"));
}

/// Kilobytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
