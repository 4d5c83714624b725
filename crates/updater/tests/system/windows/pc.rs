//! A PC with Windows that belongs to a site, and releases for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wine_rig::{Pc, Ran};

use crate::{
    site::Site,
    vendor::{Release, Vendor},
};

/// Longer than anything takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// The root that everything lies below, as the PC calls it.
pub const ROOT: &str = r"C:\pc";

/// A program of Windows that `cargo xtask test` has built.
pub fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let program = target.join("programs/windows").join(name);
    assert!(program.exists(), "{} is missing: run this through `cargo xtask test`, which builds it", program.display());
    program
}

/// A program of a user: its self-check is well; it notes in `C:\notes.txt` that it has started, runs until its
/// launcher says so (`Local\LockstepStop-PID`), and notes that. Made once for each version.
const PROGRAM: &str = r#"#include <windows.h>
#include <stdio.h>
#include <string.h>
static void note(const char *what) {
    FILE *notes = fopen("C:\\notes.txt", "a");
    if (notes) { fprintf(notes, "%s VERSION\n", what); fclose(notes); } }
int main(int n, char **a) {
    if (n > 1 && !strcmp(a[1], "self-check")) return 0;
    char name[64]; sprintf(name, "Local\\LockstepStop-%lu", GetCurrentProcessId());
    HANDLE stop = CreateEventA(0, TRUE, FALSE, name);
    note("started"); WaitForSingleObject(stop, INFINITE); note("ended"); return 0; }
"#;

/// A program of Windows, compiled; `options` go to the compiler.
pub fn compiled(code: &str, options: &[&str]) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let (source, to) = (work.path().join("p.c"), work.path().join("p.exe"));
    fs::write(&source, code).unwrap();
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    let made = compiler.args(["-Os", "-s"]).args(options).arg("-o").arg(&to).arg(&source).status();
    assert!(made.is_ok_and(|s| s.success()), "this test needs gcc-mingw-w64-x86-64");
    fs::read(to).unwrap()
}

/// A connector for Windows.
pub fn connector(version: &str) -> Release {
    let notes = format!("connector {version}\n").repeat(2000);
    let program = compiled(&PROGRAM.replace("VERSION", version), &[]);
    let files = [("bin/lockstep-connector.exe", 0o755, &program[..]), ("share/notes", 0o644, notes.as_bytes())];
    Release::for_windows("connector", version, &files, &["self-check"])
}

/// The updater itself for Windows, the real programs, called this version.
pub fn updater(version: &str) -> Release {
    static PROGRAMS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let read =
        |name: &str| (format!("bin/lockstep-{name}.exe"), fs::read(built(&format!("lockstep-{name}.exe"))).unwrap());
    let programs = PROGRAMS.get_or_init(|| ["launcher", "supervisor", "updater"].map(read).into());
    let files: Vec<_> = programs.iter().map(|(path, bytes)| (&path[..], 0o755, &bytes[..])).collect();
    Release::for_windows("updater", version, &files, &[])
}

/// An updater that is this program in C, as if its vendor had built a broken one; the supervisor is the real one.
pub fn broken_updater(version: &str, code: &str) -> Release {
    let (supervisor, program) = (fs::read(built("lockstep-supervisor.exe")).unwrap(), compiled(code, &[]));
    let files =
        [("bin/lockstep-supervisor.exe", 0o755, &supervisor[..]), ("bin/lockstep-updater.exe", 0o755, &program[..])];
    Release::for_windows("updater", version, &files, &[])
}

/// A PC with the real programs.
pub struct Computer {
    pub pc: Pc,
    pub root: String,
}

impl Computer {
    /// Switched on, with nothing of ours.
    pub fn on(name: &str) -> Self {
        let mut pc = Pc::new(name).unwrap();
        pc.power_on().unwrap();
        Self { pc, root: ROOT.into() }
    }

    /// Installs these releases from a folder as the integration page gives it.
    pub fn install(&self, site: &Site, vendor: &Vendor, releases: &[&Release]) -> Ran {
        let folder = self.pc.path("download");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        vendor.folder(&folder, releases, None);
        fs::remove_file(folder.join("bin/lockstep-updater")).unwrap();
        fs::copy(built("lockstep-updater.exe"), folder.join("bin/lockstep-updater.exe")).unwrap();
        let profile = json!({ "v": 1, "server": site.address, "enrolment_key": "k", "certificate": site.certificate });
        fs::write(folder.join("site.json"), profile.to_string()).unwrap();
        self.pc.run(r"C:\download\bin\lockstep-updater.exe", &["install", "--json", "--root", &self.root]).unwrap()
    }

    /// Puts a program, compiled from this, on the PC; gives its path there.
    pub fn tool(&self, name: &str, code: &str) -> String {
        fs::write(self.pc.c().join(format!("{name}.exe")), compiled(code, &["-municode"])).unwrap();
        format!(r"C:\{name}.exe")
    }

    /// Starts the service in the background, as somebody at a console.
    pub fn start(&self) -> mail_rig::process::Background {
        let program = self.active_program();
        let log = self.log();
        self.pc.spawn("the updater", &program, &["run", "--root", &self.root], &log).unwrap()
    }

    /// Starts the supervisor in the background, which starts the service.
    pub fn supervise(&self, trial_seconds: u32) -> mail_rig::process::Background {
        let program = format!(r"{}\opt\lockstep\supervisor\lockstep-supervisor.exe", self.root);
        let words = ["--root", &self.root, "--trial-seconds", &trial_seconds.to_string()];
        self.pc.spawn("the supervisor", &program, &words, &self.log()).unwrap()
    }

    pub fn log(&self) -> PathBuf {
        self.pc.prefix().with_extension("updater-log")
    }

    /// The updater's active program, as the PC calls it.
    pub fn active_program(&self) -> String {
        let version = self.active("updater").expect("the updater is installed");
        format!(r"{}\opt\lockstep\updater\versions\{version}\bin\lockstep-updater.exe", self.root)
    }

    /// A file below the root, from outside.
    pub fn file(&self, below: &str) -> PathBuf {
        self.pc.path(&format!(r"{}\{below}", self.root))
    }

    /// What a product's pointer says.
    pub fn active(&self, product: &str) -> Option<String> {
        let text = fs::read_to_string(self.file(&format!(r"opt\lockstep\{product}\current"))).ok()?;
        Some(text.strip_suffix('\n').expect("a version and a line feed").to_owned())
    }

    /// `status --json`; nothing while it does not answer.
    pub fn status(&self) -> Option<Value> {
        self.active("updater")?;
        let ran = self.pc.run(&self.active_program(), &["status", "--json", "--root", &self.root]).ok()?;
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    /// Somebody types `lockstep-updater check`.
    pub fn check(&self) -> Ran {
        self.pc.run(&self.active_program(), &["check", "--wait", "20", "--json", "--root", &self.root]).unwrap()
    }

    /// Waits until something is so.
    pub fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            assert!(began.elapsed() < LONG, "not so: {what}\n{:?}\n{log}", self.status());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        let journal = fs::read_to_string(self.file(r"var\lib\lockstep\updater\journal.json")).unwrap_or_default();
        !journal.contains("operation")
    }

    /// The names in a product's directory of versions.
    pub fn versions(&self, product: &str) -> Vec<String> {
        let dir = fs::read_dir(self.file(&format!(r"opt\lockstep\{product}\versions"))).unwrap();
        let mut names: Vec<_> = dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether the connector's active version is whole: every file is what the vendor packed.
    pub fn is_whole(&self) -> bool {
        use sha2::{Digest, Sha256};
        let Some(version) = self.active("connector") else { return false };
        let dir = self.file(&format!(r"opt\lockstep\connector\versions\{version}"));
        let Ok(bytes) = fs::read(dir.join("manifest.json")) else { return false };
        let manifest: release::package::Manifest = serde_json::from_slice(&bytes).unwrap();
        manifest.files.iter().all(|file| {
            fs::read(dir.join(&file.path)).is_ok_and(|bytes| hex::encode(Sha256::digest(bytes)) == file.sha256)
        })
    }
}
