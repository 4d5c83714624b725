//! How a user who is cut off is told: IMAP ALERTs in every session, a desktop notification over a real session bus, and
//! what starts at login.

#![cfg(target_os = "linux")]

mod support;

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use ::mail_rig::process::Background;
use protocol::{Decision, message::Gate};
use support::{
    mail_rig::{ALICE, MailRig},
    program::{PROGRAM, Pc, with_input},
    site::Site,
    until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The desktop's side (Desktop Notifications Specification): writes down each call.
const DESKTOP: &str = r#"
import dbus, dbus.service, json, sys
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName("org.freedesktop.Notifications", bus)
def note(*what):
    print(json.dumps(what, default=str), flush=True)
class Desktop(dbus.service.Object):
    @dbus.service.method("org.freedesktop.Notifications", "susssasa{sv}i", "u")
    def Notify(self, app, replaces, icon, summary, body, actions, hints, expire):
        note("notify", str(app), int(replaces), str(summary), str(body), int(hints["urgency"]))
        return 7
    @dbus.service.method("org.freedesktop.Notifications", "u", "")
    def CloseNotification(self, number):
        note("close", int(number))
desktop = Desktop(bus, "/org/freedesktop/Notifications")
print("ready", flush=True)
GLib.MainLoop().run()
"#;

/// A mail program that has INBOX open and waits (IDLE), and one that only looks from time to time.
const SESSIONS: &str = r#"
import imaplib, sys, re
port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
idle, busy = imaplib.IMAP4("127.0.0.1", port), imaplib.IMAP4("127.0.0.1", port)
for one in (idle, busy):
    one.login(user, password)
    one.select("INBOX")
idle.send(b"x IDLE\r\n")
assert idle.readline().startswith(b"+")
print("ready", flush=True)
while True:
    line = idle.readline()
    if b"[ALERT]" in line:
        print("idle", line.decode(), flush=True)
        break
busy.send(b"y NOOP\r\n")
while True:
    line = busy.readline()
    if b"[ALERT]" in line:
        print("busy", line.decode(), flush=True)
        break
    assert not line.startswith(b"y "), line
"#;

fn required() -> Decision {
    Decision::Required { version: "7.3.0".parse().unwrap(), deadline: "2030-01-01T00:00:00Z".parse().unwrap() }
}

async fn site_of(rig: &MailRig) -> Arc<Site> {
    let mut mail = rig.mail_server();
    mail.webmail = Some("https://webmail.example.test/?a=1&b=2".into());
    Site::start(mail, rig.password(ALICE)).await
}

fn start(name: &str, command: &mut Command, log: &Path) -> Background {
    Background::start(name, command, log).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_user_who_is_cut_off_is_told_everywhere_once_and_when_it_is_over_it_goes() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    let made = pc.setup(ALICE, rig.password(ALICE));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (port, password) = (made["imap_port"].to_string(), made["password"].as_str().unwrap().to_owned());

    let dir = tempfile::tempdir().unwrap();
    let log = |name: &str| dir.path().join(name);
    let address = format!("unix:path={}", log("bus").display());
    let mut bus = Command::new("dbus-daemon");
    bus.args(["--session", "--nofork", "--nopidfile", "--print-address", "--address", &address]);
    let mut bus = start("the session bus", &mut bus, &log("bus.log"));
    bus.wait_for("unix:path=", LIMIT).unwrap();
    let mut desktop = Command::new("/usr/bin/python3");
    desktop.args(["-c", DESKTOP]).env("DBUS_SESSION_BUS_ADDRESS", &address);
    let mut desktop = start("the desktop", &mut desktop, &log("desktop.log"));
    desktop.wait_for("ready", LIMIT).unwrap();

    let mut connector = pc.command("run");
    let mut connector =
        start("the connector", connector.env("DBUS_SESSION_BUS_ADDRESS", &address), &log("connector.log"));
    pc.wait_for("online", |s| s.running && s.gate == Gate::Online);
    let mut sessions = Command::new("/usr/bin/python3");
    sessions.args(["-c", SESSIONS, &port, ALICE, &password]);
    let mut sessions = start("the mail programs", &mut sessions, &log("sessions.log"));
    sessions.wait_for("ready", LIMIT).unwrap();

    site.decide(required());
    pc.wait_for("offline", |s| s.gate == Gate::Offline);
    let seen = |name: &str, text: &str| fs::read_to_string(dir.path().join(name)).unwrap().contains(text);
    until("the open sessions are told", || async { seen("sessions.log", "idle") && seen("sessions.log", "busy") })
        .await;
    let said = fs::read_to_string(log("sessions.log")).unwrap();
    assert!(said.matches("[ALERT] Offline").count() == 2 && said.contains("webmail.example.test"), "{said}");
    until("the desktop is told", || async { seen("desktop.log", "notify") }).await;
    let counts = |name: &str| fs::read_to_string(log("desktop.log")).unwrap().matches(name).count();
    let said = fs::read_to_string(log("desktop.log")).unwrap();
    for part in ["Lockstep Connector", "is offline", "lockstep-connector upgrade", "/integration", "?a=1&amp;b=2"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Asked again and again it is the same news, and there is one message.
    for _ in 0..3 {
        site.decide(required());
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(counts("notify"), 1, "{said}");
    assert_eq!(pc.status().unwrap().folders["INBOX"].messages, 1);

    site.decide(Decision::Current);
    pc.wait_for("online", |s| s.gate == Gate::Online && s.folders["INBOX"].messages == 0);
    until("the desktop is told", || async { counts("close") == 1 }).await;
    assert_eq!(rig.count(ALICE, "INBOX", "ALL"), 0, "the message never was on the server");
    connector.stop();

    // A bus without a desktop, and one that is gone, harm nobody.
    desktop.kill();
    site.decide(required());
    for keep_bus in [true, false] {
        if !keep_bus {
            bus.kill();
        }
        let mut command = pc.command("run");
        let mut connector =
            start("the connector", command.env("DBUS_SESSION_BUS_ADDRESS", &address), &log("connector.log"));
        pc.wait_for("offline", |s| s.running && s.notice.is_some() && s.folders["INBOX"].messages == 1);
        connector.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_at_login_where_there_is_a_desktop_and_nowhere_else() {
    let rig = MailRig::start();
    let (site, pc) = (site_of(&rig).await, Pc::new());
    site.install(&pc.root());
    let home = tempfile::tempdir().unwrap();
    let setup = |desktop: bool| {
        let mut setup = pc.command("setup");
        setup.args(["--user", ALICE, "--password-stdin", "--imap-port", "0", "--smtp-port", "0"]);
        setup
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        if desktop {
            setup.env("DISPLAY", ":99");
        }
        let output = with_input(&mut setup, rig.password(ALICE));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    setup(false);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    setup(true);
    let entry = fs::read_to_string(home.path().join(".config/autostart/lockstep-connector.desktop")).unwrap();
    assert!(entry.contains(&format!("Exec=\"{PROGRAM}\" \"run\" \"--root\"")), "{entry}");
}
