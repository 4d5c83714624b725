//! What the supervisor and the updater tell each other, in two files of the updater's own directory, which only root can
//! write. Lines of `name value`; the first says the format, and others may be added.
//!
//! `trial` is written by an updater before it switches to another version of itself, and removed by that one when it has
//! come up: `lockstep-trial 1`, `new VERSION`, `old VERSION`, and `starts COUNT`, `boot ID` and `boots COUNT`, which the supervisor
//! keeps: starts since the computer was switched on, and how often before it went down under this version without ending it. Whoever
//! switches it off ends the best of versions.
//! `trial-failed` is written by the supervisor before it goes back, and removed by the updater when it has remembered it:
//! `lockstep-trial-failed 1`, `version VERSION`, `at SECONDS` (since 1970), `reason WORDS`.

use system::{PROGRAM, create, make_pointer, places, program, read_pointer, rename, sync};

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where everything lies.
pub struct Files {
    pub root: PathBuf,
    product: PathBuf,
    state: PathBuf,
    boot: Option<String>,
}

/// A version that has not come up yet.
pub struct Trial {
    new: String,
    old: String,
    /// How often it was started since the computer was.
    pub starts: u32,
    /// How often the computer has gone down under it.
    pub boots: u32,
}

impl Files {
    pub fn new(root: &Path) -> Self {
        let (product, state) = places(root);
        Self { root: root.into(), product, state, boot: None }
    }

    /// `boot`: a word that is another one after each start of the computer. Without it starts count over reboots.
    pub fn in_boot(self, boot: Option<String>) -> Self {
        Self { boot: boot.filter(|boot| boot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')), ..self }
    }

    /// What is started.
    pub fn program(&self) -> PathBuf {
        program(&self.root, &self.product)
    }

    /// The trial of the active version, if it is on trial.
    pub fn trial(&self) -> Option<Trial> {
        let text = fs::read_to_string(self.state.join("trial")).ok().filter(|t| t.starts_with("lockstep-trial 1\n"))?;
        let value =
            |name: &str| text.lines().find_map(|l| l.split_once(' ').filter(|(n, _)| *n == name)).map(|(_, v)| v);
        let version = |name| value(name).filter(|v| is_version(v)).map(str::to_owned);
        let number = |name| value(name).and_then(|v| v.parse().ok()).unwrap_or(0u32);
        let (starts, boots) = match value("boot") == self.boot.as_deref() {
            true => (number("starts"), number("boots")),
            false => (0, number("boots").saturating_add(u32::from(number("starts") > 0))),
        };
        let trial = Trial { new: version("new")?, old: version("old")?, starts, boots };
        let active = read_pointer(&self.product.join("current")).ok()?;
        (active == Path::new("versions").join(&trial.new)).then_some(trial)
    }

    /// Whether it was already decided to leave it.
    pub fn is_condemned(&self, trial: &Trial) -> bool {
        let text = fs::read_to_string(self.state.join("trial-failed")).unwrap_or_default();
        text.starts_with("lockstep-trial-failed 1\n")
            && text.lines().any(|l| l.strip_prefix("version ") == Some(&trial.new))
    }

    /// Notes that it is started once more.
    pub fn count(&self, trial: &Trial) -> io::Result<()> {
        self.note_starts(trial, trial.starts + 1)
    }

    /// A start that somebody else has ended says nothing about the version.
    pub fn forgive(&self, trial: &Trial) -> io::Result<()> {
        self.note_starts(trial, trial.starts.saturating_sub(1))
    }

    fn note_starts(&self, trial: &Trial, starts: u32) -> io::Result<()> {
        let boots = self.boot.as_ref().map_or(String::new(), |boot| format!("boot {boot}\nboots {}\n", trial.boots));
        let text = format!("lockstep-trial 1\nnew {}\nold {}\nstarts {starts}\n{boots}", trial.new, trial.old);
        if self.trial().is_some() { self.replace("trial", &text) } else { Ok(()) }
    }

    /// Leaves a version for the one before it. Every step is durable before the next.
    pub fn go_back(&self, trial: &Trial, reason: &str) -> io::Result<()> {
        // An installer may be at work; then it may also have ended the trial.
        let turn = File::options().write(true).create(true).truncate(false).open(self.state.join("slots.lock"))?;
        turn.lock()?;
        if self.trial().is_none_or(|now| (now.new, now.old) != (trial.new.clone(), trial.old.clone())) {
            return Ok(());
        }
        let target = Path::new("versions").join(&trial.old);
        fs::metadata(self.product.join(&target).join("bin").join(PROGRAM))?;
        let at = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(500).collect();
        super::say(&format!("going back from {} to {}: {reason}", trial.new, trial.old));
        let text = format!("lockstep-trial-failed 1\nversion {}\nat {at}\nreason {reason}\n", trial.new);
        if !self.is_condemned(trial) {
            self.replace("trial-failed", &text)?;
        }
        // The updater removes links of this form when it starts, should this process be killed here.
        let link = self.product.join(".current-supervisor");
        remove(&link)?;
        make_pointer(&target, &link)?;
        rename(&link, &self.product.join("current"))?;
        sync(&self.product)?;
        remove(&self.state.join("trial"))?;
        sync(&self.state)
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let beside = self.state.join(format!(".{name}.supervisor"));
        remove(&beside)?;
        let mut file = create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        drop(file);
        rename(&beside, &self.state.join(name))?;
        sync(&self.state)
    }
}

/// One plain directory's name.
fn is_version(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(plain)
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// What a system needs for that. On Linux this program stands on its own.
#[cfg(unix)]
mod system {
    use super::*;

    pub const PROGRAM: &str = "lockstep-updater";

    pub fn places(root: &Path) -> (PathBuf, PathBuf) {
        (root.join("opt/lockstep/updater"), root.join("var/lib/lockstep/updater"))
    }

    pub fn program(_root: &Path, product: &Path) -> PathBuf {
        product.join("current/bin").join(PROGRAM)
    }

    pub fn read_pointer(pointer: &Path) -> io::Result<PathBuf> {
        fs::read_link(pointer)
    }

    pub fn make_pointer(target: &Path, pointer: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, pointer)
    }

    pub fn create(path: &Path) -> io::Result<File> {
        File::create(path)
    }

    pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    pub fn sync(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// On Windows, access lists, known folders and virus scanners are too much to be written twice.
#[cfg(windows)]
mod system {
    use lockstep_updater::layout::Layout;
    pub use lockstep_updater::platform::{make_pointer, read_pointer, rename, sync_dir as sync};
    use protocol::product::ProductId;

    use super::*;

    pub const PROGRAM: &str = "lockstep-updater.exe";

    pub fn places(root: &Path) -> (PathBuf, PathBuf) {
        match Layout::new(root) {
            Ok(layout) => (layout.product(&ProductId::updater()), layout.state_dir()),
            // There is nothing to be found below such a root.
            Err(_) => (root.into(), root.into()),
        }
    }

    pub fn program(root: &Path, product: &Path) -> PathBuf {
        // Below such a root there is none.
        Layout::new(root).map_or_else(|_| product.join(PROGRAM), |layout| layout.updater_program())
    }

    pub fn create(path: &Path) -> io::Result<File> {
        lockstep_updater::platform::create_new(path, 0o600)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A computer on which 0.2.0 is on trial.
    fn pc() -> (tempfile::TempDir, impl Fn(&str) -> Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        fs::create_dir_all(&files.state).unwrap();
        for version in ["0.1.0", "0.2.0"] {
            let bin = files.product.join("versions").join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("lockstep-updater"), "").unwrap();
        }
        std::os::unix::fs::symlink("versions/0.2.0", files.product.join("current")).unwrap();
        fs::write(files.state.join("trial"), "lockstep-trial 1\nnew 0.2.0\nold 0.1.0\nstarts 0\n").unwrap();
        let root = dir.path().to_owned();
        (dir, move |boot| Files::new(&root).in_boot(Some(boot.into())))
    }

    fn starts(files: &Files) -> u32 {
        files.trial().unwrap().starts
    }

    #[test]
    fn starts_count_within_one_run_of_the_computer_only() {
        let (_dir, pc) = pc();
        for (boot, before) in [("a1", 0), ("b2", 1), ("c3", 2), ("d4", 3)] {
            assert_eq!(starts(&pc(boot)), 0);
            assert_eq!(pc(boot).trial().unwrap().boots, before);
            pc(boot).count(&pc(boot).trial().unwrap()).unwrap();
            assert_eq!(starts(&pc(boot)), 1);
        }
        pc("d4").count(&pc("d4").trial().unwrap()).unwrap();
        assert_eq!(starts(&pc("d4")), 2);
    }

    #[test]
    fn a_start_that_was_ended_by_others_does_not_count_and_where_no_boot_is_told_all_do() {
        let (dir, pc) = pc();
        pc("a1").forgive(&pc("a1").trial().unwrap()).unwrap();
        assert_eq!(starts(&pc("a1")), 0);
        pc("a1").count(&pc("a1").trial().unwrap()).unwrap();
        pc("a1").forgive(&pc("a1").trial().unwrap()).unwrap();
        assert_eq!(starts(&pc("a1")), 0);
        assert_eq!(pc("b2").trial().unwrap().boots, 0, "it was ended before the computer went down");
        let plain = || Files::new(dir.path());
        for before in 0..3 {
            assert_eq!(starts(&plain()), before);
            plain().count(&plain().trial().unwrap()).unwrap();
        }
    }
}
