//! Each answer with each way of asking, and a harmless program that writes a file of root's.

use std::{os::unix::fs::MetadataExt, process::Output, time::Duration};

use super::*;
use mail_rig::process::{run, wait_until};

const PEOPLE: u32 = 60_700;

struct Stage {
    dir: tempfile::TempDir,
    elevation: Elevation,
}

/// `uids`: where this test's people are counted from, since an agent stands for everything of its person's number.
fn stage(uids: u32, make: fn(&Path, &[Person]) -> Result<Elevation>) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let people = [
        Person::new("accepts", uids, Answer::Right),
        Person::new("errs", uids + 1, Answer::Wrong),
        Person::new("refuses", uids + 2, Answer::Refuse),
        Person::administrator("admin", uids + 3),
    ];
    let elevation = make(&dir.path().join("elevation"), &people).unwrap();
    Stage { dir, elevation }
}

impl Stage {
    /// A program of this person asks for the administrator's rights to write a file; gives its exit code.
    fn ask(&self, name: &str) -> (Option<i32>, bool, Output) {
        let file = self.dir.path().join(format!("written-for-{name}"));
        let words: Vec<&str> = self.elevation.command().iter().map(String::as_str).collect();
        let script = format!("{} /usr/bin/touch {}; exit $?", words.join(" "), file.display());
        let output = self.sh(name, &script);
        let there = file.exists();
        if there {
            assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "root has written it");
            fs::remove_file(file).unwrap();
        }
        (output.status.code(), there, output)
    }

    fn would_be_asked(&self, name: &str) -> bool {
        let script = format!("{}; exit $?", self.elevation.quiet_probe().join(" ").replace("PID", "$$"));
        !self.sh(name, &script).status.success()
    }

    fn sh(&self, name: &str, script: &str) -> Output {
        run(self.elevation.as_person(name, Path::new("/bin/sh")).unwrap().args(["-c", script])).unwrap()
    }

    fn expect(&self, name: &str, code: i32, written: bool) -> String {
        let (got, there, output) = self.ask(name);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((got, there), (Some(code), written), "{name}: {said}\n{}", self.elevation.log());
        said
    }

    fn times_asked(&self, name: &str) -> usize {
        self.elevation.asked(name).unwrap().len()
    }
}

fn machine() -> Vec<Vec<u8>> {
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/sudoers"].map(|file| fs::read(file).unwrap()).into()
}

#[test]
fn sudo_asks_and_takes_the_answer() {
    let before = machine();
    let stage = stage(PEOPLE, Elevation::sudo);
    stage.expect("accepts", 0, true);
    let wrong = stage.expect("errs", 1, false);
    assert!(wrong.contains("incorrect password"), "{wrong}");
    let refused = stage.expect("refuses", 1, false);
    assert!(refused.contains("no password was provided"), "{refused}");
    assert_eq!(["accepts", "errs", "refuses"].map(|name| stage.times_asked(name)), [1, 1, 1]);
    stage.expect("admin", 0, true);
    stage.elevation.answer("refuses", Answer::Right).unwrap();
    stage.expect("refuses", 0, true);
    // Nothing is remembered from the time before.
    stage.expect("refuses", 0, true);
    assert_eq!(stage.times_asked("refuses"), 3);
    assert_eq!(["admin", "accepts"].map(|name| stage.would_be_asked(name)), [false, true]);
    assert_eq!(stage.times_asked("admin") + stage.times_asked("accepts"), 1, "a probe asks nobody");
    assert_eq!(machine(), before);
}

#[test]
fn polkit_asks_and_takes_the_answer() {
    let before = machine();
    let stage = stage(PEOPLE + 10, Elevation::polkit);
    stage.expect("accepts", 0, true);
    stage.expect("errs", 127, false);
    stage.expect("refuses", 126, false);
    assert_eq!(["accepts", "errs", "refuses"].map(|name| stage.times_asked(name)), [1, 1, 1]);
    stage.expect("admin", 0, true);
    stage.elevation.answer("refuses", Answer::Right).unwrap();
    stage.expect("refuses", 0, true);
    stage.expect("refuses", 0, true);
    assert_eq!(stage.times_asked("refuses"), 3);
    assert_eq!(["admin", "accepts"].map(|name| stage.would_be_asked(name)), [false, true]);
    assert_eq!(stage.times_asked("admin") + stage.times_asked("accepts"), 1, "a probe asks nobody");
    assert_eq!(machine(), before);
}

#[test]
fn a_window_that_nobody_answers_stays_until_its_program_ends() {
    for (n, make) in [Elevation::sudo, Elevation::polkit].into_iter().enumerate() {
        let stage = stage(PEOPLE + 20 + 10 * u32::try_from(n).unwrap(), make);
        stage.elevation.answer("accepts", Answer::LeaveOpen).unwrap();
        let words = stage.elevation.command().join(" ");
        let mut command = stage.elevation.as_person("accepts", Path::new("/bin/sh")).unwrap();
        command.args(["-c", &format!("{words} /usr/bin/id -u; exit $?")]);
        let mut program = Background::start("a program", &mut command, &stage.dir.path().join("log")).unwrap();
        wait_until("the window", Duration::from_secs(30), || Ok((stage.times_asked("accepts") == 1).then_some(())))
            .unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert!(program.is_running(), "{}", stage.elevation.log());
        program.kill();
    }
}
