//! A PC whose connector, the real program of an unprivileged user, is killed at a chosen system call while the user's mail
//! program and another mail client are at work; then started again and compared with the mail server's own files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    local_client::{Imap, Smtp},
    mail_rig::{ALICE, BOB, MailRig},
    on_server::{OnServer, stored, subject},
    program::{PROGRAM, with_input},
    site::Site,
};
use lockstep_connector::status::Status;
use protocol::message::Gate;

/// The user's id on the PC.
const UID: u32 = 60001;

/// Where to kill: before the `nth` call of `syscall` that one of the threads makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub syscall: String,
    pub nth: u32,
}

/// What the local mail program was told is done.
#[derive(Debug, Default, Clone, Copy)]
struct Acked {
    sent: bool,
    draft: bool,
    flagged: bool,
    moved: bool,
    copied: bool,
    expunged: bool,
    folder: bool,
    filed: bool,
}

pub struct Lab {
    pub rig: MailRig,
    pub site: Arc<Site>,
    dir: tempfile::TempDir,
    account: serde_json::Value,
    /// How many rounds there were: each has messages of its own.
    rounds: u32,
    rounds_acked: Vec<Acked>,
    mounted: bool,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with_disk(None).await
    }

    /// With a data directory on a file system of its own with so many bytes.
    pub async fn with_disk(bytes: Option<u64>) -> Self {
        let rig = MailRig::start();
        let site = Site::start(rig.mail_server(), rig.password(ALICE)).await;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        site.install(&dir.path().join("root"));
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some(bytes) = bytes {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&data);
            assert!(mount.status().unwrap().success(), "mounting a small disk takes root");
        }
        if ::mail_rig::process::is_root() {
            chown(&data, Some(UID), Some(UID)).unwrap();
        }
        let mut lab = Self {
            rig,
            site,
            dir,
            account: serde_json::Value::Null,
            rounds: 0,
            rounds_acked: vec![],
            mounted: bytes.is_some(),
        };
        let mut setup = lab.command(&[], "setup");
        setup.args(["--user", ALICE, "--password-stdin", "--json", "--imap-port", "0", "--smtp-port", "0"]);
        let made = with_input(&mut setup, lab.rig.password(ALICE));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        lab.account = serde_json::from_slice(&made.stdout).unwrap();
        lab.prepare(0);
        let running = lab.start(&[]);
        lab.wait("online", |lab| {
            lab.status().filter(|s| s.running && s.gate == Gate::Online).map(drop).ok_or_else(String::new)
        });
        lab.imap().unwrap().ok("CREATE Box").unwrap();
        lab.converge().unwrap();
        lab.stop(running);
        lab
    }

    /// How often a thread makes each system call in a round in which nothing is killed, at most.
    pub fn calibrate(&mut self) -> BTreeMap<String, u32> {
        let trace = self.dir.path().join("trace");
        File::create(&trace).unwrap();
        fs::set_permissions(&trace, fs::Permissions::from_mode(0o666)).unwrap();
        let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
        let mut running = self.start(&strace);
        let acked = self.work(&mut running);
        self.rounds_acked.push(acked);
        self.prepare(self.rounds + 1);
        self.converge().unwrap();
        self.stop(running);
        self.rounds += 1;
        let mut by_thread: BTreeMap<(String, String), u32> = BTreeMap::new();
        for line in fs::read_to_string(&trace).unwrap().lines() {
            let Some((thread, call)) = line.trim_start().split_once(' ') else { continue };
            let Some((name, _)) = call.trim_start().split_once('(') else { continue };
            if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                *by_thread.entry((name.to_owned(), thread.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((name, _), count) in by_thread {
            let known: &mut u32 = most.entry(name).or_default();
            *known = count.max(*known);
        }
        most
    }

    /// One round: kill at the point, start again, converge, compare. Gives whether it was killed there, and whether the
    /// mail server had to drop a message that it had already; an error says what was lost or doubled.
    pub fn kill_at(&mut self, point: &Point) -> Result<(bool, bool), String> {
        let dropped = self.rig.dropped_again();
        let Point { syscall, nth } = point;
        let (trace, inject) = (format!("trace={syscall}"), format!("inject={syscall}:signal=KILL:when={nth}"));
        let mut running = self.start(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
        let acked = self.work(&mut running);
        self.rounds_acked.push(acked);
        let start = Instant::now();
        let mut settled = None;
        let killed = loop {
            if running.try_wait().unwrap().is_some() {
                break true;
            }
            // Nothing is left to do but idle: it does not come to this point.
            let idle = self.status().is_some_and(|s| s.running && s.pending + s.outbox == 0 && s.last_sync.is_some());
            let since = *settled.get_or_insert_with(Instant::now);
            if !idle {
                settled = None;
            } else if since.elapsed() > Duration::from_millis(700) {
                break false;
            }
            if start.elapsed() > Duration::from_secs(20) {
                break false;
            }
            std::thread::sleep(Duration::from_millis(30));
        };
        if !killed {
            self.stop(running);
        }
        let again = self.start(&[]);
        self.prepare(self.rounds + 1);
        let outcome = self.converge();
        self.stop(again);
        self.rounds += 1;
        outcome.map(|()| (killed, self.rig.dropped_again() > dropped))
    }

    /// All rounds once more, after everything has been quiet for a while: what comes late comes twice.
    pub fn compare_all(&self) -> Result<(), String> {
        std::thread::sleep(Duration::from_secs(2));
        let server = OnServer::of(&self.rig);
        (0..self.rounds).try_for_each(|round| self.compare_with_server(&server, round))
    }

    /// What the user's mail program and another client do in a round. Ends early when the connector dies.
    fn work(&mut self, running: &mut Child) -> Acked {
        let mut acked = Acked::default();
        let start = Instant::now();
        let (k, mut smtp) = (self.rounds, None);
        while smtp.is_none() && start.elapsed() < Duration::from_secs(20) && running.try_wait().unwrap().is_none() {
            smtp = Smtp::open(self.port("smtp_port"), &self.plain()).ok();
            if smtp.is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.other_client(k);
        if let Some(mut smtp) = smtp
            && let Ok(reply) = smtp.submit(ALICE, BOB, &text("out", k))
        {
            assert!(reply.starts_with("250"), "{reply}");
            acked.sent = true;
        }
        // The connector may die at any step; the steps before it are acknowledged.
        let _ = self.imap().and_then(|imap| self.local_changes(imap, k, &mut acked));
        acked
    }

    fn local_changes(&self, mut imap: Imap, k: u32, acked: &mut Acked) -> io::Result<()> {
        acked.draft = imap.append("Drafts", "\\Draft", &text("draft", k))?.starts_with("t OK");
        imap.ok("SELECT INBOX")?;
        let uid = imap.uid(&label("flag", k))?;
        imap.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"))?;
        acked.flagged = true;
        let uid = imap.uid(&label("move", k))?;
        imap.ok(&format!("UID MOVE {uid} Box"))?;
        acked.moved = true;
        let uid = imap.uid(&label("copy", k))?;
        imap.ok(&format!("UID COPY {uid} Box"))?;
        acked.copied = true;
        let uid = imap.uid(&label("expunge", k))?;
        imap.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)"))?;
        imap.ok(&format!("UID EXPUNGE {uid}"))?;
        acked.expunged = true;
        imap.ok(&format!("CREATE Folder{k}"))?;
        acked.folder = true;
        acked.filed = imap.append(&format!("Folder{k}"), "", &text("filed", k))?.starts_with("t OK");
        Ok(())
    }

    /// New mail comes, and another client of the same account flags one message and deletes another.
    fn other_client(&self, k: u32) {
        self.deliver("new", k);
        let path = |kind| self.copies(ALICE, "INBOX", &label(kind, k)).pop().map(|stored| stored.path);
        // Dovecot may rename a file just now; then it is looked for again.
        for _ in 0..50 {
            let Some(old) = path("starred") else { continue };
            let name = old.file_name().unwrap().to_string_lossy().into_owned();
            let base = name.split_once(":2,").map_or(name.as_str(), |(base, _)| base);
            let new = self.rig.maildir(ALICE, "INBOX").join("cur").join(format!("{base}:2,F"));
            if fs::rename(&old, new).is_ok() {
                break;
            }
        }
        for _ in 0..50 {
            if path("gone").is_none_or(|old| fs::remove_file(old).is_ok()) {
                break;
            }
        }
    }

    /// The messages of a round that are there from the start.
    fn prepare(&self, k: u32) {
        if !self.rig.maildir(ALICE, "INBOX").exists() {
            self.rig.append(ALICE, "INBOX", &text("first", 0));
        }
        for kind in ["flag", "move", "copy", "expunge", "starred", "gone"] {
            self.deliver(kind, k);
        }
    }

    fn deliver(&self, kind: &str, k: u32) {
        let dir = self.rig.maildir(ALICE, "INBOX");
        let (name, owner) = (format!("{}.{kind}{k}.lab", k + 1), fs::metadata(&dir).unwrap());
        let (temporary, there) = (dir.join("tmp").join(&name), dir.join("new").join(&name));
        fs::write(&temporary, text(kind, k)).unwrap();
        chown(&temporary, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::rename(temporary, there).unwrap();
    }

    /// Waits until everything is as it should be.
    fn converge(&self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let state = self.compare();
            match state {
                Ok(()) => return Ok(()),
                Err(why) if start.elapsed() > Duration::from_secs(45) => {
                    return Err(format!("{why}\n{:?}\n{}", self.status(), self.log()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn compare(&self) -> Result<(), String> {
        let status = self.status().filter(|s| s.running).ok_or("it does not run")?;
        if status.pending + status.outbox > 0 {
            return Err(format!("{} changes and {} messages wait", status.pending, status.outbox));
        }
        if self.rig.undelivered().unwrap() > 0 {
            return Err("Exim still delivers".into());
        }
        if let Some(round) = self.rounds_acked.len().checked_sub(1) {
            self.compare_with_server(&OnServer::of(&self.rig), round as u32)?;
        }
        self.compare_with_local().map_err(|e| e.to_string())?
    }

    fn compare_with_server(&self, server: &OnServer<'_>, k: u32) -> Result<(), String> {
        let a = self.rounds_acked[k as usize];
        let flags = |user, folder: &str, kind| server.flags(user, folder, &label(kind, k));
        let count = |user, folder: &str, kind| flags(user, folder, kind).len();
        let folder = format!("Folder{k}");
        let mine = |folder: &str, kind| count(ALICE, folder, kind);
        let both = |kind| [mine("INBOX", kind), mine("Box", kind)];
        let flagged = |kind| flags(ALICE, "INBOX", kind).iter().all(|flags| flags.contains('F'));
        let checks: [(&str, bool, String); 11] = [
            ("sent", once(count(BOB, "INBOX", "out"), a.sent), format!("{}", count(BOB, "INBOX", "out"))),
            ("draft", once(mine("Drafts", "draft"), a.draft), format!("{}", mine("Drafts", "draft"))),
            (
                "flag",
                mine("INBOX", "flag") == 1 && (flagged("flag") || !a.flagged),
                format!("{}", mine("INBOX", "flag")),
            ),
            ("move", both("move") == [0, 1] || !a.moved && both("move") == [1, 0], format!("{:?}", both("move"))),
            ("copy", both("copy") == [1, 1] || !a.copied && both("copy") == [1, 0], format!("{:?}", both("copy"))),
            ("expunge", mine("INBOX", "expunge") <= usize::from(!a.expunged), format!("{}", mine("INBOX", "expunge"))),
            ("folder", !a.folder || self.rig.maildir(ALICE, &folder).exists(), String::new()),
            ("filed", once(mine(&folder, "filed"), a.filed), format!("{}", mine(&folder, "filed"))),
            ("new", mine("INBOX", "new") == 1, format!("{}", mine("INBOX", "new"))),
            ("starred", mine("INBOX", "starred") == 1 && flagged("starred"), format!("{}", mine("INBOX", "starred"))),
            ("gone", mine("INBOX", "gone") == 0, format!("{}", mine("INBOX", "gone"))),
        ];
        let wrong: Vec<_> = checks.iter().filter(|(_, right, _)| !right).map(|(what, _, n)| (*what, n)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("round {k}, {a:?}: wrong on the mail server: {wrong:?}")) }
    }

    /// The user's mail program sees what the mail server's files say.
    pub fn compare_with_local(&self) -> io::Result<Result<(), String>> {
        let mut imap = self.imap()?;
        let mut folders = imap.folders()?;
        folders.sort();
        let mut stored_folders = self.rig.stored_folders(ALICE).map_err(io::Error::other)?;
        stored_folders.sort();
        for folder in &stored_folders {
            let mut stored: Vec<(String, bool)> = self
                .rig
                .stored(ALICE, folder)
                .map_err(io::Error::other)?
                .iter()
                .map(|message| (subject(&message.text), message.flags.contains('F')))
                .collect();
            stored.sort();
            let here = if folders.contains(folder) { imap.contents(folder)? } else { vec![] };
            if here != stored {
                let differ = |one: &[(String, bool)], other: &[(String, bool)]| -> Vec<_> {
                    one.iter().filter(|m| !other.contains(m)).cloned().collect()
                };
                let (more, less) = (differ(&here, &stored), differ(&stored, &here));
                return Ok(Err(format!("{folder}: only here {more:?}, only there {less:?}")));
            }
        }
        Ok(Ok(()))
    }

    pub fn copies(&self, user: &str, folder: &str, label: &str) -> Vec<::mail_rig::maildir::Stored> {
        stored(&self.rig, user, folder).into_iter().filter(|message| subject(&message.text) == label).collect()
    }

    pub fn imap(&self) -> io::Result<Imap> {
        Imap::open(self.port("imap_port"), ALICE, self.account["password"].as_str().unwrap())
    }

    pub fn plain(&self) -> String {
        use base64::Engine as _;
        let password = self.account["password"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD.encode(format!("\0{ALICE}\0{password}"))
    }

    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.account[name].as_u64().unwrap()).unwrap()
    }

    pub fn wait<T>(&self, what: &str, is_so: impl Fn(&Self) -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match is_so(self) {
                Ok(value) => return value,
                Err(why) => assert!(start.elapsed() < Duration::from_secs(60), "never {what}: {why}\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the running program says of itself.
    pub fn status(&self) -> Option<Status> {
        let status: Status = serde_json::from_slice(&fs::read(self.data().join("status.json")).ok()?).ok()?;
        Some(status).filter(|status| is_alive(status.pid))
    }

    pub fn log(&self) -> String {
        ::mail_rig::process::tail(&self.dir.path().join("log"))
    }

    /// A command of the program, as the unprivileged user, behind the words of `before`.
    fn command(&self, before: &[&str], name: &str) -> Command {
        let mut words: Vec<&str> = before.to_vec();
        let (user, group) = (format!("--reuid={UID}"), format!("--regid={UID}"));
        if ::mail_rig::process::is_root() {
            words.splice(0..0, ["setpriv", &user, &group, "--clear-groups"]);
        }
        words.extend([PROGRAM, name]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_remove("DBUS_SESSION_BUS_ADDRESS").env("HOME", self.data());
        command.arg("--root").arg(self.dir.path().join("root")).arg("--data").arg(self.data());
        command.current_dir("/");
        command
    }

    pub fn start(&self, before: &[&str]) -> Child {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = self.command(before, "run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Asks the program to stop, and waits until it and what watches it have ended.
    pub fn stop(&self, mut child: Child) {
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if let Some(pid) = self.status().map(|s| s.pid) {
                ::mail_rig::process::signal(
                    pid,
                    if start.elapsed() < Duration::from_secs(8) { "TERM" } else { "KILL" },
                );
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A test that failed left it running.
        if let Some(left) = self.status() {
            ::mail_rig::process::signal(left.pid, "KILL");
        }
        if self.mounted {
            // Lazily: a connector that a failed test left behind must not keep it.
            let _ = Command::new("umount").arg("-l").arg(self.data()).status();
        }
    }
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("lockstep-conn"))
}

/// Exactly one if it was acknowledged; one or none if not.
fn once(count: usize, acked: bool) -> bool {
    count == 1 || count == 0 && !acked
}

/// A subject that is no part of another one.
fn label(kind: &str, k: u32) -> String {
    format!("{kind}-{k}-")
}

fn text(kind: &str, k: u32) -> Vec<u8> {
    let subject = label(kind, k);
    format!(
        "From: {ALICE}\r\nTo: {BOB}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n\
         Date: Mon, 05 Jan 2026 10:00:00 +0000\r\n\r\n{subject}\r\n"
    )
    .into_bytes()
}
