//! The connector on Windows: the cross-built program under Wine, with the real mail server on the other side and a mail program
//! on this one. (The site's server is a stand-in, and the installer a few lines of C; the real ones take part in the
//! whole-system tests.)

#![cfg(target_os = "linux")]

mod support;

use std::{fs, process::Command, sync::Arc, time::Duration};

use ::mail_rig::{MailClient, process::wait_until};
use lockstep_connector::{installer::state::Stage, status::Status};
use protocol::{Decision, message::Gate};
use support::{
    mail_rig::{ALICE, BOB, MailRig},
    message,
    site::Site,
    vendor::Vendor,
    windows_pc::{EXE, WindowsPc},
};
use wine_rig::{Screen, Value};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

async fn site_of(rig: &MailRig) -> Arc<Site> {
    Site::start(rig.mail_server(), rig.password(ALICE)).await
}

fn online(status: &Status) -> bool {
    status.running && status.gate == Gate::Online
}

fn inbox(status: &Status) -> u32 {
    status.folders.get("INBOX").map_or(0, |inbox| inbox.messages)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_read_sent_and_kept_while_the_server_is_away() {
    let mut rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let site = site_of(&rig).await;
    let mut pc = WindowsPc::new("conn-mail", &site.profile(), None, None);

    let check = pc.says(&["self-check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    assert!(
        String::from_utf8_lossy(&check.stdout).contains("can run here"),
        "a program without a console prints all the same"
    );
    let made = pc.set_up(&rig, &[]);
    assert_eq!(made["secrets"], "keyring", "in the Credential Manager");
    assert!(!pc.data().join("secrets.json").exists());
    let run = pc.pc.registry_text(r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run", "Lockstep Connector").unwrap();
    let run = run.expect("it starts at sign-in");
    assert!(run.starts_with(&format!("\"{EXE}\" \"run\"")), "{run}");

    let mut running = pc.start();
    pc.wait_for("mail", |s| online(s) && inbox(s) == 1);
    let client = MailClient::local(pc.imap_port, pc.smtp_port, ALICE, &pc.password);
    client.wait_for("INBOX", "hello", LONG).unwrap();
    client.send(BOB, "from Windows", "hello Bob\r\n").unwrap();
    support::until("it arrives", || async { rig.count(BOB, "INBOX", "SUBJECT Windows") == 1 }).await;

    // One connector a user.
    let second = pc.says(&["run"]);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("already runs"));

    // Away: local mail stays, outgoing mail waits; power lost meanwhile changes nothing.
    rig.power_off();
    pc.wait_for("offline", |s| s.gate == Gate::Offline && s.notice.is_some());
    assert_eq!(client.count("INBOX", "hello").unwrap(), 1);
    client.send(BOB, "queued on Windows", "later\r\n").unwrap();
    pc.wait_for("it waits", |s| s.outbox == 1);
    pc.pc.power_cut().unwrap();
    assert!(!running.is_running());
    rig.power_on();
    pc.pc.power_on().unwrap();
    let running = pc.start();
    pc.wait_for("online again, and nothing waits", |s| online(s) && s.outbox == 0 && s.last_sync.is_some());
    support::until("it arrives, once", || async { rig.count(BOB, "INBOX", "SUBJECT queued") == 1 }).await;

    // An updater that is listed among the installed programs, in the 32-bit list too, is not missing; it does not run.
    let listed_by =
        |seen: &protocol::message::ConnectorCheckIn| seen.detail.as_deref().is_some_and(|d| d.contains("is installed"));
    assert!(!site.seen.lock().unwrap().iter().any(listed_by), "there is none");
    let listed = r"HKLM\Software\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall\LockstepUpdater";
    for (name, value) in [("DisplayName", "Lockstep Updater"), ("DisplayVersion", "0.1.0")] {
        pc.pc.set_registry(listed, name, &Value::Text(value.into())).unwrap();
    }
    let upgrade = pc.says(&["upgrade"]);
    let said = String::from_utf8_lossy(&upgrade.stdout).into_owned();
    assert!(said.contains("This computer has Lockstep Updater"), "{said}{}", String::from_utf8_lossy(&upgrade.stderr));
    site.decide(Decision::Current);
    let told = || site.seen.lock().unwrap().last().and_then(|seen| seen.detail.clone()).unwrap_or_default();
    support::until("the console is told", || async {
        told() == "Lockstep Updater 0.1.0 is installed and does not answer"
    })
    .await;

    let diagnostics = pc.says(&["diagnostics"]);
    let path = String::from_utf8(diagnostics.stdout).unwrap();
    let text = fs::read_to_string(pc.pc.path(path.trim())).unwrap();
    assert!(text.contains("serving local mail") && !text.contains(&pc.password), "{text}");
    println!("resident memory, idle (test build): {} kB", resident(running.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_how_things_stand_and_ends_when_its_launcher_says_so() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let site = site_of(&rig).await;
    let screen = Screen::new().unwrap();
    let mut pc = WindowsPc::new("conn-tray", &site.profile(), None, Some(&screen));
    // A desktop with a task bar of its own, as Windows has it.
    pc.pc.set_registry(r"HKCU\Software\Wine\Explorer", "Desktop", &Value::Text("Default".into())).unwrap();
    pc.pc.set_registry(r"HKCU\Software\Wine\Explorer\Desktops", "Default", &Value::Text("1024x768".into())).unwrap();
    pc.set_up(&rig, &[]);
    let mut running = pc.start();
    pc.wait_for("online", |s| online(s) && s.last_sync.is_some());
    let before = colours(&screen, "icon");
    let opened = || Ok(pc.says(&["status", "--window"]).status.success().then_some(()));
    wait_until("the icon's window", LONG, opened).unwrap();
    until_more_is_seen(&screen, before, "status");

    // The menu, by a click on the icon.
    let hand = pc.pc.c().join("hand.exe");
    compile(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/hand.c"), &hand, &[]);
    pc.pc.must(r"C:\hand.exe", &["menu"]).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    colours(&screen, "menu");
    pc.pc.must(r"C:\hand.exe", &["away"]).unwrap();

    assert_ne!(above_the_task_bar(&screen), [255, 255, 255], "nothing pops up there yet");
    // The flip: the notification pops up, and the window says why.
    site.decide(required());
    pc.wait_for("offline", |s| s.gate == Gate::Offline && s.notice.is_some());
    let pops_up = || Ok((above_the_task_bar(&screen) == [255, 255, 255]).then_some(()));
    wait_until("the notification", LONG, pops_up).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    colours(&screen, "offline");

    // The connector ends by itself when its launcher asks it to.
    let pid = Status::load(&pc.data()).unwrap().unwrap().pid.to_string();
    pc.pc.must(r"C:\hand.exe", &["stop", &pid]).unwrap();
    wait_until("its end", LONG, || Ok((!running.is_running()).then_some(()))).unwrap();
    assert_eq!(running.exit_code(), Some(Some(0)), "{}", pc.log());
    assert!(pc.log().contains("stopping"), "{}", pc.log());
}

fn required() -> Decision {
    Decision::Required { version: "7.3.0".parse().unwrap(), deadline: "2030-01-01T00:00:00Z".parse().unwrap() }
}

/// How many colours the screen shows. Keeps a picture of it in the folder `LOCKSTEP_PICTURES`, for the documentation.
fn colours(screen: &Screen, name: &str) -> u32 {
    if let Some(folder) = std::env::var_os("LOCKSTEP_PICTURES") {
        screen.picture(&std::path::Path::new(&folder).join(format!("{name}.png"))).unwrap();
    }
    screen.colours().unwrap()
}

/// The colour at a place where notifications pop up, and nothing else is.
fn above_the_task_bar(screen: &Screen) -> [u8; 3] {
    let file = tempfile::Builder::new().suffix(".ppm").tempfile().unwrap();
    screen.picture(file.path()).unwrap();
    let pixels = fs::read(file.path()).unwrap();
    let pixels = &pixels[pixels.len() - 1024 * 768 * 3..];
    let at = (690 * 1024 + 100) * 3;
    [pixels[at], pixels[at + 1], pixels[at + 2]]
}

fn until_more_is_seen(screen: &Screen, than: u32, name: &str) {
    wait_until(name, LONG, || Ok((screen.colours()? > than + 8).then_some(()))).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    colours(screen, name);
}

fn compile(source: &str, to: &std::path::Path, flags: &[&str]) {
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    compiler.args(flags).args(["-O1", "-s", "-Wall", "-Werror", "-o"]).arg(to).arg(source);
    assert!(compiler.status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_updater_it_is_refused_once_and_later_makes_room_for_the_machines() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let site = site_of(&rig).await;
    let mut pc = WindowsPc::new("conn-uac", &site.profile(), Some(r"C:\pc"), None);
    let work = tempfile::tempdir().unwrap();
    let installer = work.path().join("lockstep-updater.exe");
    compile(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/installer.c"), &installer, &["-municode"]);
    let vendor = Vendor::new(&work.path().join("vendor"), [7; 32]).for_windows();
    vendor.publish(1, &["7.3.0"], &["0.1.0"], &installer);
    site.mirror(&vendor.repository());
    fs::copy(vendor.root(), pc.pc.path(r"C:\app\root.json")).unwrap();
    fs::copy(pc.pc.path(EXE), pc.pc.c().join("pc/program.exe")).unwrap();
    // Somebody who says no: what the system's own prompt then gives, as an exit code.
    fs::write(pc.pc.c().join("pc/no.bat"), "@echo asked>>C:\\pc\\asked.txt\r\n@exit 1223\r\n").unwrap();
    pc.set_up(&rig, &["--elevation", "cmd /c C:/pc/no.bat"]);
    let asked = || fs::read_to_string(pc.pc.c().join("pc/asked.txt")).unwrap_or_default().lines().count();
    let mut running = pc.start();
    pc.wait_for("mail", |s| online(s) && inbox(s) == 1);
    assert_eq!(asked(), 0, "nothing needs to be installed");

    site.decide(required());
    let refused =
        pc.wait_for("refused", |s| s.installer.as_ref().is_some_and(|installer| installer.stage == Stage::Refused));
    assert_eq!((refused.gate, refused.updater, asked()), (Gate::Offline, Some(false), 1));
    let client = MailClient::local(pc.imap_port, pc.smtp_port, ALICE, &pc.password);
    assert_eq!(client.count("INBOX", "hello").unwrap(), 1, "local mail stays readable");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(asked(), 1, "never more often than the policy says");

    // By the user's own word, through ShellExecuteEx, which here asks nobody.
    let done = pc.says(&["upgrade", "--elevation", "uac"]);
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("Installed"), "{said}\n{}", pc.log());
    assert_eq!(fs::read_to_string(pc.pc.c().join("pc/installed.txt")).unwrap().lines().count(), 1);
    wait_until("it makes room", LONG, || Ok((!running.is_running()).then_some(()))).unwrap();
    site.decide(Decision::Current);
    let after = pc.wait_for("the machine's connector", |s| online(s) && s.pid != refused.pid);
    assert_eq!(inbox(&after), 1, "with the same mail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_removed_from_the_account_and_mail_only_when_that_is_said() {
    let rig = MailRig::start();
    rig.append(ALICE, "INBOX", &message("hello"));
    let site = site_of(&rig).await;
    let mut pc = WindowsPc::new("conn-remove", &site.profile(), None, None);
    pc.set_up(&rig, &[]);
    let (data, password) = (pc.data(), pc.password.clone());
    let mut running = pc.start();
    pc.wait_for("mail", |s| online(s) && inbox(s) == 1);

    // It asks the running one to end, in the same session.
    let kept = pc.says(&["remove", "--keep-mail"]);
    let said = String::from_utf8_lossy(&kept.stdout).into_owned();
    assert!(kept.status.success() && said.contains("Your mail is still in"), "{said}\n{}", pc.log());
    wait_until("its end", LONG, || Ok((!running.is_running()).then_some(()))).unwrap();
    assert_eq!(running.exit_code(), Some(Some(0)));
    let mut left: Vec<_> =
        fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    // The database's journal is part of it.
    left.retain(|name| !name.starts_with("mail.sqlite-"));
    assert_eq!(left, ["account.json", "mail.sqlite"]);
    let run = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run";
    assert_eq!(pc.pc.registry_text(run, "Lockstep Connector").unwrap(), None, "it starts no more");

    pc.set_up(&rig, &[]);
    assert_ne!(pc.password, password, "the Credential Manager had nothing of it any more");
    let mut running = pc.start();
    pc.wait_for("the mail that was kept", |s| online(s) && inbox(s) == 1);
    let gone = pc.says(&["remove", "--delete-mail"]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    wait_until("its end", LONG, || Ok((!running.is_running()).then_some(()))).unwrap();
    assert!(
        !data.exists(),
        "{:?}",
        fs::read_dir(&data).map(|d| d.flatten().map(|e| e.file_name()).collect::<Vec<_>>())
    );
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 1, "the mail on the mail server is as it was");
}

/// Threat 20: the current directory, PATH and TEMP are an attacker's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_programs_and_libraries_are_neither_run_nor_loaded() {
    let rig = MailRig::start();
    let site = site_of(&rig).await;
    let mut pc = WindowsPc::new("conn-traps", &site.profile(), None, None);
    pc.set_up(&rig, &[]);
    let c = pc.pc.c();
    let traps = c.join("traps");
    fs::create_dir(&traps).unwrap();
    let trap = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/trap.c");
    let (library, program) = (c.join("trap.dll"), c.join("trap.exe"));
    compile(trap, &library, &["-shared"]);
    compile(trap, &program, &[]);
    let listed = Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(pc.pc.path(EXE)).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let named = listed.lines().filter_map(|line| line.trim().strip_prefix("DLL Name: "));
    let usual =
        ["version.dll", "cryptsp.dll", "dbghelp.dll", "profapi.dll", "uxtheme.dll", "dwmapi.dll", "planted.dll"];
    let names: Vec<_> = named.chain(usual).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        fs::copy(&library, traps.join(name)).unwrap();
    }
    for name in ["cmd", "explorer", "rundll32", "lockstep-updater", "lockstep-launcher"] {
        fs::copy(&program, traps.join(format!("{name}.exe"))).unwrap();
    }
    let owned = c.join("owned");
    let trapped = |line: &str| {
        let script = format!(
            "@echo off\r\ncd /d C:\\traps\r\nset PATH=C:\\traps;%PATH%\r\nset TEMP=C:\\traps\r\nset TMP=C:\\traps\r\n{line}\r\n"
        );
        fs::write(c.join("trapped.cmd"), script).unwrap();
        pc.pc.run_line(r"C:\windows\system32\cmd.exe /c C:\trapped.cmd").unwrap()
    };
    trapped(r"C:\trap.exe planted.dll");
    assert!(owned.exists(), "the trap works: who loads by a plain name is caught");
    fs::remove_file(&owned).unwrap();
    for (command, says) in [("self-check", "can run here"), ("status", "of alice"), ("diagnostics", "diagnostics")] {
        let ran = trapped(&format!("{EXE} {command}"));
        assert!(ran.stdout.contains(says), "{command}: {}{}", ran.stdout, ran.stderr);
        assert!(!owned.exists(), "{command}");
    }
    // The program itself, with its icon and its servers.
    fs::write(c.join("run.cmd"), format!("@cd /d C:\\traps\r\n@set PATH=C:\\traps;%PATH%\r\n@{EXE} run\r\n")).unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let words = ["/c", r"C:\run.cmd"];
    let mut running = pc.pc.spawn("the connector", r"C:\windows\system32\cmd.exe", &words, log.path()).unwrap();
    pc.wait_for("online", online);
    assert!(!owned.exists());
    assert!(pc.says(&["remove", "--keep-mail"]).status.success());
    wait_until("its end", LONG, || Ok((!running.is_running()).then_some(()))).unwrap();
    assert!(!owned.exists());
}

/// Kilobytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse().ok()).unwrap_or_default()
}
